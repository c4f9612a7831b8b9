// The agent's own HTTP listener: whether it does its work, and its metrics.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Follower } from './follower.ts';
import { exposition, METRICS_CONTENT_TYPE } from './metrics.ts';

export interface Operations {
  readonly port: number;
  close(): void;
}

const REQUEST_TIMEOUT_MS = 5_000;
const MAX_CONNECTIONS = 64;

/**
 * `/health/live` is 200 while the process runs: restart it for nothing else, for it remembers nodes the registry cannot name
 * just now. `/health/ready` (and `/health`) is 200, or 503 with reasons; `/metrics` is for Prometheus. Rejects when the
 * port cannot be had.
 */
export const openOperations = (
  { host, port }: { readonly host: string; readonly port: number },
  follower: Pick<Follower, 'problems' | 'metrics'>,
): Promise<Operations> => {
  const answer = (path: string): { status: number; type: string; body: string } => {
    const json = (status: number, body: object) => ({ status, type: 'application/json', body: JSON.stringify(body) });
    switch (path) {
      case '/metrics':
        return { status: 200, type: METRICS_CONTENT_TYPE, body: exposition(follower.metrics()) };
      case '/health/live':
        return json(200, { status: 'live', reasons: [] });
      case '/health':
      case '/health/ready': {
        const reasons = follower.problems();
        return json(reasons.length === 0 ? 200 : 503, {
          status: reasons.length === 0 ? 'ready' : 'not_ready',
          reasons,
        });
      }
      default:
        return json(404, { status: 404, name: 'not_available', detail: 'here are /health and /metrics' });
    }
  };
  const server = createServer(
    { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS },
    (request, response) => {
      const isRead = request.method === 'GET' || request.method === 'HEAD';
      const { status, type, body } = isRead
        ? answer((request.url ?? '').split('?')[0] ?? '')
        : { status: 405, type: 'text/plain', body: 'GET expected' };
      response.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store' }).end(body);
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, exclusive: true }, () => {
      resolve({
        port: (server.address() as AddressInfo).port,
        close() {
          server.close();
          server.closeAllConnections();
        },
      });
    });
  });
};
