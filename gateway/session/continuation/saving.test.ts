import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { BrokerUnavailableError } from '../../../broker/broker.ts';
import { ownsSession, type SaveOutcome, type SessionRecord } from '../../../broker/sessions.ts';
import { AckWindow } from '../../fanout/ack-window.ts';
import { ChannelState, Subscription } from '../../fanout/channel-state.ts';
import { createMetricsRegistry } from '../../observability/registry.ts';
import type { Connection, SubscriptionEntry } from '../connection.ts';
import { createSaving, type Saving } from './saving.ts';
import { newState, ownerOf, recordOf, returningOf, type SessionState } from './state.ts';

const LEASE_MS = 60_000;

let saves: SessionRecord[][];
let removals: string[][];
let away: boolean;
let outcome: SaveOutcome;
let states: Map<string, SessionState>;
let stale: string[];
let positions: number;
let saving: Saving;

const positionOf = (): { epoch: string; offset: number } => ({ epoch: 'e', offset: positions });
const connectionOf = (id: string, open = true): Connection => {
  const subscriptions = new Map<string, SubscriptionEntry>();
  return {
    id,
    session: `session-${id}`,
    who: { kind: 'anonymous' },
    subscriptions,
    hold: (channel: string, entry: SubscriptionEntry) => void subscriptions.set(channel, entry),
    release: (channel: string) => void subscriptions.delete(channel),
    isOpen: () => open,
  } as unknown as Connection;
};
const subscribe = ({ connection }: SessionState, channel: string, window: AckWindow | null = null): void => {
  const policy = window === null ? 'all' : 'ack';
  connection.hold(channel, new Subscription(connection, new ChannelState(channel), 0, policy, window));
};
const add = (id: string, channels = 1): SessionState => {
  const state = newState(connectionOf(id));
  for (let n = 0; n < channels; n++) subscribe(state, `c${n}`);
  states.set(id, state);
  return state;
};
const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

beforeEach(() => {
  vi.useFakeTimers();
  [saves, removals, stale] = [[], [], []];
  [away, outcome, positions] = [false, 'saved', 1];
  states = new Map();
  saving = createSaving({
    sessions: {
      save(records) {
        if (away) return Promise.reject(new BrokerUnavailableError('away'));
        saves.push([...records]);
        return Promise.resolve(records.map(() => outcome));
      },
      claim: () => Promise.resolve(undefined),
      remove(sessions) {
        removals.push(sessions.map(({ session }) => session));
        return Promise.resolve();
      },
    },
    hub: { positionOf },
    clock: { nowMs: () => Date.now(), monotonicMs: () => Date.now() },
    metrics: createMetricsRegistry(),
    nodeName: 'n',
    leaseMs: LEASE_MS,
    states,
    onStale: ({ connection }) => stale.push(connection.id),
    onError: (error) => {
      throw error;
    },
  });
});
afterEach(async () => {
  const closing = saving.close();
  await pass(1000);
  await closing;
  vi.useRealTimers();
});

it('gathers changes for 200 ms and writes each session once', async () => {
  const state = add('a');
  for (let n = 0; n < 5; n++) saving.handleChanged(state);
  await pass(199);
  expect(saves).toEqual([]);
  await pass(1);
  expect(saves).toEqual([[recordOf(state, 'n', positionOf)]]);
});

it('writes in batches of bounded sessions and subscriptions, with a pause between them', async () => {
  for (let n = 0; n < 40; n++) saving.handleChanged(add(`small-${n}`));
  for (let n = 0; n < 3; n++) saving.handleChanged(add(`large-${n}`, 1000));
  await pass(200);
  expect(saves.map(({ length }) => length)).toEqual([25]);
  await pass(1000);
  expect(saves.map(({ length }) => length)).toEqual([25, 16, 1, 1]);
});

it('saves moved cursors after 5 s, renews leases after a third of them, and leaves the rest alone', async () => {
  saving.handleChanged(add('a'));
  await pass(1000);
  positions = 2;
  await pass(5000);
  expect(saves.map(([record]) => record?.subscriptions[0]?.position.offset)).toEqual([1, 2]);
  await pass(14_000);
  expect(saves).toHaveLength(2);
  await pass(11_000);
  expect(saves).toHaveLength(3);
});

