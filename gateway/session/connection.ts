// One client's connection: its state, its subscriptions, and the order in which its commands run.
//
// States: `open` (no connect yet) → `connected` → `closed`. Commands of a connection start in the order they came; replies
// carry the command's id and may overtake each other. Whatever happens to the socket ends in `handleClosed` exactly once.
import { closeCodes } from '../../protocol/codes.ts';
import type { Command } from '../../protocol/commands.ts';
import { MAX_CONSECUTIVE_BAD_REQUESTS } from '../../protocol/limits.ts';
import type { Who } from '../access/rights.ts';
import type { IdSource } from '../clock.ts';
import type { Decoded, Dialect, Outgoing } from '../dialects/dialect.ts';
import { Failure } from '../failure.ts';
import type { Lane, Subscriber, Subscription } from '../fanout/channel-state.ts';
import type { EphemeralSubscription } from '../fanout/ephemeral.ts';
import type { AnySubscription, Attached } from '../fanout/hub.ts';
import type { Asker } from '../hooks/hooks.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import type { Socket, SocketListener } from '../transports/socket.ts';

/** What a connection needs from its node; shared by all connections. */
export interface ConnectionHost {
  readonly metrics: MetricsRegistry;
  readonly ids: IdSource;
  readonly maxFrameBytes: number;
  /** Bytes a socket may have outstanding when a reply is added, before its connection ends with 3008. */
  readonly maxOutboxBytes: number;
  /** Runs a command and sends its reply. Never throws. */
  run(connection: Connection, command: Command): void;
  /** Any thrown value as what the client may know of it. */
  toFailure(connection: Connection, thrown: unknown): Failure;
  unsubscribe(subscription: AnySubscription): void;
  /** Called once per connection, while its subscriptions are still there. */
  onClosing(connection: Connection, code: number): void;
  /** The socket's backlog shrank. */
  onDrain(connection: Connection): void;
  /** Called once per connection, after its subscriptions ended. */
  onClosed(connection: Connection, code: number): void;
}

const ANONYMOUS: Who = { kind: 'anonymous' };

export type ConnectionState = 'open' | 'connected' | 'closed';

/** A subscription that is being opened; becomes the subscription itself. */
export type SubscriptionEntry = AnySubscription | Promise<Attached | EphemeralSubscription>;

export class Connection implements Subscriber, SocketListener {
  readonly id: string;
  /** The id it got, until it continues an earlier session. */
  session: string;
  readonly dialect: Dialect;
  /** Address of the client, as far as proxies are trusted. */
  readonly address: string;
  readonly subscriptions = new Map<string, SubscriptionEntry>();
  readonly who: Who = ANONYMOUS;
  state: ConnectionState = 'open';
  /** Subscriptions that were ended while they opened and have not settled yet: they count as held until then. */
  abandonedOpenings = 0;
  /** What the commands that are being worked on stand for, bytes. */
  pendingBytes = 0;
  /** What the command being run came in, bytes: its share of the frame. */
  commandBytes = 0;
  pendingHead: Subscription | null = null;
  parked = false;
  lane: Lane | null = null;
  private socket: Socket | null;
  private readonly host: ConnectionHost;
  private badRequests = 0;

  constructor(socket: Socket, dialect: Dialect, address: string, host: ConnectionHost) {
    this.socket = socket;
    this.dialect = dialect;
    this.address = address;
    this.host = host;
    this.id = host.ids.randomId();
    this.session = host.ids.randomId();
  }

  /** As hooks name it. */
  get asker(): Asker {
    const { who, id: connection, address } = this;
    return { connection, address, user: who.kind === 'user' ? who.user : undefined };
  }

  isOpen(): boolean {
    return this.socket !== null;
  }

  /** One text frame from the client, and its size on the wire. */
  handleFrame(frame: string, bytes: number): void {
    const { hot } = this.host.metrics;
    hot.framesReceived++;
    hot.bytesReceived += bytes;
    const commands = this.dialect.decode(frame);
    this.commandBytes = bytes / commands.length;
    for (const decoded of commands) {
      if (this.socket === null) return;
      this.handleDecoded(decoded);
    }
  }

  /** Something the dialect cannot carry at all, such as a binary frame. */
  handleMalformed(message: string): void {
    this.handleDecoded({ kind: 'error', error: 'badRequest', message });
  }

  handleTooBig(): void {
    this.close(closeCodes.messageTooBig.code, `expected frames of at most ${this.host.maxFrameBytes} bytes`);
  }

  private handleDecoded(decoded: Decoded): void {
    if (decoded.kind === 'command') {
      this.badRequests = 0;
      this.host.run(this, decoded.command);
      return;
    }
    this.replyFailure(decoded.id, new Failure(decoded.error, decoded.message));
    this.badRequests++;
    if (this.badRequests >= MAX_CONSECUTIVE_BAD_REQUESTS)
      this.close(closeCodes.badRequest.code, closeCodes.badRequest.name);
  }

  /** Sends a reply or push; nothing, not even its encoding, when the socket is gone. */
  send(message: Outgoing): void {
    if (this.socket === null) return;
    const frame = this.dialect.encode(message);
    this.socket.send(frame);
    // Messages stop before; what is left to bound is a client that asks much and does not read the answers.
    if (this.bufferedBytes() - frame.length > this.host.maxOutboxBytes) {
      this.close(closeCodes.tooSlow.code, closeCodes.tooSlow.name);
    }
  }

  /** Answers a command that failed; without an id the client is told by an error push. */
  replyFailure(id: number | undefined, thrown: unknown): void {
    const failure = this.host.toFailure(this, thrown);
    const { code, name, temporary } = failure.code;
    this.host.metrics.count('weir_command_errors_total', { name });
    const { message, retryAfterMs } = failure;
    this.send({ type: 'error', id, code, name, message, temporary, retryAfterMs });
  }

  /** Ends the connection with a close code; idempotent. */
  close(code: number, reason: string): void {
    const { socket } = this;
    if (socket === null) return;
    this.handleClosed(code);
    socket.end(code, reason);
  }

  /** The socket is gone, by whatever side: everything this connection held is given back. Idempotent. */
  handleClosed(code: number): void {
    if (this.socket === null) return;
    this.socket = null;
    this.state = 'closed';
    this.host.onClosing(this, code);
    for (const entry of this.subscriptions.values()) {
      if (entry instanceof Promise) this.abandonedOpenings++;
      else this.host.unsubscribe(entry);
    }
    this.subscriptions.clear();
    this.host.onClosed(this, code);
  }

  sendFrame(frame: Buffer): void {
    this.socket?.send(frame);
  }

  cork(write: () => void): void {
    this.socket?.cork(write);
  }

  listen(topic: string): boolean {
    const topics = this.socket?.topics;
    topics?.join(topic);
    return topics !== undefined;
  }

  unlisten(topic: string): void {
    this.socket?.topics?.leave(topic);
  }

  bufferedBytes(): number {
    return this.socket?.bufferedBytes() ?? 0;
  }

  handleLostFrame(): void {
    this.close(closeCodes.stateLost.code, closeCodes.stateLost.name);
  }

  handleNoPong(): void {
    this.close(closeCodes.noPong.code, closeCodes.noPong.name);
  }

  handleDrain(): void {
    this.host.onDrain(this);
  }
}
