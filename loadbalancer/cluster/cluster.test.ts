import { connect } from 'node:net';
import { expect, it } from 'vitest';
import { startCluster } from './cluster.ts';
import { freePort } from './free-port.ts';

const refused = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', () => {
      resolve(true);
    });
  });

it('fails with the words of the node that could not start, and stops what had started', async () => {
  const [redisPort, haproxyPort] = [await freePort(), await freePort()];
  const start = startCluster({ nodes: 1, redisPort, haproxyPort, env: { WEIR_LOG_LEVEL: 'shouting' } });
  await expect(start).rejects.toThrow(/node-1: ended before it was ready \(exit code 78\)[^]*WEIR_LOG_LEVEL/);
  expect(await refused(redisPort)).toBe(true);
  expect(await refused(haproxyPort)).toBe(true);
});
