import { describe, expect, it } from 'vitest';
import { createSlowSocket, type Node, setUp, subscribe, turn, until } from './test-fanout.ts';

/** Publishes until the socket takes no more. */
const fill = async (node: Node, slow: ReturnType<typeof createSlowSocket>): Promise<void> => {
  slow.stall();
  do {
    await node.publish('c', { bytes: 20_000 });
    await turn();
  } while (!slow.subscriber.parked);
};
const never = { kickBehind: undefined, kickExpired: undefined };

describe('the kick policy', () => {
  it('is off by default: however long and far somebody is behind', async () => {
    await using node = await setUp({ ringBytes: 0, bounds: { size: 3, ttlMs: 60_000 } });
    const slow = createSlowSocket();
    await subscribe(node, slow.subscriber);
    for (let round = 0; round < 5; round++) {
      await fill(node, slow);
      await node.publishMany('c', 10, 20_000);
      node.pass(86_400_000);
      node.fanout.kick();
      slow.recover(node);
      await turn();
    }
    expect(slow.subscriber.dismissed).toBe(false);
  });

  it('ends who is behind for longer than the namespace allows, and nobody else', async () => {
    await using node = await setUp({ kickLimits: { ...never, kickBehind: 5000 } });
    const [slow, quick, acknowledging] = [createSlowSocket(), createSlowSocket(), createSlowSocket()];
    for (const { subscriber } of [slow, quick]) await subscribe(node, subscriber);
    await subscribe(node, acknowledging.subscriber, undefined, 'ack');
    await fill(node, slow);
    await node.publish('c');
    await until(() => slow.subscriber.parked && node.hub.find('c')!.behind.size === 2);
    node.pass(4000);
    node.fanout.kick();
    expect(slow.subscriber.dismissed).toBe(false);
    node.pass(2000);
    node.fanout.kick();
    expect([slow, quick, acknowledging].map(({ subscriber }) => subscriber.dismissed)).toEqual([true, false, false]);
    expect(await node.metrics.exposition()).toContain('weir_connections_kicked_total{reason="behind"} 1');
  });

  it('does not hold against somebody who came back in between that it was behind before', async () => {
    await using node = await setUp({ kickLimits: { ...never, kickBehind: 5000 } });
    const slow = createSlowSocket();
    const { subscription } = await subscribe(node, slow.subscriber);
    for (let round = 1; round <= 3; round++) {
      await fill(node, slow);
      await node.publish('c');
      await until(() => subscription.behind !== null);
      node.pass(4000);
      node.fanout.kick();
      slow.recover(node);
      await until(() => subscription.behind === null);
    }
    expect(slow.subscriber.dismissed).toBe(false);
  });

  it('ends who falls out of the history as often as the namespace allows', async () => {
    await using node = await setUp({
      ringBytes: 0,
      bounds: { size: 3, ttlMs: 60_000 },
      kickLimits: { ...never, kickExpired: 2 },
    });
    const slow = createSlowSocket();
    await subscribe(node, slow.subscriber);
    const fallOut = async (times: number): Promise<void> => {
      await fill(node, slow);
      // Each in a flush of its own, so that the ring lets go of them.
      for (let more = 0; more < 10; more++) {
        await node.publish('c');
        await until(() => node.hub.find('c')!.sentSeq === node.hub.find('c')!.log.nextSeq);
      }
      slow.recover(node);
      await until(() => slow.subscriber.received().filter(({ reason }) => reason === 'expired').length === times);
      await turn();
    };
    await fallOut(1);
    expect(slow.subscriber.dismissed).toBe(false);
    await fallOut(2);
    await until(() => slow.subscriber.dismissed);
    expect(await node.metrics.exposition()).toContain('weir_connections_kicked_total{reason="expired"} 1');
  });
});
