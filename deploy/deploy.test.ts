// Tests that the deployment files agree with each other and with the gateway, as far as that shows without a container engine.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { type NetworkInterfaceInfo, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { DEFAULT_ADMISSION_PER_SECOND } from '../gateway/config/keys.ts';
import { DEVELOPMENT_SECRET_PREFIX } from '../gateway/access/api-key-entries.ts';
import { type Config, EXIT_CODE_BAD_CONFIG, loadConfig } from '../gateway/config.ts';
import { configKeys } from '../gateway/config/keys.ts';
import { secretFileVariable } from '../gateway/config/environment.ts';
import { envNameOf } from '../gateway/config/words.ts';
import { freePort } from '../loadbalancer/cluster/free-port.ts';
import { BUILT_NODE_ARGUMENTS } from '../loadbalancer/cluster/node-process.ts';
import { startProcess } from '../loadbalancer/cluster/process.ts';
import { agentEnvNameOf, agentKeys, loadAgentConfig } from '../loadbalancer/agent/config.ts';
import { dnsHaproxyOptions, generatedFiles, haproxyOptions, openFiles, ports, usualNodes } from './generate.ts';
import { createCertificate } from '../tests/wire/certificate.ts';

const run = promisify(execFile);
const here = import.meta.dirname;
const root = join(here, '..');
const read = (path: string): Promise<string> => readFile(join(here, path), 'utf8');

interface Service {
  readonly image: string;
  readonly build?: { readonly context: string; readonly dockerfile: string };
  readonly environment?: Readonly<Record<string, string>>;
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly sysctls?: Readonly<Record<string, string>>;
  readonly ulimits?: { readonly nofile: { readonly soft: number; readonly hard: number } };
  readonly networks: readonly string[] | Readonly<Record<string, { readonly ipv4_address?: string }>>;
  readonly read_only?: boolean;
  readonly user?: string;
  readonly entrypoint?: readonly string[];
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly stop_grace_period?: string;
  readonly deploy?: { readonly replicas: number };
}

interface Compose {
  readonly services: Readonly<
    Record<'redis' | 'node' | 'haproxy' | 'balancer-agent' | 'prometheus' | 'grafana', Service>
  >;
  readonly volumes: Readonly<Record<string, { readonly driver_opts?: Readonly<Record<string, string>> }>>;
  readonly networks: { readonly edge: { readonly ipam: { readonly config: readonly { readonly subnet: string }[] } } };
}

const compose = parse(await read('compose.yaml'), { merge: true }) as Compose;
const { redis, node, haproxy, 'balancer-agent': agent, prometheus, grafana } = compose.services;
const services = Object.entries(compose.services);
const unit = await read('systemd/weir.service');
const agentUnit = await read('systemd/weir-balancer-agent.service');
const containerfile = await read('Containerfile');

/** What a production node does when nothing is configured. */
const defaults = (() => {
  const result = loadConfig({ argv: [], env: {} });
  if (result.kind !== 'ok') throw new Error(JSON.stringify(result));
  return result.config;
})();

/** `${NAME:?why}` and `${NAME:-default}` replaced, as compose does it. */
function interpolate(text: string, environment: Readonly<Record<string, string>>): string {
  return text.replace(
    /\$\{(\w+)(?::-([^}]*)|:\?[^}]*)?\}/g,
    (_, name: string, fallback?: string) => environment[name] ?? fallback ?? '',
  );
}

const secrets = {
  WEIR_REDIS_PASSWORD: '0123456789abcdef'.repeat(3),
  WEIR_API_KEYS: `backend=${'89abcdef01234567'.repeat(3)}:publish+read`,
};

/** A node's address in the network of HAProxy. */
const inEdge = { address: '172.30.0.130', family: 'IPv4', internal: false } as NetworkInterfaceInfo;

function nodeConfig(environment: Readonly<Record<string, string>> = secrets): Config {
  const env = Object.fromEntries(
    Object.entries(node.environment ?? {}).map(([name, value]) => [name, interpolate(value, environment)]),
  );
  const mounted = new Map(
    (node.volumes ?? []).map((volume) => [volume.split(':')[1], join(here, volume.split(':')[0] ?? '')]),
  );
  const result = loadConfig({
    argv: [],
    env: { ...env, WEIR_CONFIG: mounted.get(env['WEIR_CONFIG']) },
    interfaces: { eth0: [inEdge] },
  });
  if (result.kind !== 'ok') throw new Error(JSON.stringify(result));
  return result.config;
}

