import { afterEach, describe, expect, it } from 'vitest';
import type { Broker } from '../../broker/broker.ts';
import type { HistoryQuery } from '../../broker/history.ts';
import { createMemoryBackplane } from '../../broker/memory/backplane.ts';
import { createMemoryBroker } from '../../broker/memory/memory-broker.ts';
import type { Since } from '../../protocol/position.ts';
import { loadConfig, namespaceOfChannel } from '../config.ts';
import { createHistoryReading, type HistoryReading } from './reading.ts';

const loaded = loadConfig({ argv: [], env: { WEIR_PROFILE: 'development' } });
if (loaded.kind !== 'ok') throw new Error('the configuration of the test is wrong');
const namespaceOf = (channel: string) => namespaceOfChannel(loaded.config, channel);
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

let brokers: Broker[] = [];
afterEach(async () => {
  await Promise.all(brokers.map((broker) => broker.close()));
  brokers = [];
});

interface Filled {
  readonly reading: HistoryReading;
  readonly epoch: string;
  /** What was asked of the driver, and how many bytes of publications it handed out. */
  readonly asked: { readonly query: HistoryQuery; readonly bytes: number }[];
  publish(): Promise<unknown>;
}

/** A channel `c` with `count` publications of `bytes` each. */
const filled = async (count: number, bytes: number): Promise<Filled> => {
  const broker = createMemoryBroker({ backplane: createMemoryBackplane(), node: 'n' });
  brokers.push(broker);
  const ignore = (): void => undefined;
  await broker.start({
    onPublications: ignore,
    onEphemeral: ignore,
    onInterrupted: ignore,
    onRestored: ignore,
    onHealth: ignore,
    tails: () => [],
    onError: ignore,
  });
  const publish = (): Promise<{ epoch: string }> =>
    broker.publish({
      channel: 'c',
      body: Buffer.from(`{"data":"${'x'.repeat(bytes - 11)}"}`),
      timeMs: Date.now(),
      history: namespaceOf('c').history,
    });
  let epoch = '';
  for (let n = 0; n < count; n++) ({ epoch } = await publish());
  const asked: Filled['asked'] = [];
  const read: Broker['history']['read'] = async (query) => {
    const page = await broker.history.read(query);
    asked.push({ query, bytes: page.publications.reduce((sum, { body }) => sum + body.length, 0) });
    return page;
  };
  const reading = createHistoryReading({ ...broker, history: { ...broker.history, read } }, namespaceOf);
  return { reading, epoch, asked, publish };
};

describe('reading a history', () => {
  it('asks the driver for about what can be answered, however long the page may be', async () => {
    const { reading, asked } = await filled(1000, 2_000);
    const { publications, more } = await reading.read({ channel: 'c', limit: 1000 });
    expect(more).toBe(true);
    expect(publications.length).toBeGreaterThan(250);
    const bytes = asked.reduce((sum, page) => sum + page.bytes, 0);
    expect(bytes).toBeLessThanOrEqual(512 * 1024 + 4_000);
  });

  it.each([
    ['from the oldest', undefined, false, upTo(300)],
    ['from the newest', undefined, true, upTo(300).reverse()],
    ['the last 250', { last: 250 }, false, upTo(300).slice(50)],
    ['the last 250 in reverse', { last: 250 }, true, upTo(300).slice(50).reverse()],
  ] as [string, Since | undefined, boolean, number[]][])(
    'joins what it reads in parts: %s',
    async (_, since, reverse, offsets) => {
      const { reading, asked } = await filled(300, 50);
      const page = await reading.read({ channel: 'c', since, limit: 1000, reverse });
      expect(page.publications.map(({ offset }) => offset)).toEqual(offsets);
      expect(page).toMatchObject({ offset: 300, more: false });
      expect(asked.length).toBe(2);
    },
  );

  it.each([
    [150, false],
    [150, true],
    [299, false],
    [299, true],
  ])('a limit of %i out of 300 (reverse: %s) ends there and says that there is more', async (limit, reverse) => {
    const { reading } = await filled(300, 50);
    const page = await reading.read({ channel: 'c', limit, reverse });
    expect(page.publications).toHaveLength(limit);
    expect(page.more).toBe(true);
  });

  it('after a position it goes on to the head', async () => {
    const { reading, epoch } = await filled(300, 50);
    const page = await reading.read({ channel: 'c', since: { epoch, offset: 20 }, limit: 1000 });
    expect(page.publications.map(({ offset }) => offset)).toEqual(upTo(300).slice(20));
    expect(page.more).toBe(false);
  });

  it('leaves what is published between its parts to a later page', async () => {
    const { reading, asked, publish } = await filled(150, 50);
    const pushing = asked.push.bind(asked);
    asked.push = (...entries) => {
      void publish();
      return pushing(...entries);
    };
    const page = await reading.read({ channel: 'c', limit: 1000 });
    expect(page.publications.at(-1)?.offset).toBe(page.offset);
    expect(page).toMatchObject({ offset: 150, more: false });
  });
});
