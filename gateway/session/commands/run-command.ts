// Runs one client command and sends its reply: exactly one per id, whatever happens.
import type { Command } from '../../../protocol/commands.ts';
import { ClosingFailure, Failure } from '../../failure.ts';
import type { CommandReply } from '../command-handler.ts';
import type { Connection } from '../connection.ts';
import type { SessionServices } from '../services.ts';
import { handleAck } from './ack.ts';
import { handleConnect, refusedByOverload } from './connect.ts';
import { handleHistory } from './history.ts';
import { handlePing } from './ping.ts';
import { handlePublish } from './publish.ts';
import { handleRefresh } from './refresh.ts';
import { handleRpc } from './rpc.ts';
import { handleSubscribe, Withdrawn } from './subscribe.ts';
import { handleUnsubscribe } from './unsubscribe.ts';

/** What a client's unanswered commands may stand for together: 64 pages of history, or publishes as below. Bytes. */
const MAX_PENDING_BYTES = 4 * 1024 * 1024;
/** A page of history; it may be larger, but seldom is. */
const HISTORY_BYTES = MAX_PENDING_BYTES / 64;
/** A publish counts as much as it came in, at least this: 10 240 small ones, so that the SDK's full offline queue fits. */
const MIN_PUBLISH_BYTES = Math.floor(MAX_PENDING_BYTES / 10_240);
/** Delay named to a client whose unanswered commands are at the bound, ms: some round trips to the broker. */
const PENDING_RETRY_MS = 200;
/** Delay named while the node is full, ms: by then its largest debtors are gone. */
const FULL_RETRY_MS = 1000;

/** What a command holds in the node until it is answered. Subscriptions have a bound of their own. */
const pendingBytesOf = (connection: Connection, { type }: Command): number => {
  if (type === 'history') return HISTORY_BYTES;
  return type === 'publish' || type === 'rpc' ? Math.max(MIN_PUBLISH_BYTES, connection.commandBytes) : 0;
};

/** A single command is always taken, however large, unless the whole node is full. */
const requireRoom = ({ pendingBytes }: Connection, bytes: number, { budget }: SessionServices): void => {
  if (bytes === 0) return;
  if (budget.isFull) throw new Failure('overloaded', 'the memory budget of the node is used up', FULL_RETRY_MS);
  if (pendingBytes === 0 || pendingBytes + bytes <= MAX_PENDING_BYTES) return;
  throw new Failure('tooManyRequests', 'too many commands wait for their answer', PENDING_RETRY_MS);
};

const perform = (
  connection: Connection,
  command: Command,
  services: SessionServices,
): CommandReply | Promise<CommandReply> | undefined => {
  switch (command.type) {
    case 'connect':
      return handleConnect(connection, command, services, () => runHeld(connection, services));
    case 'subscribe':
      return handleSubscribe(connection, command, services);
    case 'unsubscribe':
      return handleUnsubscribe(connection, command, services);
    case 'publish':
      return handlePublish(connection, command, services);
    case 'history':
      return handleHistory(connection, command, services);
    case 'rpc':
      return handleRpc(connection, command, services);
    case 'ping':
      return handlePing();
    case 'refresh':
      return handleRefresh(connection, command, services);
    case 'presence':
      throw new Failure('notAvailable', `${command.type} is not available on this node`);
    case 'ack':
      handleAck(connection, command, services);
      return undefined;
  }
};

/** Commands that wait for a token to be verified: what a frame may hold and some more, in count and in bytes. */
const MAX_HELD_COMMANDS = 256;
const MAX_HELD_BYTES = 256 * 1024;

/** Keeps a command until it is decided who gave it. Throws `Failure` tooManyRequests when too many wait. */
const hold = (connection: Connection, command: Command): void => {
  connection.held ??= [];
  const bytes = connection.held.reduce((sum, held) => sum + held.bytes, connection.commandBytes);
  if (connection.held.length >= MAX_HELD_COMMANDS || bytes > MAX_HELD_BYTES) {
    throw new Failure('tooManyRequests', 'too many commands wait for the token to be verified', PENDING_RETRY_MS);
  }
  connection.held.push({ command, bytes: connection.commandBytes });
};

/** Runs what came while the token was being verified, in order. */
const runHeld = (connection: Connection, services: SessionServices): void => {
  const { held } = connection;
  connection.held = null;
  for (const { command, bytes } of held ?? []) {
    if (!connection.isOpen()) return;
    connection.commandBytes = bytes;
    runCommand(connection, command, services);
  }
};

/** With a token that is over, what needs its rights is refused; the client has its grace to `refresh`. */
const NEEDS_RIGHTS: ReadonlySet<Command['type']> = new Set(['subscribe', 'publish', 'history', 'presence', 'rpc']);

const requireValidToken = ({ expiresAtMs }: Connection, { type }: Command, { clock }: SessionServices): void => {
  if (expiresAtMs === Infinity || expiresAtMs > clock.nowMs() || !NEEDS_RIGHTS.has(type)) return;
  throw new Failure('tokenExpired', 'the token of this connection is over: refresh it');
};

/**
 * `connect` may be omitted where anonymous clients are allowed: the first other command stands for it. Returns false when the
 * connection was closed instead.
 */
const ensureConnected = (connection: Connection, command: Command, services: SessionServices): boolean => {
  if (connection.state !== 'open' || command.type === 'connect') return true;
  if (!services.settings.anonymous || services.hooks.decidesConnects)
    throw new Failure('unauthorized', 'connect first: this node wants to know who you are');
  if (refusedByOverload(connection, { anonymous: true, resumes: false }, services)) return false;
  connection.state = 'connected';
  // No reply is promised to it that could wait.
  void services.lifecycle.connected(connection.asker);
  return true;
};

export const runCommand = (connection: Connection, command: Command, services: SessionServices): void => {
  const { id } = command;
  services.metrics.count('weir_commands_total', { type: command.type });
  const succeed = (reply: CommandReply): void => {
    if (id !== undefined) connection.send({ ...reply, id });
  };
  const fail = (thrown: unknown): void => {
    if (id !== undefined || !(thrown instanceof Withdrawn)) connection.replyFailure(id, thrown);
    if (thrown instanceof ClosingFailure) connection.close(thrown.closeCode, thrown.closeReason);
  };
  try {
    if (connection.state === 'authenticating' && command.type !== 'connect') {
      hold(connection, command);
      return;
    }
    if (!ensureConnected(connection, command, services)) return;
    requireValidToken(connection, command, services);
    const bytes = pendingBytesOf(connection, command);
    requireRoom(connection, bytes, services);
    const result = perform(connection, command, services);
    if (result instanceof Promise) {
      connection.pendingBytes += bytes;
      services.budget.charge('requests', bytes);
      void result
        .then(succeed)
        .catch(fail)
        .finally(() => {
          connection.pendingBytes -= bytes;
          services.budget.charge('requests', -bytes);
        });
    } else if (result !== undefined) succeed(result);
  } catch (thrown) {
    fail(thrown);
  }
};
