// `weir token`: makes a token for trying a node out.
import { parseArgs } from 'node:util';
import ms, { type StringValue } from 'ms';
import { mintToken } from '../access/tokens/mint.ts';
import { ALGORITHMS, type Algorithm } from '../access/tokens/token-text.ts';
import type { CliCommand, CliContext } from './command.ts';

export const TOKEN_USAGE = `weir token --user <name> [options]      makes a token and prints it

  --user <name>            sub: who connects
  --ttl <time>             how long it is valid: 30s, 10m, 1h (default), 7d
  --subscribe <pattern>    channels it may subscribe to; may be given several times, or with commas
  --publish <pattern>      channels it may publish to
  --presence <pattern>     channels whose members it may see
  --history <pattern>      channels whose history it may read
                           patterns: chat:lobby, chat:*, *, user:{user}; a verb without one is left to the namespace
  --channel <channel>      the server subscribes it to this channel on connect
  --info <json>            shown in presence
  --jti <id>               by which it can be revoked
  --audience <text>, --issuer <text>     default WEIR_JWT_AUDIENCE, WEIR_JWT_ISSUER

  signed with WEIR_JWT_SECRET (or WEIR_JWT_SECRET_FILE), or
  --secret-file <path>     a file with the secret
  --key-file <path>        a private key in PEM form (RSA, or EC on P-256, P-384, P-521); --kid <id> names it
  --algorithm <name>       instead of HS256, RS256, or what the key's curve says
`;

const options = {
  user: { type: 'string' },
  ttl: { type: 'string', default: '1h' },
  subscribe: { type: 'string', multiple: true },
  publish: { type: 'string', multiple: true },
  presence: { type: 'string', multiple: true },
  history: { type: 'string', multiple: true },
  channel: { type: 'string', multiple: true },
  info: { type: 'string' },
  jti: { type: 'string' },
  audience: { type: 'string' },
  issuer: { type: 'string' },
  'secret-file': { type: 'string' },
  'key-file': { type: 'string' },
  kid: { type: 'string' },
  algorithm: { type: 'string' },
} as const;

const expiryOf = (ttl: string, nowMs: number): number => {
  const lengthMs = /^\d+(?:\.\d+)?(?:ms|s|m|h|d)$/.test(ttl) ? ms(ttl as StringValue) : NaN;
  if (!(lengthMs >= 1000)) throw new Error(`--ttl: expected a time of at least 1s such as 10m, 1h or 7d, got ${ttl}`);
  return Math.floor((nowMs + lengthMs) / 1000);
};

const keyOf = (
  {
    'secret-file': secretFile,
    'key-file': keyFile,
  }: { 'secret-file'?: string | undefined; 'key-file'?: string | undefined },
  { env, readFile }: CliContext,
): { readonly secret: string } | { readonly privatePem: string } => {
  if (keyFile !== undefined) return { privatePem: readFile(keyFile) };
  const file = secretFile ?? env['WEIR_JWT_SECRET_FILE'];
  if (file !== undefined && file !== '') return { secret: readFile(file).replace(/\r?\n$/, '') };
  const secret = env['WEIR_JWT_SECRET'] ?? '';
  if (secret === '') throw new Error('expected WEIR_JWT_SECRET in the environment, --secret-file or --key-file');
  return { secret };
};

const algorithmOf = (name: string | undefined): Algorithm | undefined => {
  if (name === undefined) return undefined;
  const found = ALGORITHMS.find((algorithm) => algorithm === name);
  if (found === undefined) throw new Error(`--algorithm: expected one of ${ALGORITHMS.join(', ')}, got ${name}`);
  return found;
};

const infoOf = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error('--info: expected JSON, for example \'{"name":"Ada"}\'');
  }
};

/** Commas separate too, but for `channel` names, which may hold one. */
const listOf = (given: readonly string[] | undefined): string[] | undefined =>
  given?.flatMap((text) => text.split(',').map((item) => item.trim())).filter((item) => item !== '');

const withoutUndefined = (record: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));

export const tokenCommand: CliCommand = (args, context) => {
  const { values } = parseArgs({ args: [...args], options, allowPositionals: false });
  const { user, ttl, info, channel, jti, kid, algorithm } = values;
  if (user === undefined) throw new Error('--user: expected who the token is for');
  const weir = withoutUndefined({
    subscribe: listOf(values.subscribe),
    publish: listOf(values.publish),
    presence: listOf(values.presence),
    history: listOf(values.history),
    channels: channel,
    info: info === undefined ? undefined : infoOf(info),
  });
  const claims = withoutUndefined({
    sub: user,
    iat: Math.floor(context.nowMs / 1000),
    exp: expiryOf(ttl, context.nowMs),
    aud: values.audience ?? (context.env['WEIR_JWT_AUDIENCE'] || undefined),
    iss: values.issuer ?? (context.env['WEIR_JWT_ISSUER'] || undefined),
    jti,
    weir: Object.keys(weir).length === 0 ? undefined : weir,
  });
  const token = mintToken({ claims, key: keyOf(values, context), algorithm: algorithmOf(algorithm), keyId: kid });
  return { stdout: `${token}\n`, stderr: '' };
};
