import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  OPCODE,
  type RawSocket,
  upgradeRequest,
  waitFor,
  webSocketFrame,
  type WireObject,
  type WsClient,
} from '../support/index.ts';
import type { GatewayUnderTest } from './gateway-under-test.ts';
import { MAX_FRAME_BYTES, MAX_SUBSCRIPTIONS, settle, startSmallGateway } from './small-gateway.ts';

let gateway: GatewayUnderTest;
beforeAll(async () => {
  gateway = await startSmallGateway();
});
/** After every test the very same process lives and holds nothing. */
afterEach(async () => {
  const { next, failed } = await settle(gateway);
  gateway = next;
  if (failed !== undefined) throw failed;
});
afterAll(() => gateway.stop());

const connect = (options?: Parameters<GatewayUnderTest['connect']>[0]): Promise<WsClient> => gateway.connect(options);
const refused = (code: number): Record<string, unknown> => ({
  type: 'error',
  code,
  message: expect.any(String) as string,
  temporary: false,
});
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
const errorsOf = (client: WsClient): readonly WireObject[] => client.received.filter(({ type }) => type === 'error');
/** A raw connection after a successful upgrade. */
const upgraded = async (): Promise<RawSocket> => {
  const raw = await gateway.raw();
  raw.write(upgradeRequest('/v1/ws'));
  await raw.waitForText(/^HTTP\/1\.1 101 [^]*\r\n\r\n/);
  return raw;
};

describe('frames that are no commands', () => {
  it.each([
    ['text that is no JSON', '{"type":'],
    ['an empty frame', ''],
    ['a frame of spaces', '   '],
    ['a number', '42'],
    ['null', 'null'],
    ['a string', '"ping"'],
    ['an empty array', '[]'],
    ['nested arrays', '[[{"type":"ping","id":7}]]'],
    ['an array of null', '[null]'],
    ['no type', '{}'],
    ['a numeric type', '{"type":7}'],
    ['an object as type', '{"type":{"toString":"x"}}'],
    ['two JSON values', '{"type":"ping"}{"type":"ping"}'],
    ['a comment', '// ping'],
    ['NaN', '{"type":"ping","id":NaN}'],
    ['a byte order mark', '\ufeff{"type":"ping"}'],
    ['deep nesting', `${'['.repeat(8_000)}${']'.repeat(8_000)}`],
    ['deep nesting in a type', `{"type":${'['.repeat(8_000)}${']'.repeat(8_000)}}`],
    ['deep nesting in a field', `{"type":"subscribe","channel":${'{"a":'.repeat(2_500)}1${'}'.repeat(2_500)}}`],
  ])('%s: one typed error without id, and the connection goes on', async (_, frame) => {
    const client = await connect();
    client.send(frame);
    await client.expect('ping');
    expect(errorsOf(client)).toMatchObject([{ ...refused(107), name: 'bad_request' }]);
    expect(errorsOf(client)[0]).not.toHaveProperty('id');
  });

  it.each([
    ['constructor', 104],
    ['__proto__', 104],
    ['CONNECT', 104],
    ['message', 104],
    ['', 104],
  ])('the unknown command %j gets its id back with an error', async (type, code) => {
    const client = await connect();
    expect(await client.command(type)).toMatchObject(refused(code));
  });

  it.each([0, -1, 1.5, 2 ** 31, '1', null, true, [], {}])('the id %j is refused and not echoed', async (id) => {
    const client = await connect();
    client.send({ type: 'ping', id });
    await client.expect('ping');
    expect(errorsOf(client)).toMatchObject([refused(107)]);
    expect(errorsOf(client)[0]).not.toHaveProperty('id');
  });

  it('a binary frame, even one that holds a command, is an error', async () => {
    const client = await connect();
    client.send(Buffer.from('{"type":"ping","id":50}'));
    await client.expect('ping');
    expect(errorsOf(client)).toMatchObject([refused(107)]);
    expect(client.received.some(({ id }) => id === 50)).toBe(false);
  });

  it('65 commands in a frame are refused as one, and none of them runs', async () => {
    const client = await connect();
    client.send(upTo(65).map((id) => ({ type: 'subscribe', channel: `batch-${id}`, id: 1000 + id })));
    await client.expect('ping');
    expect(errorsOf(client)).toMatchObject([{ ...refused(106), name: 'limit_exceeded' }]);
    expect(await gateway.metric('weir_subscriptions')).toBe(0);
  });

  it('a wrong command inside a batch does not touch the others', async () => {
    const client = await connect();
    const replies = await client.commands([
      { type: 'ping' },
      { type: 'nothing' },
      { type: 'subscribe' },
      { type: 'ping' },
    ]);
    expect(replies.map(({ type, code }) => code ?? type)).toEqual(['pong', 104, 107, 'pong']);
  });
});

