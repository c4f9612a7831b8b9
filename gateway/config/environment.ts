// The WEIR_ variables of the environment as raw values of keys.
import type { Flattened, RawValue } from './flatten.ts';
import { ENV_PREFIX, envNameOf, nearest } from './words.ts';

/** Names the file, so it is no key of the file. */
export const CONFIG_FILE_VARIABLE = 'WEIR_CONFIG';

/** What Kubernetes injects into every pod when a Service is called `weir`. */
const serviceLink = /^WEIR_(?:SERVICE_(?:HOST|PORT)|PORT_\d+_(?:TCP|UDP))/;
const serviceLinkValue = /^(?:tcp|udp):\/\//;
const SERVICE_LINK_HINT = 'a Kubernetes Service named weir sets it; use enableServiceLinks: false in the pod';

/** Files that hold secrets, as container platforms mount them. */
export interface SecretFiles {
  /** Keys whose variable has a twin that names a file. */
  readonly keys: readonly string[];
  readonly readFile: (path: string) => string;
}

/** `WEIR_JWT_SECRET` → `WEIR_JWT_SECRET_FILE`, which names a file that holds the value. */
export const secretFileVariable = (key: string): string => `${envNameOf(key)}_FILE`;

/** What the file says, without the line end that editors add; or what is wrong with it. */
const secretIn = (path: string, readFile: SecretFiles['readFile']): { value: string } | { problem: string } => {
  try {
    const value = readFile(path).replace(/\r?\n$/, '');
    return value.trim() === '' ? { problem: `"${path}" is empty` } : { value };
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? 'not readable';
    return { problem: `cannot read "${path}": ${reason}` };
  }
};

/** An empty variable counts as not set. */
export const environmentValues = (
  env: Readonly<Record<string, string | undefined>>,
  keys: readonly string[],
  secrets: SecretFiles,
): Flattened => {
  const keyOf = new Map(keys.map((key) => [envNameOf(key), key]));
  const fileOf = new Map(secrets.keys.map((key) => [secretFileVariable(key), key]));
  const values = new Map<string, RawValue>();
  const problems: string[] = [];
  for (const [name, raw] of Object.entries(env)) {
    if (!name.startsWith(ENV_PREFIX) || name === CONFIG_FILE_VARIABLE || raw === undefined) continue;
    const key = keyOf.get(name);
    const inFile = key === undefined ? fileOf.get(name) : undefined;
    if ((key ?? inFile) !== undefined && raw.trim() === '') continue;
    if (inFile !== undefined) {
      const found = secretIn(raw.trim(), secrets.readFile);
      const variable = envNameOf(inFile);
      if ((env[variable] ?? '').trim() !== '') problems.push(`${name}: ${variable} is set as well; set one of them`);
      else if ('problem' in found) problems.push(`${name}: ${found.problem}`);
      else values.set(inFile, { raw: found.value, place: name });
      continue;
    }
    if (key === 'port' && serviceLinkValue.test(raw)) problems.push(`${name}: ${SERVICE_LINK_HINT}`);
    else if (key !== undefined) values.set(key, { raw, place: name });
    else if (serviceLink.test(name)) problems.push(`${name}: unknown key; ${SERVICE_LINK_HINT}`);
    else {
      const near = nearest(name, [...keyOf.keys(), ...fileOf.keys(), CONFIG_FILE_VARIABLE]);
      problems.push(`${name}: unknown key${near === undefined ? '' : `; did you mean ${near}?`}`);
    }
  }
  return { values, problems };
};
