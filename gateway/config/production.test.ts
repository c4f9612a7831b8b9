// What production refuses unless its own key says that it is meant, secrets from files, and TLS files that do not fit.
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Config, type ConfigResult, loadConfig } from '../config.ts';

const load = (
  env: Readonly<Record<string, string>>,
  files: Readonly<Record<string, string>> = {},
  argv: readonly string[] = [],
): ConfigResult =>
  loadConfig({
    argv,
    env,
    readFile: (path) => {
      const text = files[path];
      if (text === undefined) throw Object.assign(new Error(`no such file, open '${path}'`), { code: 'ENOENT' });
      return text;
    },
  });
const problemsOf = (result: ConfigResult): readonly string[] => (result.kind === 'invalid' ? result.problems : []);
const configOf = (result: ConfigResult): Config => {
  if (result.kind !== 'ok') throw new Error(`not a configuration: ${JSON.stringify(result)}`);
  return result.config;
};

describe('production', () => {
  const open = 'namespaces: { default: { publish: nobody }, chat: { subscribe: everyone, publish: everyone } }';
  const shared = 'namespaces: { cursor: { subscribe: everyone, publish: subscribers } }';
  const closed = 'namespaces: { cursor: { subscribe: authenticated, publish: subscribers } }';

  it.each<[name: string, env: Record<string, string>, yaml: string, problem: RegExp, key: string]>([
    [
      'a development API key',
      { WEIR_API_KEYS: 'a=weir-dev-abc' },
      '',
      /^WEIR_API_KEYS: .*development/,
      'ALLOW_WEAK_SECRETS',
    ],
    [
      'a development token secret',
      { WEIR_JWT_SECRET: `weir-dev-${'r'.repeat(32)}` },
      '',
      /^WEIR_JWT_SECRET: is a generated development secret/,
      'ALLOW_WEAK_SECRETS',
    ],
    [
      'anonymous publish',
      { WEIR_ANONYMOUS: 'true' },
      open,
      /^WEIR_ANONYMOUS: .*namespace chat/,
      'ALLOW_ANONYMOUS_PUBLISH',
    ],
    [
      'publish by anonymous subscribers',
      { WEIR_ANONYMOUS: 'true' },
      shared,
      /namespace cursor/,
      'ALLOW_ANONYMOUS_PUBLISH',
    ],
    ['any origin', { WEIR_ALLOWED_ORIGINS: '*' }, '', /^WEIR_ALLOWED_ORIGINS: "\*" lets/, 'ALLOW_ANY_ORIGIN'],
    ['any host of a scheme', { WEIR_ALLOWED_ORIGINS: 'https://*' }, '', /"https:\/\/\*" lets/, 'ALLOW_ANY_ORIGIN'],
    [
      'any name below a top-level name',
      { WEIR_ALLOWED_ORIGINS: 'https://*.com' },
      '',
      /"https:\/\/\*\.com"/,
      'ALLOW_ANY_ORIGIN',
    ],
  ])('does not start with %s, unless its own key says so', (_, env, yaml, problem, key) => {
    const given = { ...env, WEIR_CONFIG: 'weir.yaml' };
    const files = { 'weir.yaml': yaml };
    expect(problemsOf(load(given, files))).toEqual([expect.stringMatching(problem)]);
    expect(load({ ...given, [`WEIR_${key}`]: 'true' }, files).kind).toBe('ok');
    expect(load({ ...given, WEIR_PROFILE: 'development' }, files).kind).toBe('ok');
    const others = ['ALLOW_WEAK_SECRETS', 'ALLOW_ANONYMOUS_PUBLISH', 'ALLOW_ANY_ORIGIN'].filter(
      (other) => other !== key,
    );
    const wrongKeys = Object.fromEntries(others.map((other) => [`WEIR_${other}`, 'true']));
    expect(problemsOf(load({ ...given, ...wrongKeys }, files))).toHaveLength(1);
  });

  it('says all of it at once, one line each', () => {
    const env = {
      WEIR_CONFIG: 'weir.yaml',
      WEIR_API_KEYS: 'a=changeme,b=weir-dev-x',
      WEIR_ANONYMOUS: 'true',
      WEIR_ALLOWED_ORIGINS: '*,https://*',
    };
    expect(problemsOf(load(env, { 'weir.yaml': open }))).toHaveLength(5);
  });

  it.each<[Record<string, string>, string]>([
    [{ WEIR_ANONYMOUS: 'true' }, ''],
    [{ WEIR_ANONYMOUS: 'true' }, closed],
    [{ WEIR_ANONYMOUS: 'false' }, open],
    [{ WEIR_ALLOWED_ORIGINS: 'https://*.example.com,https://app-*.example.org' }, ''],
  ])('starts with %j', (env, yaml) => {
    expect(load({ ...env, WEIR_CONFIG: 'weir.yaml' }, { 'weir.yaml': yaml }).kind).toBe('ok');
  });
});

