import { expect, it } from 'vitest';
import { createMemoryBackplane } from '../../broker/memory/backplane.ts';
import { createMemoryBroker } from '../../broker/memory/memory-broker.ts';
import { systemClock } from '../clock.ts';
import { NO_WAIT } from '../fanout/coalescing.ts';
import { createFanout } from '../fanout/fanout.ts';
import { createTestSubscriber } from '../fanout/test-subscriber.ts';
import { createMetricsRegistry } from '../observability/registry.ts';
import { createClusterView } from './cluster-view.ts';

it('counts whom a publication reached although the channel never comes to rest', async () => {
  const broker = createMemoryBroker({ backplane: createMemoryBackplane(), node: 'one' });
  const metrics = createMetricsRegistry();
  const onError = (error: Error): void => expect.unreachable(error.message);
  const history = { size: 1000, ttlMs: 60_000 };
  const fanout = createFanout({
    broker,
    clock: systemClock,
    metrics,
    boundsOf: () => history,
    wait: () => NO_WAIT,
    maxChannelBytes: 1 << 17,
    maxTotalBytes: () => 1 << 24,
    maxWaitingBytes: 1 << 26,
    onCharged: () => undefined,
    limitsOf: () => ({ kickBehind: undefined, kickExpired: undefined, coalesce: undefined }),
    onError,
  });
  const { hub } = fanout;
  const cluster = createClusterView({
    control: broker.control,
    hub,
    ownStats: () => expect.unreachable('statistics are not asked'),
    timeoutMs: 5000,
  });
  await broker.start({
    onPublications: (run) => hub.handlePublications(run),
    onEphemeral: () => undefined,
    onInterrupted: () => undefined,
    onRestored: () => undefined,
    onHealth: () => undefined,
    tails: () => [],
    onError,
  });
  await broker.control.announce({});
  for (let index = 0; index < 50; index++) {
    const subscriber = createTestSubscriber();
    // A flush takes longer than the pause between two publications.
    subscriber.sendFrame = () => {
      const untilMs = performance.now() + 0.2;
      while (performance.now() < untilMs);
    };
    await hub.subscribe(subscriber, 'c');
  }
  const publish = () => {
    const timeMs = Date.now();
    return broker.publish({ channel: 'c', body: Buffer.from(`{"data":1,"time":${timeMs}}`), timeMs, history });
  };
  const publishing = setInterval(() => void publish(), 1);
  try {
    expect(await cluster.reached('c', await publish())).toEqual({ nodes: 1, subscribers: 50 });
  } finally {
    clearInterval(publishing);
    fanout.close();
    await broker.close();
  }
});
