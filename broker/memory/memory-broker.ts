// The in-memory driver: one broker per node on a shared backplane, for a single process and for tests.
//
// State changes are synchronous; deliveries happen in a later turn of the event loop, in the order of the backplane,
// so that a publisher is never re-entered and a burst arrives as one run per channel.
import type { ControlHandler } from '../control.ts';
import type { Publication } from '../publication.ts';
import type { Attachment, MemoryBackplane } from './backplane.ts';
import { BrokerUnavailableError, type Broker, type BrokerEvents, type EphemeralMessage } from '../broker.ts';
import { DEFAULT_LEASE_MS } from '../clock.ts';
import { createMemoryControl } from './memory-control.ts';

export { createMemoryBackplane, type MemoryBackplane, type MemoryBackplaneOptions } from './backplane.ts';

export interface MemoryBrokerOptions {
  readonly backplane: MemoryBackplane;
  /** Unique name of the node in the cluster. */
  readonly node: string;
  readonly leaseMs?: number;
}

interface PendingPublications {
  readonly channel: string;
  readonly epoch: string;
  readonly publications: Publication[];
}

interface PendingMessages {
  readonly channel: string;
  readonly messages: EphemeralMessage[];
}

type PendingRun = PendingPublications | PendingMessages;

type State =
  | { readonly kind: 'new' }
  | { readonly kind: 'started'; readonly events: BrokerEvents }
  | { readonly kind: 'closed' };

export const createMemoryBroker = ({ backplane, node, leaseMs = DEFAULT_LEASE_MS }: MemoryBrokerOptions): Broker => {
  let state: State = { kind: 'new' };
  const handlers = new Map<string, ControlHandler>();
  const subscribed = new Set<string>();
  let pending: PendingRun[] = [];
  const lastRuns = new Map<string, PendingRun>();

  let rejectClosed!: (error: Error) => void;
  const closed = new Promise<never>((_, reject) => (rejectClosed = reject));
  // Closing without an open request is no error.
  closed.catch(() => undefined);

  const assertUsable = (): BrokerEvents => {
    if (state.kind === 'started') return state.events;
    throw new BrokerUnavailableError(`the broker is ${state.kind === 'new' ? 'not started' : 'closed'}`);
  };

  const report = (error: unknown, stage: string): void => {
    if (state.kind !== 'started') return;
    state.events.onError(error instanceof Error ? error : new Error(String(error)), { stage });
  };

  const deliver = (run: PendingRun): void => {
    if (state.kind !== 'started' || !subscribed.has(run.channel)) return;
    try {
      if ('messages' in run) state.events.onEphemeral(run);
      else state.events.onPublications(run);
    } catch (error) {
      report(error, 'deliver');
    }
  };

  const flush = (): void => {
    const runs = pending;
    pending = [];
    lastRuns.clear();
    for (const run of runs) deliver(run);
  };

  const enqueue = (run: PendingRun): void => {
    lastRuns.set(run.channel, run);
    if (pending.push(run) === 1) setImmediate(flush);
  };

  const attachment: Attachment = {
    handlers,
    accept(channel, epoch, publication) {
      const last = lastRuns.get(channel);
      if (last !== undefined && 'epoch' in last && last.epoch === epoch) last.publications.push(publication);
      else enqueue({ channel, epoch, publications: [publication] });
    },
    acceptEphemeral(channel, message) {
      const last = lastRuns.get(channel);
      if (last !== undefined && 'messages' in last) last.messages.push(message);
      else enqueue({ channel, messages: [message] });
    },
  };

  const control = createMemoryControl({
    backplane,
    node,
    leaseMs,
    attachment,
    handlers,
    assertUsable,
    closed,
    onError: (error, { stage }) => report(error, stage),
  });

  /** Runs synchronous work at once; what it throws rejects. */
  const settle = <T>(work: () => T): Promise<T> =>
    new Promise((resolve) => {
      assertUsable();
      resolve(work());
    });

  return {
    control,
    history: {
      read: (query) => settle(() => backplane.read(query)),
      positions: (channels) => settle(() => channels.map((channel) => backplane.position(channel))),
    },
    sessions: {
      save: (records, leaseMs) => settle(() => backplane.sessions.save(records, leaseMs)),
      claim: (claim, leaseMs) => settle(() => backplane.sessions.claim(claim, leaseMs)),
      remove: (sessions, leaseMs) => settle(() => backplane.sessions.remove(sessions, leaseMs)),
    },
    limits: {
      spend: (key, points, budget) => settle(() => backplane.limits.spend(key, points, budget)),
      hold: (requests, leaseMs) => settle(() => backplane.limits.hold(node, requests, leaseMs)),
    },
    lifecycle: {
      record: (batch, terms) => settle(() => backplane.lifecycle.record(batch, terms)),
      take: (request, terms) => settle(() => backplane.lifecycle.take(request, terms)),
      acknowledge: (lane, positions) => settle(() => backplane.lifecycle.acknowledge(lane, positions)),
      retire: (lane, life, terms) => settle(() => backplane.lifecycle.retire(lane, life, terms)),
    },
    revocations: {
      add: (revocations) => settle(() => backplane.revocations.add(revocations)),
      read: (version) => settle(() => backplane.revocations.read(version)),
    },
    start(events) {
      if (state.kind !== 'new') return Promise.reject(new BrokerUnavailableError(`the broker is ${state.kind}`));
      state = { kind: 'started', events };
      events.onHealth({ state: 'ready' });
      return Promise.resolve();
    },
    publish: (request) => settle(() => backplane.publish(request)),
    publishEphemeral: (request) => settle(() => backplane.publishEphemeral(request)),
    subscribe: (channel) =>
      settle(() => {
        subscribed.add(channel);
        backplane.subscribe(channel, attachment);
      }),
    unsubscribe: (channel) =>
      settle(() => {
        subscribed.delete(channel);
        backplane.unsubscribe(channel, attachment);
      }),
    probeChannels: (prefix) => [prefix],
    // Deliveries do not leave the process: there is no path to renew.
    renewSubscriber: () => undefined,
    health() {
      if (state.kind === 'started') return { state: 'ready' };
      return { state: 'degraded', affected: 'both', reason: state.kind === 'new' ? 'not started' : 'closed' };
    },
    close() {
      if (state.kind === 'closed') return Promise.resolve();
      state = { kind: 'closed' };
      for (const channel of subscribed) backplane.unsubscribe(channel, attachment);
      subscribed.clear();
      pending = [];
      lastRuns.clear();
      backplane.release(attachment);
      rejectClosed(new BrokerUnavailableError('the broker is closed'));
      return Promise.resolve();
    },
  };
};
