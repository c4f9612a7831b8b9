import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type TemporaryDirectory, temporaryDirectory } from '../loadbalancer/cluster/temporary-directory.ts';

interface Service {
  name: string;
}
interface Machine {
  hasApt: boolean;
  isRoot: boolean;
  hasPasswordlessSudo: boolean;
  hasBrew: boolean;
}
interface Scripts {
  nodeProblem(version: string): string | undefined;
  SERVICES: Service[];
  missingServices(path: string, names?: string[], systemFolders?: string[]): Service[];
  installPlan(services: Service[], machine: Machine): { kind: string; steps: string[][] };
}

const fileOf = (name: string): string => join(import.meta.dirname, name);
// The scripts are plain JavaScript, since they run before the compiler is installed.
const load = async (name: string): Promise<Scripts> => (await import(fileOf(name))) as Scripts;
const { nodeProblem } = await load('ensure-installed.mjs');
const { SERVICES, missingServices, installPlan } = await load('ensure-services.mjs');
const run = promisify(execFile);

let folder: TemporaryDirectory;
beforeEach(async () => {
  folder = await temporaryDirectory('ensure-test');
});
afterEach(async () => {
  await folder.remove();
});

const at = (...names: string[]): string => join(folder.path, ...names);

async function executable(name: string, content: string): Promise<void> {
  await mkdir(at('bin'), { recursive: true });
  await writeFile(at('bin', name), `#!/bin/sh\n${content}\n`);
  await chmod(at('bin', name), 0o755);
}

describe('the Node version', () => {
  it.each(['18.20.0', '20.11.1', '25.0.0'])('%s is refused with what to use', (version) => {
    expect(nodeProblem(version)).toMatch(`needs Node 20.12 to 24; this is Node ${version}`);
  });
  it.each(['20.12.0', '20.20.2', '22.0.0', '24.9.1'])('%s will do', (version) => {
    expect(nodeProblem(version)).toBeUndefined();
  });
});

describe('ensure-installed', () => {
  const lock = (version: string): string =>
    JSON.stringify({
      packages: {
        '': { name: 'x' },
        client: { name: 'client' },
        'node_modules/a': { version, integrity: 'sha512-a' },
        'node_modules/other-platform': { version: '1.0.0', optional: true },
      },
    });

  /** Runs the script on the folder with an npm that only writes down how it was called. */
  async function ensure(npm = 'echo "$1" >> npm-calls; mkdir -p node_modules'): Promise<string> {
    await executable('npm', npm);
    const env = { ...process.env, PATH: `${at('bin')}${delimiter}${process.env['PATH'] ?? ''}` };
    return (await run(process.execPath, [fileOf('ensure-installed.mjs'), folder.path], { env })).stdout;
  }
  const calls = async (): Promise<string> => readFile(at('npm-calls'), 'utf8').catch(() => '');

  it('fails, and does not remember, when npm fails', async () => {
    await writeFile(at('package-lock.json'), lock('1.0.0'));
    await expect(ensure('mkdir -p node_modules; exit 1')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('npm install failed') as unknown,
    });
    expect(await ensure()).toContain('running npm install');
  });

  it('installs once, in one line, and again when the lock file changes', async () => {
    await writeFile(at('package-lock.json'), lock('1.0.0'));
    expect(await ensure()).toBe('node_modules is missing: running npm install …\n');
    expect(await ensure()).toBe('');
    await writeFile(at('package-lock.json'), lock('1.0.1'));
    expect(await ensure()).toBe('node_modules does not fit the lock file: running npm install …\n');
    expect(await calls()).toBe('install\ninstall\n');
  });

  it('installs without a lock file', async () => {
    await writeFile(at('package.json'), '{}');
    await ensure();
    expect(await calls()).toBe('install\n');
  });

  it('takes an installation made by hand as it is', async () => {
    await writeFile(at('package-lock.json'), lock('1.0.0'));
    await mkdir(at('node_modules'));
    const installed = { packages: { 'node_modules/a': { version: '1.0.0', integrity: 'sha512-a' } } };
    await writeFile(at('node_modules', '.package-lock.json'), JSON.stringify(installed));
    expect(await ensure()).toBe('');
    await writeFile(at('package-lock.json'), lock('2.0.0'));
    expect(await ensure()).toContain('running npm install');
  });
});

describe('ensure-services', () => {
  const names = (services: Service[]): string[] => services.map((service) => service.name);

  it('finds what is missing on the PATH', async () => {
    await executable('haproxy', '');
    await writeFile(at('bin', 'redis-server'), 'not executable');
    expect(names(missingServices(at('bin'), [], []))).toContain('redis-server');
    expect(names(missingServices(at('bin'), [], []))).not.toContain('haproxy');
    expect(names(missingServices(at('bin'), ['haproxy'], []))).toEqual([]);
  });

  it('finds servers outside the PATH of ordinary users', async () => {
    await executable('haproxy', '');
    expect(missingServices('', ['haproxy'], [at('bin')])).toEqual([]);
  });

  const [redis, haproxy] = SERVICES as [Service, Service];
  const machine: Machine = { hasApt: false, isRoot: false, hasPasswordlessSudo: false, hasBrew: false };

  it('names the exact command where it may not install', () => {
    const plan = installPlan([redis, haproxy], { ...machine, hasApt: true });
    expect(plan.kind).toBe('ask');
    expect(plan.steps.map((step) => step.join(' '))).toEqual([
      'sudo apt-get update',
      'sudo apt-get install -y --no-install-recommends redis-server haproxy',
    ]);
  });

  it('knows no way without a package manager', () => {
    expect(installPlan([redis], machine)).toEqual({ kind: 'unknown', steps: [] });
  });

  it('installs as root, with passwordless sudo and with brew', () => {
    const texts = (over: Partial<Machine>): string[] =>
      installPlan([redis], { ...machine, ...over }).steps.map((step) => step.join(' '));
    expect(texts({ hasApt: true, isRoot: true })).toEqual([
      'apt-get update',
      'apt-get install -y --no-install-recommends redis-server',
    ]);
    expect(texts({ hasApt: true, hasPasswordlessSudo: true })[0]).toBe(
      'sudo -n env DEBIAN_FRONTEND=noninteractive apt-get update',
    );
    expect(texts({ hasBrew: true })).toEqual(['brew install redis']);
  });
});
