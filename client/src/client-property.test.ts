// Whatever the server, the network and the application's own handlers do, in any order: no duplicate, no hole, no freeze.
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { WeirClient } from './client.ts';
import type { Position } from './protocol/wire.ts';
import type { Subscription } from './subscriptions/subscription.ts';
import { createManualClock, settled } from './testing/manual-clock.ts';
import { createModelServer } from './testing/model-server.ts';

const CHANNELS = ['a', 'b'] as const;
const channel = fc.constantFrom(...CHANNELS);
const index = fc.nat(3);
const appAction = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('subscribe', 'resubscribe', 'publish'), channel }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('unsubscribe', 'bounce', 'disconnect', 'throw'), channel }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('connect'), channel }) },
);
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('serve' as const), n: fc.integer({ min: 1, max: 5 }) }) },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('deliver' as const), index, n: fc.integer({ min: 0, max: 4 }) }),
  },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('write'), channel }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('trim', 'renumber'), channel }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('drop', 'move'), index }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('refuse' as const), code: fc.constantFrom(112, 114, 115) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.integer({ min: 1, max: 2000 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('sleep' as const), ms: fc.integer({ min: 1, max: 20_000 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('app' as const), action: appAction }) },
  // The next such event finds a handler that does this.
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('inHandler' as const),
      event: fc.constantFrom('message', 'gap', 'subscribing', 'subscribed', 'unsubscribed'),
      action: appAction,
    }),
  },
);
type AppAction = typeof appAction extends fc.Arbitrary<infer T> ? T : never;
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Follows one subscription and notes every event that does not join to the one before. */
const watch = (subscription: Subscription) => {
  const faults: string[] = [];
  let position: Position | undefined;
  let over = false;
  const fault = (what: string): void => {
    faults.push(`${what} after ${JSON.stringify(position)}`);
  };
  const alive = (what: string): void => {
    if (over) fault(`${what} of a subscription that is over`);
  };
  subscription.on('subscribed', (event) => {
    alive('subscribed');
    position ??= event.position;
  });
  subscription.on('unsubscribed', () => {
    alive('unsubscribed');
    over = true;
  });
  subscription.on('gap', ({ from, to, reason, epoch: next, offset }) => {
    alive(`gap ${String(from)}-${String(to)} ${reason}`);
    if (next !== undefined && offset !== undefined) position = { epoch: next, offset };
    else if (!position) fault('gap');
    else {
      if (from !== position.offset + 1 || to == null || to < from) fault(`gap ${String(from)}-${String(to)}`);
      position = { epoch: position.epoch, offset: to ?? 0 };
    }
  });
  subscription.on('message', ({ offset, data }) => {
    alive(`message ${String(data)}`);
    const epoch = String(data).split(':')[0]!;
    if (position && (position.epoch !== epoch || offset !== position.offset + 1)) fault(`message ${String(data)}`);
    position = { epoch, offset: offset! };
  });
  return { subscription, faults, position: () => position };
};

const run = async (steps: readonly Step[]): Promise<void> => {
  const server = createModelServer();
  const clock = createManualClock();
  let ids = 0;
  const client = new WeirClient('ws://test', {
    transport: server.transport,
    internals: { clock, random: () => 0.5, createId: () => `id-${++ids}` },
  });
  client.on('error', () => undefined);
  const watched = new Map<Subscription, ReturnType<typeof watch>>();
  const published: Promise<unknown>[] = [];
  const armed: { event: string; action: AppAction }[] = [];

  const subscribe = (name: string): void => {
    const subscription = client.subscribe(name);
    if (watched.has(subscription)) return;
    watched.set(subscription, watch(subscription));
    for (const event of ['message', 'gap', 'subscribing', 'subscribed', 'unsubscribed'] as const) {
      subscription.on(event, () => {
        if (armed[0]?.event === event) act(armed.shift()!.action);
      });
    }
  };
  const act = (action: AppAction): void => {
    switch (action.do) {
      case 'subscribe':
        subscribe(action.channel);
        return;
      case 'unsubscribe':
        client.unsubscribe(action.channel);
        return;
      case 'resubscribe':
        client.unsubscribe(action.channel);
        subscribe(action.channel);
        return;
      case 'publish':
        published.push(client.publish(action.channel, 'x').catch((error: unknown) => error));
        return;
      case 'connect':
        void client.connect();
        return;
      case 'disconnect':
        client.disconnect();
        return;
      case 'bounce':
        client.disconnect();
        void client.connect();
        return;
      case 'throw':
        throw new Error('of the application');
    }
  };
  const connectionAt = (at: number) => server.open()[at % Math.max(1, server.open().length)];
  const perform = async (one: Step): Promise<void> => {
    if ('ms' in one) await (one.do === 'sleep' ? clock.sleep(one.ms) : clock.advance(one.ms));
    else if ('event' in one) armed.push(one);
    else if ('action' in one) {
      if (one.action.do !== 'throw') act(one.action);
    } else if ('code' in one) server.refuseNext(one.code);
    else if ('channel' in one) {
      if (one.do === 'write') server.publish(one.channel);
      else if (one.do === 'trim') server.trim(one.channel);
      else server.renumber(one.channel);
    } else if (!('index' in one)) server.serve(one.n);
    else {
      const target = connectionAt(one.index);
      if (!target) return;
      if (one.do === 'deliver') server.deliver(target, one.n);
      else if (one.do === 'drop') server.drop(target);
      else server.move(target);
    }
    await settled();
  };

  void client.connect();
  subscribe('a');
  for (const one of steps) await perform(one);

  // Calm: nothing more goes wrong, and within a bounded time all is as it should be.
  armed.length = 0;
  server.calm();
  void client.connect();
  const quiet = async (): Promise<void> => {
    for (let round = 0; round < 60; round++) {
      server.serve(100);
      await settled();
      for (const one of server.open()) server.deliver(one, 100);
      await clock.advance(2000);
    }
  };
  await quiet();
  for (const name of CHANNELS) server.publish(name);
  await quiet();

  const faults = [...watched.values()].flatMap((one) => one.faults);
  expect(faults).toEqual([]);
  expect(client.state).toBe('connected');
  const live = [...watched.values()].filter(({ subscription }) => subscription.state !== 'unsubscribed');
  for (const { subscription, position } of live) {
    const { epoch, head } = server.logOf(subscription.channel);
    expect(subscription.state).toBe('subscribed');
    expect(subscription.position).toEqual({ epoch, offset: head });
    expect(position()).toEqual({ epoch, offset: head });
  }
  // The server serves exactly what the application has, on one connection.
  const [last, ...others] = server.open();
  expect(others).toEqual([]);
  expect([...last!.cursors.keys()].sort()).toEqual(live.map(({ subscription }) => subscription.channel).sort());
  // Every publish has an outcome, and each success its own place.
  const outcomes = await Promise.all(published);
  const places = outcomes.flatMap((outcome) => (outcome instanceof Error ? [] : [JSON.stringify(outcome)]));
  expect(new Set(places).size).toBe(places.length);
  client.disconnect();
};

it('joins every offset of every subscription and ends as it should', async () => {
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 150, size: 'max' }), run), {
    numRuns: 200,
  });
});
