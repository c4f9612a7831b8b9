import { describe, expect, it } from 'vitest';
import type { Publication } from '../../broker/publication.ts';
import { weirDialect } from './weir.ts';

const publication = (offset: number, body: string): Publication => ({
  offset,
  timeMs: 1,
  key: undefined,
  body: Buffer.from(body),
  bodyBytes: Buffer.byteLength(body),
});
const reply = (publications: readonly Publication[]): string =>
  String(
    weirDialect.encode({
      type: 'history',
      id: 7,
      page: { channel: 'a:b', epoch: 'e', offset: 9, publications, more: true },
    }),
  );

describe('a history reply', () => {
  it('is the JSON of its fields, with the stored bodies in place', () => {
    const bodies = ['{"data":{"text":"ä漢😀"},"key":"k","time":1}', '{"data":null,"time":2}'];
    expect(JSON.parse(reply(bodies.map((body, index) => publication(index + 1, body))))).toEqual({
      type: 'history',
      id: 7,
      channel: 'a:b',
      epoch: 'e',
      offset: 9,
      messages: [
        { offset: 1, data: { text: 'ä漢😀' }, key: 'k', time: 1 },
        { offset: 2, data: null, time: 2 },
      ],
      more: true,
    });
    expect(JSON.parse(reply([]))).toMatchObject({ messages: [], more: true });
  });

  it('carries a body that no writer of JSON could write again: it is not parsed', () => {
    const deep = `{"data":${'['.repeat(50_000)}${']'.repeat(50_000)},"time":1}`;
    expect(reply([publication(1, deep)])).toContain(deep.slice(1));
  });
});
