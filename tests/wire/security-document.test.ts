// docs/security.md names files, commands and keys: all of them exist.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { configKeys } from '../../gateway/config/keys.ts';
import { envNameOf } from '../../gateway/config/words.ts';
import { projectRoot } from '../support/index.ts';

const root = projectRoot();
const text = readFileSync(join(root, 'docs/security.md'), 'utf8');
const inCode = [...text.matchAll(/`([^`\n]+)`/g)].map((match) => match[1]!);

it('every file it names is there', () => {
  const files = inCode
    .filter((code) => /^[\w{},.-]+\/[\w{},./-]+$/.test(code) && !code.startsWith('/'))
    .flatMap((code) => {
      const [, before, choices, after] = /^(.*)\{(.+)\}(.*)$/.exec(code) ?? [];
      return choices === undefined ? [code] : choices.split(',').map((choice) => `${before}${choice}${after}`);
    });
  expect(files.length).toBeGreaterThan(20);
  expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([]);
});

it('every script it names is there', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const named = inCode.flatMap((code) => /^npm run (\S+)/.exec(code)?.[1] ?? []);
  expect(named.length).toBeGreaterThan(3);
  expect(named.filter((name) => scripts[name] === undefined)).toEqual([]);
});

it('every key that lets production start is in its table', () => {
  const allowing = Object.keys(configKeys).filter((key) => key.startsWith('allow') && !key.startsWith('allowed'));
  expect(allowing.length).toBeGreaterThan(0);
  for (const key of allowing) expect(text).toContain(`| \`${key}\` |`);
});

it('every variable it names is one of a node', () => {
  const known = new Set(Object.keys(configKeys).flatMap((key) => [envNameOf(key), `${envNameOf(key)}_FILE`]));
  const named = text.match(/WEIR_[A-Z_]+[A-Z]/g) ?? [];
  expect(named.filter((name) => !known.has(name))).toEqual([]);
});
