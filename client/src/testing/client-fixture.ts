// A client on a scripted server and a manual clock, recording its events; for the SDK's own tests.
import { WeirClient } from '../client.ts';
import type { WeirError } from '../errors.ts';
import type { ClientOptions } from '../options.ts';
import type { Message, Subscribed } from '../protocol/wire.ts';
import type { Subscription } from '../subscriptions/subscription.ts';
import { createManualClock } from './manual-clock.ts';
import { createTestServer, type TestConnection } from './test-server.ts';

/** The server delay is half of the jitter's bound: 500 ms, 1 s, 2 s, … */
const HALF = 0.5;

export const createFixture = (options: ClientOptions = {}) => {
  const server = createTestServer();
  const clock = createManualClock();
  let ids = 0;
  const client = new WeirClient('ws://test/v1/ws', {
    transport: server.transport,
    ...options,
    internals: { clock, random: () => HALF, createId: () => `id-${++ids}`, ...options.internals },
  });
  const states: string[] = [];
  const errors: WeirError[] = [];
  const reconnecting: { attempt: number; delayMs: number }[] = [];
  client.on('state', ({ state }) => states.push(state));
  client.on('error', (error) => errors.push(error));
  client.on('reconnecting', (event) => reconnecting.push(event));
  return {
    server,
    clock,
    client,
    states,
    errors,
    reconnecting,
    connect: async (): Promise<TestConnection> => {
      const connected = client.connect();
      const connection = await server.accept();
      await connected;
      return connection;
    },
    /** The next attempt after the delay of the strategy, accepted. */
    reconnect: async (): Promise<TestConnection> => {
      await clock.advance(reconnecting.at(-1)!.delayMs);
      return server.accept();
    },
  };
};

export const message = (offset: number, channel = 'news'): Message => ({
  type: 'message',
  channel,
  data: { n: offset },
  offset,
  time: 0,
});

export const subscribedAt = (offset: number, epoch = 'e1', channel = 'news'): Omit<Subscribed, 'id'> => ({
  type: 'subscribed',
  channel,
  epoch,
  offset,
  recovered: false,
  policy: 'all',
});

/** Everything a subscription tells, in order, as short words: `message 3`, `gap 4-6 lost`. */
export const record = (subscription: Subscription): string[] => {
  const events: string[] = [];
  subscription.on('message', ({ offset }) => events.push(`message ${String(offset)}`));
  subscription.on('gap', ({ from, to, reason }) => events.push(`gap ${String(from)}-${String(to)} ${reason}`));
  for (const event of ['subscribing', 'subscribed', 'unsubscribed'] as const) {
    subscription.on(event, () => events.push(event));
  }
  subscription.on('error', ({ code }) => events.push(`error ${code}`));
  return events;
};

export const refusal = (code: number, name: string, temporary = false, retryAfterMs?: number) => ({
  type: 'error' as const,
  code,
  name,
  message: name,
  temporary,
  ...(retryAfterMs !== undefined && { retryAfterMs }),
});
