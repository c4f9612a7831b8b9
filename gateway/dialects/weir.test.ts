import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LogEntry } from './dialect.ts';
import { weirDialect } from './weir.ts';

/** A frame is closed beyond this (protocol §1); a single message may be larger. */
const MAX_FRAME_BYTES = 64 * 1024 + 1024;

const publicationOf = (offset: number, data: unknown): LogEntry => {
  const body = Buffer.from(JSON.stringify({ data, time: 1 }));
  return { offset, timeMs: 1, key: undefined, body, bodyBytes: body.length };
};
const shownOf = (channel: string, entry: LogEntry): unknown =>
  'reason' in entry
    ? { type: 'gap', channel, ...entry }
    : {
        type: 'message',
        channel,
        ...(entry.offset > 0 && { offset: entry.offset }),
        ...(JSON.parse(entry.body.toString()) as object),
      };
const messagesIn = (frames: readonly Buffer[]): unknown[] =>
  frames.flatMap((frame) => JSON.parse(frame.toString()) as unknown);

const data = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.integer(),
  fc.constant(null),
  fc.dictionary(fc.string(), fc.integer()),
);
const entry: fc.Arbitrary<LogEntry> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.nat(), data).map(([offset, value]) => publicationOf(offset, value)) },
  { weight: 1, arbitrary: fc.constant<LogEntry>({ from: 3, to: 7, count: 5, reason: 'expired' }) },
);
const channel = fc.oneof(fc.constantFrom('c', 'chat:lobby', 'ä"\\'), fc.string({ minLength: 1 }));

describe('weir dialect, encodeBatch', () => {
  it('carries every entry in order, with its channel and offset in front of the body as it is', () => {
    fc.assert(
      fc.property(channel, fc.array(entry, { minLength: 1, maxLength: 20 }), (name, entries) => {
        const frames = weirDialect.encodeBatch(name, entries);
        expect(messagesIn(frames)).toEqual(entries.map((one) => shownOf(name, one)));
      }),
    );
  });

  it('leaves the bodies as they were', () => {
    const entries = [publicationOf(1, 'a'), publicationOf(2, 'b')];
    const before = entries.map((one) => JSON.stringify(one));
    weirDialect.encodeBatch('c', entries);
    expect(entries.map((one) => JSON.stringify(one))).toEqual(before);
  });

  it('sends one message as an object and several as an array', () => {
    expect(weirDialect.encodeBatch('c', [publicationOf(1, 'x')])[0]?.toString()).toMatch(/^\{.*\}$/);
    expect(weirDialect.encodeBatch('c', [publicationOf(1, 'x'), publicationOf(2, 'y')])[0]?.toString()).toMatch(
      /^\[.*\]$/,
    );
  });

  it('closes a frame before it becomes larger than its bound', () => {
    const entries = Array.from({ length: 100 }, (_, n) => publicationOf(n + 1, 'x'.repeat(3000)));
    const frames = weirDialect.encodeBatch('c', entries);
    expect(frames.length).toBeGreaterThan(1);
    for (const frame of frames) expect(frame.length).toBeLessThanOrEqual(MAX_FRAME_BYTES);
    expect(messagesIn(frames)).toHaveLength(100);
  });
});
