// One chaos run: traffic and recording clients on a cluster that a seed breaks, then the judgement.
import { setTimeout as pause } from 'node:timers/promises';
import { requestJson, waitFor } from '../support/index.ts';
import { type FaultyCluster, startFaultyCluster } from './faulty-cluster.ts';
import { startPublishers } from './publishers.ts';
import { checkChannel, type LoggedMessage, type Position, type Violation } from './recorder.ts';
import { type RecordingClient, startRecordingClient } from './recording-client.ts';
import {
  createRandom,
  type Deployment,
  describeStep,
  type FaultKind,
  DEFAULT_KINDS,
  planSteps,
  type Step,
} from './scenario.ts';

export interface ChaosOptions {
  readonly seed: number;
  readonly durationMs: number;
  readonly deployment: Deployment;
  /** Those that happen to the deployment by default when absent. */
  readonly kinds?: readonly FaultKind[];
  readonly entry?: 'source' | 'built';
  readonly say: (line: string) => void;
}

export interface ChaosResult {
  readonly violations: readonly Violation[];
  readonly acknowledged: number;
  readonly delivered: number;
  readonly steps: readonly Step[];
  /** Seed, steps and the last events of the clients concerned; empty when nothing was violated. */
  readonly report: string;
}

const NODES = 3;
const CLIENTS = 30;
const CHANNELS = ['chaos-a', 'chaos-b', 'chaos-c'];
const CHANNELS_PER_CLIENT = 2;
const channelsOf = (client: number): string[] =>
  Array.from({ length: CHANNELS_PER_CLIENT }, (_, n) => CHANNELS[(client + n) % CHANNELS.length] ?? '');
const SETTLE_TIMEOUT_MS = 40_000;
const SHOWN_VIOLATIONS = 20;
const SHOWN_CLIENTS = 3;
const SHOWN_EVENTS = 15;

interface ChannelLog {
  readonly head: Position;
  readonly log: readonly LoggedMessage[];
}
interface HistoryAnswer extends Position {
  readonly messages: readonly { readonly offset: number; readonly data: { readonly messageId: string } }[];
  readonly more: boolean;
}

/** From a node that is ready: HAProxy may find out later. */
const readLog = async ({ nodeUrls, apiKey }: FaultyCluster, channel: string): Promise<ChannelLog> => {
  const log: LoggedMessage[] = [];
  for (let since = ''; ; ) {
    const url = `${nodeUrls[0]}/v1/channels/${channel}/history?limit=1000${since}`;
    const { status, text, body } = await requestJson(url, { apiKey });
    if (status !== 200) throw new Error(`history of ${channel} answered ${status}: ${text}`);
    const { epoch, offset, messages, more } = body as HistoryAnswer;
    log.push(...messages.map((message) => ({ offset: message.offset, messageId: message.data.messageId })));
    if (!more) return { head: { epoch, offset }, log };
    since = `&since_epoch=${epoch}&since_offset=${log.at(-1)?.offset ?? 0}`;
  }
};

const isReady = async (url: string): Promise<boolean> => (await requestJson(`${url}/health/ready`)).status === 200;

const reportOf = (
  options: ChaosOptions,
  violations: readonly string[],
  steps: readonly Step[],
  clients: readonly RecordingClient[],
): string =>
  [
    `${options.deployment}, seed ${options.seed}, ${options.durationMs} ms: ${violations.length} violations`,
    ...violations.slice(0, SHOWN_VIOLATIONS),
    'steps:',
    ...steps.map(describeStep),
    ...clients.slice(0, SHOWN_CLIENTS).flatMap((client) => [
      `diary of ${client.name}:`,
      ...client.diary(),
      ...CHANNELS.flatMap((channel) => {
        const last = client.recording(channel).events.slice(-SHOWN_EVENTS);
        return last.length === 0 ? [] : [`${channel}: ${last.map((event) => JSON.stringify(event)).join(' ')}`];
      }),
    ]),
  ].join('\n');

export const runChaos = async (options: ChaosOptions): Promise<ChaosResult> => {
  const { deployment, entry = 'source' } = options;
  options.say(`chaos on ${deployment}, seed ${options.seed}, ${options.durationMs} ms`);
  await using cluster = await startFaultyCluster({ nodes: NODES, deployment, entry });
  const random = createRandom(options.seed + 1);
  const clients = Array.from({ length: CLIENTS }, (_, index) =>
    startRecordingClient({ name: `client-${index + 1}`, url: cluster.wsUrl, channels: channelsOf(index), random }),
  );
  try {
    return await breakAndJudge(options, cluster, clients);
  } finally {
    for (const client of clients) client.stop();
  }
};

