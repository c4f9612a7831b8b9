// The n smallest of many names without sorting them all: paging over tens of thousands of channels must not stall the loop.

/** Ascending, at most `limit`. Keeps a sorted window and drops what cannot be in it with one comparison. */
export const smallest = (names: Iterable<string>, limit: number): string[] => {
  const window: string[] = [];
  for (const name of names) {
    if (window.length === limit && name >= window[limit - 1]!) continue;
    let low = 0;
    let high = window.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (window[middle]! < name) low = middle + 1;
      else high = middle;
    }
    window.splice(low, 0, name);
    if (window.length > limit) window.pop();
  }
  return window;
};
