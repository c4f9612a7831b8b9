// Rung 1 of the overload ladder on a real node: ephemeral messages are thinned, what is left out is told, and it ends with the overload.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { type TemporaryDirectory, temporaryDirectory, waitFor, type WsClient } from '../support/index.ts';
import { type GatewayUnderTest, parseExposition, startGatewayUnderTest } from './gateway-under-test.ts';

const CHANNEL = 'cursor:1';
const KEYS = ['one', 'two', 'three'];
const BATCH = 300;

let directory: TemporaryDirectory;
let gateway: GatewayUnderTest;
beforeAll(async () => {
  directory = await temporaryDirectory('config');
  const file = join(directory.path, 'weir.yaml');
  await writeFile(file, 'namespaces: {cursor: {class: ephemeral}}');
  gateway = await startGatewayUnderTest({
    WEIR_CONFIG: file,
    // The signal of this test: what is buffered for clients goes no further than refusing new ones. The others are the machine's.
    WEIR_MEMORY_BUDGET_BYTES: '16MiB',
    WEIR_OVERLOAD_BUFFERED_PERCENT: '1',
    WEIR_OVERLOAD_LAG_MS: '0',
    WEIR_OVERLOAD_CPU_PERCENT: '0',
    WEIR_OVERLOAD_BROKER_MS: '0',
    WEIR_OVERLOAD_RSS_BYTES: '0',
    WEIR_OVERLOAD_STEP_MS: '0',
    WEIR_OVERLOAD_RELEASE_MS: '0',
  });
});
afterEach(() => gateway.giveBack());
afterAll(async () => {
  await gateway.stop();
  await directory.remove();
});

const level = async (): Promise<number> =>
  ((await gateway.api('/health/ready')).body as { overload: { level: number } }).overload.level;
const thinned = async (): Promise<number> =>
  parseExposition((await gateway.api('/metrics')).text).get('weir_messages_dropped_total{reason="thinned"}')!;

let sent = 0;
/** One batch of messages, each with its number as data, keys in turn. */
const publishMany = async (count: number): Promise<void> => {
  const commands = Array.from({ length: count }, () => {
    sent++;
    return { publish: { channel: CHANNEL, data: sent, key: KEYS[sent % KEYS.length] } };
  });
  expect((await gateway.api('/v1/batch', { body: { commands } })).status).toBe(200);
};
const countOf = (client: WsClient): number =>
  client.messages(CHANNEL).length + client.gaps().reduce((sum, gap) => sum + Number(gap['count']), 0);
const allAccountedFor = (client: WsClient) =>
  waitFor(() => countOf(client) === sent, { description: () => `${sent} messages; ${countOf(client)} are there` });

it('hands over the newest of each key, tells the number of the others, and all again once the overload is over', async () => {
  const client = await gateway.connect();
  await client.expect('subscribe', { channel: CHANNEL });
  const stalled = await gateway.connect();
  await stalled.expect('subscribe', { channel: 'large' });

  await publishMany(BATCH);
  await allAccountedFor(client);
  expect(client.gaps()).toEqual([]);

  stalled.pause();
  await waitFor(
    async () => {
      await gateway.publish('large', 'x'.repeat(200_000));
      return (await level()) > 0;
    },
    { description: 'an overloaded node', timeoutMs: 30_000 },
  );
  const before = client.messages(CHANNEL).length;
  for (let n = 0; n < 5; n++) await publishMany(BATCH);
  await allAccountedFor(client);
  const delivered = client.messages(CHANNEL).slice(before);
  // Five batches, at most one hand-over for each.
  expect(delivered.length).toBeLessThanOrEqual(5 * KEYS.length);
  expect(delivered.slice(-KEYS.length).map(({ data }) => data)).toEqual([sent - 2, sent - 1, sent]);
  expect(client.gaps()[0]).toEqual({
    type: 'gap',
    channel: CHANNEL,
    count: expect.any(Number) as number,
    reason: 'dropped',
  });
  expect(await thinned()).toBe(5 * BATCH - delivered.length);

  stalled.terminate();
  await waitFor(async () => (await level()) === 0, { description: 'the overload to end' });
  const gaps = client.gaps().length;
  await publishMany(BATCH);
  await allAccountedFor(client);
  expect(client.gaps()).toHaveLength(gaps);
}, 60_000);
