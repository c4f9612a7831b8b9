// What a command sent is let go of by the collections of the young generation, however many commands there are.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Redis } from 'ioredis';
import { expect, it } from 'vitest';
import { startRedis } from '../../loadbalancer/cluster/redis-process.ts';
import { sendEncoded, sendOnce } from './forgetful-command.ts';

const COMMANDS = 200;
/** More than Node cuts out of shared memory, and in all too little for a collection of the old generation meanwhile. */
const VALUE_BYTES = 16 * 1024;

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as (options: { readonly type: 'minor' }) => void;
const keptBytes = (): number => {
  // What survives once is looked at again.
  for (let times = 0; times < 3; times++) gc({ type: 'minor' });
  return process.memoryUsage().arrayBuffers;
};

/** As the links are: what cannot be written is refused. */
const connect = async (url: string): Promise<Redis> => {
  const redis = new Redis(url, { enableOfflineQueue: false, lazyConnect: true });
  await redis.connect();
  return redis;
};

/** Bytes that are kept after `COMMANDS` were sent and answered, one after the other. */
const keptAfter = async (send: (redis: Redis, value: Buffer) => Promise<unknown>): Promise<number> => {
  await using server = await startRedis();
  const redis = await connect(server.url);
  const before = keptBytes();
  for (let sent = 0; sent < COMMANDS; sent++) await send(redis, Buffer.alloc(VALUE_BYTES, 'x'));
  const kept = keptBytes() - before;
  expect(await redis.strlen('k')).toBe(VALUE_BYTES);
  redis.disconnect();
  return kept;
};

const SOME_BYTES = (COMMANDS / 4) * VALUE_BYTES;

it('keeps no bytes that were encoded before', async () => {
  const kept = await keptAfter((redis, value) => {
    const head = `*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$${value.length}\r\n`;
    return sendEncoded(redis, 'SET', Buffer.concat([Buffer.from(head), value, Buffer.from('\r\n')]));
  });
  expect(kept).toBeLessThan(SOME_BYTES);
});

it('keeps no arguments', async () => {
  expect(await keptAfter((redis, value) => sendOnce(redis, 'SET', ['k', value]))).toBeLessThan(SOME_BYTES);
});

it('tells replies and errors', async () => {
  await using server = await startRedis();
  const redis = await connect(server.url);
  expect(await sendOnce(redis, 'ECHO', ['é'])).toEqual(Buffer.from('é'));
  expect(await sendEncoded(redis, 'ECHO', Buffer.from('*2\r\n$4\r\nECHO\r\n$2\r\né\r\n'))).toBe('é');
  await expect(sendOnce(redis, 'ECHO', [])).rejects.toThrow('wrong number of arguments');
  redis.disconnect();
  await expect(sendOnce(redis, 'PING', [])).rejects.toThrow('writeable');
});
