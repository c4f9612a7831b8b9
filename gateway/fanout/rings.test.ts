// What channel logs keep of their past: bounded per channel and in all, counted, and nothing where nothing is published.
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ChannelState } from './channel-state.ts';
import { createRings, type Rings } from './rings.ts';
import { setUp, until } from './test-fanout.ts';
import { createTestSubscriber, publicationsOf } from './test-subscriber.ts';

/** What a publication of the tests costs with its body, bytes, rounded up. */
const ENTRY_BYTES = 200;
let rings: Rings | undefined;
afterEach(() => {
  rings?.close();
  vi.useRealTimers();
});

const create = (maxChannelBytes: number, maxTotalBytes: number) => {
  let charged = 0;
  const subject = createRings({
    clock: { nowMs: () => Date.now(), monotonicMs: () => performance.now() },
    maxChannelBytes,
    maxTotalBytes: () => maxTotalBytes,
    onCharged: (bytes) => (charged += bytes),
  });
  rings = subject;
  const publish = (channel: ChannelState, count: number): void => {
    const { head } = channel.log;
    const publications = publicationsOf(head + 1, head + count).map((one) => ({ ...one, timeMs: Date.now() }));
    channel.log.append({ channel: channel.name, epoch: 'e', publications });
    channel.flushedSeq = channel.log.nextSeq;
    channel.sentSeq = channel.log.nextSeq;
    subject.settle(channel);
  };
  const open = (name: string): ChannelState => {
    const channel = new ChannelState(name);
    channel.status = 'live';
    channel.log.open({ epoch: 'e', offset: 0 });
    return channel;
  };
  return { subject, publish, open, charged: () => charged };
};

describe('rings', () => {
  it('are charged with exactly what the logs keep, and give it back', () => {
    const { subject, publish, open, charged } = create(1 << 20, 1 << 24);
    const channels = ['a', 'b', 'c'].map(open);
    for (const channel of channels) publish(channel, 50);
    expect(charged()).toBe(channels.reduce((sum, { log }) => sum + log.bytes, 0));
    expect(subject.bytes).toBe(charged());
    for (const channel of channels) subject.release(channel);
    expect([charged(), subject.bytes]).toEqual([0, 0]);
  });

  it('keep within a quarter of their bound, and all of them the same smaller share when they are too many', () => {
    const { subject, publish, open } = create(10 * ENTRY_BYTES, 100 * ENTRY_BYTES);
    const channels = Array.from({ length: 40 }, (_, n) => open(`c${n}`));
    publish(channels[0]!, 1000);
    expect(channels[0]!.log.bytes).toBeLessThanOrEqual(12.5 * ENTRY_BYTES);
    for (let n = 0; n < 5; n++) for (const channel of channels) publish(channel, 10);
    expect(subject.bytes).toBeLessThanOrEqual(1.25 * 100 * ENTRY_BYTES + 10 * ENTRY_BYTES);
    expect(channels.every(({ log }) => log.bytes > 0)).toBe(true);
  });

  it('let go of what is older than half a minute', () => {
    vi.useFakeTimers();
    const { subject, publish, open, charged } = create(1 << 20, 1 << 24);
    const channel = open('c');
    publish(channel, 50);
    vi.advanceTimersByTime(29_000);
    expect(subject.bytes).toBeGreaterThan(0);
    vi.advanceTimersByTime(7_000);
    expect([subject.bytes, charged(), channel.log.bytes]).toEqual([0, 0, 0]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('of 10 000 idle channels cost nothing, and one that had a publication is all that is kept', async () => {
    await using node = await setUp();
    const subscriber = createTestSubscriber();
    const names = Array.from({ length: 10_000 }, (_, n) => `idle-${n}`);
    await Promise.all(names.map(async (name) => node.hub.subscribe(subscriber, name)));
    expect(node.hub.channelCount).toBe(10_000);
    expect(node.fanout.ringBytes).toBe(0);
    await node.publish('idle-7');
    await until(() => node.fanout.ringBytes > 0);
    const kept = [...node.hub.channels()].filter(({ log }) => log.bytes > 0);
    expect(kept.map(({ name }) => name)).toEqual(['idle-7']);
    expect(node.fanout.ringBytes).toBe(kept[0]!.log.bytes);
  });
});
