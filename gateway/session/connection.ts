// One client's connection: its state, its subscriptions, and the order in which its commands run.
//
// States: `open` (no connect yet) → `authenticating`, when its token takes more than a moment → `connected` → `closed`.
// Commands of a connection start in the order they came; replies carry the command's id and may overtake each other.
// Whatever happens to the socket ends in `handleClosed` exactly once.
import { closeCodes } from '../../protocol/codes.ts';
import type { Command } from '../../protocol/commands.ts';
import { MAX_CONSECUTIVE_BAD_REQUESTS } from '../../protocol/limits.ts';
import { Account } from '../access/limits/account.ts';
import { LimitReached } from '../access/limits/limit-reached.ts';
import type { Limits } from '../access/limits/limits.ts';
import type { MoveReason } from '../../protocol/pushes.ts';
import type { Who } from '../access/rights.ts';
import type { Identity } from '../access/tokens/claims.ts';
import type { Clock, IdSource } from '../clock.ts';
import type { Decoded, Dialect, Outgoing } from '../dialects/dialect.ts';
import { Failure } from '../failure.ts';
import type { Lane, Subscriber, Subscription } from '../fanout/channel-state.ts';
import type { Debtor } from '../fanout/byte-budget.ts';
import type { EphemeralSubscription } from '../fanout/ephemeral/ephemeral-channel.ts';
import type { AnySubscription, Attached } from '../fanout/hub.ts';
import type { Asker } from '../hooks/hooks.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import type { Socket, SocketListener } from '../transports/socket.ts';

/** What a connection needs from its node; shared by all connections. */
export interface ConnectionHost {
  readonly metrics: MetricsRegistry;
  readonly ids: IdSource;
  readonly limits: Pick<Limits, 'ofConnection' | 'handleRefusal'>;
  readonly clock: Clock;
  readonly maxFrameBytes: number;
  /** Bytes a socket may have outstanding when a reply is added, before its connection ends with 3008. */
  readonly maxOutboxBytes: number;
  /** The outbox of a connection holds more than ever before. */
  onHeld(connection: Connection, bytes: number): void;
  /** Runs a command and sends its reply. Never throws. */
  run(connection: Connection, command: Command): void;
  /** Any thrown value as what the client may know of it. */
  toFailure(connection: Connection, thrown: unknown): Failure;
  unsubscribe(subscription: AnySubscription): void;
  /** Called once per connection, while its subscriptions are still there. */
  onClosing(connection: Connection, code: number): void;
  /** The connection gets nothing more and is to be ended. */
  onDismissed(connection: Connection): void;
  /** Whether a socket that held at most so much may stay until the client has read what is buffered, bytes; else it is cut. */
  mayLinger(heldBytes: number): boolean;
  /** The socket's backlog shrank. */
  onDrain(connection: Connection): void;
  /** Called once per connection, after its subscriptions ended. */
  onClosed(connection: Connection, code: number): void;
}

const ANONYMOUS: Who = { kind: 'anonymous' };

export type ConnectionState = 'open' | 'authenticating' | 'connected' | 'closed';

/** An error the connection was answered with; `time` in Unix ms. */
export interface Refusal {
  readonly code: number;
  readonly message: string;
  readonly time: number;
}

/** A channel the server subscribed a connection to. */
export interface ServerChannel {
  /** The application asked for it, which grants the client to be subscribed; else its token did, which says so itself. */
  readonly by: 'application' | 'token';
  /** The client has subscribed anew since: the subscription is its own. */
  isTaken: boolean;
}

/** Kept for whoever asks why a connection does not get what it wants. */
const MAX_REFUSALS = 5;

/** A command that waits until it is decided who gave it, and the bytes it came in. */
export interface HeldCommand {
  readonly command: Command;
  readonly bytes: number;
}

/** A subscription that is being opened; becomes the subscription itself. */
export type SubscriptionEntry = AnySubscription | Promise<Attached | EphemeralSubscription>;

/** What becomes of a connection that was asked to move. */
export interface Departure {
  readonly reason: MoveReason;
  /** Monotonic time until which the client may move, ms. */
  readonly deadlineMs: number;
  /** A newer connection continues its session; this one is served until its client closes it or its time is over. */
  handedOver: boolean;
}

export class Connection implements Subscriber, SocketListener, Debtor {
  readonly id: string;
  /** The id it got, until it continues an earlier session. */
  session: string;
  readonly dialect: Dialect;
  /** Address of the client, as far as proxies are trusted. */
  readonly address: string;
  private readonly entries = new Map<string, SubscriptionEntry>();
  readonly account = new Account();
  /** What the token of the connection says; null without one. */
  identity: Identity | null = null;
  state: ConnectionState = 'open';
  /** Commands that came while the token was being verified; null when there are none. */
  held: HeldCommand[] | null = null;
  /** Channels the server subscribed it to; null when there are none. */
  serverChannels: Map<string, ServerChannel> | null = null;
  /** Commands it gave. */
  commandCount = 0;
  /** The newest errors it was answered with, oldest first; null when there are none. */
  refusals: Refusal[] | null = null;
  /** Place among the ends of tokens (`Expiry`). */
  expirySlot: number | undefined;
  /** Unix time of the handshake, ms. */
  readonly openedAtMs: number;
  /** Set while the client has been asked to move. */
  departure: Departure | null = null;
  /** Monotonic time at which it is to move for its age, ms; whole, as `heardAtMs`. Null: never (Infinity would be an object). */
  agesAtMs: number | null = null;
  /** Subscriptions that were ended while they opened and have not settled yet: they count as held until then. */
  abandonedOpenings = 0;
  /** What the commands that are being worked on stand for, bytes. */
  pendingBytes = 0;
  /** What the command being run came in, bytes: its share of the frame. */
  commandBytes = 0;
  /** When it sent its newest frame or was opened, monotonic whole ms. */
  heardAtMs: number;
  pendingHead: Subscription | null = null;
  parked = false;
  lane: Lane | null = null;
  /** Most that its outbox held so far, bytes; the budget keeps it. */
  heldBytes = 0;
  /** It is to go as soon as its outbox has drained, and is sent nothing more. */
  dismissed = false;
  private socket: Socket | null;
  private readonly host: ConnectionHost;
  private badRequests = 0;

