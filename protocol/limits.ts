// Limits that are part of the protocol itself: every implementation shares them, none is configurable.

/** Commands a client may put into one frame (protocol §1). */
export const MAX_COMMANDS_PER_FRAME = 64;
/** Consecutive malformed commands after which a connection is closed with 3501 (protocol §1). */
export const MAX_CONSECUTIVE_BAD_REQUESTS = 10;
/** Largest command id: 2^31-1 (protocol §3). */
export const MAX_COMMAND_ID = 2 ** 31 - 1;
/** Time a client has to send `connect`, ms (protocol §3). */
export const CONNECT_DEADLINE_MS = 10_000;
/** Longest channel name, characters (protocol §2). */
export const MAX_CHANNEL_LENGTH = 200;
/** Largest page of a history request, messages (protocol §3). */
export const MAX_HISTORY_LIMIT = 1000;
/** Page of a history request that names no limit, messages. */
export const DEFAULT_HISTORY_LIMIT = 100;
/** Commands in one `POST /v1/batch` (protocol §7). */
export const MAX_BATCH_COMMANDS = 1000;
/** Channels in one `POST /v1/publish` (protocol §7). */
export const MAX_PUBLISH_CHANNELS = 1000;
/** Longest `messageId` and `key`, characters. */
export const MAX_KEY_LENGTH = 200;
/** How long a `messageId` is remembered, ms (issue of the spine: 5 min). */
export const IDEMPOTENCY_WINDOW_MS = 300_000;
/** Largest page of `GET /v1/channels`, channels. */
export const MAX_CHANNELS_PAGE = 1000;
/** Page of `GET /v1/channels` that names no limit, channels. */
export const DEFAULT_CHANNELS_PAGE = 100;
/** Times a drain may be given by a request, ms: the shortest lets its own answer out. */
export const MIN_DRAIN_TIMEOUT_MS = 1000;
export const MAX_DRAIN_TIMEOUT_MS = 86_400_000;
