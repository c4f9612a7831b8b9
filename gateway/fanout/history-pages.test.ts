import { describe, expect, it } from 'vitest';
import type { HistoryPage, HistoryQuery } from '../../broker/history.ts';
import type { Publication } from '../../broker/publication.ts';
import { createHistoryPages, KEEP_MS, MAX_KEPT } from './history-pages.ts';

const publication = (offset: number): Publication => ({
  offset,
  timeMs: 0,
  key: undefined,
  body: Buffer.from('{}'),
  bodyBytes: 2,
});

const setUp = () => {
  let nowMs = 0;
  let head = 3;
  let epoch = 'a';
  const asked: HistoryQuery[] = [];
  const read = (query: HistoryQuery): Promise<HistoryPage> => {
    asked.push(query);
    const from = query.start.kind === 'after' ? query.start.offset + 1 : 1;
    const publications = Array.from({ length: Math.max(0, head + 1 - from) }, (_, n) => publication(from + n));
    return Promise.resolve({ position: { epoch, offset: head }, publications, more: false });
  };
  const pages = createHistoryPages({
    history: { read, positions: () => Promise.reject(new Error('not asked')) },
    boundsOf: () => ({ size: 100, ttlMs: 1000 }),
    clock: { nowMs: () => nowMs, monotonicMs: () => nowMs },
    limit: (work) => work(),
    maxBytes: 1000,
  });
  return {
    pages,
    asked,
    after: (offset: number, cursorEpoch = epoch) => pages.read('c', { kind: 'after', offset }, 10, cursorEpoch),
    publish: () => void (head += 1),
    flushed: () => ([head, epoch] = [2, 'b']),
    pass: (ms: number) => void (nowMs += ms),
  };
};

describe('pages of history', () => {
  it('are one object for all who stand at one position, for a while', async () => {
    const { after, asked, pass } = setUp();
    const [first, second] = await Promise.all([after(1), after(1)]);
    pass(KEEP_MS - 1);
    expect([second, await after(1)]).toEqual([first, first]);
    expect(await after(1)).toBe(first);
    expect(asked).toHaveLength(1);
    pass(1);
    expect(await after(1)).not.toBe(first);
  });

  it('are not kept without publications: what is true now need not be a moment later', async () => {
    const { after, publish } = setUp();
    expect((await after(3)).publications).toEqual([]);
    publish();
    expect((await after(3)).publications).toHaveLength(1);
  });

  it('of an old numbering are not given to a cursor of the new one', async () => {
    const { after, flushed } = setUp();
    await after(1, 'a');
    flushed();
    expect((await after(1, 'b')).position.epoch).toBe('b');
  });

  it('are read again when the answer must be fresh, and when the newest is asked for', async () => {
    const { pages, after, publish } = setUp();
    await after(1);
    publish();
    expect((await pages.readFresh('c', { kind: 'after', offset: 1 }, 10)).position.offset).toBe(4);
    await pages.read('c', { kind: 'last', count: 1 }, 1, 'a');
    publish();
    expect((await pages.read('c', { kind: 'last', count: 1 }, 1, 'a')).position.offset).toBe(5);
  });

  it('are kept in bounded number', async () => {
    const { pages, asked } = setUp();
    const read = (n: number) => pages.read(`c${n}`, { kind: 'after', offset: 0 }, 10, 'a');
    for (let n = 0; n <= MAX_KEPT; n += 1) await read(n);
    await read(MAX_KEPT);
    expect(asked).toHaveLength(MAX_KEPT + 1);
    await read(0);
    expect(asked).toHaveLength(MAX_KEPT + 2);
  });
});
