import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { loadConfig } from '../config.ts';
import { insertTables } from './document.ts';
import { secretFileVariable } from './environment.ts';
import type { KeySpec } from './key-spec.ts';
import { configKeys } from './keys.ts';
import { envNameOf } from './words.ts';

const path = fileURLToPath(new URL('../../docs/configuration.md', import.meta.url));
const document = (): string => readFileSync(path, 'utf8');

describe('docs/configuration.md', () => {
  it('refuses a document that has no place for a table', () => {
    expect(() => insertTables('# nothing')).toThrow(/no place for the table keys/);
  });

  it('holds exactly the tables the keys generate (update with: npx vitest run gateway/config/document.test.ts -u)', async () => {
    await expect(insertTables(document())).toMatchFileSnapshot(path);
  });

  it('names every key with its environment name', () => {
    const tables = insertTables(document()).replaceAll(/ +/g, ' ');
    const missing = Object.keys(configKeys).filter((key) => !tables.includes(`| \`${key}\` | \`${envNameOf(key)}\` |`));
    expect(missing).toEqual([]);
  });

  it('names no WEIR_ variable that does not exist, but the mistyped one of its example', () => {
    const named = new Set(document().match(/WEIR_[A-Z_]+[A-Z]/g));
    const files = Object.entries<KeySpec>(configKeys).flatMap(([key, { secret }]) =>
      secret === 'no' ? [] : secretFileVariable(key),
    );
    const known = new Set([...Object.keys(configKeys).map(envNameOf), ...files, 'WEIR_CONFIG', 'WEIR_PRT']);
    expect([...named].filter((name) => !known.has(name))).toEqual([]);
  });

  it('shows the very lines that a wrong configuration prints', () => {
    const shown = /```(?:text)?\n(WEIR_PORT:[\s\S]*?)\n```/.exec(document())?.[1]?.split('\n') ?? [];
    const result = loadConfig({
      argv: [],
      env: { WEIR_PORT: 'abc', WEIR_PRT: '1', WEIR_CONFIG: 'weir.yaml' },
      readFile: () => 'redis: { urll: redis, prefix: weir }',
    });
    const printed = result.kind === 'invalid' ? result.problems : [];
    expect(shown.toSorted()).toEqual(printed.toSorted());
  });

  it('shows an example file that loads', () => {
    const example = /```yaml\n([\s\S]*?)```/.exec(document())?.[1] ?? '';
    expect(parse(example)).toHaveProperty('namespaces.cursor.class', 'ephemeral');
    const result = loadConfig({ argv: [], env: { WEIR_CONFIG: 'weir.yaml' }, readFile: () => example });
    expect(result).toMatchObject({ kind: 'ok', config: { profile: 'production', broker: 'redis' } });
  });
});
