import { expect, it } from 'vitest';
import type { Config, ConfigResult } from './config.ts';
import { loadConfig } from './config.ts';
import { watchCredentials } from './credentials.ts';

const start = (env: Record<string, string>, files: Record<string, string>) => {
  const seen: { applied: (readonly string[] | undefined)[]; outcomes: string[]; logged: string[]; watched: unknown[] } =
    {
      applied: [],
      outcomes: [],
      logged: [],
      watched: [],
    };
  const load = (): ConfigResult =>
    loadConfig({
      argv: [],
      env,
      readFile: (path) => {
        const text = files[path];
        if (text === undefined) throw Object.assign(new Error('gone'), { code: 'ENOENT' });
        return text;
      },
    });
  const first = load();
  if (first.kind !== 'ok') throw new Error(JSON.stringify(first));
  const note = (fields: object): void => void seen.logged.push(JSON.stringify(fields));
  const credentials = watchCredentials({
    config: first.config,
    env,
    files: {
      watch: (...args) => {
        seen.watched.push(args.slice(0, 2));
        return { close: () => undefined };
      },
    },
    load,
    apply: ({ apiKeys }: { apiKeys: Config['apiKeys'] | undefined }) => {
      if (files['apply'] === 'fails') throw new Error('no usable key');
      seen.applied.push(apiKeys?.map(({ name }) => name));
    },
    onOutcome: (outcome) => seen.outcomes.push(outcome),
    logger: { info: note, error: note } as never,
  });
  return { ...seen, credentials };
};
const HUSH = 'HUSH-HUSH-HUSH-HUSH';

it('takes the keys of a file that passes every check of a start', () => {
  const files = { keys: `a=${HUSH}a` };
  const { credentials, applied, outcomes, logged, watched } = start({ WEIR_API_KEYS_FILE: ' keys ' }, files);
  expect([credentials.areInFiles, watched]).toEqual([true, [[['keys'], 5000]]]);
  files.keys = `a=${HUSH}a,b=${HUSH}b`;
  credentials.reload();
  expect([applied, outcomes]).toEqual([[['a', 'b']], ['applied']]);
  expect(logged.join()).not.toContain('HUSH');
});

it.each<[name: string, files: Record<string, string>]>([
  ['an entry that is none', { keys: `a=${HUSH},b=` }],
  ['an unknown scope', { keys: `a=${HUSH}:fly` }],
  ['a secret that production refuses', { keys: 'a=weir-dev-0123456789abcdef0123' }],
  ['nothing', { keys: ' \n' }],
  ['keys the node cannot take', { keys: `a=${HUSH}`, apply: 'fails' }],
])('%s in the file changes nothing and is logged without a secret', (_, changed) => {
  const files: Record<string, string> = { keys: `a=${HUSH}` };
  const { credentials, applied, outcomes, logged } = start({ WEIR_API_KEYS_FILE: 'keys' }, files);
  Object.assign(files, changed);
  credentials.reload();
  expect([applied, outcomes, logged.length]).toEqual([[], ['refused'], 1]);
  expect(logged[0]).toContain('credentials_refused');
  expect(logged[0]).not.toMatch(/HUSH|0123456789abcdef/);
});

it('a file that is gone changes nothing', () => {
  const files: Record<string, string> = { keys: `a=${HUSH}` };
  const { credentials, applied, outcomes } = start({ WEIR_API_KEYS_FILE: 'keys' }, files);
  delete files['keys'];
  credentials.reload();
  expect([applied, outcomes]).toEqual([[], ['refused']]);
});

it('takes the keys of the configuration file when asked, and leaves a generated key alone', () => {
  const files = { 'weir.yaml': `apiKeys: [ 'a=${HUSH}a' ]` };
  const env = { WEIR_CONFIG: 'weir.yaml', WEIR_PROFILE: 'development' };
  const { credentials, applied, watched } = start(env, files);
  expect([credentials.areInFiles, watched]).toEqual([true, []]);
  files['weir.yaml'] = `apiKeys: [ 'b=${HUSH}b' ]`;
  credentials.reload();
  files['weir.yaml'] = 'port: 0';
  credentials.reload();
  expect(applied).toEqual([['b'], undefined]);
});

it('watches nothing when everything is in the environment, nor at an interval of 0', () => {
  expect(start({ WEIR_API_KEYS: `a=${HUSH}` }, {})).toMatchObject({ credentials: { areInFiles: false }, watched: [] });
  const env = { WEIR_API_KEYS_FILE: 'keys', WEIR_CREDENTIALS_RELOAD_MS: '0' };
  expect(start(env, { keys: `a=${HUSH}` })).toMatchObject({ credentials: { areInFiles: true }, watched: [] });
});
