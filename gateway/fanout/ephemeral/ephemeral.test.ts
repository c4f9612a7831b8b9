import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { weirDialect } from '../../dialects/weir.ts';
import { createMetricsRegistry } from '../../observability/registry.ts';
import { turn } from '../test-fanout.ts';
import { createTestSubscriber, type TestSubscriber } from '../test-subscriber.ts';
import { createEphemeral, type Ephemeral } from './ephemeral.ts';
import { CELL_MEMBERS } from './ephemeral-channel.ts';

afterEach(() => vi.useRealTimers());

interface Push {
  readonly type: string;
  readonly data?: unknown;
  readonly count?: number | null;
  readonly [field: string]: unknown;
}

const REST_MS = 200;

/** Sockets that listen to topics as the engine's do: what is published under one is in their frames. */
const setUp = ({ maxWaitingBytes = 1 << 30 } = {}) => {
  const state = { thinned: false, charged: 0 };
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
    clock: { nowMs: () => Date.now(), monotonicMs: () => performance.now() },
    metrics,
    delayMs: () => 0,
    isThinned: () => state.thinned,
    restMs: REST_MS,
    maxWaitingBytes,
    onCharged: (bytes) => (state.charged += bytes),
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
  const send = (channel: string, count: number, bytes = 0, key?: string): void => {
    const messages = Array.from({ length: count }, () => {
      sent++;
      return { timeMs: 1, key, body: Buffer.from(JSON.stringify({ data: sent, padding: 'x'.repeat(bytes), time: 1 })) };
    });
    ephemeral.handleMessages({ channel, messages });
  };
  const pushes = (socket: TestSubscriber): Push[] => socket.received() as unknown as Push[];
  const droppedOf = async (reason: string): Promise<number> => {
    const text = await metrics.exposition();
    return Number(new RegExp(`weir_messages_dropped_total\\{reason="${reason}"\\} (\\d+)`).exec(text)?.[1]);
  };
  return { state, ephemeral, topics, broker, audiences, socketOf, send, pushes, droppedOf };
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
  const MIB = 1024 * 1024;
  const run = setUp({ maxWaitingBytes: 32 * MIB });
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
  await turn();
  const unknown = { type: 'gap', channel: 'c', count: null, reason: 'dropped' };
  expect(run.pushes(quick).at(-1)).toEqual(unknown);
  expect(run.pushes(slow)).toEqual([]);
  slow.buffered = 0;
  run.ephemeral.handleDrain(slow);
  expect(run.pushes(slow)).toEqual([unknown]);
});

it('holds no more than may wait on the whole node, and tells what it dropped', async () => {
  const run = setUp({ maxWaitingBytes: 100_000 });
  const sockets = await Promise.all(
    Array.from({ length: 10 }, async (_, index) => {
      const socket = run.socketOf(true);
      await run.ephemeral.subscribe(socket, `c${index}`);
      return socket;
    }),
  );
  for (let round = 0; round < 20; round++) {
    for (let index = 0; index < 10; index++) run.send(`c${index}`, 1, 3000);
    expect(run.state.charged).toBeLessThanOrEqual(100_000);
  }
  for (let n = 0; n < 20; n++) await turn();
  expect(run.state.charged).toBe(0);
  for (const socket of sockets) {
    const pushes = run.pushes(socket);
    expect(pushes.reduce((sum, { type, count }) => sum + (type === 'gap' ? count! : 1), 0)).toBe(20);
    expect(pushes.at(-1)).toMatchObject({ type: 'gap', reason: 'dropped' });
  }
});

it('gives the memory of what waits back when the last member leaves', async () => {
  const run = setUp();
  const member = await run.ephemeral.subscribe(run.socketOf(true), 'c');
  run.send('c', 10, 3000);
  expect(run.state.charged).toBeGreaterThan(30_000);
  run.ephemeral.unsubscribe(member);
  expect(run.state.charged).toBe(0);
});

it('serves a large audience some sockets at a time, every member once, and a quiet channel in between', async () => {
  const run = setUp();
  const members = 2 * CELL_MEMBERS + 200;
  const crowd = await Promise.all(
    Array.from({ length: members }, async (_, index) => {
      const socket = run.socketOf(index % 2 === 0);
      await run.ephemeral.subscribe(socket, 'crowd');
      return socket;
    }),
  );
  const quiet = run.socketOf(true);
  await run.ephemeral.subscribe(quiet, 'quiet');
  run.send('crowd', 50, 3000);
  run.send('quiet', 1);
  const served = (): number => crowd.reduce((sum, socket) => sum + (socket.frames.length > 0 ? 1 : 0), 0);
  const steps: number[] = [];
  for (let before = served(); before < members; ) {
    await turn();
    steps.push(served() - before);
    before = served();
  }
  expect(Math.max(...steps)).toBeLessThanOrEqual(CELL_MEMBERS);
  for (let n = 0; n < 3; n++) await turn();
  expect(run.pushes(quiet)).toHaveLength(1);
  for (let n = 0; n < 20; n++) await turn();
  for (const socket of crowd)
    expect(socket.frames.flatMap((frame) => JSON.parse(frame.toString()) as Push[])).toHaveLength(50);
});

