// The newest publications this node had acknowledged, by whichever server: what it can restore of channels it does not
// receive. A server that took over has another address, so its own shard knows nothing of before.
import type { ChannelPosition } from '../broker.ts';
import type { PublishRequest } from '../publication.ts';

const MAX_BYTES = 4 * 1024 * 1024;
const MAX_AGE_MS = 10_000;
/** What an entry costs beside its body. */
const ENTRY_BYTES = 200;
const COMPACT_AT = 1_024;

export interface OwnPublication extends ChannelPosition {
  readonly request: PublishRequest;
  /** Monotonic, ms. */
  readonly atMs: number;
}

export interface OwnTail {
  add(publication: OwnPublication): void;
  /** In the order of their acknowledgement. */
  all(): readonly OwnPublication[];
}

export const createOwnTail = ({ maxBytes = MAX_BYTES, maxAgeMs = MAX_AGE_MS } = {}): OwnTail => {
  let entries: OwnPublication[] = [];
  let first = 0;
  let bytes = 0;

  const sizeOf = ({ request }: OwnPublication): number => ENTRY_BYTES + request.body.length;

  return {
    add(publication) {
      entries.push(publication);
      bytes += sizeOf(publication);
      for (;;) {
        const oldest = entries[first];
        if (oldest === undefined || (bytes <= maxBytes && publication.atMs - oldest.atMs <= maxAgeMs)) break;
        bytes -= sizeOf(oldest);
        first += 1;
      }
      if (first < COMPACT_AT || first * 2 < entries.length) return;
      entries = entries.slice(first);
      first = 0;
    },
    all: () => entries.slice(first),
  };
};
