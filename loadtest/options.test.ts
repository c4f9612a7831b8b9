// Tests of the load test's command line.
import { describe, expect, it } from 'vitest';
import { helpText, LoadOptionsError, parseLoadOptions } from './options.ts';

const parse = (args: string[], environment: Record<string, string> = {}) => parseLoadOptions(args, environment, 'r1');

describe('command line of the load test', () => {
  it.each([
    [['--vus', 'many'], '--vus: an integer of at least 1 expected, got "many"'],
    [['--vus', '0'], '--vus: an integer of at least 1'],
    [['--nodes', '1.5'], '--nodes: an integer'],
    [['--rate', ''], '--rate: an integer'],
    [['--scenario', 'soak'], '--scenario: connect-storm, fan-out or all expected, got "soak"'],
    [['--bogus'], '--bogus'],
    [['stray'], 'stray'],
    [['--ws-url', 'ws://h'], 'belong together'],
    [['--ws-url', 'ws://h', '--api-url', 'http://h'], 'WEIR_LOADTEST_API_KEY'],
  ])('refuses %j and says why', (args, message) => {
    expect(() => parse(args)).toThrow(LoadOptionsError);
    expect(() => parse(args)).toThrow(message);
  });

  it('runs every scenario on a local cluster of three nodes by default', () => {
    expect(parse([])).toMatchObject({
      kind: 'run',
      scenarios: ['connect-storm', 'fan-out'],
      target: { kind: 'local', nodes: 3 },
      settings: { runId: 'r1', exclusive: true },
    });
  });

  it('passes numbers into the settings', () => {
    expect(parse(['--vus', '7', '--sockets-per-vu=9', '--scenario', 'fan-out', '--nodes', '2'])).toMatchObject({
      scenarios: ['fan-out'],
      target: { kind: 'local', nodes: 2 },
      settings: { vus: 7, socketsPerVu: 9 },
    });
  });

  it('loads a running cluster without expecting it to be empty afterwards', () => {
    const environment = { WEIR_LOADTEST_API_KEY: 'secret', WEIR_LOADTEST_TOKEN: 't' };
    expect(parse(['--ws-url', 'ws://h/v1/ws', '--api-url', 'http://h'], environment)).toMatchObject({
      target: { kind: 'given', wsUrl: 'ws://h/v1/ws', apiUrl: 'http://h', apiKey: 'secret' },
      settings: { token: 't', exclusive: false },
    });
  });

  it('explains every option on request', () => {
    expect(parse(['--help'])).toEqual({ kind: 'help' });
    for (const option of ['--scenario', '--nodes', '--vus', '--sockets-per-vu', '--rate', '--max-delivery-p99-ms']) {
      expect(helpText()).toContain(option);
    }
  });
});
