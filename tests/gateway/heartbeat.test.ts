// Heartbeats through real sockets: who vanished is found, who is merely quiet, busy or slow stays.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  OPCODE,
  openWsClient,
  type RawSocket,
  startFaultProxy,
  upgradeRequest,
  waitFor,
  webSocketFrame,
} from '../support/index.ts';
import { type GatewayUnderTest, parseExposition, startGatewayUnderTest } from './gateway-under-test.ts';

const INTERVAL_MS = 1000;

let gateway: GatewayUnderTest;
beforeAll(async () => {
  gateway = await startGatewayUnderTest({
    WEIR_PING_INTERVAL_MS: String(INTERVAL_MS),
    WEIR_PING_MAX_STRETCH: '1',
    WEIR_MAX_STALL_MS: '60s',
  });
});
afterEach(async () => {
  await gateway.giveBack();
  await gateway.isIdle();
});
afterAll(() => gateway.stop());

const closedWithoutPong = async (): Promise<number> =>
  parseExposition((await gateway.api('/metrics')).text).get('weir_connections_closed_total{code="3012"}')!;

/** A quiet client that answers pings, one per interval: the clock of these tests. */
const intervals = async (): Promise<{ pass: (count: number) => Promise<void> }> => {
  const client = await gateway.connect();
  let pings = 0;
  client.socket.on('ping', () => pings++);
  return {
    pass: async (count) => {
      const until = pings + count;
      await waitFor(() => pings >= until, { description: `${count} pings`, timeoutMs: 30_000 });
      expect(client.closed()).toBeUndefined();
    },
  };
};

/** Connected and subscribed by hand: it answers no ping unless the test does. */
const rawSubscriber = async (channel: string): Promise<RawSocket> => {
  const raw = await gateway.raw();
  raw.write(upgradeRequest('/v1/ws'));
  await raw.waitForText(/\r\n\r\n/);
  raw.write(webSocketFrame({ opcode: OPCODE.text, payload: `{"type":"subscribe","id":1,"channel":"${channel}"}` }));
  await raw.waitForText(/"subscribed"/);
  return raw;
};

describe('a client that vanished', () => {
  it('is closed with 3012, although messages are sent to it all the time', async () => {
    const before = await closedWithoutPong();
    const clock = await intervals();
    await using proxy = await startFaultProxy({ port: gateway.node.port });
    const client = await openWsClient(`ws://127.0.0.1:${proxy.port}/v1/ws`);
    await client.expect('subscribe', { channel: 'vanished' });
    proxy.blackhole();
    const publisher = setInterval(() => void gateway.publish('vanished', 'x').catch(() => undefined), 50);
    try {
      await waitFor(async () => (await closedWithoutPong()) === before + 1, { description: 'close 3012' });
    } finally {
      clearInterval(publisher);
    }
    await clock.pass(1);
    client.terminate();
  });

  it('is told so, should it hear it: the last frame is the close frame', async () => {
    const raw = await rawSubscriber('told');
    const text = await raw.waitForText(/no_pong/);
    expect(text.endsWith(`\x88\x09\x0b\xc4no_pong`)).toBe(true);
    expect(text.lastIndexOf('\x89\x00')).toBeGreaterThan(0);
  });
});

describe('a client that lives', () => {
  it('stays while it answers pings', async () => {
    const clock = await intervals();
    await clock.pass(4);
  });

  it('stays and is not pinged while it sends, be it pings of its own', async () => {
    const clock = await intervals();
    const raw = await rawSubscriber('busy');
    const sender = setInterval(() => raw.write(webSocketFrame({ opcode: OPCODE.ping })), 100);
    try {
      // A first ping may have left before the first sign of life.
      await clock.pass(1);
      const pings = raw.text().split('\x89\x00').length;
      await clock.pass(3);
      expect(raw.text().split('\x89\x00')).toHaveLength(pings);
      expect(raw.text()).not.toContain('no_pong');
    } finally {
      clearInterval(sender);
    }
    expect(await gateway.metric('weir_pings_skipped_total')).toBeGreaterThan(0);
  });

  it('stays while it reads nothing for many intervals, and gets everything once it does', async () => {
    const clock = await intervals();
    const slow = await gateway.connect();
    await slow.expect('subscribe', { channel: 'slow' });
    slow.pause();
    const before = await closedWithoutPong();
    const data = 'x'.repeat(60_000);
    let published = 0;
    await waitFor(
      async () => {
        await gateway.publish('slow', data);
        published++;
        return (await gateway.metric('weir_connections_parked')) === 1;
      },
      { description: 'the socket to take no more', timeoutMs: 30_000 },
    );
    await clock.pass(4);
    expect(await closedWithoutPong()).toBe(before);
    slow.resume();
    const messages = await slow.waitForMessages(published);
    expect(messages.map(({ offset }) => offset)).toEqual(Array.from({ length: published }, (_, n) => n + 1));
  });
});

it('says how many pings are sent per message', async () => {
  const clock = await intervals();
  await clock.pass(2);
  const client = await gateway.connect();
  await client.expect('ping');
  expect(await gateway.metric('weir_pings_sent_total')).toBeGreaterThanOrEqual(2);
  await clock.pass(1);
  await client.expect('ping');
  expect(await gateway.metric('weir_ping_message_ratio')).toBeGreaterThan(0);
});
