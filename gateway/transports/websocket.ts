// WebSockets on uWebSockets.js: the handshake's checks, sockets for connections, and the engine's traps kept out of the way.
//
// Traps (each measured): nothing may be called inside `dropped`; after close every method throws; only one socket may be
// corked at a time; message memory is only valid during the call.
import type { HttpAnswer } from './http.ts';
import { writeAnswer } from './http.ts';
import type { HttpRequest, HttpResponse, TemplatedApp, us_socket_context_t, WebSocket } from './engine.ts';
import { type Beat, ENGINE_IDLE_TIMEOUT_S, type HeartbeatSocket, type Heartbeats } from './heartbeat.ts';
import { engineFrameBytes, type InboundReserve } from './inbound-reserve.ts';
import type { Socket, SocketListener, SocketTopics } from './socket.ts';

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
  /** Offered sub-protocols in order; a faulty list holds empty ones. */
  readonly subprotocols: readonly string[];
  readonly remoteAddress: string;
  readonly realIpHeader: string;
  readonly version: string;
  /** What the client wants to upgrade to. */
  readonly upgrade: string;
  readonly connection: string;
  readonly key: string;
  readonly extensions: string;
  readonly host: string;
}

export type HandshakeDecision =
  | { readonly kind: 'accept'; readonly subprotocol: string | undefined; readonly address: string }
  | { readonly kind: 'refuse'; readonly answer: HttpAnswer };

export interface WebSocketOptions {
  /** Frames above are answered with 1009; from the engine's own limit on the socket is dropped. Bytes. */
  readonly maxFrameBytes: number;
  /** Bytes the engine may buffer per socket; far above the bound at which connections are closed. */
  readonly maxBackpressureBytes: number;
  /** Bytes that may wait for a client that goes on pinging without reading; beyond it `handleFlooded`. */
  readonly maxControlBacklogBytes: number;
  readonly heartbeats: Heartbeats;
  /** Takes account of what each socket may make the engine keep. */
  readonly inbound: Pick<InboundReserve, 'handleHttp' | 'handleClosed'>;
  readonly onHandshake: (handshake: Handshake) => HandshakeDecision;
  readonly onOpen: (socket: Socket, address: string) => SocketListener;
}

/** A socket that forgets its engine socket when it closes, because every engine call after that throws. */
class EngineBackedSocket implements Socket, SocketTopics, HeartbeatSocket {
  private ws: EngineSocket | null;
  private hasDropped = false;
  /** It was told to end, and may stay for a while. */
  hasEnded = false;
  readonly beat: Beat;

  constructor(ws: EngineSocket, heartbeats: Heartbeats) {
    this.ws = ws;
    // Itself, not an object with three functions: there is one for each connection.
    this.beat = heartbeats.add(this);
  }

  ping(): void {
    this.ws?.ping();
  }

  handleNoPong(): void {
    this.ws?.getUserData().listener?.handleNoPong();
  }

  send(frame: Buffer | string, isBinary = false): void {
    this.beat.sent(frame.length);
    if (this.ws?.send(frame, isBinary) === SEND_DROPPED) this.hasDropped = true;
  }

  cork(write: () => void): void {
    this.ws?.cork(write);
  }

  get topics(): SocketTopics {
    return this;
  }

  join(topic: string): void {
    this.ws?.subscribe(topic);
  }

  leave(topic: string): void {
    this.ws?.unsubscribe(topic);
  }

  /** The engine threw a published frame away. Nothing else may be called then. */
  handleDropped(): void {
    this.hasDropped = true;
  }

  bufferedBytes(): number {
    return this.hasDropped ? Infinity : (this.ws?.getBufferedAmount() ?? 0);
  }

  end(code: number, reason: string): void {
    const { ws } = this;
    this.release();
    this.hasEnded = true;
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
    this.beat.end();
  }
}

/** What the engine's `send` returns for a frame it threw away because its own buffer bound was reached. */
const SEND_DROPPED = 2;

const textOf = (buffer: ArrayBuffer): string => Buffer.from(buffer).toString();

const offeredIn = (header: string): string[] => (header === '' ? [] : header.split(',').map((name) => name.trim()));

const handshakeOf = (res: HttpResponse, req: HttpRequest): Handshake => ({
  origin: req.getHeader('origin'),
  subprotocols: offeredIn(req.getHeader('sec-websocket-protocol')),
  remoteAddress: textOf(res.getRemoteAddressAsText()),
  realIpHeader: req.getHeader('x-real-ip'),
  version: req.getHeader('sec-websocket-version'),
  upgrade: req.getHeader('upgrade'),
  connection: req.getHeader('connection'),
  key: req.getHeader('sec-websocket-key'),
  extensions: req.getHeader('sec-websocket-extensions'),
  host: req.getHeader('host'),
});

/** Serves a WebSocket path. A plain GET on it falls through to the HTTP routes. */
export const serveWebSocket = (app: TemplatedApp, path: string, options: WebSocketOptions): void => {
  const { maxFrameBytes, heartbeats, inbound, onHandshake, onOpen } = options;

  app.ws<SocketData>(path, {
    compression: 0,
    maxPayloadLength: engineFrameBytes(maxFrameBytes),
    maxBackpressure: options.maxBackpressureBytes,
    idleTimeout: ENGINE_IDLE_TIMEOUT_S,
    sendPingsAutomatically: false,

    upgrade(res: HttpResponse, req: HttpRequest, context: us_socket_context_t) {
      const handshake = handshakeOf(res, req);
      const decision = onHandshake(handshake);
      if (decision.kind === 'refuse') {
        writeAnswer(res, decision.answer);
        return;
      }
      const data: SocketData = { address: decision.address, socket: undefined, listener: undefined };
      const { key, extensions } = handshake;
      res.upgrade(data, key, decision.subprotocol ?? '', extensions, context);
    },

    open(ws: EngineSocket) {
      inbound.handleHttp('upgraded');
      const data = ws.getUserData();
      data.socket = new EngineBackedSocket(ws, heartbeats);
      data.listener = onOpen(data.socket, data.address);
    },

    message(ws: EngineSocket, message: ArrayBuffer, isBinary: boolean) {
      const { listener, socket } = ws.getUserData();
      socket?.beat.heard();
      if (message.byteLength > maxFrameBytes) {
        listener?.handleTooBig();
      } else if (isBinary) listener?.handleBinary(Buffer.from(message));
      else listener?.handleFrame(textOf(message), message.byteLength);
    },

    ping(ws: EngineSocket) {
      // The engine has answered it already. Who pings on and reads no pong fills the engine's buffer, not ours.
      const { listener, socket } = ws.getUserData();
      if (socket === undefined) return;
      socket.beat.heard();
      if (socket.bufferedBytes() > options.maxControlBacklogBytes) listener?.handleFlooded();
    },

    pong(ws: EngineSocket) {
      ws.getUserData().socket?.beat.heard();
    },

    dropped(ws: EngineSocket) {
      ws.getUserData().socket?.handleDropped();
    },

    drain(ws: EngineSocket) {
      const { listener, socket } = ws.getUserData();
      socket?.beat.drained();
      listener?.handleDrain();
    },

    close(ws: EngineSocket, code: number) {
      const { listener, socket } = ws.getUserData();
      inbound.handleClosed(socket?.hasEnded === true ? 'ended' : 'gone');
      socket?.release();
      listener?.handleClosed(code);
    },
  });
};
