// Runs the local cluster until it is interrupted: `npm run cluster`.
import { type ClusterArguments, parseClusterArguments, USAGE } from './arguments.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { freePort } from './free-port.ts';
import { describeExit, type ProcessExit } from './process.ts';
import { rollUnderLoad } from './roll.ts';

/** sysexits.h: the command was used wrongly. */
const EXIT_USAGE = 64;
const PREFERRED = { publicPort: 8080, internalPort: 8081, statsPort: 8404 } as const;
/** Nodes of the cluster tell their clients to move after HAProxy, which asks every 400 ms, has seen that they leave. */
const DRAIN_NOTICE_MS = 1000;
const ROLL = { clients: 30, rate: 50 } as const;
/** Settings the runner gives each node itself; the same variables of its own environment would break the cluster. */
const OWN_VARIABLES = new Set([
  'WEIR_HOST',
  'WEIR_PORT',
  'WEIR_INTERNAL_PORT',
  'WEIR_NODE_NAME',
  'WEIR_BROKER',
  'WEIR_REDIS_URL',
  'WEIR_API_KEYS',
  'WEIR_TRUSTED_PROXIES',
]);

interface Member {
  readonly name: string;
  readonly pid: number;
  readonly where: string;
  readonly exited: Promise<ProcessExit>;
  lastOutput(): string;
}

const print = (line = ''): void => {
  process.stdout.write(`${line}\n`);
};

/** The one variable of nodes whose name begins like those of the balancer agent. */
const CHECK_PORT = 'WEIR_AGENT_CHECK_PORT';
const isOfAgent = (key: string): boolean => key.startsWith('WEIR_AGENT_') && key !== CHECK_PORT;

function passedOn(environment: NodeJS.ProcessEnv): Record<'env' | 'agentEnv', Record<string, string>> {
  const passed = { env: {}, agentEnv: {} } as Record<'env' | 'agentEnv', Record<string, string>>;
  for (const [key, value] of Object.entries(environment)) {
    if (value === undefined || !key.startsWith('WEIR_') || OWN_VARIABLES.has(key)) continue;
    passed[isOfAgent(key) ? 'agentEnv' : 'env'][key] = value;
  }
  return passed;
}

function membersOf(cluster: Cluster): Member[] {
  const { redis, nodes, haproxy, agent } = cluster;
  return [
    { ...redis, name: 'redis', where: redis.url },
    ...nodes.map((node) => ({ ...node, where: node.url })),
    { ...agent, name: 'agent', where: `${agent.url} (/health, /metrics)` },
    { ...haproxy, name: 'haproxy', where: `${haproxy.publicUrl} (clients), ${haproxy.apiUrl} (backends, console)` },
  ];
}

function describe(cluster: Cluster): void {
  for (const { name, pid, where } of membersOf(cluster))
    print(`${name.padEnd(9)} pid ${String(pid).padEnd(8)} ${where}`);
  const { apiUrl, apiKey, wsUrl, haproxy } = cluster;
  print(`
API key     ${apiKey}
Console     ${apiUrl}/
WebSocket   ${wsUrl}
Statistics  ${haproxy.statsUrl}/ (Prometheus: ${haproxy.statsUrl}/metrics)

Open the console in two tabs, subscribe both to "demo", then publish through any node:

  curl -X POST ${apiUrl}/v1/publish -H 'X-API-Key: ${apiKey}' -H 'Content-Type: application/json' -d '{"channel":"demo","data":{"text":"hello"}}'

Next: end a node with kill -9 and its pid, and see its clients go on at another one; npm run loadtest puts load on it.
Ctrl-C stops everything.`);
}

function reportDeaths(cluster: Cluster, stopping: () => boolean): void {
  for (const member of membersOf(cluster)) {
    void member.exited.then((exit) => {
      if (stopping()) return;
      const output = member.lastOutput().split(/\n\s*/).slice(-3).join(' | ').trim();
      print(
        `${member.name} (pid ${member.pid}) ended by itself: ${describeExit(exit)}; it is not restarted; last output: ${output}`,
      );
    });
  }
}

/** The exit code: 0 when nothing was lost or repeated. */
async function roll(cluster: Cluster): Promise<number> {
  print(`restarting ${cluster.nodes.length} nodes in turn under ${ROLL.clients} clients and ${ROLL.rate} messages/s …`);
  const result = await rollUnderLoad({ cluster, ...ROLL, say: print });
  const { published, lost, declared, duplicated, largestGapMs, steadyGapMs, reconnects } = result;
  print(`
published         ${published}, to each of ${ROLL.clients} clients
lost              ${lost} (of them declared as a gap: ${declared})
duplicated        ${duplicated}
reconnects        ${reconnects} (moves apart: those nobody sees)
largest pause     ${Math.round(largestGapMs)} ms between two messages of a client (${Math.round(steadyGapMs)} ms before the first restart)
`);
  return lost === 0 && duplicated === 0 ? 0 : 1;
}

async function run(values: ClusterArguments): Promise<void> {
  let phase: 'starting' | 'running' | 'stopping' = 'starting';
  print(`starting Redis, ${values.nodes} ${values.nodes === 1 ? 'node' : 'nodes'} and HAProxy …`);
  const ports = {
    haproxyPort: values.port ?? (await freePort(PREFERRED.publicPort)),
    haproxyInternalPort: await freePort(PREFERRED.internalPort),
    haproxyStatsPort: await freePort(PREFERRED.statsPort),
  };
  const { nodes, redisPort, balance, entry } = values;
  const passed = passedOn(process.env);
  const env = { WEIR_DRAIN_NOTICE_MS: String(DRAIN_NOTICE_MS), ...passed.env };
  const starting = startCluster({ ...ports, nodes, redisPort, balance, entry, ...passed, env });
  const stop = async (exitCode = 0): Promise<void> => {
    phase = 'stopping';
    print('stopping …');
    await (await starting).stop();
    print('stopped');
    process.exit(exitCode);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      // Before it runs there is nothing to drain, and a second signal means "now": exiting kills every child.
      if (phase !== 'running') process.exit(phase === 'starting' ? 0 : 1);
      void stop();
    });
  }
  const cluster = await starting;
  phase = 'running';
  if (values.roll) {
    await stop(await roll(cluster));
    return;
  }
  describe(cluster);
  reportDeaths(cluster, () => phase === 'stopping');
}

const parsed = parseClusterArguments(process.argv.slice(2));
switch (parsed.kind) {
  case 'help':
    print(parsed.text);
    break;
  case 'error':
    process.stderr.write(`${parsed.message}\n\n${USAGE}\n`);
    process.exitCode = EXIT_USAGE;
    break;
  case 'run':
    await run(parsed.values).catch((error: unknown) => {
      process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
      process.exit(1);
    });
}
