import { afterEach, describe, expect, it, vi } from 'vitest';
import { BrokerUnavailableError, type PublicationRun } from '../../broker/broker.ts';
import type { History, HistoryPage, HistoryQuery } from '../../broker/history.ts';
import { isGap } from '../dialects/dialect.ts';
import { createMetricsRegistry } from '../observability/registry.ts';
import { ChannelState } from './channel-state.ts';
import { createHealing, type Healing, hold } from './healing.ts';
import { publicationsOf } from './test-subscriber.ts';

const until = (condition: () => boolean) => vi.waitUntil(condition, { timeout: 10_000, interval: 1 });

let healing: Healing | undefined;
afterEach(() => healing?.close());

/** A broker's log that can change between two reads, and reads that wait until the test lets them answer. */
const setUp = (head: { epoch: string; offset: number; kept: readonly [from: number, to: number] }) => {
  const store = { ...head };
  const reads: HistoryQuery[] = [];
  let gate: Promise<unknown> = Promise.resolve();
  const answer = (query: HistoryQuery): HistoryPage => {
    const after = query.start.kind === 'after' ? query.start.offset : 0;
    const publications = publicationsOf(Math.max(after + 1, store.kept[0]), store.kept[1]);
    return { position: { epoch: store.epoch, offset: store.offset }, publications, more: false };
  };
  const history: History = {
    async read(query) {
      reads.push(query);
      const page = answer(query);
      await gate;
      return page;
    },
    positions: () => Promise.reject(new Error('not asked')),
  };
  const errors: string[] = [];
  healing = createHealing({
    history,
    metrics: createMetricsRegistry(),
    boundsOf: () => ({ size: 100, ttlMs: 1000 }),
    onProgress: () => undefined,
    onError: (_, { stage }) => errors.push(stage),
  });
  const channel = new ChannelState('c');
  channel.status = 'live';
  /** Reads answer what they saw at their start, once the returned function is called. */
  const closeGate = (): (() => void) => {
    let open: () => void = () => undefined;
    gate = new Promise<void>((resolve) => (open = resolve));
    return () => {
      gate = Promise.resolve();
      open();
    };
  };
  return { store, reads, history, channel, errors, closeGate, healing };
};

const run = (epoch: string, from: number, to: number, bodyBytes = 0): PublicationRun => ({
  channel: 'c',
  epoch,
  publications: publicationsOf(from, to).map((publication) =>
    bodyBytes === 0 ? publication : { ...publication, body: Buffer.alloc(bodyBytes), bodyBytes },
  ),
});

const logged = (channel: ChannelState): string[] =>
  channel.log
    .read(channel.log.firstSeq)
    .map((entry) => (isGap(entry) ? `${entry.reason} ${entry.from ?? '?'}-${entry.to ?? '?'}` : String(entry.offset)));

describe('healing', () => {
  it('ends although runs of a dead epoch are held, and frees its place for others', async () => {
    const { store, channel, closeGate, healing: subject, reads } = setUp({ epoch: 'A', offset: 3, kept: [1, 3] });
    channel.log.open({ epoch: 'A', offset: 3 });
    const open = closeGate();
    hold(channel, run('A', 6, 6));
    subject.heal(channel);
    Object.assign(store, { epoch: 'B', offset: 1, kept: [1, 1] });
    open();
    await subject.settled();
    expect(channel.status).toBe('live');
    expect(channel.log).toMatchObject({ epoch: 'B', head: 1 });
    expect(logged(channel).at(-1)).toBe('1');
    expect(reads.length).toBeLessThan(6);
  });

  it('drops a late run of a dead epoch and keeps what belongs to the new one', async () => {
    const { channel, closeGate, healing: subject } = setUp({ epoch: 'B', offset: 1, kept: [1, 1] });
    channel.log.open({ epoch: 'A', offset: 3 });
    const open = closeGate();
    subject.heal(channel);
    hold(channel, run('A', 4, 4));
    hold(channel, run('B', 2, 2));
    open();
    await subject.settled();
    expect(channel.log).toMatchObject({ epoch: 'B', head: 2 });
    expect(logged(channel)).toEqual(['epoch ?-?', '1', '2']);
  });

  it('reads again when held runs overflowed while a read was under way', async () => {
    const { store, channel, closeGate, healing: subject } = setUp({ epoch: 'A', offset: 8, kept: [1, 8] });
    channel.log.open({ epoch: 'A', offset: 5 });
    const open = closeGate();
    subject.heal(channel);
    Object.assign(store, { offset: 10, kept: [1, 10] });
    hold(channel, run('A', 9, 9, 700_000));
    hold(channel, run('A', 10, 10, 700_000));
    expect(channel.held).toEqual([]);
    open();
    await subject.settled();
    expect(channel.log.head).toBe(10);
    expect(logged(channel)).toEqual(['6', '7', '8', '9', '10']);
  });

  it('holds no more for all channels together than a node may, and heals what it dropped from the history', async () => {
    const { closeGate, healing: subject } = setUp({ epoch: 'A', offset: 4, kept: [1, 4] });
    const open = closeGate();
    const heldOnNode = { bytes: 0 };
    const channels = Array.from({ length: 40 }, (_, n) => new ChannelState(`c${n}`, undefined, heldOnNode));
    for (const channel of channels) {
      channel.status = 'live';
      channel.log.open({ epoch: 'A', offset: 2 });
      hold(channel, run('A', 4, 4, 1_000_000));
      subject.heal(channel);
      expect(heldOnNode.bytes).toBeLessThanOrEqual(32 * 1024 * 1024);
    }
    expect(channels.filter(({ held }) => held.length === 0).length).toBe(7);
    open();
    await subject.settled();
    for (const channel of channels) expect(logged(channel)).toEqual(['3', '4']);
    expect(heldOnNode.bytes).toBe(0);
  });

  it('reads again when an interruption ended while a read was under way', async () => {
    const { store, channel, closeGate, healing: subject } = setUp({ epoch: 'A', offset: 8, kept: [1, 8] });
    channel.log.open({ epoch: 'A', offset: 7 });
    const open = closeGate();
    subject.heal(channel);
    Object.assign(store, { offset: 9, kept: [1, 9] });
    channel.incomplete = true;
    open();
    await subject.settled();
    expect(logged(channel)).toEqual(['8', '9']);
  });

  it('goes on trying while the broker is away, and nothing overtakes what is missing', async () => {
    const { history, channel, healing: subject, errors } = setUp({ epoch: 'A', offset: 4, kept: [1, 4] });
    const { read } = history;
    let refusals = 0;
    history.read = (query) => (refusals++ < 2 ? Promise.reject(new BrokerUnavailableError('away')) : read(query));
    channel.log.open({ epoch: 'A', offset: 2 });
    hold(channel, run('A', 4, 5));
    subject.heal(channel);
    await until(() => refusals > 1);
    expect(logged(channel)).toEqual([]);
    await subject.settled();
    expect(logged(channel)).toEqual(['3', '4', '5']);
    expect(errors).toEqual([]);
  });

  it('is settled at once when nothing heals, and after close', async () => {
    const { channel, closeGate, healing: subject } = setUp({ epoch: 'A', offset: 4, kept: [1, 4] });
    await subject.settled();
    closeGate();
    channel.log.open({ epoch: 'A', offset: 2 });
    subject.heal(channel);
    const settled = subject.settled();
    subject.close();
    await settled;
  });
});
