import { describe, expect, it } from 'vitest';
import { type Broker, BrokerUnavailableError } from '../../broker/broker.ts';
import type { EphemeralRequest, PublishRequest } from '../../broker/publication.ts';
import { systemClock } from '../clock.ts';
import { loadConfig, namespaceOfChannel } from '../config.ts';
import { createMetricsRegistry } from '../observability/registry.ts';
import { createPublishing, type Publishing } from './publishing.ts';

const loaded = loadConfig({
  argv: [],
  env: { WEIR_PROFILE: 'development', WEIR_CONFIG: 'weir.yaml' },
  readFile: () => 'namespaces: { small: { maxMessageBytes: 100 }, cursor: { class: ephemeral } }',
});
if (loaded.kind !== 'ok') throw new Error('the configuration of the test is wrong');

const publishingOver = (
  publish: Broker['publish'],
  publishEphemeral?: Broker['publishEphemeral'],
): { publishing: Publishing; failures: () => Promise<string[]> } => {
  const metrics = createMetricsRegistry();
  const publishing = createPublishing({
    broker: { publish, publishEphemeral } as Broker,
    namespaceOf: (channel) => namespaceOfChannel(loaded.config, channel),
    metrics,
    clock: systemClock,
    load: { handlePublishing: () => undefined, handlePublished: () => undefined },
  });
  const failures = async (): Promise<string[]> => {
    const samples = (await metrics.exposition()).matchAll(/^weir_publish_errors_total\{name="(\w+)"\} (\d+)$/gm);
    return [...samples].flatMap(([, name, count]) => Array<string>(Number(count)).fill(name!));
  };
  return { publishing, failures };
};

describe('a publish that fails', () => {
  it.each([
    ['a broker that is away', new BrokerUnavailableError('away'), 'broker_unavailable'],
    ['a fault of our own', new TypeError('oops'), 'internal'],
  ])('is counted by its cause: %s', async (_, error, name) => {
    const { publishing, failures } = publishingOver(() => Promise.reject(error));
    const content = publishing.write({ data: 1 });
    await expect(publishing.publish({ channel: 'c', content, source: 'http' })).rejects.toBe(error);
    expect(await failures()).toEqual([name]);
  });

  it('is counted when it never reaches the broker', async () => {
    const { publishing, failures } = publishingOver(() => Promise.reject(new Error('never asked')));
    expect(() => publishing.write({ data: Infinity })).toThrow(/doubles/);
    const content = publishing.write({ data: 'x'.repeat(100) });
    const order = { channel: 'small:c', content, source: 'http' } as const;
    await expect(publishing.publish(order)).rejects.toMatchObject({ error: 'limitExceeded' });
    expect((await failures()).sort()).toEqual(['bad_request', 'limit_exceeded']);
  });
});

it('sends on an ephemeral channel without a position, and counts it', async () => {
  const sent: EphemeralRequest[] = [];
  const { publishing } = publishingOver(
    () => Promise.reject(new Error('never asked')),
    (request) => {
      sent.push(request);
      return Promise.resolve();
    },
  );
  const content = publishing.write({ data: 1 });
  const order = { channel: 'cursor:c', content, messageId: 'm', source: 'http' } as const;
  expect(await publishing.publish(order)).toEqual({ duplicate: false });
  expect(sent).toEqual([{ channel: 'cursor:c', body: content.body, timeMs: content.timeMs }]);
});

it('hands one body to the broker for however many channels', async () => {
  const asked: PublishRequest[] = [];
  const { publishing } = publishingOver((request) => {
    asked.push(request);
    return Promise.resolve({ epoch: 'e', offset: 1, duplicate: false });
  });
  const content = publishing.write({ data: { text: 'once' }, key: 'k' });
  for (const channel of ['a', 'b', 'c']) await publishing.publish({ channel, content, source: 'http' });
  expect(new Set(asked.map(({ body }) => body)).size).toBe(1);
  expect(asked.map(({ channel, key }) => [channel, key])).toEqual([
    ['a', 'k'],
    ['b', 'k'],
    ['c', 'k'],
  ]);
  expect(JSON.parse(String(asked[0]!.body))).toEqual({ data: { text: 'once' }, key: 'k', time: content.timeMs });
});
