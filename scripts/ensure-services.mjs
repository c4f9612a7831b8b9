// Makes sure that the servers the cluster and the tests run (Redis, HAProxy, Chromium) are installed. Plain JavaScript without dependencies.
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What is needed, the commands any of which will do, and the packages that bring it. */
export const SERVICES = [
  { name: 'redis-server', commands: ['redis-server'], apt: ['redis-server'], brew: ['redis'] },
  { name: 'haproxy', commands: ['haproxy'], apt: ['haproxy'], brew: ['haproxy'] },
  // For promtool, which checks rules and alerts.
  { name: 'prometheus', commands: ['promtool'], apt: ['prometheus'], brew: ['prometheus'] },
  {
    name: 'chromium',
    commands: ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'],
    files: [
      '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
      '/Applications/Chromium.app/Contents/MacOS/Chromium',
    ],
    apt: ['chromium'],
    brew: ['--cask', 'chromium'],
  },
];

// Debian keeps haproxy in /usr/sbin, which is not on the PATH of every user.
const SYSTEM_FOLDERS = ['/usr/sbin', '/usr/local/sbin', '/usr/local/bin', '/opt/homebrew/bin'];

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function isInstalled(service, folders) {
  return (
    service.commands.some((command) => folders.some((folder) => isExecutable(join(folder, command)))) ||
    (service.files ?? []).some(isExecutable)
  );
}

/** The services of `names` (all when empty) that no folder of `path` holds. */
export function missingServices(path, names = [], systemFolders = SYSTEM_FOLDERS) {
  const folders = [...path.split(delimiter).filter((folder) => folder !== ''), ...systemFolders];
  return SERVICES.filter(
    (service) => (names.length === 0 || names.includes(service.name)) && !isInstalled(service, folders),
  );
}

/**
 * The commands that would install the services: `{ kind: 'run' }` when we may, `{ kind: 'ask' }` when a person has to
 * run them, `{ kind: 'unknown' }` where no package manager is known.
 */
export function installPlan(services, machine) {
  const packages = services.flatMap((service) => service.apt);
  if (machine.hasApt) {
    const steps = [
      ['apt-get', 'update'],
      ['apt-get', 'install', '-y', '--no-install-recommends', ...packages],
    ];
    if (machine.isRoot) return { kind: 'run', steps };
    const withSudo = steps.map((step) => ['sudo', ...step]);
    if (!machine.hasPasswordlessSudo) return { kind: 'ask', steps: withSudo };
    return {
      kind: 'run',
      steps: steps.map((step) => ['sudo', '-n', 'env', 'DEBIAN_FRONTEND=noninteractive', ...step]),
    };
  }
  // One call per service: a cask and a formula cannot share one.
  if (machine.hasBrew) return { kind: 'run', steps: services.map((service) => ['brew', 'install', ...service.brew]) };
  return { kind: 'unknown', steps: [] };
}

function thisMachine() {
  const works = (command, ...args) => spawnSync(command, args, { stdio: 'ignore' }).status === 0;
  const hasApt = works('apt-get', '--version');
  const isRoot = process.getuid?.() === 0;
  return {
    hasApt,
    isRoot,
    hasPasswordlessSudo: hasApt && !isRoot && works('sudo', '-n', 'true'),
    hasBrew: !hasApt && works('brew', '--version'),
  };
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

function main() {
  const path = process.env['PATH'] ?? '';
  const names = process.argv.slice(2);
  const unknown = names.find((name) => SERVICES.every((service) => service.name !== name));
  if (unknown !== undefined)
    fail(`unknown service "${unknown}"; known: ${SERVICES.map(({ name }) => name).join(', ')}`);
  const missing = missingServices(path, names);
  if (missing.length === 0) return;

  const list = missing.map(({ name }) => name).join(', ');
  const plan = installPlan(missing, thisMachine());
  const commands = plan.steps.map((step) => step.join(' ')).join(' && ');
  if (plan.kind === 'unknown')
    fail(`${list}: not installed, and no package manager known here; install them, then try again`);
  if (plan.kind === 'ask') fail(`${list}: not installed, and not allowed to install; run: ${commands}`);

  process.stdout.write(`${list}: not installed; running: ${commands}\n`);
  for (const [command, ...args] of plan.steps) {
    const result = spawnSync(command, args, {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
    // An update fails when one of several sources cannot be reached; what is known may still be enough to install.
    if (result.status !== 0 && !args.includes('update')) fail(`${command} failed; run: ${commands}`);
  }
  const still = missingServices(path, names);
  if (still.length > 0) fail(`${still.map(({ name }) => name).join(', ')}: still not found after: ${commands}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