  constructor(socket: Socket, dialect: Dialect, address: string, host: ConnectionHost) {
    this.socket = socket;
    this.dialect = dialect;
    this.address = address;
    this.host = host;
    // Whole numbers cost no object of their own.
    this.heardAtMs = Math.round(host.clock.monotonicMs());
    this.id = host.ids.randomId();
    this.session = host.ids.randomId();
    this.openedAtMs = host.clock.nowMs();
  }

  get who(): Who {
    return this.identity === null ? ANONYMOUS : this.identity.who;
  }

  /** By channel, those that are being opened included. */
  get subscriptions(): ReadonlyMap<string, SubscriptionEntry> {
    return this.entries;
  }

  /** Keeps a subscription, or the one that takes the place of its opening. */
  hold(channel: string, entry: SubscriptionEntry): void {
    if (!this.entries.has(channel)) this.account.handleHeld(1);
    this.entries.set(channel, entry);
  }

  /** Forgets a subscription; ending it is up to the caller. */
  release(channel: string): void {
    if (this.entries.delete(channel)) this.account.handleHeld(-1);
  }

  /** When its token ends, Unix ms; Infinity when it does not, or there is none. */
  get expiresAtMs(): number {
    return this.identity === null ? Infinity : this.identity.expiresAtMs;
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
    const nowMs = this.host.clock.monotonicMs();
    this.heardAtMs = Math.round(nowMs);
    const limits = this.host.limits.ofConnection;
    const frameDelayMs = limits.takeFrame(this.account, nowMs, bytes);
    const commands = this.dialect.decode(frame);
    for (const decoded of commands) {
      if (this.socket === null) return;
      // What ran before may have changed it: commands that waited bring their own.
      this.commandBytes = bytes / commands.length;
      const type = decoded.kind === 'command' ? decoded.command.type : undefined;
      const delayMs = frameDelayMs > 0 ? frameDelayMs : limits.takeCommand(this.account, nowMs, type);
      if (delayMs === 0) this.handleDecoded(decoded);
      else this.refuse(decoded, frameDelayMs > 0 ? 'bytes' : 'commands', delayMs);
    }
  }

  /** The dialects speak text only. */
  handleBinary(): void {
    const message = 'expected a text frame, got a binary one';
    this.handleDecoded({ kind: 'error', error: 'badRequest', message });
  }

  handleFlooded(): void {
    this.close(closeCodes.tooSlow.code, closeCodes.tooSlow.name);
  }

  handleTooBig(): void {
    this.close(closeCodes.messageTooBig.code, `expected frames of at most ${this.host.maxFrameBytes} bytes`);
  }

  private refuse(decoded: Decoded, reason: 'bytes' | 'commands', delayMs: number): void {
    const id = decoded.kind === 'command' ? decoded.command.id : decoded.id;
    this.replyFailure(id, new LimitReached(reason, `too many ${reason} by this connection`, delayMs));
  }

  private handleDecoded(decoded: Decoded): void {
    if (decoded.kind === 'command') {
      this.commandCount++;
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
    if (this.socket === null || this.dismissed) return;
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
    this.keepRefusal({ code, message, time: this.host.clock.nowMs() });
    this.send({ type: 'error', id, code, name, message, temporary, retryAfterMs });
    if (!(failure instanceof LimitReached)) return;
    const ending = this.host.limits.handleRefusal(this.account, failure.reason);
    if (ending !== undefined) this.close(ending.code, ending.reason);
  }

  private keepRefusal(refusal: Refusal): void {
    this.refusals ??= [];
    if (this.refusals.push(refusal) > MAX_REFUSALS) this.refusals.shift();
  }

  /** Ends the connection with a close code, if the node has room for what it holds until the client heard it; idempotent. */
  close(code: number, reason: string): void {
    const { socket, heldBytes } = this;
    if (socket === null) return;
    this.handleClosed(code);
    if (this.host.mayLinger(heldBytes)) socket.end(code, reason);
    else socket.cut();
  }

  /** Ends the connection at once, without a close frame: it would not be read. `code` is what is counted. Idempotent. */
  cut(code: number): void {
    const { socket } = this;
    if (socket === null) return;
    this.handleClosed(code);
    socket.cut();
  }

  /** Idempotent. */
  dismiss(): void {
    if (this.socket === null || this.dismissed) return;
    this.dismissed = true;
    this.parked = true;
    this.host.onDismissed(this);
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
    this.account.handleHeld(-this.entries.size);
    this.entries.clear();
    this.held = null;
    this.host.onClosed(this, code);
  }

  sendFrame(frame: Buffer): void {
    this.socket?.send(frame);
  }

  cork(write: () => void): void {
    this.socket?.cork(write);
    this.bufferedBytes();
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
    const bytes = this.socket?.bufferedBytes() ?? 0;
    // Whoever sends looks at the outbox afterwards, so this sees its peaks.
    if (bytes > this.heldBytes && bytes !== Infinity) this.host.onHeld(this, bytes);
    return bytes;
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