const breakAndJudge = async (
  options: ChaosOptions,
  cluster: FaultyCluster,
  clients: readonly RecordingClient[],
): Promise<ChaosResult> => {
  const { say } = options;
  const kinds = options.kinds ?? DEFAULT_KINDS[options.deployment];
  const steps = planSteps({ ...options, kinds, nodes: NODES, clients: CLIENTS });
  const publishers = startPublishers({
    channels: CHANNELS,
    perChannel: 2,
    everyMs: 100,
    doors: cluster.nodeUrls,
    apiKey: cluster.apiKey,
  });
  const pairs = clients.flatMap((client, index) => channelsOf(index).map((channel) => ({ client, channel })));
  await waitFor(() => pairs.every(({ client, channel }) => client.position(channel) !== undefined), {
    timeoutMs: SETTLE_TIMEOUT_MS,
    description: 'every client to be subscribed',
  });

  const beganAt = performance.now();
  const effects: Promise<void>[] = [];
  const failures: string[] = [];
  const fail = (error: unknown): void => void failures.push(error instanceof Error ? error.message : String(error));
  for (const step of steps) {
    await pause(Math.max(0, beganAt + step.atMs - performance.now()));
    say(describeStep(step));
    if (step.kind === 'stall-clients') for (const index of step.clients) clients[index]?.stall(step.forMs);
    if (step.kind === 'cut-clients') for (const index of step.clients) clients[index]?.cut();
    effects.push(cluster.apply(step).catch(fail));
  }
  await Promise.all(effects);
  let isPublished = false;
  void publishers.stop().then(() => {
    isPublished = true;
  });

  const logs = new Map<string, ChannelLog>();
  const behind = (): typeof pairs =>
    pairs.filter(({ client, channel }) => {
      const [position, head] = [client.position(channel), logs.get(channel)?.head];
      return position?.epoch !== head?.epoch || position?.offset !== head?.offset;
    });
  const settle = async (): Promise<void> => {
    for (const url of cluster.nodeUrls) {
      await waitFor(() => isReady(url), { timeoutMs: SETTLE_TIMEOUT_MS, description: `${url} to be ready` });
    }
    await waitFor(() => isPublished, {
      timeoutMs: SETTLE_TIMEOUT_MS,
      description: 'every publication to be acknowledged',
    });
    for (const channel of CHANNELS) logs.set(channel, await readLog(cluster, channel));
    await waitFor(() => behind().length === 0, {
      timeoutMs: SETTLE_TIMEOUT_MS,
      description: () =>
        behind()
          .map(({ client, channel }) => `${client.name} in ${channel} at ${JSON.stringify(client.position(channel))}`)
          .join(', '),
    });
  };
  // The judgement says more about the same; what was waited for comes first.
  await settle().catch(fail);

  const violations = CHANNELS.flatMap((channel) => {
    const { acknowledged, attempted } = publishers.traffic(channel);
    const recordings = pairs.filter((pair) => pair.channel === channel).map(({ client }) => client.recording(channel));
    const { head, log } = logs.get(channel) ?? { head: { epoch: 'unknown', offset: 0 }, log: [] };
    return checkChannel({ recordings, acknowledged, attempted, head, log }).map((violation) => ({
      ...violation,
      detail: `${channel}: ${violation.detail}`,
    }));
  });
  const lines = [...failures, ...violations.map(({ kind, client, detail }) => `${kind} ${client ?? ''} ${detail}`)];
  const concerned = clients.filter(
    ({ name }) =>
      violations.some(({ client }) => client === name) || behind().some(({ client }) => client.name === name),
  );
  const delivered = pairs.reduce(
    (sum, { client, channel }) =>
      sum + client.recording(channel).events.filter(({ kind }) => kind === 'message').length,
    0,
  );
  const acknowledged = CHANNELS.reduce((sum, channel) => sum + publishers.traffic(channel).acknowledged.length, 0);
  say(
    `${acknowledged} acknowledged after ${publishers.retries()} retries, ${delivered} delivered, ${lines.length} faults`,
  );
  return {
    violations,
    acknowledged,
    delivered,
    steps,
    report: lines.length === 0 ? '' : reportOf(options, lines, steps, concerned.length > 0 ? concerned : clients),
  };
};
