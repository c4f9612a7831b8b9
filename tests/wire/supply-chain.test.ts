// What is installed is what was reviewed: exact versions, hashes for everything, no code run while installing.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { projectRoot } from '../support/index.ts';

interface LockedPackage {
  readonly version?: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly link?: boolean;
  readonly dev?: boolean;
  readonly hasInstallScript?: boolean;
}
const json = (name: string): unknown => JSON.parse(readFileSync(join(projectRoot(), name), 'utf8'));
const lock = json('package-lock.json') as { lockfileVersion: number; packages: Record<string, LockedPackage> };
const own = json('package.json') as Record<'dependencies' | 'devDependencies', Record<string, string>>;
const installed = Object.entries(lock.packages).filter(([path]) => path.startsWith('node_modules/'));
const fromRegistry = installed.filter(([, { link }]) => link !== true);

describe('package-lock.json', () => {
  it('has a SHA-512 for every package that is installed', () => {
    expect(fromRegistry.length).toBeGreaterThan(100);
    const without = fromRegistry.filter(([, { integrity }]) => !/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity ?? ''));
    expect(without.map(([path]) => path)).toEqual([]);
  });

  it('takes nothing from git, a file, or a plain URL, and names no registry', () => {
    expect(installed.filter(([, { link, resolved }]) => link !== true && resolved !== undefined)).toEqual([]);
    expect(installed.filter(([, { link }]) => link === true).map(([path]) => path)).toEqual([
      'node_modules/@weir/client',
    ]);
  });

  it('runs no script of a package that a node needs', () => {
    expect(fromRegistry.filter(([, { dev, hasInstallScript }]) => dev !== true && hasInstallScript === true)).toEqual(
      [],
    );
  });
});

describe('the table of advisories in docs/security.md', () => {
  const rows = [
    ...readFileSync(join(projectRoot(), 'docs/security.md'), 'utf8').matchAll(
      /^\| `([^`]+)` \| (\d+\.\d+\.\d+) \| .+ \| (\d+\.\d+\.\d+) \|$/gm,
    ),
  ].map(([, name = '', version = '', fixedIn = '']) => ({ name, version, fixedIn }));
  const isBefore = (one: string, other: string): boolean =>
    one.localeCompare(other, 'en', { numeric: true, sensitivity: 'base' }) < 0;

  it('names the versions that are installed, each with the fix', () => {
    expect(rows.length).toBeGreaterThan(5);
    for (const { name, version, fixedIn } of rows) {
      const copies = fromRegistry.filter(([path, { dev }]) => dev !== true && path.endsWith(`node_modules/${name}`));
      expect([name, ...copies.map(([, copy]) => copy.version)]).toEqual([name, version]);
      expect(isBefore(version, fixedIn), `${name} ${version} is older than ${fixedIn}`).toBe(false);
    }
  });

  it('says of what is not installed that it is not', () => {
    expect(fromRegistry.filter(([path]) => path.endsWith('/fast-redact'))).toEqual([]);
  });
});

it('package.json pins every dependency to one version, and the lock has that version', () => {
  for (const [name, wanted] of Object.entries({ ...own.dependencies, ...own.devDependencies })) {
    const version = wanted.split('@').at(-1)!;
    expect(version, name).toMatch(/^\d+\.\d+\.\d+$/);
    expect(lock.packages[`node_modules/${name}`]?.version, name).toBe(version);
  }
});
