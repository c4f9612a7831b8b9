// The memory budget on a real node: clients that do not read fill it, the largest debtors go, everybody else is served.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { waitFor, type WsClient } from '../support/index.ts';
import { type GatewayUnderTest, parseExposition, startGatewayUnderTest } from './gateway-under-test.ts';

const MiB = 1024 * 1024;
const BUDGET_BYTES = 2 * MiB;
const STALLED = 30;
const MESSAGE_BYTES = 48 * 1024;
/** What a single turn of the loop may add before relief: a flush to each of those who stall. */
const STEP_BYTES = STALLED * 2 * MESSAGE_BYTES;

let gateway: GatewayUnderTest;
beforeAll(async () => {
  gateway = await startGatewayUnderTest({
    WEIR_MEMORY_BUDGET_BYTES: String(BUDGET_BYTES),
    // What is buffered shall not refuse those who come back.
    WEIR_OVERLOAD_BUFFERED_PERCENT: '0',
  });
});
afterEach(async () => {
  await gateway.giveBack();
  await gateway.isIdle();
  expect(await budgetParts()).toMatchObject({ outboxes: 0, pages: 0, requests: 0 });
});
afterAll(() => gateway.stop());

const budgetParts = async (): Promise<Record<string, number>> => {
  const samples = parseExposition((await gateway.api('/metrics')).text);
  const parts = [...samples].flatMap(([key, value]) => {
    const part = /^weir_budget_bytes\{part="(\w+)"\}$/.exec(key)?.[1];
    return part === undefined ? [] : [[part, value] as const];
  });
  return Object.fromEntries(parts);
};
const relief = async (measure: string): Promise<number> =>
  parseExposition((await gateway.api('/metrics')).text).get(`weir_budget_relief_total{measure="${measure}"}`) ?? 0;

describe('clients that read nothing', () => {
  it('owe until the budget is used up; then the largest debtors go, and others notice nothing', async () => {
    const reader = await gateway.connect({ timeoutMs: 30_000 });
    const quiet = await gateway.connect();
    await reader.expect('subscribe', { channel: 'busy' });
    await quiet.expect('subscribe', { channel: 'quiet' });
    quiet.pause();
    const stalled: WsClient[] = [];
    for (let index = 0; index < STALLED; index++) {
      const client = await gateway.connect({ timeoutMs: 30_000 });
      await client.expect('subscribe', { channel: 'busy' });
      client.pause();
      stalled.push(client);
    }
    let published = 0;
    let most = 0;
    await waitFor(
      async () => {
        // One flush at a time, so that a step is a flush.
        published = (await gateway.publish('busy', 'x'.repeat(MESSAGE_BYTES))).offset;
        await reader.waitForMessages(published, 'busy');
        const parts = await budgetParts();
        most = Math.max(
          most,
          Object.values(parts).reduce((sum, bytes) => sum + bytes, 0),
        );
        return (await relief('closed')) + (await relief('cut')) > 0;
      },
      { timeoutMs: 60_000, description: 'somebody to go' },
    );
    expect(most).toBeLessThanOrEqual(BUDGET_BYTES + STEP_BYTES);
    // Who owes nothing stays, also when it does not read.
    for (const client of [reader, quiet]) client.resume();
    for (const client of [reader, quiet]) expect((await client.expect('ping')).type).toBe('pong');

    for (const client of stalled) client.resume();
    await waitFor(() => stalled.some((client) => client.closed() !== undefined), {
      description: 'the first to be gone',
    });
    // Who was cut in the middle sees 1006, who drained in time 3008; both may come back.
    const codes = new Set(stalled.flatMap((client) => client.closed()?.code ?? []));
    for (const code of codes) expect([1006, 3008]).toContain(code);

    // Whoever went goes on where it stood: nothing is lost.
    const victim = stalled.find((client) => client.closed() !== undefined)!;
    const { epoch } = (await gateway.api('/v1/channels/busy')).body as { epoch: string };
    const seen = victim.messages('busy').at(-1)?.['offset'] ?? 0;
    const again = await gateway.connect({ timeoutMs: 30_000 });
    await again.expect('subscribe', { channel: 'busy', since: { epoch, offset: seen } });
    await again.waitForMessages(published - Number(seen), 'busy');
    expect(again.messages('busy').map(({ offset }) => offset)).toEqual(
      Array.from({ length: published - Number(seen) }, (_, index) => Number(seen) + index + 1),
    );
    expect(again.gaps()).toEqual([]);
  }, 90_000);
});

describe('requests while there is no room', () => {
  it('are 429 with Retry-After, as long as others leave their bodies unfinished', async () => {
    const head = `POST /v1/publish HTTP/1.1\r\nHost: weir\r\nX-API-Key: ${gateway.apiKey}\r\nContent-Length: ${MiB}\r\n\r\n`;
    const unfinished = await Promise.all(Array.from({ length: 3 }, () => gateway.raw()));
    for (const socket of unfinished) {
      socket.write(head);
      socket.write('x'.repeat(MiB - 1));
    }
    await waitFor(
      async () => {
        const { requests, inbound } = await budgetParts();
        return requests! + inbound! >= BUDGET_BYTES;
      },
      { description: 'a full node' },
    );
    const publish = { channel: 'large', data: 1 };
    const refused = await fetch(`${gateway.node.url}/v1/publish`, {
      method: 'POST',
      headers: { 'X-API-Key': gateway.apiKey },
      body: JSON.stringify(publish),
    });
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(await refused.json()).toMatchObject({ code: 115, name: 'overloaded' });
    const client = await gateway.connect();
    expect(await client.command('publish', publish)).toMatchObject({ type: 'error', code: 115 });
    expect((await client.expect('subscribe', { channel: 'large' })).type).toBe('subscribed');
    expect(await relief('refused')).toBeGreaterThan(0);
    for (const socket of unfinished) socket.reset();
    await waitFor(async () => (await budgetParts())['requests'] === 0, { description: 'room again' });
    expect((await gateway.api('/v1/publish', { body: publish })).status).toBe(200);
  });
});
