// A publication as the broker carries it: ready JSON with the few fields that routing and policies need beside it.

/** What a publisher hands to the broker. */
export interface PublishRequest {
  readonly channel: string;
  /**
   * UTF-8 text of one JSON object without position: `{"data":…,"key":"…","publisher":{…},"time":…}` (`data` and `time` always).
   * It is never parsed between publisher and socket; a dialect splices channel and offset in front.
   */
  readonly body: Buffer;
  /** Unix time at which the node accepted the publication, ms; equals `time` inside `body`. */
  readonly timeMs: number;
  /** Conflation key; equals `key` inside `body`. */
  readonly key?: string | undefined;
  /** A retry with the same id within 5 minutes on the same channel returns the first position with `duplicate: true`. */
  readonly messageId?: string | undefined;
  /** How much history the channel keeps; comes from the namespace. `size: 0` keeps none (positions go on all the same). */
  readonly history: HistoryBounds;
}

/** A message that is neither numbered nor kept. */
export interface EphemeralRequest {
  readonly channel: string;
  /** Both as in `PublishRequest`. */
  readonly key?: string | undefined;
  readonly body: Buffer;
  readonly timeMs: number;
}

/** Where a publication stands. `offset` 0 is the position before the first one. */
export interface ChannelPosition {
  readonly epoch: string;
  readonly offset: number;
}

/** A publication with its place in the numbering. It may be retained by the receiver: drivers hand out memory of its own. */
export interface Publication {
  readonly offset: number;
  readonly timeMs: number;
  readonly key: string | undefined;
  readonly body: Buffer;
  /** Of `body`, which a driver may have to make. */
  readonly bodyBytes: number;
}

export interface HistoryBounds {
  /** Publications kept at least as long as `ttlMs` allows; reads never return more than the newest `size`. */
  readonly size: number;
  /** Age after which a publication is no longer returned, ms. */
  readonly ttlMs: number;
}
