// What clients may make the engine keep of messages and heads that have not arrived whole, reserved because it cannot be measured.
//
// The engine gathers a message that comes in pieces, and a head that does, where nobody can look: nothing is told before it is
// whole, and a client that goes on answering pings between the fragments of a message may leave it unfinished for ever. So each
// socket counts with the most it may hold, up to a share of the memory budget; how many there may be is bounded too. When the
// sockets that may be there fit into the share, what clients do cannot take more than the budget. One that was told to end may keep
// its message for a while (`lingering.ts`), so it counts on.
import { MAX_HEAD_BYTES } from './header-bound.ts';
import { createLingering } from './lingering.ts';

/** The engine's own limit above ours, so that we can say 1009 before it drops the socket without a close frame. */
const FRAME_FACTOR = 1.25;
/** Part of the memory budget that is reserved at most. */
const SHARE = 0.5;

/** From this size on the engine drops a socket, bytes. */
export const engineFrameBytes = (maxFrameBytes: number): number => Math.ceil(maxFrameBytes * FRAME_FACTOR);

export interface InboundReserveOptions {
  readonly memoryBudgetBytes: number;
  readonly maxFrameBytes: number;
  readonly maxConnections: number;
  readonly maxHttpSockets: number;
  /** So much more is reserved, or less, bytes. */
  readonly onCharged: (bytes: number) => void;
}

export interface InboundReserve {
  /** TCP connections that are no WebSocket: requests, and handshakes that are not complete. */
  readonly httpSockets: number;
  /** Reserved now, bytes. */
  readonly bytes: number;
  /** What the sockets that are there may make the engine keep, bytes; more than is reserved when the share is used up. */
  readonly worstBytes: number;
  /** The same for as many sockets as there may be, bytes. */
  readonly highestBytes: number;
  /** What is reserved at most, bytes. */
  readonly maxBytes: number;
  /** Whether what may be reserved covers one of the HTTP sockets as a WebSocket. */
  readonly mayUpgrade: boolean;
  handleHttp(change: 'opened' | 'closed' | 'upgraded'): void;
  /** A WebSocket is gone, or was told to end. */
  handleClosed(how: 'gone' | 'ended'): void;
  close(): void;
}

export const createInboundReserve = (options: InboundReserveOptions): InboundReserve => {
  const { maxConnections, maxHttpSockets, onCharged } = options;
  const frameBytes = engineFrameBytes(options.maxFrameBytes);
  const maxBytes = Math.floor(options.memoryBudgetBytes * SHARE);
  let webSockets = 0;
  let httpSockets = 0;
  let bytes = 0;

  const worst = (): number => (webSockets + ended.sum) * frameBytes + httpSockets * MAX_HEAD_BYTES;
  const settle = (): void => {
    const before = bytes;
    bytes = Math.min(maxBytes, worst());
    if (bytes !== before) onCharged(bytes - before);
  };

  const ended = createLingering(settle);

  return {
    get httpSockets() {
      return httpSockets;
    },
    get bytes() {
      return bytes;
    },
    get worstBytes() {
      return worst();
    },
    highestBytes: maxConnections * frameBytes + maxHttpSockets * MAX_HEAD_BYTES,
    maxBytes,
    get mayUpgrade() {
      return worst() - MAX_HEAD_BYTES + frameBytes <= maxBytes;
    },
    handleHttp(change) {
      httpSockets += change === 'opened' ? 1 : -1;
      if (change === 'upgraded') webSockets++;
      settle();
    },
    handleClosed(how) {
      webSockets--;
      if (how === 'ended') ended.add(1);
      settle();
    },
    close: () => ended.close(),
  };
};
