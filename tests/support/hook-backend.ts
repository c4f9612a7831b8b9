// An application's backend for hooks: a real HTTP server whose answers a test decides, and that keeps what it was asked.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface HookCall {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  readonly body: Readonly<Record<string, unknown>>;
}

export type HookAnswer = (call: HookCall, response: ServerResponse) => void;

export interface HookBackend extends AsyncDisposable {
  readonly url: string;
  readonly calls: readonly HookCall[];
  /** What happens to calls from now on. */
  answerWith(answer: HookAnswer): void;
}

export const answerJson =
  (value: unknown, status = 200): HookAnswer =>
  (_, response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  };

/** Allows everything until told otherwise. */
export async function startHookBackend(): Promise<HookBackend> {
  const calls: HookCall[] = [];
  let answer: HookAnswer = answerJson({ allow: true });
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      const body = JSON.parse(text) as HookCall['body'];
      const call = { path: request.url ?? '', headers: request.headers, text, body };
      calls.push(call);
      answer(call, response);
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    answerWith: (next) => {
      answer = next;
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
}
