// A configuration as text for people: every value that applies, no secret.
import { stringify } from 'yaml';
import { formatRate, type Rate } from '../access/limits/rate.ts';
import type { Config } from './checked-config.ts';
import { configKeys, type ConfigKey } from './keys.ts';
import { withoutPassword } from './urls.ts';

const REDACTED = '***';

const redactValue = (key: ConfigKey, value: Config[ConfigKey]): unknown => {
  if (value === undefined) return undefined;
  if (key === 'apiKeys') {
    return (value as Config['apiKeys']).map(({ name, scopes, channels }) => ({
      name,
      secret: REDACTED,
      scopes,
      channels,
    }));
  }
  const { secret, form } = configKeys[key];
  if (form === 'rate' || form === 'byte-rate') return formatRate(value as Rate);
  if (secret === 'yes') return REDACTED;
  return secret === 'url' ? withoutPassword(value as string) : value;
};

/** Plain data safe to log; keys without a value are left out. */
const redactConfig = (config: Config): Readonly<Record<string, unknown>> => {
  const values: Record<string, unknown> = {};
  for (const key of Object.keys(configKeys) as ConfigKey[]) {
    const shown = redactValue(key, config[key]);
    if (shown !== undefined) values[key] = shown;
  }
  const namespaces: Record<string, unknown> = {};
  for (const { name, class: channelClass, history, rate, ...settings } of config.namespaces.values()) {
    const bounds = { history: { size: history.size, ttl: history.ttlMs } };
    namespaces[name] = { class: channelClass, ...(channelClass === 'durable' && bounds), ...settings };
    if (rate !== undefined) Object.assign(namespaces[name] as object, { rate: formatRate(rate) });
  }
  return { ...values, namespaces };
};

/** YAML in the form of the configuration file. */
export const printConfig = (config: Config): string =>
  stringify(redactConfig(config), { aliasDuplicateObjects: false });
