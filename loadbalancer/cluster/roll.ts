// A rolling restart under load, and what clients of the SDK saw of it.
import { Agent, type OutgoingHttpHeaders, request as send } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { WeirClient } from '../../client/src/index.ts';
import type { Cluster } from './cluster.ts';

export interface RollOptions {
  readonly cluster: Cluster;
  readonly clients: number;
  /** Publications per second. */
  readonly rate: number;
  /** One line of progress. */
  readonly say: (line: string) => void;
  /** Load before the first restart, and after each, ms; default 3000. */
  readonly steadyMs?: number;
}

export interface RollResult {
  readonly published: number;
  /** Messages missing, over all clients; `declared` of them were reported as gaps. */
  readonly lost: number;
  readonly declared: number;
  readonly duplicated: number;
  /** Connections that were lost instead of moved. */
  readonly reconnects: number;
  /** Longest time between two messages of one client, ms: while nodes were restarted, and before. */
  readonly largestGapMs: number;
  readonly steadyGapMs: number;
  /** From the signal to a node that takes clients again, ms. */
  readonly restartsMs: readonly number[];
}

const CHANNEL = 'roll';
const STEADY_MS = 3000;
const WAIT_MS = 60_000;
const POLL_MS = 20;
const TRY_TIMEOUT_MS = 2000;
const RETRY_PAUSE_MS = 20;
const TICK_MS = 2;
/** Publications under way: more would measure the publisher. */
const MAX_RUNNING = 500;
/** Publications begun per tick: all that a late timer missed, begun at once, would keep the clients of this process waiting and the next timer too. */
const MAX_PER_TICK = 10;

const until = async (isTrue: () => boolean, what: string): Promise<void> => {
  const deadlineMs = performance.now() + WAIT_MS;
  while (!isTrue()) {
    if (performance.now() > deadlineMs) throw new Error(`waited ${WAIT_MS} ms for ${what}`);
    await pause(POLL_MS);
  }
};

interface Answer {
  readonly status: number;
  readonly text: string;
}

/** Posts over a connection that is kept; at a fraction of what `fetch` costs the process whose clients are measured. Undefined: no answer came. */
const post = (agent: Agent, url: string, headers: OutgoingHttpHeaders, body: string): Promise<Answer | undefined> =>
  new Promise((resolve) => {
    const fail = (): void => resolve(undefined);
    const request = send(url, { method: 'POST', agent, headers, timeout: TRY_TIMEOUT_MS }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text })).on('error', fail);
    });
    request.on('timeout', () => request.destroy()).on('error', fail);
    request.end(body);
  });

const createObserver = (wsUrl: string) => {
  const client = new WeirClient(wsUrl, { WebSocket });
  const subscription = client.subscribe(CHANNEL);
  const tally = { received: 0, declared: 0, duplicated: 0, reconnects: 0, largestGapMs: 0 };
  let lastAtMs = Infinity;
  let lastOffset = 0;
  subscription.on('message', ({ offset = 0 }) => {
    const nowMs = performance.now();
    tally.largestGapMs = Math.max(tally.largestGapMs, nowMs - lastAtMs);
    lastAtMs = nowMs;
    if (offset <= lastOffset) tally.duplicated++;
    else tally.received++;
    lastOffset = Math.max(lastOffset, offset);
  });
  subscription.on('gap', ({ count }) => (tally.declared += count ?? 1));
  client.on('reconnecting', () => tally.reconnects++);
  // What it reports is what the counts show.
  client.on('error', () => undefined);
  void client.connect();
  return {
    tally,
    isSubscribed: () => subscription.state === 'subscribed',
    offset: () => subscription.position?.offset ?? -1,
    stop: () => client.disconnect(),
  };
};

/** Publishes by schedule, each message until it is acknowledged. */
const startPublishing = ({ cluster, rate }: RollOptions) => {
  const stopping = new AbortController();
  const running = new Set<Promise<void>>();
  const agent = new Agent({ keepAlive: true });
  const headers = { 'Content-Type': 'application/json', 'X-API-Key': cluster.apiKey };
  let published = 0;
  let head = 0;
  let failed = 0;

  const publish = async (n: number): Promise<void> => {
    const body = JSON.stringify({ channel: CHANNEL, data: { n }, messageId: `${CHANNEL}-${n}` });
    const deadlineMs = performance.now() + WAIT_MS;
    while (performance.now() < deadlineMs) {
      const answer = await post(agent, `${cluster.apiUrl}/v1/publish`, headers, body);
      if (answer !== undefined && answer.status >= 200 && answer.status < 300) {
        head = Math.max(head, (JSON.parse(answer.text) as { offset: number }).offset);
        return;
      }
      await pause(RETRY_PAUSE_MS);
    }
    throw new Error('not accepted in time');
  };
  const start = (): void => {
    const one: Promise<void> = publish(published++)
      .catch(() => failed++)
      .then(() => void running.delete(one));
    running.add(one);
  };
  const loop = (async () => {
    const beganAtMs = performance.now();
    while (!stopping.signal.aborted) {
      // By schedule: what a late timer missed is made up for.
      const due = ((performance.now() - beganAtMs) * rate) / 1000;
      for (let begun = 0; begun < MAX_PER_TICK && published < due && running.size < MAX_RUNNING; begun++) start();
      await pause(TICK_MS);
    }
  })();

  return {
    /** Answers how many were published, and the offset of the last. */
    stop: async (): Promise<{ readonly published: number; readonly head: number }> => {
      stopping.abort();
      await loop;
      await Promise.all(running);
      agent.destroy();
      if (failed > 0) throw new Error(`${failed} of ${published} publications were not accepted`);
      return { published, head };
    },
  };
};

/** Restarts every node in turn. Rejects when a node does not come back or the load cannot be kept up. */
export const rollUnderLoad = async (options: RollOptions): Promise<RollResult> => {
  const { cluster, say, steadyMs = STEADY_MS } = options;
  const observers = Array.from({ length: options.clients }, () => createObserver(cluster.wsUrl));
  const largestGap = (): number => Math.max(...observers.map(({ tally }) => tally.largestGapMs));
  const sum = (pick: (tally: (typeof observers)[number]['tally']) => number): number =>
    observers.reduce((total, { tally }) => total + pick(tally), 0);
  try {
    await until(() => observers.every((one) => one.isSubscribed()), 'every client to be subscribed');
    const publishing = startPublishing(options);
    await pause(steadyMs);
    const steadyGapMs = largestGap();
    const restartsMs: number[] = [];
    for (const { name } of [...cluster.nodes]) {
      const beganAtMs = performance.now();
      await cluster.restartNode(name);
      restartsMs.push(performance.now() - beganAtMs);
      say(`${name} is back after ${Math.round(restartsMs.at(-1)!)} ms`);
      await pause(steadyMs);
    }
    const { published, head } = await publishing.stop();
    await until(() => observers.every((one) => one.offset() >= head), 'every client to have everything');
    return {
      published,
      lost: observers.length * published - sum(({ received }) => received),
      declared: sum(({ declared }) => declared),
      duplicated: sum(({ duplicated }) => duplicated),
      reconnects: sum(({ reconnects }) => reconnects),
      largestGapMs: largestGap(),
      steadyGapMs,
      restartsMs,
    };
  } finally {
    for (const observer of observers) observer.stop();
  }
};
