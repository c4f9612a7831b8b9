// Numbers and times read well at every size.
import { describe, expect, it } from 'vitest';
import { formatBytes, formatCount, formatDuration, formatRate, formatTimeOfDay } from './format.ts';

describe('formats', () => {
  it.each([
    [0, '<1 ms'],
    [0.9, '<1 ms'],
    [1, '1 ms'],
    [999.4, '999 ms'],
    [999.6, '1 s'],
    [1240, '1.2 s'],
    [9960, '10 s'],
    [59_600, '1 min'],
    [3_590_000, '1 h'],
    [47 * 3_600_000, '47 h'],
    [72 * 3_600_000, '3 d'],
  ])('writes %d ms as %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });

  it.each([
    [0, '0 B'],
    [1023, '1,023 B'],
    [1024, '1 KiB'],
    [1_550_000, '1.5 MiB'],
    [1_048_575, '1 MiB'],
    [141_508_608, '135 MiB'],
  ])('writes %d bytes as %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  it('writes small rates with one decimal and large ones without', () => {
    expect([0, 0.33, 9.94, 9.96, 12_345.6].map(formatRate)).toEqual(['0', '0.3', '9.9', '10', '12,346']);
    expect(formatCount(1_234_567)).toBe('1,234,567');
  });

  it('writes the local time of day to the millisecond', () => {
    expect(formatTimeOfDay(new Date(2026, 0, 2, 3, 4, 5, 6).getTime())).toBe('03:04:05.006');
  });
});
