import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { type Broker, type BrokerEvents, BrokerUnavailableError, type ChannelPosition } from '../../broker/broker.ts';
import { createMemoryBackplane } from '../../broker/memory/backplane.ts';
import { createMemoryBroker } from '../../broker/memory/memory-broker.ts';
import { systemClock } from '../clock.ts';
import { createMetricsRegistry } from '../observability/registry.ts';
import type { Subscription } from './channel-state.ts';
import { NO_WAIT } from './coalescing.ts';
import { createFanout } from './fanout.ts';
import type { Attached } from './hub.ts';
import { silentEvents } from './test-fanout.ts';
import { createTestSubscriber, publicationsOf } from './test-subscriber.ts';

const until = (condition: () => boolean) => vi.waitUntil(condition, { timeout: 10_000, interval: 1 });
const history = { size: 100, ttlMs: 60_000 };

/**
 * A hub on a real memory broker. `lossy` decides for each run from the backplane whether it reaches the hub, as a link
 * that was cut would; `broker` overrides single calls.
 */
const setUp = async (
  options: { lossy?: () => boolean; bounds?: typeof history; broker?: (real: Broker) => Broker } = {},
) => {
  const backplane = createMemoryBackplane();
  const publisher = createMemoryBroker({ backplane, node: 'publisher' });
  const own = createMemoryBroker({ backplane, node: 'own' });
  const broker = options.broker?.(own) ?? own;
  const metrics = createMetricsRegistry();
  const errors: string[] = [];
  const audiences: string[] = [];
  const onError: BrokerEvents['onError'] = (_, { stage }) => errors.push(stage);
  const bounds = options.bounds ?? history;
  const fanout = createFanout({
    broker,
    clock: systemClock,
    metrics,
    boundsOf: () => bounds,
    wait: () => NO_WAIT,
    maxChannelBytes: 1 << 17,
    maxTotalBytes: () => 1 << 24,
    maxWaitingBytes: 1 << 26,
    onCharged: () => undefined,
    limitsOf: () => ({ kickBehind: undefined, kickExpired: undefined, coalesce: undefined }),
    onAudience: (channel, isThere) => audiences.push(`${isThere ? '+' : '-'}${channel}`),
    onError,
  });
  const { hub } = fanout;
  const silent = silentEvents(onError);
  await publisher.start(silent);
  await own.start({
    ...silent,
    onPublications: (run) => {
      if (options.lossy?.() !== true) hub.handlePublications(run);
    },
    onRestored: () => void hub.handleRestored(),
  });
  let counter = 0;
  const publish = (channel: string): Promise<ChannelPosition> => {
    counter++;
    const body = Buffer.from(`{"data":${counter},"time":1}`);
    return publisher.publish({ channel, body, timeMs: Date.now(), history: bounds });
  };
  const close = async (): Promise<void> => {
    fanout.close();
    await own.close();
    await publisher.close();
  };
  return { hub, publish, errors, audiences, close, metrics };
};

const offsetsOf = (subscriber: ReturnType<typeof createTestSubscriber>): number[] =>
  subscriber.received().map(({ offset }) => offset);
const subscriptionOf = async (attached: Attached | Promise<Attached>): Promise<Subscription> =>
  (await attached).subscription;

