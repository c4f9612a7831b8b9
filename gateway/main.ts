// Composition root: configuration in, drivers chosen, one node run until a signal ends it.
import { readFileSync } from 'node:fs';
import type { Broker } from '../broker/broker.ts';
import { createMemoryBackplane } from '../broker/memory/backplane.ts';
import { createMemoryBroker } from '../broker/memory/memory-broker.ts';
import { createRedisBroker } from '../broker/redis/redis-broker.ts';
import { createRandomIds, systemClock } from './clock.ts';
import { type Config, EXIT_CODE_BAD_CONFIG, loadConfig } from './config.ts';
import { createWatchedFiles } from './config/watched-files.ts';
import { developmentBanner } from './development-banner.ts';
import { watchCredentials } from './credentials.ts';
import { yieldHelpersToLoop } from './helper-threads.ts';
import { createNode } from './node.ts';
import { auditLoggerOf, createLogger } from './observability/logger.ts';

const createBroker = (config: Config): Broker => {
  const { nodeName: node } = config;
  if (config.broker === 'memory') return createMemoryBroker({ backplane: createMemoryBackplane(), node });
  const { redisUrl: url, redisPrefix: prefix, publishTimeoutMs, redisMinReplicas: minReplicas } = config;
  return createRedisBroker({ url, prefix, node, publishTimeoutMs, minReplicas });
};

/** The version of the package, found from source and from dist alike. */
const readVersion = (): string => {
  for (const path of ['../package.json', '../../package.json']) {
    try {
      const text = readFileSync(new URL(path, import.meta.url), 'utf8');
      return (JSON.parse(text) as { version: string }).version;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return 'unknown';
};

const run = async (): Promise<void> => {
  const files = createWatchedFiles();
  const load = () => loadConfig({ argv: process.argv.slice(2), env: process.env, readFile: files.read });
  const result = load();
  switch (result.kind) {
    case 'invalid':
      for (const problem of result.problems) process.stderr.write(`weir: configuration: ${problem}\n`);
      process.exitCode = EXIT_CODE_BAD_CONFIG;
      return;
    case 'print':
      process.stdout.write(result.text);
      return;
    case 'check-ok':
      process.stdout.write('configuration is valid\n');
      return;
    case 'ok':
  }
  const { config, generated } = result;
  const logger = createLogger({ level: config.logLevel, format: config.logFormat, node: config.nodeName });
  const helpers = yieldHelpersToLoop();
  logger.debug({ event: 'helper_threads', helpers }, `${helpers} helper threads of V8 yield to the event loop`);
  const node = createNode({
    config,
    broker: createBroker(config),
    clock: systemClock,
    ids: createRandomIds(),
    logger,
    version: readVersion(),
    onDraining: (timeoutMs) => setTimeout(() => process.exit(0), timeoutMs).unref(),
  });
  const stop = (signal: NodeJS.Signals): void => {
    process.once('SIGTERM', () => process.exit(1)).once('SIGINT', () => process.exit(1));
    logger.info({ event: 'signal', signal }, `${signal}: draining; a second signal ends at once`);
    void node.drain();
  };
  process.once('SIGTERM', stop).once('SIGINT', stop);
  const credentials = watchCredentials({
    config,
    env: process.env,
    files,
    load,
    apply: node.renewCredentials,
    onOutcome: (outcome) => node.metrics.count('weir_credential_reloads_total', { outcome }),
    logger: auditLoggerOf(logger),
  });
  void node.stopped.then(() => {
    credentials.close();
    process.exit(0);
  });
  // At a developer's terminal SIGHUP keeps its meaning, unless there is something to read: the terminal is gone.
  if (config.profile === 'production' || credentials.areInFiles) process.on('SIGHUP', credentials.reload);
  const ports = await node.start();
  if (config.profile === 'development') process.stdout.write(developmentBanner(config, generated, ports.port));
};

run().catch((error: unknown) => {
  process.stderr.write(`weir: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
