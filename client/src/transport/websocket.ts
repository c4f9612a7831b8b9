// The WebSocket transport, over the global WebSocket, a given constructor, or the optional package `ws` on Node.
import { transportFailed, WeirError, webSocketMissing } from '../errors.ts';
import type { Transport, TransportFactory, TransportHandlers } from './transport.ts';

/** Structural, so that browsers, Node's own WebSocket and `ws` all fit. */
export interface WebSocketLike {
  onopen: ((event: never) => unknown) | null;
  onmessage: ((event: never) => unknown) | null;
  onclose: ((event: never) => unknown) | null;
  onerror: ((event: never) => unknown) | null;
  readonly bufferedAmount: number;
  readonly readyState: number;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}
export type WebSocketConstructor = new (url: string, protocols?: string | string[]) => WebSocketLike;

const SUB_PROTOCOL = 'weir.v1.json';
const OPEN = 1;
const ABNORMAL_CLOSE = 1006;

const findConstructor = async (given: WebSocketConstructor | undefined): Promise<WebSocketConstructor> => {
  const found = given ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
  if (found) return found;
  // Not a literal: bundlers for the browser must not try to resolve it.
  const name = ['w', 's'].join('');
  try {
    const module = (await import(/* webpackIgnore: true */ /* @vite-ignore */ name)) as {
      default: WebSocketConstructor;
    };
    return module.default;
  } catch (error) {
    throw webSocketMissing(error);
  }
};

/** Accepts http(s) and page-relative URLs too, which older WebSocket constructors refuse. */
const absoluteUrl = (url: string): string => {
  const base = (globalThis as { location?: { href: string } }).location?.href;
  return new URL(url, base).href.replace(/^http/, 'ws');
};

const openSocket = (given: WebSocketConstructor | undefined, url: string, handlers: TransportHandlers): Transport => {
  let socket: WebSocketLike | undefined;
  let state: 'live' | 'closed' = 'live';

  const end = (close: Parameters<TransportHandlers['onClose']>[0]): void => {
    if (state === 'closed') return;
    state = 'closed';
    handlers.onClose(close);
  };

  const start = async (): Promise<void> => {
    const Constructor = await findConstructor(given);
    if (isClosed()) return;
    socket = new Constructor(absoluteUrl(url), SUB_PROTOCOL);
    socket.onopen = () => {
      if (state === 'live') handlers.onOpen();
    };
    socket.onmessage = (event: { data: unknown }) => {
      if (state === 'live' && typeof event.data === 'string') handlers.onFrame(event.data);
    };
    socket.onclose = (event: { code: number; reason: string }) => end({ code: event.code, reason: event.reason });
    // `close` always follows; without a handler `ws` would throw.
    socket.onerror = () => undefined;
  };
  const isClosed = (): boolean => state === 'closed';

  start().catch((error: unknown) => {
    const known = error instanceof WeirError ? error : transportFailed(error);
    end({ code: ABNORMAL_CLOSE, reason: known.name, error: known });
  });

  return {
    send: (frame) => {
      if (socket?.readyState === OPEN) socket.send(frame);
    },
    close: (code, reason) => {
      state = 'closed';
      socket?.close(code, reason);
    },
    get bufferedBytes() {
      return socket?.bufferedAmount ?? 0;
    },
  };
};

/** Frames over `new WebSocket(url, 'weir.v1.json')`. Without `WebSocket`: the global one, else the package `ws`. */
export const webSocketTransport =
  (WebSocket?: WebSocketConstructor): TransportFactory =>
  (url, handlers) =>
    openSocket(WebSocket, url, handlers);
