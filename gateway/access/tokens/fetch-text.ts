// Fetches one small text over HTTP: bounded in time and size, never redirected.

export interface FetchTextOptions {
  /** May hold `user:password@`, sent as Basic authentication. */
  readonly url: string;
  /** For the whole answer, ms. */
  readonly timeoutMs: number;
  readonly maxBytes: number;
}

/** `fetch` takes no credentials inside a URL. */
const splitCredentials = (text: string): { url: URL; authorization: string | undefined } => {
  const url = new URL(text);
  if (url.username === '' && url.password === '') return { url, authorization: undefined };
  const credentials = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  url.username = '';
  url.password = '';
  return { url, authorization: `Basic ${Buffer.from(credentials).toString('base64')}` };
};

/** Rejects for any status but 200, a redirect, a body over `maxBytes`, and after `timeoutMs`. Errors hold no credentials. */
export const createFetchText = ({
  url: text,
  timeoutMs,
  maxBytes,
}: FetchTextOptions): ((signal: AbortSignal) => Promise<string>) => {
  const { url, authorization } = splitCredentials(text);
  const headers = {
    accept: 'application/jwk-set+json, application/json',
    ...(authorization !== undefined && { authorization }),
  };
  return async (signal) => {
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    const response = await fetch(url, { headers, redirect: 'error', signal: bounded });
    if (response.status !== 200 || response.body === null) {
      await response.body?.cancel();
      throw new Error(`expected status 200, got ${response.status}`);
    }
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    // Leaving the loop by a throw cancels the body.
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw new Error(`expected at most ${maxBytes} bytes`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString();
  };
};
