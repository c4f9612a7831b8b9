// The SDK with tokens against a real node: fetched to connect, fetched anew before they end, and after the server says so.
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { WeirClient, type WeirError } from '../../client/src/index.ts';
import { signToken, TOKEN_SECRET, waitFor } from '../support/index.ts';
import { type GatewayUnderTest, startGatewayUnderTest } from './gateway-under-test.ts';

let gateway: GatewayUnderTest;
const clients: WeirClient[] = [];
beforeAll(async () => {
  gateway = await startGatewayUnderTest({ WEIR_JWT_SECRET: TOKEN_SECRET, WEIR_ANONYMOUS: 'false' });
});
afterEach(() => {
  for (const client of clients.splice(0)) client.disconnect();
});
afterAll(() => gateway.stop());

const clientWith = (getToken: () => string): WeirClient => {
  const client = new WeirClient(gateway.wsUrl, { WebSocket, getToken, reconnect: () => 20 });
  clients.push(client);
  return client;
};

it('refreshes before the token ends, on the same connection', async () => {
  let tokens = 0;
  let connects = 0;
  const client = clientWith(() => {
    tokens += 1;
    return signToken({ sub: 'ada' }, { expiresInS: tokens === 1 ? 2 : 3600 });
  });
  client.on('state', (state) => (connects += Number(state.state === 'connected')));
  await client.connect();
  const refreshed = async (): Promise<boolean> =>
    (await gateway.api('/metrics')).text.includes('weir_commands_total{type="refresh"} 1');
  await waitFor(refreshed, { description: 'a refresh' });
  await waitFor(() => Promise.resolve(tokens === 2), { description: 'the second token' });
  expect(await client.publish('c', 1)).toMatchObject({ offset: 1 });
  expect(connects).toBe(1);
});

it('fetches another token when the one to connect with is over', async () => {
  let tokens = 0;
  const client = clientWith(() => {
    tokens += 1;
    return signToken({ sub: 'ada' }, { expiresInS: tokens === 1 ? -10 : 3600 });
  });
  void client.connect().catch(() => undefined);
  await waitFor(() => client.isConnected, { description: 'the connection with the second token' });
  expect(tokens).toBe(2);
});

it('stops for good when the token is refused or revoked', async () => {
  const refused = clientWith(() => signToken({ sub: 'ada' }, { key: 'x'.repeat(64) }));
  await expect(refused.connect()).rejects.toMatchObject({ code: 101 } satisfies Partial<WeirError>);
  expect(refused.state).toBe('disconnected');

  const client = clientWith(() => signToken({ sub: 'eve' }));
  await client.connect();
  await gateway.api('/v1/revoke', { body: { user: 'eve' } });
  await waitFor(() => client.state === 'disconnected', { description: 'the client to stop' });
});

it('hands on subscriptions that the server makes', async () => {
  const client = clientWith(() => signToken({ sub: 'bob', weir: { channels: ['inbox:bob'] } }));
  const data: unknown[] = [];
  client.on('subscription', (subscription) => subscription.on('message', (message) => data.push(message.data)));
  await client.connect();
  await waitFor(async () => (await gateway.metric('weir_subscriptions')) > 0, { description: 'the subscription' });
  await gateway.publish('inbox:bob', 'hello');
  await waitFor(() => data.length > 0, { description: 'the message' });
  expect(data).toEqual(['hello']);
});
