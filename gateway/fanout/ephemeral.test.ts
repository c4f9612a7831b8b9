import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { weirDialect } from '../dialects/weir.ts';
import { createMetricsRegistry } from '../observability/registry.ts';
import { createEphemeral, type Ephemeral } from './ephemeral.ts';
import { createTestSubscriber, type TestSubscriber } from './test-subscriber.ts';
import { turn } from './test-fanout.ts';

interface Push {
  readonly type: string;
  readonly data?: unknown;
  readonly count?: number | null;
  readonly [field: string]: unknown;
}

/** Sockets that listen to topics as the engine's do: what is published under one is in their frames. */
const setUp = () => {
  const topics = new Map<string, Set<TestSubscriber>>();
  const metrics = createMetricsRegistry();
  const broker = { subscribed: [] as string[], failing: false };
  const audiences: string[] = [];
  const ephemeral: Ephemeral = createEphemeral({
    broker: {
      subscribe: (channel) => {
        if (broker.failing) return Promise.reject(new Error('away'));
        broker.subscribed.push(channel);
        return Promise.resolve();
      },
      unsubscribe: (channel) => {
        broker.subscribed = broker.subscribed.filter((one) => one !== channel);
        return Promise.resolve();
      },
    },
    metrics,
    delayMs: () => 0,
    publishNative: (topic, frame) => {
      for (const socket of topics.get(topic) ?? []) socket.sendFrame(frame);
    },
    onAudience: (channel, isThere) => audiences.push(`${isThere ? '+' : '-'}${channel}`),
    onError: (error) => expect.unreachable(error.message),
  });
  const socketOf = (native: boolean): TestSubscriber => {
    const socket = createTestSubscriber();
    if (!native) return socket;
    socket.listen = (topic) => {
      topics.set(topic, (topics.get(topic) ?? new Set()).add(socket));
      return true;
    };
    socket.unlisten = (topic) => void topics.get(topic)?.delete(socket);
    return socket;
  };
  let sent = 0;
  const send = (channel: string, count: number, bytes = 0): void => {
    const messages = Array.from({ length: count }, () => {
      sent++;
      return { timeMs: 1, body: Buffer.from(JSON.stringify({ data: sent, padding: 'x'.repeat(bytes), time: 1 })) };
    });
    ephemeral.handleMessages({ channel, messages });
  };
  const pushes = (socket: TestSubscriber): Push[] => socket.received() as unknown as Push[];
  const droppedOf = async (reason: string): Promise<number> => {
    const text = await metrics.exposition();
    return Number(new RegExp(`weir_messages_dropped_total\\{reason="${reason}"\\} (\\d+)`).exec(text)?.[1]);
  };
  return { ephemeral, topics, broker, audiences, socketOf, send, pushes, droppedOf };
};
const isEmpty = ({ topics }: { topics: ReadonlyMap<string, ReadonlySet<unknown>> }): boolean =>
  [...topics.values()].every((members) => members.size === 0);

