// A gap receipt reads as what it means.
import { describe, expect, it } from 'vitest';
import { gapText } from './gap-text.ts';

const gap = { type: 'gap', channel: 'news' } as const;

describe('gapText', () => {
  it('names the offsets that will not come', () => {
    expect(gapText({ ...gap, from: 12, to: 1020, count: 1009, reason: 'expired' })).toBe(
      'Messages #12 to #1020 (1,009) will not come: the history no longer holds them.',
    );
    expect(gapText({ ...gap, from: 7, to: 7, count: 1, reason: 'lost' })).toMatch(/^Message #7 will not come: /);
  });

  it('does not name a number that nobody knows', () => {
    expect(gapText({ ...gap, from: null, to: null, count: null, reason: 'epoch', epoch: 'e2', offset: 4 })).toBe(
      'An unknown number of messages may be missing before #5 of epoch e2: the numbering of the channel restarted.',
    );
    expect(gapText({ ...gap, count: null, reason: 'expired' })).toMatch(/^An unknown number of messages will not come/);
  });

  it('counts what an ephemeral channel dropped', () => {
    expect(gapText({ ...gap, count: 1, reason: 'dropped' })).toMatch(/^One message will not come/);
    expect(gapText({ ...gap, count: 20, reason: 'dropped' })).toMatch(/^20 messages will not come/);
  });
});
