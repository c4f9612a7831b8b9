// RFC 6455 §8.1 and §5.6: text is UTF-8, also when fragments cut a character in two (group 6 of the Autobahn list).
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OPCODE } from '../support/index.ts';
import { binary, close, converse, echoed, more, said, text } from './conversation.ts';
import { type EchoUnderTest, startEcho } from './echo-node.ts';

let echo: EchoUnderTest;
beforeAll(async () => {
  echo = await startEcho(64 * 1024);
});
afterAll(() => echo[Symbol.asyncDispose]());

const hex = (digits: string): Buffer => Buffer.from(digits.replaceAll(' ', ''), 'hex');
const WORD = 'κόσμε – ü – 水 – 💥';

const valid: readonly (readonly [name: string, payload: Buffer])[] = [
  ['nothing', hex('')],
  ['greek, latin, han and an emoji', Buffer.from(WORD)],
  ['NUL', hex('00')],
  ['the first of two bytes', hex('c280')],
  ['the first of three bytes', hex('e0a080')],
  ['the first of four bytes', hex('f0908080')],
  ['the last of one byte', hex('7f')],
  ['the last of two bytes', hex('dfbf')],
  ['the last of three bytes', hex('efbfbf')],
  ['the last character of all', hex('f48fbfbf')],
  ['below the surrogates', hex('ed9fbf')],
  ['above the surrogates', hex('ee8080')],
  ['the replacement character', hex('efbfbd')],
  ['a byte order mark', hex('efbbbf')],
  ['a character that is none', hex('efbfbe')],
];

const invalid: readonly (readonly [name: string, payload: Buffer])[] = [
  ['beyond the last character', hex('f4908080')],
  ['a lone continuation', hex('80')],
  ['continuations only', hex('80bf80bf80bf')],
  ['all that begins two bytes, followed by a space', hex('c020 c120 df20')],
  ['all that begins three bytes, followed by a space', hex('e020 ef20')],
  ['two bytes without the last', hex('c2')],
  ['three bytes without the last', hex('e0a0')],
  ['four bytes without the last', hex('f09080')],
  ['FE', hex('fe')],
  ['FF', hex('ff')],
  ['a slash in two bytes', hex('c0af')],
  ['a slash in three bytes', hex('e080af')],
  ['a slash in four bytes', hex('f08080af')],
  ['NUL in two bytes', hex('c080')],
  ['five bytes', hex('f888808080')],
  ['six bytes', hex('fc8480808080')],
  ['the first surrogate', hex('eda080')],
  ['the last surrogate', hex('edbfbf')],
  ['a pair of surrogates', hex('eda080edb080')],
  ['a good start and a bad end', Buffer.concat([Buffer.from(WORD), hex('eda080'), Buffer.from('edited')])],
];

describe.each(['directly', 'through HAProxy'] as const)('%s', (way) => {
  it.each(valid)('%s is taken whole, and cut at every byte', async (_, payload) => {
    await using client = await converse(echo.ports[way]);
    const messages = [
      [text(payload)],
      ...Array.from({ length: payload.length + 1 }, (_, cut) => [
        text(payload.subarray(0, cut), { fin: false }),
        more(payload.subarray(cut), true),
      ]),
      [
        text('', { fin: false }),
        ...Array.from(payload, (_, at) => more(payload.subarray(at, at + 1), false)),
        more('', true),
      ],
    ];
    await client.send([...messages.flat(), close(1000)]);
    const frames = await client.waitForEnd();
    expect(frames.map(said)).toEqual([...messages.map(() => echoed(OPCODE.text, payload)), [8, 1000]]);
  });

  it.each(invalid)('%s fails the connection, whole and in fragments, and is no text to anybody', async (_, payload) => {
    for (const sent of [
      [text(payload)],
      [text('good ', { fin: false }), more(payload, true)],
      [
        text('', { fin: false }),
        ...Array.from(payload, (_, at) => more(payload.subarray(at, at + 1), false)),
        more('', true),
      ],
    ]) {
      await using client = await converse(echo.ports[way]);
      await client.send(sent);
      for (const frame of await client.waitForEnd()) expect(said(frame)).toEqual([8, 1007]);
    }
  });

  it('bytes that are no text are taken as a binary message', async () => {
    await using client = await converse(echo.ports[way]);
    await client.send([...invalid.map(([, payload]) => binary(payload)), close(1000)]);
    const frames = await client.waitForEnd();
    expect(frames.slice(0, -1).map(said)).toEqual(invalid.map(([, payload]) => echoed(OPCODE.binary, payload)));
  });
});
