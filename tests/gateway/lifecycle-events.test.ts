// Lifecycle events of a node with the embedded broker: what a real backend is told, and that it is told until it takes it.
import { writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { signatureOf } from '../../gateway/hooks/signature.ts';
import {
  allEvents,
  answerJson,
  type HookAnswer,
  type HookBackend,
  startHookBackend,
  temporaryDirectory,
  toldEvents,
  typesOf,
  waitFor,
  type WsClient,
} from '../support/index.ts';
import { type GatewayUnderTest, startGatewayUnderTest } from './gateway-under-test.ts';

const SECRET = 'secret-of-the-hooks-0123456789012345';
let backend: HookBackend;
let gateway: GatewayUnderTest;

const start = async (env: Readonly<Record<string, string>> = {}): Promise<void> => {
  backend = await startHookBackend();
  backend.answerWith(answerJson({}));
  gateway = await startGatewayUnderTest({
    WEIR_HOOK_EVENTS_URL: `${backend.url}/events`,
    WEIR_HOOK_SECRET: SECRET,
    WEIR_HOOK_EVENTS_GRACE_MS: '0',
    ...env,
  });
};
beforeEach(() => start());
afterEach(async () => {
  await gateway.giveBack();
  await gateway.stop();
  await backend[Symbol.asyncDispose]();
});

const nameOf = ({ connected }: WsClient): string => connected!['connection'] as string;
const told = (description: string, condition: () => boolean): Promise<true> => waitFor(condition, { description });

it('tells who comes and goes and which channels have somebody, signed as the other hooks are', async () => {
  const client = await gateway.connect();
  const name = nameOf(client);
  await client.expect('subscribe', { channel: 'chat:1' });
  await told('both', () => typesOf(backend, name).length === 1 && typesOf(backend, 'chat:1').length === 1);
  const second = await gateway.connect();
  await second.expect('subscribe', { channel: 'chat:1' });
  await client.expect('unsubscribe', { channel: 'chat:1' });
  client.terminate();
  await told('the end', () => typesOf(backend, name).length === 2);
  expect(typesOf(backend, name)).toEqual(['connected', 'disconnected']);
  expect(typesOf(backend, 'chat:1')).toEqual(['occupied']);
  await second.expect('unsubscribe', { channel: 'chat:1' });
  await told('nobody left', () => typesOf(backend, 'chat:1').length === 2);
  const [first, end] = toldEvents(backend).filter(({ connection }) => connection === name);
  const who = { connection: name, node: 'under-test', address: '127.0.0.1' };
  expect(first).toEqual({
    id: expect.any(String) as string,
    type: 'connected',
    time: expect.any(Number) as number,
    ...who,
  });
  expect(end).toMatchObject({ ...who, type: 'disconnected', reason: 'closed', code: 1006 });
  for (const { path, headers, text, body } of backend.calls) {
    expect([path, headers['webhook-id'], body['node']]).toEqual(['/events', body['id'], 'under-test']);
    const timestampS = Number(headers['webhook-timestamp']);
    const expected = signatureOf(SECRET, headers['webhook-id'] as string, timestampS, Buffer.from(text));
    expect(headers['webhook-signature']).toBe(expected);
  }
  await waitFor(async () => (await gateway.metric('weir_hook_events_total')) === allEvents(backend).length, {
    description: 'every event to be counted',
  });
});

it('tells nothing of a connection that was not let in', async () => {
  const silent = await gateway.connect({ connect: false });
  silent.terminate();
  const client = await gateway.connect();
  await told('the other', () => typesOf(backend, nameOf(client)).length === 1);
  expect(toldEvents(backend)).toHaveLength(1);
});

it('tells of one whose first command stands for `connect`', async () => {
  const client = await gateway.connect({ connect: false });
  await client.expect('subscribe', { channel: 'chat:1' });
  const { body } = await gateway.api('/v1/connections');
  const { connection } = (body as { connections: readonly { connection: string }[] }).connections[0]!;
  await told('its begin', () => typesOf(backend, connection).length === 1);
  client.terminate();
  await told('its end', () => typesOf(backend, connection).length === 2);
  expect(typesOf(backend, connection)).toEqual(['connected', 'disconnected']);
});

const failures: Readonly<Record<string, HookAnswer>> = {
  'answers 500': answerJson({}, 500),
  'answers 404': answerJson({}, 404),
  'resets the connection': (_, response: ServerResponse) => response.socket?.resetAndDestroy(),
  'does not answer in time': () => undefined,
};
it.each(Object.entries(failures))('tells it again to a backend that %s, as the same event', async (_, fail) => {
  await gateway.stop();
  await backend[Symbol.asyncDispose]();
  await start({ WEIR_HOOK_TIMEOUT_MS: '300', WEIR_HOOK_BREAKER_FAILURES: '2', WEIR_HOOK_BREAKER_OPEN_MS: '50' });
  backend.answerWith(fail);
  const client = await gateway.connect();
  const name = nameOf(client);
  await told('three attempts', () => allEvents(backend).filter(({ connection }) => connection === name).length >= 3);
  expect(await gateway.metric('weir_hook_events_total')).toBe(0);
  client.terminate();
  backend.answerWith(answerJson({}));
  await told('both', () => typesOf(backend, name).length === 2);
  expect(typesOf(backend, name)).toEqual(['connected', 'disconnected']);
  await waitFor(async () => (await gateway.metric('weir_hook_events_backlog')) === 0, { description: 'an empty log' });
  expect(await gateway.metric('weir_hook_events_total')).toBe(2);
});

it('says how many are missing when the backend is away for too long, and goes on from there', async () => {
  await gateway.stop();
  await backend[Symbol.asyncDispose]();
  // 13 in each of the eight lanes.
  await start({ WEIR_HOOK_EVENTS_MAX_BACKLOG: '100', WEIR_HOOK_BREAKER_OPEN_MS: '50' });
  backend.answerWith(answerJson({}, 503));
  const client = await gateway.connect();
  const channels = Array.from({ length: 250 }, (_, n) => `c${n}`);
  for (const channel of channels) await client.expect('subscribe', { channel });
  await waitFor(async () => (await gateway.metric('weir_hook_events_unwritten')) === 0, { description: 'all written' });
  backend.answerWith(answerJson({}));
  await told('every loss', () => toldEvents(backend).filter(({ type }) => type === 'lost').length === 8);
  const events = toldEvents(backend);
  const lost = events.filter(({ type }) => type === 'lost');
  expect(lost.every(({ reason }) => reason === 'overflow')).toBe(true);
  const missing = lost.reduce((sum, { count }) => sum + (count as number), 0);
  expect(events.length - lost.length + missing).toBe(channels.length + 1);
  await waitFor(async () => (await gateway.metric('weir_hook_events_lost_total')) === missing, {
    description: 'every loss to be counted',
  });
});

it('tells the end of those whom a stopping node closes', async () => {
  const clients = await Promise.all([gateway.connect(), gateway.connect()]);
  await gateway.node.stop();
  for (const client of clients) expect(typesOf(backend, nameOf(client))).toEqual(['connected', 'disconnected']);
});

it('tells only the events it is asked for, and of channels only where the namespace says so', async () => {
  await gateway.stop();
  await backend[Symbol.asyncDispose]();
  const directory = await temporaryDirectory('events');
  const file = join(directory.path, 'weir.yaml');
  await writeFile(file, 'namespaces: {quiet: {hook: {events: false}}}');
  await start({ WEIR_HOOK_EVENTS_TYPES: 'disconnected,vacated', WEIR_CONFIG: file }).finally(directory.remove);
  const client = await gateway.connect();
  for (const channel of ['quiet:1', 'chat:1']) await client.expect('subscribe', { channel });
  client.terminate();
  await told('two', () => toldEvents(backend).length === 2);
  expect(
    toldEvents(backend)
      .map(({ type }) => type)
      .sort(),
  ).toEqual(['disconnected', 'vacated']);
  expect(typesOf(backend, 'quiet:1')).toEqual([]);
});
