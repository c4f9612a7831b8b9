import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BrokerUnavailableError, type BrokerEvents } from '../broker/broker.ts';
import { createMemoryBackplane, createMemoryBroker } from '../broker/memory/memory-broker.ts';
import type { PublishRequest } from '../broker/publication.ts';
import { CHANNEL_PATTERN } from '../protocol/channel-name.ts';
import {
  canaryPrefixOf,
  type CanaryEvent,
  type CanaryState,
  createCanary,
  DEAF_AFTER_MS,
  initialCanaryState,
  LOOK_EVERY_MS,
  nextCanaryState,
} from './canary.ts';

const acknowledged = (offset: number, epoch = 'e'): CanaryEvent => ({
  type: 'acknowledged',
  position: { epoch, offset },
});
const heard = (offset: number, epoch = 'e'): CanaryEvent => ({ type: 'heard', position: { epoch, offset } });
/** Regular looks from `fromMs` on. */
const looks = (fromMs: number, untilMs: number): CanaryEvent[] => {
  const events: CanaryEvent[] = [];
  for (let atMs = fromMs + LOOK_EVERY_MS; atMs <= untilMs; atMs += LOOK_EVERY_MS) events.push({ type: 'look', atMs });
  return events;
};
const after = (...events: CanaryEvent[]): CanaryState => events.reduce(nextCanaryState, initialCanaryState(0));

describe('what canaries prove', () => {
  it.each<[string, 'hearing' | 'deaf', CanaryEvent[]]>([
    ['nothing was published', 'hearing', looks(0, 60_000)],
    ['each is heard', 'hearing', [acknowledged(1), heard(1), ...looks(0, 10_000)]],
    ['it is heard before it is acknowledged', 'hearing', [heard(1), acknowledged(1), ...looks(0, 10_000)]],
    ['it is acknowledged and a little late', 'hearing', [acknowledged(1), ...looks(0, DEAF_AFTER_MS - LOOK_EVERY_MS)]],
    ['it is acknowledged and never heard', 'deaf', [acknowledged(1), ...looks(0, DEAF_AFTER_MS)]],
    [
      'a former one is heard late, the next not yet',
      'hearing',
      [acknowledged(1), ...looks(0, 1000), acknowledged(2), heard(1), ...looks(1000, 2000)],
    ],
    [
      'others follow and none is heard',
      'deaf',
      [acknowledged(1), ...looks(0, 1000), acknowledged(2), ...looks(1000, DEAF_AFTER_MS)],
    ],
    ['the numbering began anew', 'deaf', [heard(7), acknowledged(1, 'f'), ...looks(0, DEAF_AFTER_MS)]],
    ['it is heard again', 'hearing', [acknowledged(1), ...looks(0, 5000), heard(1), ...looks(5000, 10_000)]],
    [
      'it stays deaf while nothing can be published',
      'deaf',
      [acknowledged(1), ...looks(0, DEAF_AFTER_MS), ...looks(DEAF_AFTER_MS, 60_000)],
    ],
    ['this node stood still for a minute', 'hearing', [acknowledged(1), { type: 'look', atMs: 60_000 }]],
  ])('%s: %s', (_, verdict, events) => {
    expect(after(...events).verdict).toBe(verdict);
  });

  it('a path that works is never called deaf, whatever the order of answers and arrivals within a second', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(999), fc.nat(999)), { maxLength: 40 }), (delays) => {
        const events = delays.flatMap(([ackMs, heardMs], index) => [
          { atMs: index * 1000 + ackMs, event: acknowledged(index + 1) },
          { atMs: index * 1000 + heardMs, event: heard(index + 1) },
        ]);
        const looked = looks(0, delays.length * 1000).map((event) => ({
          atMs: event.type === 'look' ? event.atMs : 0,
          event,
        }));
        const inOrder = [...events, ...looked].sort((a, b) => a.atMs - b.atMs);
        let state = initialCanaryState(0);
        for (const { event } of inOrder) {
          state = nextCanaryState(state, event);
          expect(state.verdict).toBe('hearing');
        }
      }),
    );
  });
});

