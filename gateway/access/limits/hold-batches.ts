// Gathers what many counts ask for in one turn of the event loop into few calls.
import type { HoldRequest, Limits } from '../../../broker/limits.ts';
import { withTimeout } from './with-timeout.ts';

/** Shares in one call: some hundred microseconds of the server. */
const MAX_BATCH = 500;

interface Asked {
  readonly request: HoldRequest;
  readonly resolve: (share: number) => void;
  readonly reject: (error: unknown) => void;
}

export const createHoldBatches = (
  limits: Limits,
  { leaseMs, timeoutMs }: { readonly leaseMs: number; readonly timeoutMs: number },
): ((request: HoldRequest) => Promise<number>) => {
  let gathered: Asked[] = [];

  const send = (batch: readonly Asked[]): void => {
    const requests = batch.map(({ request }) => request);
    withTimeout(limits.hold(requests, leaseMs), timeoutMs).then(
      (shares) => {
        for (const [index, { resolve }] of batch.entries()) resolve(shares[index]!);
      },
      (error: unknown) => {
        for (const { reject } of batch) reject(error);
      },
    );
  };
  const flush = (): void => {
    const all = gathered;
    gathered = [];
    for (let from = 0; from < all.length; from += MAX_BATCH) send(all.slice(from, from + MAX_BATCH));
  };

  return (request) =>
    new Promise((resolve, reject) => {
      if (gathered.push({ request, resolve, reject }) === 1) setImmediate(flush);
    });
};
