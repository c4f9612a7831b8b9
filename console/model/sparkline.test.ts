// The small chart stays inside its box.
import { describe, expect, it } from 'vitest';
import { sparklinePath } from './sparkline.ts';

describe('sparklinePath', () => {
  it('draws nothing from fewer than two values', () => {
    expect(sparklinePath([], 5, 40, 10)).toBe('');
    expect(sparklinePath([3], 5, 40, 10)).toBe('');
  });

  it('puts the newest value at the right edge and the largest at the top', () => {
    expect(sparklinePath([0, 5, 10], 5, 40, 10)).toBe('M20.0 10.0L30.0 5.0L40.0 0.0');
  });

  it('draws zeros along the bottom', () => {
    expect(sparklinePath([0, 0], 2, 40, 10)).toBe('M0.0 10.0L40.0 10.0');
  });
});
