// Holds back the commands of a connection until it is let in: at the pace of the admission, those who resume first.
//
// The upgrade is done by then, because only `connect` says who comes and only an open socket can carry a delay to a
// browser (ADR 15). What follows `connect` meanwhile is kept in order, within a bound.
import { closeCodes } from '../../protocol/codes.ts';
import type { Command } from '../../protocol/commands.ts';
import type { Ending } from '../access/limits/limits.ts';
import { Failure } from '../failure.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import {
  type AdmissionClass,
  type AdmissionSettings,
  createAdmissionQueue,
  type Dismissed,
  type Place,
} from './admission.ts';
import type { Connection } from '../session/connection.ts';

export interface AdmittingOptions {
  readonly settings: AdmissionSettings & {
    readonly maxHandshakes: number;
    readonly connectDeadlineMs: number;
    readonly anonymous: boolean;
  };
  readonly metrics: MetricsRegistry;
  /** Monotonic, ms. */
  readonly nowMs: () => number;
  /** Counts the connection for its address; how it is to end when there are too many. */
  readonly enterNetwork: (connection: Connection) => Ending | undefined | Promise<Ending | undefined>;
  /** Runs a command of a connection that was let in. Never throws. */
  readonly run: (connection: Connection, command: Command) => void;
}

export interface Admitting {
  /** Every command of every connection. */
  run(connection: Connection, command: Command): void;
  /** An upgrade is to be refused with this delay, ms: too many connections are not let in yet. May end a silent one instead. */
  refusalOfUpgrade(): number | undefined;
  handleOpened(connection: Connection): void;
  handleClosed(connection: Connection): void;
  /** Waits to be let in, or is being let in. */
  isEntering(connection: Connection): boolean;
  close(): void;
}

/** What a connection may send behind `connect` before it is let in. */
const MAX_HELD_COMMANDS = 64;
const MAX_HELD_BYTES = 32 * 1024;
/** Named to a client that sent more than that, ms. */
const HELD_RETRY_MS = 500;
/** Of the deadline for `connect`: who was silent so long gives way when others find no place. */
const SILENCE_SHARE = 0.1;
/** The queue is served this often while somebody waits, ms. */
const SERVE_INTERVAL_MS = 5;

interface Entering {
  readonly connection: Connection;
  readonly held: { readonly command: Command; readonly bytes: number }[];
  heldBytes: number;
  place: Place<Entering> | undefined;
}

/** What the client says of itself: good for an order, not for a right (the session is checked once it is let in). */
const classOf = (command: Command): AdmissionClass => {
  if (command.type !== 'connect') return 'anonymous';
  if (command.session !== undefined || command.resume === true) return 'resume';
  return command.token === undefined ? 'anonymous' : 'authenticated';
};