describe('fields of the wrong type or out of range', () => {
  const illegal = ['', ' ', 'a b', 'ä', 'a\n', 'a*', '💥', 'a'.repeat(201), 7, null, true, ['a'], { a: 1 }];
  it.each(illegal)('the channel %j is refused by every command', async (channel) => {
    const client = await connect();
    const replies = await client.commands(
      ['subscribe', 'unsubscribe', 'publish', 'history', 'presence'].map((type) => ({ type, channel, data: 1 })),
    );
    for (const reply of replies)
      expect(reply).toMatchObject({ ...refused(107), message: expect.stringContaining('channel') as string });
  });

  it('names the field, what was expected and what came', async () => {
    const client = await connect();
    const reply = await client.command('history', { channel: 'c', limit: 5000 });
    expect(reply['message']).toMatch(/limit: expected .*1-1000.*got 5000/);
  });

  it('takes the longest and the strangest legal channel names', async () => {
    const client = await connect();
    for (const channel of ['a'.repeat(200), '_-=@,.;/:', ':', '::', ':a', '__proto__', 'constructor']) {
      const position = await client.expect('subscribe', { channel });
      expect(await gateway.publish(channel, 'x')).toMatchObject({ epoch: position['epoch'], offset: 1 });
      await client.waitForMessages(1, channel);
      await client.expect('unsubscribe', { channel });
    }
  });

  it('data nested too deep to be written as JSON is the sender’s error, by frame and by HTTP', async () => {
    const client = await connect();
    const depth = 7_500;
    client.send(`{"type":"publish","id":9,"channel":"deep","data":${'['.repeat(depth)}${']'.repeat(depth)}}`);
    const reply = await waitFor(() => client.received.find(({ id }) => id === 9), { description: 'the reply' });
    expect(reply['code'] ?? reply.type).not.toBe(100);
    const text = `{"channel":"deep","data":${'['.repeat(30_000)}${']'.repeat(30_000)}}`;
    const raw = await gateway.raw();
    raw.write(
      `POST /v1/publish HTTP/1.1\r\nHost: a\r\nX-API-Key: ${gateway.apiKey}\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
    );
    expect(await raw.waitForText(/\r\n\r\n/)).not.toMatch(/^HTTP\/1\.1 5/);
  });
});

describe('bad frames in a row', () => {
  it('the tenth closes with 3501, after each got its error', async () => {
    const client = await connect();
    for (const n of upTo(10)) client.send(`bad ${n}`);
    expect(await client.waitForClose()).toMatchObject({ code: 3501 });
    expect(errorsOf(client)).toHaveLength(10);
  });

  it('a good command in between starts the count anew', async () => {
    const client = await connect();
    for (const round of upTo(3)) {
      for (const n of upTo(9)) client.send(`bad ${round}.${n}`);
      expect(await client.command('ping')).toMatchObject({ type: 'pong' });
    }
    expect(errorsOf(client)).toHaveLength(27);
    expect(client.closed()).toBeUndefined();
  });

  it('ten in one batch count as ten, and what follows them is not run', async () => {
    const client = await connect();
    client.send([...upTo(10).map(() => ({ type: 'nothing' })), { type: 'publish', channel: 'after-close', data: 1 }]);
    expect(await client.waitForClose()).toMatchObject({ code: 3501 });
    expect((await gateway.api('/v1/channels/after-close')).body).toMatchObject({ offset: 0 });
  });

  it('binary frames count as well', async () => {
    const client = await connect();
    for (let n = 0; n < 10; n += 1) client.send(Buffer.from([n]));
    expect(await client.waitForClose()).toMatchObject({ code: 3501 });
  });

  it('commands that are well formed but refused do not count', async () => {
    const client = await connect();
    for (let n = 0; n < 30; n += 1)
      expect(await client.command('unsubscribe', { channel: 'c' })).toMatchObject(refused(113));
    expect(client.closed()).toBeUndefined();
  });
});

describe('sizes', () => {
  const publishOf = (bytes: number): string => {
    const frame = (data: string): string => JSON.stringify({ type: 'publish', id: 40, channel: 'big', data });
    return frame('x'.repeat(bytes - frame('').length));
  };

  it('a frame of exactly the limit is taken', async () => {
    const client = await connect();
    client.send(publishOf(MAX_FRAME_BYTES));
    await waitFor(() => client.received.find(({ id }) => id === 40)?.type === 'published', {
      description: 'the reply',
    });
  });

  it('a frame one byte over the limit closes with 1009', async () => {
    const client = await connect();
    client.send(publishOf(MAX_FRAME_BYTES + 1));
    expect(await client.waitForClose()).toMatchObject({
      code: 1009,
      reason: expect.stringContaining('16384') as string,
    });
  });

  it('a frame far over the limit costs the socket without being read', async () => {
    const client = await connect();
    client.send(publishOf(MAX_FRAME_BYTES * 50));
    const { code } = await client.waitForClose();
    expect([1006, 1009]).toContain(code);
  });

  it('a frame that announces exabytes costs the socket at once', async () => {
    const raw = await upgraded();
    const header = webSocketFrame({ opcode: OPCODE.text, payload: 'x'.repeat(65_536) }).subarray(0, 14);
    header.writeBigUInt64BE(2n ** 62n, 2);
    raw.write(header);
    await raw.waitForEnd();
  });

  it('a message in many fragments has the limit of one frame', async () => {
    const raw = await upgraded();
    const payload = 'x'.repeat(4096);
    raw.write(webSocketFrame({ opcode: OPCODE.text, payload, fin: false }));
    for (let n = 0; n < 30; n += 1) raw.write(webSocketFrame({ opcode: OPCODE.continuation, payload, fin: false }));
    await raw.waitForEnd();
  });

  it('thousands of subscriptions over the limit get an error each, and the connection keeps what it has', async () => {
    const client = await connect();
    const total = 3_000;
    const replies: WireObject[] = [];
    for (let first = 1; first <= total; first += 64) {
      const part = upTo(Math.min(64, total - first + 1)).map((n) => ({
        type: 'subscribe',
        channel: `many-${first + n}`,
      }));
      replies.push(...(await client.commands(part)));
    }
    expect(replies.filter(({ type }) => type === 'subscribed')).toHaveLength(MAX_SUBSCRIPTIONS);
    expect(replies.filter(({ code }) => code === 106)).toHaveLength(total - MAX_SUBSCRIPTIONS);
    expect(await gateway.metric('weir_subscriptions')).toBe(MAX_SUBSCRIPTIONS);
  });

  it('a connection that ends while its subscriptions open leaves none behind', async () => {
    for (const cut of upTo(10)) {
      const client = await connect({ connect: false });
      client.send(upTo(60).map((n) => ({ type: 'subscribe', id: n, channel: `cut-${cut}-${n}` })));
      client.terminate();
    }
  });
});

describe('violations of RFC 6455', () => {
  const frame = webSocketFrame;
  it.each([
    ['reserved bits', frame({ opcode: OPCODE.text, payload: '{}', reserved: 4 })],
    ['an unknown opcode', frame({ opcode: 3, payload: 'x' })],
    ['an unknown control opcode', frame({ opcode: 11, payload: 'x' })],
    ['a fragmented ping', frame({ opcode: OPCODE.ping, payload: 'x', fin: false })],
    ['a ping of 126 bytes', frame({ opcode: OPCODE.ping, payload: 'x'.repeat(126) })],
    ['a continuation of nothing', frame({ opcode: OPCODE.continuation, payload: 'x' })],
    ['text that is no UTF-8', frame({ opcode: OPCODE.text, payload: Buffer.from([0xc3, 0x28]) })],
    ['a close frame of one byte', frame({ opcode: OPCODE.close, payload: 'x' })],
  ])('%s: the connection ends', async (_, bytes) => {
    const raw = await upgraded();
    raw.write(bytes);
    await raw.waitForEnd();
  });

  it('a frame cut short by a lost machine leaves nothing', async () => {
    for (const bytes of [
      frame({ opcode: OPCODE.text, payload: '{"type":"ping"', announcedLength: 5000 }),
      frame({ opcode: OPCODE.text, payload: '' }).subarray(0, 3),
    ]) {
      const raw = await upgraded();
      raw.write(bytes);
      raw.reset();
    }
  });

  it('an upgrade that is reset at once leaves nothing', async () => {
    for (let n = 0; n < 20; n += 1) {
      const raw = await gateway.raw();
      raw.write(upgradeRequest('/v1/ws'));
      raw.reset();
    }
  });
});

describe('a reader that does not read', () => {
  it('costs the node a cursor, keeps its connection, and gets everything once it reads', async () => {
    const channel = 'slow-reader';
    const [slow, ...others] = await Promise.all(upTo(4).map(() => connect()));
    await Promise.all([slow!, ...others].map((client) => client.expect('subscribe', { channel })));
    slow!.pause();
    let published = 0;
    // The kernel hides megabytes before the node sees that nobody reads.
    await waitFor(
      async () => {
        const commands = upTo(40).map(() => ({
          publish: { channel, data: { n: ++published, text: 'x'.repeat(1_000) } },
        }));
        expect((await gateway.api('/v1/batch', { body: { commands } })).status).toBe(200);
        return (await gateway.metric('weir_subscriptions_behind')) === 1;
      },
      { timeoutMs: 20_000, description: () => `the slow reader to fall behind; ${published} published` },
    );
    const outbox = await gateway.metric('weir_outbox_bytes');
    expect(outbox).toBeLessThan(512 * 1024);
    for (const other of others) {
      const messages = await other.waitForMessages(published);
      expect(messages.map(({ offset }) => offset)).toEqual(upTo(published));
    }
    slow!.resume();
    const accounted = (): number =>
      [...slow!.messages().map(({ offset }) => offset as number), ...slow!.gaps().map(({ to }) => to as number)].reduce(
        (most, offset) => Math.max(most, offset),
        0,
      );
    await waitFor(() => accounted() === published, { description: () => `${published}, at ${accounted()}` });
    let next = 1;
    for (const push of slow!.pushes.filter(({ type }) => type === 'message' || type === 'gap')) {
      expect(push['offset'] ?? push['from']).toBe(next);
      next = ((push['offset'] ?? push['to']) as number) + 1;
    }
    expect(slow!.closed()).toBeUndefined();
  });

  it('that asks for much and reads nothing is closed with 3008 at its bound', async () => {
    const channel = 'greedy';
    const commands = upTo(60).map(() => ({ publish: { channel, data: 'x'.repeat(1_000) } }));
    await gateway.api('/v1/batch', { body: { commands } });
    const client = await connect();
    client.pause();
    const closedBefore = await gateway.metric('weir_connections_closed_total');
    await waitFor(
      async () => {
        client.send(upTo(30).map((id) => ({ type: 'history', id: 1000 + id, channel })));
        return (await gateway.metric('weir_connections_closed_total')) > closedBefore;
      },
      { timeoutMs: 20_000, description: 'the greedy client to be closed' },
    );
    client.resume();
    expect(await client.waitForClose()).toMatchObject({ code: 3008 });
  });
});

describe('any input at all', () => {
  const types = [
    'connect',
    'subscribe',
    'unsubscribe',
    'publish',
    'history',
    'ping',
    'refresh',
    'presence',
    'ack',
    'rpc',
  ];
  const valid = fc.oneof(
    fc.record({ type: fc.constant('subscribe'), channel: fc.constantFrom('p1', 'p2', 'ns:p3') }),
    fc.record({ type: fc.constant('unsubscribe'), channel: fc.constantFrom('p1', 'p2', 'ns:p3') }),
    fc.record({
      type: fc.constant('publish'),
      channel: fc.constantFrom('p1', 'p2'),
      data: fc.jsonValue({ maxDepth: 3 }),
    }),
    fc.record({ type: fc.constant('history'), channel: fc.constant('p1'), limit: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ type: fc.constantFrom(...types) }),
  );
  const fields = [
    'type',
    'channel',
    'data',
    'since',
    'limit',
    'messageId',
    'key',
    'policy',
    'token',
    'offset',
    '__proto__',
  ];
  /** A command with one field replaced or added by any JSON value, or none. */
  const mutated = fc
    .tuple(valid, fc.constantFrom(...fields), fc.jsonValue({ maxDepth: 2 }))
    .map(([command, field, value]) => Object.fromEntries([...Object.entries(command), [field, value]]) as object);
  const anything = fc.oneof(valid, mutated, fc.dictionary(fc.constantFrom(...fields), fc.jsonValue({ maxDepth: 2 })));

  it('gets exactly one reply per id, and never ends the connection', async () => {
    const client = await connect();
    let nextId = 1000;
    await fc.assert(
      fc.asyncProperty(fc.array(anything, { minLength: 1, maxLength: 30 }), async (commands) => {
        const numbered = commands.map((command) => ({ ...command, id: nextId++ }));
        const [{ id: first } = { id: 0 }] = numbered;
        const replied = (): number[] =>
          client.received.flatMap(({ id }) => (id !== undefined && id >= first ? [id] : []));
        // A good command after each keeps the count of bad ones in a row below its limit.
        client.send(numbered.flatMap((command) => [command, { type: 'ping' }]));
        await waitFor(() => replied().length >= numbered.length, {
          description: () =>
            `${numbered.length} replies to ${JSON.stringify(numbered)}; closed: ${client.closed()?.code}`,
        });
        // A second reply would come before this one.
        await client.expect('ping');
        const ids = replied().filter((id) => id >= 1000);
        expect(ids.sort((a, b) => a - b)).toEqual(numbered.map(({ id }) => id));
      }),
      { numRuns: 100 },
    );
  });

  it('frames with characters changed, added or cut never end the connection', async () => {
    const client = await connect();
    const edit = fc.record({ at: fc.nat(80), cut: fc.nat(3), text: fc.string({ unit: 'binary', maxLength: 3 }) });
    const spoil = (frame: string, edits: readonly { at: number; cut: number; text: string }[]): string =>
      edits.reduce((text, { at, cut, text: added }) => text.slice(0, at) + added + text.slice(at + cut), frame);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(valid, fc.array(edit, { maxLength: 4 })), { minLength: 1, maxLength: 9 }),
        async (frames) => {
          for (const [command, edits] of frames) client.send(spoil(JSON.stringify(command), edits));
          expect(await client.command('ping')).toMatchObject({ type: 'pong' });
        },
      ),
      { numRuns: 100 },
    );
  });
});
