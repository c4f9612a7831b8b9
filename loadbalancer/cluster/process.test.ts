import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { describe, expect, it } from 'vitest';
import { waitFor } from '../../tests/support/wait-for.ts';
import { freePort } from './free-port.ts';
import { projectRoot } from './node-process.ts';
import { describeExit, ProcessStartError, startProcess } from './process.ts';
import { startRedis } from './redis-process.ts';

/** A child that runs JavaScript. */
const script = (code: string) => ({ name: 'child', command: process.execPath, args: ['-e', code] });
const STAY = 'setInterval(() => {}, 1000);';

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => {
      resolve(false);
    });
  });
}

describe('startProcess', () => {
  it('names the command to install when the binary is missing', async () => {
    const start = startProcess({
      name: 'redis',
      command: 'no-such-server',
      args: [],
      installHint: 'apt-get install redis-server',
    });
    await expect(start).rejects.toThrow(ProcessStartError);
    await expect(start).rejects.toThrow(
      'redis: command "no-such-server" was not found; install it with: apt-get install redis-server',
    );
  });

  it('fails with the exit code and the last output when the child ends before it is ready', async () => {
    const start = startProcess({
      ...script('console.log("reading"); console.error("port taken"); process.exitCode = 3;'),
      readyWhen: () => Promise.resolve(false),
    });
    await expect(start).rejects.toThrow(/child: ended before it was ready \(exit code 3\); its last output:\n/);
    await expect(start).rejects.toThrow(/reading/);
    await expect(start).rejects.toThrow(/port taken/);
  });

  it('ends the child and fails when it is not ready in time', async () => {
    let seen = 0;
    const start = startProcess({
      ...script(STAY),
      readyTimeoutMs: 100,
      readyWhen: (pid) => {
        seen = pid;
        return Promise.reject(new Error('refused'));
      },
    });
    await expect(start).rejects.toThrow('child: not ready after 100 ms (it wrote nothing)');
    expect(isAlive(seen)).toBe(false);
  });

  it('does not wait longer than the time allowed for a readiness answer that never comes', async () => {
    const start = startProcess({ ...script(STAY), readyTimeoutMs: 100, readyWhen: () => new Promise(() => undefined) });
    await expect(start).rejects.toThrow('not ready after 100 ms');
  });

  it('is ready when the condition holds, and not before', async () => {
    const lines: string[] = [];
    await using child = await startProcess({
      ...script(`console.log("up"); ${STAY}`),
      onLine: (line) => lines.push(line),
      readyWhen: () => Promise.resolve(lines.includes('up')),
    });
    expect(child.lastOutput()).toBe('up');
    expect(child.exit()).toBeUndefined();
  });

  it('keeps the last lines only', async () => {
    const child = await startProcess(script('for (let i = 1; i <= 500; i++) console.log("line " + i);'));
    await child.exited;
    const lines = child.lastOutput().split('\n');
    expect(lines).toHaveLength(40);
    expect(lines.at(-1)).toBe('line 500');
  });

  it('stops with SIGTERM, twice without harm', async () => {
    const child = await startProcess({
      ...script(`process.on("SIGTERM", () => process.exit(7)); console.log("up"); ${STAY}`),
      readyWhen: () => Promise.resolve(true),
    });
    await waitFor(() => child.lastOutput() === 'up', { description: 'the child to listen for signals' });
    await Promise.all([child.stop(), child.stop()]);
    expect(child.exit()).toEqual({ code: 7, signal: null });
    await child.stop();
  });

  it('kills a child that ignores SIGTERM once the time is up', async () => {
    const child = await startProcess(script(`process.on("SIGTERM", () => {}); console.log("up"); ${STAY}`));
    await waitFor(() => child.lastOutput() === 'up', { description: 'the child to ignore signals' });
    await child.stop(50);
    expect(describeExit(await child.exited)).toBe('signal SIGKILL');
  });

  it('stops a child that is suspended', async () => {
    const child = await startProcess(script(STAY));
    child.kill('SIGSTOP');
    await child.stop();
    expect(describeExit(await child.exited)).toBe('signal SIGTERM');
  });

  it('tells of a child that died by itself', async () => {
    const child = await startProcess(script(STAY));
    child.kill('SIGKILL');
    expect(await child.exited).toEqual({ code: null, signal: 'SIGKILL' });
    expect(child.exit()).toEqual({ code: null, signal: 'SIGKILL' });
  });

  it.each([
    ['it exits', 'process.exit(0);', undefined],
    ['it dies of an exception', 'throw new Error("boom");', undefined],
    ['it gets SIGTERM', '', 'SIGTERM'],
    ['it gets SIGINT', '', 'SIGINT'],
  ] as const)(
    'leaves neither children nor temporary files when the parent is gone because %s',
    async (_, ending, signal) => {
      const module = (file: string): string => JSON.stringify(`${projectRoot()}/loadbalancer/cluster/${file}`);
      const code = `
        const { startRedis } = await import(${module('redis-process.ts')});
        const { temporaryDirectory } = await import(${module('temporary-directory.ts')});
        const directory = await temporaryDirectory('orphan-test');
        console.log((await startRedis()).port + ' ' + directory.path);
        ${STAY}
        process.stdin.once('data', () => { ${ending} });`;
      const parent = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], {
        cwd: projectRoot(),
        stdio: ['pipe', 'pipe', 'ignore'],
      });
      const gone = new Promise((resolve) => parent.once('exit', resolve));
      const line = new Promise<string>((resolve) => createInterface({ input: parent.stdout }).once('line', resolve));
      const [port, directory = ''] = (await line).split(' ');
      expect(existsSync(directory)).toBe(true);
      expect(await isListening(Number(port))).toBe(true);
      if (signal === undefined) parent.stdin.end('go');
      else parent.kill(signal);
      await gone;
      // Not by its pid: a child of nobody stays a zombie until init looks.
      await waitFor(async () => !(await isListening(Number(port))), { description: 'the grandchild to be gone' });
      expect(existsSync(directory)).toBe(false);
    },
  );
});

