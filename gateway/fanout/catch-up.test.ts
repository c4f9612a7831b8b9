import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ChannelPosition } from '../../broker/broker.ts';
import type { Since } from '../../protocol/position.ts';
import { ChannelState, Subscription } from './channel-state.ts';
import type { DeliveryPolicy } from './policy.ts';
import { createSlowSocket, follow, type Node, setUp, shown, subscribe, turn, until } from './test-fanout.ts';
import { createTestSubscriber, publicationsOf } from './test-subscriber.ts';

const range = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, index) => String(from + index));

describe('a subscription with a position', () => {
  it('is served from the history, then live, without a seam', async () => {
    await using node = await setUp();
    await node.publishMany('c', 300);
    const { epoch } = await node.headOf('c');
    const subscriber = createTestSubscriber();
    const { recovered, position } = await subscribe(node, subscriber, { epoch, offset: 120 });
    expect([recovered, position]).toEqual([true, { epoch, offset: 300 }]);
    await node.publishMany('c', 20);
    await until(() => shown(subscriber).length >= 200);
    expect(shown(subscriber)).toEqual(range(121, 320));
    expect(node.hub.find('c')!.behind.size).toBe(0);
  });

  it('is served from the ring without asking the history', async () => {
    await using node = await setUp();
    const [first, second] = [createTestSubscriber(), createTestSubscriber()];
    await subscribe(node, first);
    await node.publishMany('c', 50);
    await until(() => shown(first).length === 50);
    const { epoch } = await node.headOf('c');
    const before = node.readsSoFar();
    const { recovered } = await subscribe(node, second, { epoch, offset: 10 });
    await until(() => shown(second).length === 40);
    expect([recovered, shown(second), node.readsSoFar()]).toEqual([true, range(11, 50), before]);
  });

  it('costs one read and one encoding, however many come back at it', async () => {
    await using node = await setUp();
    await node.publishMany('c', 300);
    const { epoch } = await node.headOf('c');
    await subscribe(node, createTestSubscriber());
    const before = node.readsSoFar();
    const herd = Array.from({ length: 50 }, createTestSubscriber);
    await Promise.all(herd.map((subscriber) => subscribe(node, subscriber, { epoch, offset: 100 })));
    await until(() => herd.every((subscriber) => shown(subscriber).length === 200));
    expect(node.readsSoFar() - before).toBe(1);
    expect(new Set(herd.map(({ frames }) => frames[0])).size).toBe(1);
  });

  it('is not refused because a read that others began earlier does not show it yet', async () => {
    const arrivals: (() => void)[] = [];
    const onTheWay = (): Promise<void> => new Promise((resolve) => arrivals.push(resolve));
    const arrive = (): void => arrivals.splice(0).forEach((resolve) => resolve());
    let losing = false;
    await using node = await setUp({ onTheWay, lossy: () => losing });
    await node.publishMany('c', 3);
    const { epoch } = await node.headOf('c');
    await subscribe(node, createTestSubscriber());
    const position = { epoch, offset: 4 };
    const early = subscribe(node, createTestSubscriber(), position);
    await until(() => arrivals.length > 0);
    // The publication reaches neither the read under way nor, yet, this node; the client got it from another one.
    losing = true;
    await node.publish('c');
    await turn();
    const late = createTestSubscriber();
    const outcomes = Promise.allSettled([early, subscribe(node, late, position)]);
    let answered = false;
    void outcomes.then(() => (answered = true));
    await until(() => {
      arrive();
      return answered;
    });
    expect((await outcomes).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled']);
    losing = false;
    void node.publish('c');
    await until(() => {
      arrive();
      return shown(late).length === 1;
    });
    expect(shown(late)).toEqual(['5']);
  });

  it('gets a receipt for what expired before the rest', async () => {
    await using node = await setUp({ bounds: { size: 10, ttlMs: 60_000 } });
    await node.publishMany('c', 50);
    const { epoch } = await node.headOf('c');
    const subscriber = createTestSubscriber();
    const { recovered } = await subscribe(node, subscriber, { epoch, offset: 5 });
    await until(() => shown(subscriber).length === 11);
    expect([recovered, shown(subscriber)]).toEqual([false, ['6-40 expired', ...range(41, 50)]]);
  });

  it('of another epoch gets a receipt that says where numbering goes on', async () => {
    await using node = await setUp();
    await node.publishMany('c', 3);
    const subscriber = createTestSubscriber();
    const { recovered } = await subscribe(node, subscriber, { epoch: 'gone', offset: 700 });
    await until(() => shown(subscriber).length === 4);
    expect([recovered, shown(subscriber)]).toEqual([false, ['null-null epoch', '1', '2', '3']]);
  });

  it('that the channel has not reached is refused, and leaves nothing behind', async () => {
    await using node = await setUp();
    await node.publishMany('c', 3);
    const { epoch } = await node.headOf('c');
    const refused = subscribe(node, createTestSubscriber(), { epoch, offset: 4 });
    await expect(refused).rejects.toMatchObject({ error: 'unrecoverablePosition' });
    expect([node.hub.subscriptionCount, node.hub.channelCount]).toEqual([0, 0]);
  });

  it('starts at the oldest kept, or a number of messages before the head', async () => {
    await using node = await setUp({ bounds: { size: 30, ttlMs: 60_000 } });
    await node.publishMany('c', 50);
    const cases: readonly [Since, string[]][] = [
      ['earliest', range(21, 50)],
      [{ last: 3 }, range(48, 50)],
      [{ last: 1000 }, range(21, 50)],
      [{ last: 0 }, []],
    ];
    for (const [since, expected] of cases) {
      const subscriber = createTestSubscriber();
      const { recovered, subscription } = await subscribe(node, subscriber, since);
      await until(() => subscription.behind === null && shown(subscriber).length === expected.length);
      expect([since, recovered, shown(subscriber)]).toEqual([since, true, expected]);
      node.hub.unsubscribe(subscription);
    }
  });

  it('is served from the head of an empty channel on', async () => {
    await using node = await setUp();
    const subscriber = createTestSubscriber();
    await subscribe(node, subscriber, 'earliest');
    await node.publishMany('c', 2);
    await until(() => shown(subscriber).length === 2);
  });

  it('ends while its history is read without a trace', async () => {
    await using node = await setUp();
    await node.publishMany('c', 10);
    await subscribe(node, createTestSubscriber());
    const subscriber = createTestSubscriber();
    const attached = subscribe(node, subscriber, { last: 5 });
    await turn();
    node.hub.unsubscribe([...node.hub.find('c')!.behind][0]!);
    await attached;
    await node.publishMany('c', 2);
    await until(() => node.hub.find('c')!.sentSeq === 2);
    expect([shown(subscriber), node.hub.subscriptionCount]).toEqual([[], 1]);
  });
});

describe('a log that lags behind the history', () => {
  it('is healed when the backplane does not bring what the history shows', async () => {
    let losing = false;
    await using node = await setUp({ lossy: () => losing });
    const [live, resuming] = [createTestSubscriber(), createTestSubscriber()];
    await subscribe(node, live);
    await node.publishMany('c', 3);
    await until(() => shown(live).length === 3);
    losing = true;
    await node.publishMany('c', 3);
    await turn();
    const { epoch } = await node.headOf('c');
    await subscribe(node, resuming, { epoch, offset: 5 });
    await until(() => shown(live).length === 6);
    expect([shown(live), shown(resuming)]).toEqual([range(1, 6), ['6']]);
  });
});

describe('many who catch up at once', () => {
  it('take little of each turn of the loop while others receive live', async () => {
    await using node = await setUp();
    const live = createTestSubscriber();
    await node.hub.subscribe(live, 'live');
    await node.publishMany('c', 5);
    await node.publish('live');
    await until(() => live.frames.length > 0);
    let turns = '';
    const late = Array.from({ length: 30 }, () => {
      const subscriber = createTestSubscriber();
      const take = subscriber.sendFrame.bind(subscriber);
      subscriber.sendFrame = (frame) => {
        turns += 'p';
        // A page takes its time.
        node.pass(0.3);
        take(frame);
      };
      return subscriber;
    });
    let isWatching = true;
    const watch = (): void => {
      turns += '|';
      if (isWatching) setImmediate(watch);
    };
    watch();
    await Promise.all(late.map((subscriber) => subscribe(node, subscriber, 'earliest')));
    while (late.some((subscriber) => shown(subscriber).length < 5)) {
      await node.publish('live');
      await turn();
    }
    isWatching = false;
    expect(late.map(shown)).toEqual(late.map(() => range(1, 5)));
    expect(Math.max(...turns.split('|').map(({ length }) => length))).toBeLessThanOrEqual(2);
  });
});

describe('the entries a flush still needs', () => {
  it('include those of a subscription that returned, however small the ring', () => {
    const channel = new ChannelState('c');
    channel.log.open({ epoch: 'e', offset: 0 });
    channel.log.append({ channel: 'c', epoch: 'e', publications: publicationsOf(1, 10) });
    channel.flushedSeq = 10;
    const subscription = new Subscription(createTestSubscriber(), channel, 4);
    channel.add(subscription);
    channel.returning.push(subscription);
    channel.log.trim(channel.neededSeq, 0);
    expect(channel.log.firstSeq).toBe(4);
    channel.remove(subscription);
    channel.log.trim(channel.neededSeq, 0);
    expect(channel.log.firstSeq).toBe(10);
  });
});

describe('a slow socket', () => {
  it('costs nothing but its position while it stands still, and gets everything in order when it drains', async () => {
    await using node = await setUp();
    const slow = createSlowSocket();
    await subscribe(node, slow.subscriber);
    slow.stall();
    await node.publishMany('c', 400, 1000);
    await until(() => slow.subscriber.parked);
    const handed = slow.subscriber.frames.length;
    const { buffered } = slow.subscriber;
    // One flush to an idle socket, and no second one.
    expect(buffered).toBeLessThanOrEqual(128 * 1024);
    await node.publishMany('c', 400, 1000);
    await until(() => node.hub.find('c')!.sentSeq === 800);
    expect(slow.subscriber.frames).toHaveLength(handed);
    slow.recover(node);
    await until(() => shown(slow.subscriber).length === 800);
    expect(shown(slow.subscriber)).toEqual(range(1, 800));
    await until(() => node.hub.find('c')!.behind.size === 0);
  });

  it('gets pages only as it drains: what waits for it stays bounded', async () => {
    await using node = await setUp({ bounds: { size: 100_000, ttlMs: 600_000 } });
    await node.publishMany('c', 5000, 200);
    const slow = createSlowSocket();
    slow.stall();
    await subscribe(node, slow.subscriber, 'earliest');
    let most = 0;
    let drains = 0;
    while (shown(slow.subscriber).length < 5000) {
      const { length } = slow.subscriber.frames;
      await until(() => slow.subscriber.frames.length > length || slow.subscriber.buffered > 32 * 1024);
      most = Math.max(most, slow.subscriber.buffered);
      slow.drain(node, 40_000);
      drains++;
    }
    expect(most).toBeLessThan(2 * 64 * 1024 + 32 * 1024);
    expect(drains).toBeGreaterThan(20);
    expect(shown(slow.subscriber)).toEqual(range(1, 5000));
  });

  it('does not remember those who come and go while it stands still', async () => {
    await using node = await setUp();
    await subscribe(node, createTestSubscriber());
    await node.publishMany('c', 10);
    await until(() => node.hub.find('c')!.sentSeq === 10);
    const { epoch } = await node.headOf('c');
    const slow = createSlowSocket();
    slow.subscriber.buffered = 1 << 20;
    slow.subscriber.parked = true;
    for (let index = 0; index < 50; index++) {
      const { subscription } = await subscribe(node, slow.subscriber, { epoch, offset: 1 });
      node.hub.unsubscribe(subscription);
    }
    expect(slow.subscriber.lane!.queue).toEqual([]);
    expect([node.hub.subscriptionCount, slow.subscriber.frames]).toEqual([1, []]);
  });

  it('is served channel by channel in turns: a large backlog does not monopolise it', async () => {
    await using node = await setUp();
    await node.publishMany('c', 900, 1000);
    await node.publishMany('small', 5, 1000);
    const subscriber = createTestSubscriber();
    await subscribe(node, subscriber, 'earliest');
    await node.hub.subscribe(subscriber, 'small', { since: 'earliest', policy: 'all', window: 0 });
    await until(() => subscriber.received().length === 905);
    const last = subscriber.received().findLastIndex(({ channel }) => channel === 'small');
    expect(last).toBeLessThan(500);
  });
});

describe('a policy', () => {
  const backlogged = async (node: Node, policy: DeliveryPolicy) => {
    const slow = createSlowSocket();
    await subscribe(node, slow.subscriber, undefined, policy);
    slow.stall();
    await node.publish('c', { bytes: 60_000 });
    await until(() => node.hub.find('c')!.sentSeq === 1);
    // Fills the socket and shows the dispatcher that it is full.
    await node.publish('c');
    await until(() => node.hub.find('c')!.sentSeq === 2);
    return slow;
  };

  it('latest brings the newest of the backlog', async () => {
    await using node = await setUp();
    const slow = await backlogged(node, 'latest');
    await node.publishMany('c', 50);
    await until(() => node.hub.find('c')!.sentSeq === 52);
    slow.recover(node);
    await until(() => shown(slow.subscriber).at(-1) === '52');
    expect(shown(slow.subscriber)).toEqual(['1', '2', '3-51 conflated', '52']);
    await node.publishMany('c', 2);
    await until(() => shown(slow.subscriber).length === 6);
    expect(shown(slow.subscriber).slice(-2)).toEqual(['53', '54']);
  });

  it('latest needs one message of a backlog that only the history has', async () => {
    await using node = await setUp({ ringBytes: 0 });
    const slow = await backlogged(node, 'latest');
    await node.publishMany('c', 50);
    await until(() => node.hub.find('c')!.sentSeq === 52);
    slow.recover(node);
    await until(() => shown(slow.subscriber).at(-1) === '52');
    expect(shown(slow.subscriber)).toEqual(['1', '2', '3-51 conflated', '52']);
  });

  it('conflate brings the newest of every key', async () => {
    await using node = await setUp();
    const slow = await backlogged(node, 'conflate');
    for (const key of ['a', 'b', 'a', 'a', 'b', 'c']) await node.publish('c', { key });
    await until(() => node.hub.find('c')!.sentSeq === 8);
    slow.recover(node);
    await until(() => shown(slow.subscriber).at(-1) === '8');
    expect(shown(slow.subscriber)).toEqual(['1', '2', '3-5 conflated', '6', '7', '8']);
  });

  it('ack sends no more than its window unacknowledged, also when nothing is slow', async () => {
    await using node = await setUp();
    const subscriber = createTestSubscriber();
    const { subscription } = await subscribe(node, subscriber, undefined, 'ack', 3);
    await node.publishMany('c', 10);
    await until(() => shown(subscriber).length === 3);
    await until(() => node.hub.find('c')!.sentSeq === 10);
    expect(shown(subscriber)).toEqual(range(1, 3));
    node.hub.acknowledge(subscription, 2);
    await until(() => shown(subscriber).length === 5);
    node.hub.acknowledge(subscription, 2);
    expect(() => node.hub.acknowledge(subscription, 6)).toThrow(/at most 5/);
    node.hub.acknowledge(subscription, 5);
    await until(() => shown(subscriber).length === 8);
    node.hub.acknowledge(subscription, 8);
    await until(() => shown(subscriber).length === 10);
    expect(shown(subscriber)).toEqual(range(1, 10));
  });
});

describe('rule G1', () => {
  const HISTORY_TTL_MS = 600_000;
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('publish' as const),
        count: fc.integer({ min: 1, max: 40 }),
        by: fc.integer({ min: 0, max: 1 }),
      }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('turn' as const, 'lose' as const, 'hear' as const) }) },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constantFrom('stall' as const, 'drain' as const, 'recover' as const, 'leave' as const, 'join' as const),
        who: fc.integer({ min: 0, max: 2 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('forget' as const, 'expire' as const) }) },
  );
  const policies = fc.tuple(
    ...[0, 1, 2].map(() => fc.constantFrom('all' as const, 'latest' as const, 'conflate' as const, 'ack' as const)),
  );
  const worlds = fc.record({
    size: fc.constantFrom(0, 5, 60, 1000),
    ringBytes: fc.constantFrom(0, 3000, 1 << 17),
    bytes: fc.constantFrom(0, 3000),
    turnsOfRead: fc.constantFrom(0, 1, 5),
    policies,
    steps: fc.array(step, { minLength: 5, maxLength: 60 }),
  });

  it('holds for any interleaving of publish, trim, expiry, flush, drop, reconnect, stall, slow reads and two publishers', async () => {
    await fc.assert(
      fc.asyncProperty(worlds, async ({ size, ringBytes, bytes, turnsOfRead, policies: chosen, steps }) => {
        let losing = false;
        // The log is trimmed and goes on while a page is on its way.
        const onTheWay = async (): Promise<void> => {
          for (let n = 0; n < turnsOfRead; n++) await turn();
        };
        const bounds = { size, ttlMs: HISTORY_TTL_MS };
        await using node = await setUp({ bounds, ringBytes, lossy: () => losing, onTheWay });
        const clients = chosen.map((policy) => ({
          policy,
          socket: createSlowSocket(),
          position: undefined as ChannelPosition | undefined,
          subscription: undefined as Subscription | undefined,
        }));
        type Client = (typeof clients)[number];
        const settle = (client: Client): void => {
          if (client.position === undefined) return;
          client.position = follow(client.position, client.socket.subscriber.received());
          client.socket.subscriber.frames.length = 0;
          const { subscription, position, policy } = client;
          // After a change of epoch what was sent last may be of the old one.
          if (policy !== 'ack' || subscription?.window == null) return;
          const offset = Math.min(position.offset, subscription.window.newestSent);
          node.hub.acknowledge(subscription, offset);
        };
        const join = async (client: Client): Promise<void> => {
          if (client.subscription !== undefined) return;
          client.socket = createSlowSocket();
          const { subscription, position } = await subscribe(
            node,
            client.socket.subscriber,
            client.position,
            client.policy,
          );
          client.subscription = subscription;
          client.position ??= position;
        };
        const leave = (client: Client): void => {
          if (client.subscription === undefined) return;
          node.hub.unsubscribe(client.subscription);
          client.subscription = undefined;
          settle(client);
        };
        const perform = async (action: (typeof steps)[number]): Promise<unknown> => {
          switch (action.do) {
            case 'publish':
              return Promise.all(
                Array.from({ length: action.count }, (_, index) =>
                  node.publish('c', { by: action.by, bytes, key: `k${index % 3}` }),
                ),
              );
            case 'turn':
              return turn();
            case 'lose':
              return (losing = true);
            case 'hear':
              losing = false;
              return node.hub.handleRestored();
            case 'stall':
              return clients[action.who]!.socket.stall();
            case 'drain':
              clients[action.who]!.socket.drain(node, 20_000);
              return undefined;
            case 'recover':
              clients[action.who]!.socket.recover(node);
              return undefined;
            case 'leave':
              leave(clients[action.who]!);
              return undefined;
            case 'join':
              return join(clients[action.who]!);
            case 'forget':
              return node.forgetNumbering();
            case 'expire':
              return node.pass(HISTORY_TTL_MS + 1);
          }
        };
        for (const client of clients) await join(client);
        for (const action of steps) await perform(action);
        losing = false;
        await Promise.all(clients.map(join));
        await node.publish('c');
        await node.hub.handleRestored();
        const head = await node.headOf('c');
        for (const { socket } of clients) socket.recover(node);
        await until(() => {
          for (const client of clients) settle(client);
          return clients.every(({ position }) => position?.epoch === head.epoch && position.offset >= head.offset);
        });
        for (const { position } of clients) expect(position).toEqual(head);
      }),
      { numRuns: 400 },
    );
  }, 60_000);
});
