// Tests of finding k6: programs of the same name, old versions, and what is said when nothing helps.
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ensureK6, isRecentEnough, K6MissingError, parseK6Version } from './k6-binary.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-k6-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function script(name: string, body: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, `#!/bin/sh\n${body}\n`);
  await chmod(path, 0o755);
  return path;
}

const search = (lines: string[] = []) => ({
  binFolder: join(folder, 'bin'),
  environment: { PATH: folder },
  onProgress: (line: string) => lines.push(line),
});

describe('finding k6', () => {
  it('says which ways were tried when there is neither k6 nor Go nor a package', async () => {
    const failure = await ensureK6(search()).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(K6MissingError);
    expect(String(failure)).toContain('Go is not installed');
  });

  it('does not take a program that only shares the name', async () => {
    await script('k6', 'echo "some other program 9.9.9"');
    await expect(ensureK6(search())).rejects.toThrow(/not k6: .*some other program/);
  });

  it('does not take a k6 without the modules the scenarios use', async () => {
    await script('k6', 'echo "k6 v0.49.0 (go1.21, linux/amd64)"');
    await expect(ensureK6(search())).rejects.toThrow(/too old.*v0\.49\.0/);
  });

  it('reports why a build with Go failed', async () => {
    await script('go', '[ "$1" = version ] && exit 0; echo "no route to proxy" >&2; exit 1');
    await expect(ensureK6(search())).rejects.toThrow('go install go.k6.io/k6@latest: no route to proxy');
  });

  it('builds k6 with Go into the folder of the project and says so before', async () => {
    await script(
      'go',
      `[ "$1" = version ] && exit 0; printf '#!/bin/sh\\necho k6 v1.8.1' > "$GOBIN/k6"; /bin/chmod +x "$GOBIN/k6"`,
    );
    const lines: string[] = [];
    expect(await ensureK6(search(lines))).toBe(join(folder, 'bin', 'k6'));
    expect(lines).toEqual([expect.stringContaining('building it with "go install')]);
  });

  it('takes a recent k6 from the path', async () => {
    const path = await script('k6', 'echo "k6 v1.8.1 (go1.26, linux/amd64)"');
    expect(await ensureK6(search())).toBe(path);
  });
});

describe('k6 versions', () => {
  it.each([
    ['k6 v1.5.9 (x)', false],
    ['k6 v0.99.0 (x)', false],
    ['k6 v1.6.0 (x)', true],
    ['k6 v1.10.0 (x)', true],
    ['k6.exe v2.0.0 (x)', true],
  ])('judges "%s" as usable: %s', (output, usable) => {
    const version = parseK6Version(output);
    expect(version !== undefined && isRecentEnough(version)).toBe(usable);
  });
});
