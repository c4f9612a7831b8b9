import { afterEach, describe, expect, it, vi } from 'vitest';

import { type Clock, systemClock } from '../clock.ts';
import { createMetricsRegistry } from '../observability/registry.ts';
import { ChannelState, Subscription } from './channel-state.ts';
import { NO_WAIT, type Wait } from './coalescing.ts';
import { createDispatcher, type Dispatcher } from './dispatcher.ts';
import { createTestSubscriber, publicationsOf, type TestSubscriber } from './test-subscriber.ts';

const until = (condition: () => boolean) => vi.waitUntil(condition, { timeout: 10_000, interval: 1 });

let dispatcher: Dispatcher | undefined;
afterEach(() => dispatcher?.close());

interface Options {
  readonly wait?: () => Wait;
  readonly clock?: Clock;
}

const waitOf = (ms: number, publications = Infinity): Wait => ({ ms, publications });

const setUp = ({ wait = () => NO_WAIT, clock = systemClock }: Options = {}) => {
  const metrics = createMetricsRegistry();
  const behind: Subscription[] = [];
  dispatcher = createDispatcher({
    clock,
    metrics,
    wait,
    fallBehind(subscription) {
      subscription.channel.remove(subscription);
      behind.push(subscription);
    },
    onProgress: () => undefined,
    onFlushed: () => undefined,
  });
  const publish = (channel: ChannelState, from: number, to: number): void => {
    channel.log.append({ channel: channel.name, epoch: 'e', publications: publicationsOf(from, to) });
    dispatcher!.markDirty(channel, to - from + 1);
  };
  return { metrics, publish, behind };
};

const channelWaiting = (name: string, coalesceMs: number | undefined): ChannelState => {
  const channel = new ChannelState(name, coalesceMs);
  channel.log.open({ epoch: 'e', offset: 0 });
  channel.status = 'live';
  return channel;
};

const channelOf = (name: string): ChannelState => channelWaiting(name, undefined);

const listen = (channel: ChannelState, subscriber: TestSubscriber): Subscription => {
  const subscription = new Subscription(subscriber, channel, channel.log.nextSeq);
  channel.add(subscription);
  return subscription;
};

const offsets = (subscriber: TestSubscriber): number[] => subscriber.received().map(({ offset }) => offset);

