// Unit test of the room's rule: the wire knows nobody, and what the browser SDK takes stays free of dependencies.
import { readdir, readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';

const files = (await readdir(new URL('.', import.meta.url))).filter(
  (name) => name.endsWith('.ts') && !name.endsWith('.test.ts') && name !== 'generate.ts',
);

const importsOf = async (name: string): Promise<string[]> => {
  const source = await readFile(new URL(name, import.meta.url), 'utf8');
  return [...source.matchAll(/(?:^|\s)from '([^']+)'|^import '([^']+)'|import\('([^']+)'\)/gm)].map(
    (match) => match[1] ?? match[2] ?? match[3] ?? '',
  );
};

describe('protocol/', () => {
  it.each(files)('%s imports only its neighbours and TypeBox', async (name) => {
    for (const specifier of await importsOf(name)) {
      expect(specifier).toMatch(/^(\.\/[a-z-]+\.ts|@sinclair\/typebox(\/compiler)?)$/);
    }
  });

  it.each(['codes.ts', 'limits.ts', 'channel-name.ts'])('%s needs no package', async (name) => {
    for (const specifier of await importsOf(name)) expect(specifier).toMatch(/^\.\/(codes|limits|channel-name)\.ts$/);
  });
});
