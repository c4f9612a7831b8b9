// Connections of the whole cluster: each node does its part, the asking node adds up.
import type { ControlBus, Json, RequestResult } from '../../broker/control.ts';
import {
  type ConnectionRow,
  type ConnectionsPage,
  type ConnectionsQuery,
  DEFAULT_CONNECTIONS_PAGE,
  type ExplainAnswer,
} from '../../protocol/http-connections.ts';
import { type ErrorName } from '../../protocol/codes.ts';
import { Failure } from '../failure.ts';
import type { SubscriptionOrder } from '../session/commands/subscribe.ts';
import type { Managing, Target } from '../session/managing.ts';
import { smallest } from './smallest.ts';

export interface ClusterConnectionsOptions {
  readonly control: ControlBus;
  readonly managing: Managing;
  /** Longest wait for other nodes, ms. */
  readonly timeoutMs: number;
  readonly toFailure: (thrown: unknown) => Failure;
}

/** `missing` names nodes that did not answer in time: the numbers are then a lower bound. */
export interface Counted {
  readonly count: number;
  readonly missing?: string[];
}

export interface ClusterConnections {
  disconnect(target: Target, code: number, reason: string): Promise<Counted>;
  /** Rejects with the failure of a node when no connection could be subscribed. */
  subscribe(target: Target, order: SubscriptionOrder): Promise<Counted>;
  unsubscribe(target: Target, channel: string): Promise<Counted>;
  list(query: ConnectionsQuery): Promise<ConnectionsPage>;
  /** Undefined when no node knows the connection. */
  explain(connection: string): Promise<ExplainAnswer | undefined>;
}

interface Subscribed {
  readonly count: number;
  readonly failure?: { readonly error: ErrorName; readonly message: string };
}

const withMissing = ({ missing }: RequestResult): { missing?: string[] } =>
  missing.length === 0 ? {} : { missing: [...missing] };

/** Undefined fields do not cross the control bus. */
const asJson = (value: unknown): Json => JSON.parse(JSON.stringify(value)) as Json;

export const createClusterConnections = (options: ClusterConnectionsOptions): ClusterConnections => {
  const { control, managing, timeoutMs, toFailure } = options;

  control.handle('connections.disconnect', (payload) => {
    const { target, code, reason } = payload as unknown as { target: Target; code: number; reason: string };
    return managing.disconnect(target, code, reason);
  });
  control.handle('connections.subscribe', async (payload): Promise<Json> => {
    const { target, order } = payload as unknown as { target: Target; order: SubscriptionOrder };
    try {
      return { count: await managing.subscribe(target, order) };
    } catch (thrown) {
      const { error, message } = toFailure(thrown);
      return { count: 0, failure: { error, message } };
    }
  });
  control.handle('connections.unsubscribe', (payload) => {
    const { target, channel } = payload as unknown as { target: Target; channel: string };
    return managing.unsubscribe(target, channel);
  });
  control.handle('connections.list', (payload) => {
    const { user, after, limit } = payload as unknown as { user?: string; after: string; limit: number };
    const rows = new Map<string, ConnectionRow>();
    const ids = smallest(
      (function* () {
        for (const row of managing.rows(user)) {
          if (row.connection <= after) continue;
          rows.set(row.connection, row);
          yield row.connection;
        }
      })(),
      limit,
    );
    return asJson(ids.map((id) => rows.get(id)!));
  });
  control.handle('connections.explain', async (connection) =>
    asJson((await managing.explain(connection as string)) ?? null),
  );

  const count = async (kind: string, payload: unknown): Promise<Counted> => {
    const result = await control.request(kind, asJson(payload), timeoutMs);
    const sum = result.answers.reduce((total, { answer }) => total + (answer as number), 0);
    return { count: sum, ...withMissing(result) };
  };

  return {
    disconnect: (target, code, reason) => count('connections.disconnect', { target, code, reason }),
    unsubscribe: (target, channel) => count('connections.unsubscribe', { target, channel }),
    async subscribe(target, order) {
      const result = await control.request('connections.subscribe', asJson({ target, order }), timeoutMs);
      const answers = result.answers.map(({ answer }) => answer as unknown as Subscribed);
      const sum = answers.reduce((total, answer) => total + answer.count, 0);
      const failed = answers.find(({ failure }) => failure !== undefined)?.failure;
      if (sum === 0 && failed !== undefined) throw new Failure(failed.error, failed.message);
      return { count: sum, ...withMissing(result) };
    },
    async list({ user, cursor = '', limit = DEFAULT_CONNECTIONS_PAGE }) {
      // One more than the page tells whether another page exists.
      const question = asJson({ user, after: cursor, limit: limit + 1 });
      const result = await control.request('connections.list', question, timeoutMs);
      const rows = result.answers.flatMap(({ answer }) => answer as unknown as ConnectionRow[]);
      rows.sort((a, b) => (a.connection < b.connection ? -1 : 1));
      const page = rows.slice(0, limit);
      return {
        connections: page,
        cursor: rows.length > limit ? page.at(-1)!.connection : null,
        ...withMissing(result),
      };
    },
    async explain(connection) {
      const { answers } = await control.request('connections.explain', connection, timeoutMs);
      return (answers.find(({ answer }) => answer !== null)?.answer ?? undefined) as ExplainAnswer | undefined;
    },
  };
};
