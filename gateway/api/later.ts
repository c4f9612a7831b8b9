// Calls that the protocol names and this node does not serve yet: they say so instead of pretending not to exist.
import { Failure } from '../failure.ts';
import type { ApiRoute } from './api-route.ts';

const notAvailable = (): never => {
  throw new Failure('notAvailable', 'this call is not available on this node');
};

const open = (method: 'get' | 'post', path: string): ApiRoute => ({
  method,
  path,
  access: 'public',
  body: 'ignored',
  handle: notAvailable,
});

/** For backends. */
export const laterApiRoutes: readonly ApiRoute[] = [
  { method: 'get', path: '/v1/channels/:channel/presence', access: 'read', handle: notAvailable },
];

/** For clients: the fallback transports and the plain dialect. */
export const laterClientRoutes: readonly ApiRoute[] = [
  open('get', '/v1/stream'),
  open('post', '/v1/stream'),
  open('post', '/v1/poll'),
  open('get', '/ws'),
  open('get', '/ws/stats'),
  open('post', '/api/ingest'),
];
