// No error of the Redis client that leaves the driver carries the command that failed, hence no password and no body.
import { expect, test, vi } from 'vitest';
import { Redis } from 'ioredis';
import { BrokerUnavailableError } from '../broker.ts';
import { WAIT, createRecorder, requestFor, type Recorder } from '../conformance/harness.ts';
import { startRedis } from '../../loadbalancer/cluster/redis-process.ts';
import { driverError } from './driver-error.ts';
import { createRedisBroker } from './redis-broker.ts';

const PASSWORD = 'S3CRET-in-the-url';

/** Everything a logger could find: own properties, enumerable or not, of the error and of whatever hangs on it. */
const everythingIn = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(everythingIn);
  if (typeof value !== 'object' || value === null) return value;
  const names = Object.getOwnPropertyNames(value);
  return Object.fromEntries(names.map((name) => [name, everythingIn((value as Record<string, unknown>)[name])]));
};

const textOf = (value: unknown): string => JSON.stringify(everythingIn(value));

/** Reports of a broker that tries to start with the password in its URL, until every link has failed. */
const reportsOfRefusedLogin = async (port: number): Promise<Recorder['errors']> => {
  const broker = createRedisBroker({ url: `redis://user1:${PASSWORD}@127.0.0.1:${port}`, prefix: 'p', node: 'a' });
  const events = createRecorder();
  const { errors } = events;
  broker.start(events).catch(() => undefined);
  await vi.waitFor(() => {
    for (const link of ['commands', 'subscriber', 'history']) {
      expect(errors.map(({ stage }) => stage)).toContain(`redis.${link}.connect`);
    }
  }, WAIT);
  await broker.close();
  return errors;
};

test('a wrong password in the URL is in no report', async () => {
  await using redis = await startRedis({ args: ['--requirepass', 'another'] });
  const errors = await reportsOfRefusedLogin(redis.port);
  expect(errors.map(({ error }) => error.message).join()).toContain('WRONGPASS');
  expect(textOf(errors)).not.toContain(PASSWORD);
});

test('a server that quotes the login it does not know does not put the password into a report', async () => {
  await using redis = await startRedis({ args: ['--rename-command', 'AUTH', ''] });
  const errors = await reportsOfRefusedLogin(redis.port);
  expect(errors.map(({ error }) => error.message).join()).toContain('with args beginning with: (withheld)');
  expect(textOf(errors)).not.toContain(PASSWORD);
});

test('the causes of refused calls name the refusal and hold no command', async () => {
  await using redis = await startRedis();
  const admin = new Redis(redis.url);
  const broker = createRedisBroker({ url: redis.url, prefix: 'p', node: 'a', publishTimeoutMs: 30_000 });
  await broker.start(createRecorder());
  await broker.control.announce(null);
  // Taken from connections that are open, too.
  await admin.call('ACL', 'SETUSER', 'default', '-evalsha', '-subscribe');
  const calls = [
    broker.publish(requestFor('x', 'a body')),
    broker.history.positions(['x']),
    broker.control.nodes(),
    broker.subscribe('x'),
  ];
  for (const outcome of await Promise.allSettled<unknown>(calls)) {
    if (outcome.status === 'fulfilled') throw new Error('was allowed');
    expect(outcome.reason).toBeInstanceOf(BrokerUnavailableError);
    const { cause } = outcome.reason as BrokerUnavailableError;
    expect(cause).toMatchObject({ name: 'ReplyError', message: expect.stringContaining('NOPERM') as string });
    expect(textOf(cause)).not.toMatch(/"(command|args)"/);
  }
  await broker.close();
  admin.disconnect();
});

test('codes of the system stay, and an error without text is named by its code', () => {
  const refused = Object.assign(new Error(''), { code: 'ECONNREFUSED', port: 6379, command: { args: [PASSWORD] } });
  const cleaned = driverError(new Error('outer', { cause: refused }));
  expect(cleaned.cause).toMatchObject({ message: 'ECONNREFUSED', code: 'ECONNREFUSED', port: 6379 });
  expect(textOf(cleaned)).not.toContain(PASSWORD);
});
