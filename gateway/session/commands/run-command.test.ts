import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Command } from '../../../protocol/commands.ts';
import { createLimits, type Limits } from '../../access/limits/limits.ts';
import { createAccess } from '../../access/access.ts';
import type { Identity } from '../../access/tokens/claims.ts';
import type { TokenOutcome } from '../../access/tokens/verifier.ts';
import { createRandomIds, systemClock } from '../../clock.ts';
import { loadConfig, namespaceOfChannel } from '../../config.ts';
import type { StoredHistory } from '../../dialects/history-page.ts';
import { weirDialect } from '../../dialects/weir.ts';
import { toFailure } from '../../failure.ts';
import { ChannelState, Subscription } from '../../fanout/channel-state.ts';
import type { Attached } from '../../fanout/hub.ts';
import { createMetricsRegistry } from '../../observability/registry.ts';
import { Connection } from '../connection.ts';
import { noSessions } from '../continuation/sessions.ts';
import type { SessionServices } from '../services.ts';
import { runCommand } from './run-command.ts';

const loaded = loadConfig({ argv: [], env: { WEIR_PROFILE: 'development', WEIR_MAX_SUBSCRIPTIONS: '5' } });
if (loaded.kind !== 'ok') throw new Error('the configuration of the test is wrong');
const { config } = loaded;

/** A promise that the test settles. */
interface Pending<T> {
  readonly channel: string;
  resolve(value: T): void;
  reject(error: unknown): void;
}

let connection: Connection;
let limits: Limits;
let sent: Record<string, unknown>[];
let encoded: number;
let failEncoding: boolean;
let reads: Pending<StoredHistory>[];
let openings: Pending<Attached>[];
let endedAtHub: number;
let unhandled: unknown[];
let ended: number[];
/** What the verifier answers, as the test settles it. */
let verifying: Promise<TokenOutcome>;
let settleToken: (outcome: TokenOutcome) => void;
/** What is waited for when a client is let in; undefined: nothing. */
let telling: Promise<void> | undefined;
/** Sessions that were asked for. */
let claims: Pending<void>[];
let revokedSession: string | undefined;
const onUnhandled = (error: unknown): void => void unhandled.push(error);

const pend = <T>(list: Pending<T>[], channel: string): Promise<T> =>
  new Promise((resolve, reject) => list.push({ channel, resolve, reject }));
