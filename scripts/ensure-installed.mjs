// Makes sure that the right Node runs and that node_modules fits package-lock.json. Plain JavaScript: it runs before anything is installed.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = process.env['WEIR_ROOT_FOR_TEST'] ?? dirname(dirname(fileURLToPath(import.meta.url)));
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

function main() {
  const problem = nodeProblem(process.versions.node);
  if (problem !== undefined) fail(problem);

  const lockFile = join(root, 'package-lock.json');
  const hashFile = join(root, 'node_modules', '.weir-lock-hash');
  const hasLock = existsSync(lockFile);
  // Without a lock the dependencies are those of package.json. The Node version counts too: native parts depend on it.
  const wanted = createHash('sha256')
    .update(readFileSync(hasLock ? lockFile : join(root, 'package.json')))
    .update(process.versions.modules)
    .digest('hex');
  const installed = existsSync(hashFile) ? readFileSync(hashFile, 'utf8').trim() : undefined;
  if (installed === wanted) return;

  const missing = !existsSync(join(root, 'node_modules'));
  const command = hasLock ? 'ci' : 'install';
  const reason = missing ? 'node_modules is missing' : 'node_modules does not fit package-lock.json and this Node';
  process.stdout.write(`${reason}: running npm ${command} …\n`);
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  // Development tools are wanted whatever NODE_ENV says; a script around this one must not make npm run scripts in the wrong folder.
  const result = spawnSync(npm, [command, '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    shell: process.platform === 'win32',
  });
  if (result.error !== undefined) fail(`npm could not be started (${result.error.message}); run: npm ${command}`);
  if (result.status !== 0) fail(`npm ${command} failed; run it by hand to see why`);
  writeFileSync(hashFile, `${wanted}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