describe.each([true, false])('a member (by the engine: %s)', (native) => {
  it('gets each message without a position', async () => {
    const run = setUp();
    const socket = run.socketOf(native);
    await run.ephemeral.subscribe(socket, 'cursor:1');
    run.send('cursor:1', 2);
    run.send('cursor:2', 1);
    await turn();
    expect(run.pushes(socket)).toEqual([
      { type: 'message', channel: 'cursor:1', data: 1, padding: '', time: 1 },
      { type: 'message', channel: 'cursor:1', data: 2, padding: '', time: 1 },
    ]);
  });

  it('that is behind misses what comes meanwhile and is told the number when its socket drained', async () => {
    const run = setUp();
    const [slow, quick] = [run.socketOf(native), run.socketOf(native)];
    const member = await run.ephemeral.subscribe(slow, 'c');
    await run.ephemeral.subscribe(quick, 'c');
    run.send('c', 1);
    await turn();
    slow.buffered = 40_000;
    run.send('c', 3);
    await turn();
    run.send('c', 4);
    await turn();
    slow.buffered = 20_000;
    run.ephemeral.handleDrain(slow);
    run.send('c', 1);
    await turn();
    expect(run.pushes(slow)).toHaveLength(1);
    slow.buffered = 100;
    run.ephemeral.handleDrain(slow);
    run.send('c', 1);
    await turn();
    expect(run.pushes(slow).slice(1)).toEqual([
      { type: 'gap', channel: 'c', count: 8, reason: 'dropped' },
      expect.objectContaining({ type: 'message', data: 10 }),
    ]);
    expect(run.pushes(quick)).toHaveLength(10);
    expect(await run.droppedOf('behind')).toBe(8);
    run.ephemeral.unsubscribe(member);
    run.ephemeral.unsubscribe(member);
    expect(run.ephemeral.subscriptionCount).toBe(1);
  });

  it('that leaves while it is behind is counted, and nothing is sent to it any more', async () => {
    const run = setUp();
    const slow = run.socketOf(native);
    const member = await run.ephemeral.subscribe(slow, 'c');
    slow.buffered = 40_000;
    run.send('c', 3);
    await turn();
    run.ephemeral.unsubscribe(member);
    slow.buffered = 0;
    run.ephemeral.handleDrain(slow);
    expect(run.pushes(slow)).toEqual([]);
    expect(await run.droppedOf('behind')).toBe(3);
    expect(run.broker.subscribed).toEqual([]);
    expect(isEmpty(run)).toBe(true);
  });

  it('whose socket lost a frame is ended', async () => {
    const run = setUp();
    const socket = run.socketOf(native);
    await run.ephemeral.subscribe(socket, 'c');
    socket.buffered = Infinity;
    run.send('c', 1);
    await turn();
    expect(socket.lostFrames).toBe(1);
  });

  it('has every message or its place in a count, whatever its socket does', async () => {
    const step = fc.oneof(
      fc.record({ send: fc.integer({ min: 1, max: 50 }) }),
      fc.record({ buffered: fc.constantFrom(0, 5000, 20_000, 40_000) }),
      fc.constant({ turn: true }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const run = setUp();
        const socket = run.socketOf(native);
        const other = run.socketOf(!native);
        await run.ephemeral.subscribe(socket, 'c');
        await run.ephemeral.subscribe(other, 'c');
        let sent = 0;
        for (const one of steps) {
          if ('send' in one) {
            run.send('c', one.send, 3000);
            sent += one.send;
          } else if ('buffered' in one) {
            const drained = one.buffered < socket.buffered;
            socket.buffered = one.buffered;
            if (drained) run.ephemeral.handleDrain(socket);
          } else await turn();
        }
        for (let n = 0; n < 100; n++) await turn();
        socket.buffered = 0;
        run.ephemeral.handleDrain(socket);
        // Data are the numbers 1, 2, …: a gap stands exactly where its messages would.
        let next = 1;
        for (const { type, data, count } of run.pushes(socket)) {
          if (type === 'message') expect(data).toBe(next++);
          else next += count!;
        }
        expect(next).toBe(sent + 1);
        expect(run.pushes(other)).toHaveLength(sent);
      }),
      { numRuns: 50 },
    );
  });
});

it('hands over a burst in turns, and drops what is beyond the bound for everybody, with the number', async () => {
  const run = setUp();
  const [one, two] = [run.socketOf(true), run.socketOf(false)];
  await run.ephemeral.subscribe(one, 'c');
  await run.ephemeral.subscribe(two, 'c');
  run.send('c', 2000, 3000);
  await turn();
  expect(run.pushes(one).length).toBeLessThan(50);
  for (let n = 0; n < 100; n++) await turn();
  for (const socket of [one, two]) {
    const pushes = run.pushes(socket);
    const gap = pushes.at(-1)!;
    expect(gap).toMatchObject({ type: 'gap', reason: 'dropped' });
    expect(pushes.length - 1 + gap.count!).toBe(2000);
  }
  expect(await run.droppedOf('overrun')).toBeGreaterThan(1000);
});

