// Draining on fake timers: who is told what, when it ends, and what it does when nobody is left.
import fc from 'fast-check';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { NodeRecord } from '../../broker/control.ts';
import { createMetricsRegistry } from '../observability/registry.ts';
import { createDepartures, type Departures } from './departures.ts';
import { createDrain, planDrain } from './drain.ts';
import { movable, type RecordingMovable } from './test-movable.ts';

const ready = (node: string, admissionPerSecond = 1000): NodeRecord => ({
  node,
  info: { ready: true, connections: 0, admissionPerSecond },
  announcedAtMs: 0,
});

describe('a plan', () => {
  const survivors = (...capacities: number[]) =>
    capacities.map((admissionPerSecond, index) => ({ node: `n${index}`, connections: 0, admissionPerSecond }));
  const base = {
    connections: 16_000,
    survivors: survivors(1000, 1000),
    draining: 1,
    budgetMs: 60_000,
    noticeMs: 2000,
    moveTimeoutMs: 5000,
  };

  it('spreads the connections over what those who stay admit together', () => {
    expect(planDrain(base)).toEqual({
      connections: 16_000,
      survivors: ['n0', 'n1'],
      movesPerSecond: 1600,
      spread: { count: 16_000, noticeMs: 2000, windowMs: 10_000, moveTimeoutMs: 5000 },
    });
  });

  it('shares that with others who drain at the same time', () => {
    expect(planDrain({ ...base, draining: 2 })).toMatchObject({ movesPerSecond: 800 });
  });

  it('has nobody move when nobody stays', () => {
    expect(planDrain({ ...base, survivors: [] })).toMatchObject({ survivors: [], movesPerSecond: 0 });
  });

  it('never goes beyond its budget, whatever the survivors would like', () => {
    fc.assert(
      fc.property(
        fc.record({
          connections: fc.nat(100_000),
          survivors: fc.array(fc.integer({ min: 1, max: 5000 }), { maxLength: 5 }).map((list) => survivors(...list)),
          draining: fc.nat(5),
          budgetMs: fc.nat(120_000),
          noticeMs: fc.nat(60_000),
          moveTimeoutMs: fc.nat(60_000),
        }),
        (input) => {
          const { noticeMs, windowMs, moveTimeoutMs } = planDrain(input).spread;
          expect(Math.min(noticeMs, windowMs, moveTimeoutMs)).toBeGreaterThanOrEqual(0);
          expect(noticeMs + windowMs + moveTimeoutMs).toBeLessThanOrEqual(input.budgetMs);
        },
      ),
    );
  });
});

