import { describe, expect, it } from 'vitest';
import { createUnderWay } from './under-way.ts';

const deferred = () => {
  let resolve: (value: string) => void = () => undefined;
  let reject: (thrown: Error) => void = () => undefined;
  const promise = new Promise<string>((...settle) => ([resolve, reject] = settle));
  return { promise, resolve, reject };
};
const noFailure = (thrown: unknown): never => {
  throw thrown;
};
/** Whether the promise has settled once all that is due now has run. */
const hasSettled = async (promise: Promise<unknown>): Promise<boolean> => {
  let settled = false;
  void promise.finally(() => (settled = true));
  await new Promise((resolve) => setImmediate(resolve));
  return settled;
};

describe('work under way', () => {
  it('gives the result, and what it makes of a failure', async () => {
    const underWay = createUnderWay();
    expect(await underWay.track(Promise.resolve(1), noFailure)).toBe(1);
    expect(await underWay.track(Promise.reject(new Error('no')), (thrown) => (thrown as Error).message)).toBe('no');
    expect(await hasSettled(underWay.settled())).toBe(true);
  });

  it('is waited for until the last of it is over, failed or not', async () => {
    const underWay = createUnderWay();
    const [first, second] = [deferred(), deferred()];
    void underWay.track(first.promise, noFailure);
    void underWay.track(second.promise, () => 'failed');
    const settled = underWay.settled();
    first.resolve('done');
    expect(await hasSettled(settled)).toBe(false);
    second.reject(new Error('no'));
    expect(await hasSettled(settled)).toBe(true);
  });

  it('that begins while one waits is not waited for, but by the next who does, with what was there before', async () => {
    const underWay = createUnderWay();
    const [early, late] = [deferred(), deferred()];
    void underWay.track(early.promise, noFailure);
    const before = underWay.settled();
    void underWay.track(late.promise, noFailure);
    const after = underWay.settled();
    late.resolve('done');
    expect(await hasSettled(after)).toBe(false);
    early.resolve('done');
    expect(await hasSettled(before)).toBe(true);
    expect(await hasSettled(after)).toBe(true);
  });

  it('that is over is no group to wait for', async () => {
    const underWay = createUnderWay();
    const early = deferred();
    void underWay.track(early.promise, noFailure);
    const before = underWay.settled();
    early.resolve('done');
    await before;
    expect(await hasSettled(underWay.settled())).toBe(true);
  });
});
