// Tests of running k6: how exits are judged, what reaches the disk, and that an interrupted run ends.
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runK6, verdictOf } from './k6-run.ts';
import { defaultSettings } from './settings.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-k6-run-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const settings = {
  ...defaultSettings,
  wsUrl: 'ws://h',
  apiUrl: 'http://h',
  apiKey: 'topsecret',
  token: 'hidden',
  runId: 'r1',
};

/** A program that behaves like k6 towards its caller; `$5` is the file of `--summary-export`. */
async function program(body: string): Promise<string> {
  const path = join(folder, 'k6');
  await writeFile(path, `#!/bin/sh\n${body}\n`);
  await chmod(path, 0o755);
  return path;
}

const request = async (body: string, signal?: AbortSignal) => ({
  k6: await program(body),
  scenario: 'fan-out' as const,
  settings,
  resultsFolder: join(folder, 'results'),
  output: 'ignore' as const,
  ...(signal === undefined ? {} : { signal }),
});

describe('running a scenario', () => {
  it('reports crossed thresholds and keeps what was measured', async () => {
    const result = await runK6(
      await request(`printf '{"metrics":{"weir_messages_missing":{"count":3}}}' > "$5"; exit 99`),
    );
    expect(result).toMatchObject({ verdict: 'thresholds-failed', exitCode: 99 });
    const summary = JSON.parse(await readFile(result.summaryFile, 'utf8')) as Record<string, unknown>;
    expect(summary).toMatchObject({
      scenario: 'fan-out',
      verdict: 'thresholds-failed',
      measured: { metrics: { weir_messages_missing: { count: 3 } } },
      settings: { vus: defaultSettings.vus },
    });
  });

  it('writes no secret into the summary', async () => {
    const { summaryFile } = await runK6(await request('exit 0'));
    const text = await readFile(summaryFile, 'utf8');
    expect(text).not.toContain('topsecret');
    expect(text).not.toContain('hidden');
  });

  it('leaves one file per run', async () => {
    await runK6(await request(`printf '{}' > "$5"; exit 0`));
    expect(await readdir(join(folder, 'results'))).toEqual(['fan-out-r1.json']);
  });

  it('rejects when k6 cannot be started', async () => {
    const bad = { ...(await request('exit 0')), k6: join(folder, 'absent') };
    await expect(runK6(bad)).rejects.toThrow('ENOENT');
  });

  it('ends k6 in order when interrupted', async () => {
    const controller = new AbortController();
    const asked = await request(
      `trap 'printf {} > "$5"; exit 105' INT; while :; do /bin/sleep 0.02; done`,
      controller.signal,
    );
    const running = runK6(asked);
    controller.abort();
    expect((await running).verdict).toBe('interrupted');
  });
});

describe('verdict of an exit', () => {
  it.each([
    [0, false, 'passed'],
    [99, false, 'thresholds-failed'],
    [107, false, 'broken'],
    [null, false, 'broken'],
    [0, true, 'interrupted'],
  ] as const)('code %s, interrupted %s: %s', (code, interrupted, verdict) => {
    expect(verdictOf(code, interrupted)).toBe(verdict);
  });
});