export const createAdmitting = ({ settings, metrics, nowMs, enterNetwork, run }: AdmittingOptions): Admitting => {
  const queue = createAdmissionQueue<Entering>(settings);
  const entering = new Map<Connection, Entering>();
  /** Open and not let in, silent ones as well, by when they opened (monotonic, ms): the oldest first. */
  const outside = new Map<Connection, number>();
  let timer: NodeJS.Timeout | undefined;

  metrics.gauge('weir_admission_waiting', () => queue.waiting());
  metrics.gauge('weir_connections_outside', () => outside.size);

  const refuse = ({ connection }: Entering, admissionClass: AdmissionClass, retryAfterMs: number): void => {
    metrics.count('weir_admissions_total', { class: admissionClass, outcome: 'refused' });
    connection.close(closeCodes.tryLater.code, `retryAfterMs=${retryAfterMs}`);
  };
  const refuseDismissed = ({ item, retryAfterMs }: Dismissed<Entering>): void =>
    refuse(item, item.place!.admissionClass, retryAfterMs);

  const release = (one: Entering, ending: Ending | undefined): void => {
    const { connection, held } = one;
    entering.delete(connection);
    if (ending !== undefined) {
      connection.close(ending.code, ending.reason);
      return;
    }
    outside.delete(connection);
    for (const { command, bytes } of held) {
      // It may have gone while its address was counted, or by what ran before.
      if (!connection.isOpen()) return;
      connection.commandBytes = bytes;
      run(connection, command);
    }
  };

  const admit = (one: Entering, admissionClass: AdmissionClass, sinceMs: number): void => {
    metrics.count('weir_admissions_total', { class: admissionClass, outcome: 'admitted' });
    metrics.observe('weir_admission_wait_seconds', (nowMs() - sinceMs) / 1000);
    const entered = enterNetwork(one.connection);
    if (entered instanceof Promise) void entered.then((ending) => release(one, ending));
    else release(one, entered);
  };

  const serve = (): void => {
    const { admitted, dismissed } = queue.serve(nowMs());
    for (const one of dismissed) refuseDismissed(one);
    for (const { item, admissionClass, sinceMs } of admitted) admit(item, admissionClass, sinceMs);
    if (queue.waiting() > 0) return;
    clearInterval(timer);
    timer = undefined;
  };

  /** Sockets that say nothing must not keep out those who would. Who waits does so for less than the time of silence. */
  const longestSilent = (): Connection | undefined => {
    for (const [connection, openedMs] of outside) {
      const isLongSilent = nowMs() - openedMs >= settings.connectDeadlineMs * SILENCE_SHARE;
      return isLongSilent && !entering.has(connection) ? connection : undefined;
    }
    return undefined;
  };

  const hold = (one: Entering, command: Command, bytes: number): void => {
    if (one.held.length >= MAX_HELD_COMMANDS || one.heldBytes + bytes > MAX_HELD_BYTES) {
      const failure = new Failure(
        'tooManyRequests',
        'too many commands before the connection is let in',
        HELD_RETRY_MS,
      );
      one.connection.replyFailure(command.id, failure);
      return;
    }
    one.held.push({ command, bytes });
    one.heldBytes += bytes;
  };

  const enter = (connection: Connection, command: Command): void => {
    const admissionClass = classOf(command);
    const now = nowMs();
    // What came first is held whatever its size; the bound is for what follows.
    const held = [{ command, bytes: connection.commandBytes }];
    const one: Entering = { connection, held, heldBytes: 0, place: undefined };
    entering.set(connection, one);
    const arrival = queue.arrive(one, admissionClass, now);
    switch (arrival.kind) {
      case 'admitted':
        admit(one, admissionClass, now);
        return;
      case 'refused':
        refuse(one, admissionClass, arrival.retryAfterMs);
        return;
      case 'waiting':
        one.place = arrival.place;
        timer ??= setInterval(serve, SERVE_INTERVAL_MS);
        if (arrival.displaced !== undefined) refuseDismissed(arrival.displaced);
    }
  };

  return {
    run(connection, command) {
      if (!outside.has(connection)) {
        run(connection, command);
        return;
      }
      const one = entering.get(connection);
      if (one !== undefined) hold(one, command, connection.commandBytes);
      // Where a token is needed, anything before `connect` is answered without being let in.
      else if (command.type === 'connect' || settings.anonymous) enter(connection, command);
      else run(connection, command);
    },
    refusalOfUpgrade() {
      if (outside.size < settings.maxHandshakes) return undefined;
      const retryAfterMs = queue.dismiss('anonymous', nowMs());
      const silent = longestSilent();
      if (silent === undefined) return retryAfterMs;
      silent.close(closeCodes.tryLater.code, `retryAfterMs=${retryAfterMs}`);
      return undefined;
    },
    handleOpened: (connection) => void outside.set(connection, nowMs()),
    handleClosed(connection) {
      outside.delete(connection);
      const one = entering.get(connection);
      if (one === undefined) return;
      entering.delete(connection);
      if (one.place !== undefined) queue.leave(one.place);
    },
    isEntering: (connection) => entering.has(connection),
    close() {
      clearInterval(timer);
      timer = undefined;
    },
  };
};
