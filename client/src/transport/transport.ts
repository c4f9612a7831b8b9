// The contract between the SDK and whatever carries its frames.
import type { WeirError } from '../errors.ts';

export interface TransportClose {
  /** Close code; 1006 when there was none. */
  code: number;
  reason: string;
  /** Set when the transport could not even try; a permanent error ends reconnecting. */
  error?: WeirError;
}

export interface TransportHandlers {
  onOpen(): void;
  onFrame(frame: string): void;
  onClose(close: TransportClose): void;
}

/**
 * One attempt to carry frames. Ordering: `onOpen` at most once, then `onFrame` in the order the server sent them, then
 * `onClose` exactly once, also when opening failed. No handler is called synchronously from the factory or from `send`.
 */
export interface Transport {
  /** MUST be called only between `onOpen` and `onClose`; never throws, a failure becomes `onClose`. */
  send(frame: string): void;
  /** May be called at any time, also before `onOpen`. Afterwards no handler MUST be called. */
  close(code: number, reason: string): void;
  /** Bytes accepted by `send` and not handed to the network yet. */
  readonly bufferedBytes: number;
}

export type TransportFactory = (url: string, handlers: TransportHandlers) => Transport;
