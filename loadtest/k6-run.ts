// Runs one k6 script as a child process and tells how it ended.
import { spawn } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ScenarioName } from './options.ts';
import { type LoadSettings, settingsToEnvironment } from './settings.ts';

/** k6's own exit code for "ran to its end, and a threshold was crossed". */
const thresholdsFailedCode = 99;

export type RunVerdict = 'passed' | 'thresholds-failed' | 'interrupted' | 'broken';

export interface RunRequest {
  readonly k6: string;
  readonly scenario: ScenarioName;
  readonly settings: LoadSettings;
  /** Where the JSON summary goes; created when needed. */
  readonly resultsFolder: string;
  /** Ends the run early, in order; its verdict is `interrupted`. */
  readonly signal?: AbortSignal;
  /** Where k6 writes its progress and summary; the terminal when absent. */
  readonly output?: 'inherit' | 'ignore';
}

export interface RunResult {
  readonly scenario: ScenarioName;
  readonly verdict: RunVerdict;
  readonly exitCode: number | null;
  readonly summaryFile: string;
}

/** Judges the exit of k6; pure. */
export function verdictOf(exitCode: number | null, interrupted: boolean): RunVerdict {
  if (interrupted) return 'interrupted';
  if (exitCode === 0) return 'passed';
  return exitCode === thresholdsFailedCode ? 'thresholds-failed' : 'broken';
}

/** Never rejects because of thresholds; rejects when k6 could not be started. */
export async function runK6(request: RunRequest): Promise<RunResult> {
  const { scenario, settings, signal } = request;
  await mkdir(request.resultsFolder, { recursive: true });
  const name = join(request.resultsFolder, `${scenario}-${settings.runId}`);
  const exportFile = `${name}.k6.json`;
  const script = join(import.meta.dirname, 'scenarios', `${scenario}.ts`);
  const exitCode = await runToExit(
    request.k6,
    ['run', '--no-usage-report', '--quiet', '--summary-export', exportFile, script],
    // Secrets travel by environment: a command line can be read by every user of the machine.
    { ...process.env, ...settingsToEnvironment(settings) },
    signal,
    request.output ?? 'inherit',
  );
  const verdict = verdictOf(exitCode, signal?.aborted === true);
  const summaryFile = `${name}.json`;
  // JSON leaves out what is undefined.
  const shownSettings = { ...settings, apiKey: undefined, token: undefined };
  const measured = await readExport(exportFile);
  await writeFile(
    summaryFile,
    `${JSON.stringify({ scenario, verdict, exitCode, settings: shownSettings, measured }, null, 2)}\n`,
  );
  await rm(exportFile, { force: true });
  return { scenario, verdict, exitCode, summaryFile };
}

function runToExit(
  command: string,
  args: string[],
  env: NodeJS.ProcessEnv,
  signal: AbortSignal | undefined,
  output: 'inherit' | 'ignore',
): Promise<number | null> {
  return new Promise((resolve, reject) => {
    // A group of its own: Ctrl-C reaches k6 once, through the signal below, and not twice, which would cut its summary.
    const child = spawn(command, args, { env, detached: true, stdio: ['ignore', output, output] });
    const interrupt = (): void => {
      child.kill('SIGINT');
    };
    const endWithParent = (): void => {
      child.kill('SIGKILL');
    };
    signal?.addEventListener('abort', interrupt);
    process.on('exit', endWithParent);
    const settle = (): void => {
      signal?.removeEventListener('abort', interrupt);
      process.off('exit', endWithParent);
    };
    child.once('error', (error) => {
      settle();
      reject(error);
    });
    child.once('exit', (code) => {
      settle();
      resolve(code);
    });
    if (signal?.aborted === true) interrupt();
  });
}

/** Undefined when k6 ended before it could write one. */
async function readExport(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as unknown;
  } catch {
    return undefined;
  }
}