describe('a secret in a file', () => {
  const secret = 'HUSH'.repeat(12);

  it('is read from where WEIR_…_FILE points, for every secret key', () => {
    const config = configOf(
      load(
        {
          WEIR_BROKER: 'redis',
          WEIR_REDIS_URL_FILE: 'redis',
          WEIR_API_KEYS_FILE: 'keys',
          WEIR_JWT_SECRET_FILE: 'jwt',
          WEIR_JWKS_URL_FILE: 'jwks',
        },
        { redis: 'redis://:pass@r:1\n', keys: `a=${secret}:read\n`, jwt: `${secret}\r\n`, jwks: 'https://issuer/keys' },
      ),
    );
    expect(config).toMatchObject({ redisUrl: 'redis://:pass@r:1', jwtSecret: secret, jwksUrl: 'https://issuer/keys' });
    expect(config.apiKeys).toMatchObject([{ name: 'a', scopes: ['read'] }]);
  });

  it('keeps white space that belongs to it', () => {
    const file = `  ${secret} \n`;
    expect(configOf(load({ WEIR_JWT_SECRET_FILE: 'jwt' }, { jwt: file })).jwtSecret).toBe(`  ${secret} `);
  });

  it('that is missing, empty, or given twice is one line each, without the secret', () => {
    const problems = problemsOf(
      load(
        {
          WEIR_API_KEYS_FILE: 'gone',
          WEIR_JWT_SECRET_FILE: 'empty',
          WEIR_JWKS_URL_FILE: 'jwks',
          WEIR_JWKS_URL: 'https://issuer/keys',
        },
        { empty: ' \n', jwks: `https://${secret}` },
      ),
    );
    expect(problems).toEqual([
      'WEIR_API_KEYS_FILE: cannot read "gone": ENOENT',
      'WEIR_JWT_SECRET_FILE: "empty" is empty',
      'WEIR_JWKS_URL_FILE: WEIR_JWKS_URL is set as well; set one of them',
    ]);
  });

  it('that is wrong names the variable of the file, not what is in it', () => {
    const problems = problemsOf(
      load({ WEIR_API_KEYS_FILE: 'keys', WEIR_JWKS_URL_FILE: 'jwks' }, { keys: `a=${secret}:fly`, jwks: secret }),
    );
    expect(problems).toEqual([
      expect.stringMatching(/^WEIR_API_KEYS_FILE: key a: /),
      'WEIR_JWKS_URL_FILE: expected an http:// or https:// URL, got a value that is not shown',
    ]);
    expect(problems.join()).not.toContain('HUSH');
  });

  it('wins over the configuration file, and is not shown', () => {
    const env = { WEIR_CONFIG: 'weir.yaml', WEIR_JWT_SECRET_FILE: 'jwt' };
    const files = { 'weir.yaml': `jwtSecret: ${'other'.repeat(9)}`, jwt: secret };
    expect(configOf(load(env, files)).jwtSecret).toBe(secret);
    const printed = load(env, files, ['--print-config']);
    expect(printed).toMatchObject({ kind: 'print', text: expect.stringContaining('jwtSecret: "***"') as string });
    expect(JSON.stringify(printed)).not.toContain('HUSH');
  });

  it('does not exist for keys that hold no secret', () => {
    expect(problemsOf(load({ WEIR_PORT_FILE: 'port' }, { port: '1' }))).toEqual([
      expect.stringMatching(/^WEIR_PORT_FILE: unknown key/),
    ]);
  });
});

describe('TLS files', () => {
  const passphrase = 'HUSHHUSH';
  const directory = mkdtempSync(join(tmpdir(), 'weir-tls-'));
  const files: Record<string, string> = {};
  beforeAll(() => {
    const key = join(directory, 'key.pem');
    const cert = join(directory, 'cert.pem');
    execFileSync(
      'openssl',
      ['req', '-x509', '-newkey', 'rsa:2048', '-days', '1', '-subj', '/CN=a', '-passout', `pass:${passphrase}`].concat([
        ...['-keyout', key, '-out', cert],
      ]),
      { stdio: 'ignore' },
    );
    files['cert'] = readFileSync(cert, 'utf8');
    files['key'] = readFileSync(key, 'utf8');
    files['other'] = generateKeyPairSync('rsa', { modulusLength: 2048 })
      .privateKey.export({ type: 'pkcs8', format: 'pem' })
      .toString();
  });
  afterAll(() => rmSync(directory, { recursive: true }));
  const tls = (cert: string, key: string, phrase: string) => ({
    ...(cert !== '' && { WEIR_TLS_CERT_FILE: cert }),
    ...(key !== '' && { WEIR_TLS_KEY_FILE: key }),
    ...(phrase !== '' && { WEIR_TLS_KEY_PASSPHRASE: phrase }),
  });

  it.each<[string, string, string]>([
    ['cert', '', ''],
    ['', 'key', ''],
    ['', '', passphrase],
    ['gone', 'key', passphrase],
    ['cert', 'gone', passphrase],
    ['key', 'cert', passphrase],
    ['cert', 'other', ''],
    ['cert', 'key', ''],
    ['cert', 'key', 'HUSHwrong'],
  ])('certificate "%s", key "%s" and passphrase "%s" are refused in one line without the passphrase', (...given) => {
    const problems = problemsOf(load(tls(...given), files));
    expect(problems).toEqual([expect.stringMatching(/^WEIR_TLS_CERT_FILE: /)]);
    expect(problems.join()).not.toMatch(/HUSH|PRIVATE|\n/);
  });

  it('that fit are taken, and the passphrase is not shown', () => {
    const env = tls('cert', 'key', passphrase);
    expect(configOf(load(env, files))).toMatchObject({ tlsCertFile: 'cert', tlsKeyFile: 'key' });
    expect(JSON.stringify(load(env, files, ['--print-config']))).not.toContain('HUSH');
  });
});
