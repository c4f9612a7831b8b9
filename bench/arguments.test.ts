import { describe, expect, test } from 'vitest';
import { parseBenchArguments } from './arguments.ts';

const scenarios = ['fanout', 'many-channels', 'connect'];
const parse = (...argv: string[]) => parseBenchArguments(argv, scenarios);

describe('the command line of the bench', () => {
  test('runs everything directly unless told otherwise', () => {
    expect(parse()).toMatchObject({
      kind: 'run',
      values: { scenarios, servers: undefined, throughHaproxy: false, depth: 'full', nodeArgs: [] },
    });
  });

  test('takes arguments of Node apart at their spaces', () => {
    expect(parse('--node-args=--allocation-site-pretenuring  --max-semi-space-size=16')).toMatchObject({
      values: { nodeArgs: ['--allocation-site-pretenuring', '--max-semi-space-size=16'] },
    });
  });

  test('takes through HAProxy what can go there, or what is named', () => {
    expect(parse('--through', 'haproxy')).toMatchObject({
      values: { scenarios: ['fanout', 'many-channels'], throughHaproxy: true },
    });
    expect(parse('--through=haproxy', '--scenario', 'fanout', '--server', 'weir-redis')).toMatchObject({
      values: { scenarios: ['fanout'], servers: ['weir-redis'], throughHaproxy: true },
    });
  });

  test.each([
    [['--through', 'nginx'], '--through: haproxy expected, got "nginx"'],
    [
      ['--through', 'haproxy', '--scenario', 'connect'],
      '--through: fanout, audience, many-channels run through HAProxy, connect not',
    ],
    [['--scenario', 'x'], '--scenario: one of fanout, many-channels, connect expected, got "x"'],
  ])('%j is refused by name', (argv, message) => {
    expect(parse(...argv)).toEqual({ kind: 'error', message });
  });
});
