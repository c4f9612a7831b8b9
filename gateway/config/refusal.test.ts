import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadConfig, type ConfigResult, type ConfigSources } from '../config.ts';
import { configKeys } from './keys.ts';
import { envNameOf } from './words.ts';

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
    memoryLimitBytes: 2 ** 33,
    ...more,
  });
const loadFile = (yaml: string, env: Record<string, string> = {}): ConfigResult =>
  load({ WEIR_CONFIG: 'weir.yaml', ...env }, { readFile: (path) => (path === 'weir.yaml' ? yaml : missing(path)) });

const problemsOf = (result: ConfigResult): readonly string[] => (result.kind === 'invalid' ? result.problems : []);
describe('loadConfig, refusing', () => {
  it.each<[name: string, value: string, problem: string]>([
    ['WEIR_PORT', 'abc', 'WEIR_PORT: expected an integer 0–65535, got "abc"'],
    ['WEIR_PORT', '65536', 'WEIR_PORT: expected an integer 0–65535, got "65536"'],
    ['WEIR_PORT', '-1', 'WEIR_PORT: expected an integer 0–65535, got "-1"'],
    ['WEIR_PORT', '80.5', 'WEIR_PORT: expected an integer 0–65535, got "80.5"'],
    ['WEIR_PROFILE', 'staging', 'WEIR_PROFILE: expected development or production, got "staging"'],
    ['WEIR_ANONYMOUS', 'maybe', 'WEIR_ANONYMOUS: expected true or false, got "maybe"'],
    ['WEIR_HOST', 'a b', 'WEIR_HOST: expected a host name or IP address, got "a b"'],
    [
      'WEIR_TRUSTED_PROXIES',
      '10.0.0.0/8,proxy',
      'WEIR_TRUSTED_PROXIES: expected IP addresses or networks such as 10.0.0.0/8, got "10.0.0.0/8,proxy"',
    ],
    [
      'WEIR_ADVERTISE_ADDRESS',
      'node.internal',
      'WEIR_ADVERTISE_ADDRESS: expected an IP address, or a network such as 10.0.0.0/8, got "node.internal"',
    ],
    ['WEIR_ADVERTISE_ADDRESS', '240.0.0.0/8', 'WEIR_ADVERTISE_ADDRESS: no address of this machine lies in 240.0.0.0/8'],
    ['WEIR_AGENT_CHECK_PORT', '8080', 'WEIR_AGENT_CHECK_PORT: is the same as another port of the node (8080)'],
    ['WEIR_JWKS_URL', 'ftp://x', 'WEIR_JWKS_URL: expected an http:// or https:// URL, got a value that is not shown'],
  ])('%s=%s', (name, value, problem) => {
    expect(problemsOf(load({ [name]: value }))).toEqual([problem]);
  });

  it.each<[name: string, value: string]>([
    ['WEIR_MAX_FRAME_BYTES', '64 parsecs'],
    ['WEIR_MAX_FRAME_BYTES', '1023'],
    ['WEIR_MAX_FRAME_BYTES', '17MiB'],
    ['WEIR_MAX_FRAME_BYTES', '64constructor'],
    ['WEIR_PING_INTERVAL_MS', '-5s'],
    ['WEIR_PING_INTERVAL_MS', '2 fortnights'],
    ['WEIR_PING_INTERVAL_MS', '2y'],
    ['WEIR_ALLOWED_ORIGINS', 'https://example.com/path'],
    ['WEIR_REDIS_PREFIX', 'we{ir}'],
    ['WEIR_NODE_NAME', 'nöde'],
    ['WEIR_LOG_LEVEL', 'verbose'],
    ['WEIR_JWT_PUBLIC_KEY_FILE', 'missing.pem'],
  ])('%s=%s with one line that names it', (name, value) => {
    expect(problemsOf(load({ [name]: value }))).toEqual([expect.stringMatching(new RegExp(`^${name}: expected `))]);
  });

  it('an unknown variable, naming the nearest key', () => {
    expect(problemsOf(load({ WEIR_PROT: '1', WEIR_MAX_CONECTIONS: '5', WEIR_XYZZY: '1' }))).toEqual([
      'WEIR_PROT: unknown key; did you mean WEIR_PORT?',
      'WEIR_MAX_CONECTIONS: unknown key; did you mean WEIR_MAX_CONNECTIONS?',
      'WEIR_XYZZY: unknown key',
    ]);
  });

  it('the variables Kubernetes injects for a Service named weir, saying so', () => {
    const problems = problemsOf(load({ WEIR_PORT: 'tcp://10.0.0.1:8080', WEIR_SERVICE_HOST: '10.0.0.1' }));
    expect(problems).toHaveLength(2);
    for (const problem of problems) expect(problem).toMatch(/enableServiceLinks: false/);
  });

  it('an unknown argument', () => {
    expect(problemsOf(load({}, { argv: ['--chek-config'] }))).toEqual([
      'unknown argument "--chek-config"; known: --check-config, --print-config',
    ]);
  });

  it('everything at once, one line per problem', () => {
    const result = load({ WEIR_PORT: 'x', WEIR_LOG_LEVEL: 'y', WEIR_NOPE_AT_ALL: '1' }, { argv: ['--what'] });
    expect(problemsOf(result)).toHaveLength(4);
    for (const problem of problemsOf(result)) expect(problem).not.toMatch(/\n/);
  });

  it('also when it shall only check or print', () => {
    expect(load({ WEIR_PORT: 'x' }, { argv: ['--check-config'] }).kind).toBe('invalid');
    expect(load({ WEIR_PORT: 'x' }, { argv: ['--print-config'] }).kind).toBe('invalid');
  });

  it('a file that is missing, is no YAML or holds no mapping', () => {
    expect(problemsOf(load({ WEIR_CONFIG: 'gone.yaml' }))).toEqual([
      expect.stringMatching(/^WEIR_CONFIG: cannot read "gone.yaml": ENOENT/),
    ]);
    expect(problemsOf(loadFile('a: [1'))).toEqual([expect.stringMatching(/^weir\.yaml: not valid YAML: /)]);
    expect(problemsOf(loadFile('port: 1\nport: 2'))).toEqual([
      expect.stringMatching(/^weir\.yaml: not valid YAML: .*unique/),
    ]);
    expect(problemsOf(loadFile('- port'))).toEqual(['weir.yaml: expected a mapping of keys']);
  });

  it('unknown keys of the file where they stand, naming the nearest', () => {
    expect(problemsOf(loadFile('redis: { urll: x }\nprot: 1\nhstory: 3\n__proto__: { port: 1 }'))).toEqual([
      'weir.yaml: redis.urll: unknown key; did you mean redisUrl?',
      'weir.yaml: prot: unknown key; did you mean port?',
      'weir.yaml: hstory: unknown key',
      'weir.yaml: __proto__: unknown key',
    ]);
  });

  it('wrong types in the file', () => {
    expect(problemsOf(loadFile('port: { a: 1 }\nnode: { name: 5 }\nallowedOrigins: [1]\nanonymous: [yes]'))).toEqual([
      'weir.yaml: port: expected an integer 0–65535, got a mapping',
      'weir.yaml: node.name: expected 1–100 characters of A-Za-z0-9_.-, got 5',
      'weir.yaml: allowedOrigins: expected origins such as https://*.example.com or http://localhost:*, or *, got [1]',
      'weir.yaml: anonymous: expected true or false, got ["yes"]',
    ]);
  });

  it('the same key written twice in different nesting', () => {
    expect(problemsOf(loadFile('max: { frameBytes: 2048 }\nmax_frame_bytes: 4096'))).toEqual([
      'weir.yaml: max_frame_bytes: given twice, first as weir.yaml: max.frameBytes',
    ]);
  });

  it.each<[env: Record<string, string>, problem: RegExp]>([
    [{ WEIR_PORT: '9000', WEIR_INTERNAL_PORT: '9000' }, /^WEIR_INTERNAL_PORT: is the same as port \(9000\)/],
    [{ WEIR_REDIS_URL: 'redis://r' }, /^WEIR_REDIS_URL: is set, but broker is memory/],
    [{ WEIR_REDIS_PREFIX: 'x' }, /^WEIR_REDIS_PREFIX: is set, but broker is memory/],
    [{ WEIR_REDIS_MIN_REPLICAS: '1' }, /^WEIR_REDIS_MIN_REPLICAS: is set, but broker is memory/],
    [
      { WEIR_MEMORY_BUDGET_BYTES: '1MiB', WEIR_MAX_BODY_BYTES: '2MiB' },
      /^WEIR_MEMORY_BUDGET_BYTES: is smaller than one outbox or body/,
    ],
    [
      { WEIR_MAX_OUTBOX_BYTES: '64KiB', WEIR_MAX_FRAME_BYTES: '65KiB' },
      /^WEIR_MAX_OUTBOX_BYTES: is smaller than one frame/,
    ],
    [{ WEIR_JWT_AUDIENCE: 'weir' }, /^WEIR_JWT_AUDIENCE: is set, but no token can be verified/],
    [{ WEIR_JWT_ISSUER: 'me' }, /^WEIR_JWT_ISSUER: is set, but no token can be verified/],
    [
      { WEIR_API_KEYS: `a=weir-dev-${'r'.repeat(32)}` },
      /^WEIR_API_KEYS: the secret of key a is a generated development secret/,
    ],
    [{ WEIR_API_KEYS: 'a=changeme' }, /^WEIR_API_KEYS: the secret of key a is a well-known placeholder/],
    [{ WEIR_API_KEYS: 'a=short' }, /^WEIR_API_KEYS: the secret of key a is shorter than 16 bytes/],
    [{ WEIR_JWT_SECRET: `weir-dev-${'r'.repeat(32)}` }, /^WEIR_JWT_SECRET: is a generated development secret/],
    [{ WEIR_JWT_SECRET: 'x'.repeat(31) }, /^WEIR_JWT_SECRET: is shorter than 32 bytes/],
    [
      { WEIR_JWT_SECRET: '-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE' },
      /^WEIR_JWT_SECRET: is a key in PEM form/,
    ],
    [
      { WEIR_PROFILE: 'development', WEIR_JWT_SECRET: ' -----BEGIN RSA PRIVATE KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0' },
      /^WEIR_JWT_SECRET: is a key in PEM form/,
    ],
  ])('the impossible combination %j', (env, problem) => {
    expect(problemsOf(load(env))).toEqual([expect.stringMatching(problem)]);
  });

  it('without ever showing a secret', () => {
    const result = load({
      WEIR_API_KEYS: 'a=HUSHHUSH:fly',
      WEIR_JWT_SECRET: 'HUSH'.repeat(2000),
      WEIR_REDIS_URL: 'http://user:HUSHHUSH@redis',
      WEIR_JWKS_URL: 'HUSHHUSH',
    });
    expect(problemsOf(result)).toHaveLength(4);
    expect(problemsOf(result).join('\n')).not.toMatch(/HUSH/);
  });
});

