// What contests on a cluster share: clients that are all there, publications that are all acknowledged, one summary.
import { setTimeout as pause } from 'node:timers/promises';
import type { Cluster } from '../../loadbalancer/cluster/cluster.ts';
import { type Measuring, round, type Row } from '../scenario.ts';
import { type CountingClient, startCountingClient } from './counting-client.ts';

const POLL_MS = 20;
const WAIT_MS = 60_000;
const CHUNK = 50;
const TRY_TIMEOUT_MS = 2_000;
const RETRY_PAUSE_MS = 50;
const MAX_TRIES = 200;

/** False when it did not come true in time. */
export const until = async (isTrue: () => boolean): Promise<boolean> => {
  const deadline = performance.now() + WAIT_MS;
  while (!isTrue()) {
    if (performance.now() > deadline) return false;
    await pause(POLL_MS);
  }
  return true;
};

export const clusterOf = ({ server }: Measuring): Cluster => {
  if (server.cluster === undefined) throw new Error('needs a cluster: --server weir-cluster');
  return server.cluster;
};

export const openClients = async (
  count: number,
  options: Parameters<typeof startCountingClient>[0],
): Promise<readonly CountingClient[]> => {
  const clients: CountingClient[] = [];
  while (clients.length < count) {
    for (let n = 0; n < CHUNK && clients.length < count; n += 1) clients.push(startCountingClient(options));
    if (!(await until(() => clients.every((client) => client.isSubscribed()))))
      throw new Error('clients do not connect');
  }
  return clients;
};

/** Publishes until it is acknowledged, at the doors in turn; answers the offset. */
export const publish = async (
  doors: readonly string[],
  apiKey: string,
  channel: string,
  n: number,
): Promise<number> => {
  const body = JSON.stringify({ channel, data: { n, text: 'x'.repeat(64) }, messageId: `${channel}-${n}` });
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const response = await fetch(`${doors[(n + tries) % doors.length] ?? ''}/v1/publish`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-API-Key': apiKey },
      body,
      signal: AbortSignal.timeout(TRY_TIMEOUT_MS),
    }).catch(() => undefined);
    if (response?.ok === true) return ((await response.json()) as { offset: number }).offset;
    await pause(RETRY_PAUSE_MS);
  }
  throw new Error(`publication ${n} was not accepted`);
};

/** Publishes `count` at `rate` per second by schedule, whatever each takes; answers the head. */
export const publishAtRate = async (
  rate: number,
  count: number,
  one: (n: number) => Promise<number>,
): Promise<number> => {
  const beganAt = performance.now();
  const running: Promise<number>[] = [];
  for (let n = 0; n < count; n += 1) {
    await pause(Math.max(0, beganAt + (n * 1_000) / rate - performance.now()));
    running.push(one(n));
  }
  return Math.max(...(await Promise.all(running)));
};

/** Publishes at `rate` per second by schedule until the signal; answers the head and how many there were. */
export const publishUntil = async (
  ended: AbortSignal,
  rate: number,
  one: (n: number) => Promise<number>,
): Promise<{ readonly head: number; readonly count: number }> => {
  const beganAt = performance.now();
  const running: Promise<number>[] = [];
  while (!ended.aborted) {
    running.push(one(running.length));
    await pause(Math.max(0, beganAt + (running.length * 1_000) / rate - performance.now()));
  }
  return { head: Math.max(...(await Promise.all(running))), count: running.length };
};

/** The moment that a close names to come back, else the full jitter of a first reconnect, as every client has it, ms. */
export const returnDelayMs = (reason: string, jitterMs: number): number => {
  const named = /retryAfterMs=(\d+)/.exec(reason)?.[1];
  return named === undefined ? Math.random() * jitterMs : Number(named);
};

/** How many of these moments fall into each second from 0 on, ms. */
export const countBySecond = (momentsMs: readonly number[]): readonly number[] => {
  const counts: number[] = [];
  for (const atMs of momentsMs) {
    const second = Math.floor(atMs / 1_000);
    while (counts.length <= second) counts.push(0);
    counts[second] = (counts[second] ?? 0) + 1;
  }
  return counts;
};

export const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0;

export interface Summary {
  readonly row: Row;
  readonly deliveredPercent: number;
  readonly duplicates: number;
  readonly lost: number;
  readonly neverBack: number;
  readonly replayP99Ms: number;
  readonly largestGapMs: number;
}

/** @param expected messages per client; @param head where each must stand at the end */
export const summarize = (clients: readonly CountingClient[], expected: number, head: number): Summary => {
  const sum = (pick: (client: CountingClient) => number): number =>
    clients.reduce((total, client) => total + pick(client), 0);
  const received = sum(({ tally }) => tally.received);
  const replays = clients.flatMap(({ tally }) => tally.replaysMs);
  const neverBack = clients.filter((client) => !client.isSubscribed() || client.offset() < head).length;
  const duplicates = sum(({ tally }) => tally.duplicates);
  const lost = clients.length * expected - received;
  const largestGapMs = Math.max(...clients.map(({ tally }) => tally.largestGapMs));
  return {
    row: {
      clients: clients.length,
      reconnects: sum(({ tally }) => tally.reconnects),
      expected: clients.length * expected,
      'delivered %': round((received / (clients.length * expected)) * 100, 3),
      lost,
      'declared missing': sum(({ tally }) => tally.declared),
      duplicates,
      skipped: sum(({ tally }) => tally.skipped),
      broken: sum(({ tally }) => tally.broken),
      'never back': neverBack,
      'replay p50 ms': round(percentile(replays, 0.5), 1),
      'replay p99 ms': round(percentile(replays, 0.99), 1),
      'largest gap ms': round(largestGapMs),
    },
    deliveredPercent: (received / (clients.length * expected)) * 100,
    duplicates,
    lost,
    neverBack,
    replayP99Ms: percentile(replays, 0.99),
    largestGapMs,
  };
};
