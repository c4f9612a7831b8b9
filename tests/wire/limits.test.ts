// Sizes, fragments and compression: what one client may make a node keep (groups 9, 10, 12 and 13 of the Autobahn list).
import { deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type FrameOptions, OPCODE } from '../support/index.ts';
import { binary, close, converse, echoed, more, ping, said, text } from './conversation.ts';
import { type EchoUnderTest, startEcho } from './echo-node.ts';

const MAX_FRAME_BYTES = 1024 * 1024;
let echo: EchoUnderTest;
beforeAll(async () => {
  echo = await startEcho(MAX_FRAME_BYTES);
});
afterAll(() => echo[Symbol.asyncDispose]());

/** `payload` in fragments of `size` bytes. */
const fragments = (opcode: number, payload: Buffer, size: number): FrameOptions[] => {
  const frames: FrameOptions[] = [];
  for (let at = 0; at < Math.max(1, payload.length); at += size) {
    const part = payload.subarray(at, at + size);
    const fin = at + size >= payload.length;
    frames.push(at === 0 ? { opcode, payload: part, fin } : more(part, fin));
  }
  return frames;
};

describe.each(['directly', 'through HAProxy'] as const)('%s', (way) => {
  it.each([64, 1_024, 65_536, MAX_FRAME_BYTES])('the largest message in fragments of %i bytes', async (size) => {
    await using client = await converse(echo.ports[way]);
    const payload = Buffer.alloc(MAX_FRAME_BYTES, '*');
    await client.send([...fragments(OPCODE.binary, payload, size), close(1000)]);
    const [message, end] = await client.waitForEnd();
    expect(message!.payload.equals(payload)).toBe(true);
    expect(said(end!)).toEqual([8, 1000]);
  });

  it('a message of 64 KiB in writes of 1300 bytes', async () => {
    await using client = await converse(echo.ports[way]);
    await client.send([text('*'.repeat(65_536)), close(1000)], 1_300);
    expect((await client.waitForEnd()).map(said)).toEqual([echoed(1, '*'.repeat(65_536)), [8, 1000]]);
  });

  it.each([
    ['in one frame', MAX_FRAME_BYTES + 1, MAX_FRAME_BYTES + 1],
    ['in fragments', MAX_FRAME_BYTES + 1, 65_536],
    ['a quarter over the bound', 1.25 * MAX_FRAME_BYTES, 1.25 * MAX_FRAME_BYTES],
  ])('a message over the bound closes with 1009: %s', async (_, length, size) => {
    await using client = await converse(echo.ports[way]);
    await client.send(fragments(OPCODE.text, Buffer.alloc(length, '*'), size));
    expect((await client.waitForEnd()).map(said)).toEqual([[8, 1009]]);
  });

  it('a frame that announces far more costs the connection before it is there', async () => {
    await using client = await converse(echo.ports[way]);
    await client.send([text('*'.repeat(65_536), { announcedLength: 2 ** 40 })]);
    for (const frame of await client.waitForEnd()) expect(said(frame)).toEqual([8, 1009]);
  });

  it('fragments without end cost the connection at a quarter over the bound', async () => {
    await using client = await converse(echo.ports[way]);
    const part = Buffer.alloc(65_536, '*');
    client.raw.socket.on('error', () => undefined);
    const sending = client.send([binary(part, { fin: false }), ...Array.from({ length: 64 }, () => more(part, false))]);
    for (const frame of await client.waitForEnd()) expect(said(frame)).toEqual([8, 1009]);
    client.raw.socket.destroy();
    await sending;
  });

  it('compression is not agreed to, so a compressed bomb is a protocol error of a few bytes', async () => {
    const extensions = 'permessage-deflate; client_max_window_bits, x-webkit-deflate-frame';
    await using client = await converse(echo.ports[way], { 'Sec-WebSocket-Extensions': extensions });
    expect(client.head).not.toMatch(/sec-websocket-extensions/i);
    const bomb = deflateRawSync(Buffer.alloc(64 * MAX_FRAME_BYTES));
    expect(bomb.length).toBeLessThan(MAX_FRAME_BYTES);
    await client.send([text(bomb, { reserved: 4 })]);
    for (const frame of await client.waitForEnd()) expect(said(frame)).toEqual([8, 1002]);
  });

  it('any messages, cut into any fragments and writes, with pings between, come back as they were', async () => {
    const message = fc.record({
      isText: fc.boolean(),
      content: fc.oneof(
        fc.string({ unit: 'grapheme', maxLength: 200 }),
        fc.nat(70_000).map((length) => 'é'.repeat(length / 2)),
      ),
      size: fc.integer({ min: 1, max: 40_000 }),
      pinged: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(message, { maxLength: 6 }),
        fc.integer({ min: 200, max: 100_000 }),
        async (messages, chop) => {
          await using client = await converse(echo.ports[way]);
          const sent = messages.flatMap(({ isText, content, size, pinged }) => {
            const payload = Buffer.from(content);
            const least = Math.max(size, Math.ceil(payload.length / 500));
            const [first, ...rest] = fragments(isText ? OPCODE.text : OPCODE.binary, payload, least);
            return [first!, ...(pinged ? [ping('between')] : []), ...rest];
          });
          await client.send([...sent, close(1000)], chop);
          const expected = messages.map(({ isText, content }) => echoed(isText ? OPCODE.text : OPCODE.binary, content));
          const frames = (await client.waitForEnd()).map(said);
          expect(frames.filter(([opcode]) => opcode !== OPCODE.pong)).toEqual([...expected, [8, 1000]]);
          expect(frames.filter(([opcode]) => opcode === OPCODE.pong)).toHaveLength(
            messages.filter(({ pinged }) => pinged).length,
          );
        },
      ),
      { numRuns: 40 },
    );
  });
});
