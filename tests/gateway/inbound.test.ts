// The memory of a node under everything its clients can leave unfinished at once: messages, fragments, heads, and what they do not read.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  freePort,
  OPCODE,
  type RawSocket,
  type TemporaryDirectory,
  temporaryDirectory,
  upgradeRequest,
  waitFor,
  webSocketFrame,
  type WsClient,
} from '../support/index.ts';
import { type GatewayUnderTest, parseExposition, startGatewayUnderTest } from './gateway-under-test.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const BUDGET_BYTES = 48 * MiB;
const MAX_FRAME_BYTES = 64 * KiB;
const MAX_CONNECTIONS = 200;
const MAX_HTTP_SOCKETS = 400;
const HEADS = 4_000;
const STALLED = 60;
const ASKERS = 24;
const MESSAGE_BYTES = 200 * KiB;
/**
 * Beside the budget: what one turn of the loop adds before relief (a flush to each who stalls), the heap of the connections, and what
 * the allocators keep of freed memory.
 */
const ALLOWANCE_BYTES = 80 * MiB;

let directory: TemporaryDirectory;
let gateway: GatewayUnderTest;
beforeAll(async () => {
  directory = await temporaryDirectory('config');
  const file = join(directory.path, 'weir.yaml');
  // The memory broker is no part of what a node keeps for its clients.
  await writeFile(file, 'namespaces: {default: {history: {size: 1, ttl: 10m}}}');
  gateway = await startGatewayUnderTest(
    {
      WEIR_CONFIG: file,
      WEIR_MEMORY_BUDGET_BYTES: String(BUDGET_BYTES),
      WEIR_MAX_FRAME_BYTES: String(MAX_FRAME_BYTES),
      WEIR_MAX_CONNECTIONS: String(MAX_CONNECTIONS),
      WEIR_MAX_HTTP_SOCKETS: String(MAX_HTTP_SOCKETS),
      WEIR_OVERLOAD_BUFFERED_PERCENT: '0',
      WEIR_CONNECT_DEADLINE_MS: '10m',
    },
    // Who looks after the node is not kept out by a flood on the public port.
    { internalPort: await freePort() },
  );
});
afterEach(async () => {
  await gateway.giveBack();
  await gateway.isIdle();
});
afterAll(async () => {
  await gateway.stop();
  await directory.remove();
});

const samples = async () => parseExposition((await gateway.api('/metrics')).text);
const raws = (count: number): Promise<RawSocket[]> => Promise.all(Array.from({ length: count }, () => gateway.raw()));
const publishBig = () => gateway.publish('big', 'x'.repeat(MESSAGE_BYTES));
const ended = ({ socket }: RawSocket): boolean => socket.readableEnded || socket.closed;

const resident = async (): Promise<number> => (await samples()).get('process_resident_memory_bytes')!;

it('keeps no more unfinished heads than it may, whoever opens thousands', async () => {
  // Warm: what a first use allocates is no client's doing.
  for (const raw of await raws(HEADS)) raw.reset();
  await waitFor(async () => (await samples()).get('weir_inbound_worst_bytes')! < MiB, {
    description: 'none to be left',
  });
  const before = await resident();
  const heads = await raws(HEADS);
  for (const raw of heads) raw.write(`GET /v1/ws HTTP/1.1\r\nHost: a\r\nX-Slow: ${'x'.repeat(15 * KiB)}`);
  await waitFor(() => heads.filter(ended).length >= HEADS - MAX_HTTP_SOCKETS, { description: 'heads to be cut' });
  const grown = (await resident()) - before;
  // All of them would be 60 MiB.
  expect(grown).toBeLessThanOrEqual((HEADS * 15 * KiB) / 2);
  expect(await gateway.metric('weir_connections_refused_total')).toBeGreaterThanOrEqual(HEADS - MAX_HTTP_SOCKETS);
}, 60_000);

