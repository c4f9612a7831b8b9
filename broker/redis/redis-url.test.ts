// Only standalone URLs are accepted, and no refusal shows a password.
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
  test.each(['redis+sentinel://:secret@a:1,b:2/main', 'redis+cluster://:secret@a:1,b:2'])(
    'refuses the topology of %s by name',
    (url) => {
      const error = refusal(url);
      expect(error.reason).toBe('unsupported-topology');
      expect(error.message).toContain(url.split(':')[0]);
      expect(error.message).not.toContain('secret');
    },
  );

  test.each(['', 'localhost:6379', 'http://:secret@host', 'redis://:secret@host:notaport'])('refuses %s', (url) => {
    const error = refusal(url);
    expect(error.reason).toBe('invalid');
    expect(error.message).not.toContain('secret');
  });

  test.each(['redis://localhost', 'redis://user:pw@host:6380/2', 'rediss://host:6380'])('accepts %s', async (url) => {
    await createRedisBroker({ url, prefix: 'p', node: 'n' }).close();
  });
});