it('lets no more wait for all channels together than a node may, and gives the room back', async () => {
  const run = setUp();
  const MIB = 1024 * 1024;
  const burst = async (name: string): Promise<number> => {
    const channels = Array.from({ length: 12 }, (_, n) => `${name}-${n}`);
    const socket = run.socketOf(true);
    let [messages, dropped] = [0, 0];
    socket.sendFrame = (frame) => {
      if (frame.length > MIB) messages++;
      else dropped += (JSON.parse(frame.toString()) as { count: number }).count;
    };
    const members = await Promise.all(channels.map(async (channel) => run.ephemeral.subscribe(socket, channel)));
    for (const channel of channels) run.send(channel, 4, MIB);
    while (messages + dropped < 12 * 4) await turn();
    for (const member of members) run.ephemeral.unsubscribe(member);
    return messages;
  };
  const [first, second] = [await burst('first'), await burst('second')];
  expect(first).toBeLessThanOrEqual(33);
  expect(first).toBeGreaterThan(25);
  expect(second).toBe(first);
  // Those that end with messages waiting give their room back as well.
  const left = run.socketOf(true);
  const leaving = await run.ephemeral.subscribe(left, 'left');
  run.send('left', 4, MIB);
  run.ephemeral.unsubscribe(leaving);
  expect(await burst('third')).toBe(first);
});

it('tells every member of an interruption: an unknown number is missing', async () => {
  const run = setUp();
  const [quick, slow] = [run.socketOf(true), run.socketOf(true)];
  await run.ephemeral.subscribe(quick, 'c');
  await run.ephemeral.subscribe(slow, 'c');
  slow.buffered = 40_000;
  run.send('c', 1);
  await turn();
  run.ephemeral.handleRestored();
  const unknown = { type: 'gap', channel: 'c', count: null, reason: 'dropped' };
  expect(run.pushes(quick).at(-1)).toEqual(unknown);
  expect(run.pushes(slow)).toEqual([]);
  slow.buffered = 0;
  run.ephemeral.handleDrain(slow);
  expect(run.pushes(slow)).toEqual([unknown]);
});

it('opens a channel once for many, closes it with the last, and opens it again', async () => {
  const run = setUp();
  const sockets = [run.socketOf(true), run.socketOf(true)];
  const members = await Promise.all(sockets.map(async (socket) => run.ephemeral.subscribe(socket, 'c')));
  expect(run.broker.subscribed).toEqual(['c']);
  for (const member of members) run.ephemeral.unsubscribe(member);
  expect([run.broker.subscribed, run.ephemeral.channelCount]).toEqual([[], 0]);
  await run.ephemeral.subscribe(sockets[0]!, 'c');
  expect(run.broker.subscribed).toEqual(['c']);
});

it('refuses when the broker does, and works the next time', async () => {
  const run = setUp();
  run.broker.failing = true;
  await expect(run.ephemeral.subscribe(run.socketOf(true), 'c')).rejects.toThrow('away');
  expect(run.ephemeral.channelCount).toBe(0);
  run.broker.failing = false;
  await run.ephemeral.subscribe(run.socketOf(true), 'c');
});

it('tells when a channel gets its first member here, and when it has none any more', async () => {
  const run = setUp();
  run.broker.failing = true;
  await expect(run.ephemeral.subscribe(run.socketOf(true), 'c')).rejects.toThrow('away');
  run.broker.failing = false;
  expect(run.audiences).toEqual([]);
  const members = [];
  for (const socket of [run.socketOf(true), run.socketOf(false)])
    members.push(await run.ephemeral.subscribe(socket, 'c'));
  expect(run.audiences).toEqual(['+c']);
  run.ephemeral.unsubscribe(members[0]!);
  expect(run.audiences).toEqual(['+c']);
  run.ephemeral.unsubscribe(members[1]!);
  expect(run.audiences).toEqual(['+c', '-c']);
});

it('leaves the offset out of frames, and only there', () => {
  const entry = { timeMs: 1, key: undefined, body: Buffer.from('{"data":1,"time":1}') };
  const frames = (offset: number): unknown => JSON.parse(weirDialect.encodeBatch('c', [{ ...entry, offset }]).join(''));
  expect(frames(0)).toEqual({ type: 'message', channel: 'c', data: 1, time: 1 });
  expect(frames(2 ** 53 - 1)).toEqual({ type: 'message', channel: 'c', offset: 2 ** 53 - 1, data: 1, time: 1 });
});
