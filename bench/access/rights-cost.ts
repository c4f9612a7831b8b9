// What the rights check adds to a subscription and to a publication: the shortest path of each with and without it, in turns.
import { createMemoryBackplane } from '../../broker/memory/backplane.ts';
import { createMemoryBroker } from '../../broker/memory/memory-broker.ts';
import { createAccess } from '../../gateway/access/access.ts';
import { readClaims } from '../../gateway/access/tokens/claims.ts';
import { systemClock } from '../../gateway/clock.ts';
import { loadConfig, namespaceOfChannel } from '../../gateway/config.ts';
import { createPublishing } from '../../gateway/channels/publishing.ts';
import { createMetricsRegistry } from '../../gateway/observability/registry.ts';

const OPERATIONS = 20_000;
const ROUNDS = 21;
const STANDING = { subscribed: false };

export interface RightsCost {
  /** One check with a token of eight patterns of which the last covers the channel, ns. */
  readonly checkNs: number;
  /** A publication from its content to its place in the memory broker's log, without and with the check, per second. */
  readonly publishes: { readonly without: number; readonly with: number };
}

const NO_LOAD = { handlePublishing: () => undefined, handlePublished: () => undefined };

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

/** Operations per second of CPU: time without a core does not count. */
const perSecond = async (work: (index: number) => unknown): Promise<number> => {
  const started = process.cpuUsage();
  for (let done = 0; done < OPERATIONS; done += 100) {
    const pending: unknown[] = [];
    for (let index = done; index < done + 100; index += 1) pending.push(work(index));
    await Promise.all(pending as Promise<unknown>[]);
  }
  const { user, system } = process.cpuUsage(started);
  return (OPERATIONS * 1_000_000) / (user + system);
};

export const measureRights = async (): Promise<RightsCost> => {
  const loaded = loadConfig({ argv: [], env: { WEIR_PROFILE: 'production' } });
  if (loaded.kind !== 'ok') throw new Error('the configuration of the bench is wrong');
  const { config } = loaded;
  const namespaceOf = (channel: string) => namespaceOfChannel(config, channel);
  const access = createAccess(namespaceOf);
  const patterns = [...Array.from({ length: 7 }, (_, n) => `other-${n}:*`), 'chat:*'];
  const identity = readClaims(
    { sub: 'ada', exp: 9_999_999_999, weir: { publish: patterns, subscribe: patterns } },
    { expiryRequired: true },
  );
  if (typeof identity === 'string') throw new Error(identity);
  const { who } = identity;
  const channels = Array.from({ length: 100 }, (_, n) => `chat:room-${n}`);
  const channelOf = (index: number): string => channels[index % channels.length]!;

  const broker = createMemoryBroker({ backplane: createMemoryBackplane(), node: 'bench' });
  await broker.start({
    onPublications: () => undefined,
    onEphemeral: () => undefined,
    onInterrupted: () => undefined,
    onRestored: () => undefined,
    onHealth: () => undefined,
    tails: () => [],
    onError: () => undefined,
  });
  const publishing = createPublishing({
    broker,
    namespaceOf,
    metrics: createMetricsRegistry(),
    clock: systemClock,
    load: NO_LOAD,
  });
  const data = { text: 'x'.repeat(100) };
  const publisher = { user: who.user, connection: 'bench' };
  const publish = (index: number): Promise<unknown> =>
    publishing.publish({
      channel: channelOf(index),
      content: publishing.write({ data, publisher }),
      source: 'client',
    });

  const checks: number[] = [];
  const without: number[] = [];
  const checked: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const started = process.cpuUsage();
    for (let index = 0; index < OPERATIONS * 10; index += 1) {
      access.require('subscribe', who, channelOf(index), STANDING);
    }
    checks.push((process.cpuUsage(started).user * 1000) / (OPERATIONS * 10));
    without.push(await perSecond(publish));
    checked.push(
      await perSecond((index) => {
        access.require('publish', who, channelOf(index), STANDING);
        return publish(index);
      }),
    );
  }
  await broker.close();
  return {
    checkNs: median(checks),
    publishes: { without: median(without), with: median(checked) },
  };
};
