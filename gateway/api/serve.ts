// Puts API routes on a listener: authentication, failures as answers, metrics, and help for wrong methods and paths.
import type { ApiKeyAttempts } from '../access/api-key-attempts.ts';
import type { ApiKey, ApiKeys } from '../access/api-keys.ts';
import type { Failure } from '../failure.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import type { TemplatedApp } from '../transports/engine.ts';
import { type HeadDecision, type HttpAnswer, type HttpProblem, type RequestHead, route } from '../transports/http.ts';
import { fromFailure, fromRefusal, problem, wrongHost } from './answers.ts';
import type { ApiRequest, ApiRoute } from './api-route.ts';
import type { AuditLog } from './audit-log.ts';
import { MalformedBody, RequestRefused } from './request-body.ts';
import type { UnderWay } from './under-way.ts';

export interface ServeOptions {
  readonly apiKeys: ApiKeys;
  /** Limits how often an address may try keys. */
  readonly attempts: ApiKeyAttempts;
  readonly clientAddress: (remoteAddress: string, realIp: string) => string;
  readonly audit: AuditLog;
  readonly metrics: MetricsRegistry;
  readonly toFailure: (thrown: unknown) => Failure;
  /** Headers of every answer. */
  readonly headers: Readonly<Record<string, string>>;
  /** Whether the node answers for the name in `Host`; undefined: for every name. Health is answered for every name. */
  readonly acceptsHost: ((host: string) => boolean) | undefined;
  readonly maxBodyBytes: number;
  readonly requestTimeoutMs: number;
  /** Monotonic time, ms. */
  readonly nowMs: () => number;
  /** Told about every request that is being worked on. */
  readonly underWay: Pick<UnderWay, 'track'>;
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
      case 'wrongHost':
        return wrongHost();
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

/** More delays than there are; beyond, the answers are made anew. */
const MAX_SHED_ANSWERS = 2048;

/**
 * Answers to publishers that are shed, each written once: shedding has to cost less than serving. Promised, so that they leave in turn
 * with the others: one that is answered at once asks again at once.
 */
const createShedAnswers = () => {
  const byDelay = new Map<number, Promise<HttpAnswer>>();
  return (retryAfterMs: number): Promise<HttpAnswer> => {
    let answer = byDelay.get(retryAfterMs);
    if (answer === undefined) {
      if (byDelay.size >= MAX_SHED_ANSWERS) byDelay.clear();
      answer = Promise.resolve(problem('overloaded', 'the node sheds publishes', { retryAfterMs }));
      byDelay.set(retryAfterMs, answer);
    }
    return answer;
  };
};

/** Field by field: a spread that adds one costs V8 a call out of compiled code and memory of the old generation (docs/adr/0028-an-old-generation-that-rests.md). */
const withBody = (head: RequestHead, body: Buffer): ApiRequest => {
  const { method, path, params, query, credential, remoteAddress, realIpHeader } = head;
  return { method, path, params, query, credential, remoteAddress, realIpHeader, body };
};

const EMPTY = Buffer.alloc(0);
/** The `route` label of requests for paths that are not served: their names are the clients' and without bound. */
const UNMATCHED = 'unmatched';

export const serveApi = (app: TemplatedApp, routes: readonly ApiRoute[], options: ServeOptions): void => {
  const {
    apiKeys,
    attempts,
    clientAddress,
    audit,
    metrics,
    toFailure,
    headers,
    acceptsHost,
    maxBodyBytes,
    requestTimeoutMs,
    nowMs,
    mayKeep,
    onReleased,
    underWay,
  } = options;

  const fail = (thrown: unknown): HttpAnswer => answerTo(toFailure(thrown));
  const shedAnswer = createShedAnswers();

  /** What a handler answers; never throws or rejects. */
  const answerOf = (handle: () => HttpAnswer | Promise<HttpAnswer>): HttpAnswer | Promise<HttpAnswer> => {
    try {
      const result = handle();
      return result instanceof Promise ? underWay.track(result, fail) : result;
    } catch (thrown) {
      return fail(thrown);
    }
  };

  /** The caller's key, or the refusal. A limited address is told nothing about the key. */
  const authenticate = (head: RequestHead, address: string): ApiKey | HttpAnswer => {
    const { credential } = head;
    if (credential === undefined) return unauthorized(false);
    const key = apiKeys.authenticate(credential);
    const attempt = attempts.attempt(address, key?.name);
    if (attempt.kind === 'limited') {
      metrics.count('weir_api_keys_refused_total', { reason: 'limited' });
      if (attempt.first) audit.limited(address);
      return problem('tooManyRequests', 'too many unknown API keys came from this address', attempt);
    }
    if (key !== undefined) return key;
    metrics.count('weir_api_keys_refused_total', { reason: 'unknown' });
    return unauthorized(true);
  };

  /** The route's work once the body is there, when the caller may ask for it; else the refusal. */
  const admit = (
    entry: ApiRoute,
    head: RequestHead,
  ): HttpAnswer | Promise<HttpAnswer> | ((body: Buffer) => HttpAnswer | Promise<HttpAnswer>) => {
    if (entry.access === 'public') return (body) => answerOf(() => entry.handle(withBody(head, body)));
    const address = clientAddress(head.remoteAddress, head.realIpHeader);
    const key = authenticate(head, address);
    const noted = entry.access === 'manage' ? audit.of(entry, head, address) : undefined;
    if ('status' in key) return noted?.(key) ?? key;
    if (!key.may(entry.access)) {
      const answer = problem('permissionDenied', `the API key ${key.name} has no scope ${entry.access}`);
      return noted?.(answer, key.name) ?? answer;
    }
    // Before the body is read: shedding has to cost less than serving.
    const retryAfterMs = entry.access === 'publish' ? options.refusePublish() : undefined;
    if (retryAfterMs !== undefined) return shedAnswer(retryAfterMs);
    return (body) => {
      const answer = answerOf(() => entry.handle({ request: withBody(head, body), key }));
      if (noted === undefined) return answer;
      const note = (settled: HttpAnswer): HttpAnswer => noted(settled, key.name, body);
      return answer instanceof Promise ? answer.then(note) : note(answer);
    };
  };

  const decideFor =
    (entry: ApiRoute) =>
    (head: RequestHead): HeadDecision => {
      const admitted = admit(entry, head);
      if (typeof admitted !== 'function') return { kind: 'answer', answer: admitted };
      if (entry.method === 'get' || entry.body === 'ignored') return { kind: 'answer', answer: admitted(EMPTY) };
      return { kind: 'body', handle: admitted };
    };

  const common = {
    headers,
    maxBodyBytes,
    requestTimeoutMs,
    nowMs,
    mayKeep,
    onReleased,
    refuse: refuse(maxBodyBytes, requestTimeoutMs),
  };
  const observedAs = (label: string) => ({
    ...common,
    // Balancers ask for health by names of their own.
    acceptsHost: label.startsWith('/health/') ? undefined : acceptsHost,
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