it('keeps nothing for connections without subscriptions, and ends the session of one that gave up its last', async () => {
  saving.handleChanged(add('idle', 0));
  await pass(1000);
  expect([saves, removals]).toEqual([[], []]);
  const state = add('a');
  saving.handleChanged(state);
  await pass(1000);
  state.connection.release('c0');
  saving.handleChanged(state);
  await pass(1000);
  expect([saves.length, removals]).toEqual([1, [['session-a']]]);
  await pass(LEASE_MS);
  expect([saves.length, removals.length]).toEqual([1, 1]);
});

it('tries again what the broker did not take, as it is by then, with the last words of closed connections', async () => {
  away = true;
  const [state, closing] = [add('a'), add('b')];
  saving.handleChanged(state);
  states.delete('b');
  saving.handleClosing(closing, 'keep');
  await pass(3000);
  expect(saves).toEqual([]);
  [away, positions] = [false, 7];
  await pass(1000);
  const written = saves.flat().map(({ session, subscriptions }) => [session, subscriptions[0]?.position.offset]);
  expect(written).toEqual([
    ['session-b', 1],
    ['session-a', 7],
  ]);
});

it('keeps last words within a bound of subscriptions while the broker is away', async () => {
  away = true;
  const { subscriptions } = add('full', 1000).connection;
  states.clear();
  for (let n = 0; n < 250; n++) {
    const state = add(`many-${n}`, 0);
    for (const [channel, subscription] of subscriptions) state.connection.hold(channel, subscription);
    states.delete(`many-${n}`);
    saving.handleClosing(state, 'keep');
  }
  await pass(3000);
  away = false;
  await pass(30_000);
  expect(saves.flat().map(({ session }) => session)).toEqual(
    Array.from({ length: 200 }, (_, n) => `session-many-${n}`),
  );
});

it('reports sessions that a newer connection holds', async () => {
  outcome = 'stale';
  saving.handleChanged(add('a'));
  await pass(200);
  expect(stale).toEqual(['a']);
});

it('writes what it can before it closes, and does not wait for a broker that is away', async () => {
  const state = add('a');
  saving.handleClosing(state, 'keep');
  const closing = saving.close();
  await pass(0);
  await closing;
  expect(saves.flat()).toHaveLength(1);
});

it('nothing is saved while the claim decides whose session it is', async () => {
  const state = add('a');
  state.claiming = true;
  saving.handleChanged(state);
  await pass(1000);
  expect(saves).toEqual([]);
});

it('a record holds what is still to be restored, and with policy ack only what was acknowledged', () => {
  const state = newState(connectionOf('a'));
  const window = new AckWindow(5);
  window.start(3);
  for (const offset of [4, 6]) window.handleSent(offset);
  positions = 6;
  subscribe(state, 'acked', window);
  const stored = { channel: 'waiting', policy: 'all', window: 0, position: { epoch: 'x', offset: 9 } } as const;
  returningOf(state).pending.set('waiting', stored);
  const offsets = (): unknown =>
    recordOf(state, 'n', positionOf).subscriptions.map(({ channel, position }) => [channel, position.offset]);
  expect(offsets()).toEqual([
    ['acked', 3],
    ['waiting', 9],
  ]);
  window.acknowledge(4);
  expect(offsets()).toContainEqual(['acked', 5]);
  window.acknowledge(6);
  expect(offsets()).toContainEqual(['acked', 6]);
});

it.each([
  [{ kind: 'anonymous' }, null, true],
  [{ kind: 'anonymous' }, 'ada', false],
  [{ kind: 'user', user: 'ada' }, 'ada', true],
  [{ kind: 'user', user: 'bob' }, 'ada', false],
  [{ kind: 'user', user: 'ada' }, null, false],
  [{ kind: 'user', user: '' }, null, false],
] as const)('%o may continue a session of %s: %s', (who, owner, expected) => {
  expect(ownsSession(owner, ownerOf(who))).toBe(expected);
});
