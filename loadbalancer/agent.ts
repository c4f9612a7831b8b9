// The balancer agent: follows the registry of nodes in Redis and fills the slots of one HAProxy (`npm run balancer-agent`).
import { hostname } from 'node:os';
import type { BrokerEvents } from '../broker/broker.ts';
import { createRedisBroker } from '../broker/redis/redis-broker.ts';
import { EXIT_CODE_BAD_CONFIG } from '../gateway/config.ts';
import { createLogger } from '../gateway/observability/logger.ts';
import { type AgentConfig, loadAgentConfig } from './agent/config.ts';
import { startFollower } from './agent/follower.ts';
import { openOperations } from './agent/operations.ts';
import { createRuntimeApi } from './runtime-api.ts';

/** Within this time Redis and HAProxy have answered or never will. */
const STOP_TIMEOUT_MS = 3_000;

const run = async (config: AgentConfig): Promise<void> => {
  const name = `balancer-agent-${hostname()}-${process.pid}`;
  const logger = createLogger({ level: config.logLevel, format: config.logFormat, node: name });
  // It announces nothing, so it is no node: it only reads who is one.
  const broker = createRedisBroker({ url: config.redisUrl, prefix: config.redisPrefix, node: name });
  const nothing = (): void => undefined;
  const events: BrokerEvents = {
    onPublications: nothing,
    onEphemeral: nothing,
    onInterrupted: nothing,
    onRestored: nothing,
    onHealth: nothing,
    tails: () => [],
    onError: (error, { stage }) => {
      logger.debug({ event: 'broker_error', stage, err: error }, 'broker error');
    },
  };
  // The follower tells when the registry cannot be read.
  broker.start(events).catch(nothing);
  const follower = startFollower({
    registry: broker.control,
    runtime: createRuntimeApi(config.haproxySocket),
    intervalMs: config.intervalMs,
    absenceMs: config.absenceMs,
    nowMs: () => performance.now(),
    log: logger,
  });
  const stop = (signal: NodeJS.Signals): void => {
    logger.info({ event: 'signal', signal }, `${signal}: ending; HAProxy keeps the nodes it has`);
    setTimeout(() => process.exit(0), STOP_TIMEOUT_MS).unref();
    void Promise.all([follower.stop(), broker.close()]).then(() => process.exit(0));
  };
  process.once('SIGTERM', stop).once('SIGINT', stop);
  const { port } = await openOperations(config, follower);
  logger.info({ event: 'started', port, haproxy: config.haproxySocket }, 'balancer agent runs');
};

const result = loadAgentConfig(process.argv.slice(2), process.env);
switch (result.kind) {
  case 'invalid':
    for (const problem of result.problems) process.stderr.write(`weir-balancer-agent: configuration: ${problem}\n`);
    process.exitCode = EXIT_CODE_BAD_CONFIG;
    break;
  case 'check-ok':
    process.stdout.write('configuration is valid\n');
    break;
  case 'ok':
    run(result.config).catch((error: unknown) => {
      process.stderr.write(`weir-balancer-agent: ${error instanceof Error ? error.message : String(error)}\n`);
      process.exit(1);
    });
}
