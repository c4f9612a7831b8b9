// The connect hook: the application decides who comes in, and may say who it is and what for.
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { answerJson, type HookBackend, signToken, startHookBackend, TOKEN_SECRET, waitFor } from '../support/index.ts';
import { type GatewayUnderTest, startGatewayUnderTest } from './gateway-under-test.ts';

let backend: HookBackend;
let gateway: GatewayUnderTest;
beforeAll(async () => {
  backend = await startHookBackend();
  gateway = await startGatewayUnderTest({
    WEIR_ANONYMOUS: 'false',
    WEIR_JWT_SECRET: TOKEN_SECRET,
    WEIR_HOOK_CONNECT_URL: `${backend.url}/connect`,
    WEIR_HOOK_SECRET: 'secret-of-the-hooks-0123456789012345',
    WEIR_HOOK_TIMEOUT_MS: '20s',
  });
});
beforeEach(() => backend.answerWith(answerJson({ allow: true })));
afterEach(async () => {
  await gateway.giveBack();
  await gateway.isIdle();
});
afterAll(async () => {
  await gateway.stop();
  await backend[Symbol.asyncDispose]();
});

const ANN = { allow: true, claims: { sub: 'ann', weir: { subscribe: ['room:*'], channels: ['user:ann'] } } };
const unconnected = () => gateway.connect({ connect: false });

it('names the client, with rights and channels of its own, as a token would', async () => {
  backend.answerWith(answerJson(ANN));
  const client = await gateway.connect({ connect: { client: { name: 'app', version: '1' } } });
  expect(client.connected).toMatchObject({ user: 'ann' });
  expect(backend.calls.at(-1)!.body).toMatchObject({ hook: 'connect', client: { name: 'app', version: '1' } });
  expect(await client.waitForPush('subscribed')).toMatchObject({ channel: 'user:ann' });
  await client.expect('subscribe', { channel: 'room:1' });
  expect(await client.command('subscribe', { channel: 'other' })).toMatchObject({ code: 103 });
});

it('is told whom a token names, and may leave it at that', async () => {
  const client = await gateway.connect({ connect: { token: signToken({ sub: 'bob' }) } });
  expect(client.connected).toMatchObject({ user: 'bob' });
  expect(backend.calls.at(-1)!.body).toMatchObject({ hook: 'connect', user: 'bob' });
  expect(backend.calls.at(-1)!.text).not.toContain('eyJ');
});

it('is not asked about a token that is none', async () => {
  const before = backend.calls.length;
  const client = await unconnected();
  expect(await client.command('connect', { token: 'none' })).toMatchObject({ type: 'error', code: 101 });
  expect(await client.waitForClose()).toMatchObject({ code: 3500 });
  expect(backend.calls).toHaveLength(before);
});

it('ends the connection it denies, with the reason in the reply', async () => {
  backend.answerWith(answerJson({ allow: false, reason: 'banned' }));
  const client = await unconnected();
  expect(await client.command('connect')).toMatchObject({ type: 'error', code: 103, message: 'banned' });
  expect(await client.waitForClose()).toMatchObject({ code: 3507 });
});

it('lets nobody in who is named neither by it nor by a token, where anonymous clients are not welcome', async () => {
  const client = await unconnected();
  expect(await client.command('connect')).toMatchObject({ type: 'error', code: 101 });
  expect(await client.waitForClose()).toMatchObject({ code: 3500 });
});

it('cannot be left out', async () => {
  backend.answerWith(answerJson(ANN));
  const client = await unconnected();
  expect(await client.command('subscribe', { channel: 'room:1' })).toMatchObject({ type: 'error', code: 101 });
});

it('has the commands behind it wait, and run in order once it is decided', async () => {
  const held: (() => void)[] = [];
  backend.answerWith((call, response) => void held.push(() => answerJson(ANN)(call, response)));
  const client = await unconnected();
  const replies = client.commands([
    { type: 'connect' },
    { type: 'subscribe', channel: 'room:2' },
    { type: 'unsubscribe', channel: 'room:2' },
  ]);
  await waitFor(() => held.length === 1, { description: 'the question' });
  for (const answer of held) answer();
  expect((await replies).map(({ type }) => type)).toEqual(['connected', 'error', 'unsubscribed']);
});

it.each([
  ['cannot be asked', answerJson({}, 500)],
  ['names somebody in a form of its own', answerJson({ allow: true, claims: { user: 'ann' } })],
])('that %s sends the client away for a while', async (_, answer) => {
  backend.answerWith(answer);
  const client = await unconnected();
  expect(await client.command('connect')).toMatchObject({ type: 'error', code: 100, temporary: true });
  expect(await client.waitForClose()).toMatchObject({ code: 1013 });
});

it('that decides about a client which is gone leaves nothing behind', async () => {
  const held: (() => void)[] = [];
  backend.answerWith((call, response) => void held.push(() => answerJson(ANN)(call, response)));
  const client = await unconnected();
  void client.command('connect').catch(() => undefined);
  await waitFor(() => held.length === 1, { description: 'the question' });
  client.terminate();
  await waitFor(async () => (await gateway.metric('weir_connections')) === 0, { description: 'the end' });
  for (const answer of held) answer();
});

it('lets nobody in whose token was revoked while it was asked', async () => {
  const held: (() => void)[] = [];
  backend.answerWith((call, response) => void held.push(() => answerJson({ allow: true })(call, response)));
  const client = await unconnected();
  const reply = client.command('connect', { token: signToken({ sub: 'mallory' }) });
  await waitFor(() => held.length === 1, { description: 'the question' });
  expect((await gateway.api('/v1/revoke', { body: { user: 'mallory', ttlMs: 60_000 } })).status).toBe(200);
  for (const answer of held) answer();
  expect(await reply).toMatchObject({ type: 'error', code: 101 });
  expect(await client.waitForClose()).toMatchObject({ code: 3500 });
});
