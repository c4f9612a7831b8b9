// The control bus of a one-process cluster: leases on the shared backplane, handlers called across brokers as JSON text.
import type { ControlBus, ControlHandler, Json, RequestResult } from '../control.ts';
import type { Attachment, MemoryBackplane } from './backplane.ts';

export interface MemoryControlOptions {
  readonly backplane: MemoryBackplane;
  readonly node: string;
  readonly leaseMs: number;
  readonly attachment: Attachment;
  readonly handlers: Map<string, ControlHandler>;
  /** Throws `BrokerUnavailableError` unless the broker is started and open. */
  assertUsable(): void;
  /** Rejects when the broker closes. */
  readonly closed: Promise<never>;
  onError(error: Error, context: { readonly stage: string }): void;
}

/** What crosses processes in a real cluster crosses here as text too, so that both drivers accept the same values. */
const asText = (value: Json): Json => JSON.parse(JSON.stringify(value)) as Json;

export const createMemoryControl = (options: MemoryControlOptions): ControlBus => {
  const { backplane, node, leaseMs, attachment, handlers } = options;

  /** Resolves to undefined when the node has no answer: no handler, or one that threw. */
  const ask = async (holder: Attachment, kind: string, payload: Json): Promise<{ answer: Json } | undefined> => {
    await new Promise(setImmediate);
    const handler = holder.handlers.get(kind);
    if (handler === undefined) return undefined;
    try {
      return { answer: asText(await handler(asText(payload))) };
    } catch (error) {
      options.onError(error instanceof Error ? error : new Error(String(error)), { stage: `control.handle ${kind}` });
      return undefined;
    }
  };

  return {
    leaseMs,
    async announce(info) {
      options.assertUsable();
      const announcedAtMs = backplane.clock.nowMs();
      const record = { node, info: asText(info), announcedAtMs };
      backplane.announce({ record, expiresAtMs: announcedAtMs + leaseMs, holder: attachment });
      return Promise.resolve();
    },
    async nodes() {
      options.assertUsable();
      return Promise.resolve(backplane.leases().map((lease) => lease.record));
    },
    handle(kind, handler) {
      handlers.set(kind, handler);
    },
    async request(kind, payload, timeoutMs): Promise<RequestResult> {
      options.assertUsable();
      const leases = backplane.leases();
      const answers = new Map<string, Json>();
      let timer: NodeJS.Timeout | undefined;
      const timeout = new Promise<void>((resolve) => (timer = setTimeout(resolve, timeoutMs)));
      const all = Promise.all(
        leases.map(async ({ record, holder }) => {
          const answered = await ask(holder, kind, payload);
          if (answered !== undefined) answers.set(record.node, answered.answer);
        }),
      );
      await Promise.race([all, timeout, options.closed]).finally(() => clearTimeout(timer));
      const names = leases.map((lease) => lease.record.node);
      return {
        answers: names.filter((name) => answers.has(name)).map((name) => ({ node: name, answer: answers.get(name)! })),
        missing: names.filter((name) => !answers.has(name)),
      };
    },
  };
};