describe('freePort', () => {
  it('never gives the same port twice, and each can be listened on', async () => {
    const ports = await Promise.all(Array.from({ length: 50 }, () => freePort()));
    expect(new Set(ports).size).toBe(50);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(ports[0], '127.0.0.1', resolve));
    const other = await freePort(ports[0]);
    expect(other).not.toBe(ports[0]);
    await new Promise((resolve) => server.close(resolve));
  });

  it('gives no port that another living process has, and takes over what a dead one left', async () => {
    const program = `import { freePort } from ${JSON.stringify(new URL('./free-port.ts', import.meta.url).href)};
      console.log(await freePort()); process.stdin.resume();`;
    const other = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program]);
    const port = Number(String((await once(other.stdout, 'data'))[0]));
    expect(await freePort(port)).not.toBe(port);
    const exit = once(other, 'exit');
    other.kill('SIGKILL');
    await exit;
    expect(await freePort(port)).toBe(port);
  });
});

describe('startRedis', () => {
  it('fails with the words of the server when the port is taken, even by another Redis', async () => {
    await using first = await startRedis();
    await expect(startRedis({ port: first.port })).rejects.toThrow(/Address already in use/);
  });

  it('starts on the port of one that was killed, and leaves no directory behind', async () => {
    const first = await startRedis();
    first.kill('SIGKILL');
    await first.exited;
    const second = await startRedis({ port: first.port, args: ['--maxmemory', '64mb'] });
    expect(second.url).toBe(`redis://127.0.0.1:${first.port}`);
    expect(second.pid).not.toBe(first.pid);
    await second.stop();
    expect(isAlive(second.pid)).toBe(false);
  });
});
