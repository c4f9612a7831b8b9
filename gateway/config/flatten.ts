// Nested mappings of a file become one value per key: `redis: {url}` and `redisUrl` are the same.
import { canonicalName, nearest } from './words.ts';

export interface RawValue {
  readonly raw: unknown;
  /** Where it was written, for messages: `WEIR_PORT`, or `weir.yaml: redis.url`. */
  readonly place: string;
}

export interface Flattened {
  readonly values: ReadonlyMap<string, RawValue>;
  readonly problems: readonly string[];
}

/** `keys` are the names that exist; `place` starts every message. A mapping is entered while its words can still become a key. */
export const flatten = (mapping: ReadonlyMap<unknown, unknown>, keys: readonly string[], place: string): Flattened => {
  const byName = new Map(keys.map((key) => [canonicalName([key]), key]));
  const names = [...byName.keys()];
  const groups = names.flatMap((name) => [...name.matchAll(/_/g)].map(({ index }) => name.slice(0, index)));
  const values = new Map<string, RawValue>();
  const problems: string[] = [];
  const visit = (node: ReadonlyMap<unknown, unknown>, path: readonly string[]): void => {
    for (const [segment, raw] of node) {
      const here = [...path, String(segment)];
      const name = canonicalName(here);
      const label = `${place}${here.join('.')}`;
      const key = byName.get(name);
      const leads = name !== '' && names.some((known) => known.startsWith(`${name}_`));
      // A mapping under a name that is a key and also starts others (`history: {size}`) can only mean the others.
      if (key !== undefined && !(leads && raw instanceof Map)) {
        const earlier = values.get(key);
        if (earlier === undefined) values.set(key, { raw, place: label });
        else problems.push(`${label}: given twice, first as ${earlier.place}`);
      } else if (leads && raw instanceof Map) {
        visit(raw as ReadonlyMap<unknown, unknown>, here);
      } else if (leads && raw === null) {
        // `redis:` with nothing below it says nothing.
      } else {
        const near = nearest(name, [...names, ...groups]);
        const hint = near === undefined ? '' : `; did you mean ${byName.get(near) ?? near.replaceAll('_', '.')}?`;
        problems.push(`${label}: unknown key${hint}`);
      }
    }
  };
  visit(mapping, []);
  return { values, problems };
};
