// What a call of the server API is made of: where it is, who may call it, what it does.
import type { ApiKeyScope } from '../access/api-key-entries.ts';
import type { ApiKey } from '../access/api-keys.ts';
import type { HttpAnswer, RequestHead } from '../transports/http.ts';

export interface ApiRequest extends RequestHead {
  /** Empty for GET and for routes that ignore it. */
  readonly body: Buffer;
}

export interface ApiCall {
  readonly request: ApiRequest;
  /** The caller's key; it has the route's scope. Absent on public routes. */
  readonly key: ApiKey;
}

interface RouteBase {
  readonly method: 'get' | 'post';
  /** With `:name` for path parameters; doubles as the `route` label of metrics. */
  readonly path: string;
  /** A POST whose body nobody reads: it is thrown away instead of kept. */
  readonly body?: 'ignored';
}

/** May throw or reject with `Failure`; everything else becomes `internal`. */
export type ApiRoute =
  | (RouteBase & {
      readonly access: 'public';
      readonly handle: (request: ApiRequest) => HttpAnswer | Promise<HttpAnswer>;
    })
  | (RouteBase & {
      readonly access: ApiKeyScope;
      readonly handle: (call: ApiCall) => HttpAnswer | Promise<HttpAnswer>;
    });