describe('a canary on its broker', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  const setUp = async () => {
    const prefix = canaryPrefixOf('node-1');
    /** As a backplane of several servers. */
    const servers = { channels: [`${prefix} 0`] };
    const [channel = ''] = servers.channels;
    const given: string[] = [];
    const broker = createMemoryBroker({ backplane: createMemoryBackplane(), node: 'node-1' });
    const path = { delivers: true as boolean | string, publishes: true as boolean | 'never' };
    const published: PublishRequest[] = [];
    const told: string[] = [];
    const canary = createCanary({
      broker: {
        subscribe: (name) => broker.subscribe(name),
        unsubscribe(name) {
          given.push(name);
          return broker.unsubscribe(name);
        },
        probeChannels: () => servers.channels,
        publish(request) {
          published.push(request);
          if (path.publishes === 'never') return new Promise(() => undefined);
          return path.publishes ? broker.publish(request) : Promise.reject(new BrokerUnavailableError('away'));
        },
      },
      prefix,
      clock: { nowMs: () => Date.now(), monotonicMs: () => performance.now() },
      onDeaf: () => told.push('deaf'),
      onHearing: () => told.push('hearing'),
      onError: (error) => expect.unreachable(error.message),
    });
    const ours: boolean[] = [];
    const events: BrokerEvents = {
      onPublications(run) {
        if (path.delivers === true || path.delivers === run.channel) ours.push(canary.handlePublications(run));
      },
      onEphemeral: () => undefined,
      onInterrupted: () => undefined,
      tails: () => [],
      onRestored: () => undefined,
      onHealth: () => undefined,
      onError: (error) => expect.unreachable(error.message),
    };
    await broker.start(events);
    canary.start();
    return { channel, prefix, servers, given, broker, canary, path, published, told, ours };
  };

  it('publishes once a second, without history, on a channel no client can name', async () => {
    const { channel, published, ours, told, canary } = await setUp();
    await vi.advanceTimersByTimeAsync(5100);
    expect(published.map(({ channel: name, history }) => [name, history.size])).toEqual(
      Array.from({ length: 6 }, () => [channel, 0]),
    );
    expect(channel).not.toMatch(new RegExp(CHANNEL_PATTERN));
    expect(ours).toEqual(Array.from({ length: 6 }, () => true));
    expect(told).toEqual([]);
    canary.close();
  });

  it('tells within 3 s that nothing arrives any more, once, and that it arrives again', async () => {
    const { channel, path, told, canary } = await setUp();
    await vi.advanceTimersByTimeAsync(10_100);
    path.delivers = false;
    await vi.advanceTimersByTimeAsync(1500);
    expect({ told, deaf: canary.deafChannels() }).toEqual({ told: [], deaf: [] });
    await vi.advanceTimersByTimeAsync(1500);
    expect({ told, deaf: canary.deafChannels() }).toEqual({ told: ['deaf'], deaf: [channel] });
    await vi.advanceTimersByTimeAsync(20_000);
    path.delivers = true;
    await vi.advanceTimersByTimeAsync(1100);
    expect({ told, deaf: canary.deafChannels() }).toEqual({ told: ['deaf', 'hearing'], deaf: [] });
    canary.close();
  });

  it.each([false, 'never'] as const)(
    'is not deaf while it cannot publish (%s), and repeats no call that hangs',
    async (publishes) => {
      const { path, told, published, canary } = await setUp();
      await vi.advanceTimersByTimeAsync(100);
      path.publishes = publishes;
      path.delivers = false;
      await vi.advanceTimersByTimeAsync(60_000);
      expect(told).toEqual([]);
      if (publishes === 'never') expect(published.length).toBeLessThanOrEqual(2);
      canary.close();
    },
  );

  it('is deaf when one of several servers is not heard, and hears when all are', async () => {
    const { prefix, servers, path, told, canary, published } = await setUp();
    const [one, two, three] = (servers.channels = [`${prefix} 0`, `${prefix} 1`, `${prefix} 2`]);
    await vi.advanceTimersByTimeAsync(5100);
    expect(new Set(published.slice(-3).map(({ channel }) => channel))).toEqual(new Set([one, two, three]));
    expect(told).toEqual([]);
    path.delivers = two ?? '';
    await vi.advanceTimersByTimeAsync(3000);
    expect({ told, deaf: canary.deafChannels() }).toEqual({ told: ['deaf'], deaf: [one, three] });
    path.delivers = true;
    await vi.advanceTimersByTimeAsync(1100);
    expect({ told, deaf: canary.deafChannels() }).toEqual({ told: ['deaf', 'hearing'], deaf: [] });
    canary.close();
  });

  it('follows the servers, and keeps those it knew while none is known', async () => {
    const { prefix, servers, given, path, told, canary, published } = await setUp();
    await vi.advanceTimersByTimeAsync(1100);
    path.delivers = false;
    servers.channels = [];
    await vi.advanceTimersByTimeAsync(3000);
    expect({ told, deaf: canary.deafChannels() }).toEqual({ told: ['deaf'], deaf: [`${prefix} 0`] });
    // The server that was not heard is gone, and the other one is heard.
    servers.channels = [`${prefix} 7`];
    path.delivers = true;
    await vi.advanceTimersByTimeAsync(5000);
    expect({ told, deaf: canary.deafChannels() }).toEqual({ told: ['deaf', 'hearing'], deaf: [] });
    expect(given).toEqual([`${prefix} 0`]);
    expect(published.at(-1)?.channel).toBe(`${prefix} 7`);
    canary.close();
  });

  it('takes a canary that too few replicas have for one that was sent', async () => {
    const { channel, broker, path, told, canary } = await setUp();
    await vi.advanceTimersByTimeAsync(1100);
    const publish = broker.publish.bind(broker);
    vi.spyOn(broker, 'publish').mockImplementation(async (request) => {
      const written = await publish(request);
      throw new BrokerUnavailableError('too few replicas', { written });
    });
    await vi.advanceTimersByTimeAsync(5000);
    expect(told).toEqual([]);
    path.delivers = false;
    await vi.advanceTimersByTimeAsync(3000);
    expect({ told, deaf: canary.deafChannels() }).toEqual({ told: ['deaf'], deaf: [channel] });
    canary.close();
  });

  it('leaves publications of others alone', async () => {
    const { broker, ours, canary, published } = await setUp();
    await vi.advanceTimersByTimeAsync(100);
    await broker.subscribe('news');
    const [{ body, timeMs } = expect.unreachable()] = published;
    await broker.publish({ channel: 'news', body, timeMs, history: { size: 0, ttlMs: 0 } });
    await vi.advanceTimersByTimeAsync(100);
    expect(ours).toEqual([true, false]);
    canary.close();
  });
});
