// Partitions split slots and channels evenly.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { HASH_SLOTS, PARTITIONS, PARTITION_TAGS, crc16, partitionOf, slotOfTag } from './partition.ts';

test('the hash is the one of Redis Cluster', () => {
  // Check value of CRC-16/XMODEM.
  expect(crc16('123456789')).toBe(0x31c3);
});

test('partition i lies in the i-th of 128 equal bands of slots', () => {
  const bandSlots = HASH_SLOTS / PARTITIONS;
  expect(PARTITION_TAGS.map((tag) => Math.floor(slotOfTag(tag) / bandSlots))).toEqual([...Array(PARTITIONS).keys()]);
});

test('the tags never change, since stored keys carry them', () => {
  expect(crc16(PARTITION_TAGS.join(' '))).toMatchInlineSnapshot(`59780`);
  expect(PARTITION_TAGS.slice(0, 4)).toMatchInlineSnapshot(`
    [
      "14",
      "10",
      "6u",
      "18",
    ]
  `);
});

test('channels keep their partition, since stored keys carry it', () => {
  expect(['', 'a', 'orders', 'chat:room-1', 'räume'].map(partitionOf)).toMatchInlineSnapshot(`
    [
      11,
      51,
      72,
      101,
      75,
    ]
  `);
});

test('every channel has a partition, always the same', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (channel) => {
      const partition = partitionOf(channel);
      expect(Number.isInteger(partition) && partition >= 0 && partition < PARTITIONS).toBe(true);
      expect(partitionOf(channel)).toBe(partition);
    }),
  );
});

test('channels named in a series are spread evenly, whatever surrounds the number', () => {
  fc.assert(
    fc.property(
      fc.string({ maxLength: 12 }),
      fc.string({ maxLength: 12 }),
      fc.nat(1_000_000),
      (before, after, from) => {
        const perPartition = 64;
        const counts = new Array<number>(PARTITIONS).fill(0);
        for (let n = 0; n < perPartition * PARTITIONS; n += 1) {
          const partition = partitionOf(`${before}${from + n}${after}`);
          counts[partition] = counts[partition]! + 1;
        }
        // Chi-squared with 127 degrees of freedom: beyond 240 has a probability below 1e-8 for a fair spread.
        const chiSquared = counts.reduce((sum, count) => sum + (count - perPartition) ** 2 / perPartition, 0);
        expect(chiSquared).toBeLessThan(240);
      },
    ),
    { numRuns: 60 },
  );
});
