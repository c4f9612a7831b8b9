// RFC 6455 §5: framing, pings, reserved bits, opcodes, fragmentation (groups 1 to 5 of the Autobahn list).
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FrameOptions } from '../support/index.ts';
import { binary, close, converse, echoed, more, ping, pong, probe, said, text } from './conversation.ts';
import { type EchoUnderTest, startEcho } from './echo-node.ts';

const MAX_FRAME_BYTES = 128 * 1024;
let echo: EchoUnderTest;
beforeAll(async () => {
  echo = await startEcho(MAX_FRAME_BYTES);
});
afterAll(() => echo[Symbol.asyncDispose]());

type Said = readonly [opcode: number, payload: string | number | undefined];
type Case = readonly [name: string, sent: readonly FrameOptions[], answer: readonly Said[], chop?: number];

const bytes = Buffer.from(Array.from({ length: 256 }, (_, value) => value));
const SIZES = [0, 125, 126, 127, 128, 65_535, 65_536];
const sized = (size: number): string => '*'.repeat(size);

const taken: readonly Case[] = [
  ...SIZES.flatMap((size): Case[] => [
    [`1 text of ${size} bytes`, [text(sized(size))], [echoed(1, sized(size))]],
    [`1 binary of ${size} bytes`, [binary(sized(size))], [echoed(2, sized(size))]],
  ]),
  ['1 text of 65536 bytes in pieces of 997', [text(sized(65_536))], [echoed(1, sized(65_536))], 997],
  ['1 every byte in a binary message, byte by byte', [binary(bytes)], [echoed(2, bytes)], 1],
  ['2 ping without payload', [ping()], [[10, '']]],
  ['2 ping with text', [ping('Hello')], [[10, 'Hello']]],
  ['2 ping with bytes', [ping(bytes.subarray(128, 253))], [echoed(10, bytes.subarray(128, 253))]],
  ['2 ping byte by byte', [ping(sized(125))], [[10, sized(125)]], 1],
  ['2 pong nobody asked for', [pong(), pong('unasked'), ping('asked')], [[10, 'asked']]],
  [
    '2 ten pings',
    Array.from({ length: 10 }, (_, n) => ping(`${n}`)),
    Array.from({ length: 10 }, (_, n): Said => [10, `${n}`]),
  ],
  [
    '2 ten pings byte by byte',
    Array.from({ length: 10 }, (_, n) => ping(`${n}`)),
    Array.from({ length: 10 }, (_, n): Said => [10, `${n}`]),
    1,
  ],
  ['5 text in two fragments', [text('frag', { fin: false }), more('ment', true)], [[1, 'fragment']]],
  ['5 text in two fragments byte by byte', [text('frag', { fin: false }), more('ment', true)], [[1, 'fragment']], 1],
  [
    '5 ping between fragments',
    [text('frag', { fin: false }), ping('now'), more('ment', true)],
    [
      [10, 'now'],
      [1, 'fragment'],
    ],
  ],
  [
    '5 ping between fragments byte by byte',
    [text('frag', { fin: false }), ping('now'), more('ment', true)],
    [
      [10, 'now'],
      [1, 'fragment'],
    ],
    1,
  ],
  [
    '5 pings and pongs between five fragments',
    [
      text('a', { fin: false }),
      more('b', false),
      ping('1'),
      more('c', false),
      pong('x'),
      more('d', false),
      ping('2'),
      more('e', true),
    ],
    [
      [10, '1'],
      [10, '2'],
      [1, 'abcde'],
    ],
  ],
  ['5 empty fragments', [text('', { fin: false }), more('', false), more('', true)], [[1, '']]],
  ['5 empty fragments around one', [text('', { fin: false }), more('middle', false), more('', true)], [[1, 'middle']]],
  ['5 binary in fragments', [binary('ab', { fin: false }), more('cd', true)], [[2, 'abcd']]],
  [
    '5 one message after another in fragments',
    [text('a', { fin: false }), more('b', true), binary('c', { fin: false }), more('d', true), text('e')],
    [
      [1, 'ab'],
      [2, 'cd'],
      [1, 'e'],
    ],
  ],
];

const RESERVED_OPCODES = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15];
const refused: readonly (readonly [name: string, sent: readonly FrameOptions[], chop?: number])[] = [
  ['2 ping of 126 bytes', [ping(sized(126))]],
  ['2 pong of 126 bytes', [pong(sized(126))]],
  ['2 ping of 65536 bytes', [ping(sized(65_536))]],
  ...[1, 2, 3, 4, 5, 6, 7].flatMap((reserved) => [
    [`3 text with reserved bits ${reserved}`, [text(sized(10), { reserved })]] as const,
    [`3 binary with reserved bits ${reserved}, byte by byte`, [binary(sized(10), { reserved })], 1] as const,
    [`3 ping with reserved bits ${reserved}`, [ping('x', { reserved })]] as const,
    [`3 close with reserved bits ${reserved}`, [{ ...close(1000), reserved }]] as const,
  ]),
  ...RESERVED_OPCODES.flatMap((opcode) => [
    [`4 opcode ${opcode}`, [{ opcode }]] as const,
    [`4 opcode ${opcode} with payload`, [{ opcode, payload: 'x' }]] as const,
    [`4 opcode ${opcode} with payload, byte by byte`, [{ opcode, payload: 'x' }], 1] as const,
  ]),
  ['5 fragmented ping', [ping('a', { fin: false }), more('b', true)]],
  ['5 fragmented pong', [pong('a', { fin: false }), more('b', true)]],
  ['5 fragmented close', [{ ...close(1000), fin: false }, more('b', true)]],
  ['5 continuation of nothing, final', [more('x', true)]],
  ['5 continuation of nothing, not final', [more('x', false)]],
  ['5 continuation after a whole message', [text('a'), more('b', true)]],
  ['5 text inside a fragmented text', [text('a', { fin: false }), text('b')]],
  ['5 fragmented binary inside a fragmented text', [text('a', { fin: false }), binary('b', { fin: false })]],
  ['5 fragmented text that begins twice, byte by byte', [text('a', { fin: false }), text('b', { fin: false })], 1],
];

describe.each(['directly', 'through HAProxy'] as const)('%s', (way) => {
  it.each(taken.map(([name, ...rest]) => ({ name, rest })))('$name: answered, and it goes on', async ({ rest }) => {
    const [sent, answer, chop] = rest;
    await using client = await converse(echo.ports[way]);
    await client.send(sent, chop);
    const nonce = probe();
    await client.send([text(nonce), close(1000)]);
    const frames = await client.waitForEnd();
    expect(frames.map(said)).toEqual([...answer, [1, nonce], [8, 1000]]);
    expect(frames.every(({ fin, reserved, masked }) => fin && reserved === 0 && !masked)).toBe(true);
  });

  it.each(refused.map(([name, ...rest]) => ({ name, rest })))('$name: the connection fails', async ({ rest }) => {
    const [sent, chop] = rest;
    await using client = await converse(echo.ports[way]);
    const before = probe();
    await client.send([text(before)]);
    await client.waitForFrames(1);
    await client.send([...sent, text('never')], chop);
    const answers = (await client.waitForEnd()).map(said);
    expect(answers[0]).toEqual([1, before]);
    // A message in the same read as the violation may be answered or not; a close frame names a protocol error if there is one.
    for (const answer of answers.slice(1))
      expect([
        [1, 'a'],
        [8, 1002],
      ]).toContainEqual(answer);
  });
});
