// A node's fan-out on a real memory broker, and sockets whose pace a test decides.
import { expect, vi } from 'vitest';
import type { BrokerEvents, ChannelPosition } from '../../broker/broker.ts';
import { createMemoryBackplane } from '../../broker/memory/backplane.ts';
import { createMemoryBroker } from '../../broker/memory/memory-broker.ts';
import { NUMBERING_TTL_MS } from '../../broker/clock.ts';
import type { Since } from '../../protocol/position.ts';
import { createMetricsRegistry } from '../observability/registry.ts';
import { NO_WAIT } from './coalescing.ts';
import { createFanout } from './fanout.ts';
import type { KickLimits } from './kicks.ts';
import type { DeliveryPolicy } from './policy.ts';
import { createTestSubscriber, type ReceivedMessage, type TestSubscriber } from './test-subscriber.ts';

export const until = (condition: () => boolean) => vi.waitUntil(condition, { timeout: 10_000, interval: 1 });
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Events of a broker that nobody listens to. */
export const silentEvents = (onError: BrokerEvents['onError']): BrokerEvents => ({
  onPublications: () => undefined,
  onEphemeral: () => undefined,
  onInterrupted: () => undefined,
  onRestored: () => undefined,
  onHealth: () => undefined,
  tails: () => [],
  onError,
});

interface Bounds {
  readonly size: number;
  readonly ttlMs: number;
}

/** A node's fan-out on a real memory broker; `lossy` decides for each run whether it reaches the node. */
export interface NodeOptions {
  readonly bounds?: Bounds;
  readonly ringBytes?: number;
  readonly kickLimits?: KickLimits;
  readonly lossy?: () => boolean;
  /** How long the answer to a read of history is on its way; it shows the channel as it was before. */
  readonly onTheWay?: () => Promise<unknown>;
}

export const setUp = async (options: NodeOptions = {}) => {
  const { bounds = { size: 1000, ttlMs: 60_000 }, ringBytes = 1 << 17, lossy = () => false } = options;
  const { kickLimits = { kickBehind: undefined, kickExpired: undefined } } = options;
  let aheadMs = 0;
  const clock = { nowMs: () => Date.now() + aheadMs, monotonicMs: () => performance.now() + aheadMs };
  const backplane = createMemoryBackplane({ clock });
  const own = createMemoryBroker({ backplane, node: 'own' });
  const publishers = ['one', 'two'].map((node) => createMemoryBroker({ backplane, node }));
  const metrics = createMetricsRegistry();
  const onError = (error: Error): void => expect.unreachable(error.message);
  let reads = 0;
  const fanout = createFanout({
    broker: {
      ...own,
      history: {
        ...own.history,
        async read(query) {
          reads++;
          const page = await own.history.read(query);
          await options.onTheWay?.();
          return page;
        },
      },
    },
    clock,
    metrics,
    boundsOf: () => bounds,
    wait: () => NO_WAIT,
    maxChannelBytes: ringBytes,
    maxTotalBytes: () => 1 << 26,
    maxWaitingBytes: 1 << 26,
    onCharged: () => undefined,
    limitsOf: () => ({ ...kickLimits, coalesce: undefined }),
    onError,
  });
  const { hub } = fanout;
  const silent = silentEvents(onError);
  for (const publisher of publishers) await publisher.start(silent);
  await own.start({ ...silent, onPublications: (run) => lossy() || hub.handlePublications(run) });
  let counter = 0;
  const publish = (channel: string, { by = 0, key, bytes = 0 }: { by?: number; key?: string; bytes?: number } = {}) => {
    const timeMs = clock.nowMs();
    const body = Buffer.from(JSON.stringify({ data: ++counter, time: timeMs, padding: 'x'.repeat(bytes) }));
    return publishers[by]!.publish({ channel, body, timeMs, key, history: bounds });
  };
  const publishMany = async (channel: string, count: number, bytes = 0): Promise<void> => {
    for (let index = 0; index < count; index++) await publish(channel, { bytes });
  };
  return {
    fanout,
    hub,
    metrics,
    publish,
    publishMany,
    headOf: async (channel: string): Promise<ChannelPosition> => (await own.history.positions([channel]))[0]!,
    readsSoFar: () => reads,
    /** Lets numbering and history of every channel end. */
    /** Time passes without anything happening. */
    pass: (ms: number) => (aheadMs += ms),
    forgetNumbering: () => (aheadMs += NUMBERING_TTL_MS + 1),
    async [Symbol.asyncDispose]() {
      fanout.close();
      for (const broker of [own, ...publishers]) await broker.close();
    },
  };
};

export type Node = Awaited<ReturnType<typeof setUp>>;

/** A socket that takes nothing until it is told to. */
export const createSlowSocket = () => {
  const subscriber = createTestSubscriber();
  const take = subscriber.sendFrame.bind(subscriber);
  let stalled = false;
  subscriber.sendFrame = (frame) => {
    take(frame);
    if (stalled) subscriber.buffered += frame.length;
  };
  return {
    subscriber,
    stall: () => (stalled = true),
    /** The kernel takes up to `bytes` of what waits. */
    drain(node: Node, bytes = Infinity) {
      subscriber.buffered = Math.max(0, subscriber.buffered - bytes);
      node.fanout.handleDrain(subscriber);
    },
    recover(node: Node) {
      stalled = false;
      subscriber.buffered = 0;
      node.fanout.handleDrain(subscriber);
    },
  };
};

/** Follows rule G1: offsets of messages and ranges of gaps run upward without hole or overlap. */
export const follow = (start: ChannelPosition, received: readonly ReceivedMessage[]): ChannelPosition => {
  let { epoch, offset } = start;
  for (const push of received) {
    if (push.type === 'message') {
      expect(push.offset).toBe(offset + 1);
      offset = push.offset;
    } else if (push.reason === 'epoch') {
      epoch = (push as unknown as { epoch: string }).epoch;
      offset = push.offset;
    } else {
      expect(push.from).toBe(offset + 1);
      expect(push.to).toBeGreaterThanOrEqual(push.from!);
      offset = push.to!;
    }
  }
  return { epoch, offset };
};

export const shown = (subscriber: TestSubscriber): string[] =>
  subscriber
    .received()
    .map(({ type, offset, from, to, reason }) => (type === 'gap' ? `${from}-${to} ${reason}` : String(offset)));

export const subscribe = async (
  { hub }: Node,
  subscriber: TestSubscriber,
  since?: Since,
  policy: DeliveryPolicy = 'all',
  window = 100,
) => hub.subscribe(subscriber, 'c', { since, policy, window });
