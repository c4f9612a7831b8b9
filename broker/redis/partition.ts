// Where a channel lives: one of 128 partitions, each named by a hash tag that puts its keys into its own band of hash slots.
//
// The tags are there from the first key on, so that a standalone Redis and a cluster hold the same names: partition i
// owns slots [i * 128, (i + 1) * 128), hence any even split of the slots is an even split of the partitions.
import { nameHash } from '../name-hash.ts';

export const PARTITIONS = 128;
export const HASH_SLOTS = 16_384;
const SLOTS_PER_PARTITION = HASH_SLOTS / PARTITIONS;

const CRC16_POLYNOMIAL = 0x1021;

/** CRC16 (XMODEM) of ASCII text, as Redis Cluster computes it over a hash tag. */
export const crc16 = (text: string): number => {
  let crc = 0;
  for (let i = 0; i < text.length; i += 1) {
    crc ^= (text.charCodeAt(i) & 0xff) << 8;
    for (let bit = 0; bit < 8; bit += 1) {
      crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ CRC16_POLYNOMIAL;
    }
    crc &= 0xffff;
  }
  return crc;
};

export const slotOfTag = (tag: string): number => crc16(tag) % HASH_SLOTS;

/** The shortest base-36 number whose slot lies in the band, for every band: a pure function, so that all nodes agree for ever. */
const computeTags = (): readonly string[] => {
  const tags = new Array<string>(PARTITIONS).fill('');
  let missing = PARTITIONS;
  for (let candidate = 0; missing > 0; candidate += 1) {
    const tag = candidate.toString(36);
    const partition = Math.floor(slotOfTag(tag) / SLOTS_PER_PARTITION);
    if (tags[partition] !== '') continue;
    tags[partition] = tag;
    missing -= 1;
  }
  return tags;
};

export const PARTITION_TAGS: readonly string[] = computeTags();

/** Partition of a channel. */
export const partitionOf = (channel: string): number => nameHash(channel) % PARTITIONS;
