import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { parseClusterArguments } from './arguments.ts';
import { projectRoot } from './node-process.ts';

describe('the command line of the cluster', () => {
  it.each<[string[], string]>([
    [['--nodes', '0'], '--nodes: an integer from 1 to 64 expected, got "0"'],
    [['--nodes', '65'], '--nodes: an integer from 1 to 64'],
    [['--nodes', '3x'], 'got "3x"'],
    [['--nodes', '1e1'], 'got "1e1"'],
    [['--port', '70000'], '--port: an integer from 1 to 65535 expected, got "70000"'],
    [['--redis-port', 'a'], '--redis-port'],
    [['--balance', 'fastest'], '--balance: one of leastconn, roundrobin, random, source expected, got "fastest"'],
    [['--node', '3'], '--node'],
    [['--nodes'], '--nodes'],
    [['3'], '3'],
  ])('%j is refused with a line that names the mistake', (argv, words) => {
    const parsed = parseClusterArguments(argv);
    expect(parsed).toMatchObject({ kind: 'error', message: expect.stringContaining(words) as unknown });
  });

  it('starts three nodes with leastconn from source unless told otherwise', () => {
    expect(parseClusterArguments([])).toEqual({
      kind: 'run',
      values: { nodes: 3, port: undefined, redisPort: undefined, balance: 'leastconn', entry: 'source', roll: false },
    });
  });

  it('takes every option', () => {
    const argv = ['--nodes', '5', '--port=9000', '--redis-port', '6390', '--balance', 'random', '--built', '--roll'];
    expect(parseClusterArguments(argv)).toEqual({
      kind: 'run',
      values: { nodes: 5, port: 9000, redisPort: 6390, balance: 'random', entry: 'built', roll: true },
    });
  });

  it('exits with 64 and the usage when used wrongly, before anything starts', () => {
    const argv = ['--import', 'tsx', 'loadbalancer/cluster/main.ts', '--nodes', 'many'];
    const { status, stdout, stderr } = spawnSync(process.execPath, argv, { cwd: projectRoot(), encoding: 'utf8' });
    expect(status).toBe(64);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^--nodes: an integer from 1 to 64 expected, got "many"\n\nUsage: npm run cluster/);
  });
});
