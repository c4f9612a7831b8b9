// What commands work with: one bundle, made by the node, shared by all connections.
import type { Clock } from '../clock.ts';
import type { Hub } from '../fanout/hub.ts';
import type { Lifecycle } from '../hooks/events/lifecycle.ts';
import type { Hooks } from '../hooks/hooks.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import type { NamespaceConfig } from '../config/namespaces.ts';
import type { Limits } from '../access/limits/limits.ts';
import type { Access } from '../access/access.ts';
import type { Revocations } from '../access/revocations.ts';
import type { TokenVerifier } from '../access/tokens/verifier.ts';
import type { Publishing } from '../channels/publishing.ts';
import type { HistoryReading } from '../channels/reading.ts';
import type { Failure } from '../failure.ts';
import type { Connection } from './connection.ts';
import type { Sessions } from './continuation/sessions.ts';
import type { Directory } from './directory.ts';
import type { Expiry } from './expiry.ts';

export interface SessionSettings {
  readonly nodeName: string;
  readonly maxFrameBytes: number;
  readonly maxSubscriptions: number;
  readonly pingIntervalMs: number;
  /** Whether a connection without token is accepted. */
  readonly anonymous: boolean;
}

export interface RequestBudget {
  readonly isFull: boolean;
  charge(part: 'requests', bytes: number): void;
}

/** Whether the node turns somebody away: the delay after which to try again, ms; undefined: it does not. */
export interface Shedding {
  refuseConnect(arrival: { readonly anonymous: boolean; readonly resumes: boolean }): number | undefined;
  refusePublish(source: 'client'): number | undefined;
}

export interface SessionServices {
  readonly settings: SessionSettings;
  readonly hub: Hub;
  readonly access: Access;
  readonly namespaceOf: (channel: string) => NamespaceConfig;
  readonly publishing: Publishing;
  readonly reading: HistoryReading;
  readonly sessions: Sessions;
  readonly limits: Limits;
  /** What unanswered commands hold counts as long as they are worked on. */
  readonly budget: RequestBudget;
  /** Who may still come and publish. */
  readonly overload: Shedding;
  readonly tokens: Pick<TokenVerifier, 'verify'>;
  readonly revocations: Pick<Revocations, 'isRevoked' | 'isSessionRevoked'>;
  readonly directory: Pick<Directory, 'identify'>;
  readonly expiry: Pick<Expiry<Connection>, 'schedule'>;
  readonly hooks: Hooks;
  readonly lifecycle: Pick<Lifecycle, 'connected'>;
  readonly metrics: MetricsRegistry;
  readonly clock: Clock;
  readonly brokerState: () => 'ready' | 'degraded';
  /** Any thrown value as what a client may know of it. */
  readonly toFailure: (thrown: unknown) => Failure;
}
