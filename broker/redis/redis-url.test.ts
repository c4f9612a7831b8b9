// URLs of the three topologies are accepted, and no refusal shows a password.
import { describe, expect, test } from 'vitest';
import { createRedisBroker, RedisUrlError } from './redis-broker.ts';

const refusal = (url: string): RedisUrlError => {
  try {
    createRedisBroker({ url, prefix: 'p', node: 'n' });
  } catch (error) {
    if (error instanceof RedisUrlError) return error;
    throw error;
  }
  throw new Error('was accepted');
};

describe('creating a Redis broker', () => {
  test.each([
    ...['', 'localhost:6379', 'http://:secret@host', 'redis://:secret@host:notaport'],
    ...['redis+sentinel://:secret@a:1,b:2', 'redis+sentinel://:secret@a,,b/main', 'redis+cluster://:secret@a/3'],
  ])('refuses %s', (url) => {
    expect(refusal(url).message).not.toContain('secret');
  });

  test.each([
    ...['redis://localhost', 'redis://user:pw@host:6380/2', 'rediss://host:6380'],
    ...['redis+sentinel://u:pw@a:1,b/main', 'redis+cluster://:pw@a:1,[::1]:2', 'redis+cluster://a/'],
  ])('accepts %s', async (url) => {
    await createRedisBroker({ url, prefix: 'p', node: 'n' }).close();
  });
});