describe('a drain', () => {
  let connections: Set<RecordingMovable>;
  let nodes: NodeRecord[] | Error | 'silent';
  let departures: Departures;
  let all: RecordingMovable[];
  const clock = { nowMs: () => Date.now(), monotonicMs: () => Date.now() };
  const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
  const leave = (connection: RecordingMovable): void => {
    connections.delete(connection);
    departures.handleClosed(connection);
  };
  const come = (state: RecordingMovable['state'] = 'connected'): RecordingMovable => {
    const connection = movable(state);
    const { close } = connection;
    connection.close = (code, reason) => {
      close.call(connection, code, reason);
      leave(connection);
    };
    connections.add(connection);
    all.push(connection);
    return connection;
  };
  const begin = async (budgetMs = 29_000) => {
    const drain = createDrain({
      nodeName: 'self',
      control: {
        nodes: () => {
          if (nodes === 'silent') return new Promise(() => undefined);
          return nodes instanceof Error ? Promise.reject(nodes) : Promise.resolve(nodes);
        },
      },
      connections,
      departures,
      settings: { drainNoticeMs: 2000, moveTimeoutMs: 5000, admissionPerSecond: 1000 },
      random: () => 0.5,
      clock,
      logger: pino({ level: 'silent' }),
      onError: () => undefined,
    });
    const planning = drain.plan(budgetMs);
    await pass(500);
    const plan = await planning;
    const startedMs = Date.now();
    const world = { drain, plan, endedAfterMs: undefined as number | undefined };
    void drain.run(plan, budgetMs).then(() => (world.endedAfterMs = Date.now() - startedMs));
    await pass(0);
    return world;
  };

  beforeEach(() => {
    vi.useFakeTimers();
    connections = new Set();
    all = [];
    nodes = [ready('other')];
    departures = createDepartures({ clock, metrics: createMetricsRegistry(), onAsked: () => undefined });
  });
  afterEach(() => {
    departures.close();
    vi.useRealTimers();
  });

  it('ends when all have moved, not before the load balancer can have noticed', async () => {
    for (let n = 0; n < 10; n++) come();
    const world = await begin();
    expect(all.every(({ asked }) => asked.length === 1)).toBe(true);
    expect(all.every(({ asked }) => asked[0]!.afterMs >= 2000 && asked[0]!.afterMs < 2500)).toBe(true);
    for (const connection of all) leave(connection);
    expect(world.drain.isNoticing).toBe(true);
    await pass(1900);
    expect(world.endedAfterMs).toBeUndefined();
    await pass(300);
    expect(world.endedAfterMs).toBeLessThanOrEqual(2200);
    expect(world.drain.isNoticing).toBe(false);
    expect(all.every(({ closed }) => closed === undefined)).toBe(true);
  });

  it('tells who comes meanwhile, and closes who does not go in time', async () => {
    come();
    const silent = come('open');
    const world = await begin();
    const late = come();
    await pass(200);
    expect(late.asked).toEqual([
      {
        type: 'reconnect',
        afterMs: expect.any(Number) as number,
        withinMs: expect.any(Number) as number,
        reason: 'drain',
      },
    ]);
    silent.state = 'connected';
    await pass(200);
    expect(silent.asked).toHaveLength(1);
    await pass(8000);
    expect(all.map(({ closed }) => closed?.code)).toEqual([1012, 1012, 1012]);
    expect(world.endedAfterMs).toBeLessThan(8500);
  });

  it('has nobody wait when the last one who could take them leaves as well', async () => {
    for (let n = 0; n < 4; n++) come();
    const world = await begin();
    nodes = [{ ...ready('other'), info: { ready: false, state: 'draining' } }];
    await pass(1500);
    expect(all.map(({ closed }) => closed?.code)).toEqual([1012, 1012, 1012, 1012]);
    expect(all.map(({ closed }) => /^retryAfterMs=1\d{3}$/.test(closed!.reason))).toEqual([true, true, true, true]);
    expect(world.endedAfterMs).toBeDefined();
  });

  it.each([
    ['there is no other node', []],
    ['this node alone says that it is ready', [ready('self')]],
    ['the broker is away', new Error('away')],
    ['the broker is silent', 'silent' as const],
  ])('closes all at once, with times to come back that are spread, when %s', async (_, answer) => {
    nodes = answer;
    for (let n = 0; n < 250; n++) come();
    const world = await begin();
    await pass(200);
    expect(world.plan.survivors).toEqual([]);
    expect(world.endedAfterMs).toBeLessThanOrEqual(200);
    const delays = all.map(({ closed }) => Number(/^retryAfterMs=(\d+)$/.exec(closed!.reason)![1]));
    expect(delays).toEqual([...delays].sort((a, b) => a - b));
    expect([delays[0], delays.at(-1)]).toEqual([1001, 1499]);
    expect(all.every(({ asked }) => asked.length === 0)).toBe(true);
  });

  it('goes on with those it knew when the broker goes away meanwhile', async () => {
    const connection = come();
    await begin();
    nodes = new Error('away');
    await pass(5000);
    expect(connection.closed).toBeUndefined();
    await pass(3000);
    expect(connection.closed).toEqual({ code: 1012, reason: 'restart' });
  });

  it('is over in time when there is no time', async () => {
    for (let n = 0; n < 1000; n++) come();
    const world = await begin(0);
    await pass(100);
    expect(world.endedAfterMs).toBeLessThanOrEqual(100);
    expect(connections.size).toBe(0);
  });
});