describe('loadConfig, never throwing', () => {
  const names = [...Object.keys(configKeys).map(envNameOf), 'WEIR_CONFIG', 'WEIR_NOPE'];
  const values = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom(
      '0',
      '-1',
      '1e400',
      '9'.repeat(30),
      'Infinity',
      '10m',
      '64KiB',
      'true',
      'redis',
      'redis://',
      '__proto__',
      ',',
    ),
  );

  it('whatever the variables hold', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.oneof(fc.constantFrom(...names), fc.string()), values), (env) => {
        expect(['ok', 'invalid']).toContain(load(env).kind);
      }),
      { numRuns: 500 },
    );
  });

  it('whatever a single key holds', () => {
    fc.assert(
      fc.property(fc.constantFrom(...names), values, (name, value) => {
        expect(['ok', 'invalid']).toContain(load({ [name]: value }).kind);
      }),
      { numRuns: 1000 },
    );
  });

  it('whatever the file holds', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.json().map((json) => `namespaces: { a: ${json} }`),
        ),
        (yaml) => {
          expect(['ok', 'invalid']).toContain(loadFile(yaml).kind);
        },
      ),
      { numRuns: 500 },
    );
  });

  it.each([
    ['nested too deeply', '['.repeat(20_000)],
    ['referring to itself', 'allowedOrigins: &a [*a]'],
    [
      'multiplying itself',
      `a: &a [x,x]\n${Array.from({ length: 30 }, (_, i) => `b${i}: &b${i} [*${i === 0 ? 'a' : `b${i - 1}`},*${i === 0 ? 'a' : `b${i - 1}`}]`).join('\n')}`,
    ],
  ])('for a file %s', (_, yaml) => {
    expect(loadFile(yaml).kind).toBe('invalid');
  });
});
