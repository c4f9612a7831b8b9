// `npm run loadtest`: starts a local cluster, runs the k6 scenarios through HAProxy, and fails when one of them does.
import { join, relative } from 'node:path';
import { startCluster } from '../loadbalancer/cluster/cluster.ts';
import { ProcessStartError } from '../loadbalancer/cluster/process.ts';
import { ensureK6, K6MissingError } from './k6-binary.ts';
import { type RunResult, runK6 } from './k6-run.ts';
import { helpText, type LoadOptions, LoadOptionsError, type LoadTarget, parseLoadOptions } from './options.ts';

const projectFolder = join(import.meta.dirname, '..');
const binFolder = join(projectFolder, '.weir', 'bin');
const resultsFolder = join(projectFolder, '.weir', 'loadtest');

/** Exit codes: a promise was not kept, or the run could not be made at all. */
const exitFailed = 1;
const exitUsage = 2;

interface ReachableCluster extends AsyncDisposable {
  readonly wsUrl: string;
  readonly apiUrl: string;
  readonly apiKey: string;
}

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

async function reach(target: LoadTarget): Promise<ReachableCluster> {
  if (target.kind === 'given') return { ...target, [Symbol.asyncDispose]: () => Promise.resolve() };
  say(`starting Redis, ${target.nodes} nodes and HAProxy`);
  const cluster = await startCluster({ nodes: target.nodes });
  say(`cluster ready: ${cluster.wsUrl}`);
  return cluster;
}

async function runAll(options: Extract<LoadOptions, { kind: 'run' }>, signal: AbortSignal): Promise<RunResult[]> {
  const k6 = await ensureK6({ binFolder, environment: process.env, onProgress: say });
  await using cluster = await reach(options.target);
  const { wsUrl, apiUrl, apiKey } = cluster;
  const results: RunResult[] = [];
  for (const scenario of options.scenarios) {
    if (signal.aborted) break;
    const { vus, socketsPerVu } = options.settings;
    say(`\n${scenario}: ${vus} virtual users with ${socketsPerVu} sockets each`);
    const settings = { ...options.settings, wsUrl, apiUrl, apiKey };
    results.push(await runK6({ k6, scenario, settings, resultsFolder, signal }));
  }
  return results;
}

async function main(): Promise<number> {
  const options = parseLoadOptions(process.argv.slice(2), process.env, Date.now().toString(36));
  if (options.kind === 'help') {
    say(helpText());
    return 0;
  }
  const interruption = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => interruption.abort());
  const results = await runAll(options, interruption.signal);
  say('');
  for (const { scenario, verdict, exitCode, summaryFile } of results) {
    say(
      `${scenario}: ${verdict} (k6 exit code ${String(exitCode)}), summary in ${relative(process.cwd(), summaryFile)}`,
    );
  }
  const complete = results.length === options.scenarios.length;
  return complete && results.every(({ verdict }) => verdict === 'passed') ? 0 : exitFailed;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof LoadOptionsError || error instanceof K6MissingError || error instanceof ProcessStartError))
    throw error;
  process.stderr.write(`loadtest: ${error.message}\n`);
  process.exitCode = error instanceof LoadOptionsError ? exitUsage : exitFailed;
}
