import { afterEach, describe, expect, it } from 'vitest';
import { closeAll, openSocket, openSockets, startBalanced } from '../tests/support/balanced-upstreams.ts';
import { requestJson } from '../tests/support/http.ts';
import { openRawSocket } from '../tests/support/raw-socket.ts';
import { waitFor } from '../tests/support/wait-for.ts';

afterEach(closeAll);

describe('HAProxy towards clients', () => {
  it('hides the server API, metrics and everything unnamed from the public listener', async () => {
    const { haproxy, upstreams } = await startBalanced(1);
    const hidden = [
      ...[
        '/metrics',
        '/v1/publish',
        '/v1/batch',
        '/v1/channels',
        '/v1/channels/a/history',
        '/v1/stats',
        '/v1/connections',
      ],
      ...[
        '/v1/disconnect',
        '/v1/subscribe',
        '/v1/unsubscribe',
        '/v1/openapi.json',
        '/api/ingest',
        '/ws/stats',
        '/',
        '/console',
      ],
      ...['/v1/ws/', '//v1/ws', '/v1/ws/../publish', '/v1/ws%2f..%2fpublish', '/V1/WS', '/v1/poll;/metrics'],
    ];
    for (const path of hidden) {
      await using raw = await openRawSocket(haproxy.port);
      raw.write(`POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
      expect(await raw.waitForEnd(), path).toMatch(/^HTTP\/1\.1 404 [^]*application\/problem\+json/);
    }
    expect(upstreams[0]!.requests).toEqual([]);
    for (const path of ['/v1/poll', '/v1/stream?channel=a', '/v1/ws', '/ws']) {
      expect((await requestJson(`${haproxy.publicUrl}${path}`)).status, path).toBe(200);
    }
  });

  it('refuses chunked bodies, whose trailers a node would take for a request of its own', async () => {
    const { haproxy, upstreams } = await startBalanced(1);
    await using raw = await openRawSocket(haproxy.port);
    raw.write(
      'POST /v1/poll HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n' +
        '0\r\nPOST: /v1/publish HTTP/1.1\r\nX-Real-IP: 6.6.6.6\r\n\r\n',
    );
    expect(await raw.waitForText(/^HTTP\/1\.1 \d+ /)).toMatch(/^HTTP\/1\.1 411 /);
    expect(upstreams[0]!.requests).toEqual([]);
  });

  it('opens further paths on demand, and no way around through ..', async () => {
    const { haproxy } = await startBalanced(1, { config: { extraPublicPaths: ['/app/'] } });
    expect((await requestJson(`${haproxy.publicUrl}/app/key`)).status).toBe(200);
    for (const path of ['/app/../metrics', '/app/%2e%2e/metrics', '/app/.%2E/metrics']) {
      await using raw = await openRawSocket(haproxy.port);
      raw.write(`GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
      expect(await raw.waitForEnd(), path).toMatch(/^HTTP\/1\.1 404 /);
    }
  });

  it.each(['publicUrl', 'apiUrl'] as const)(
    'tells the node the real address at %s and drops what clients claim',
    async (listener) => {
      const { haproxy, upstreams } = await startBalanced(1);
      await requestJson(`${haproxy[listener]}/v1/poll`, {
        headers: {
          'X-Real-IP': '6.6.6.6',
          'X-Forwarded-For': '6.6.6.6',
          'X-Forwarded-Proto': 'https',
          Forwarded: 'for=6.6.6.6',
          with_underscore: '1',
          Origin: 'https://app.example',
        },
      });
      const { headers } = upstreams[0]!.requests[0]!;
      expect(headers).toMatchObject({
        'x-real-ip': '127.0.0.1',
        'x-forwarded-proto': 'http',
        origin: 'https://app.example',
      });
      for (const name of ['x-forwarded-for', 'forwarded', 'with_underscore']) expect(headers).not.toHaveProperty(name);
    },
  );

  it('overwrites a spoofed address on WebSocket upgrades as well', async () => {
    const { haproxy, upstreams } = await startBalanced(1);
    await openSocket(haproxy, { 'X-Real-IP': '6.6.6.6' });
    expect(upstreams[0]!.requests[0]!.headers['x-real-ip']).toBe('127.0.0.1');
  });

  it('refuses a source above its limit with 429 and a time to come back', async () => {
    const limits = { maxConnections: 2, maxConnectionsPer10s: 1_000 };
    const { haproxy } = await startBalanced(1, { config: { perSource: limits } });
    const [first] = await openSockets(haproxy, 2);
    const refused = await requestJson(`${haproxy.publicUrl}/v1/poll`, { body: {}, headers: { Connection: 'close' } });
    expect(refused.status).toBe(429);
    expect(refused.headers.get('retry-after')).toBe('10');
    expect(refused.body).toMatchObject({ code: 111, name: 'too_many_requests' });
    first!.terminate();
    await waitFor(
      async () =>
        (await requestJson(`${haproxy.publicUrl}/v1/poll`, { body: {}, headers: { Connection: 'close' } })).status ===
        200,
      { description: 'room for one more' },
    );
  });
});

describe('the operations listener', () => {
  it('serves statistics and Prometheus metrics', async () => {
    const { haproxy } = await startBalanced(1);
    expect((await requestJson(`${haproxy.statsUrl}/`)).text).toContain('Statistics Report');
    expect((await requestJson(`${haproxy.statsUrl}/metrics`)).text).toContain(
      'haproxy_backend_current_sessions{proxy="clients"}',
    );
  });
});
