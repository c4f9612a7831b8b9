// Hooks through a real node and a real backend: what clients see of decisions, of their order, and of a backend that is away.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  answerJson,
  type HookBackend,
  startHookBackend,
  type TemporaryDirectory,
  temporaryDirectory,
  waitFor,
} from '../support/index.ts';
import { type GatewayUnderTest, startGatewayUnderTest } from './gateway-under-test.ts';

const CONFIG = 'namespaces: {free: {hook: {subscribe: false, publish: false}}}';

let backend: HookBackend;
let directory: TemporaryDirectory;
let gateway: GatewayUnderTest;
beforeAll(async () => {
  backend = await startHookBackend();
  directory = await temporaryDirectory('hooks');
  const file = join(directory.path, 'weir.yaml');
  await writeFile(file, CONFIG);
  gateway = await startGatewayUnderTest({
    WEIR_CONFIG: file,
    WEIR_HOOK_SUBSCRIBE_URL: `${backend.url}/subscribe`,
    WEIR_HOOK_PUBLISH_URL: `${backend.url}/publish`,
    WEIR_HOOK_RPC_URL: `${backend.url}/rpc`,
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
  await directory.remove();
});

describe('the subscribe hook', () => {
  it('decides: allowed ones receive, denied ones are told why and hold nothing', async () => {
    const client = await gateway.connect();
    await client.expect('subscribe', { channel: 'open' });
    backend.answerWith(answerJson({ allow: false, reason: 'members only' }));
    const refused = await client.command('subscribe', { channel: 'closed' });
    expect(refused).toMatchObject({ type: 'error', code: 103, message: 'members only' });
    await gateway.publish('closed', 1);
    await gateway.publish('open', 2);
    expect((await client.waitForMessages(1)).map(({ channel }) => channel)).toEqual(['open']);
    expect(await gateway.metric('weir_subscriptions')).toBe(1);
    backend.answerWith(answerJson({ allow: true }));
    await client.expect('subscribe', { channel: 'closed' });
  });

  it('may be overtaken by an unsubscribe: nothing is left of the subscription', async () => {
    const held: (() => void)[] = [];
    backend.answerWith((call, response) => void held.push(() => answerJson({ allow: true })(call, response)));
    const client = await gateway.connect();
    const asked = client.command('subscribe', { channel: 'left' });
    await waitFor(() => held.length === 1, { description: 'the question' });
    expect(await client.command('subscribe', { channel: 'left' })).toMatchObject({ code: 105 });
    await client.expect('unsubscribe', { channel: 'left' });
    for (const answer of held) answer();
    expect(await asked).toMatchObject({ type: 'error', code: 113 });
    expect(await gateway.metric('weir_subscriptions')).toBe(0);
  });

  it('is asked only where the rights allow it, and not where the namespace turns it off', async () => {
    const before = backend.calls.length;
    const client = await gateway.connect();
    await client.expect('subscribe', { channel: 'free:1' });
    await client.expect('publish', { channel: 'free:1', data: 1 });
    expect(backend.calls).toHaveLength(before);
  });

  it('whose client is gone leaves nothing behind', async () => {
    const held: (() => void)[] = [];
    backend.answerWith((call, response) => void held.push(() => answerJson({ allow: true })(call, response)));
    const client = await gateway.connect();
    void client.command('subscribe', { channel: 'gone' }).catch(() => undefined);
    await waitFor(() => held.length === 1, { description: 'the question' });
    client.terminate();
    await waitFor(async () => (await gateway.metric('weir_connections')) === 0, { description: 'the end' });
    for (const answer of held) answer();
    await gateway.isIdle();
  });
});

describe('the publish hook', () => {
  it('decides about publications of clients, not about those of the application', async () => {
    const client = await gateway.connect();
    await client.expect('subscribe', { channel: 'feed' });
    backend.answerWith(answerJson({ allow: false, reason: 'no shouting' }));
    expect(await client.command('publish', { channel: 'feed', data: 'HEY' })).toMatchObject({
      code: 103,
      message: 'no shouting',
    });
    await gateway.publish('feed', 'from the application');
    expect((await client.waitForMessages(1)).map(({ data }) => data)).toEqual(['from the application']);
  });

  it('keeps the order of a client, however long each decision takes', async () => {
    const held = new Map<unknown, () => void>();
    const client = await gateway.connect();
    await client.expect('subscribe', { channel: 'order' });
    backend.answerWith((call, response) => {
      const { data } = call.body;
      held.set(data, () => answerJson({ allow: data !== 2 })(call, response));
    });
    const published = [1, 2, 3].map((data) => client.command('publish', { channel: 'order', data }));
    await waitFor(() => held.size === 3, { description: 'three questions' });
    for (const data of [3, 2, 1]) held.get(data)!();
    expect((await Promise.all(published)).map(({ type }) => type)).toEqual(['published', 'error', 'published']);
    expect((await client.waitForMessages(2)).map(({ data }) => data)).toEqual([1, 3]);
  });

  it('that cannot be reached refuses with a temporary error', async () => {
    const client = await gateway.connect();
    backend.answerWith((_, response) => response.socket?.resetAndDestroy());
    expect(await client.command('publish', { channel: 'feed', data: 1 })).toMatchObject({
      ...{ type: 'error', code: 100, temporary: true, retryAfterMs: expect.any(Number) as number },
    });
  });
});

describe('rpc', () => {
  it('is answered by the application', async () => {
    const client = await gateway.connect();
    backend.answerWith((call, response) => answerJson({ data: { echo: call.body['data'] } })(call, response));
    const reply = await client.expect('rpc', { method: 'echo', data: [1, 'ä'] });
    expect(reply).toMatchObject({ type: 'result', data: { echo: [1, 'ä'] } });
    expect(backend.calls.at(-1)!.body).toMatchObject({
      ...{ hook: 'rpc', method: 'echo', node: 'under-test', connection: client.connected!['connection'] },
      address: '127.0.0.1',
    });
    expect(backend.calls.at(-1)!.body).not.toHaveProperty('user');
    backend.answerWith(answerJson({ error: { message: 'no such method' } }));
    expect(await client.command('rpc', { method: 'x' })).toMatchObject({ code: 107, message: 'no such method' });
  });
});
