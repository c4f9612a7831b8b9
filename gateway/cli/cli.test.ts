import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, hash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { createApiKeys } from '../access/api-keys.ts';
import { parseApiKeys } from '../access/api-key-entries.ts';
import { readPublicKeys, secretVerificationKey, type VerificationKey } from '../access/tokens/verification-key.ts';
import { createTokenVerifier } from '../access/tokens/verifier.ts';
import { systemClock } from '../clock.ts';
import { runCli } from './cli.ts';
import type { CliContext } from './command.ts';

const SECRET = 'secret-of-the-tool-0123456789-0123456789';
const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
const files: Readonly<Record<string, string>> = {
  'secret.txt': `${SECRET}\n`,
  'private.pem': privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  'public.pem': publicKey.export({ type: 'spki', format: 'pem' }).toString(),
};
const context = (env: Readonly<Record<string, string>> = { WEIR_JWT_SECRET: SECRET }): CliContext => ({
  env,
  readFile: (path) => {
    const text = files[path];
    if (text === undefined) throw new Error(`ENOENT: ${path}`);
    return text;
  },
  nowMs: Date.now(),
  random: (bytes) => 'r'.repeat(bytes),
});
const run = (line: string, env?: Readonly<Record<string, string>>) => runCli(line.split(' '), context(env));
const verify = (token: string, keys: readonly VerificationKey[] = [secretVerificationKey(SECRET)], audience?: string) =>
  createTokenVerifier({
    keys,
    audience,
    expiryRequired: true,
    toleranceMs: 0,
    cacheSize: 0,
    clock: systemClock,
    onOutcome: () => undefined,
  }).verify(token.trim());

describe('weir token', () => {
  it('makes a token that a node takes, with the rights asked for', async () => {
    const line =
      'token --user alice --subscribe chat:*,news --subscribe user:{user} --publish chat:* --channel inbox --ttl 2h';
    const { stdout, exitCode } = run(`${line} --jti j1 --info {"name":"Alice"}`);
    expect(exitCode).toBe(0);
    const outcome = await verify(stdout);
    if (outcome.kind !== 'valid') throw new Error(JSON.stringify(outcome));
    const { who, channels, info, tokenId, expiresAtMs } = outcome.identity;
    expect([who.user, channels, info, tokenId]).toEqual(['alice', ['inbox'], { name: 'Alice' }, 'j1']);
    expect(Math.abs(expiresAtMs - Date.now() - 7_200_000)).toBeLessThan(10_000);
    const { subscribe, publish, history } = who.grants ?? {};
    expect(['chat:a', 'news', 'user:alice', 'user:bob'].map((channel) => subscribe?.(channel))).toEqual([
      true,
      true,
      true,
      false,
    ]);
    expect([publish?.('chat:a'), publish?.('news'), history]).toEqual([true, false, undefined]);
  });

  it('signs with a file’s secret, or with a private key, whose kind says the algorithm', async () => {
    expect(await verify(run('token --user a --secret-file secret.txt', {}).stdout)).toMatchObject({ kind: 'valid' });
    const keys = readPublicKeys(files['public.pem']!);
    if (typeof keys === 'string') throw new Error(keys);
    const { stdout } = run('token --user a --key-file private.pem --kid k1', {});
    expect(await verify(stdout, keys)).toMatchObject({ kind: 'valid' });
    const [header = ''] = stdout.split('.');
    expect(JSON.parse(Buffer.from(header, 'base64url').toString())).toMatchObject({ alg: 'ES384', kid: 'k1' });
  });

  it('takes audience and issuer from where the node has them', async () => {
    const { stdout } = run('token --user a', { WEIR_JWT_SECRET: SECRET, WEIR_JWT_AUDIENCE: 'weir' });
    expect(await verify(stdout, undefined, 'weir')).toMatchObject({ kind: 'valid' });
  });

  it.each([
    ['token', /--user/],
    ['token --user a --subscribe chat*', /weir\.subscribe\[0\]/],
    ['token --user a --ttl soon', /--ttl/],
    ['token --user a --ttl 0s', /--ttl/],
    ['token --user a --algorithm none', /--algorithm/],
    ['token --user a --algorithm HS512', /too short/],
    ['token --user a --info {', /--info/],
    ['token --user a --secret-file missing', /ENOENT/],
    ['token --user a --what', /what/],
    ['nothing', /no command/],
  ])('%s is refused with one line that says why, and no secret', (line, message) => {
    const { stdout, stderr, exitCode } = run(line);
    expect([stdout, exitCode]).toEqual(['', 64]);
    expect(stderr).toMatch(message);
    expect(stderr).not.toContain(SECRET);
  });

  it('says where a secret may come from when there is none', () => {
    expect(run('token --user a', {}).stderr).toMatch(/WEIR_JWT_SECRET/);
  });
});

describe('weir key', () => {
  it('makes a secret, and the entry that lets it in', () => {
    const { stdout, stderr } = run('key backend --scopes publish,read');
    const secret = stdout.trim();
    const entry = stderr
      .split('\n')
      .find((line) => line.includes('=sha256:'))!
      .trim();
    expect(entry).toBe(`backend=sha256:${hash('sha256', secret, 'hex')}:publish+read`);
    const key = createApiKeys(parseApiKeys(entry).entries).authenticate(secret);
    expect(key).toMatchObject({ name: 'backend', scopes: ['publish', 'read'] });
  });

  it.each(['key', 'key a b', 'key a/b', 'key a --scopes all'])('%s is refused', (line) => {
    expect(run(line)).toMatchObject({ stdout: '', exitCode: 64 });
  });
});

it('helps, and runs from a checkout without a build', () => {
  expect(run('--help')).toMatchObject({ exitCode: 0, stderr: '' });
  expect(run('token --help').stdout).toMatch(/--subscribe/);
  const bin = fileURLToPath(new URL('../../bin/weir.mjs', import.meta.url));
  const env = { ...process.env, WEIR_JWT_SECRET: SECRET };
  expect(execFileSync(process.execPath, [bin, 'token', '--user', 'a'], { env }).toString()).toMatch(/^ey.+\..+\..+\n$/);
});
