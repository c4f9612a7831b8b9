import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { createFetchText } from './fetch-text.ts';

let server: Server;
afterEach(() => {
  server.closeAllConnections();
  server.close();
});
const serve = async (listener: RequestListener): Promise<string> => {
  server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
};
const fetchFrom = (url: string, more: { timeoutMs?: number; maxBytes?: number } = {}): Promise<string> =>
  createFetchText({ url, timeoutMs: 10_000, maxBytes: 1000, ...more })(new AbortController().signal);

it('gives the text, and sends credentials of the URL as Basic authentication', async () => {
  const seen: unknown[] = [];
  const url = await serve((request, response) => {
    seen.push(request.headers.authorization, request.url);
    response.end('ä');
  });
  expect(await fetchFrom(url.replace('//', '//us%40er:p%3Aw@'))).toBe('ä');
  expect(seen).toEqual([`Basic ${Buffer.from('us@er:p:w').toString('base64')}`, '/keys']);
});

it.each([
  ['a redirect', 302],
  ['an error', 500],
  ['another success', 204],
])('rejects for %s, and follows none', async (_, status) => {
  let requests = 0;
  const url = await serve((_request, response) => {
    requests += 1;
    response.writeHead(status, { location: '/elsewhere' }).end();
  });
  await expect(fetchFrom(url)).rejects.toThrow();
  expect(requests).toBe(1);
});

it('ends a body that is too large, also one without end', async () => {
  const url = await serve((_request, response) => {
    const write = (): void => {
      while (!response.destroyed && response.write('x'.repeat(500)));
    };
    response.on('drain', write).on('error', () => undefined);
    write();
  });
  await expect(fetchFrom(url)).rejects.toThrow(/at most 1000 bytes/);
});

it('ends an answer that drips for longer than it may', async () => {
  const url = await serve((_request, response) => {
    const timer = setInterval(() => response.write('x'), 10);
    response.on('close', () => clearInterval(timer));
  });
  await expect(fetchFrom(url, { timeoutMs: 100 })).rejects.toThrow(/timeout/);
});
