// Makes sure that the right Node runs and that node_modules fits package-lock.json. Plain JavaScript: it runs before anything is installed.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const OLDEST = [20, 12];
const NEWEST_MAJOR = 24;

/** Undefined when `version` (as `20.20.2`) will do, else what to say. */
export function nodeProblem(version) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const tooOld = major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]);
  if (!tooOld && major <= NEWEST_MAJOR) return undefined;
  return `Weir needs Node ${OLDEST.join('.')} to ${NEWEST_MAJOR}; this is Node ${version}. See https://nodejs.org for another.`;
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

function readText(file) {
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

/**
 * Whether what npm wrote about node_modules (`node_modules/.package-lock.json`) holds every package of the lock file.
 * Packages for other platforms (optional) and workspaces are left out there.
 */
export function holdsEveryPackage(lockText, hiddenLockText) {
  const installed = JSON.parse(hiddenLockText).packages ?? {};
  return Object.entries(JSON.parse(lockText).packages ?? {}).every(([path, entry]) => {
    if (!path.startsWith('node_modules/') || entry.optional === true || entry.link === true) return true;
    return installed[path]?.version === entry.version && installed[path]?.integrity === entry.integrity;
  });
}

/** `folder`: the project. Prints one line when it installs, nothing when there is nothing to do. */
function main(folder) {
  const problem = nodeProblem(process.versions.node);
  if (problem !== undefined) fail(problem);

  const modules = join(folder, 'node_modules');
  const hashFile = join(modules, '.weir-lock-hash');
  const lock = readText(join(folder, 'package-lock.json'));
  const source = lock ?? readFileSync(join(folder, 'package.json'), 'utf8');
  const wanted = createHash('sha256').update(source).digest('hex');
  if (readText(hashFile)?.trim() === wanted) return;

  // Installed by hand: right as well, and remembered.
  const hiddenLock = readText(join(modules, '.package-lock.json'));
  if (lock !== undefined && hiddenLock !== undefined && holdsEveryPackage(lock, hiddenLock)) {
    writeFileSync(hashFile, `${wanted}\n`);
    return;
  }

  const reason = existsSync(modules) ? 'node_modules does not fit the lock file' : 'node_modules is missing';
  process.stdout.write(`${reason}: running npm install …\n`);
  // Not `npm ci`: it insists on lock entries for the native packages of every platform, and the lock file only holds those
  // that the registry it was made with offers. Versions and hashes come from the lock file all the same, which stays as it is.
  // Development tools are wanted whatever NODE_ENV says.
  const result = spawnSync(
    'npm',
    ['install', '--no-save', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'],
    {
      cwd: folder,
      stdio: ['ignore', 'inherit', 'inherit'],
      shell: process.platform === 'win32',
    },
  );
  if (result.error !== undefined) fail(`npm could not be started (${result.error.message}); run: npm install`);
  if (result.status !== 0) fail('npm install failed; run it by hand to see why');
  writeFileSync(hashFile, `${wanted}\n`);
}

const self = fileURLToPath(import.meta.url);
if (process.argv[1] === self) main(process.argv[2] ?? dirname(dirname(self)));
