// What a test opens: given back together, the newest first.

interface Kept {
  keep<T extends AsyncDisposable>(one: T): T;
  /** Everything kept since the call before. */
  giveBack(): Promise<void>;
}

export const createKept = (): Kept => {
  let opened: AsyncDisposable[] = [];
  return {
    keep(one) {
      opened.push(one);
      return one;
    },
    async giveBack() {
      const closing = opened;
      opened = [];
      for (const one of closing.reverse()) await one[Symbol.asyncDispose]();
    },
  };
};
