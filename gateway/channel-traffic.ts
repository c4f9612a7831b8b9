// The way of publications through a node: in by publishing, across by the broker, out by fan-out, read again from history; and what
// the clients are told of the backplane.
import type { Broker, BrokerEvents } from '../broker/broker.ts';
import { type BackplaneState, createBackplaneState } from './backplane-state.ts';
import { createPublishing, type Publishing } from './channels/publishing.ts';
import { createHistoryReading, type HistoryReading } from './channels/reading.ts';
import type { Clock } from './clock.ts';
import type { Config } from './config.ts';
import type { NamespaceConfig } from './config/namespaces.ts';
import { createFanout, type Fanout } from './fanout/fanout.ts';
import type { Logger } from './observability/logger.ts';
import type { MetricsRegistry } from './observability/registry.ts';
import type { Protection } from './protection.ts';
import type { Connection } from './session/connection.ts';
import { visitInSlices } from './session/slices.ts';

export interface ChannelTrafficOptions {
  readonly config: Config;
  readonly broker: Broker;
  readonly clock: Clock;
  readonly metrics: MetricsRegistry;
  readonly logger: Logger;
  readonly namespaceOf: (channel: string) => NamespaceConfig;
  readonly protection: Pick<Protection, 'overload' | 'budget' | 'wait' | 'onCharged'>;
  readonly connections: Iterable<Connection>;
  /** Hands a frame to every socket that joined the engine's topic. */
  readonly publishNative: (topic: string, frame: Buffer) => void;
  /** This node has subscribers of the channel, or none any more. */
  readonly onAudience: (channel: string, isThere: boolean) => void;
  readonly onError: BrokerEvents['onError'];
}

export interface ChannelTraffic {
  readonly fanout: Fanout;
  readonly publishing: Publishing;
  readonly reading: HistoryReading;
  readonly backplane: BackplaneState;
  /** Repeated about once a second. */
  look(): void;
}

/** Ephemeral messages that wait for their turn may take so much, bytes, and this part of the memory budget. */
const MAX_EPHEMERAL_BYTES = 32 * 1024 * 1024;
const EPHEMERAL_PER_BUDGET = 8;
/** Connections told about the broker between two turns of the event loop. */
const STATUS_PACE = { size: 500, pauseMs: 0 } as const;

export const createChannelTraffic = (options: ChannelTrafficOptions): ChannelTraffic => {
  const { config, broker, clock, metrics, logger, namespaceOf, connections, onError } = options;
  const { overload, budget, wait, onCharged } = options.protection;
  const kicksAnybody = [...config.namespaces.values()].some(({ kickBehind }) => kickBehind !== undefined);

  const fanout = createFanout({
    broker,
    clock,
    metrics,
    boundsOf: (channel) => namespaceOf(channel).history,
    limitsOf: namespaceOf,
    wait,
    publishNative: options.publishNative,
    maxChannelBytes: config.maxRingBytes,
    maxTotalBytes: () => budget.ringAllowance,
    onCharged,
    isThinned: () => config.overloadEphemeralMs > 0 && overload.isEngaged('thin_ephemeral'),
    restMs: config.overloadEphemeralMs,
    maxWaitingBytes: Math.min(MAX_EPHEMERAL_BYTES, config.memoryBudgetBytes / EPHEMERAL_PER_BUDGET),
    onAudience: options.onAudience,
    onError,
  });

  const tellClients = (state: 'ready' | 'degraded'): void => {
    void visitInSlices(connections, STATUS_PACE, (connection) => {
      // Overtaken by a later change: that one tells the rest.
      if (connection.state !== 'connected' || backplane.summary().state !== state) return;
      connection.send({ type: 'status', broker: state });
    });
  };
  const backplane = createBackplaneState({
    nodeName: config.nodeName,
    broker,
    clock,
    hub: fanout.hub,
    metrics,
    logger,
    onError,
    onChanged: tellClients,
  });

  return {
    fanout,
    backplane,
    publishing: createPublishing({ broker, namespaceOf, metrics, clock, load: overload }),
    reading: createHistoryReading(broker, namespaceOf),
    look() {
      if (kicksAnybody) fanout.kick();
    },
  };
};
