// What the application's backend decides: who may connect, subscribe and publish, and what a method of its own answers.
import { createHash } from 'node:crypto';
import { type Static, type TSchema, Type } from '@sinclair/typebox';
import { type Identity, readClaims } from '../access/tokens/claims.ts';
import type { Clock, IdSource } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import { createHookClient, type HookClient, type HookClientOptions, HookUnavailable } from './hook-client.ts';

/** Hooks whose answer is a decision. */
export const DECISION_HOOKS = ['connect', 'subscribe', 'publish'] as const;
type DecisionHook = (typeof DECISION_HOOKS)[number];
export type HookName = DecisionHook | 'rpc' | 'events';

const MAX_REASON = 200;
const decisionSchema = Type.Object({
  allow: Type.Boolean(),
  reason: Type.Optional(Type.String({ maxLength: MAX_REASON, description: 'shown to the client' })),
});
const connectSchema = Type.Composite([
  decisionSchema,
  Type.Object({ claims: Type.Optional(Type.Unknown({ description: 'who it is, as the payload of a token says it' })) }),
]);
type Decision = Static<typeof decisionSchema> & { readonly claims?: unknown };
const rpcSchema = Type.Union([
  Type.Object({ error: Type.Object({ message: Type.String({ maxLength: MAX_REASON }) }) }),
  Type.Object({ data: Type.Unknown() }),
]);

export interface HookSettings {
  readonly hookConnectUrl: string | undefined;
  readonly hookSubscribeUrl: string | undefined;
  readonly hookPublishUrl: string | undefined;
  readonly hookRpcUrl: string | undefined;
  readonly hookEventsUrl: string | undefined;
  readonly hookSecret: string | undefined;
  readonly hookTimeoutMs: number;
  readonly hookRetries: number;
  /** Decisions that count as allowed when the backend cannot be asked. */
  readonly hookFailOpen: readonly string[];
  readonly hookMaxConcurrent: number;
  readonly hookMaxQueue: number;
  readonly hookMaxAnswerBytes: number;
  readonly hookBreakerFailures: number;
  readonly hookBreakerOpenMs: number;
  readonly hookPrivateAddresses: boolean;
}

/** What the client says of itself; nothing of it is checked. */
export interface ConnectingClient {
  readonly name?: string | undefined;
  readonly version?: string | undefined;
}

/** Who asks. */
export interface Asker {
  readonly connection: string;
  /** Absent: anonymous. */
  readonly user?: string | undefined;
  readonly address: string;
}

/** The application, as it is told of events (events/). */
export interface EventHook {
  /** One attempt; the same events have the same id each time. Rejects with `HookUnavailable` when they were not taken. */
  send(events: readonly Readonly<Record<string, unknown>>[]): Promise<void>;
  /** The circuit breaker is open. */
  readonly isOpen: boolean;
}

export interface Hooks {
  /** Undefined when nobody is told of events. */
  readonly events: EventHook | undefined;
  /** Whether connects are decided by the application: none may be left out then. */
  readonly decidesConnects: boolean;
  /**
   * Resolves with who the application says it is; undefined when it says nothing of that. Undefined without the hook. Rejects as
   * `subscribe` does.
   */
  connect(asker: Asker, client: ConnectingClient): Promise<Identity | undefined> | undefined;
  /** Undefined when there is no such hook. Rejects with `Failure` permissionDenied, or internal when there is no answer. */
  subscribe(asker: Asker, channel: string): Promise<void> | undefined;
  publish(
    asker: Asker,
    publication: { readonly channel: string; readonly data: unknown; readonly key?: string | undefined },
  ): Promise<void> | undefined;
  /** Rejects with `Failure` notAvailable without the hook, badRequest for an error of the application, internal without an answer. */
  rpc(asker: Asker, call: { readonly method: string; readonly data?: unknown }): Promise<unknown>;
  close(): void;
}

export interface HooksOptions {
  readonly settings: HookSettings;
  readonly nodeName: string;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly random: () => number;
  readonly metrics: MetricsRegistry;
}

/** Delay named to clients whose request nobody could decide, ms. */
const RETRY_MS = 1000;

