// The WEIR_ variables of the environment as raw values of keys.
import type { Flattened, RawValue } from './flatten.ts';
import { ENV_PREFIX, envNameOf, nearest } from './words.ts';

/** Names the file, so it is no key of the file. */
export const CONFIG_FILE_VARIABLE = 'WEIR_CONFIG';

/** What Kubernetes injects into every pod when a Service is called `weir`. */
const serviceLink = /^WEIR_(?:SERVICE_(?:HOST|PORT)|PORT_\d+_(?:TCP|UDP))/;
const serviceLinkValue = /^(?:tcp|udp):\/\//;
const SERVICE_LINK_HINT = 'a Kubernetes Service named weir sets it; use enableServiceLinks: false in the pod';

/** An empty variable counts as not set. */
export const environmentValues = (
  env: Readonly<Record<string, string | undefined>>,
  keys: readonly string[],
): Flattened => {
  const keyOf = new Map(keys.map((key) => [envNameOf(key), key]));
  const values = new Map<string, RawValue>();
  const problems: string[] = [];
  for (const [name, raw] of Object.entries(env)) {
    if (!name.startsWith(ENV_PREFIX) || name === CONFIG_FILE_VARIABLE || raw === undefined) continue;
    const key = keyOf.get(name);
    if (key !== undefined && raw.trim() === '') continue;
    if (key === 'port' && serviceLinkValue.test(raw)) problems.push(`${name}: ${SERVICE_LINK_HINT}`);
    else if (key !== undefined) values.set(key, { raw, place: name });
    else if (serviceLink.test(name)) problems.push(`${name}: unknown key; ${SERVICE_LINK_HINT}`);
    else {
      const near = nearest(name, [...keyOf.keys(), CONFIG_FILE_VARIABLE]);
      problems.push(`${name}: unknown key${near === undefined ? '' : `; did you mean ${near}?`}`);
    }
  }
  return { values, problems };
};
