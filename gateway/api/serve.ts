// Puts API routes on a listener: authentication, failures as answers, metrics, and help for wrong methods and paths.
import type { ApiKeys } from '../access/api-keys.ts';
import type { Failure } from '../failure.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import type { TemplatedApp } from '../transports/engine.ts';
import { type HttpAnswer, type HttpProblem, type HttpRequest, route } from '../transports/http.ts';
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
      case 'badPath':
        return problem('badRequest', 'path: expected valid percent-encoding', { status: 400 });
    }
  };

const unauthorized = (presented: boolean): HttpAnswer => {
  const detail = presented ? 'the API key is not known' : 'expected an API key in Authorization: Bearer or X-API-Key';
  return problem('unauthorized', detail, {}, { 'www-authenticate': 'Bearer' });
};

export const serveApi = (app: TemplatedApp, routes: readonly ApiRoute[], options: ServeOptions): void => {
  const { apiKeys, metrics, toFailure, maxBodyBytes, requestTimeoutMs, nowMs, pending } = options;

  const perform = (entry: ApiRoute, request: HttpRequest): HttpAnswer | Promise<HttpAnswer> => {
    if (entry.access === 'public') return entry.handle(request);
    const key = apiKeys.authenticate(request.credential);
    if (key === undefined) return unauthorized(request.credential !== undefined);
    if (!key.may(entry.access)) {
      return problem('permissionDenied', `the API key ${key.name} has no scope ${entry.access}`);
    }
    return entry.handle({ request, key });
  };

  const fail = (thrown: unknown): HttpAnswer => answerTo(toFailure(thrown));

  const serve =
    (entry: ApiRoute) =>
    (request: HttpRequest): HttpAnswer | Promise<HttpAnswer> => {
      const startedMs = nowMs();
      const observed = (answer: HttpAnswer): HttpAnswer => {
        metrics.count('weir_http_requests_total', { route: entry.path, status: String(answer.status) });
        metrics.observe('weir_http_request_duration_seconds', (nowMs() - startedMs) / 1000, { route: entry.path });
        return answer;
      };
      try {
        const result = perform(entry, request);
        if (!(result instanceof Promise)) return observed(result);
        const answer = result.catch(fail).then(observed);
        pending.add(answer);
        void answer.finally(() => pending.delete(answer));
        return answer;
      } catch (thrown) {
        return observed(fail(thrown));
      }
    };

  const limits = { maxBodyBytes, requestTimeoutMs, refuse: refuse(maxBodyBytes, requestTimeoutMs) };
  const methodsOf = new Map<string, string[]>();
  for (const entry of routes) {
    methodsOf.set(entry.path, [...(methodsOf.get(entry.path) ?? []), entry.method.toUpperCase()]);
    route(app, entry.method, entry.path, { ...limits, handle: serve(entry) });
  }
  for (const [path, methods] of methodsOf) {
    const allow = methods.join(', ');
    const handle = (): HttpAnswer => problem('badRequest', `method: expected ${allow}`, { status: 405 }, { allow });
    route(app, 'any', path, { ...limits, handle });
  }
  const handleUnknown = ({ path }: HttpRequest): HttpAnswer =>
    problem('unknownCommand', `nothing is served at ${path.slice(0, 100)}`);
  route(app, 'any', '/*', { ...limits, handle: handleUnknown });
};
