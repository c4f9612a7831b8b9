// The contract between a socket and its connection, whatever transport carries it.
//
// - The transport creates it open and tells the connection when it closed; after that every call is a silent no-op.
// - `send` takes a whole frame at once and never throws; what the kernel does not take is buffered in order.
export interface Socket {
  /** A text frame unless told otherwise. */
  send(frame: Buffer | string, isBinary?: boolean): void;
  /** Frames sent inside `write` leave in one system call. `write` must not await. */
  cork(write: () => void): void;
  /** Bytes accepted by `send` that the kernel has not taken; Infinity once a frame was lost, which ends the connection. */
  bufferedBytes(): number;
  /** Absent where the transport has no topics of its own. */
  readonly topics?: SocketTopics;
  /** Closes with a code and a short reason (at most 123 bytes of UTF-8) after what is buffered. */
  end(code: number, reason: string): void;
  /** Cuts the connection without a close frame and gives back at once what is buffered for it. */
  cut(): void;
}

/** What is published under a topic reaches every socket that joined it, behind what was sent before. Silent no-ops after the end. */
export interface SocketTopics {
  join(topic: string): void;
  leave(topic: string): void;
}

/** Who a transport tells what happens to a socket. */
export interface SocketListener {
  /** One whole text frame and its size on the wire. */
  handleFrame(frame: string, bytes: number): void;
  /** One whole binary frame; its memory is only valid during the call. */
  handleBinary(frame: Buffer): void;
  /** The client has control frames answered and does not read the answers. */
  handleFlooded(): void;
  /** A frame over the bound; it was not read. */
  handleTooBig(): void;
  /** Nothing was heard from the client for too long, its answer to a ping included. */
  handleNoPong(): void;
  /** What was buffered shrank. */
  handleDrain(): void;
  /** The socket is gone, by whatever side; the last call. */
  handleClosed(code: number): void;
}
