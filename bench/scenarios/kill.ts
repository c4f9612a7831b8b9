// Kill: one of three nodes ends without a word under thousands of clients; whether the others hold, and how soon everybody is back.
import { setTimeout as pause } from 'node:timers/promises';
import type { NodeProcess } from '../../loadbalancer/cluster/node-process.ts';
import { fullestSecond, watchAdmissions } from '../cluster/admissions.ts';
import {
  clusterOf,
  countBySecond,
  openClients,
  percentile,
  publish,
  publishUntil,
  returnDelayMs,
  summarize,
  until,
} from '../cluster/contest.ts';
import type { CountingClient } from '../cluster/counting-client.ts';
import { type Measured, round, type Scenario } from '../scenario.ts';

const CLIENTS = 6_000;
/** Clients that each survivor lets in per second: few enough for two cores, on which the clients run as well. */
const ADMISSION_PER_SECOND = 150;
/** Messages per second, each to every client. */
const RATE = 2;
/** Full jitter of a first reconnect, as every client of the protocol has it (docs/protocol.md). */
const JITTER_MS = 1_000;
const STEADY_MS = 2_000;
const READINESS_EVERY_MS = 100;
const READINESS_TIMEOUT_MS = 3_000;

/** Asks each node over and over whether it is ready, until the signal. */
const watchReadiness = async (nodes: readonly NodeProcess[], ended: AbortSignal) => {
  const seen = { asked: 0, notReady: 0, longestMs: 0 };
  await Promise.all(
    nodes.map(async ({ url }) => {
      while (!ended.aborted) {
        const askedAt = performance.now();
        const signal = AbortSignal.timeout(READINESS_TIMEOUT_MS);
        const isReady = await fetch(`${url}/health/ready`, { signal }).then(
          async (response) => {
            await response.arrayBuffer();
            return response.ok;
          },
          () => false,
        );
        seen.asked += 1;
        if (!isReady) seen.notReady += 1;
        seen.longestMs = Math.max(seen.longestMs, performance.now() - askedAt);
        await pause(READINESS_EVERY_MS);
      }
    }),
  );
  return seen;
};

export const kill: Scenario = {
  name: 'kill',
  title: `Kill: kill -9 of one of 3 nodes under ${CLIENTS} clients through HAProxy; each of the others lets in ${ADMISSION_PER_SECOND} per second`,
  servers: ['weir-cluster'],
  env: { WEIR_ADMISSION_PER_SECOND: String(ADMISSION_PER_SECOND) },
  figures: [
    { name: 'survivors not ready', unit: 'answers', better: 'lower', bar: { value: 0 } },
    { name: 'clients of survivors cut off', unit: 'clients', better: 'lower', bar: { value: 0 } },
    { name: 'fullest second of a survivor / rate', unit: '', better: 'lower', bar: { value: 1.15 } },
    { name: 'all back / predicted time', unit: '', better: 'lower', bar: { value: 1.15 } },
    { name: 'lost', unit: 'messages', better: 'lower', bar: { value: 0 } },
    { name: 'duplicates', unit: '', better: 'lower', bar: { value: 0 } },
  ],
  measure: async (measuring): Promise<Measured> => {
    const cluster = clusterOf(measuring);
    const { depth, say } = measuring;
    const count = depth === 'quick' ? CLIENTS / 2 : CLIENTS;
    const channel = 'kill';
    const one = (n: number): Promise<number> => publish([cluster.apiUrl], cluster.apiKey, channel, n);
    await one(-1);
    const nodeOf = new Map<CountingClient, string>();
    const entries: { readonly client: CountingClient; readonly from: string; readonly to: string; atMs: number }[] = [];
    const clients = await openClients(count, {
      channel,
      url: () => cluster.wsUrl,
      away: (reason) => pause(returnDelayMs(reason, JITTER_MS)),
      onConnected: (to, client) => {
        const from = nodeOf.get(client);
        if (from !== undefined) entries.push({ client, from, to, atMs: performance.now() });
        nodeOf.set(client, to);
      },
    });
    const stopped = new AbortController();
    try {
      const doomed = cluster.nodes.at(-1);
      if (doomed === undefined) throw new Error('needs a node');
      const survivors = cluster.nodes.filter((node) => node !== doomed);
      const publishing = publishUntil(stopped.signal, RATE, one);
      const watching = watchReadiness(survivors, stopped.signal);
      const admitting = Promise.all(survivors.map(({ url }) => watchAdmissions(url, cluster, stopped.signal)));
      await pause(STEADY_MS);
      entries.length = 0;
      const orphans = clients.filter((client) => nodeOf.get(client) === doomed.name);
      say(`${orphans.length} clients at ${doomed.name}, which is killed`);
      const killedAt = performance.now();
      doomed.kill('SIGKILL');
      await until(() => clients.every((client) => client.isSubscribed() && nodeOf.get(client) !== doomed.name));
      await pause(STEADY_MS);
      stopped.abort();
      const [{ head, count: published }, readiness, admitted] = await Promise.all([publishing, watching, admitting]);
      const fullest = admitted.map(fullestSecond);
      await until(() => clients.every((client) => client.isSubscribed() && client.offset() >= head));

      const result = summarize(clients, published, head);
      // The first return of each: what is asked to move afterwards comes again.
      const returns = new Map(entries.toReversed().map(({ client, atMs }) => [client, atMs - killedAt]));
      const returnsMs = orphans.map((client) => returns.get(client) ?? Infinity);
      const backMs = Math.max(...returnsMs);
      const predictedMs = JITTER_MS + (orphans.length / (survivors.length * ADMISSION_PER_SECOND)) * 1_000;
      const cutOff = new Set(entries.filter(({ from }) => from !== doomed.name).map(({ client }) => client)).size;
      const firstMs = Math.min(...entries.map(({ atMs }) => atMs));
      const perSecond = survivors.map(({ name }) =>
        countBySecond(entries.flatMap(({ to, atMs }) => (to === name ? [atMs - firstMs] : []))),
      );
      say(`all back after ${round(backMs)} ms, predicted ${round(predictedMs)}`);
      const isDown = survivors.some((node) => node.exit() !== undefined);
      return {
        rows: [
          {
            ...result.row,
            orphans: orphans.length,
            'let in again': entries.length,
            'asked to move': clients.reduce((sum, { tally }) => sum + tally.moves.length, 0),
            'fullest second': fullest.map((count) => round(count)).join(' | '),
            'looked at': admitted.map(({ length }) => length).join(' | '),
            'clients back by second': perSecond.map((counts) => counts.join(' ')).join(' | '),
            'first back ms': round(firstMs - killedAt),
            'half back ms': round(percentile(returnsMs, 0.5)),
            '99 % back ms': round(percentile(returnsMs, 0.99)),
            'back ms': round(backMs),
            'predicted ms': round(predictedMs),
            'readiness asked': readiness.asked,
            'not ready': readiness.notReady,
            'slowest answer ms': round(readiness.longestMs),
            note: isDown ? 'a survivor ended' : '',
          },
        ],
        figures: isDown
          ? {}
          : {
              'survivors not ready': readiness.notReady,
              'clients of survivors cut off': cutOff,
              'fullest second of a survivor / rate': Math.max(...fullest) / ADMISSION_PER_SECOND,
              'all back / predicted time': result.neverBack > 0 ? Infinity : backMs / predictedMs,
              lost: result.lost,
              duplicates: result.duplicates,
            },
        runs: [],
      };
    } finally {
      stopped.abort();
      for (const client of clients) client.stop();
    }
  },
};
