// Floods: each is answered as documented and ends, and a client that keeps the rules notices nothing. Latency is for the bench.
import { deflateRawSync, gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type GatewayUnderTest, startGatewayUnderTest } from '../gateway/gateway-under-test.ts';
import { OPCODE, type RawSocket, upgradeRequest, waitFor, webSocketFrame, type WsClient } from '../support/index.ts';

const MAX_CONNECTIONS = 60;
const MAX_SUBSCRIPTIONS = 200;
const MAX_FRAME_BYTES = 16 * 1024;
const MAX_BODY_BYTES = 64 * 1024;
const CHANNEL = 'steady';

let gateway: GatewayUnderTest;
beforeAll(async () => {
  gateway = await startGatewayUnderTest({
    WEIR_MAX_CONNECTIONS: String(MAX_CONNECTIONS),
    WEIR_MAX_SUBSCRIPTIONS: String(MAX_SUBSCRIPTIONS),
    WEIR_MAX_FRAME_BYTES: String(MAX_FRAME_BYTES),
    WEIR_MAX_BODY_BYTES: String(MAX_BODY_BYTES),
    WEIR_CONNECT_DEADLINE_MS: '5000',
  });
});
afterEach(async () => {
  await gateway.giveBack();
  await gateway.isIdle();
});
afterAll(() => gateway.stop());

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
const raws = (count: number): Promise<RawSocket[]> => Promise.all(upTo(count).map(() => gateway.raw()));
const ended = ({ socket }: RawSocket): boolean => socket.readableEnded || socket.closed;

/** Runs a flood beside a publisher and a subscriber that were there before, and expects every message of theirs, in order. */
const beside = async (flood: () => Promise<void>): Promise<void> => {
  const client: WsClient = await gateway.connect();
  const { offset: head } = (await client.expect('subscribe', { channel: CHANNEL })) as unknown as { offset: number };
  const flooding = { isOver: false };
  let published = 0;
  const publishing = (async () => {
    while (!flooding.isOver || published < 20) {
      await gateway.publish(CHANNEL, published);
      published += 1;
    }
  })();
  try {
    await flood();
  } finally {
    flooding.isOver = true;
    await publishing;
  }
  const messages = await client.waitForMessages(published, CHANNEL);
  expect(messages.map(({ offset }) => offset)).toEqual(upTo(published).map((n) => head + n));
  expect(client.gaps()).toEqual([]);
  expect(client.closed()).toBeUndefined();
};

