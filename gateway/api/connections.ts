// `/v1/disconnect`, `/v1/revoke`, `/v1/subscribe`, `/v1/unsubscribe`, `/v1/connections…`: backends manage connections.
import { RevocationsFullError } from '../../broker/revocations.ts';
import { closeCodes } from '../../protocol/codes.ts';
import {
  parseConnectionsQuery,
  parseDisconnect,
  parseRevoke,
  parseSubscribe,
  parseUnsubscribe,
} from '../../protocol/http-connection-requests.ts';
import type { RevokeBody } from '../../protocol/http-connections.ts';
import type { ApiKey } from '../access/api-keys.ts';
import { Failure } from '../failure.ts';
import type { Revoking, RevokingResult } from '../session/revoking.ts';
import { json } from './answers.ts';
import type { ApiRoute } from './api-route.ts';
import type { ClusterConnections, Counted } from './cluster-connections.ts';
import { accepted, parseJson } from './request-body.ts';

export interface ConnectionRouteOptions {
  readonly connections: ClusterConnections;
  readonly revoking: Revoking;
  readonly nowMs: () => number;
  /** How long a revocation holds that names no time, ms. */
  readonly revocationTtlMs: number;
}

const requireChannel = (key: ApiKey, channel: string): void => {
  if (!key.may('manage', channel)) {
    throw new Failure('permissionDenied', `the API key ${key.name} may not manage ${channel}`);
  }
};

const affected = ({ count, ...rest }: Counted) => json({ affected: count, ...rest });

export const createConnectionRoutes = (options: ConnectionRouteOptions): ApiRoute[] => {
  const { connections, revoking, nowMs, revocationTtlMs } = options;

  const revoke = async ({ user, session, jti, ttlMs = revocationTtlMs }: RevokeBody): Promise<RevokingResult> => {
    const atMs = nowMs();
    const times = { atMs, untilMs: atMs + ttlMs };
    const subject =
      user !== undefined
        ? ({ kind: 'user', value: user } as const)
        : session !== undefined
          ? ({ kind: 'session', value: session } as const)
          : ({ kind: 'token', value: jti! } as const);
    try {
      return await revoking.revoke({ ...subject, ...times });
    } catch (thrown) {
      if (thrown instanceof RevocationsFullError) throw new Failure('limitExceeded', thrown.message);
      throw thrown;
    }
  };

  return [
    {
      method: 'post',
      path: '/v1/disconnect',
      access: 'manage',
      async handle({ request }) {
        const { code, reason, ...target } = accepted(parseDisconnect(parseJson(request.body)));
        const { count, ...rest } = await connections.disconnect(
          target,
          code ?? closeCodes.disconnected.code,
          reason ?? closeCodes.disconnected.name,
        );
        return json({ disconnected: count, ...rest });
      },
    },
    {
      method: 'post',
      path: '/v1/revoke',
      access: 'manage',
      async handle({ request }) {
        const { disconnected, untilMs, missing } = await revoke(accepted(parseRevoke(parseJson(request.body))));
        return json({ disconnected, holdsUntil: untilMs, ...(missing.length > 0 && { missing }) });
      },
    },
    {
      method: 'post',
      path: '/v1/subscribe',
      access: 'manage',
      async handle({ request, key }) {
        const { channel, since, ...target } = accepted(parseSubscribe(parseJson(request.body)));
        requireChannel(key, channel);
        return affected(await connections.subscribe(target, { channel, since }));
      },
    },
    {
      method: 'post',
      path: '/v1/unsubscribe',
      access: 'manage',
      async handle({ request, key }) {
        const { channel, ...target } = accepted(parseUnsubscribe(parseJson(request.body)));
        requireChannel(key, channel);
        return affected(await connections.unsubscribe(target, channel));
      },
    },
    {
      method: 'get',
      path: '/v1/connections',
      access: 'manage',
      async handle({ request }) {
        return json(await connections.list(accepted(parseConnectionsQuery(request.query))));
      },
    },
    {
      method: 'get',
      path: '/v1/connections/:connection/explain',
      access: 'manage',
      async handle({ request }) {
        const answer = await connections.explain(request.params[0] ?? '');
        if (answer === undefined) throw new Failure('unknownCommand', 'no node has a connection of this id');
        return json(answer);
      },
    },
  ];
};
