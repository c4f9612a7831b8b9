// Requirement F8: 20 messages a second are published, the client can take 15, for 60 seconds; exact counts per policy.
import { describe, expect, it } from 'vitest';
import type { DeliveryPolicy } from './policy.ts';
import { createSlowSocket, follow, setUp, subscribe, turn, until } from './test-fanout.ts';
import type { ReceivedMessage } from './test-subscriber.ts';

const SECONDS = 60;
const PUBLISHED = 20 * SECONDS;
const TAKEN = 15 * SECONDS;
/** Large enough that the socket's 32 KiB are a few messages, bytes. */
const BODY_BYTES = 4096;
/** One message with its envelope on the wire, rounded up, bytes. */
const MESSAGE_BYTES = BODY_BYTES + 160;
const KEYS = 4;
/** With policy `ack`: less than what fits into the socket. */
const WINDOW = 5;

/** What happens in those seconds, in the order of its time. */
const timeline = [
  ...Array.from({ length: PUBLISHED }, (_, index) => ({ atMs: (index + 1) * 50, what: 'publish' as const })),
  ...Array.from({ length: TAKEN }, (_, index) => ({ atMs: (index + 1) * (1000 / 15), what: 'take' as const })),
].sort((a, b) => a.atMs - b.atMs);

const countsOf = (received: readonly ReceivedMessage[]) => ({
  messages: received.filter(({ type }) => type === 'message').length,
  conflated: received.reduce((sum, { reason, from, to }) => sum + (reason === 'conflated' ? to! - from! + 1 : 0), 0),
  otherGaps: received.filter(({ type, reason }) => type === 'gap' && reason !== 'conflated').length,
});

const run = async (policy: DeliveryPolicy) => {
  await using node = await setUp();
  const slow = createSlowSocket();
  const { subscriber } = slow;
  const { position, subscription } = await subscribe(node, subscriber, undefined, policy, WINDOW);
  slow.stall();
  let published = 0;
  let mostBuffered = 0;
  const acknowledge = (): void => {
    const frame = subscriber.frames.at(-1);
    if (policy !== 'ack' || frame === undefined) return;
    const [newest] = [JSON.parse(frame.toString()) as ReceivedMessage | ReceivedMessage[]].flat().slice(-1);
    node.hub.acknowledge(subscription, newest!.offset);
  };
  for (const { what } of timeline) {
    if (what === 'publish') {
      published++;
      await node.publish('c', { bytes: BODY_BYTES, key: `k${published % KEYS}` });
      await until(() => node.hub.find('c')!.sentSeq === published);
    } else {
      slow.drain(node, MESSAGE_BYTES);
      if (subscriber.buffered === 0) acknowledge();
    }
    // Catch-up takes its turns; at rest nobody is scheduled.
    do await turn();
    while (subscriber.lane?.scheduled === true || subscription.behind?.phase === 'reading');
    mostBuffered = Math.max(mostBuffered, subscriber.buffered);
  }
  const during = countsOf(subscriber.received());
  slow.recover(node);
  await until(() => {
    acknowledge();
    return node.hub.positionOf(subscription).offset === PUBLISHED;
  });
  expect(follow(position, subscriber.received()).offset).toBe(PUBLISHED);
  return { during, after: countsOf(subscriber.received()), mostBuffered };
};

describe('a client that takes 15 of 20 messages a second for a minute', () => {
  it('all: is behind by what it could not take, then gets every message', async () => {
    const { during, after, mostBuffered } = await run('all');
    expect(after).toEqual({ messages: PUBLISHED, conflated: 0, otherGaps: 0 });
    expect(during.conflated).toBe(0);
    // What it took and what waits in its outbox: never more than 32 KiB and a page.
    expect(during.messages - TAKEN).toBeLessThanOrEqual(Math.ceil((96 * 1024) / BODY_BYTES));
    expect(mostBuffered).toBeLessThanOrEqual(96 * 1024 + BODY_BYTES);
  });

  it('ack: never more outstanding than its window, then every message', async () => {
    const { during, after, mostBuffered } = await run('ack');
    expect(after).toEqual({ messages: PUBLISHED, conflated: 0, otherGaps: 0 });
    expect(during.conflated).toBe(0);
    expect(during.messages).toBeLessThanOrEqual(TAKEN + WINDOW);
    expect(mostBuffered).toBeLessThanOrEqual(WINDOW * MESSAGE_BYTES);
  });

  it.each([
    ['latest', { messages: 921, conflated: 279 }],
    ['conflate', { messages: 923, conflated: 277 }],
  ] as const)('%s: a message or a receipt for each, the newest at the end', async (policy, expected) => {
    const { during, after } = await run(policy);
    expect(after).toEqual({ ...expected, otherGaps: 0 });
    expect(after.messages + after.conflated).toBe(PUBLISHED);
    // It is never idle: everything it could take was a message.
    expect(during.messages).toBeGreaterThanOrEqual(TAKEN);
  });
});
