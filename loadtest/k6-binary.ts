// Finds a k6 that runs the scenarios, or installs one: with Go into a folder of the project, else by the system's package manager.
import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { delimiter, join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The first version that runs TypeScript and has `k6/websockets` outside `experimental`. */
const minimumVersion = [1, 6, 0] as const;
const goModule = 'go.k6.io/k6@latest';
const buildTimeoutMs = 30 * 60_000;

/** Commands that install k6 where the distribution has it, in the order they are tried; the first manager present is used. */
const packageManagers: readonly (readonly [string, ...string[]])[] = [
  ['brew', 'install', 'k6'],
  ['apk', 'add', 'k6'],
  ['pacman', '-S', '--noconfirm', 'k6'],
  ['dnf', 'install', '-y', 'k6'],
  ['apt-get', 'install', '-y', 'k6'],
];

/** k6 is neither there nor could it be installed; the message says what to do. */
export class K6MissingError extends Error {
  override readonly name = 'K6MissingError';
}

export interface K6Search {
  /** Where the project keeps its own k6; created when needed. */
  readonly binFolder: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Told in one line what is about to happen, since a build takes minutes. */
  readonly onProgress: (line: string) => void;
}

/** `k6 v1.8.1 (go1.26, linux/amd64)` → `[1, 8, 1]`; undefined when another program of that name answered. */
export function parseK6Version(output: string): readonly [number, number, number] | undefined {
  const match = /^k6(?:\.exe)? v(\d+)\.(\d+)\.(\d+)/.exec(output);
  return match === null ? undefined : [Number(match[1]), Number(match[2]), Number(match[3])];
}

export function isRecentEnough(version: readonly [number, number, number]): boolean {
  for (const [index, least] of minimumVersion.entries()) {
    const difference = version[index]! - least;
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** The path of a usable k6. Throws K6MissingError. */
export async function ensureK6(search: K6Search): Promise<string> {
  const own = resolve(search.binFolder, 'k6');
  const failures: string[] = [];
  const found = await findUsable([own, ...pathCandidates(search)], (rejected) => {
    failures.push(`found but too old or not k6: ${rejected}`);
  });
  if (found !== undefined) return found;

  if (await answers('go', ['version'], search.environment)) {
    search.onProgress(
      `k6 is missing: building it with "go install ${goModule}" into ${search.binFolder} (a few minutes, once)`,
    );
    await mkdir(search.binFolder, { recursive: true });
    const failure = await attempt('go', ['install', goModule], {
      ...search.environment,
      GOBIN: resolve(search.binFolder),
    });
    if (failure === undefined && (await findUsable([own])) !== undefined) return own;
    failures.push(`go install ${goModule}: ${failure ?? 'left no usable k6 behind'}`);
  } else {
    failures.push('Go is not installed');
  }

  for (const [manager, ...args] of packageManagers) {
    if (!(await answers(manager, ['--version'], search.environment))) continue;
    search.onProgress(`k6 is missing: trying "${manager} ${args.join(' ')}"`);
    const failure = await attempt(manager, args, search.environment);
    const installed = failure === undefined ? await findUsable(pathCandidates(search)) : undefined;
    if (installed !== undefined) return installed;
    failures.push(`${manager} ${args.join(' ')}: ${failure ?? `gave no k6 of ${minimumVersion.join('.')} or newer`}`);
    break;
  }
  throw new K6MissingError(
    [
      `k6 ${minimumVersion.join('.')} or newer is needed and could not be installed:`,
      ...failures.map((failure) => `  - ${failure}`),
      'Install Go and run this again, or install k6 from its own packages (see "Install k6" in the k6 documentation).',
    ].join('\n'),
  );
}

function pathCandidates(search: K6Search): string[] {
  const folders = (search.environment['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  return folders.map((folder) => join(folder, 'k6'));
}

async function findUsable(
  candidates: readonly string[],
  onRejected?: (found: string) => void,
): Promise<string | undefined> {
  for (const candidate of candidates) {
    const answer = await versionOf(candidate);
    if (answer === undefined) continue;
    const version = parseK6Version(answer);
    if (version !== undefined && isRecentEnough(version)) return candidate;
    onRejected?.(`${candidate} (${answer.split('\n')[0] ?? ''})`);
  }
  return undefined;
}

async function versionOf(command: string): Promise<string | undefined> {
  try {
    return (await run(command, ['version'], { timeout: 10_000 })).stdout.trim();
  } catch {
    return undefined;
  }
}

async function answers(command: string, args: string[], env: NodeJS.ProcessEnv): Promise<boolean> {
  return run(command, args, { env, timeout: 10_000 }).then(
    () => true,
    () => false,
  );
}

/** The last line of what went wrong, or undefined. */
async function attempt(command: string, args: string[], env: NodeJS.ProcessEnv): Promise<string | undefined> {
  try {
    await run(command, args, { env, timeout: buildTimeoutMs, maxBuffer: 64 * 1024 * 1024 });
    return undefined;
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    return (stderr ?? '').trim().split('\n').at(-1) || message;
  }
}
