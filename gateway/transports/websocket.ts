// WebSockets on uWebSockets.js: the handshake's checks, sockets for connections, and the engine's traps kept out of the way.
//
// Traps (each measured): nothing may be called inside `dropped`; after close every method throws; only one socket may be
// corked at a time; message memory is only valid during the call.
import type { HttpAnswer } from './http.ts';
import { writeAnswer } from './http.ts';
import type { HttpRequest, HttpResponse, TemplatedApp, us_socket_context_t, WebSocket } from './engine.ts';
import { idleTimeoutS } from './ping-interval.ts';
import type { Socket, SocketListener } from './socket.ts';

/** What the engine keeps per socket. The last two are set when the socket opens. */
interface SocketData {
  readonly address: string;
  socket: EngineBackedSocket | undefined;
  listener: SocketListener | undefined;
}

type EngineSocket = WebSocket<SocketData>;

export interface Handshake {
  /** Empty when the client sent none. */
  readonly origin: string;
  /** Offered sub-protocols in order. */
  readonly subprotocols: readonly string[];
  readonly remoteAddress: string;
  readonly realIpHeader: string;
  readonly version: string;
  /** What the client wants to upgrade to. */
  readonly upgrade: string;
}

export type HandshakeDecision =
  | { readonly kind: 'accept'; readonly subprotocol: string | undefined; readonly address: string }
  | { readonly kind: 'refuse'; readonly answer: HttpAnswer };

export interface WebSocketOptions {
  /** Frames above are answered with 1009; from the engine's own limit on the socket is dropped. Bytes. */
  readonly maxFrameBytes: number;
  /** Bytes the engine may buffer per socket; far above the bound at which connections are closed. */
  readonly maxBackpressureBytes: number;
  /** Protocol pings after this long without traffic, ms; within `PING_INTERVAL_MS`. */
  readonly pingIntervalMs: number;
  readonly onHandshake: (handshake: Handshake) => HandshakeDecision;
  readonly onOpen: (socket: Socket, address: string) => SocketListener;
}

/** The engine's own limit above ours, so that we can say 1009 before it drops the socket without a close frame. */
const ENGINE_FRAME_FACTOR = 2;

/** A socket that forgets its engine socket when it closes, because every engine call after that throws. */
class EngineBackedSocket implements Socket {
  private ws: EngineSocket | null;
  private hasDropped = false;

  constructor(ws: EngineSocket) {
    this.ws = ws;
  }

  send(frame: Buffer | string): void {
    if (this.ws?.send(frame, false) === SEND_DROPPED) this.hasDropped = true;
  }

  cork(write: () => void): void {
    this.ws?.cork(write);
  }

  bufferedBytes(): number {
    return this.hasDropped ? Infinity : (this.ws?.getBufferedAmount() ?? 0);
  }

  end(code: number, reason: string): void {
    const { ws } = this;
    this.ws = null;
    ws?.end(code, reason);
  }

  cut(): void {
    const { ws } = this;
    this.ws = null;
    ws?.close();
  }

  /** The engine closed it. */
  release(): void {
    this.ws = null;
  }
}

/** What the engine's `send` returns for a frame it threw away because its own buffer bound was reached. */
const SEND_DROPPED = 2;

const textOf = (buffer: ArrayBuffer): string => Buffer.from(buffer).toString();

const handshakeOf = (res: HttpResponse, req: HttpRequest): Handshake => ({
  origin: req.getHeader('origin'),
  subprotocols: req
    .getHeader('sec-websocket-protocol')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== ''),
  remoteAddress: textOf(res.getRemoteAddressAsText()),
  realIpHeader: req.getHeader('x-real-ip'),
  version: req.getHeader('sec-websocket-version'),
  upgrade: req.getHeader('upgrade'),
});

/** Serves a WebSocket path. A plain GET on it falls through to the HTTP routes. */
export const serveWebSocket = (app: TemplatedApp, path: string, options: WebSocketOptions): void => {
  const { maxFrameBytes, onHandshake, onOpen } = options;

  app.ws<SocketData>(path, {
    compression: 0,
    maxPayloadLength: maxFrameBytes * ENGINE_FRAME_FACTOR,
    maxBackpressure: options.maxBackpressureBytes,
    idleTimeout: idleTimeoutS(options.pingIntervalMs),
    sendPingsAutomatically: true,

    upgrade(res: HttpResponse, req: HttpRequest, context: us_socket_context_t) {
      const decision = onHandshake(handshakeOf(res, req));
      if (decision.kind === 'refuse') {
        writeAnswer(res, decision.answer);
        return;
      }
      const data: SocketData = { address: decision.address, socket: undefined, listener: undefined };
      const key = req.getHeader('sec-websocket-key');
      res.upgrade(data, key, decision.subprotocol ?? '', req.getHeader('sec-websocket-extensions'), context);
    },

    open(ws: EngineSocket) {
      const data = ws.getUserData();
      data.socket = new EngineBackedSocket(ws);
      data.listener = onOpen(data.socket, data.address);
    },

    message(ws: EngineSocket, message: ArrayBuffer, isBinary: boolean) {
      const { listener } = ws.getUserData();
      if (message.byteLength > maxFrameBytes) {
        listener?.handleTooBig();
      } else if (isBinary) listener?.handleMalformed('expected a text frame, got a binary one');
      else listener?.handleFrame(textOf(message), message.byteLength);
    },

    drain(ws: EngineSocket) {
      ws.getUserData().listener?.handleDrain();
    },

    close(ws: EngineSocket, code: number) {
      const { listener, socket } = ws.getUserData();
      socket?.release();
      listener?.handleClosed(code);
    },
  });
};
