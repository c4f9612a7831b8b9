// One POST to the application's backend: bounded in time and in the size of the answer, no redirects followed.
import http from 'node:http';
import https from 'node:https';
import { AddressRefused, createPublicLookup, isRefusedHost } from './public-addresses.ts';

export type PostOutcome =
  | { readonly kind: 'answer'; readonly status: number; readonly body: Buffer }
  | { readonly kind: 'failed'; readonly reason: 'timeout' | 'network' | 'tooLarge' | 'address' };

export interface PostOptions {
  readonly url: string;
  /** From the first byte sent to the last received, the connection included, ms. */
  readonly timeoutMs: number;
  readonly maxAnswerBytes: number;
  readonly maxSockets: number;
  /** `public`: the URL is not trusted to name a host of our own network. */
  readonly addresses: 'any' | 'public';
}

export interface HttpPost {
  /** Never rejects. */
  send(body: Buffer, headers: Readonly<Record<string, string>>): Promise<PostOutcome>;
  close(): void;
}

export const createHttpPost = ({ url, timeoutMs, maxAnswerBytes, maxSockets, addresses }: PostOptions): HttpPost => {
  const target = new URL(url);
  const client = target.protocol === 'https:' ? https : http;
  const agent = new client.Agent({ keepAlive: true, maxSockets });
  const isRefused = addresses === 'public' && isRefusedHost(target.hostname);
  const options = {
    method: 'POST',
    agent,
    ...(addresses === 'public' && { lookup: createPublicLookup() }),
  };

  return {
    send: (body, headers) =>
      new Promise((resolve) => {
        if (isRefused) {
          resolve({ kind: 'failed', reason: 'address' });
          return;
        }
        const request = client.request(target, {
          ...options,
          headers: { ...headers, 'content-type': 'application/json', 'content-length': body.length },
        });
        let isSettled = false;
        const finish = (outcome: PostOutcome): void => {
          if (isSettled) return;
          isSettled = true;
          clearTimeout(timer);
          resolve(outcome);
          // What still comes is nobody's; a whole answer leaves the connection to the next call.
          if (outcome.kind === 'failed') request.destroy();
        };
        const timer = setTimeout(() => finish({ kind: 'failed', reason: 'timeout' }), timeoutMs);
        const fail = (error: Error): void =>
          finish({ kind: 'failed', reason: error instanceof AddressRefused ? 'address' : 'network' });
        request.on('error', fail);
        request.on('response', (response) => {
          const chunks: Buffer[] = [];
          let bytes = 0;
          response.on('data', (chunk: Buffer) => {
            bytes += chunk.length;
            if (bytes > maxAnswerBytes) finish({ kind: 'failed', reason: 'tooLarge' });
            else chunks.push(chunk);
          });
          response.on('error', fail);
          response.on('end', () =>
            finish({ kind: 'answer', status: response.statusCode!, body: Buffer.concat(chunks) }),
          );
          response.on('close', () => fail(new Error('the answer was cut')));
        });
        request.end(body);
      }),
    close: () => agent.destroy(),
  };
};
