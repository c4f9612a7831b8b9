// What one request or command may ask for, and what a key or a class of channels keeps from it.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type TemporaryDirectory, temporaryDirectory, type WsClient } from '../support/index.ts';
import { API_KEY, type GatewayUnderTest, startGatewayUnderTest } from './gateway-under-test.ts';

const PATTERN_KEY = 'pattern-key-of-the-test-0123456789';
const CONFIG = `
api_keys:
  - {name: dev, secret: ${API_KEY}}
  - {name: chat, secret: ${PATTERN_KEY}, channels: ['chat:*', news]}
`;

let directory: TemporaryDirectory;
let gateway: GatewayUnderTest;
beforeAll(async () => {
  directory = await temporaryDirectory('config');
  const file = join(directory.path, 'weir.yaml');
  await writeFile(file, CONFIG);
  gateway = await startGatewayUnderTest({ WEIR_CONFIG: file, WEIR_API_KEYS: '' });
});
afterEach(async () => {
  await gateway.giveBack();
  await gateway.isIdle();
});
afterAll(async () => {
  await gateway.stop();
  await directory.remove();
});

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
const subscribed = async (...names: string[]): Promise<WsClient> => {
  const client = await gateway.connect();
  for (const channel of names) await client.expect('subscribe', { channel });
  return client;
};
const rawPublish = async (channel: string, data: string): Promise<{ status: number; body: unknown }> => {
  const response = await fetch(`${gateway.node.url}/v1/publish`, {
    method: 'POST',
    headers: { 'X-API-Key': API_KEY },
    body: `{"channel":"${channel}","data":${data}}`,
  });
  return { status: response.status, body: await response.json() };
};

describe('one body for many channels', () => {
  const data = 'x'.repeat(40_000);
  const channelsOf = (count: number, prefix: string): string[] => upTo(count).map((n) => `${prefix}${n}`);

  it('over 16 MiB in all is 413, and nothing of it is published', async () => {
    const channels = channelsOf(500, 'copied-');
    const answer = await gateway.api('/v1/publish', { body: { channels, data } });
    expect(answer).toMatchObject({ status: 413, body: { code: 106 } });
    expect((await gateway.api('/v1/channels/copied-1')).body).toMatchObject({ offset: 0 });
    expect((await gateway.api('/v1/publish', { body: { channels: channels.slice(0, 300), data } })).status).toBe(200);
  });

  it('is refused in a batch once the commands before it used up the bound', async () => {
    const commands = ['a', 'b', 'c'].map((prefix) => ({ publish: { channels: channelsOf(200, `${prefix}-`), data } }));
    const { body } = await gateway.api('/v1/batch', {
      body: { commands: [...commands, { publish: { channel: 'single', data } }] },
    });
    const { results } = body as { results: Record<string, unknown>[] };
    expect(results.slice(2)).toMatchObject([{ error: { code: 106 } }, { channel: 'single', offset: 1 }]);
    for (const result of results.slice(0, 2)) expect(result['results']).toHaveLength(200);
  });

  it('counts once per channel against the thousand of a batch', async () => {
    const batch = (count: number): Promise<{ status: number; body: unknown }> => {
      const commands = [
        { publish: { channels: channelsOf(500, 'p'), data: 1 } },
        { publish: { channel: 'q', data: 1 } },
      ];
      return gateway.api('/v1/batch', {
        body: { commands: [...commands, { publish: { channels: channelsOf(count, 'r'), data: 1 } }] },
      });
    };
    expect(await batch(500)).toMatchObject({
      status: 413,
      body: { code: 106, errors: [{ path: 'commands', got: '1001' }] },
    });
    expect((await batch(499)).status).toBe(200);
  });
});

describe('data that could not arrive as it was sent', () => {
  it.each([
    ['1001 levels of nesting', '['.repeat(1001) + ']'.repeat(1001)],
    ['a number beyond the doubles', '[12,1e400]'],
  ])('%s is refused by HTTP and by command', async (_, data) => {
    expect(await rawPublish('refused', data)).toMatchObject({ status: 422, body: { code: 107 } });
    const client = await gateway.connect();
    client.send(`{"type":"publish","id":9,"channel":"refused","data":${data}}`);
    await client.expect('ping');
    expect(client.received.find(({ id }) => id === 9)).toMatchObject({ type: 'error', code: 107 });
    expect((await gateway.api('/v1/channels/refused')).body).toMatchObject({ offset: 0 });
  });

  it('the deepest that is taken comes back in live messages and in both forms of history', async () => {
    const data = '['.repeat(1000) + ']'.repeat(1000);
    const client = await subscribed('deepest');
    expect((await rawPublish('deepest', data)).status).toBe(200);
    const [live] = await client.waitForMessages(1);
    expect(JSON.stringify(live!['data'])).toBe(data);
    const reply = await client.expect('history', { channel: 'deepest' });
    expect(JSON.stringify(reply['messages'])).toContain(`"data":${data}`);
    expect((await gateway.api('/v1/channels/deepest/history')).text).toContain(`"data":${data}`);
  });
});

describe('the list of channels, for a key with patterns', () => {
  it('pages through its own channels alone: no name of another is a cursor, no page is short', async () => {
    const others = upTo(20).map((n) => `aaa:${n}`);
    const own = upTo(5).map((n) => `chat:${n}`);
    await subscribed(...others, ...own, 'news', 'price:1', 'zzz:1');
    const seen: string[] = [];
    const cursors: (string | null)[] = [];
    for (let cursor: string | null = ''; cursor !== null; ) {
      const { body } = await gateway.api(`/v1/channels?limit=2&cursor=${encodeURIComponent(cursor)}`, {
        apiKey: PATTERN_KEY,
      });
      const page = body as { channels: { channel: string }[]; cursor: string | null };
      seen.push(...page.channels.map(({ channel }) => channel));
      ({ cursor } = page);
      cursors.push(cursor);
    }
    expect(seen).toEqual([...own, 'news']);
    expect(cursors).toEqual(['chat:2', 'chat:4', null]);
  });
});

it('a subscription ended before it was open tells nothing to a client that gave no id', async () => {
  const client = await gateway.connect();
  client.send([
    { type: 'subscribe', channel: 'withdrawn' },
    { type: 'unsubscribe', channel: 'withdrawn' },
  ]);
  await client.expect('subscribe', { channel: 'another' });
  await client.expect('ping');
  expect(client.received.filter(({ type }) => type === 'error')).toEqual([]);
});
