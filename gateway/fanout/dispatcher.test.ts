import { afterEach, describe, expect, it, vi } from 'vitest';

import { systemClock } from '../clock.ts';
import { createMetricsRegistry } from '../observability/registry.ts';
import { ChannelState, Subscription } from './channel-state.ts';
import { createDispatcher, type Dispatcher } from './dispatcher.ts';
import { createTestSubscriber, publicationsOf, type TestSubscriber } from './test-subscriber.ts';

const until = (condition: () => boolean) => vi.waitUntil(condition, { timeout: 10_000, interval: 1 });

let dispatcher: Dispatcher | undefined;
afterEach(() => dispatcher?.close());

const setUp = ({ delayMs = () => 0, maxOutboxBytes = 1 << 20 } = {}) => {
  const metrics = createMetricsRegistry();
  dispatcher = createDispatcher({ clock: systemClock, metrics, maxOutboxBytes, delayMs });
  const publish = (channel: ChannelState, from: number, to: number): void => {
    channel.log.append({ channel: channel.name, epoch: 'e', publications: publicationsOf(from, to) });
    dispatcher!.markDirty(channel);
  };
  return { metrics, publish };
};

const channelOf = (name: string): ChannelState => {
  const channel = new ChannelState(name);
  channel.log.open({ epoch: 'e', offset: 0 });
  channel.status = 'live';
  return channel;
};

const listen = (channel: ChannelState, subscriber: TestSubscriber): Subscription => {
  const subscription = new Subscription(subscriber, channel, channel.log.nextSeq);
  channel.add(subscription);
  return subscription;
};

const offsets = (subscriber: TestSubscriber): number[] => subscriber.received().map(({ offset }) => offset);

describe('the dispatcher', () => {
  it('sends nothing to a subscription that ended while its flush was waiting', async () => {
    const { publish } = setUp();
    const channel = channelOf('c');
    const [leaving, staying] = [createTestSubscriber(), createTestSubscriber()];
    const subscription = listen(channel, leaving);
    listen(channel, staying);
    publish(channel, 1, 1);
    channel.remove(subscription);
    await until(() => staying.frames.length > 0);
    expect(leaving.frames).toEqual([]);
  });

  it('goes on with the others when one connection closes in the middle of a flush', async () => {
    const { publish } = setUp();
    const [one, two] = [channelOf('one'), channelOf('two')];
    const dying = createTestSubscriber();
    const survivor = createTestSubscriber();
    dying.sendFrame = (frame) => {
      dying.frames.push(frame);
      dying.open = false;
    };
    for (const channel of [one, two]) {
      listen(channel, dying);
      listen(channel, survivor);
    }
    publish(one, 1, 1);
    publish(two, 1, 1);
    await until(() => survivor.frames.length === 2);
    expect(dying.frames).toHaveLength(1);
  });

  it('ends a connection whose outbox is over its bound and serves the rest', async () => {
    const { publish } = setUp({ maxOutboxBytes: 100 });
    const channel = channelOf('c');
    const [slow, quick] = [createTestSubscriber(), createTestSubscriber()];
    // More than the bound even without what this flush hands over.
    slow.buffered = 1000;
    listen(channel, slow);
    listen(channel, quick);
    publish(channel, 1, 2);
    await until(() => quick.frames.length > 0);
    expect(slow.overflows).toBe(1);
    expect(offsets(quick)).toEqual([1, 2]);
  });

  it('shares one frame among all subscriptions at the same cursor', async () => {
    const { publish, metrics } = setUp();
    const channel = channelOf('c');
    const subscribers = Array.from({ length: 5 }, createTestSubscriber);
    for (const subscriber of subscribers) listen(channel, subscriber);
    publish(channel, 1, 3);
    await until(() => subscribers.every(({ frames }) => frames.length === 1));
    expect(new Set(subscribers.map(({ frames }) => frames[0])).size).toBe(1);
    expect(offsets(subscribers[0]!)).toEqual([1, 2, 3]);
    expect(metrics.hot.deliveries).toBe(15);
    expect(metrics.hot.framesSent).toBe(5);
  });

  it('gives a late subscription only what came after it', async () => {
    const { publish } = setUp();
    const channel = channelOf('c');
    const [early, late] = [createTestSubscriber(), createTestSubscriber()];
    listen(channel, early);
    publish(channel, 1, 2);
    listen(channel, late);
    publish(channel, 3, 4);
    await until(() => late.frames.length > 0 && early.frames.length > 0);
    expect(offsets(early)).toEqual([1, 2, 3, 4]);
    expect(offsets(late)).toEqual([3, 4]);
  });

  it('sends the frames of several channels to one connection under one cork', async () => {
    const { publish } = setUp();
    const subscriber = createTestSubscriber();
    const channels = ['a', 'b', 'c'].map(channelOf);
    for (const channel of channels) listen(channel, subscriber);
    for (const channel of channels) publish(channel, 1, 1);
    await until(() => subscriber.frames.length === 3);
    expect(subscriber.corks).toBe(1);
  });

  it('keeps the order of every cursor when publications arrive between the slices of a flush', async () => {
    const { publish } = setUp();
    const channel = channelOf('c');
    const subscribers = Array.from({ length: 300 }, createTestSubscriber);
    // Each send takes long enough that the audience needs several slices.
    for (const subscriber of subscribers) {
      subscriber.sendFrame = (frame) => {
        const untilMs = performance.now() + 0.1;
        while (performance.now() < untilMs);
        subscriber.frames.push(frame);
      };
      listen(channel, subscriber);
    }
    publish(channel, 1, 1);
    let next = 2;
    await until(() => {
      if (next <= 20) publish(channel, next, next++);
      return subscribers.every((subscriber) => offsets(subscriber).length === 20);
    });
    const expected = Array.from({ length: 20 }, (_, index) => index + 1);
    for (const subscriber of subscribers) expect(offsets(subscriber)).toEqual(expected);
  });

  it('lets the loop turn during a flush to a large audience', async () => {
    const { publish } = setUp();
    const channel = channelOf('c');
    let sent = 0;
    for (let index = 0; index < 400; index++) {
      const subscriber = createTestSubscriber();
      subscriber.sendFrame = () => {
        const untilMs = performance.now() + 0.1;
        while (performance.now() < untilMs);
        sent++;
      };
      listen(channel, subscriber);
    }
    const seen: number[] = [];
    publish(channel, 1, 1);
    await until(() => {
      seen.push(sent);
      return sent === 400;
    });
    expect(seen.some((count) => count > 0 && count < 400)).toBe(true);
  });

  it('forgets what everybody was sent: an idle channel costs no memory for messages', async () => {
    const { publish } = setUp();
    const channel = channelOf('c');
    const subscriber = createTestSubscriber();
    listen(channel, subscriber);
    publish(channel, 1, 5);
    await until(() => channel.frame === null && subscriber.frames.length > 0);
    expect(channel.log.firstSeq).toBe(channel.log.nextSeq);
  });
});
