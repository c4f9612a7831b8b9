// A light subscriber for contests: comes back after each break with `since` and counts what it got, twice or not at all.
import { WebSocket } from 'ws';

export interface CountingClientOptions {
  readonly channel: string;
  /** Asked before each connection. */
  readonly url: () => string;
  /** Stays away after a break until this resolves. The reason may name a delay (docs/protocol.md). */
  readonly away: (reason: string) => Promise<unknown>;
  /** It was let in, at first and each time it came back. */
  readonly onConnected?: (node: string, client: CountingClient) => void;
  /** Data of each message that was not there before. */
  readonly onMessage?: (data: unknown) => void;
}

export interface CountingClient {
  readonly tally: Tally;
  isSubscribed(): boolean;
  offset(): number;
  /** Kills the TCP connection; it comes back after `away`. */
  cut(): void;
  stop(): void;
}

export interface Tally {
  received: number;
  duplicates: number;
  /** Offsets neither delivered nor declared missing. */
  skipped: number;
  /** Offsets that a gap receipt declared missing. */
  declared: number;
  /** Receipts of a new epoch, and refusals to go on. */
  broken: number;
  reconnects: number;
  /** Reasons of the pushes that asked it to move. */
  readonly moves: string[];
  /** From each socket that came back and was open until it had what was published meanwhile. */
  readonly replaysMs: number[];
  /** Longest time without a message once subscribed. */
  largestGapMs: number;
}

type Wire = Readonly<Record<string, unknown>> & { readonly type: string };
const HANDSHAKE_TIMEOUT_MS = 5_000;

export const startCountingClient = (options: CountingClientOptions): CountingClient => {
  const { channel, url, away, onConnected, onMessage } = options;
  const tally: Tally = {
    received: 0,
    duplicates: 0,
    skipped: 0,
    declared: 0,
    broken: 0,
    reconnects: 0,
    moves: [],
    replaysMs: [],
    largestGapMs: 0,
  };
  let position: { epoch: string; offset: number } | undefined;
  let socket: WebSocket | undefined;
  let isSubscribed = false;
  let isStopped = false;
  let lastMessageAt = 0;

  const open = (): void => {
    if (isStopped) return;
    const mine = new WebSocket(url(), ['weir.v1.json'], {
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      perMessageDeflate: false,
      skipUTF8Validation: true,
    });
    socket = mine;
    let openedAt = 0;
    /** Head when subscribed; undefined when nothing is to be caught up with (any more). */
    let goal: number | undefined;
    let timer: NodeJS.Timeout | undefined;

    const checkCaughtUp = (): void => {
      if (goal === undefined || position === undefined || position.offset < goal) return;
      goal = undefined;
      tally.replaysMs.push(performance.now() - openedAt);
    };
    const subscribe = (): void => {
      mine.send(JSON.stringify({ id: 2, type: 'subscribe', channel, ...(position && { since: position }) }));
    };
    const account = (from: number, to: number): boolean => {
      if (position === undefined) return false;
      if (from > position.offset + 1) tally.skipped += from - position.offset - 1;
      if (to <= position.offset) return false;
      position.offset = to;
      return true;
    };
    const take = (object: Wire): void => {
      if (object.type === 'message') {
        const offset = Number(object['offset']);
        if (account(offset, offset)) {
          tally.received += 1;
          onMessage?.(object['data']);
        } else tally.duplicates += 1;
        const now = performance.now();
        if (lastMessageAt > 0) tally.largestGapMs = Math.max(tally.largestGapMs, now - lastMessageAt);
        lastMessageAt = now;
        checkCaughtUp();
      } else if (object.type === 'connected') {
        onConnected?.(String(object['node']), client);
      } else if (object.type === 'subscribed') {
        isSubscribed = true;
        const head = Number(object['offset']);
        if (position === undefined) position = { epoch: String(object['epoch']), offset: head };
        else goal = head;
        checkCaughtUp();
      } else if (object.type === 'gap') {
        if (object['from'] === null) tally.broken += 1;
        else {
          tally.declared += Number(object['count']);
          account(Number(object['from']), Number(object['to']));
          checkCaughtUp();
        }
      } else if (object.type === 'reconnect') {
        tally.moves.push(String(object['reason']));
        timer = setTimeout(() => mine.close(), Number(object['afterMs']));
      } else if (object.type === 'error') {
        if (object['temporary'] === true) timer = setTimeout(subscribe, Number(object['retryAfterMs'] ?? 100));
        else tally.broken += 1;
      }
    };
    mine.on('open', () => {
      openedAt = performance.now();
      if (position !== undefined) tally.reconnects += 1;
      mine.send(JSON.stringify({ id: 1, type: 'connect', ...(position && { resume: true }) }));
      subscribe();
    });
    mine.on('message', (bytes: Buffer) => {
      const frame = JSON.parse(bytes.toString('utf8')) as Wire | Wire[];
      if (Array.isArray(frame)) frame.forEach(take);
      else take(frame);
    });
    // The close event follows.
    mine.on('error', () => undefined);
    mine.on('close', (_code, reason) => {
      clearTimeout(timer);
      isSubscribed = false;
      void away(reason.toString()).then(open);
    });
  };
  const client: CountingClient = {
    tally,
    isSubscribed: () => isSubscribed,
    offset: () => position?.offset ?? -1,
    cut: () => socket?.terminate(),
    stop: () => {
      isStopped = true;
      socket?.terminate();
    },
  };
  open();
  return client;
};
