// Reads the command line of the local cluster.
import { parseArgs } from 'node:util';
import { BALANCE_PROFILES, type BalanceProfile } from '../haproxy-options.ts';

export interface ClusterArguments {
  readonly nodes: number;
  readonly port?: number;
  readonly redisPort?: number;
  readonly balance: BalanceProfile;
  readonly entry: 'source' | 'built';
  /** Restart every node once under a small load, tell what clients saw of it, and end. */
  readonly roll: boolean;
}

export type ParsedArguments =
  | { readonly kind: 'run'; readonly values: ClusterArguments }
  | { readonly kind: 'help'; readonly text: string }
  | { readonly kind: 'error'; readonly message: string };

export const USAGE = `Usage: npm run cluster -- [options]
Starts Redis, gateway nodes and HAProxy on this machine, and stops them on Ctrl-C.

  --nodes <n>          gateway nodes, 1 to 64 (3)
  --port <port>        where clients connect, at HAProxy (8080, or a free port)
  --redis-port <port>  Redis (a free port)
  --balance <profile>  ${BALANCE_PROFILES.join(', ')} (leastconn)
  --built              run dist/ as made by npm run build, instead of the sources
  --roll               restart every node in turn under a small load, tell what clients saw of it, stop
  --help               this text

WEIR_… variables of the environment reach every node, WEIR_AGENT_… the balancer agent.`;

const MAX_NODES = 64;

class ArgumentError extends Error {}

function integer(option: string, text: string | undefined, max: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > max) {
    throw new ArgumentError(`--${option}: an integer from 1 to ${max} expected, got "${text}"`);
  }
  return value;
}

export function parseClusterArguments(argv: readonly string[]): ParsedArguments {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        nodes: { type: 'string' },
        port: { type: 'string' },
        'redis-port': { type: 'string' },
        balance: { type: 'string' },
        built: { type: 'boolean' },
        roll: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    });
    if (values.help === true) return { kind: 'help', text: USAGE };
    const balance = BALANCE_PROFILES.find((profile) => profile === (values.balance ?? 'leastconn'));
    if (balance === undefined) {
      throw new ArgumentError(
        `--balance: one of ${BALANCE_PROFILES.join(', ')} expected, got "${values.balance ?? ''}"`,
      );
    }
    return {
      kind: 'run',
      values: {
        nodes: integer('nodes', values.nodes, MAX_NODES) ?? 3,
        port: integer('port', values.port, 65_535),
        redisPort: integer('redis-port', values['redis-port'], 65_535),
        balance,
        entry: values.built === true ? 'built' : 'source',
        roll: values.roll === true,
      },
    };
  } catch (error) {
    // parseArgs throws TypeErrors that name the option.
    if (error instanceof ArgumentError || error instanceof TypeError) {
      return { kind: 'error', message: error.message.split('\n')[0] ?? '' };
    }
    throw error;
  }
}
