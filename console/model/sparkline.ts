// The path of a small line chart.

/**
 * SVG path data of `values` (oldest first) in a box of `width` by `height`, newest at the right edge, `slots` values
 * wide; zero lies at the bottom and the largest value at the top. Empty for fewer than two values.
 */
export const sparklinePath = (values: readonly number[], slots: number, width: number, height: number): string => {
  if (values.length < 2) return '';
  const top = Math.max(...values, Number.MIN_VALUE);
  const step = width / (slots - 1);
  const points = values.map((value, index) => {
    const x = width - (values.length - 1 - index) * step;
    const y = height - (Math.max(0, value) / top) * height;
    return `${x.toFixed(1)} ${y.toFixed(1)}`;
  });
  return `M${points.join('L')}`;
};
