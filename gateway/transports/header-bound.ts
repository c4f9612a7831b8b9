// The bound of a request's head; the engine reads it from the environment while it is loaded, so this is imported before it.

/** The engine's own default of 4 KiB is less than browsers and proxies send; larger heads are refused with 431. Bytes. */
process.env.UWS_HTTP_MAX_HEADERS_SIZE ??= String(16 * 1024);
export const MAX_HEAD_BYTES = Number(process.env.UWS_HTTP_MAX_HEADERS_SIZE);
