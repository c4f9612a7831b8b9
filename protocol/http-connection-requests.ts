// From parsed JSON bodies and query strings to typed requests about connections, or to problems that name what is wrong.
import type { TObject } from '@sinclair/typebox';
import {
  type ConnectionsQuery,
  connectionsQuerySchema,
  type DisconnectBody,
  disconnectBodySchema,
  type RevokeBody,
  revokeBodySchema,
  type SubscribeBody,
  subscribeBodySchema,
  type UnsubscribeBody,
  unsubscribeBodySchema,
} from './http-connections.ts';
import { showValue } from './expectation.ts';
import { type ParsedRequest, readQuery, refuse } from './http-requests.ts';
import { createValidator, type Validator } from './validate.ts';

/** A parser of bodies of which exactly one of some fields names whom they are about. */
const naming =
  <T extends object>({ validate }: Validator<T>, targets: readonly (keyof T & string)[]) =>
  (body: unknown): ParsedRequest<T> => {
    const result = validate(body);
    if (result.kind === 'invalid') return refuse('badRequest', result.problems);
    const named = targets.filter((target) => result.value[target] !== undefined);
    if (named.length === 1) return result;
    const got = named.length === 0 ? showValue(undefined) : named.join(' and ');
    return refuse('badRequest', [{ path: '', expected: `exactly one of ${targets.join(', ')}`, got }]);
  };

/** Longest close reason: a close frame holds 125 bytes, two of them the code (RFC 6455 §5.5). */
const MAX_REASON_BYTES = 123;

const nameDisconnected = naming<DisconnectBody>(createValidator(disconnectBodySchema), [
  'user',
  'connection',
  'session',
]);

/** Body of `POST /v1/disconnect`. Never throws. */
export const parseDisconnect = (body: unknown): ParsedRequest<DisconnectBody> => {
  const result = nameDisconnected(body);
  if (result.kind === 'invalid') return result;
  const bytes = new TextEncoder().encode(result.value.reason ?? '').length;
  if (bytes <= MAX_REASON_BYTES) return result;
  const expected = `close reason of at most ${MAX_REASON_BYTES} bytes`;
  return refuse('badRequest', [{ path: 'reason', expected, got: `${bytes} bytes` }]);
};

/** Body of `POST /v1/revoke`. Never throws. */
export const parseRevoke = naming<RevokeBody>(createValidator(revokeBodySchema), ['user', 'session', 'jti']);
/** Body of `POST /v1/subscribe`. Never throws. */
export const parseSubscribe = naming<SubscribeBody>(createValidator(subscribeBodySchema), ['user', 'connection']);
/** Body of `POST /v1/unsubscribe`. Never throws. */
export const parseUnsubscribe = naming<UnsubscribeBody>(createValidator(unsubscribeBodySchema), ['user', 'connection']);

const connectionsQueryValidator = createValidator(connectionsQuerySchema);

/** Query of `GET /v1/connections`; an empty `cursor` means the first page. */
export const parseConnectionsQuery = (
  parameters: Iterable<readonly [string, string]>,
): ParsedRequest<ConnectionsQuery> => {
  const result = readQuery(connectionsQuerySchema as TObject, connectionsQueryValidator, parameters);
  return result.kind === 'valid' ? result : refuse('badRequest', result.problems);
};
