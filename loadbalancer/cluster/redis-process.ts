// Runs a real redis-server for the local cluster and the tests, without persistence, in a directory of its own.
import { connect } from 'node:net';
import { freePort } from './free-port.ts';
import { type ProcessExit, startProcess } from './process.ts';
import { temporaryDirectory } from './temporary-directory.ts';

export interface RedisOptions {
  /** A free port when absent. */
  readonly port?: number;
  /** Runs as a member of a Redis Cluster, its bus on a free port. */
  readonly cluster?: boolean;
  /** Read before the arguments; a Sentinel needs one it can write to, and takes no further arguments of servers. */
  readonly configFile?: string;
  /** Further command line arguments, after ours: `['--maxmemory', '64mb']`. */
  readonly args?: readonly string[];
}

export interface RedisProcess extends AsyncDisposable {
  /** `redis://127.0.0.1:<port>` */
  readonly url: string;
  readonly port: number;
  /** Of a member of a Redis Cluster. */
  readonly busPort: number | undefined;
  readonly pid: number;
  readonly exited: Promise<ProcessExit>;
  lastOutput(): string;
  /** SIGTERM, bounded by SIGKILL; its directory is removed. */
  stop(): Promise<void>;
  kill(signal: NodeJS.Signals): void;
}

const SERVER_ARGS = [
  ...['--save', '', '--appendonly', 'no'],
  ...['--client-output-buffer-limit', 'pubsub', '256mb', '64mb', '30'],
];

/** Sends inline commands on a fresh connection and resolves with what came back until `until` matches. */
function ask(port: number, commands: string, until: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect({ host: '127.0.0.1', port });
    socket.setTimeout(1_000, () => {
      socket.destroy(new Error('redis did not answer within 1000 ms'));
    });
    socket.on('connect', () => socket.write(commands));
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1');
      if (!until.test(answer)) return;
      resolve(answer);
      socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => {
      reject(new Error('redis closed the connection'));
    });
  });
}

async function answersPing(port: number, pid: number): Promise<boolean> {
  const ping = await ask(port, 'PING\r\n', /\r\n/);
  // With `--requirepass` the answer to an unauthenticated PING is NOAUTH: up, and no more can be asked.
  if (ping.startsWith('-NOAUTH')) return true;
  if (!ping.startsWith('+PONG')) return false;
  // Another Redis on this port answers PING as well, while ours is about to fail: only our own pid counts.
  const info = await ask(port, 'INFO server\r\n', /process_id:\d+\r\n|^-/);
  return info.includes(`process_id:${pid}\r\n`);
}

/**
 * Starts `redis-server`, or what REDIS_SERVER names (`valkey-server`), on 127.0.0.1 and resolves when it answers PING. Nothing is written to disk. The output buffer
 * of pub/sub connections is raised, since the default cuts the link of a busy subscriber.
 */
export async function startRedis(options: RedisOptions = {}): Promise<RedisProcess> {
  const port = options.port ?? (await freePort());
  // The default, port + 10 000, may be taken by an outgoing connection.
  const busPort = options.cluster === true ? await freePort() : undefined;
  const directory = await temporaryDirectory('redis');
  const server = await startProcess({
    name: `redis (port ${port})`,
    command: process.env['REDIS_SERVER'] ?? 'redis-server',
    args: [
      ...(options.configFile === undefined ? [] : [options.configFile]),
      ...['--port', String(port), '--bind', '127.0.0.1', '--daemonize', 'no', '--dir', directory.path],
      ...(options.configFile === undefined ? SERVER_ARGS : []),
      ...(busPort === undefined ? [] : ['--cluster-enabled', 'yes', '--cluster-port', String(busPort)]),
      ...(options.args ?? []),
    ],
    readyWhen: (pid) => answersPing(port, pid),
    installHint: 'apt-get install redis-server (Debian, Ubuntu) or brew install redis (macOS)',
  }).catch(async (error: unknown) => {
    await directory.remove();
    throw error;
  });
  const stop = async (): Promise<void> => {
    await server.stop();
    await directory.remove();
  };
  // Also when it dies by a signal of a test.
  void server.exited.then(directory.remove);
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    busPort,
    pid: server.pid,
    exited: server.exited,
    lastOutput: server.lastOutput,
    stop,
    kill: server.kill,
    [Symbol.asyncDispose]: stop,
  };
}
