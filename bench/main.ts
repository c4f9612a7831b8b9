// `npm run bench`: runs the scenarios one after the other on each server and reports.
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { parseBenchArguments, type BenchArguments, usage } from './arguments.ts';
import { describeEnvironment } from './environment.ts';
import { buildLoader, createLoader, holdSlowReaders, openReturning } from './loader.ts';
import { pinBench } from './pinning.ts';
import { judge, type Outcome, renderScenario, type ScenarioReport } from './report.ts';
import { inTurns } from './rounds.ts';
import type { Measured, Measuring, Scenario } from './scenario.ts';
import { audience } from './scenarios/audience.ts';
import { auth } from './scenarios/auth.ts';
import { avalanche } from './scenarios/avalanche.ts';
import { budget } from './scenarios/budget.ts';
import { catchUp } from './scenarios/catch-up.ts';
import { connect } from './scenarios/connect.ts';
import { fanout } from './scenarios/fanout.ts';
import { floods } from './scenarios/floods.ts';
import { idleMemory } from './scenarios/idle-memory.ts';
import { jitter } from './scenarios/jitter.ts';
import { joining } from './scenarios/join.ts';
import { kill } from './scenarios/kill.ts';
import { manyChannels } from './scenarios/many-channels.ts';
import { overload } from './scenarios/overload.ts';
import { publish } from './scenarios/publish.ts';
import { storm } from './scenarios/storm.ts';
import { roll } from './scenarios/roll.ts';
import { stall } from './scenarios/stall.ts';
import { stalled } from './scenarios/stalled.ts';
import { type BenchServer, buildControls, type ServerName, startServer } from './servers.ts';

const scenarios: readonly Scenario[] = [
  fanout,
  audience,
  manyChannels,
  publish,
  connect,
  storm,
  auth,
  idleMemory,
  stall,
  stalled,
  catchUp,
  jitter,
  avalanche,
  kill,
  joining,
  overload,
  budget,
  floods,
  roll,
];
const BUSY_LOAD_AVERAGE = 0.5;
/** sysexits.h EX_USAGE. */
const EXIT_CODE_USAGE = 64;

const print = (text: string): void => void process.stdout.write(`${text}\n`);

/** One server after the other, or in turns while all are up: those that wait for theirs do next to nothing. */
const measure = async (
  scenario: Scenario,
  names: readonly ServerName[],
  nodeArgs: readonly string[],
  context: Omit<Measuring, 'server' | 'say'>,
): Promise<ReadonlyMap<ServerName, Outcome>> => {
  const { rounds = 1 } = scenario;
  const up = new Map<ServerName, BenchServer>();
  try {
    return await inTurns(names, context.depth === 'quick' ? 1 : rounds, async (name) => {
      const server = up.get(name) ?? (await startServer(name, context.pinning, scenario.env, nodeArgs));
      const say = (line: string): void => print(`  ${scenario.name} · ${name} · ${line}`);
      const measureServer = (): Promise<Measured> => scenario.measure({ ...context, server, say });
      if (rounds > 1) {
        up.set(name, server);
        return measureServer();
      }
      try {
        return await measureServer();
      } finally {
        await server[Symbol.asyncDispose]();
      }
    });
  } finally {
    for (const server of up.values()) await server[Symbol.asyncDispose]();
  }
};

/** Direct first, then through HAProxy, so that the two stand side by side. */
const serversFor = (scenario: Scenario, { servers, throughHaproxy }: BenchArguments): readonly ServerName[] => {
  const direct = servers ?? scenario.servers;
  return throughHaproxy && !direct.includes('weir-haproxy') ? [...direct, 'weir-haproxy'] : direct;
};

const asJson = (report: ScenarioReport) => ({
  scenario: report.scenario.name,
  title: report.scenario.title,
  verdicts: report.scenario.figures.flatMap((figure) => judge(figure, report.outcomes) ?? []),
  servers: Object.fromEntries(report.outcomes),
});

const runBench = async (values: BenchArguments): Promise<void> => {
  const startedAt = new Date().toISOString();
  const pinning = await pinBench();
  const environment = await describeEnvironment(pinning.description);
  print(`${environment.cpu}, ${environment.cores} cores, Linux ${environment.kernel}, Node ${environment.node}`);
  print(pinning.description);
  if (environment.loadAverage > BUSY_LOAD_AVERAGE) {
    print(`Load average ${environment.loadAverage.toFixed(2)}: others are using this machine, figures will be low.`);
  }
  if (values.nodeArgs.length > 0) print(`Single nodes of Weir with ${values.nodeArgs.join(' ')}`);
  const binary = await buildLoader();
  const load = createLoader(binary);
  await buildControls();
  // What was built or installed a moment ago would be written back by the kernel meanwhile, on the cores that are measured.
  await promisify(execFile)('sync');
  const reports: ScenarioReport[] = [];
  for (const scenario of scenarios.filter(({ name }) => values.scenarios.includes(name))) {
    const outcomes = await measure(scenario, serversFor(scenario, values), values.nodeArgs, {
      load,
      holdSlowReaders: (config) => holdSlowReaders(binary, config),
      openReturning: (config) => openReturning(binary, config),
      pinning,
      depth: values.depth,
    });
    const report = { scenario, outcomes };
    reports.push(report);
    print(renderScenario(report));
  }
  const path = values.jsonPath ?? join(import.meta.dirname, 'results', `${startedAt.replaceAll(':', '-')}.json`);
  await mkdir(dirname(path), { recursive: true });
  const content = {
    startedAt,
    depth: values.depth,
    nodeArgs: values.nodeArgs,
    environment,
    scenarios: reports.map(asJson),
  };
  await writeFile(path, `${JSON.stringify(content, null, 2)}\n`);
  print(`\nWritten to ${path}`);
  const isBroken = reports.some(({ outcomes }) => [...outcomes.values()].some(({ kind }) => kind === 'failed'));
  if (isBroken) process.exitCode = 1;
};

// Ending by `exit` runs what the processes below registered to end themselves, also from inside a measurement.
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  process.once(signal, () => process.exit(code));
}

const names = scenarios.map(({ name }) => name);
const parsed = parseBenchArguments(process.argv.slice(2), names);
switch (parsed.kind) {
  case 'help':
    print(parsed.text);
    break;
  case 'error':
    process.stderr.write(`${parsed.message}\n\n${usage(names)}\n`);
    process.exitCode = EXIT_CODE_USAGE;
    break;
  case 'run':
    await runBench(parsed.values);
}