it('brings nothing to a connection that is parked or dismissed', async () => {
  const run = setUp();
  const socket = run.socketOf(true);
  await run.ephemeral.subscribe(socket, 'c');
  socket.buffered = 10_000;
  socket.dismiss();
  run.send('c', 3);
  await turn();
  expect(run.pushes(socket)).toEqual([]);
});

describe('on an overloaded node a channel', () => {
  const thinned = async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate', 'performance'] });
    const run = setUp();
    run.state.thinned = true;
    const socket = run.socketOf(true);
    await run.ephemeral.subscribe(socket, 'c');
    const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
    return { ...run, socket, pass };
  };

  it('hands over its newest message of each key at a slow pace, and the number of the others', async () => {
    const { send, pushes, socket, pass, droppedOf, state } = await thinned();
    send('c', 1);
    await pass(1);
    expect(pushes(socket).map(({ data }) => data)).toEqual([1]);
    for (let n = 0; n < 10; n++) {
      send('c', 1, 0, 'one');
      send('c', 1, 0, 'two');
      send('c', 1);
      await pass(10);
    }
    expect(pushes(socket)).toHaveLength(1);
    await pass(REST_MS);
    expect(pushes(socket).slice(1)).toEqual([
      { type: 'gap', channel: 'c', count: 27, reason: 'dropped' },
      ...[29, 30, 31].map((data) => expect.objectContaining({ type: 'message', data }) as unknown),
    ]);
    expect(await droppedOf('thinned')).toBe(27);
    expect(state.charged).toBe(0);
  });

  it('whose members keep up has every message or its place in a count, and as many turns as the pace allows', async () => {
    const { send, pushes, socket, pass } = await thinned();
    const handedOver = new Set<number>();
    for (let at = 0; at < 2000; at++) {
      send('c', 3, 0, String(at % 100));
      await pass(1);
      handedOver.add(socket.frames.length);
    }
    await pass(REST_MS);
    expect(handedOver.size).toBeLessThanOrEqual(2000 / REST_MS + 2);
    const sum = pushes(socket).reduce((all, { type, count }) => all + (type === 'gap' ? count! : 1), 0);
    expect(sum).toBe(6000);
    // The newest is never what is left out.
    expect(pushes(socket).at(-1)).toMatchObject({ data: 6000 });
  });

  it('keeps little while it rests, however much comes', async () => {
    const { send, state, pass } = await thinned();
    send('c', 1);
    await pass(1);
    send('c', 5000, 1000);
    expect(state.charged).toBeLessThan(1_000_000);
  });

  it('does not hold up another one, and is itself again when the overload is over', async () => {
    const { ephemeral, send, pushes, socket, socketOf, pass, state } = await thinned();
    const other = socketOf(true);
    await ephemeral.subscribe(other, 'other');
    send('c', 1);
    await pass(1);
    send('c', 1);
    send('other', 1);
    await pass(1);
    expect(pushes(other)).toHaveLength(1);
    state.thinned = false;
    await pass(REST_MS);
    send('c', 5);
    await pass(1);
    expect(pushes(socket).map(({ type }) => type)).toEqual(Array.from({ length: 7 }, () => 'message'));
  });

  it('that is closed and opened again meanwhile owes nothing', async () => {
    const { ephemeral, send, pushes, socketOf, pass, socket } = await thinned();
    send('c', 1);
    await pass(1);
    send('c', 10);
    const member = [...ephemeral.find('c')!.cells[0]!.members][0]!;
    ephemeral.unsubscribe(member);
    const next = socketOf(true);
    await ephemeral.subscribe(next, 'c');
    send('c', 1);
    await pass(1);
    expect(pushes(next)).toHaveLength(1);
    expect(pushes(socket)).toHaveLength(1);
  });
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
  const body = Buffer.from('{"data":1,"time":1}');
  const entry = { timeMs: 1, key: undefined, body, bodyBytes: body.length };
  const frames = (offset: number): unknown => JSON.parse(weirDialect.encodeBatch('c', [{ ...entry, offset }]).join(''));
  expect(frames(0)).toEqual({ type: 'message', channel: 'c', data: 1, time: 1 });
  expect(frames(2 ** 53 - 1)).toEqual({ type: 'message', channel: 'c', offset: 2 ** 53 - 1, data: 1, time: 1 });
});
