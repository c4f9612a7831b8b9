// A large backlog does not monopolise a socket: while it arrives, replies, pings and small channels come in between (R70).
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { waitFor, type WsClient } from '../support/index.ts';
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

/** Reads a little at a time, so that the socket is what everything waits for. */
const readSlowly = (client: WsClient): (() => void) => {
  let ended = false;
  const read = (): void => {
    client.resume();
    if (ended) return;
    client.socket.once('message', () => {
      client.pause();
      setTimeout(read, 1);
    });
  };
  read();
  return () => void (ended = true);
};
const startBacklog = async (): Promise<{ client: WsClient; finish: () => void }> => {
  const client = await gateway.connect({ timeoutMs: 60_000 });
  await client.expect('subscribe', { channel: 'small' });
  const finish = readSlowly(client);
  await client.expect('subscribe', { channel: 'big', since: 'earliest' });
  await waitFor(async () => (await gateway.metric('weir_connections_parked')) === 1, {
    description: 'the socket to take no more',
  });
  return { client, finish };
};
const bigOnes = (client: WsClient): number => client.messages('big').length;

/**
 * What the kernel already has comes before an answer, some megabytes; were it to wait for the backlog, it would come behind all of it.
 * `seen` is how many messages of the backlog were there at each answer.
 */
const expectInBetween = (seen: readonly number[]): void => {
  const waits = seen.map((count, index) => count - (seen[index - 1] ?? 0));
  expect(Math.max(...waits)).toBeLessThan(0.8 * MESSAGES);
};

describe('while a backlog of 28 MB arrives on a slow socket', () => {
  it('replies come in between', async () => {
    const { client, finish } = await startBacklog();
    const seen: number[] = [];
    while (bigOnes(client) < MESSAGES) {
      await client.expect('ping');
      await client.expect('history', { channel: 'small', limit: 1 });
      seen.push(bigOnes(client));
    }
    finish();
    expectInBetween(seen);
    expect(client.messages('big').map(({ offset }) => offset)).toEqual(
      Array.from({ length: MESSAGES }, (_, index) => index + 1),
    );
  }, 60_000);

  it('a small channel is not held up until the end', async () => {
    const { client, finish } = await startBacklog();
    const seen: number[] = [];
    let published = 0;
    while (bigOnes(client) < MESSAGES) {
      published = (await gateway.publish('small', published)).offset;
      await waitFor(() => client.messages('small').at(-1)?.['offset'] === published, {
        timeoutMs: 60_000,
        description: `message ${published} of the small channel`,
      });
      seen.push(bigOnes(client));
    }
    finish();
    expectInBetween(seen);
    expect(client.gaps()).toEqual([]);
  }, 60_000);

  it('a protocol ping is answered in between', async () => {
    const { client, finish } = await startBacklog();
    let pongs = 0;
    client.socket.on('pong', () => pongs++);
    const seen: number[] = [];
    while (bigOnes(client) < MESSAGES) {
      const before = pongs;
      client.socket.ping();
      await waitFor(() => pongs > before, { timeoutMs: 60_000, description: 'a pong' });
      seen.push(bigOnes(client));
    }
    finish();
    expectInBetween(seen);
  }, 60_000);
});
