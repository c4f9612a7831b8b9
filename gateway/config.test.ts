import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createApiKeys } from './access/api-keys.ts';
import { loadConfig, namespaceOfChannel, type Config, type ConfigResult, type ConfigSources } from './config.ts';

const GiB = 1024 ** 3;
const missing = (path: string): string => {
  throw new Error(`ENOENT: no such file or directory, open '${path}'`);
};
const load = (env: Record<string, string | undefined>, more: Partial<ConfigSources> = {}): ConfigResult =>
  loadConfig({
    argv: [],
    env,
    readFile: missing,
    hostname: 'host1',
    randomId: (length) => 'r'.repeat(length),
    memoryLimitBytes: 8 * GiB,
    ...more,
  });
const loadFile = (yaml: string, env: Record<string, string> = {}): ConfigResult =>
  load({ WEIR_CONFIG: 'weir.yaml', ...env }, { readFile: (path) => (path === 'weir.yaml' ? yaml : missing(path)) });

const problemsOf = (result: ConfigResult): readonly string[] => (result.kind === 'invalid' ? result.problems : []);
const configOf = (result: ConfigResult): Config => {
  if (result.kind !== 'ok') throw new Error(`not a configuration: ${JSON.stringify(result)}`);
  return result.config;
};

describe('loadConfig', () => {
  it('needs nothing in production and opens nothing there', () => {
    const result = load({});
    expect(result).toMatchObject({ kind: 'ok', generated: {} });
    expect(configOf(result)).toMatchObject({
      profile: 'production',
      host: '0.0.0.0',
      port: 8080,
      internalPort: undefined,
      nodeName: 'host1-rrrr',
      broker: 'memory',
      redisUrl: 'redis://127.0.0.1:6379',
      apiKeys: [],
      jwtSecret: undefined,
      allowedOrigins: [],
      anonymous: false,
      memoryBudgetBytes: 4 * GiB,
      logFormat: 'json',
    });
    expect(namespaceOfChannel(configOf(result), 'news')).toMatchObject({
      subscribe: 'nobody',
      publish: 'nobody',
      historyAccess: 'nobody',
    });
  });

  it('opens a development node to this machine and generates its secrets', () => {
    const result = load({ WEIR_PROFILE: 'development' });
    const config = configOf(result);
    expect(config).toMatchObject({ host: '127.0.0.1', anonymous: true, logFormat: 'pretty' });
    expect(namespaceOfChannel(config, 'news')).toMatchObject({
      subscribe: 'everyone',
      publish: 'everyone',
      historyAccess: 'everyone',
    });
    const generated = result.kind === 'ok' ? result.generated : {};
    expect(generated.jwtSecret).toBe(config.jwtSecret);
    expect(createApiKeys(config.apiKeys).authenticate(generated.apiKey)?.may('manage', 'news')).toBe(true);
  });

  it('generates secrets that production refuses', () => {
    const result = load({ WEIR_PROFILE: 'development' }, { randomId: (length) => 'k'.repeat(length) });
    const { apiKey = '', jwtSecret = '' } = result.kind === 'ok' ? result.generated : {};
    expect(problemsOf(load({ WEIR_API_KEYS: `a=${apiKey}`, WEIR_JWT_SECRET: jwtSecret }))).toHaveLength(2);
  });

  it('generates different secrets each time when nothing is injected', () => {
    const secrets = [1, 2].map(() => {
      const result = loadConfig({ argv: [], env: { WEIR_PROFILE: 'development' } });
      return result.kind === 'ok' ? result.generated : {};
    });
    expect(secrets[0]?.apiKey).toMatch(/^weir-dev-[a-z0-9]{32}$/);
    expect(new Set(secrets.flatMap(({ apiKey, jwtSecret }) => [apiKey, jwtSecret])).size).toBe(4);
  });

  it('generates nothing a development node was given', () => {
    const result = load({ WEIR_PROFILE: 'development', WEIR_API_KEYS: 'a=b', WEIR_JWKS_URL: 'http://localhost/jwks' });
    expect(result).toMatchObject({ kind: 'ok', generated: {} });
    expect(configOf(result)).toMatchObject({ apiKeys: [{ name: 'a' }], jwtSecret: undefined });
  });

  it('reads every written form', () => {
    expect(
      configOf(
        load({
          WEIR_PORT: ' 9000 ',
          WEIR_MAX_FRAME_BYTES: '128KiB',
          WEIR_MAX_BODY_BYTES: '2MB',
          WEIR_MEMORY_BUDGET_BYTES: '1.5 GiB',
          WEIR_PING_INTERVAL_MS: '10s',
          WEIR_DRAIN_TIMEOUT_MS: '1m',
          WEIR_PUBLISH_TIMEOUT_MS: '1500',
          WEIR_ANONYMOUS: 'TRUE',
          WEIR_ALLOWED_ORIGINS: 'https://a.com, https://*.b.com,',
          WEIR_TRUSTED_PROXIES: '10.0.0.0/8,::1',
          WEIR_LOG_LEVEL: 'debug',
        }),
      ),
    ).toMatchObject({
      port: 9000,
      maxFrameBytes: 131_072,
      maxBodyBytes: 2_000_000,
      memoryBudgetBytes: 1_610_612_736,
      pingIntervalMs: 10_000,
      drainTimeoutMs: 60_000,
      publishTimeoutMs: 1500,
      anonymous: true,
      allowedOrigins: ['https://a.com', 'https://*.b.com'],
      trustedProxies: ['10.0.0.0/8', '::1'],
      logLevel: 'debug',
    });
  });

  it('takes an empty variable and an empty key of the file for not set', () => {
    expect(configOf(load({ WEIR_PORT: '', WEIR_API_KEYS: ' ', WEIR_CONFIG: '' }))).toMatchObject({
      port: 8080,
      apiKeys: [],
    });
    expect(configOf(loadFile('port:\nredis:\nnamespaces:\n'))).toMatchObject({ port: 8080 });
    expect(configOf(loadFile(''))).toMatchObject({ port: 8080 });
  });

  it('lets variables of others be', () => {
    expect(load({ PATH: '/bin', WEIRD: '1', weir_port: 'x' }).kind).toBe('ok');
  });

  it.each(['redisUrl: redis://r', 'redis_url: redis://r', 'redis: { url: redis://r }', 'redis-url: redis://r'])(
    'reads the key of the file in the nesting %s',
    (yaml) => {
      expect(configOf(loadFile(`broker: redis\n${yaml}`)).redisUrl).toBe('redis://r');
    },
  );

  it('reads a deeper nesting and the list of API keys from the file', () => {
    const yaml = `
max: { outbox: { bytes: 2MiB }, connections: 10 }
jwt: { public: { keyFile: key.pem } }
api: { keys: [{ name: a, secret: 'a-secret,with:all', scopes: [publish], channels: ['price:*'] }] }`;
    const pem = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      .publicKey.export({ type: 'spki', format: 'pem' })
      .toString();
    const result = load({ WEIR_CONFIG: 'weir.yaml' }, { readFile: (path) => (path === 'key.pem' ? pem : yaml) });
    expect(configOf(result)).toMatchObject({
      maxOutboxBytes: 2_097_152,
      maxConnections: 10,
      jwtPublicKeyFile: 'key.pem',
    });
    const key = createApiKeys(configOf(result).apiKeys).authenticate('a-secret,with:all');
    expect(key?.may('publish', 'price:1')).toBe(true);
    expect(key?.may('publish', 'news')).toBe(false);
  });

  it('lets the environment win over the file', () => {
    expect(configOf(loadFile('port: 1\nmaxConnections: 7', { WEIR_PORT: '2' }))).toMatchObject({
      port: 2,
      maxConnections: 7,
    });
  });

  it('lets both ports be any free one', () => {
    expect(configOf(load({ WEIR_PORT: '0', WEIR_INTERNAL_PORT: '0' }))).toMatchObject({ port: 0, internalPort: 0 });
  });

  it('makes a legal node name of any host name', () => {
    const legal = /^[A-Za-z0-9_.-]{1,100}$/;
    fc.assert(
      fc.property(fc.string(), (hostname) => {
        expect(configOf(load({}, { hostname })).nodeName).toMatch(legal);
      }),
    );
  });

  it('only checks with --check-config', () => {
    expect(load({}, { argv: ['--check-config'] })).toEqual({ kind: 'check-ok' });
  });

  it('prints with --print-config what applies, as a file without secrets', () => {
    const env = {
      WEIR_BROKER: 'redis',
      WEIR_REDIS_URL: 'redis://user:HUSHHUSH@redis:6379/1',
      WEIR_API_KEYS: 'backend=HUSHHUSHHUSHHUSH:publish',
      WEIR_JWT_SECRET: 'HUSH'.repeat(10),
    };
    const result = load(env, { argv: ['--print-config'] });
    const text = result.kind === 'print' ? result.text : '';
    expect(text).not.toMatch(/HUSH/i);
    expect(text).toContain('redisUrl: redis://user:***@redis:6379/1');
    expect(text).toContain('jwtSecret: "***"');
    expect(text).toContain('name: backend');
    expect(text).not.toContain(configOf(load(env)).apiKeys[0]!.sha256);
  });

  it('prints a file that loads to the same configuration, secrets aside', () => {
    const printed = load(
      { WEIR_PORT: '9000', WEIR_ALLOWED_ORIGINS: 'localhost:*,*', WEIR_ALLOW_ANY_ORIGIN: 'true' },
      { argv: ['--print-config'] },
    );
    const text = (printed.kind === 'print' ? printed.text : '').replace(/^redis(Url|Prefix).*\n/gm, '');
    const again = configOf(loadFile(text));
    expect(
      configOf(load({ WEIR_PORT: '9000', WEIR_ALLOWED_ORIGINS: 'localhost:*,*', WEIR_ALLOW_ANY_ORIGIN: 'true' })),
    ).toMatchObject(again);
  });
});
