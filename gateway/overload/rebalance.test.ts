// Rebalancing one node on a clock that is set by hand: batches, their pace, and when it gives up.
import pino from 'pino';
import { expect, it } from 'vitest';
import type { NodeRecord } from '../../broker/control.ts';
import { createRebalance } from './rebalance.ts';
import { movable, type RecordingMovable } from './test-movable.ts';

const setUp = (own: number, others: readonly number[], movesPerSecond = 10) => {
  const connections = new Set<RecordingMovable>();
  for (let n = 0; n < own; n++) connections.add(movable());
  const world = {
    nowMs: 0,
    others: [...others],
    /** Not ready, so that no client is sent to it. */
    starting: undefined as string | undefined,
    draining: false,
    /** Killed, and its lease not over yet. */
    dead: undefined as { readonly node: string; readonly sinceMs: number } | undefined,
    away: false,
    asks: 0,
    errors: [] as string[],
    connections,
  };
  const rebalance = createRebalance({
    nodeName: 'self',
    control: {
      nodes() {
        world.asks++;
        if (world.away) return Promise.reject(new Error('away'));
        const record = (node: string, info: NodeRecord['info']): NodeRecord => {
          const announcedAtMs = world.dead?.node === node ? world.dead.sinceMs : world.nowMs;
          return { node, info, announcedAtMs };
        };
        const say = (count: number, ready = true) => ({ ready, connections: count, admissionPerSecond: 1000 });
        return Promise.resolve([
          record('self', say(connections.size)),
          ...world.others.map((count, index) => {
            const node = `other-${index}`;
            return record(node, say(count, world.starting !== node));
          }),
          ...(world.draining ? [record('leaving', { ready: false, state: 'draining', connections: 500 })] : []),
        ]);
      },
    },
    connections,
    departures: {
      ask(connection, times, reason) {
        connection.departure = { reason, deadlineMs: world.nowMs + times.withinMs, handedOver: false };
        connection.send({ type: 'reconnect', ...times, reason });
      },
      count: () => [...connections].filter(({ departure }) => departure !== null).length,
    },
    settings: { movesPerSecond, moveTimeoutMs: 5000 },
    random: () => 0.5,
    clock: { nowMs: () => world.nowMs, monotonicMs: () => world.nowMs },
    logger: pino({ level: 'silent' }),
    onError: (error) => world.errors.push(error.message),
  });
  const moving = (): RecordingMovable[] => [...connections].filter(({ departure }) => departure !== null);
  /** Looks once a second. */
  const pass = async (seconds: number): Promise<void> => {
    for (let second = 0; second < seconds; second++) {
      world.nowMs += 1000;
      rebalance.look();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const move = (): number => {
    const gone = moving();
    for (const connection of gone) connections.delete(connection);
    world.others[world.others.length - 1]! += gone.length;
    return gone.length;
  };
  /** Their time is over and they are still here. */
  const stay = (): void => {
    for (const connection of moving()) connection.departure = null;
  };
  return { world, pass, moving, move, stay };
};

it('asks its oldest, no faster than it may, and begins a batch only when the one before has gone and settled', async () => {
  const { world, pass, moving, move } = setUp(300, [300, 0], 8);
  const oldest = [...world.connections].slice(0, 80);
  await pass(10);
  expect(moving()).toEqual(oldest);
  const afterMs = oldest.map(({ asked }) => asked[0]!.afterMs);
  expect([afterMs[0], afterMs.at(-1)]).toEqual([62, 9937]);
  expect(oldest[0]!.asked[0]).toMatchObject({ reason: 'rebalance', withinMs: 62 + 5000 });
  await pass(60);
  expect(moving()).toHaveLength(80);
  expect(move()).toBe(80);
  // A look who is there, and two seconds later the decision.
  await pass(3);
  expect(moving()).toHaveLength(20);
  move();
  await pass(60);
  expect(world.connections.size).toBe(200);
  expect(moving()).toEqual([]);
});

it('waits while another node drains: its clients change every count', async () => {
  const { world, pass, moving } = setUp(300, [0]);
  world.draining = true;
  await pass(30);
  expect(moving()).toEqual([]);
  world.draining = false;
  await pass(6);
  expect(moving().length).toBeGreaterThan(0);
});

it.each([
  { name: 'joined', before: [300], starting: undefined },
  { name: 'is ready again', before: [300, 0], starting: 'other-1' },
])('gives the balancer time to know a node that $name', async ({ before, starting }) => {
  const { world, pass, moving } = setUp(300, before);
  world.starting = starting;
  await pass(32);
  expect(moving()).toEqual([]);
  world.others = [300, 0];
  world.starting = undefined;
  const readyAtMs = world.nowMs;
  while (moving().length === 0) await pass(1);
  expect(world.nowMs - readyAtMs).toBeGreaterThanOrEqual(5000);
  expect(world.nowMs - readyAtMs).toBeLessThanOrEqual(10_000);
});

it('sends nobody to a node that was killed, as long as its lease makes it look like one with room', async () => {
  const { world, pass, moving } = setUp(300, [0]);
  await pass(6);
  world.dead = { node: 'other-0', sinceMs: world.nowMs };
  await pass(60);
  expect(moving()).toEqual([]);
  world.dead = undefined;
  await pass(10);
  expect(moving().length).toBeGreaterThan(0);
});

it('passes over who cannot be asked or was asked in vain, and asks ever less often when nothing comes of it', async () => {
  const { world, pass, moving, stay } = setUp(40, [0], 1);
  const [first] = world.connections;
  first!.state = 'open';
  await pass(10);
  expect(moving()).toHaveLength(10);
  expect(moving()).not.toContain(first);
  const before = world.asks;
  const times: number[] = [];
  for (let round = 0; round < 3; round++) {
    stay();
    const startedMs = world.nowMs;
    while (moving().length === 0 && world.nowMs - startedMs < 1_000_000) await pass(1);
    times.push(Math.round((world.nowMs - startedMs) / 60_000));
  }
  // Four batches asked everybody once; there is nobody left to ask.
  expect([...world.connections].filter(({ asked }) => asked.length > 1)).toEqual([]);
  expect(times[0]).toBe(1);
  expect(times[1]).toBe(2);
  expect(world.asks - before).toBeLessThan(40);
});

it('goes on after a cluster that could not be asked', async () => {
  const { world, pass, moving } = setUp(300, [0]);
  world.away = true;
  await pass(12);
  expect(world.errors).toEqual(['away', 'away']);
  world.away = false;
  await pass(11);
  expect(moving().length).toBeGreaterThan(0);
});