export const createHooks = ({ settings, nodeName, clock, ids, random, metrics }: HooksOptions): Hooks => {
  const clients = new Map<HookName, HookClient<unknown>>();

  const open = <S extends TSchema>(
    name: HookName,
    url: string | undefined,
    answer: S,
    more: Partial<HookClientOptions<S>> = {},
  ): HookClient<Static<S>> | undefined => {
    if (url === undefined) return undefined;
    const client = createHookClient({
      name,
      url,
      answer,
      // The configuration refuses a URL without a secret.
      secret: settings.hookSecret!,
      timeoutMs: settings.hookTimeoutMs,
      retries: settings.hookRetries,
      maxConcurrent: settings.hookMaxConcurrent,
      maxQueue: settings.hookMaxQueue,
      maxAnswerBytes: settings.hookMaxAnswerBytes,
      breakerFailures: settings.hookBreakerFailures,
      breakerOpenMs: settings.hookBreakerOpenMs,
      addresses: settings.hookPrivateAddresses ? 'any' : 'public',
      clock,
      ids,
      random,
      metrics,
      ...more,
    });
    clients.set(name, client);
    return client;
  };

  const decisions = {
    connect: open('connect', settings.hookConnectUrl, connectSchema),
    subscribe: open('subscribe', settings.hookSubscribeUrl, decisionSchema),
    publish: open('publish', settings.hookPublishUrl, decisionSchema),
  } satisfies Record<DecisionHook, HookClient<Decision> | undefined>;
  // A call may do something: whether to repeat it is for the client to say.
  const rpc = open('rpc', settings.hookRpcUrl, rpcSchema, { retries: 0 });

  const eventClient = open('events', settings.hookEventsUrl, Type.Object({}), { retries: 0, ignoresAnswer: true });
  const events: EventHook | undefined = eventClient && {
    async send(told) {
      const id = createHash('sha256').update(JSON.stringify(told.map((event) => event['id'])));
      await eventClient.call({ node: nodeName, events: told }, id.digest('base64url'));
    },
    get isOpen() {
      return eventClient.isOpen;
    },
  };

  const perHook = (read: (client: HookClient<unknown>) => number) => () =>
    [...clients].map(([hook, client]) => ({ labels: { hook }, value: read(client) }));
  metrics.gauge(
    'weir_hook_waiting',
    perHook(({ waiting }) => waiting),
  );
  metrics.gauge(
    'weir_hook_breaker_open',
    perHook(({ isOpen }) => (isOpen ? 1 : 0)),
  );

  const undecided = (): Failure => new Failure('internal', 'the application gave no answer', RETRY_MS);

  const decide = (
    hook: DecisionHook,
    asker: Asker,
    about: Readonly<Record<string, unknown>>,
  ): Promise<Decision | undefined> | undefined => {
    const tell = (decision: string): void => metrics.count('weir_hook_decisions_total', { hook, decision });
    return decisions[hook]?.call({ node: nodeName, ...asker, ...about }).then(
      (decision: Decision) => {
        const { allow, reason } = decision;
        tell(allow ? 'allowed' : 'denied');
        if (!allow) throw new Failure('permissionDenied', reason ?? `${hook} was denied by the application`);
        return decision;
      },
      (thrown: unknown) => {
        if (!(thrown instanceof HookUnavailable)) throw thrown;
        const isOpen = settings.hookFailOpen.includes(hook) && thrown.isAway;
        tell(isOpen ? 'failed_open' : 'failed_closed');
        if (!isOpen) throw undecided();
        return undefined;
      },
    );
  };

  return {
    events,
    decidesConnects: decisions.connect !== undefined,
    connect: (asker, client) =>
      decide('connect', asker, { client })?.then((decision) => {
        if (decision?.claims === undefined) return undefined;
        const identity = readClaims(decision.claims, { expiryRequired: false });
        // The application speaks another language than this node: nobody may be let in as somebody half understood.
        if (typeof identity === 'string') throw undecided();
        return identity;
      }),
    subscribe: (asker, channel) => decide('subscribe', asker, { channel })?.then(() => undefined),
    publish: (asker, publication) => decide('publish', asker, publication)?.then(() => undefined),
    async rpc(asker, call) {
      if (rpc === undefined) throw new Failure('notAvailable', 'rpc: no application answers calls on this node');
      try {
        const answer = await rpc.call({ node: nodeName, ...asker, ...call });
        if ('error' in answer) throw new Failure('badRequest', answer.error.message);
        return answer.data;
      } catch (thrown) {
        throw thrown instanceof HookUnavailable ? undecided() : thrown;
      }
    },
    close() {
      for (const client of clients.values()) client.close();
    },
  };
};
