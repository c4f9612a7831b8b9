// Rehearses the container image without a container engine: follows the steps of the Containerfile in an empty folder, then runs what they made
// as an unprivileged user on a read-only root, without capabilities and without new privileges. Linux, as root: it makes mounts of its own.
//
// What it cannot show: the base image. Its Node is the one of this machine.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { freePort } from '../loadbalancer/cluster/free-port.ts';
import { describeExit, startProcess } from '../loadbalancer/cluster/process.ts';
import { temporaryDirectory } from '../loadbalancer/cluster/temporary-directory.ts';

const root = join(import.meta.dirname, '..');
/** `node` in the base image. */
const USER_ID = '1000';
const API_KEY = 'secret-of-the-rehearsal-0123456789abcdef';

interface Step {
  readonly word: string;
  readonly rest: string;
}

/** One list of steps for each stage, continued lines joined. */
const stagesOf = (containerfile: string): Step[][] =>
  containerfile
    .replaceAll(/\\\n/g, ' ')
    .split(/^FROM .*$/m)
    .slice(1)
    .map((stage) =>
      stage.split('\n').flatMap((line) => {
        const [, word = '', rest = ''] = /^([A-Z]+) (.*)$/.exec(line) ?? [];
        return word === '' ? [] : [{ word, rest: rest.trim() }];
      }),
    );

/** As COPY does: a folder brings what is in it, and a destination that ends in `/` keeps the name of a file. */
const copy = (from: string, to: string, rest: string): void => {
  const words = rest.split(/\s+/).filter((word) => !word.startsWith('--'));
  const destination = words.pop()!;
  for (const source of words) {
    const path = source.replace(/^\/app\//, '');
    const target = destination.endsWith('/') ? join(destination, basename(path)) : destination;
    mkdirSync(dirname(join(to, target)), { recursive: true });
    cpSync(join(from, path), join(to, target), { recursive: true, verbatimSymlinks: true });
  }
};

const perform = (steps: readonly Step[], from: string, to: string): void => {
  for (const { word, rest } of steps) {
    if (word === 'COPY') copy(from, to, rest);
    if (word !== 'RUN') continue;
    console.log(`RUN ${rest.slice(0, 100)}`);
    execFileSync('sh', ['-c', rest], { cwd: to, stdio: ['ignore', 'inherit', 'inherit'] });
  }
};

/**
 * Runs what follows in the folder `$2` as a container with a read-only root would; `$1` is where that root is put together. What the kernel
 * provides (`/proc`, `/dev`, `/sys`) stays as it is.
 */
const CONFINED = `root="$1" app="$2"
shift 2
mount --rbind / "$root"
findmnt -Rrno TARGET "$root" | grep -vE "^$root/(proc|dev|sys)(/|$)" | while read -r at; do mount -o remount,bind,ro "$at"; done
exec chroot "$root" setpriv --reuid=${USER_ID} --regid=${USER_ID} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
  sh -c 'cd "$0" && exec "$@"' "$app" "$@"`;

const stages = stagesOf(readFileSync(join(import.meta.dirname, 'Containerfile'), 'utf8'));
const [build, image] = stages as [Step[], Step[]];
const folder = await temporaryDirectory('image');
try {
  await chmod(folder.path, 0o755);
  const [workshop, app, newRoot] = ['build', 'app', 'root'].map((name) => join(folder.path, name)) as [
    string,
    string,
    string,
  ];
  for (const path of [workshop, app, newRoot]) mkdirSync(path);
  perform(build, root, workshop);
  perform(image, workshop, app);
  const confined = (...command: readonly string[]): string[] => [
    ...['--mount', '--propagation', 'private', 'sh', '-ec', CONFINED, 'sh', newRoot, app],
    ...command,
  ];
  const tried = ['.', '/tmp', '/var/tmp', '/etc'].map((path) => `! touch ${path}/written 2>/dev/null`).join(' && ');
  execFileSync(
    'unshare',
    confined('sh', '-c', `${tried} && grep -q "^CapEff:\\s*0*$" /proc/self/status && test "$(id -u)" = ${USER_ID}`),
  );
  console.log('nothing can be written, nothing is privileged');

  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const [, entry = ''] = JSON.parse(image.find(({ word }) => word === 'ENTRYPOINT')!.rest) as string[];
  const settings = image.filter(({ word }) => word === 'ENV').flatMap(({ rest }) => rest.split(/\s+/));
  const node = await startProcess({
    name: 'image',
    command: 'unshare',
    args: confined('node', entry),
    env: {
      ...Object.fromEntries(settings.map((setting) => setting.split('=') as [string, string])),
      PATH: process.env['PATH'],
      WEIR_HOST: '127.0.0.1',
      WEIR_PORT: String(port),
      WEIR_API_KEYS: `rehearsal=${API_KEY}`,
      WEIR_JWT_SECRET: `${API_KEY}-of-tokens`,
    },
    readyWhen: async () => (await fetch(`${url}/health/ready`)).status === 200,
  });
  const published = await fetch(`${url}/v1/publish`, {
    method: 'POST',
    headers: { 'X-API-Key': API_KEY },
    body: JSON.stringify({ channel: 'rehearsal', data: 'works' }),
  });
  const answer = await published.text();
  const isUnprivileged = readFileSync(`/proc/${node.pid}/status`, 'utf8').includes(`\nUid:\t${USER_ID}\t`);
  await node.stop();
  const ended = describeExit(await node.exited);
  console.log({ uid: isUnprivileged ? USER_ID : 'another', publish: published.status, answer, ended });
  const works = isUnprivileged && published.status === 200 && ended === 'exit code 0';
  if (!works) throw new Error(`the image does not work; its last output:\n${node.lastOutput()}`);
  console.log(
    'the image works: built as the Containerfile says, served and drained as an unprivileged user on a read-only root',
  );
} finally {
  await folder.remove();
}