/** All values of one key of a unit. */
const unitValues = (key: string, text = unit): string[] =>
  [...text.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map((match) => match[1] ?? '');

describe('haproxy.cfg and haproxy-dns.cfg', () => {
  it('are what generate.ts writes', async () => {
    for (const [name, content] of generatedFiles()) {
      expect((await read(name)) === content, `${name} differs; run: npx tsx deploy/generate.ts`).toBe(true);
    }
  });

  it.each([...generatedFiles().keys()])('%s is accepted by HAProxy', async (name) => {
    // The operator's certificate is not at hand; one made here stands for it.
    await using certificate = await createCertificate();
    const folder = await mkdtemp(join(tmpdir(), 'weir-haproxy-'));
    const file = join(folder, name);
    await writeFile(file, (await read(name)).replaceAll('/etc/haproxy/site.pem', certificate.bothFile));
    const { stdout, stderr } = await run('haproxy', ['-c', '-f', file]).finally(() => rm(folder, { recursive: true }));
    expect(stdout + stderr).toContain('Configuration file is valid');
    expect(stdout + stderr).not.toMatch(/warning/i);
  });

  it('ask the name server of the containers for the service that runs the nodes, in the profile without agent', () => {
    expect(dnsHaproxyOptions.nodes).toMatchObject({ kind: 'dns', nameserver: '127.0.0.11:53' });
    expect(Object.keys(compose.services)).toContain((dnsHaproxyOptions.nodes as { host: string }).host);
  });

  it('let a node that is new grow no faster than it admits', () => {
    expect(node.deploy?.replicas).toBe(usualNodes);
    const perSecond = (1000 * haproxyOptions.maxConnections) / usualNodes / (haproxyOptions.slowstartMs ?? 0);
    expect(perSecond).toBeLessThanOrEqual(DEFAULT_ADMISSION_PER_SECOND);
  });

  it('promise no more connections than its descriptors allow', () => {
    expect(haproxy.ulimits?.nofile).toEqual({ soft: openFiles, hard: openFiles });
    expect(2 * haproxyOptions.maxConnections).toBeLessThan(openFiles);
  });
});

describe('the nodes of compose.yaml', () => {
  it.each(['WEIR_API_KEYS', 'WEIR_REDIS_PASSWORD'])('do not start without %s', (name) => {
    const uses = Object.values(node.environment ?? {}).filter((value) => value.includes(`\${${name}`));
    expect(uses).not.toEqual([]);
    for (const use of uses) expect(use).toMatch(new RegExp(`\\$\\{${name}:\\?[^}]+\\}`));
  });

  it('refuse a secret that was made for development', () => {
    const weak = { ...secrets, WEIR_API_KEYS: `backend=${DEVELOPMENT_SECRET_PREFIX}abc` };
    expect(() => nodeConfig(weak)).toThrow('WEIR_API_KEYS');
  });

  it('get only variables the gateway knows', () => {
    const known = new Set([...Object.keys(configKeys).map(envNameOf), 'WEIR_CONFIG']);
    expect(Object.keys(node.environment ?? {}).filter((name) => !known.has(name))).toEqual([]);
  });

  it('start with a configuration the gateway accepts, on the ports the others expect', () => {
    const config = nodeConfig();
    expect(config).toMatchObject({
      profile: 'production',
      broker: 'redis',
      port: ports.client,
      internalPort: ports.internal,
      agentCheckPort: ports.agentCheck,
      host: '0.0.0.0',
      anonymous: false,
    });
    expect(config.redisUrl).toContain('@redis:6379');
  });

  it('believe the address of HAProxy, which lies in its network, and no other', () => {
    const address = (haproxy.networks as Record<string, { ipv4_address?: string }>)['edge']?.ipv4_address ?? '';
    expect(nodeConfig().trustedProxies).toEqual([address]);
    const subnet = compose.networks.edge.ipam.config[0]?.subnet ?? '';
    expect(subnet).toBe(`${address.split('.').slice(0, 3).join('.')}.0/24`);
  });

  it('announce their address in the network HAProxy is in', () => {
    expect(node.environment?.['WEIR_ADVERTISE_ADDRESS']).toBe(compose.networks.edge.ipam.config[0]?.subnet);
  });

  it('have descriptors for the connections they accept', () => {
    expect(node.ulimits?.nofile.soft).toBeGreaterThan(nodeConfig().maxConnections + 1000);
  });

  it('are given more time to stop than they take to drain', () => {
    const graceMs = 1000 * Number(/^(\d+)s$/.exec(node.stop_grace_period ?? '')?.[1]);
    expect(graceMs).toBeGreaterThan(nodeConfig().drainTimeoutMs);
  });

  it('ping as often as the balancer assumes', () => {
    // The balancer's default is the gateway's.
    expect(haproxyOptions.pingIntervalMs).toBeUndefined();
    expect(nodeConfig().pingIntervalMs).toBe(defaults.pingIntervalMs);
  });

  it('are three', () => {
    expect(node.deploy?.replicas).toBe(3);
  });
});

describe('compose.tls.yaml', () => {
  it('puts the configuration with TLS and a certificate of the operator where HAProxy reads them', async () => {
    const overlay = parse(await read('compose.tls.yaml')) as Pick<Compose, 'services'>;
    const mounts = overlay.services.haproxy.volumes ?? [];
    expect(mounts).toContain('./haproxy-tls.cfg:/usr/local/etc/haproxy/haproxy.cfg:ro');
    const certificate = /ssl crt (\S+) alpn http\/1\.1$/m.exec(await read('haproxy-tls.cfg'))?.[1];
    expect(mounts.at(-1)).toMatch(new RegExp(`^\\$\\{WEIR_TLS_PEM:\\?[^}]+\\}:${certificate}:ro$`));
  });
});

describe('the balancer agent of compose.yaml', () => {
  const environment = Object.fromEntries(
    Object.entries(agent.environment ?? {}).map(([name, value]) => [name, interpolate(value, secrets)]),
  );

  it('starts with a configuration it accepts, with the registry of the nodes', () => {
    const result = loadAgentConfig([], environment);
    expect(result).toMatchObject({
      kind: 'ok',
      config: { redisUrl: nodeConfig().redisUrl, redisPrefix: nodeConfig().redisPrefix, port: ports.agent },
    });
  });

  it('shares the socket of HAProxy, and nobody else does', () => {
    expect(environment['WEIR_AGENT_HAPROXY_SOCKET']).toBe(haproxyOptions.runtimeSocket);
    const sharing = services.filter(([, { volumes = [] }]) => volumes.includes('haproxy-run:/run/haproxy'));
    expect(sharing.map(([name]) => name)).toEqual(['haproxy', 'balancer-agent']);
    expect(haproxy.user).toBe(agent.user);
    const [uid, gid] = (agent.user ?? '').split(':');
    expect(compose.volumes['haproxy-run']?.driver_opts?.['o']).toBe(`size=1m,mode=0700,uid=${uid},gid=${gid}`);
    expect(haproxyOptions.runtimeSocket).toMatch(/^\/run\/haproxy\//);
  });

  it('runs the image of the nodes from an entry that is built, and its health check looks at its port', () => {
    const [command, entry = ''] = agent.entrypoint ?? [];
    expect([agent.image, command]).toEqual([node.image, 'node']);
    expect(existsSync(join(root, entry.replace(/^dist\//, '').replace(/\.js$/, '.ts')))).toBe(true);
    expect(agent.healthcheck?.test.at(-1)).toContain(`:${ports.agent}/health/live`);
  });
});

describe('compose.yaml', () => {
  it('mounts only files that exist', () => {
    const paths = services.flatMap(([, { volumes = [] }]) => volumes.map((volume) => volume.split(':')[0] ?? ''));
    const files = paths.filter((path) => path.startsWith('.'));
    expect(files.length).toBeGreaterThan(5);
    expect(files.filter((path) => !existsSync(join(here, path)))).toEqual([]);
    expect(existsSync(join(here, node.build?.context ?? '', node.build?.dockerfile ?? ''))).toBe(true);
  });

  it('gives every container a read-only root and a fixed version', () => {
    for (const [name, service] of services) {
      expect(service.read_only, name).toBe(true);
      expect(service.image, name).toMatch(/:(?!latest)\S+$/);
    }
  });

  it('shows nothing but the client port to other machines', () => {
    const open = services
      .flatMap(([, { ports: published = [] }]) => published)
      .filter((port) => !port.startsWith('127.0.0.1:'));
    expect(open).toEqual([`\${WEIR_PUBLIC_PORT:-8080}:${ports.client}`]);
  });

  it('publishes the ports the balancer listens on', () => {
    const inside = (haproxy.ports ?? []).map((port) => Number(port.split(':').at(-1)));
    expect(inside).toEqual([ports.client, ports.internal, ports.statistics]);
  });

  it('sets no kernel value that differs from sysctl.conf', async () => {
    const host = new Map(
      [...(await read('sysctl.conf')).matchAll(/^([\w.]+) = (.+)$/gm)].map(([, key, value]) => [key, value]),
    );
    for (const [name, { sysctls = {} }] of services) {
      for (const [key, value] of Object.entries(sysctls)) expect(host.get(key), `${name}: ${key}`).toBe(value);
    }
    expect(node.sysctls).toHaveProperty(['net.ipv4.tcp_notsent_lowat'], '16384');
  });

  it('lets Prometheus find the nodes and the balancer', async () => {
    const config = parse(await readFile(join(root, 'grafana/prometheus.yml'), 'utf8')) as {
      scrape_configs: { dns_sd_configs?: unknown[]; static_configs?: { targets: string[] }[] }[];
    };
    expect(config.scrape_configs[0]?.dns_sd_configs).toMatchObject([
      { names: ['node'], type: 'A', port: ports.internal },
    ]);
    expect(config.scrape_configs[1]?.static_configs?.[0]?.targets).toEqual([`haproxy:${ports.statistics}`]);
    expect(config.scrape_configs[2]?.static_configs?.[0]?.targets).toEqual([`balancer-agent:${ports.agent}`]);
    expect(agent.networks).toContain('monitoring');
    expect(prometheus.networks).toContain('edge');
  });

  it('puts dashboards and data source where Grafana is told to look', async () => {
    const folder = join(root, 'grafana/provisioning');
    const providers = parse(await readFile(join(folder, 'dashboards/weir.yml'), 'utf8')) as {
      providers: { options: { path: string } }[];
    };
    const mounts = (grafana.volumes ?? []).map((volume) => volume.split(':')[1]);
    expect(mounts).toContain(providers.providers[0]?.options.path);
    const home = grafana.environment?.['GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH'] ?? '';
    expect(await readdir(join(root, 'grafana/generated'))).toContain(home.split('/').at(-1));
    const sources = parse(await readFile(join(folder, 'datasources/prometheus.yml'), 'utf8')) as {
      datasources: { url: string }[];
    };
    expect(Object.keys(compose.services)).toContain(new URL(sources.datasources[0]?.url ?? '').hostname);
  });
});

describe('redis.conf', () => {
  it('is accepted by Redis and raises the limit that would cut a slow node', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'weir-redis-conf-'));
    const port = String(await freePort());
    const cli = async (...args: string[]): Promise<string> => (await run('redis-cli', ['-p', port, ...args])).stdout;
    const server = await startProcess({
      name: 'redis',
      command: 'redis-server',
      args: [join(here, 'redis.conf'), '--port', port, '--dir', folder],
      readyWhen: async () => (await cli('ping')).includes('PONG'),
    });
    try {
      expect(await cli('config', 'get', 'client-output-buffer-limit')).toContain('pubsub 268435456 67108864 30');
      expect(await cli('config', 'get', 'maxmemory-policy')).toContain('noeviction');
    } finally {
      await server.stop();
      await rm(folder, { recursive: true });
    }
    expect(redis.volumes).toContain('./redis.conf:/etc/redis.conf:ro');
  });
});

describe('the image', () => {
  it('copies only what exists and is not ignored', async () => {
    const sources = [...containerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap((match) =>
      (match[1] ?? '').split(' '),
    );
    const allowed = new Set(
      [...(await read('Containerfile.dockerignore')).matchAll(/^!(.+)$/gm)].map((match) => match[1]),
    );
    expect(sources.length).toBeGreaterThan(5);
    for (const source of sources) {
      expect(existsSync(join(root, source)), source).toBe(true);
      expect(allowed, source).toContain(source);
    }
    expect([...allowed].filter((path) => !sources.includes(path ?? ''))).toEqual([]);
  });

  it('copies every room that is built', async () => {
    const build = parse(await readFile(join(root, 'tsconfig.build.json'), 'utf8')) as { include: string[] };
    for (const pattern of build.include) expect(containerfile).toContain(`\nCOPY ${pattern.split('/')[0] ?? ''} `);
  });

  it('builds and runs on the same base, without root', () => {
    const bases = [...containerfile.matchAll(/^FROM (\S+)/gm)].map((match) => match[1]);
    expect(bases).toEqual(['node:20-bookworm-slim', 'node:20-bookworm-slim']);
    expect(containerfile).toMatch(/^USER node$/m);
  });

  it('checks its health where every node answers', async () => {
    const command = JSON.parse(/^ {2}CMD (\[.*\])$/m.exec(containerfile)?.[1] ?? '[]') as string[];
    const script = command.at(-1) ?? '';
    expect(command.slice(0, 2)).toEqual(['node', '-e']);
    expect(script).toContain('/health/live');
    // Nothing listens there: the check itself must run and fail.
    const env = { PATH: process.env['PATH'], WEIR_PORT: String(await freePort()) };
    await expect(run(process.execPath, ['-e', script], { env })).rejects.toMatchObject({ code: 1, stderr: '' });
  });
});

describe('the systemd unit', () => {
  it('sets only variables the gateway knows', () => {
    const known = new Set([
      ...Object.keys(configKeys).map(envNameOf),
      secretFileVariable('apiKeys'),
      'WEIR_CONFIG',
      'NODE_ENV',
      'UWS_HTTP_MAX_HEADERS_SIZE',
    ]);
    const named = [...unit.matchAll(/\b(?:WEIR|UWS|NODE)_[A-Z_]+\b/g)].map((match) => match[0]);
    expect(named.length).toBeGreaterThan(3);
    expect(named.filter((name) => !known.has(name))).toEqual([]);
  });

  it('runs the same entry as the image, with the same options of Node and the same engine setting', () => {
    const command = JSON.parse(/^ENTRYPOINT (.+)$/m.exec(containerfile)?.[1] ?? '[]') as string[];
    const entry = command.at(-1) ?? '';
    expect(command).toEqual(['node', ...BUILT_NODE_ARGUMENTS, entry]);
    expect(unitValues('ExecStart')).toEqual([`/usr/bin/${command.join(' ')}`]);
    expect(existsSync(join(root, entry.replace(/^dist\//, '').replace(/\.js$/, '.ts')))).toBe(true);
    const setting = /UWS_HTTP_MAX_HEADERS_SIZE=\d+/.exec(containerfile)?.[0] ?? 'missing';
    expect(unitValues('Environment')).toContain(setting);
  });

  it('lets the node set the priority of its helper threads, after it forbade that with the rest of its group', () => {
    const filters = unitValues('SystemCallFilter');
    expect(filters.indexOf('setpriority')).toBeGreaterThan(filters.findIndex((value) => value.includes('@resources')));
  });

  it('does not restart a node whose configuration is wrong', () => {
    expect(unitValues('RestartPreventExitStatus')).toEqual([String(EXIT_CODE_BAD_CONFIG)]);
  });

  it('of the balancer agent runs its entry, sets only variables it knows and is not restarted for a wrong one', () => {
    expect(unitValues('ExecStart', agentUnit)).toEqual([`/usr/bin/node ${agent.entrypoint?.[1] ?? ''}`]);
    const known = new Set([...Object.keys(agentKeys).map(agentEnvNameOf), 'NODE_ENV']);
    const named = [...agentUnit.matchAll(/\b(?:WEIR|NODE)_[A-Z_]+\b/g)].map((match) => match[0]);
    expect(named.filter((name) => !known.has(name))).toEqual([]);
    expect(agentUnit).toContain(`=${haproxyOptions.runtimeSocket}\n`);
    expect(unitValues('RestartPreventExitStatus', agentUnit)).toEqual([String(EXIT_CODE_BAD_CONFIG)]);
  });

  it('waits for the drain', () => {
    expect(1000 * Number(unitValues('TimeoutStopSec')[0])).toBeGreaterThan(defaults.drainTimeoutMs);
  });
});
