import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Broker, BrokerEvents, BrokerHealth, PublicationRun } from '../broker/broker.ts';
import { createMemoryBackplane, createMemoryBroker } from '../broker/memory/memory-broker.ts';
import { createBackplaneState } from './backplane-state.ts';
import type { Hub } from './fanout/hub.ts';
import { createMetricsRegistry } from './observability/registry.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const setUp = async () => {
  const real = createMemoryBroker({ backplane: createMemoryBackplane(), node: 'n' });
  const path = { delivers: true, health: { state: 'ready' } as BrokerHealth };
  const renewals: string[] = [];
  const told: string[] = [];
  const forHub: PublicationRun[] = [];
  const heals: (() => void)[] = [];
  const broker: Broker = { ...real, health: () => path.health, renewSubscriber: (reason) => renewals.push(reason) };
  const metrics = createMetricsRegistry();
  const backplane = createBackplaneState({
    nodeName: 'n',
    broker,
    clock: { nowMs: () => Date.now(), monotonicMs: () => performance.now() },
    hub: {
      handlePublications: (run: PublicationRun) => forHub.push(run),
      handleRestored: () => new Promise<void>((resolve) => heals.push(resolve)),
    } as unknown as Hub,
    metrics,
    logger: pino({ level: 'silent' }),
    onError: (error) => expect.unreachable(error.message),
    onChanged: (state) => told.push(state),
  });
  const events: BrokerEvents = {
    ...backplane.events,
    onPublications: (run) => {
      if (path.delivers) backplane.events.onPublications(run);
    },
  };
  await broker.start(events);
  backplane.start();
  await vi.advanceTimersByTimeAsync(100);
  expect({ told, forHub }).toEqual({ told: ['ready'], forHub: [] });
  const finishHeal = async (): Promise<void> => {
    heals.shift()?.();
    await vi.advanceTimersByTimeAsync(0);
  };
  return { backplane, events, path, renewals, told, heals, finishHeal, metrics };
};

describe('a deaf node', () => {
  it('is degraded with a reason, renews its link, and is ready only after everything was compared', async () => {
    const { backplane, path, renewals, told, heals, finishHeal, metrics } = await setUp();
    path.delivers = false;
    await vi.advanceTimersByTimeAsync(3000);
    expect(told).toEqual(['ready', 'degraded']);
    expect(backplane.summary()).toEqual({ state: 'degraded', reason: expect.stringMatching(/^deaf: /) as string });
    expect(renewals).toHaveLength(1);
    expect(await metrics.exposition()).toMatch(/^weir_node_deaf 1$[^]*^weir_node_deaf_total 1$/m);
    const before = backplane.deafForMs() ?? 0;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(backplane.deafForMs()).toBeCloseTo(before + 10_000, 0);
    expect(renewals).toHaveLength(2);

    path.delivers = true;
    await vi.advanceTimersByTimeAsync(1100);
    expect({ heals: heals.length, told }).toEqual({ heals: 1, told: ['ready', 'degraded'] });
    expect(backplane.summary()).toMatchObject({ reason: expect.stringContaining('healing') as string });
    expect(backplane.deafForMs()).toBeUndefined();
    await finishHeal();
    expect(told).toEqual(['ready', 'degraded', 'ready']);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(renewals).toHaveLength(2);
    backplane.close();
  });

  it('stays degraded when it became deaf anew while it compared', async () => {
    const { backplane, path, told, finishHeal, heals } = await setUp();
    path.delivers = false;
    await vi.advanceTimersByTimeAsync(3000);
    path.delivers = true;
    await vi.advanceTimersByTimeAsync(1000);
    path.delivers = false;
    await vi.advanceTimersByTimeAsync(4000);
    await finishHeal();
    expect(told).toEqual(['ready', 'degraded']);
    path.delivers = true;
    await vi.advanceTimersByTimeAsync(1000);
    expect(heals).toHaveLength(1);
    await finishHeal();
    expect(told).toEqual(['ready', 'degraded', 'ready']);
    backplane.close();
  });

  it('does not renew a link that is known to be down', async () => {
    const { backplane, path, renewals } = await setUp();
    path.delivers = false;
    path.health = { state: 'degraded', affected: 'subscriber', reason: 'cut' };
    await vi.advanceTimersByTimeAsync(20_000);
    expect(backplane.deafForMs()).toBeGreaterThan(0);
    expect(renewals).toEqual([]);
    backplane.close();
  });
});

it('is ready only after the newest comparison, whichever ends first', async () => {
  const { backplane, events, told, heals } = await setUp();
  events.onInterrupted('cut');
  events.onRestored();
  events.onInterrupted('cut again');
  events.onRestored();
  const [older, newer] = heals;
  newer?.();
  await vi.advanceTimersByTimeAsync(0);
  older?.();
  await vi.advanceTimersByTimeAsync(0);
  expect(told).toEqual(['ready', 'degraded', 'ready']);
  expect(backplane.summary()).toEqual({ state: 'ready' });
  backplane.close();
});