describe('a client that keeps the rules gets every message while others flood the node with', () => {
  it('slow heads: each is cut after some seconds, however it trickles', { timeout: 60_000 }, () =>
    beside(async () => {
      const slow = await raws(150);
      slow.forEach((raw, index) =>
        raw.write(index % 3 === 0 ? '' : upgradeRequest('/v1/ws').slice(0, 40 + (index % 60))),
      );
      await waitFor(
        () => {
          for (const raw of slow) if (!ended(raw)) raw.write('x');
          return slow.every(ended);
        },
        { timeoutMs: 40_000, description: () => `${slow.filter((raw) => !ended(raw)).length} slow heads to be cut` },
      );
    }),
  );

  it('heads beyond the bound: 431, 400 or cut', () =>
    beside(async () => {
      const sockets = await raws(30);
      for (const raw of sockets)
        raw.write(`GET /v1/ws HTTP/1.1\r\nHost: a\r\nX-Flood: ${'x'.repeat(1_000_000)}\r\n\r\n`);
      for (const raw of sockets) expect(await raw.waitForEnd()).toMatch(/^(HTTP\/1\.1 (431|400) [^]*)?$/);
    }));

  it('connections: those beyond the bound get 503 and a time to come back, and room is given back', () =>
    beside(async () => {
      const sockets = await raws(3 * MAX_CONNECTIONS);
      for (const raw of sockets) raw.write(upgradeRequest('/v1/ws'));
      const answers = await Promise.all(sockets.map((raw) => raw.waitForText(/^HTTP\/1\.1 \d+ [^]*?\r\n\r\n/)));
      const accepted = answers.filter((answer) => answer.startsWith('HTTP/1.1 101 '));
      const refused = answers.filter((answer) => /^HTTP\/1\.1 503 [^]*retry-after: \d+/i.test(answer));
      // The one who keeps the rules has a place as well.
      expect([accepted.length, refused.length]).toEqual([MAX_CONNECTIONS - 1, sockets.length - MAX_CONNECTIONS + 1]);
      for (const raw of sockets) raw.reset();
      await waitFor(async () => (await gateway.metric('weir_connections')) === 1, { description: 'room' });
      await (await gateway.connect()).close();
    }));

  it('connections that say nothing: close 3502 at the deadline', () =>
    beside(async () => {
      const silent = await Promise.all(upTo(40).map(() => gateway.connect({ connect: false })));
      for (const client of silent) expect(await client.waitForClose()).toMatchObject({ code: 3502 });
    }));

  it('subscriptions: one error 106 each beyond the bound', () =>
    beside(async () => {
      const client = await gateway.connect();
      for (const frame of upTo(40)) {
        const replies = await client.commands(
          upTo(64).map((n) => ({ type: 'subscribe', channel: `flood-${64 * frame + n}` })),
        );
        for (const { type, code } of replies) expect(['subscribed', 106, 111]).toContain(code ?? type);
      }
      expect(await gateway.metric('weir_subscriptions')).toBeLessThanOrEqual(MAX_SUBSCRIPTIONS + 1);
    }));

  it('publishes without waiting: each is published or refused with a time to come back', () =>
    beside(async () => {
      const client = await gateway.connect();
      const count = 64 * 100;
      for (const frame of upTo(100)) {
        client.send(
          upTo(64).map((n) => ({ type: 'publish', id: 64 * frame + n, channel: 'flood', data: 'x'.repeat(100) })),
        );
      }
      const outcomes = () => client.received.filter(({ id }) => id !== undefined && id > 64);
      await waitFor(() => outcomes().length === count || client.closed() !== undefined, {
        timeoutMs: 30_000,
        description: 'replies',
      });
      for (const { type, code, retryAfterMs } of outcomes()) {
        if (type === 'error') expect([code, typeof retryAfterMs]).toEqual([111, 'number']);
        else expect(type).toBe('published');
      }
    }));

  it('bombs: 1009 for large messages, no word for compressed ones, 413 and 4xx for bodies', () =>
    beside(async () => {
      const bomb = Buffer.alloc(16 * 1024 * 1024);
      const frames = {
        large: webSocketFrame({ opcode: OPCODE.text, payload: 'x'.repeat(MAX_FRAME_BYTES + 1) }),
        larger: webSocketFrame({ opcode: OPCODE.text, payload: 'x'.repeat(MAX_FRAME_BYTES * 4) }),
        deflated: webSocketFrame({
          opcode: OPCODE.text,
          payload: deflateRawSync(bomb).subarray(0, 10_000),
          reserved: 4,
        }),
      };
      for (const [kind, bytes] of Object.entries(frames)) {
        for (const raw of await raws(10)) {
          raw.write(upgradeRequest('/v1/ws', { 'Sec-WebSocket-Extensions': 'permessage-deflate' }));
          await raw.waitForText(/^HTTP\/1\.1 101 [^]*\r\n\r\n/);
          raw.write(bytes);
          const text = await raw.waitForEnd();
          // The server may ping at any time.
          const closing = text.slice(text.indexOf('\r\n\r\n') + 4).replaceAll('\x89\x00', '');
          expect(closing, kind).toMatch(kind === 'large' ? /^\x88.\x03\xf1/ : /^(\x88.\x03[\xea\xf1].*)?$/);
        }
      }
      const post = (body: Buffer, headers: Record<string, string>) =>
        fetch(`${gateway.node.url}/v1/publish`, {
          method: 'POST',
          body,
          headers: { 'X-API-Key': gateway.apiKey, ...headers },
        });
      const zipped = gzipSync(bomb);
      expect(zipped.length).toBeLessThan(MAX_BODY_BYTES);
      expect((await post(zipped, { 'Content-Encoding': 'gzip', 'Content-Type': 'application/json' })).status).toBe(400);
      expect((await post(Buffer.alloc(MAX_BODY_BYTES + 1, ' '), {})).status).toBe(413);
      const deep = Buffer.from(`{"channel":"c","data":${'['.repeat(20_000)}${']'.repeat(20_000)}}`);
      expect((await post(deep, {})).status).toBeLessThan(500);
    }));

  it('pings that are read: all are answered', () =>
    beside(async () => {
      const [raw] = await raws(1);
      raw!.write(upgradeRequest('/v1/ws'));
      await raw!.waitForText(/\r\n\r\n/);
      const before = raw!.bytes().length;
      const count = 5_000;
      const pings = Buffer.concat(
        upTo(count).map(() => webSocketFrame({ opcode: OPCODE.ping, payload: 'x'.repeat(125) })),
      );
      raw!.write(pings);
      await waitFor(() => raw!.bytes().length - before >= count * 127 || ended(raw!), { description: 'pongs' });
      expect(ended(raw!)).toBe(false);
    }));
});
