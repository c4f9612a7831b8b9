// HTTP on uWebSockets.js: bounded bodies, bounded time, one answer per request, neutral requests for the rooms above.
import type { HttpRequest as EngineRequest, HttpResponse as EngineResponse, TemplatedApp } from './engine.ts';

export interface HttpRequest {
  readonly method: string;
  /** Path without query, undecoded. */
  readonly path: string;
  /** Path parameters in order, percent-decoded. */
  readonly params: readonly string[];
  readonly query: URLSearchParams;
  /** The credential of `Authorization: Bearer` or `X-API-Key`; undefined when there is none. */
  readonly credential: string | undefined;
  /** Empty for requests without one. Memory of its own. */
  readonly body: Buffer;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
}

/** What goes wrong before a handler sees the request. */
export type HttpProblem = 'bodyTooLarge' | 'bodyTimeout' | 'badPath';

export interface RouteOptions {
  readonly maxBodyBytes: number;
  /** Time for a body to arrive, ms. */
  readonly requestTimeoutMs: number;
  /** Never throws or rejects: failures are answers. */
  readonly handle: (request: HttpRequest) => HttpAnswer | Promise<HttpAnswer>;
  /** The answer to a request that never reached `handle`. */
  readonly refuse: (problem: HttpProblem) => HttpAnswer;
}

export type HttpMethod = 'get' | 'post' | 'any';

const STATUS_TEXT: Readonly<Record<number, string>> = {
  200: '200 OK',
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

/** Writes an answer; the caller knows that the response is still there. */
export const writeAnswer = (
  res: EngineResponse,
  answer: HttpAnswer,
  after: 'keep-alive' | 'close' = 'keep-alive',
): void => {
  res.cork(() => {
    res.writeStatus(STATUS_TEXT[answer.status] ?? `${answer.status} Status`);
    for (const name in answer.headers) res.writeHeader(name, answer.headers[name]!);
    res.end(answer.body, after === 'close');
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

/**
 * How far over the bound a body is still read to its end, unkept: closing while the client writes would reset the
 * connection before it can read the 413.
 */
const DISCARD_FACTOR = 8;

/**
 * Collects a body. Calls `onEnd` with the whole body or the problem, at most once, and never after `onAborted`.
 * The usual body arrives in one piece and costs no timer.
 */
const readBody = (
  res: EngineResponse,
  { maxBodyBytes, requestTimeoutMs }: RouteOptions,
  isAborted: () => boolean,
  onEnd: (result: Buffer | HttpProblem) => void,
): void => {
  let chunks: Buffer[] = [];
  let bytes = 0;
  let ended = false;
  const end = (result: Buffer | HttpProblem): void => {
    if (ended) return;
    ended = true;
    chunks = [];
    clearTimeout(timer);
    if (!isAborted()) onEnd(result);
  };
  let timer: NodeJS.Timeout | undefined;
  const startTimer = (): void => {
    timer ??= setTimeout(() => end(bytes > maxBodyBytes ? 'bodyTooLarge' : 'bodyTimeout'), requestTimeoutMs);
  };
  res.onData((chunk, isLast) => {
    if (ended) return;
    bytes += chunk.byteLength;
    if (bytes > maxBodyBytes) {
      chunks = [];
      if (isLast || bytes > maxBodyBytes * DISCARD_FACTOR) end('bodyTooLarge');
      else startTimer();
      return;
    }
    // The engine's memory is only valid during this call.
    chunks.push(Buffer.from(Buffer.from(chunk)));
    if (isLast) end(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks));
    else startTimer();
  });
  // The first bytes usually came with the head and `onData` ran or will run in this turn of the loop.
  setImmediate(() => {
    if (!ended) startTimer();
  });
};

/** Registers one route. `path` may hold `:name` parameters. */
export const route = (app: TemplatedApp, method: HttpMethod, path: string, options: RouteOptions): void => {
  const paramCount = path.split('/').filter((segment) => segment.startsWith(':')).length;
  app[method](path, (res, req) => {
    let aborted = false;
    res.onAborted(() => {
      aborted = true;
    });
    const answer = (result: HttpAnswer): void => {
      if (!aborted) writeAnswer(res, result);
    };
    const requestMethod = req.getMethod();
    const params = decodeParams(req, paramCount);
    const head = {
      method: requestMethod,
      path: req.getUrl(),
      query: new URLSearchParams(req.getQuery()),
      credential: credentialOf(req),
    };
    const handle = (body: Buffer): void => {
      if (params === undefined) {
        answer(options.refuse('badPath'));
        return;
      }
      const result = options.handle({ ...head, params, body });
      if (result instanceof Promise) void result.then(answer);
      else answer(result);
    };
    if (requestMethod === 'get' || requestMethod === 'head') {
      handle(Buffer.alloc(0));
      return;
    }
    readBody(
      res,
      options,
      () => aborted,
      (result) => {
        if (Buffer.isBuffer(result)) handle(result);
        // What may still come of this body must not be read as the next request.
        else writeAnswer(res, options.refuse(result), 'close');
      },
    );
  });
};
