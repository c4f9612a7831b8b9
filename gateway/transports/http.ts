// HTTP on uWebSockets.js: one answer per request, decided on its head wherever that suffices; neutral requests for the rooms above.
import type { HttpRequest as EngineRequest, HttpResponse as EngineResponse, TemplatedApp } from './engine.ts';
import { readBody } from './request-body.ts';

/** A request before its body. */
export interface RequestHead {
  readonly method: string;
  /** Path without query, undecoded. */
  readonly path: string;
  /** Path parameters in order, percent-decoded. */
  readonly params: readonly string[];
  readonly query: URLSearchParams;
  /** The credential of `Authorization: Bearer` or `X-API-Key`; undefined when there is none. */
  readonly credential: string | undefined;
  /** What the socket says; `realIpHeader` is what a proxy says, or ''. */
  readonly remoteAddress: string;
  readonly realIpHeader: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
}

/** What is wrong with a request as such. */
export type HttpProblem = 'bodyTooLarge' | 'bodyTimeout' | 'noRoom' | 'badPath' | 'wrongHost';

/** What a route does, decided on the head alone: nothing of a body is kept before somebody wants it. */
export type HeadDecision =
  /** The body, if there is one, is thrown away. */
  | { readonly kind: 'answer'; readonly answer: HttpAnswer | Promise<HttpAnswer> }
  /** `handle` gets the body, in memory of its own. */
  | { readonly kind: 'body'; readonly handle: (body: Buffer) => HttpAnswer | Promise<HttpAnswer> };

/** Nothing in here throws, and no promise rejects: failures are answers. */
export interface RouteOptions {
  /** Whether the `Host` header names something that is answered for; undefined: not asked. */
  readonly acceptsHost?: ((host: string) => boolean) | undefined;
  /** Headers of every answer. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly maxBodyBytes: number;
  /** Time for a body to arrive, ms. */
  readonly requestTimeoutMs: number;
  /** Monotonic time, ms. */
  readonly nowMs: () => number;
  readonly decide: (head: RequestHead) => HeadDecision;
  /** Takes account of so much more that is kept of bodies, bytes, or refuses it. */
  readonly mayKeep: (bytes: number) => boolean;
  /** What was kept is let go of, bytes. */
  readonly onReleased: (bytes: number) => void;
  /** The answer to a request that is wrong as such. */
  readonly refuse: (problem: HttpProblem) => HttpAnswer;
  /** Told about every answer, also when nobody is there any more to get it; `durationMs` counts from the head. */
  readonly onAnswer: (answer: HttpAnswer, durationMs: number) => void;
}

export type HttpMethod = 'get' | 'post' | 'any';

const STATUS_TEXT: Readonly<Record<number, string>> = {
  200: '200 OK',
  202: '202 Accepted',
  302: '302 Found',
  400: '400 Bad Request',
  401: '401 Unauthorized',
  403: '403 Forbidden',
  404: '404 Not Found',
  405: '405 Method Not Allowed',
  408: '408 Request Timeout',
  409: '409 Conflict',
  413: '413 Content Too Large',
  422: '422 Unprocessable Content',
  426: '426 Upgrade Required',
  429: '429 Too Many Requests',
  500: '500 Internal Server Error',
  503: '503 Service Unavailable',
};

