// The configuration of the balancer agent: environment in; checked values, or one line per problem, out.
import {
  choice,
  type DefaultContext,
  defaultOf,
  duration,
  integer,
  text,
  value,
  none,
  type ValuesOf,
} from '../../gateway/config/key-spec.ts';
import { configKeys } from '../../gateway/config/keys.ts';
import { parseValue } from '../../gateway/config/parse.ts';
import { isRedisUrl } from '../../gateway/config/urls.ts';
import { canonicalName, envNameOf, nearest } from '../../gateway/config/words.ts';

const HOUR_MS = 3_600_000;
/** Unix sockets have no longer paths. */
const MAX_SOCKET_PATH = 107;

/** As keys of a node are (`gateway/config/keys.ts`), and named in the same way after `WEIR_AGENT_`. */
export const agentKeys = {
  redisUrl: text('a Redis URL as nodes take it (redis://…, redis+sentinel://…, redis+cluster://…)', isRedisUrl, {
    default: value('redis://127.0.0.1:6379'),
    secret: 'url',
    description: 'The Redis in which the nodes announce themselves: their `WEIR_REDIS_URL`.',
  }),
  redisPrefix: { ...configKeys.redisPrefix, description: 'The `WEIR_REDIS_PREFIX` of the nodes.' },
  haproxySocket: text(`a path of at most ${MAX_SOCKET_PATH} characters`, (path) => path.length <= MAX_SOCKET_PATH, {
    default: none('required'),
    description: 'Socket of the Runtime API (`stats socket … level admin`). Each HAProxy has an agent of its own.',
  }),
  host: text('a host name or IP address', (host) => /^[A-Za-z0-9_.:-]{1,253}$/.test(host), {
    default: value('127.0.0.1'),
    description: 'Address of the listener for `/health` and `/metrics`.',
  }),
  port: integer(0, 65_535, { default: value(8405), description: 'Its port (0: any free one).' }),
  intervalMs: duration(50, HOUR_MS, {
    default: value(500),
    description: 'Pause between two looks at the registry, and between two at HAProxy.',
  }),
  absenceMs: duration(0, HOUR_MS, {
    default: value(5_000),
    description: 'How long a node must be missing in a registry that answers before its slot is freed.',
  }),
  logLevel: choice(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
    default: value('info'),
    description: 'Least severe level that is logged.',
  }),
  logFormat: choice(['json', 'pretty'], {
    default: value('json'),
    description: 'One JSON object per line, or lines for people.',
  }),
} as const;

export type AgentKey = keyof typeof agentKeys;
type AgentValues = ValuesOf<typeof agentKeys>;
export type AgentConfig = AgentValues & { readonly haproxySocket: string };

const PREFIX = 'WEIR_AGENT_';
export const agentEnvNameOf = (key: string): string => `${PREFIX}${canonicalName([key]).toUpperCase()}`;

export type AgentConfigResult =
  | { readonly kind: 'ok'; readonly config: AgentConfig }
  | { readonly kind: 'check-ok' }
  /** One line each, without secrets, for stderr. Exit code 78. */
  | { readonly kind: 'invalid'; readonly problems: readonly string[] };

/** Keys of nodes whose name begins like ours: an environment may be shared with a node. */
const OF_NODES = new Set(Object.keys(configKeys).map(envNameOf));
/** No default of the agent depends on it. */
const NO_CONTEXT: DefaultContext = { profile: 'production', hostname: '', randomId: () => '', memoryLimitBytes: 0 };
const CHECK_ONLY = '--check-config';

/** Never throws. An empty variable counts as not set. */
export const loadAgentConfig = (
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): AgentConfigResult => {
  const keys = Object.keys(agentKeys) as AgentKey[];
  const names = new Map(keys.map((key) => [agentEnvNameOf(key), key]));
  const problems = argv
    .filter((argument) => argument !== CHECK_ONLY)
    .map((argument) => `unknown argument ${JSON.stringify(argument)}; known: ${CHECK_ONLY}`);
  for (const name of Object.keys(env)) {
    if (!name.startsWith(PREFIX) || names.has(name) || OF_NODES.has(name)) continue;
    const near = nearest(name, [...names.keys()]);
    problems.push(`${name}: unknown key${near === undefined ? '' : `; did you mean ${near}?`}`);
  }
  const values: Partial<Record<AgentKey, unknown>> = {};
  for (const [name, key] of names) {
    const raw = env[name];
    values[key] = defaultOf(agentKeys[key], NO_CONTEXT);
    if (raw === undefined || raw.trim() === '') {
      if (key === 'haproxySocket') problems.push(`${name}: expected ${agentKeys[key].expected}, got nothing`);
      continue;
    }
    const parsed = parseValue(agentKeys[key], raw);
    if (parsed.kind === 'ok') values[key] = parsed.value;
    else problems.push(...parsed.problems.map((problem) => `${name}: ${problem}`));
  }
  if (problems.length > 0) return { kind: 'invalid', problems };
  if (argv.includes(CHECK_ONLY)) return { kind: 'check-ok' };
  // Every key now holds a value of its schema or its typed default, and the one that is required was given.
  return { kind: 'ok', config: values as unknown as AgentConfig };
};
