// A hash of names that all nodes agree on for ever: part of the data format.

/**
 * FNV-1a over the UTF-16 units with the finaliser of MurmurHash3, because FNV alone leaves the low bits of similar names correlated.
 * Unsigned, 32 bits.
 */
export const nameHash = (name: string): number => {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i += 1) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  hash ^= hash >>> 16;
  return hash >>> 0;
};
