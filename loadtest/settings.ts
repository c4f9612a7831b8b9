// The settings of one load run and their form as environment variables, shared by the launcher and the k6 scripts.

/** What a scenario needs to know; times in milliseconds, rates per second over the whole run. */
export interface LoadSettings {
  readonly wsUrl: string;
  readonly apiUrl: string;
  readonly apiKey: string;
  /** Empty: the sockets connect without a token, as the development profile allows. */
  readonly token: string;
  /** Distinguishes the channels of this run from those of earlier runs on the same cluster. */
  readonly runId: string;
  readonly vus: number;
  readonly socketsPerVu: number;
  readonly channels: number;
  readonly publicationsPerSecond: number;
  readonly payloadBytes: number;
  /** Fan-out: all subscribers connect in this time, before the first publication. */
  readonly warmUpMs: number;
  /** Fan-out: how long publications are offered. */
  readonly durationMs: number;
  /** Connect storm: how long every socket stays open in each round. */
  readonly holdMs: number;
  /** Connect storm: how many times the whole herd comes back. */
  readonly rounds: number;
  readonly maxDeliveryP99Ms: number;
  readonly maxConnectP95Ms: number;
  /** Nobody else uses the cluster, so its connection count must return to zero. */
  readonly exclusive: boolean;
}

export const defaultSettings: LoadSettings = {
  wsUrl: '',
  apiUrl: '',
  apiKey: '',
  token: '',
  runId: 'manual',
  vus: 50,
  socketsPerVu: 5,
  channels: 1,
  publicationsPerSecond: 10,
  payloadBytes: 128,
  warmUpMs: 5_000,
  durationMs: 20_000,
  holdMs: 5_000,
  rounds: 3,
  maxDeliveryP99Ms: 500,
  maxConnectP95Ms: 2_000,
  exclusive: false,
};

type Environment = Readonly<Record<string, string | undefined>>;

const environmentPrefix = 'WEIR_LOADTEST_';

const environmentName = (key: string): string =>
  environmentPrefix + key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();

/** The settings as the variables `settingsFromEnvironment` reads. */
export function settingsToEnvironment(settings: LoadSettings): Record<string, string> {
  return Object.fromEntries(Object.entries(settings).map(([key, value]) => [environmentName(key), String(value)]));
}

/** Reads the settings a k6 script was started with; throws with the variable's name when one cannot be read. */
export function settingsFromEnvironment(environment: Environment): LoadSettings {
  const read = (key: string, fallback: string | number | boolean): string | number | boolean => {
    const name = environmentName(key);
    const text = environment[name];
    if (text === undefined) return fallback;
    if (typeof fallback === 'string') return text;
    if (typeof fallback === 'boolean') {
      if (text !== 'true' && text !== 'false') throw new Error(`${name}: expected true or false, got "${text}"`);
      return text === 'true';
    }
    const value = Number(text);
    if (text.trim() === '' || !Number.isFinite(value)) throw new Error(`${name}: expected a number, got "${text}"`);
    return value;
  };
  const entries = Object.entries(defaultSettings).map(([key, fallback]: [string, string | number | boolean]) => [
    key,
    read(key, fallback),
  ]);
  const settings = Object.fromEntries(entries) as unknown as LoadSettings;
  for (const key of ['wsUrl', 'apiUrl', 'apiKey'] as const) {
    if (settings[key] === '')
      throw new Error(`${environmentName(key)} is missing; start the scripts by "npm run loadtest"`);
  }
  return settings;
}

/** The channels of one run; without a namespace part they live in the namespace `default`. */
export function channelNames(settings: Pick<LoadSettings, 'channels' | 'runId'>, scenario: string): string[] {
  return Array.from({ length: settings.channels }, (_, index) => `loadtest-${scenario}-${settings.runId}-${index}`);
}
