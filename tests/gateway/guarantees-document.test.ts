// docs/guarantees.md names a test for each promise: all of them exist.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { projectRoot } from '../support/index.ts';

const root = projectRoot();
const rows = readFileSync(join(root, 'docs/guarantees.md'), 'utf8')
  .split('\n')
  .flatMap((line) => {
    const [, file, title] = /^\| .+ \| `([^`]+)` \| (.+) \|$/.exec(line) ?? [];
    return file === undefined || title === undefined ? [] : [{ file, title }];
  });

it('every row of its tables names a file and a test', () => {
  const lines = readFileSync(join(root, 'docs/guarantees.md'), 'utf8').split('\n');
  const headings = lines.filter((line) => line === '| promise | file | test |').length;
  const all = lines.filter((line) => line.startsWith('| ')).length;
  expect(headings).toBeGreaterThan(4);
  expect(rows.length).toBe(all - headings);
});

it('every test it names is in its file', () => {
  const missing = rows.filter(({ file, title }) => {
    const path = join(root, file);
    return !existsSync(path) || !readFileSync(path, 'utf8').includes(`'${title}'`);
  });
  expect(missing).toEqual([]);
});