describe('the hub', () => {
  it('rejects a subscription that the broker refuses, and can open the channel later', async () => {
    let refuse = true;
    const broker = (real: Broker): Broker => ({
      ...real,
      history: real.history,
      subscribe: (channel) => (refuse ? Promise.reject(new BrokerUnavailableError('away')) : real.subscribe(channel)),
    });
    const { hub, audiences, close } = await setUp({ broker });
    const subscriber = createTestSubscriber();
    await expect(hub.subscribe(subscriber, 'c')).rejects.toThrow(BrokerUnavailableError);
    expect([hub.channelCount, audiences]).toEqual([0, []]);
    refuse = false;
    await hub.subscribe(subscriber, 'c');
    expect([hub.subscriptionCount, audiences]).toEqual([1, ['+c']]);
    await close();
  });

  it('gives everything back when the last subscription ends', async () => {
    const { hub, audiences, close } = await setUp();
    const subscriber = createTestSubscriber();
    const subscriptions = [];
    for (const channel of ['a', 'b', 'a']) subscriptions.push(await subscriptionOf(hub.subscribe(subscriber, channel)));
    expect([hub.channelCount, hub.subscriptionCount]).toEqual([2, 3]);
    for (const subscription of subscriptions) {
      hub.unsubscribe(subscription);
      hub.unsubscribe(subscription);
    }
    expect([hub.channelCount, hub.subscriptionCount]).toEqual([0, 0]);
    expect(audiences).toEqual(['+a', '+b', '-b', '-a']);
    await close();
  });

  it('opens a channel again while its predecessor is being closed', async () => {
    const { hub, publish, close } = await setUp();
    const subscriber = createTestSubscriber();
    hub.unsubscribe(await subscriptionOf(hub.subscribe(subscriber, 'c')));
    const { position } = await hub.subscribe(subscriber, 'c');
    const { offset } = await publish('c');
    expect(offset).toBe(position.offset + 1);
    await until(() => subscriber.frames.length > 0);
    expect(offsetsOf(subscriber)).toEqual([offset]);
    await close();
  });

  it('delivers exactly what follows the position it answered, however publications and subscriptions interleave', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 1, max: 8 }), async (before, meanwhile) => {
        const { hub, publish, close } = await setUp();
        for (let count = 0; count < before; count++) await publish('c');
        const subscriber = createTestSubscriber();
        const publishing = Promise.all(Array.from({ length: meanwhile }, () => publish('c')));
        const { position } = await hub.subscribe(subscriber, 'c');
        await publishing;
        const { offset: last } = await publish('c');
        await until(() => offsetsOf(subscriber).includes(last));
        const expected = Array.from({ length: last - position.offset }, (_, index) => position.offset + 1 + index);
        expect(offsetsOf(subscriber)).toEqual(expected);
        await close();
      }),
      { numRuns: 40 },
    );
  });

  it('heals what the backplane lost: every offset arrives once, in order', async () => {
    let lose = false;
    const { hub, publish, close } = await setUp({ lossy: () => lose });
    const subscriber = createTestSubscriber();
    await hub.subscribe(subscriber, 'c');
    await publish('c');
    await until(() => offsetsOf(subscriber).length === 1);
    lose = true;
    for (let count = 0; count < 5; count++) await publish('c');
    await new Promise(setImmediate);
    lose = false;
    await publish('c');
    await until(() => offsetsOf(subscriber).length === 7);
    expect(offsetsOf(subscriber)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    await close();
  });

  it('says with a gap receipt what neither backplane nor history has', async () => {
    let lose = false;
    const { hub, publish, close, metrics } = await setUp({ lossy: () => lose, bounds: { size: 2, ttlMs: 60_000 } });
    const subscriber = createTestSubscriber();
    await hub.subscribe(subscriber, 'c');
    lose = true;
    for (let count = 0; count < 6; count++) await publish('c');
    await new Promise(setImmediate);
    lose = false;
    await publish('c');
    await until(() => offsetsOf(subscriber).includes(7));
    const [gap, ...messages] = subscriber.received();
    expect(gap).toMatchObject({ type: 'gap', from: 1, to: 5, count: 5, reason: 'lost' });
    expect(messages.map(({ offset }) => offset)).toEqual([6, 7]);
    expect(await metrics.exposition()).toContain('weir_heals_total{outcome="gap"} 1');
    await close();
  });

  it('keeps a run that arrived with a hole when the history keeps nothing', async () => {
    let lose = false;
    const { hub, publish, close } = await setUp({ lossy: () => lose, bounds: { size: 0, ttlMs: 60_000 } });
    const subscriber = createTestSubscriber();
    await hub.subscribe(subscriber, 'c');
    lose = true;
    await publish('c');
    await new Promise(setImmediate);
    lose = false;
    await publish('c');
    await until(() => subscriber.received().length === 2);
    expect(subscriber.received()).toMatchObject([{ type: 'gap', from: 1, to: 1, reason: 'lost' }, { offset: 2 }]);
    await close();
  });

  it('goes on in the successor of a numbering that was never used, and says that nothing is missing', async () => {
    const { hub, close } = await setUp();
    const subscriber = createTestSubscriber();
    const { position } = await hub.subscribe(subscriber, 'c');
    expect(position.offset).toBe(0);
    hub.handlePublications({ channel: 'c', epoch: 'successor', publications: publicationsOf(1, 2) });
    await until(() => subscriber.received().length === 3);
    expect(subscriber.received()).toMatchObject([
      { type: 'gap', reason: 'epoch', count: 0, epoch: 'successor', offset: 0 },
      { offset: 1 },
      { offset: 2 },
    ]);
    await close();
  });

  it('heals silent channels too once the way from the backplane is back', async () => {
    let lose = true;
    const { hub, publish, close } = await setUp({ lossy: () => lose });
    const subscriber = createTestSubscriber();
    await hub.subscribe(subscriber, 'c');
    await publish('c');
    await publish('c');
    lose = false;
    await hub.handleRestored();
    await until(() => offsetsOf(subscriber).length === 2);
    expect(offsetsOf(subscriber)).toEqual([1, 2]);
    await close();
  });

  it('loses nothing, doubles nothing and reorders nothing whatever runs a link drops (rule G1)', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { minLength: 1, maxLength: 40 }), async (drops) => {
        const queue = [...drops];
        const { hub, publish, close } = await setUp({ lossy: () => queue.shift() ?? false });
        const subscriber = createTestSubscriber();
        await hub.subscribe(subscriber, 'c');
        // Each awaited publish is a run of its own; one more, certain to arrive, reveals what is missing.
        for (let index = 0; index < drops.length; index++) {
          await publish('c');
          await new Promise(setImmediate);
        }
        queue.length = 0;
        const { offset: last } = await publish('c');
        await until(() => offsetsOf(subscriber).includes(last));
        expect(offsetsOf(subscriber)).toEqual(Array.from({ length: last }, (_, index) => index + 1));
        await close();
      }),
      { numRuns: 40 },
    );
  });
});
