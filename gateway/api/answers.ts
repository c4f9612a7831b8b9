// HTTP answers of the server API: JSON, and problem+json with the codes of the protocol.
import type { ErrorName } from '../../protocol/codes.ts';
import { createProblem, PROBLEM_CONTENT_TYPE, type ProblemExtras } from '../../protocol/http.ts';
import type { RefusedRequest } from '../../protocol/http-requests.ts';
import { describeProblems } from '../../protocol/validate.ts';
import type { Failure } from '../failure.ts';
import type { HttpAnswer } from '../transports/http.ts';

const JSON_HEADERS = { 'content-type': 'application/json' } as const;

/** An answer whose body is JSON already; 200 unless said otherwise. */
export const jsonText = (body: string | Buffer, status = 200): HttpAnswer => ({ status, headers: JSON_HEADERS, body });

/** A JSON answer; 200 unless said otherwise. */
export const json = (body: unknown, status = 200): HttpAnswer => jsonText(JSON.stringify(body), status);

/** Whole seconds as `Retry-After` wants them, never 0. */
const retryAfterSeconds = (retryAfterMs: number): string => String(Math.max(1, Math.ceil(retryAfterMs / 1000)));

/** Delay named when a temporary failure knows none of its own, ms. */
const DEFAULT_RETRY_AFTER_MS = 1000;

export const problem = (
  error: ErrorName,
  detail: string,
  extras: ProblemExtras = {},
  headers: Readonly<Record<string, string>> = {},
): HttpAnswer => {
  const body = createProblem(error, detail, extras);
  const needsRetry = body.status === 429 || body.status === 503;
  const retryAfterMs = body.retryAfterMs ?? DEFAULT_RETRY_AFTER_MS;
  return {
    status: body.status,
    headers: {
      'content-type': PROBLEM_CONTENT_TYPE,
      ...(needsRetry && { 'retry-after': retryAfterSeconds(retryAfterMs) }),
      ...headers,
    },
    body: JSON.stringify(needsRetry ? { ...body, retryAfterMs } : body),
  };
};

export const fromFailure = (failure: Failure): HttpAnswer => {
  const { retryAfterMs } = failure;
  return problem(failure.error, failure.message, retryAfterMs === undefined ? {} : { retryAfterMs });
};

export const fromRefusal = ({ error, problems }: RefusedRequest): HttpAnswer =>
  problem(error, describeProblems(problems), { errors: problems });

/** The answer to a request whose `Host` names something this node does not answer for. */
export const wrongHost = (): HttpAnswer =>
  problem('permissionDenied', 'Host: this node does not answer for that name; allowedHosts lists those it does');
