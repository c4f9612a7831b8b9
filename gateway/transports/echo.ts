// Sends every message back: the far end of a conformance suite, over the same transport as clients.
import { closeCodes } from '../../protocol/codes.ts';
import type { TemplatedApp } from './engine.ts';
import type { Socket, SocketListener } from './socket.ts';
import { serveWebSocket, type WebSocketOptions } from './websocket.ts';

const createEcho = (socket: Socket): SocketListener => {
  const echo = (frame: Buffer | string, isBinary: boolean): void => {
    socket.send(frame, isBinary);
    if (socket.bufferedBytes() === Infinity) socket.end(closeCodes.stateLost.code, closeCodes.stateLost.name);
  };
  return {
    handleFrame: (frame) => echo(frame, false),
    handleBinary: (frame) => echo(frame, true),
    handleTooBig: () => socket.end(closeCodes.messageTooBig.code, closeCodes.messageTooBig.name),
    handleFlooded: () => socket.end(closeCodes.tooSlow.code, closeCodes.tooSlow.name),
    handleNoPong: () => socket.end(closeCodes.noPong.code, closeCodes.noPong.name),
    handleDrain: () => undefined,
    handleClosed: () => undefined,
  };
};

/** Serves the echo under the rules of `options`, but for the sub-protocol: whatever is offered, none is chosen. */
export const serveEcho = (app: TemplatedApp, path: string, options: WebSocketOptions): void =>
  serveWebSocket(app, path, {
    ...options,
    onHandshake: (handshake) => options.onHandshake({ ...handshake, subprotocols: [] }),
    onOpen: createEcho,
  });