it('stays within its budget under messages and fragments left unfinished, and clients that read no message and no reply', async () => {
  // Warm: what a first use allocates is no client's doing.
  for (let n = 0; n < 20; n++) await publishBig();
  const before = (await samples()).get('process_resident_memory_bytes')!;
  const most = { resident: 0, accounted: 0 };
  const look = async () => {
    const now = await samples();
    const parts = [...now].filter(([name]) => name.startsWith('weir_budget_bytes{'));
    most.resident = Math.max(most.resident, now.get('process_resident_memory_bytes')! - before);
    most.accounted = Math.max(
      most.accounted,
      parts.reduce((sum, [, bytes]) => sum + bytes, 0),
    );
    // All that may arrive in pieces is covered.
    expect(now.get('weir_inbound_worst_bytes')).toBe(now.get('weir_budget_bytes{part="inbound"}'));
    expect(now.get('weir_budget_bytes{part="closing"}')).toBeLessThanOrEqual(BUDGET_BYTES / 16);
    return now;
  };

  const paused = async (count: number, channel: string): Promise<WsClient[]> => {
    const clients: WsClient[] = [];
    for (let n = 0; n < count; n++) {
      const client = await gateway.connect({ timeoutMs: 30_000 });
      await client.expect('subscribe', { channel });
      client.pause();
      clients.push(client);
    }
    return clients;
  };
  await paused(STALLED, 'big');
  const askers = await paused(ASKERS, 'quiet');

  const piece = 'x'.repeat(MAX_FRAME_BYTES / 8);
  const unfinished = {
    frame: webSocketFrame({
      opcode: OPCODE.text,
      payload: 'x'.repeat(MAX_FRAME_BYTES - 1),
      announcedLength: MAX_FRAME_BYTES,
    }),
    fragments: Buffer.concat(
      Array.from({ length: 8 }, (_, index) =>
        webSocketFrame({ opcode: index === 0 ? OPCODE.text : OPCODE.continuation, payload: piece, fin: false }),
      ),
    ),
  };
  const sockets = await raws(MAX_CONNECTIONS);
  for (const raw of sockets) raw.write(upgradeRequest('/v1/ws'));
  const answers = await Promise.all(sockets.map((raw) => raw.waitForText(/^HTTP\/1\.1 \d+ [^]*?\r\n\r\n/)));
  const accepted = sockets.filter((_, index) => answers[index]!.startsWith('HTTP/1.1 101 '));
  expect(accepted).toHaveLength(MAX_CONNECTIONS - STALLED - ASKERS);
  accepted.forEach((raw, index) => raw.write(index % 2 === 0 ? unfinished.frame : unfinished.fragments));

  await look();

  for (let n = 0; n < 100; n++) {
    await publishBig();
    if (n % 10 === 0) await look();
  }
  const asked = Array.from({ length: 16 }, (_, index) => ({
    type: 'history',
    id: index + 1,
    channel: 'big',
    limit: 1,
  }));
  await waitFor(
    async () => {
      for (const client of askers) client.send(asked);
      return (await look()).get('weir_connections_closed_total{code="3008"}')! >= ASKERS;
    },
    { description: 'those who read no reply to be closed', timeoutMs: 60_000 },
  );
  await look();
  expect(most.accounted).toBeLessThanOrEqual(BUDGET_BYTES + ALLOWANCE_BYTES);
  expect(most.resident).toBeLessThanOrEqual(BUDGET_BYTES + ALLOWANCE_BYTES);
}, 120_000);

describe('a node whose budget does not cover all connections there may be', () => {
  const BUDGET = { WEIR_MEMORY_BUDGET_BYTES: '1MiB', WEIR_MAX_FRAME_BYTES: '64KiB' };
  // Half of the budget over 1.25 frames.
  const COVERED = 6;

  const statusOfNext = async (node: GatewayUnderTest): Promise<string> => {
    const raw = await node.raw();
    raw.write(upgradeRequest('/v1/ws'));
    return (await raw.waitForText(/^HTTP\/1\.1 \d+ [^]*?\r\n\r\n/)).slice(9, 12);
  };
  const opened = async (env: Readonly<Record<string, string>>) => {
    const node = await startGatewayUnderTest({ ...BUDGET, ...env });
    try {
      const statuses: string[] = [];
      for (let n = 0; n < COVERED + 1; n++) statuses.push(await statusOfNext(node));
      return { statuses, output: node.node.lastOutput() };
    } finally {
      await node.giveBack();
      await node.stop();
    }
  };

  it('says so when it starts, and takes them', async () => {
    const { statuses, output } = await opened({});
    expect(statuses).toEqual(Array.from({ length: COVERED + 1 }, () => '101'));
    expect(output).toContain('memory_overcommitted');
  });

  it('refuses those that are not covered where it shall be strict', async () => {
    const { statuses } = await opened({ WEIR_STRICT_MEMORY_BUDGET: 'true', WEIR_MAX_HTTP_SOCKETS: '2' });
    // Connections of the server API have their share as well.
    const accepted = statuses.lastIndexOf('101') + 1;
    expect(accepted).toBeGreaterThanOrEqual(COVERED - 1);
    expect(statuses.slice(accepted)).toEqual(Array.from({ length: COVERED + 1 - accepted }, () => '503'));
    expect(accepted).toBeLessThanOrEqual(COVERED);
  });

  it('has nothing to say where they are covered', async () => {
    const { output } = await opened({ WEIR_MAX_CONNECTIONS: '5', WEIR_MAX_HTTP_SOCKETS: '5' });
    expect(output).not.toContain('memory_overcommitted');
  });
});
