// Builds everything that is shipped: the gateway and its rooms, the SDK, the console.
import { execFileSync } from 'node:child_process';
import { cpSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const run = (...args) => execFileSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
const parts = process.argv.slice(2);
const wants = (part) => parts.length === 0 || parts.includes(part);

if (wants('gateway')) {
  for (const room of ['protocol', 'broker', 'gateway', 'loadbalancer']) {
    rmSync(`${root}/dist/${room}`, { recursive: true, force: true });
  }
  run('node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json');
  // Scripts that run inside Redis are read at start-up from beside their driver.
  cpSync(`${root}/broker/redis/lua`, `${root}/dist/broker/redis/lua`, { recursive: true });
}
if (wants('client')) run('client/build.mjs');
if (wants('console')) run('console/build.mjs');