describe('the dispatcher', () => {
  /** So many, and each takes so long, that a flush needs several slices. */
  const largeAudience = (channel: ChannelState): TestSubscriber[] =>
    Array.from({ length: 300 }, () => {
      const subscriber = createTestSubscriber();
      subscriber.sendFrame = (frame) => {
        const untilMs = performance.now() + 0.1;
        while (performance.now() < untilMs);
        subscriber.frames.push(frame);
      };
      listen(channel, subscriber);
      return subscriber;
    });

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

  it('passes a socket by that holds too much and serves the rest', async () => {
    const { publish, behind } = setUp();
    const channel = channelOf('c');
    const [slow, quick] = [createTestSubscriber(), createTestSubscriber()];
    // More than the bound even without what this flush hands over.
    slow.buffered = 100_000;
    const parked = listen(channel, slow);
    listen(channel, quick);
    publish(channel, 1, 2);
    await until(() => quick.frames.length === 1);
    publish(channel, 3, 3);
    await until(() => quick.frames.length === 2);
    expect(offsets(slow)).toEqual([1, 2]);
    expect(behind).toEqual([parked]);
    expect(parked.cursor).toBe(2);
    expect(offsets(quick)).toEqual([1, 2, 3]);
  });

  it('brings what came in one burst in several flushes, so that nobody falls behind for it', async () => {
    const { publish, behind, metrics } = setUp();
    const channel = channelOf('c');
    const subscribers = [createTestSubscriber(), createTestSubscriber()];
    for (const subscriber of subscribers) listen(channel, subscriber);
    publish(channel, 1, 10_000);
    await until(() => channel.sentSeq === 10_000);
    for (const subscriber of subscribers)
      expect(offsets(subscriber)).toEqual(Array.from({ length: 10_000 }, (_, i) => i + 1));
    expect(behind).toEqual([]);
    expect(metrics.hot.flushes).toBeGreaterThan(5);
    // Encoded once for all.
    expect(subscribers[0]!.frames.every((frame, index) => frame === subscribers[1]!.frames[index])).toBe(true);
  });

  it('does not have the rest of a burst wait for the coalescing', async () => {
    const { publish } = setUp({ wait: () => waitOf(channel.flushedSeq === 0 ? 0 : 1_000_000) });
    const channel = channelOf('c');
    const subscribers = largeAudience(channel);
    publish(channel, 1, 5_000);
    await until(() => channel.flushedSeq > 0);
    expect(channel.sentSeq).toBeLessThan(5_000);
    publish(channel, 5_001, 5_100);
    await until(() => channel.sentSeq === 5_100);
    for (const subscriber of subscribers) expect(offsets(subscriber).at(-1)).toBe(5_100);
  });

  it('does not wait when there is as much as one flush takes', async () => {
    const { publish } = setUp({ wait: () => waitOf(1_000_000) });
    const channel = channelOf('c');
    const subscriber = createTestSubscriber();
    listen(channel, subscriber);
    for (let offset = 1; offset <= 2_000; offset++) publish(channel, offset, offset);
    await until(() => channel.flushedSeq > 1_000);
    expect(offsets(subscriber)).toEqual(Array.from({ length: channel.flushedSeq }, (_, index) => index + 1));
  });

  it('ends a wait with the last publication that was expected, whatever its channel, and does not count those of channels with their own', async () => {
    const { publish, metrics } = setUp({ wait: () => waitOf(1_000_000, 3) });
    const [one, other] = [channelOf('one'), channelOf('other')];
    const patient = channelWaiting('patient', 1_000_000);
    const subscriber = createTestSubscriber();
    for (const channel of [one, other]) listen(channel, subscriber);
    for (const round of [0, 1]) {
      publish(one, 2 * round + 1, 2 * round + 1);
      publish(patient, 5 * round + 1, 5 * round + 5);
      publish(one, 2 * round + 2, 2 * round + 2);
      for (let turns = 0; turns < 3; turns++) await new Promise((resolve) => setImmediate(resolve));
      expect(subscriber.frames).toHaveLength(2 * round);
      publish(other, round + 1, round + 1);
      await until(() => subscriber.frames.length === 2 * round + 2);
      expect(metrics.hot.flushes).toBe(round + 1);
    }
  });

  it('does not count for the next wait what goes with one that is over', async () => {
    let waitMs = 5;
    const { publish } = setUp({ wait: () => waitOf(waitMs, 2) });
    const [busy, channel] = [channelWaiting('busy', 0), channelOf('c')];
    largeAudience(busy);
    const subscriber = createTestSubscriber();
    listen(channel, subscriber);
    publish(channel, 1, 1);
    publish(busy, 1, 1);
    // The flush of the one takes 30 ms, and in its middle the wait of the other is over.
    const overMs = performance.now() + 2 * waitMs;
    await until(() => performance.now() > overMs);
    publish(channel, 2, 2);
    await until(() => subscriber.frames.length > 0 && channel.sentSeq === 2);
    waitMs = 1_000_000;
    publish(channel, 3, 3);
    for (let turns = 0; turns < 3; turns++) await new Promise((resolve) => setImmediate(resolve));
    expect(offsets(subscriber)).toEqual([1, 2]);
    publish(channel, 4, 4);
    await until(() => channel.sentSeq === 4);
  });

  it('sends all that came in one turn together, also what came behind the last that was expected', async () => {
    const { publish, metrics } = setUp({ wait: () => waitOf(1_000_000, 2) });
    const channels = ['a', 'b', 'c'].map(channelOf);
    const subscriber = createTestSubscriber();
    for (const channel of channels) listen(channel, subscriber);
    for (const channel of channels) publish(channel, 1, 1);
    await until(() => subscriber.frames.length > 0);
    expect(subscriber.frames).toHaveLength(3);
    expect(metrics.hot.flushes).toBe(1);
  });

  it('counts a wait from the first publication, also when a flush was in progress then', async () => {
    let waitMs = 0;
    const { publish } = setUp({ wait: () => waitOf(waitMs) });
    const channel = channelOf('c');
    const subscribers = largeAudience(channel);
    publish(channel, 1, 1);
    await until(() => subscribers[0]!.frames.length > 0);
    // 30 ms of flush are left, and the wait is over before it is.
    waitMs = 15;
    publish(channel, 2, 2);
    await until(() => channel.sentSeq >= 1);
    await new Promise((resolve) => setImmediate(resolve));
    expect(offsets(subscribers[0]!)).toEqual([1, 2]);
  });

  it('goes on with other channels while one has more than it can send', async () => {
    const { publish } = setUp();
    const [flooded, calm] = [channelOf('flooded'), channelOf('calm')];
    largeAudience(flooded);
    const subscriber = createTestSubscriber();
    listen(calm, subscriber);
    let next = 1;
    const flood = (): void => {
      publish(flooded, next, next + 999);
      next += 1_000;
    };
    flood();
    await until(() => flooded.flushedSeq > 0);
    publish(calm, 1, 1);
    await until(() => {
      flood();
      return subscriber.frames.length === 1;
    });
    expect(flooded.sentSeq).toBeLessThan(flooded.log.nextSeq);
  });

  it('tells for how long there has been more than it can send, until that is over', async () => {
    const { publish } = setUp();
    const channel = channelOf('c');
    largeAudience(channel);
    publish(channel, 1, 3_000);
    expect(dispatcher!.backlogMs).toBe(0);
    await until(() => channel.sentSeq > 0);
    const seen: number[] = [];
    while (channel.sentSeq < 2_000) {
      await new Promise((resolve) => setImmediate(resolve));
      seen.push(dispatcher!.backlogMs);
    }
    // In each turn of the loop, not only in that in which a flush begins.
    expect(seen.length).toBeGreaterThan(5);
    expect(seen.slice(0, -1).every((ms, index) => ms > 0 && (index === 0 || ms > seen[index - 1]!))).toBe(true);
    await until(() => channel.sentSeq === 3_000);
    expect(dispatcher!.backlogMs).toBe(0);
  });

  it('gives a socket that holds something one flush also after a flush of several slices', async () => {
    const { publish } = setUp();
    const channel = channelOf('c');
    largeAudience(channel);
    const holding = createTestSubscriber();
    holding.buffered = 40_000;
    listen(channel, holding);
    publish(channel, 1, 1);
    await until(() => channel.sentSeq === 1);
    holding.parked = false;
    publish(channel, 2, 2);
    await until(() => channel.sentSeq === 2);
    expect(offsets(holding)).toEqual([1, 2]);
  });

  it('lets the loop turn between the flushes of a burst', async () => {
    const { publish } = setUp();
    const channel = channelOf('c');
    largeAudience(channel);
    publish(channel, 1, 10_000);
    await until(() => channel.sentSeq > 0);
    expect(channel.sentSeq).toBeLessThan(10_000);
    await until(() => channel.sentSeq === 10_000);
  });

  describe('on a clock on which a frame takes 0.1 ms', () => {
    /** @param othersMs what everything else takes of each turn of the loop */
    const setUpTurns = (publications: number, othersMs: number) => {
      let nowMs = 0;
      const { publish } = setUp({ clock: { ...systemClock, monotonicMs: () => nowMs } });
      const channel = channelOf('c');
      let served = 0;
      for (let index = 0; index < 300; index += 1) {
        const subscriber = createTestSubscriber();
        subscriber.sendFrame = () => {
          nowMs += 0.1;
          served += 1;
        };
        listen(channel, subscriber);
      }
      publish(channel, 1, publications);
      /** How many sockets each of the next turns serves. */
      const servedBy = async (turns: number): Promise<number[]> => {
        const perTurn: number[] = [];
        for (let before = served; perTurn.length < turns; before = served) {
          nowMs += othersMs;
          await new Promise((resolve) => setImmediate(resolve));
          perTurn.push(served - before);
        }
        return perTurn;
      };
      return { channel, servedBy };
    };
    // It looks at the clock after every 16: 16 and 32 are the first above 1 and 2 ms.

    it('sends for 1 ms of a turn, however long the flush takes', async () => {
      const { servedBy } = setUpTurns(1, 0.5);
      expect(await servedBy(18)).toEqual(Array.from({ length: 18 }, () => 16));
    });

    it('sends for up to 2 ms where the loop is busy with other things', async () => {
      expect(await setUpTurns(1, 3).servedBy(4)).toEqual([16, 16, 16, 32]);
      expect(await setUpTurns(1, 10).servedBy(5)).toEqual([16, 32, 32, 32, 32]);
    });

    it('sends as long as everything else took while there is more than one flush takes', async () => {
      const { channel, servedBy } = setUpTurns(10_000, 10);
      // The first flush could not know.
      while (channel.sentSeq <= 1) await servedBy(1);
      // The turn in which a flush ends and the next begins is the exception.
      expect(Math.min(...(await servedBy(4)))).toBeGreaterThanOrEqual(80);
    });
  });

  it('parks a socket that has not taken the first part of a burst, before it is given more', async () => {
    const { publish, behind } = setUp();
    const channel = channelOf('c');
    const [stalled, quick] = [createTestSubscriber(), createTestSubscriber()];
    const sendFrame = stalled.sendFrame;
    stalled.sendFrame = (frame) => {
      sendFrame(frame);
      stalled.buffered += frame.length;
    };
    const subscription = listen(channel, stalled);
    listen(channel, quick);
    publish(channel, 1, 10_000);
    await until(() => channel.sentSeq === 10_000);
    expect(behind).toEqual([subscription]);
    expect(stalled.buffered).toBeLessThanOrEqual(128 * 1024);
    expect(offsets(stalled)).toEqual(Array.from({ length: subscription.cursor }, (_, index) => index + 1));
    expect(offsets(quick)).toHaveLength(10_000);
  });

  it('brings a message that is too large for one flush to nobody: they catch up', async () => {
    const { behind } = setUp();
    const channel = channelOf('c');
    const subscriber = createTestSubscriber();
    const subscription = listen(channel, subscriber);
    const body = Buffer.from(`{"data":"${'x'.repeat(300 * 1024)}","time":1}`);
    channel.log.append({
      channel: 'c',
      epoch: 'e',
      publications: [{ offset: 1, timeMs: 1, key: undefined, body, bodyBytes: body.length }],
    });
    dispatcher!.markDirty(channel);
    await until(() => behind.length === 1);
    expect([subscriber.frames, subscription.cursor]).toEqual([[], 0]);
  });

  it('counts what a flush brings to one socket over all its channels', async () => {
    const { publish, behind } = setUp();
    const subscriber = createTestSubscriber();
    const channels = ['a', 'b', 'c', 'd', 'e', 'f'].map(channelOf);
    for (const channel of channels) listen(channel, subscriber);
    for (const channel of channels) publish(channel, 1, 800);
    await until(() => behind.length > 0);
    const bytes = subscriber.frames.reduce((sum, frame) => sum + frame.length, 0);
    expect(bytes).toBeGreaterThan(0);
    expect(bytes).toBeLessThanOrEqual(256 * 1024);
  });

  it('ends a connection whose socket lost a frame, which would be a hole', async () => {
    const { publish } = setUp();
    const channel = channelOf('c');
    const subscriber = createTestSubscriber();
    subscriber.sendFrame = () => (subscriber.buffered = Infinity);
    listen(channel, subscriber);
    publish(channel, 1, 1);
    await until(() => subscriber.lostFrames === 1);
  });

  it('serves only those who returned from behind when nothing is new', async () => {
    const { publish } = setUp();
    const channel = channelOf('c');
    const [returning, live] = [createTestSubscriber(), createTestSubscriber()];
    listen(channel, live);
    publish(channel, 1, 3);
    await until(() => channel.sentSeq === 3);
    const subscription = listen(channel, returning);
    subscription.cursor = 1;
    channel.returning.push(subscription);
    dispatcher!.markDirty(channel);
    await until(() => returning.frames.length === 1);
    expect(offsets(returning)).toEqual([2, 3]);
    expect(live.frames).toHaveLength(1);
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

  /** A first publication is on its way to a large audience, and some have it. */
  const inTheMiddle = async (publish: ReturnType<typeof setUp>['publish']) => {
    const channel = channelOf('c');
    const subscribers = largeAudience(channel);
    publish(channel, 1, 1);
    await until(() => subscribers[0]!.frames.length === 1);
    return { channel, subscribers };
  };

  it('brings what arrives during a flush with it to those not yet served, and to the others with the next', async () => {
    const { publish, metrics } = setUp();
    const { channel, subscribers } = await inTheMiddle(publish);
    const served = subscribers.filter(({ frames }) => frames.length === 1).length;
    expect(served).toBeLessThan(300);
    publish(channel, 2, 3);
    await until(() => channel.sentSeq === 3);
    for (const subscriber of subscribers) expect(offsets(subscriber)).toEqual([1, 2, 3]);
    const frameCounts = subscribers.map(({ frames }) => frames.length);
    expect(frameCounts.filter((count) => count === 2)).toHaveLength(served);
    expect(frameCounts.filter((count) => count === 1)).toHaveLength(300 - served);
    expect(metrics.hot.flushes).toBe(2);
  });

  it('brings what arrives during a flush also to those who lacked nothing when it began', async () => {
    const { publish, metrics } = setUp();
    const { channel, subscribers } = await inTheMiddle(publish);
    await until(() => subscribers[200]!.frames.length === 1);
    publish(channel, 2, 2);
    await until(() => subscribers[0]!.frames.length === 2);
    // The second flush, for 200 of them; the first one brought 2 to the last.
    const last = subscribers.at(-1)!;
    expect(offsets(last)).toEqual([1, 2]);
    publish(channel, 3, 3);
    await until(() => metrics.hot.flushes === 2);
    expect(offsets(last)).toEqual([1, 2, 3]);
  });

  it('leaves what does not fit into the frame of a flush in progress to the next', async () => {
    const { publish, behind } = setUp();
    const { channel, subscribers } = await inTheMiddle(publish);
    publish(channel, 2, 3_000);
    await until(() => channel.sentSeq === 3_000);
    const expected = Array.from({ length: 3_000 }, (_, index) => index + 1);
    for (const subscriber of subscribers) expect(offsets(subscriber)).toEqual(expected);
    expect(behind).toEqual([]);
    expect(Math.max(...subscribers.flatMap(({ frames }) => frames.map(({ length }) => length)))).toBeLessThan(
      128 * 1024,
    );
  });

  it('keeps the order of every cursor when publications arrive between the slices of a flush', async () => {
    const { publish } = setUp();
    const channel = channelOf('c');
    const subscribers = largeAudience(channel);
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

  describe('with a wait of its own for a channel', () => {
    it('flushes it at once although the node waits, and the others when their time has come', async () => {
      const { publish } = setUp({ wait: () => waitOf(40) });
      const [prompt, usual] = [channelWaiting('prompt', 0), channelOf('usual')];
      const [first, second] = [createTestSubscriber(), createTestSubscriber()];
      listen(prompt, first);
      listen(usual, second);
      publish(usual, 1, 1);
      publish(prompt, 1, 1);
      await until(() => first.frames.length > 0);
      expect(second.frames).toEqual([]);
      publish(usual, 2, 2);
      await until(() => second.frames.length > 0);
      expect(second.frames).toHaveLength(1);
      expect(offsets(second)).toEqual([1, 2]);
    });

    it('lets it wait although the node does not, together with its like', async () => {
      const { publish } = setUp();
      const slow = [channelWaiting('a', 40), channelWaiting('b', 40)];
      const quick = channelOf('c');
      const [patient, hasty] = [createTestSubscriber(), createTestSubscriber()];
      for (const channel of slow) listen(channel, patient);
      listen(quick, hasty);
      publish(slow[0]!, 1, 1);
      publish(quick, 1, 1);
      await until(() => hasty.frames.length > 0);
      publish(slow[1]!, 1, 1);
      publish(slow[0]!, 2, 2);
      expect(patient.frames).toEqual([]);
      await until(() => patient.frames.length > 0);
      expect(patient.corks).toBe(1);
      expect(
        patient
          .received()
          .map(({ channel, offset }) => `${channel}${offset}`)
          .toSorted(),
      ).toEqual(['a1', 'a2', 'b1']);
    });

    it('loses nothing under any mix of waits', async () => {
      const { publish } = setUp({ wait: () => waitOf(3) });
      const channels = [undefined, 0, 1, 5, undefined].map((ms, index) => channelWaiting(`c${index}`, ms));
      const subscribers = channels.map((channel) => {
        const subscriber = createTestSubscriber();
        listen(channel, subscriber);
        return subscriber;
      });
      for (let offset = 1; offset <= 200; offset++) {
        for (const [index, channel] of channels.entries())
          if ((offset * 7 + index) % 3 > 0) publish(channel, channel.log.head + 1, channel.log.head + 1);
        if (offset % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      await until(() => channels.every(({ sentSeq, log }) => sentSeq === log.nextSeq));
      for (const [index, subscriber] of subscribers.entries()) {
        expect(offsets(subscriber)).toEqual(Array.from({ length: channels[index]!.log.head }, (_, at) => at + 1));
      }
    });
  });
});
