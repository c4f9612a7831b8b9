// Puts API routes on a listener: authentication, failures as answers, metrics, and help for wrong methods and paths.
import type { ApiKeys } from '../access/api-keys.ts';
import type { Failure } from '../failure.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import type { TemplatedApp } from '../transports/engine.ts';
import { type HeadDecision, type HttpAnswer, type HttpProblem, type RequestHead, route } from '../transports/http.ts';
import { fromFailure, fromRefusal, problem } from './answers.ts';
import type { ApiRoute } from './api-route.ts';
import { MalformedBody, RequestRefused } from './request-body.ts';

export interface ServeOptions {
  readonly apiKeys: ApiKeys;
  readonly metrics: MetricsRegistry;
  readonly toFailure: (thrown: unknown) => Failure;
  readonly maxBodyBytes: number;
  readonly requestTimeoutMs: number;
  /** Monotonic time, ms. */
  readonly nowMs: () => number;
  /** Requests being worked on; filled and emptied here. */
  readonly pending: Set<Promise<unknown>>;
  /** Delay after which a publisher may try again, ms; undefined: its request is taken. */
  readonly refusePublish: () => number | undefined;
  /** Takes account of so much more that is kept of bodies, bytes, or refuses it. */
  readonly mayKeep: (bytes: number) => boolean;
  readonly onReleased: (bytes: number) => void;
}

const answerTo = (failure: Failure): HttpAnswer => {
  if (failure instanceof RequestRefused) return fromRefusal(failure.refusal);
  if (failure instanceof MalformedBody) return problem(failure.error, failure.message, { status: 400 });
  return fromFailure(failure);
};

const refuse =
  (maxBodyBytes: number, requestTimeoutMs: number) =>
  (reason: HttpProblem): HttpAnswer => {
    switch (reason) {
      case 'bodyTooLarge':
        return problem('limitExceeded', `body: expected at most ${maxBodyBytes} bytes`);
      case 'bodyTimeout':
        return problem('badRequest', `body: expected it within ${requestTimeoutMs} ms`, { status: 408 });
      case 'noRoom':
        return problem('overloaded', 'the memory budget of the node is used up');
      case 'badPath':
        return problem('badRequest', 'path: expected valid percent-encoding', { status: 400 });
    }
  };

const unauthorized = (presented: boolean): HttpAnswer => {
  const detail = presented ? 'the API key is not known' : 'expected an API key in Authorization: Bearer or X-API-Key';
  return problem('unauthorized', detail, {}, { 'www-authenticate': 'Bearer' });
};

const EMPTY = Buffer.alloc(0);
/** The `route` label of requests for paths that are not served: their names are the clients' and without bound. */
const UNMATCHED = 'unmatched';

export const serveApi = (app: TemplatedApp, routes: readonly ApiRoute[], options: ServeOptions): void => {
  const { apiKeys, metrics, toFailure, maxBodyBytes, requestTimeoutMs, nowMs, mayKeep, onReleased, pending } = options;

  const fail = (thrown: unknown): HttpAnswer => answerTo(toFailure(thrown));

  /** What a handler answers; never throws or rejects. */
  const answerOf = (handle: () => HttpAnswer | Promise<HttpAnswer>): HttpAnswer | Promise<HttpAnswer> => {
    try {
      const result = handle();
      if (!(result instanceof Promise)) return result;
      const answer = result.catch(fail);
      pending.add(answer);
      void answer.finally(() => pending.delete(answer));
      return answer;
    } catch (thrown) {
      return fail(thrown);
    }
  };

  /** The route's work once the body is there, when the caller may ask for it; else the refusal. */
  const admit = (
    entry: ApiRoute,
    head: RequestHead,
  ): HttpAnswer | ((body: Buffer) => HttpAnswer | Promise<HttpAnswer>) => {
    if (entry.access === 'public') return (body) => entry.handle({ ...head, body });
    const key = apiKeys.authenticate(head.credential);
    if (key === undefined) return unauthorized(head.credential !== undefined);
    if (!key.may(entry.access)) {
      return problem('permissionDenied', `the API key ${key.name} has no scope ${entry.access}`);
    }
    // Before the body is read: shedding has to cost less than serving.
    const retryAfterMs = entry.access === 'publish' ? options.refusePublish() : undefined;
    if (retryAfterMs !== undefined) return problem('overloaded', 'the node sheds publishes', { retryAfterMs });
    return (body) => entry.handle({ request: { ...head, body }, key });
  };

  const decideFor =
    (entry: ApiRoute) =>
    (head: RequestHead): HeadDecision => {
      const admitted = admit(entry, head);
      if (typeof admitted !== 'function') return { kind: 'answer', answer: admitted };
      if (entry.method === 'get' || entry.body === 'ignored') {
        return { kind: 'answer', answer: answerOf(() => admitted(EMPTY)) };
      }
      return { kind: 'body', handle: (body) => answerOf(() => admitted(body)) };
    };

  const common = {
    maxBodyBytes,
    requestTimeoutMs,
    nowMs,
    mayKeep,
    onReleased,
    refuse: refuse(maxBodyBytes, requestTimeoutMs),
  };
  const observedAs = (label: string) => ({
    ...common,
    onAnswer: ({ status }: HttpAnswer, durationMs: number): void => {
      metrics.count('weir_http_requests_total', { route: label, status: String(status) });
      metrics.observe('weir_http_request_duration_seconds', durationMs / 1000, { route: label });
    },
  });
  const methodsOf = new Map<string, string[]>();
  for (const entry of routes) {
    const { method, path } = entry;
    methodsOf.set(path, [...(methodsOf.get(path) ?? []), ...(method === 'get' ? ['GET', 'HEAD'] : ['POST'])]);
    route(app, method, path, { ...observedAs(path), decide: decideFor(entry) });
  }
  for (const [path, methods] of methodsOf) {
    const allow = methods.join(', ');
    const answer = problem('badRequest', `method: expected ${allow}`, { status: 405 }, { allow });
    route(app, 'any', path, { ...observedAs(path), decide: () => ({ kind: 'answer', answer }) });
  }
  const decideUnknown = ({ path }: RequestHead): HeadDecision => ({
    kind: 'answer',
    answer: problem('unknownCommand', `nothing is served at ${path.slice(0, 100)}`),
  });
  route(app, 'any', '/*', { ...observedAs(UNMATCHED), decide: decideUnknown });
};
