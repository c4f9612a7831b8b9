// Names of channels that lie in a wanted partition, for publications that prove a path.
import { partitionOf } from './partition.ts';

/** Answers `<prefix> <n>` with the lowest n whose name lies in the partition; about 128 are tried, once for each name. */
export const createProbeChannels = (): ((prefix: string, partition: number) => string) => {
  const known = new Map<string, string>();
  return (prefix, partition) => {
    const key = `${partition} ${prefix}`;
    let name = known.get(key);
    for (let n = 0; name === undefined; n += 1) {
      const candidate = `${prefix} ${n}`;
      if (partitionOf(candidate) === partition) name = candidate;
    }
    known.set(key, name);
    return name;
  };
};
