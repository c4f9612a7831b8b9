// Tests of the passage of load settings from the launcher into k6.
import { describe, expect, it } from 'vitest';
import { channelNames, defaultSettings, settingsFromEnvironment, settingsToEnvironment } from './settings.ts';

const complete = { ...defaultSettings, wsUrl: 'ws://h/v1/ws', apiUrl: 'http://h', apiKey: 'k' };

describe('load settings', () => {
  it('refuses a number that is none and names the variable', () => {
    const environment = { ...settingsToEnvironment(complete), WEIR_LOADTEST_VUS: 'many' };
    expect(() => settingsFromEnvironment(environment)).toThrow('WEIR_LOADTEST_VUS: expected a number, got "many"');
  });

  it('refuses an empty number instead of reading it as zero', () => {
    const environment = { ...settingsToEnvironment(complete), WEIR_LOADTEST_ROUNDS: '' };
    expect(() => settingsFromEnvironment(environment)).toThrow('WEIR_LOADTEST_ROUNDS');
  });

  it('says how to start the scripts when the cluster is not named', () => {
    expect(() => settingsFromEnvironment({})).toThrow(
      'WEIR_LOADTEST_WS_URL is missing; start the scripts by "npm run loadtest"',
    );
  });

  it('reads back what it wrote, types included', () => {
    const settings = { ...complete, vus: 7, exclusive: true, maxDeliveryP99Ms: 12.5, token: 'a.b.c' };
    expect(settingsFromEnvironment(settingsToEnvironment(settings))).toEqual(settings);
  });

  it('gives each run its own channels', () => {
    expect(channelNames({ channels: 2, runId: 'r1' }, 'fan-out')).toEqual([
      'loadtest-fan-out-r1-0',
      'loadtest-fan-out-r1-1',
    ]);
  });
});
