// RFC 6455 §7: the closing handshake, codes and reasons (group 7 of the Autobahn list).
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FrameOptions } from '../support/index.ts';
import { close, converse, more, ping, probe, said, text } from './conversation.ts';
import { type EchoUnderTest, startEcho } from './echo-node.ts';

let echo: EchoUnderTest;
beforeAll(async () => {
  echo = await startEcho(64 * 1024);
});
afterAll(() => echo[Symbol.asyncDispose]());

/** Codes a client may send; the engine repeats these, and answers the others without a code: see docs/protocol.md. */
const VALID_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 4000, 4999];
const REPEATED_WITHOUT_CODE = [1012, 1013, 1014, 3000, 3999];
const INVALID_CODES = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];

describe.each(['directly', 'through HAProxy'] as const)('%s', (way) => {
  const answers = async (...sent: readonly FrameOptions[]): Promise<unknown[]> => {
    await using client = await converse(echo.ports[way]);
    const nonce = probe();
    await client.send([text(nonce)]);
    await client.waitForFrames(1);
    await client.send(sent);
    const [first, ...rest] = (await client.waitForEnd()).map(said);
    expect(first).toEqual([1, nonce]);
    return rest;
  };

  it('a close frame without payload is answered, and the server ends the connection', async () => {
    expect(await answers(close())).toEqual([[8, undefined]]);
  });

  it.each(VALID_CODES)('code %i comes back', async (code) => {
    expect(await answers(close(code))).toEqual([[8, code]]);
    expect(await answers(close(code, 'a reason'))).toEqual([[8, code]]);
  });

  it.each(REPEATED_WITHOUT_CODE)(
    'code %i, legal but unknown to the engine, is answered without a code',
    async (code) => {
      expect(await answers(close(code))).toEqual([[8, undefined]]);
    },
  );

  it.each(INVALID_CODES)('code %i never comes back: the connection ends without a code or with 1002', async (code) => {
    for (const answer of await answers(close(code))) expect([undefined, 1002]).toContain((answer as unknown[])[1]);
  });

  it('half a code ends the connection', async () => {
    for (const answer of await answers({ opcode: 8, payload: '\x03' })) {
      expect([undefined, 1002]).toContain((answer as unknown[])[1]);
    }
  });

  it('a reason of 123 bytes is taken, one of 124 fails the connection', async () => {
    expect(await answers(close(1000, '*'.repeat(123)))).toEqual([[8, 1000]]);
    for (const answer of await answers(close(1000, '*'.repeat(124)))) expect(answer).toEqual([8, 1002]);
  });

  it('a reason that is no UTF-8 is never repeated', async () => {
    for (const answer of await answers(close(1000, Buffer.from([0xc3, 0x28])))) {
      expect([undefined, 1002, 1007]).toContain((answer as unknown[])[1]);
    }
  });

  it.each<readonly [string, readonly FrameOptions[]]>([
    ['a second close', [close(1000), close(1001)]],
    ['a ping', [close(1000), ping('x')]],
    ['a message', [close(1000), text('x')]],
    ['the rest of a message', [text('a', { fin: false }), close(1000), more('b', true)]],
  ])('nothing after the close frame is answered: %s', async (_, sent) => {
    expect(await answers(...sent)).toEqual([[8, 1000]]);
  });

  it('a message, pings and a close in one write are all answered in order', async () => {
    const large = '*'.repeat(60_000);
    expect(await answers(text(large), ping('p'), text('last'), close(1000))).toEqual([
      [1, large],
      [10, 'p'],
      [1, 'last'],
      [8, 1000],
    ]);
  });
});
