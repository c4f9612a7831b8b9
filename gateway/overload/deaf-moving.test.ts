import pino from 'pino';
import { expect, it } from 'vitest';
import type { NodeRecord } from '../../broker/control.ts';
import type { ConnectionState } from '../session/connection.ts';
import { movable } from './test-movable.ts';
import { createDeafMoving } from './deaf-moving.ts';
import type { MoveTimes } from './spread.ts';

const record = (node: string, info: NodeRecord['info']): NodeRecord => ({ node, info, announcedAtMs: 0 });
const self = record('self', { version: '1', ready: true });

const setUp = (states: readonly ConnectionState[] = ['connected']) => {
  const world = {
    deafForMs: undefined as number | undefined,
    nodes: [self] as NodeRecord[] | Error,
    asked: 0,
    errors: [] as string[],
    sent: states.map((): (MoveTimes & { reason: string })[] => []),
  };
  const connections = states.map((state) => movable(state));
  const moving = createDeafMoving({
    nodeName: 'self',
    control: {
      nodes() {
        world.asked++;
        return world.nodes instanceof Error ? Promise.reject(world.nodes) : Promise.resolve(world.nodes);
      },
    },
    connections: new Set(connections),
    departures: {
      ask: (connection, times, reason) =>
        world.sent[connections.findIndex((one) => one === connection)]?.push({ ...times, reason }),
    },
    deafForMs: () => world.deafForMs,
    settings: { deafMoveAfterMs: 5000, moveTimeoutMs: 10_000 },
    random: () => 0.5,
    logger: pino({ level: 'silent' }),
    onError: (error) => world.errors.push(error.message),
  });
  const look = async (deafForMs: number | undefined): Promise<void> => {
    world.deafForMs = deafForMs;
    moving.look();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { world, look };
};

it('moves connected clients once per outage, when it has lasted and another node is ready', async () => {
  const { world, look } = setUp(['connected', 'open', 'connected', 'closed']);
  world.nodes = [self, record('other', { version: '1', ready: true })];
  await look(undefined);
  await look(4999);
  expect(world.asked).toBe(0);
  await look(5000);
  await look(6000);
  const [first, third] = [62, 312].map((afterMs) => ({ afterMs, withinMs: afterMs + 10_000, reason: 'deaf' }));
  expect(world.sent).toEqual([[first], [], [third], []]);
  await look(undefined);
  await look(5000);
  expect(world.sent.map(({ length }) => length)).toEqual([2, 0, 2, 0]);
});

it.each([
  ['this node is the only one', [self]],
  ['the others are not ready', [self, record('other', { version: '1', ready: false })]],
  ['the others do not say', [self, record('other', { version: '1' }), record('odd', null), record('list', [true])]],
])('keeps its clients when %s, and asks again', async (_, nodes) => {
  const { world, look } = setUp();
  world.nodes = nodes;
  await look(5000);
  expect(world.sent).toEqual([[]]);
  world.nodes = [self, record('late', { ready: true })];
  await look(6000);
  expect(world.sent[0]).toHaveLength(1);
});

it('asks again when the answer fails', async () => {
  const { world, look } = setUp();
  world.nodes = new Error('away');
  await look(5000);
  expect(world.errors).toEqual(['away']);
  world.nodes = [self, record('other', { ready: true })];
  await look(6000);
  expect(world.sent[0]).toHaveLength(1);
});

it('keeps its clients when it hears again before the answer', async () => {
  const { world, look } = setUp();
  world.nodes = [self, record('other', { ready: true })];
  const looking = look(5000);
  world.deafForMs = undefined;
  await looking;
  expect(world.sent).toEqual([[]]);
});
