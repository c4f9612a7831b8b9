// Limits of users, who hold several connections, and the memory that all of it takes.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLimitTable } from '../../../broker/memory/limit-table.ts';
import { loadConfig } from '../../config.ts';
import { createMetricsRegistry } from '../../observability/registry.ts';
import { Account } from './account.ts';
import { createLimits, type Ending, type Limits } from './limits.ts';

const SETTINGS = {
  WEIR_MAX_USER_CONNECTIONS: '3',
  WEIR_MAX_USER_SUBSCRIPTIONS: '10',
  WEIR_MAX_USER_PUBLISH_RATE: '8/1s',
  WEIR_MAX_PUBLISH_RATE: '6/1s',
  WEIR_MAX_IP_CONNECTIONS: '1000000',
};
const loaded = loadConfig({ argv: [], env: SETTINGS });
if (loaded.kind !== 'ok') throw new Error('the configuration of the test is wrong');
const { config } = loaded;

let limits: Limits;
let exposition: () => Promise<string>;
beforeEach(() => {
  vi.useFakeTimers();
  const table = createLimitTable({ nowMs: () => Date.now() });
  const metrics = createMetricsRegistry();
  exposition = () => metrics.exposition();
  limits = createLimits({
    settings: config,
    cluster: {
      spend: (...args) => Promise.resolve(table.spend(...args)),
      hold: (...args) => Promise.resolve(table.hold('node', ...args)),
    },
    metrics,
    nowMs: () => Date.now(),
  });
});
afterEach(() => {
  limits.close();
  vi.useRealTimers();
});

interface Connected {
  readonly account: Account;
  readonly ending: Ending | undefined;
}
const enter = async (user: string, subscriptions = 0): Promise<Connected> => {
  const account = new Account();
  account.handleHeld(subscriptions);
  const entering = limits.enterUser(account, user);
  await vi.advanceTimersByTimeAsync(2000);
  return { account, ending: await entering };
};
const publish = async ({ account }: Connected, channel = 'c'): Promise<string> => {
  try {
    const share = limits.takePublish(account, channel, undefined);
    await Promise.all([share, vi.advanceTimersByTimeAsync(0)]);
    return 'published';
  } catch (thrown) {
    return (thrown as { reason: string }).reason;
  }
};

describe('a user', () => {
  it('has no more connections than the limit; another user has its own', async () => {
    const endings = [];
    for (let n = 0; n < 4; n++) endings.push((await enter('ada')).ending);
    expect(endings).toEqual([
      undefined,
      undefined,
      undefined,
      expect.objectContaining({ code: 3504, reason: expect.stringContaining('user') as string }) as Ending,
    ]);
    expect((await enter('bob')).ending).toBeUndefined();
    expect(await exposition()).toContain('weir_limited_total{reason="user_connections"} 1');
  });

  it('gets room again for each connection that closes, once', async () => {
    const [first] = [await enter('ada'), await enter('ada'), await enter('ada')];
    for (let n = 0; n < 2; n++) limits.leave(first.account);
    expect((await enter('ada')).ending).toBeUndefined();
    expect((await enter('ada')).ending?.code).toBe(3504);
  });

  it('holds nothing for a connection that closed while it was asked whether there is room', async () => {
    for (let n = 0; n < 5; n++) {
      const account = new Account();
      const entering = limits.enterUser(account, 'ada');
      limits.leave(account);
      await vi.advanceTimersByTimeAsync(2000);
      expect(await entering).toBeUndefined();
    }
    expect((await enter('ada')).ending).toBeUndefined();
  });

  it('publishes with all connections together no more than its rate, each of them no more than its own', async () => {
    const [one, two] = [await enter('ada'), await enter('ada')];
    const outcomes = [];
    for (let n = 0; n < 7; n++) outcomes.push(await publish(one));
    for (let n = 0; n < 4; n++) outcomes.push(await publish(two));
    expect(outcomes).toEqual([
      ...Array.from({ length: 6 }, () => 'published'),
      'publishes',
      'published',
      'published',
      'user_publishes',
      'user_publishes',
    ]);
    expect(await publish(await enter('bob'))).toBe('published');
  });

  it('subscribes with all connections together no more than the limit', async () => {
    const [one, two] = [await enter('ada', 4), await enter('ada', 5)];
    const another = (): void => limits.requireSubscription(two.account);
    expect(another).not.toThrow();
    one.account.handleHeld(1);
    expect(another).toThrow(/at most 10 subscriptions per user/);
    expect(() => limits.requireSubscription(new Account())).not.toThrow();
    two.account.handleHeld(-1);
    expect(another).not.toThrow();
    two.account.handleHeld(1);
    limits.leave(one.account);
    limits.leave(one.account);
    expect(another).not.toThrow();
    // What is opened or ended after the connection closed counts for nobody.
    one.account.handleHeld(-3);
    two.account.handleHeld(4);
    expect(another).not.toThrow();
    two.account.handleHeld(1);
    expect(another).toThrow(/at most 10/);
  });
});

describe('the rate of a namespace', () => {
  it('is that of a user on a channel with all its connections, and of an anonymous connection alone', async () => {
    const rate = { count: 2, perMs: 10_000 };
    const [one, two] = [await enter('ada'), await enter('ada')];
    const attempt = (account: Account): void => void limits.takePublish(account, 'slow:a', rate);
    attempt(one.account);
    attempt(two.account);
    expect(() => attempt(one.account)).toThrow(/client on this channel/);
    const anonymous = new Account();
    attempt(anonymous);
    attempt(new Account());
    attempt(anonymous);
    expect(() => attempt(anonymous)).toThrow(/client on this channel/);
  });
});

it('an address that is loopback is not counted', () => {
  for (let n = 0; n < 10; n++) expect(limits.enterNetwork(new Account(), '127.0.0.1')).toBeUndefined();
});
