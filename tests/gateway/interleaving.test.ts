// A large backlog does not monopolise a socket: while it arrives, replies, pings and small channels come in between (R70).
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { waitFor, type WireObject, type WsClient } from '../support/index.ts';
import { type GatewayUnderTest, startGatewayUnderTest } from './gateway-under-test.ts';

const MESSAGES = 900;
const MESSAGE_BYTES = 32 * 1024;
const PER_BATCH = 30;

let gateway: GatewayUnderTest;
beforeAll(async () => {
  gateway = await startGatewayUnderTest();
  for (let published = 0; published < MESSAGES; published += PER_BATCH) {
    const publish = { channel: 'big', data: 'x'.repeat(MESSAGE_BYTES) };
    const commands = Array.from({ length: PER_BATCH }, () => ({ publish }));
    expect((await gateway.api('/v1/batch', { body: { commands } })).status).toBe(200);
  }
}, 60_000);
afterEach(() => gateway.giveBack());
afterAll(() => gateway.stop());

/** A client that has asked for the backlog and reads nothing, when its socket takes no more. */
const startBacklog = async (): Promise<WsClient> => {
  const client = await gateway.connect({ timeoutMs: 60_000 });
  await client.expect('subscribe', { channel: 'small' });
  client.pause();
  client.send({ type: 'subscribe', channel: 'big', since: 'earliest' });
  await waitFor(async () => (await gateway.metric('weir_connections_parked')) === 1, {
    description: 'the socket to take no more',
  });
  return client;
};
const bigOnes = (client: WsClient): number => client.messages('big').length;

/** Sends, and resolves when the node has taken the commands among it, while the client still reads nothing. */
const ask = async (client: WsClient, commands: readonly WireObject[]): Promise<void> => {
  const taken = async (): Promise<number> => await gateway.metric('weir_commands_total');
  const expected = (await taken()) + commands.length;
  client.send(commands);
  await waitFor(async () => (await taken()) === expected, { description: 'the node to take the commands' });
};
/** Lets the client read the whole backlog. */
const readAll = async (client: WsClient): Promise<void> => {
  client.resume();
  await waitFor(() => bigOnes(client) === MESSAGES, { timeoutMs: 60_000, description: 'the whole backlog' });
  expect(client.messages('big').map(({ offset }) => offset)).toEqual(
    Array.from({ length: MESSAGES }, (_, index) => index + 1),
  );
  expect(client.gaps()).toEqual([]);
};
/** How much of the backlog came before what fits. */
const backlogBefore = (client: WsClient, fits: (object: WireObject) => boolean): number => {
  const index = client.received.findIndex(fits);
  expect(index).not.toBe(-1);
  return client.received.slice(0, index).filter(({ channel, type }) => type === 'message' && channel === 'big').length;
};
/**
 * The client had read nothing, so the kernel holds what its buffers begin with, some megabytes: how fast this process reads plays no
 * part. What waits for the backlog comes behind all of it.
 */
const IN_BETWEEN = 0.5 * MESSAGES;

describe('while a backlog of 28 MB waits for a slow socket', () => {
  it('replies come in between', async () => {
    const client = await startBacklog();
    await ask(client, [
      { type: 'ping', id: 901 },
      { type: 'history', id: 902, channel: 'small', limit: 1 },
    ]);
    await readAll(client);
    expect(backlogBefore(client, ({ id }) => id === 901)).toBeLessThan(IN_BETWEEN);
    expect(backlogBefore(client, ({ id }) => id === 902)).toBeLessThan(IN_BETWEEN);
  }, 60_000);

  it('a small channel is not held up until the end', async () => {
    const client = await startBacklog();
    await gateway.publish('small', 'hello');
    await readAll(client);
    expect(backlogBefore(client, ({ channel, type }) => type === 'message' && channel === 'small')).toBeLessThan(
      IN_BETWEEN,
    );
  }, 60_000);

  it('a protocol ping is answered in between', async () => {
    const client = await startBacklog();
    const pong = new Promise<number>((resolve) => client.socket.once('pong', () => resolve(bigOnes(client))));
    client.socket.ping();
    // Behind it, so that it is known when the node has the ping.
    await ask(client, [{ type: 'ping' }]);
    await readAll(client);
    expect(await pong).toBeLessThan(IN_BETWEEN);
  }, 60_000);
});
