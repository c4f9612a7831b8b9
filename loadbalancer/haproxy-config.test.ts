import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { withSystemFolders } from './cluster/process.ts';
import { temporaryDirectory } from './cluster/temporary-directory.ts';
import { renderHaproxyConfig } from './haproxy-config.ts';
import { BALANCE_PROFILES, connectionLimit, type HaproxyOptions } from './haproxy-options.ts';

const run = promisify(execFile);

const base: HaproxyOptions = {
  nodes: { kind: 'runtime', slots: 4 },
  runtimeSocket: '/run/weir/admin.sock',
  publicBind: '127.0.0.1:18080',
  internalBind: '127.0.0.1:18081',
  statsBind: '127.0.0.1:18404',
  maxConnections: 1_000,
};

/** Asks HAProxy itself. Warnings are failures too: `-dW` turns them into errors. */
async function haproxyAccepts(options: HaproxyOptions, files: Record<string, string> = {}): Promise<string> {
  const directory = await temporaryDirectory('config-test');
  try {
    for (const [name, content] of Object.entries(files)) await writeFile(join(directory.path, name), content);
    const file = join(directory.path, 'haproxy.cfg');
    await writeFile(file, renderHaproxyConfig(options).replaceAll('{dir}', directory.path));
    const { stdout, stderr } = await run('haproxy', ['-c', '-dW', '-f', file], { env: withSystemFolders(process.env) });
    return stdout + stderr;
  } finally {
    await directory.remove();
  }
}

describe('options that cannot be rendered', () => {
  it.each<[string, Partial<HaproxyOptions>, string]>([
    ['a bind with white space', { publicBind: '*:80 ssl' }, 'publicBind'],
    ['a socket path longer than unix sockets allow', { runtimeSocket: `/${'a'.repeat(90)}` }, 'runtimeSocket'],
    ['an extra path that opens everything', { extraPublicPaths: ['/'] }, 'extraPublicPaths'],
    ['an extra path without a slash', { extraPublicPaths: ['metrics'] }, 'extraPublicPaths'],
    ['an extra path with a variable', { extraPublicPaths: ['/$HOME'] }, 'extraPublicPaths[0]'],
    ['no connections', { maxConnections: 0 }, 'maxConnections'],
    ['half a thread', { threads: 0.5 }, 'threads'],
    ['no slots', { nodes: { kind: 'runtime', slots: 0 } }, 'slots'],
    [
      'a node name with a line break',
      { nodes: { kind: 'static', nodes: [{ name: 'a\nb', host: 'h', port: 1 }] } },
      'nodes[0].name',
    ],
  ])('%s is refused by name', (_, wrong, field) => {
    expect(() => renderHaproxyConfig({ ...base, ...wrong })).toThrow(field);
  });
});

describe('HAProxy accepts, without a warning,', () => {
  it.each(BALANCE_PROFILES)('the balance profile %s', async (balance) => {
    expect(await haproxyAccepts({ ...base, balance })).toContain('valid');
  });

  it.each<[string, Partial<HaproxyOptions>]>([
    [
      'nodes from a name server',
      {
        nodes: {
          kind: 'dns',
          slots: 8,
          host: 'node.internal',
          port: 8080,
          internalPort: 8081,
          nameserver: '127.0.0.1:53',
        },
      },
    ],
    [
      'nodes from the name servers of the machine',
      { nodes: { kind: 'dns', slots: 8, host: 'node.internal', port: 8080, nameserver: 'resolv.conf' } },
    ],
    [
      'a fixed list of nodes',
      {
        nodes: {
          kind: 'static',
          nodes: [
            { name: 'a', host: '127.0.0.1', port: 1 },
            { name: 'b', host: '127.0.0.1', port: 2, internalPort: 3 },
          ],
        },
      },
    ],
    ['small socket buffers and one thread', { socketBufferBytes: 16_384, threads: 1 }],
    ['limits per node and none per source', { maxConnectionsPerNode: 500, perSource: 'off' }],
    ['own limits per source', { perSource: { maxConnections: 10, maxConnectionsPer10s: 20 } }],
    ['further public paths', { extraPublicPaths: ['/app/', '/sockjs/'] }],
    ['no slowstart and a longer ping interval', { slowstartMs: 0, pingIntervalMs: 60_000, checkIntervalMs: 250 }],
  ])('%s', async (_, options) => {
    expect(await haproxyAccepts({ ...base, ...options })).toContain('valid');
  });

  it('TLS with a certificate file', async () => {
    const directory = await temporaryDirectory('certificate-test');
    try {
      const [key, certificate] = [join(directory.path, 'key.pem'), join(directory.path, 'cert.pem')];
      const subject = ['-subj', '/CN=localhost', '-days', '1'];
      await run('openssl', [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-keyout',
        key,
        '-out',
        certificate,
        ...subject,
      ]);
      const { stdout } = await run('cat', [certificate, key]);
      const options: HaproxyOptions = { ...base, tls: { certificateFile: '{dir}/site.pem' } };
      expect(await haproxyAccepts(options, { 'site.pem': stdout })).toContain('valid');
    } finally {
      await directory.remove();
    }
  });
});

describe('the configuration', () => {
  const config = renderHaproxyConfig(base);

  it('keeps a silent WebSocket for several ping intervals', () => {
    expect(config).toContain('timeout tunnel 125000ms');
    expect(renderHaproxyConfig({ ...base, pingIntervalMs: 10_000 })).toContain('timeout tunnel 50000ms');
  });

  it('asks for health in HTTP/1.1 and takes 404 for a drain', () => {
    expect(config).toContain('http-check send meth GET uri /health/accepting ver HTTP/1.1 hdr Host weir');
    expect(config).toContain('http-check disable-on-404');
  });

  it('limits connections per source unless told not to', () => {
    expect(config).toContain('sc0_conn_cur gt 10000');
    expect(renderHaproxyConfig({ ...base, perSource: 'off' })).not.toContain('stick-table');
  });

  it('fits two descriptors per connection into the limit of open files', () => {
    expect(connectionLimit(20_000, 16)).toBe(9_884);
    expect(connectionLimit(10, 16)).toBe(1);
  });
});
