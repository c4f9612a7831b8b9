// DNS rebinding: a page that points a name of its own at this machine must not reach a development node.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort, type NodeProcess, openRawSocket, startNode, upgradeRequest } from '../support/index.ts';

const KEY = 'secret-of-the-development-node-0123456789';
let node: NodeProcess;
let production: NodeProcess;
beforeAll(async () => {
  node = await startNode({
    name: 'development',
    apiKey: KEY,
    internalPort: await freePort(),
    env: { WEIR_ALLOWED_HOSTS: 'localhost,127.0.0.1,[::1],weir.test', WEIR_ALLOWED_ORIGINS: '*' },
  });
  production = await startNode({ name: 'production', apiKey: KEY, env: { WEIR_PROFILE: 'production' } });
});
afterAll(async () => {
  await node.stop();
  await production.stop();
});

const statusOf = async (port: number, request: string): Promise<number> => {
  await using raw = await openRawSocket(port);
  raw.write(request);
  return Number(/^HTTP\/1\.1 (\d+) /.exec(await raw.waitForText(/\r\n\r\n/))?.[1]);
};
const get = (path: string, host: string): string =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nX-API-Key: ${KEY}\r\n\r\n`;

describe('a development node', () => {
  it.each(['evil.example', 'evil.example:8080', 'localhost.evil.example', '127.0.0.1.nip.example'])(
    'refuses the name %s for HTTP and WebSocket, on both listeners',
    async (host) => {
      expect(await statusOf(node.port, get('/console/', host))).toBe(403);
      expect(await statusOf(node.internalPort!, get('/v1/stats', host))).toBe(403);
      expect(await statusOf(node.internalPort!, get('/nothing', host))).toBe(403);
      expect(await statusOf(node.port, upgradeRequest('/v1/ws', { Host: host }))).toBe(403);
    },
  );

  it.each(['localhost', 'localhost:1234', '127.0.0.1', '[::1]:80', 'weir.test'])('answers for %s', async (host) => {
    expect(await statusOf(node.port, get('/console/', host))).toBe(200);
    expect(await statusOf(node.internalPort!, get('/v1/stats', host))).toBe(200);
    expect(await statusOf(node.port, upgradeRequest('/v1/ws', { Host: host }))).toBe(101);
  });

  it('answers health to whoever asks: balancers have names of their own', async () => {
    expect(await statusOf(node.port, get('/health/live', 'weir'))).toBe(200);
    expect(await statusOf(node.internalPort!, get('/health/ready', 'weir'))).toBe(200);
  });

  it('publishes nothing that a rebound page posts', async () => {
    const body = '{"channel":"rebound","data":1}';
    const head = `Host: evil.example\r\nX-API-Key: ${KEY}\r\nContent-Length: ${body.length}`;
    expect(await statusOf(node.internalPort!, `POST /v1/publish HTTP/1.1\r\n${head}\r\n\r\n${body}`)).toBe(403);
    await using raw = await openRawSocket(node.internalPort!);
    raw.write(get('/v1/channels/rebound', 'localhost'));
    expect(await raw.waitForText(/\}$/)).toContain('"offset":0');
  });
});

it('a production node answers for any name: its address is no secret, and its names are the operator’s', async () => {
  expect(await statusOf(production.port, get('/v1/stats', 'weir.example'))).toBe(200);
});
