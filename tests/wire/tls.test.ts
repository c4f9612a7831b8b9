// TLS at HAProxy and on the node: versions, ciphers, HTTP/1.1 only, HSTS, and WebSockets through it.
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  freePort,
  type HaproxyProcess,
  type NodeProcess,
  openRawSocket,
  openWsClient,
  startHaproxy,
  startNode,
} from '../support/index.ts';
import { type Certificate, createCertificate } from './certificate.ts';

const PASSPHRASE = 'passphrase-of-the-test';
let plain: Certificate;
let sealed: Certificate;
let secure: NodeProcess;
let behind: NodeProcess;
let haproxy: HaproxyProcess;
let ports: Readonly<Record<'the node' | 'HAProxy', number>>;

beforeAll(async () => {
  [plain, sealed] = await Promise.all([createCertificate(), createCertificate(PASSPHRASE)]);
  const passphraseFile = join(sealed.directory, 'passphrase');
  await writeFile(passphraseFile, `${PASSPHRASE}\n`);
  secure = await startNode({
    name: 'secure',
    apiKey: 'secret-of-the-secure-node-0123456789',
    internalPort: await freePort(),
    env: {
      WEIR_TLS_CERT_FILE: sealed.certFile,
      WEIR_TLS_KEY_FILE: sealed.keyFile,
      WEIR_TLS_KEY_PASSPHRASE_FILE: passphraseFile,
    },
  });
  behind = await startNode({ name: 'behind', apiKey: 'secret-of-the-node-behind-0123456789' });
  haproxy = await startHaproxy({ slots: 1, config: { tls: { certificateFile: plain.bothFile } } });
  await haproxy.setNodes([behind]);
  ports = { 'the node': secure.port, HAProxy: haproxy.port };
});
afterAll(async () => {
  await haproxy.stop();
  await Promise.all([secure.stop(), behind.stop()]);
  await Promise.all([plain[Symbol.asyncDispose](), sealed[Symbol.asyncDispose]()]);
});

const certificateOf = (way: keyof typeof ports): string => (way === 'HAProxy' ? plain : sealed).pem;

/** A TLS connection; rejects when the handshake fails. */
const handshake = (way: keyof typeof ports, options: ConnectionOptions = {}): Promise<TLSSocket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ port: ports[way], host: '127.0.0.1', ca: certificateOf(way), ...options });
    socket.once('secureConnect', () => resolve(socket));
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('closed')));
  });

const answerTo = async (socket: TLSSocket, request: string): Promise<string> => {
  socket.write(request);
  let text = '';
  for await (const chunk of socket) {
    text += String(chunk);
    if (text.includes('\r\n\r\n')) break;
  }
  return text;
};

describe.each(['the node', 'HAProxy'] as const)('TLS at %s', (way) => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)('speaks %s, with a certificate that verifies', async (version) => {
    const socket = await handshake(way, { minVersion: version, maxVersion: version });
    expect(socket.authorized).toBe(true);
    expect(socket.getProtocol()).toBe(version);
    expect(socket.getCipher().standardName).toMatch(/GCM|CHACHA20/);
    socket.destroy();
  });

  it.each(['TLSv1', 'TLSv1.1'] as const)('does not speak %s', async (version) => {
    const old = { minVersion: version, maxVersion: version, ciphers: 'ALL:@SECLEVEL=0' } as const;
    await expect(handshake(way, old)).rejects.toThrow();
  });

  it.each(['AES128-SHA', 'AES128-GCM-SHA256', 'ECDHE-RSA-AES128-SHA'])('has no %s', async (ciphers) => {
    await expect(handshake(way, { maxVersion: 'TLSv1.2', ciphers: `${ciphers}:@SECLEVEL=0` })).rejects.toThrow();
  });

  it('agrees to nothing but HTTP/1.1, where WebSockets are an upgrade', async () => {
    const socket = await handshake(way, { ALPNProtocols: ['h2', 'http/1.1'] });
    expect(socket.alpnProtocol === false ? 'none' : socket.alpnProtocol).not.toBe('h2');
    expect(await answerTo(socket, 'GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n')).toMatch(/^HTTP\/1\.1 200 /);
  });

  it.each(['/health/live', '/v1/ws', '/nothing'])('tells browsers at %s to come by TLS only', async (path) => {
    const socket = await handshake(way);
    const answer = await answerTo(socket, `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    expect(answer).toMatch(/\r\nstrict-transport-security: max-age=63072000\r\n/i);
  });

  it('carries WebSockets', async () => {
    const url = `wss://localhost:${ports[way]}/v1/ws`;
    await using client = await openWsClient(url, { ws: { ca: certificateOf(way), family: 4 } });
    const other = await openWsClient(url, { ws: { ca: certificateOf(way), family: 4 } });
    await client.expect('subscribe', { channel: 'by-tls' });
    const data = 'x'.repeat(30_000);
    await other.expect('publish', { channel: 'by-tls', data });
    expect((await client.waitForMessages(1))[0]).toMatchObject({ data });
    await other.close();
  });

  it('answers plain HTTP with nothing of value', async () => {
    await using raw = await openRawSocket(ports[way]);
    raw.write('GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n');
    expect(await raw.waitForEnd()).not.toMatch(/200/);
  });
});

it('the second listener of a node with TLS stays plain, for the private network', async () => {
  const answer = await fetch(`http://127.0.0.1:${secure.internalPort}/health/ready`);
  expect([answer.status, answer.headers.get('strict-transport-security')]).toEqual([200, null]);
});