export interface WriteOptions {
  /** `close` where what may still come must not be read as the next request. Default `keep-alive`. */
  readonly after?: 'keep-alive' | 'close';
  /** `head` leaves the body out and tells its length. Default `whole`. */
  readonly form?: 'whole' | 'head';
  /** Headers beside those of the answer. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** Writes an answer; the caller knows that the response is still there. */
export const writeAnswer = (res: EngineResponse, answer: HttpAnswer, options: WriteOptions = {}): void => {
  const { after = 'keep-alive', form = 'whole', headers = {} } = options;
  res.cork(() => {
    res.writeStatus(STATUS_TEXT[answer.status] ?? `${answer.status} Status`);
    for (const name in answer.headers) res.writeHeader(name, answer.headers[name]!);
    for (const name in headers) res.writeHeader(name, headers[name]!);
    if (form === 'head') {
      // Told the length, the engine would wait for a body of that length and answer nothing more on this connection.
      res.writeHeader('content-length', String(Buffer.byteLength(answer.body)));
      if (after === 'close') res.writeHeader('connection', 'close');
      res.endWithoutBody();
    } else res.end(answer.body, after === 'close');
  });
};

const BEARER = /^bearer +(\S+) *$/i;

const credentialOf = (req: EngineRequest): string | undefined => {
  const key = req.getHeader('x-api-key');
  if (key !== '') return key;
  const authorization = req.getHeader('authorization');
  return authorization === '' ? undefined : BEARER.exec(authorization)?.[1];
};

const decodeParams = (req: EngineRequest, count: number): string[] | undefined => {
  const params: string[] = [];
  for (let index = 0; index < count; index++) {
    try {
      params.push(decodeURIComponent(req.getParameter(index)));
    } catch {
      return undefined;
    }
  }
  return params;
};

/** A request has a body when it says so (RFC 9112 §6). */
const hasBody = (req: EngineRequest): boolean =>
  req.getHeader('transfer-encoding') !== '' || !['', '0'].includes(req.getHeader('content-length'));

/** Nobody writes to it. */
const NO_QUERY = new URLSearchParams();

const queryOf = (req: EngineRequest): URLSearchParams => {
  const text = req.getQuery();
  return text === '' ? NO_QUERY : new URLSearchParams(text);
};

const decideOnHead = (
  req: EngineRequest,
  res: EngineResponse,
  method: string,
  paramCount: number,
  options: RouteOptions,
): HeadDecision => {
  if (options.acceptsHost?.(req.getHeader('host')) === false) {
    return { kind: 'answer', answer: options.refuse('wrongHost') };
  }
  const params = decodeParams(req, paramCount);
  if (params === undefined) return { kind: 'answer', answer: options.refuse('badPath') };
  return options.decide({
    method,
    path: req.getUrl(),
    params,
    query: queryOf(req),
    credential: credentialOf(req),
    remoteAddress: Buffer.from(res.getRemoteAddressAsText()).toString(),
    realIpHeader: req.getHeader('x-real-ip'),
  });
};
/** What is wrong with a request whose body was not read to its end. */
const PROBLEM_OF = {
  tooLarge: 'bodyTooLarge',
  tooSlow: 'bodyTimeout',
  noRoom: 'noRoom',
  discarded: 'bodyTooLarge',
} as const satisfies Record<string, HttpProblem>;

/** Answers that are ready and leave when the sockets that are to be read have been. */
let ready: (() => void)[] = [];

/**
 * Runs `write` after the poll phase of the event loop. While a thousand sockets are readable, libuv looks again without leaving it,
 * up to 48 times: publishers that are answered or refused at once and send at once hold timers and flushes up for seconds.
 */
const afterPoll = (write: () => void): void => {
  if (ready.push(write) > 1) return;
  setImmediate(() => {
    const due = ready;
    ready = [];
    for (const one of due) one();
  });
};

const serve =
  (paramCount: number, options: RouteOptions) =>
  (res: EngineResponse, req: EngineRequest): void => {
    const startedMs = options.nowMs();
    const method = req.getMethod();
    const form = method === 'head' ? 'head' : 'whole';
    const announcesBody = hasBody(req);
    let aborted = false;
    let stopReading = (): void => undefined;
    let keptBytes = 0;
    const mayKeep = (bytes: number): boolean => {
      if (!options.mayKeep(bytes)) return false;
      keptBytes += bytes;
      return true;
    };
    const releaseKept = (): void => {
      if (keptBytes > 0) options.onReleased(keptBytes);
      keptBytes = 0;
    };
    res.onAborted(() => {
      aborted = true;
      stopReading();
    });
    const answer = (result: HttpAnswer, after: WriteOptions['after'] = 'keep-alive'): void => {
      releaseKept();
      options.onAnswer(result, options.nowMs() - startedMs);
      if (!aborted) writeAnswer(res, result, { after, form, headers: options.headers });
    };
    const answerLater = (result: HttpAnswer | Promise<HttpAnswer>, after?: WriteOptions['after']): void =>
      void Promise.resolve(result).then((settled) => afterPoll(() => answer(settled, after)));
    const answerSoon = (result: HttpAnswer | Promise<HttpAnswer>): void => {
      if (result instanceof Promise) answerLater(result);
      else answer(result);
    };

    const decision = decideOnHead(req, res, method, paramCount, options);
    if (decision.kind === 'answer' && !announcesBody) {
      answerSoon(decision.answer);
      return;
    }
    const { maxBodyBytes, requestTimeoutMs } = options;
    const purpose = decision.kind === 'answer' ? 'discard' : 'keep';
    const reader = readBody(res, { maxBodyBytes, requestTimeoutMs, purpose, mayKeep }, (outcome) => {
      stopReading = () => undefined;
      if (decision.kind === 'answer')
        answerLater(
          decision.answer,
          outcome.kind === 'discarded' && outcome.rest === 'nothing' ? 'keep-alive' : 'close',
        );
      else if (outcome.kind === 'whole') answerSoon(decision.handle(outcome.body));
      else answer(options.refuse(PROBLEM_OF[outcome.kind]), 'close');
    });
    stopReading = () => {
      reader.abort();
      releaseKept();
    };
  };

/** Registers one route. `path` may hold `:name` parameters. A GET route answers HEAD too, without the body. */
export const route = (app: TemplatedApp, method: HttpMethod, path: string, options: RouteOptions): void => {
  const paramCount = path.split('/').filter((segment) => segment.startsWith(':')).length;
  const handler = serve(paramCount, options);
  app[method](path, handler);
  if (method === 'get') app.head(path, handler);
};
