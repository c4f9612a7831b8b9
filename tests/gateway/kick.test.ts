// The kick policy of a namespace on a real socket: off by default, and what a client sees where it is on.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type TemporaryDirectory, temporaryDirectory, waitFor, type WsClient } from '../support/index.ts';
import { type GatewayUnderTest, startGatewayUnderTest } from './gateway-under-test.ts';

const CONFIG = `
namespaces:
  strict: {kickBehind: 1s}
  prompt: {coalesce: 0}
  calm: {coalesce: 250ms}
`;

let directory: TemporaryDirectory;
let gateway: GatewayUnderTest;
beforeAll(async () => {
  directory = await temporaryDirectory('config');
  const file = join(directory.path, 'weir.yaml');
  await writeFile(file, CONFIG);
  gateway = await startGatewayUnderTest({ WEIR_CONFIG: file });
});
afterAll(async () => {
  await gateway.stop();
  await directory.remove();
});

const parked = () => gateway.metric('weir_connections_parked');
const stallOn = async (channel: string): Promise<WsClient> => {
  const client = await gateway.connect({ timeoutMs: 30_000 });
  await client.expect('subscribe', { channel });
  client.pause();
  const before = await parked();
  await waitFor(
    async () => {
      await gateway.publish(channel, 'x'.repeat(256 * 1024));
      return (await parked()) > before;
    },
    { timeoutMs: 30_000, description: 'a parked socket' },
  );
  // The flush after that finds it parked: now the subscription is behind.
  await gateway.publish(channel, 'last');
  return client;
};

it('ends a connection whose subscription is behind for too long, and none of a namespace without a limit', async () => {
  const lenient = await stallOn('default:1');
  const kicked = await stallOn('strict:1');
  await waitFor(async () => (await gateway.metric('weir_connections_kicked_total')) === 1, {
    timeoutMs: 30_000,
    description: 'the kick',
  });
  await waitFor(async () => (await gateway.metric('weir_connections')) === 1, { description: 'its connection to end' });
  kicked.resume();
  // Its outbox was full and nobody read: it was cut before the close code could be heard.
  expect([1006, 3008]).toContain((await kicked.waitForClose()).code);
  lenient.resume();
  expect((await lenient.expect('ping')).type).toBe('pong');
  await gateway.giveBack();
}, 90_000);

it('coalesces as the namespace says', async () => {
  const client = await gateway.connect();
  for (const channel of ['prompt:1', 'calm:1']) await client.expect('subscribe', { channel });
  const frames = client.frames();
  const commands = (channel: string) => Array.from({ length: 2 }, () => ({ type: 'publish', channel, data: 1 }));
  for (let round = 0; round < 2; round++) await client.commands(commands('calm:1'));
  await client.commands(commands('prompt:1'));
  await client.waitForMessages(2, 'prompt:1');
  expect(client.messages('calm:1')).toEqual([]);
  await client.waitForMessages(4, 'calm:1');
  expect(client.frames()).toBeGreaterThan(frames);
  expect(client.messages('calm:1').map(({ offset }) => offset)).toEqual([1, 2, 3, 4]);
  await gateway.giveBack();
});
