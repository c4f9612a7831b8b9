import { expect, it } from 'vitest';
import { PARTITIONS, partitionOf } from './partition.ts';
import { createProbeChannels } from './probe-channels.ts';

it('names a channel in every partition, the same one each time', () => {
  const nameOf = createProbeChannels();
  const partitions = Array.from({ length: PARTITIONS }, (_, partition) => partition);
  const names = partitions.map((partition) => nameOf('$canary node-1', partition));
  expect(names.map(partitionOf)).toEqual(partitions);
  expect(names.every((name) => name.startsWith('$canary node-1 '))).toBe(true);
  const again = createProbeChannels();
  expect(partitions.map((partition) => again('$canary node-1', partition))).toEqual(names);
});