/** Long enough for every promise that is settled, and for an unhandled rejection to be told. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
const page = (channel: string): StoredHistory => ({ channel, epoch: 'e', offset: 0, publications: [], more: false });
const attached = (channel: string): Attached => ({
  subscription: new Subscription(connection, new ChannelState(channel), 0),
  position: { epoch: 'e', offset: 0 },
  recovered: true,
});
const send = (...commands: (Partial<Command> & { type: string })[]): void => {
  const frame = JSON.stringify(commands);
  connection.handleFrame(frame, frame.length);
};

beforeEach(() => {
  [sent, reads, openings, unhandled, ended] = [[], [], [], [], []];
  [telling, claims, revokedSession] = [undefined, [], undefined];
  [encoded, endedAtHub, failEncoding] = [0, 0, false];
  verifying = new Promise((resolve) => (settleToken = resolve));
  const metrics = createMetricsRegistry();
  const namespaceOf = (channel: string) => namespaceOfChannel(config, channel);
  limits = createLimits({
    settings: config,
    cluster: { spend: () => Promise.reject(new Error()), hold: () => Promise.reject(new Error()) },
    metrics,
    nowMs: () => systemClock.monotonicMs(),
  });
  const services: SessionServices = {
    settings: config,
    hub: {
      subscribe: (_: unknown, channel: string) => pend(openings, channel),
      unsubscribe: () => endedAtHub++,
    } as unknown as SessionServices['hub'],
    access: createAccess(namespaceOf),
    namespaceOf,
    publishing: {} as SessionServices['publishing'],
    reading: { read: ({ channel }) => pend(reads, channel), isNumbered: () => true },
    hooks: {
      events: undefined,
      decidesConnects: false,
      connect: () => undefined,
      subscribe: () => undefined,
      publish: () => undefined,
      rpc: () => Promise.resolve(1),
      close: () => undefined,
    },
    lifecycle: { connected: () => telling },
    sessions: { ...noSessions, continue: (_, session) => pend(claims, session) },
    limits,
    budget: { isFull: false, charge: () => undefined },
    overload: { refuseConnect: () => undefined, refusePublish: () => undefined },
    tokens: { verify: () => verifying },
    revocations: { isRevoked: () => false, isSessionRevoked: (session) => session === revokedSession },
    directory: { identify: () => undefined },
    expiry: { schedule: () => undefined },
    metrics,
    clock: systemClock,
    brokerState: () => 'ready',
    toFailure: (thrown) =>
      toFailure(
        thrown,
        () => undefined,
        () => 'x',
      ),
  };
  const dialect: typeof weirDialect = {
    ...weirDialect,
    encode(message) {
      encoded++;
      if (failEncoding && message.type !== 'error') throw new RangeError('Maximum call stack size exceeded');
      return weirDialect.encode(message);
    },
  };
  const socket = {
    send: (frame: Buffer | string) => void sent.push(JSON.parse(String(frame)) as Record<string, unknown>),
    cork: (write: () => void) => write(),
    bufferedBytes: () => 0,
    end: (code: number) => void ended.push(code),
    cut: () => undefined,
  };
  connection = new Connection(socket, dialect, '127.0.0.1', {
    metrics,
    ids: createRandomIds(),
    limits,
    clock: systemClock,
    maxFrameBytes: config.maxFrameBytes,
    maxOutboxBytes: config.maxOutboxBytes,
    run: (one, command) => runCommand(one, command, services),
    toFailure: (_, thrown) =>
      toFailure(
        thrown,
        () => undefined,
        () => 'id',
      ),
    unsubscribe: () => undefined,
    onHeld: () => undefined,
    onDismissed: () => undefined,
    mayLinger: () => true,
    onDrain: () => undefined,
    onClosing: () => undefined,
    onClosed: () => undefined,
  });
  process.on('unhandledRejection', onUnhandled);
});
afterEach(() => {
  limits.close();
  process.off('unhandledRejection', onUnhandled);
  expect(unhandled).toEqual([]);
});

describe('a reply that cannot be written', () => {
  it('becomes an error reply and no unhandled rejection, which would end the node', async () => {
    send({ type: 'history', id: 1, channel: 'c' });
    failEncoding = true;
    reads[0]!.resolve(page('c'));
    await turn();
    expect(sent).toMatchObject([{ type: 'error', id: 1, code: 100 }]);
  });

  it('is not even begun when the socket is gone', async () => {
    send({ type: 'history', id: 1, channel: 'c' });
    connection.handleClosed(1006);
    reads[0]!.resolve(page('c'));
    await turn();
    expect([encoded, sent]).toEqual([0, []]);
  });
});

describe('commands that wait for their answer', () => {
  it('are 64 pages of history at most; the next is told to slow down, and one that is answered makes room', async () => {
    const ids = Array.from({ length: 65 }, (_, index) => index + 1);
    for (const id of ids) send({ type: 'history', id, channel: 'c' });
    expect(sent).toMatchObject([{ type: 'error', id: 65, code: 111, temporary: true, retryAfterMs: 200 }]);
    reads[0]!.resolve(page('c'));
    reads[1]!.reject(new Error('failed'));
    await turn();
    for (const id of [66, 67, 68]) send({ type: 'history', id, channel: 'c' });
    expect(sent.slice(1)).toMatchObject([
      { type: 'history', id: 1 },
      { type: 'error', id: 2, code: 100 },
      { type: 'error', id: 68, code: 111 },
    ]);
    expect(reads).toHaveLength(66);
  });
});

describe('a subscription that is ended while it opens', () => {
  it('counts against the limit until it is settled, however it ends', async () => {
    const names = ['a', 'b', 'c', 'd', 'e'];
    for (const channel of names) send({ type: 'subscribe', channel }, { type: 'unsubscribe', channel });
    send({ type: 'subscribe', id: 1, channel: 'f' });
    expect(sent).toMatchObject([{ type: 'error', id: 1, code: 106 }]);
    openings[0]!.resolve(attached('a'));
    openings[1]!.reject(new Error('failed'));
    await turn();
    send({ type: 'subscribe', id: 2, channel: 'f' }, { type: 'subscribe', id: 3, channel: 'g' });
    send({ type: 'subscribe', id: 4, channel: 'h' });
    expect(sent.slice(1)).toMatchObject([{ type: 'error', id: 4, code: 106 }]);
    expect(openings).toHaveLength(7);
    expect(endedAtHub).toBe(1);
  });

  it.each(['opens', 'fails'] as const)('and then %s is no news to who gave the command no id', async (outcome) => {
    for (const id of [undefined, 7]) {
      send({ type: 'subscribe', ...(id !== undefined && { id }), channel: 'c' }, { type: 'unsubscribe', channel: 'c' });
    }
    for (const opening of openings) {
      if (outcome === 'opens') opening.resolve(attached('c'));
      else opening.reject(new Error('failed'));
    }
    await turn();
    expect(sent).toMatchObject([{ type: 'error', id: 7, code: 113 }]);
  });

  it('that fails without having been ended is still told', async () => {
    send({ type: 'subscribe', channel: 'c' });
    openings[0]!.reject(new Error('failed'));
    await turn();
    expect(sent).toMatchObject([{ type: 'error', code: 100 }]);
    expect(sent[0]).not.toHaveProperty('id');
  });
});

describe('commands behind a connect whose token takes a while', () => {
  const identity: Identity = {
    who: { kind: 'user', user: 'ada' },
    expiresAtMs: Infinity,
    notBeforeMs: -Infinity,
    issuedAtMs: undefined,
    tokenId: undefined,
    channels: [],
    info: undefined,
  };

  it('wait, and run as that user, in order', async () => {
    send({ type: 'connect', id: 1, token: 't' }, { type: 'subscribe', id: 2, channel: 'a' });
    send({ type: 'subscribe', id: 3, channel: 'b' });
    await turn();
    expect([sent, openings]).toEqual([[], []]);
    settleToken({ kind: 'valid', identity });
    await turn();
    expect(sent).toMatchObject([{ type: 'connected', id: 1, user: 'ada' }]);
    expect(openings.map(({ channel }) => channel)).toEqual(['a', 'b']);
  });

  it('never run when the token is refused: the connection is closed', async () => {
    send({ type: 'connect', id: 1, token: 't' }, { type: 'subscribe', id: 2, channel: 'a' });
    settleToken({ kind: 'invalid', message: 'no' });
    await turn();
    expect(sent).toMatchObject([{ type: 'error', id: 1, code: 101 }]);
    expect([ended, openings]).toEqual([[3500], []]);
  });

  it('are bounded: one too many is refused at once', async () => {
    send({ type: 'connect', id: 1, token: 't' });
    for (let id = 2; id <= 258; id++) send({ type: 'ping', id });
    expect(sent).toMatchObject([{ type: 'error', id: 258, code: 111 }]);
    settleToken({ kind: 'valid', identity });
    await turn();
    expect(sent.filter(({ type }) => type === 'pong')).toHaveLength(256);
  });

  it('do not let a second connect in', async () => {
    send({ type: 'connect', id: 1, token: 't' }, { type: 'connect', id: 2 });
    expect(sent).toMatchObject([{ type: 'error', id: 2, code: 107 }]);
    settleToken({ kind: 'valid', identity });
    await turn();
    expect(connection.who).toMatchObject({ user: 'ada' });
  });

  it('leave nothing behind when the client is gone before', async () => {
    send({ type: 'connect', id: 1, token: 't' }, { type: 'subscribe', id: 2, channel: 'a' });
    connection.handleClosed(1006);
    settleToken({ kind: 'valid', identity });
    await turn();
    expect([sent, openings, connection.identity]).toEqual([[], [], null]);
  });
});

describe('a session that a client comes back with', () => {
  const SESSION = 'session-of-the-test-00';

  it('is not asked for by a connection that is gone by then: its client may have it on another one', async () => {
    let settle = (): void => undefined;
    telling = new Promise((resolve) => (settle = resolve));
    send({ type: 'connect', id: 1, session: SESSION });
    await turn();
    connection.handleClosed(1006);
    settle();
    await turn();
    expect(claims).toEqual([]);
    expect(sent).toEqual([]);
  });

  it('is refused when it was revoked while it was asked for', async () => {
    send({ type: 'connect', id: 1, session: SESSION });
    revokedSession = SESSION;
    connection.session = SESSION;
    claims[0]!.resolve();
    await turn();
    expect(sent).toMatchObject([{ type: 'error', id: 1, code: 101 }]);
    expect(ended).toEqual([3500]);
  });
});
