import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createHeartbeats, type Heartbeats, type HeartbeatSocket } from './heartbeat.ts';

const INTERVAL_MS = 25_000;

interface Link {
  /** Times at which it was pinged, ms. */
  readonly pings: number[];
  /** When it was ended, ms. */
  deadAtMs: number | undefined;
  buffered: number;
  heard(): void;
  sent(bytes: number): void;
  drained(): void;
  end(): void;
}

interface Bench {
  readonly heartbeats: Heartbeats;
  readonly counters: { pingsSent: number; pingsSkipped: number };
  nowMs(): number;
  /** `onPing` may answer at once. */
  open(onPing?: (link: Link) => void): Link;
  advance(ms: number, onTick?: () => void): void;
}

const bench = (options: { maxStretch?: number; maxStallMs?: number; random?: () => number } = {}): Bench => {
  const counters = { pingsSent: 0, pingsSkipped: 0 };
  const heartbeats = createHeartbeats({
    intervalMs: INTERVAL_MS,
    maxStretch: options.maxStretch ?? 1,
    maxStallMs: options.maxStallMs ?? 600_000,
    random: options.random ?? (() => 0.999),
    counters,
  });
  let ticks = 0;
  const nowMs = (): number => ticks * heartbeats.tickMs;
  return {
    heartbeats,
    counters,
    nowMs,
    open: (onPing) => {
      const link: Link = {
        pings: [],
        deadAtMs: undefined,
        buffered: 0,
        heard: () => beat.heard(),
        sent: (bytes) => beat.sent(bytes),
        drained: () => beat.drained(),
        end: () => beat.end(),
      };
      const socket: HeartbeatSocket = {
        ping: () => {
          link.pings.push(nowMs());
          onPing?.(link);
        },
        bufferedBytes: () => link.buffered,
        handleNoPong: () => {
          expect(link.deadAtMs, 'ended once').toBeUndefined();
          link.deadAtMs = nowMs();
        },
      };
      const beat = heartbeats.add(socket);
      return link;
    },
    advance: (ms, onTick) => {
      const until = nowMs() + ms;
      while (nowMs() + heartbeats.tickMs <= until) {
        ticks++;
        for (const beat of heartbeats.tick()) beat.look();
        onTick?.();
      }
    },
  };
};

const answering = (link: Link): void => link.heard();

describe('a client that vanished', () => {
  it('is ended within 1.5 intervals of the last thing heard, whatever it did before and whatever is sent to it', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 60_000 }), { maxLength: 20 }),
        fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { minLength: 1, maxLength: 20 }),
        (pauses, numbers) => {
          let drawn = 0;
          const run = bench({ random: () => numbers[drawn++ % numbers.length]! });
          const link = run.open(answering);
          for (const pause of pauses) {
            run.advance(pause);
            link.heard();
          }
          const pingsBefore = link.pings.length;
          // From now on it hears nothing: its pings are not answered.
          link.heard = () => undefined;
          const heardAtMs = run.nowMs();
          run.advance(2 * INTERVAL_MS, () => link.sent(100));
          expect(link.pings.length).toBe(pingsBefore + 1);
          expect(link.deadAtMs! - heardAtMs).toBeLessThanOrEqual(1.5 * INTERVAL_MS - run.heartbeats.tickMs);
          expect(link.deadAtMs! - link.pings.at(-1)!).toBeGreaterThanOrEqual(0.4 * INTERVAL_MS);
        },
      ),
    );
  });

  it('is found within 1.5 of its own longer intervals when its link was a stable one', () => {
    const run = bench({ maxStretch: 2 });
    const link = run.open(answering);
    run.advance(40 * INTERVAL_MS);
    const heardAtMs = link.pings.at(-1)!;
    link.heard = () => undefined;
    run.advance(4 * INTERVAL_MS);
    expect(link.deadAtMs! - heardAtMs).toBeLessThanOrEqual(3 * INTERVAL_MS);
  });

  it('is neither pinged nor ended when its socket is gone already', () => {
    const run = bench();
    const link = run.open();
    link.end();
    run.advance(3 * INTERVAL_MS);
    expect(link).toMatchObject({ pings: [], deadAtMs: undefined });
  });
});

describe('a client that lives', () => {
  it('is never ended while it answers, and never silent for longer than an interval without a ping', () => {
    const run = bench({ random: Math.random });
    const link = run.open(answering);
    run.advance(100 * INTERVAL_MS);
    expect(link.deadAtMs).toBeUndefined();
    const silences = link.pings.slice(1).map((at, index) => at - link.pings[index]!);
    expect(Math.max(...silences)).toBeLessThanOrEqual(INTERVAL_MS);
    expect(Math.min(...silences)).toBeGreaterThan(0.8 * INTERVAL_MS);
  });

  it('is not pinged while it speaks', () => {
    const run = bench({ random: Math.random });
    const link = run.open();
    let ticks = 0;
    run.advance(20 * INTERVAL_MS, () => {
      // Three times per interval.
      if (++ticks % 21 === 0) link.heard();
    });
    expect(link.pings).toHaveLength(link.pings[0]! < INTERVAL_MS / 3 ? 1 : 0);
    expect(run.counters.pingsSkipped).toBeGreaterThan(15);
  });

  it('is pinged half as often once it answered at once often enough, and as before after one late answer', () => {
    const run = bench({ maxStretch: 2 });
    const link = run.open(answering);
    run.advance(20 * INTERVAL_MS);
    const silence = (): number => link.pings.at(-1)! - link.pings.at(-2)!;
    expect(silence()).toBeGreaterThan(1.6 * INTERVAL_MS);
    expect(silence()).toBeLessThanOrEqual(2 * INTERVAL_MS);
    const before = link.pings.length;
    const { heard } = link;
    link.heard = () => undefined;
    run.advance(3 * INTERVAL_MS, () => {
      // Late: nearly as late as it may be.
      const pinged = link.pings[before];
      if (pinged !== undefined && run.nowMs() - pinged > 0.9 * INTERVAL_MS && link.pings.length === before + 1) heard();
    });
    link.heard = heard;
    run.advance(3 * INTERVAL_MS);
    expect(link.deadAtMs).toBeUndefined();
    expect(silence()).toBeLessThanOrEqual(INTERVAL_MS);
  });
});

it('keeps nothing of clients that come and go', () => {
  const run = bench();
  const stays = Array.from({ length: 500 }, () => run.open(answering));
  for (let n = 0; n < 50_000; n++) run.open().end();
  expect(run.heartbeats.kept).toBeLessThanOrEqual(1100);
  run.advance(10 * INTERVAL_MS);
  expect(run.heartbeats.kept).toBe(500);
  for (const { deadAtMs, pings } of stays) {
    expect(deadAtMs).toBeUndefined();
    expect(pings.length).toBeGreaterThanOrEqual(9);
  }
});

describe('clients that came together', () => {
  it('are pinged at moments spread over the whole interval', () => {
    const run = bench({ random: Math.random });
    const links = Array.from({ length: 1000 }, () => run.open(answering));
    run.advance(INTERVAL_MS);
    const tenths = Array.from({ length: 10 }, () => 0);
    for (const { pings } of links) tenths[Math.min(9, Math.floor((10 * pings[0]!) / INTERVAL_MS))]!++;
    expect(Math.max(...tenths)).toBeLessThan(200);
    expect(Math.min(...tenths)).toBeGreaterThan(30);
  });
});

describe('a client that does not read', () => {
  it('is left alone while its socket has a backlog, and ended after the longest stall', () => {
    const run = bench({ maxStallMs: 300_000 });
    const link = run.open();
    link.buffered = 40_000;
    run.advance(299_000);
    expect(link).toMatchObject({ pings: [], deadAtMs: undefined });
    run.advance(INTERVAL_MS);
    expect(link.deadAtMs).toBeLessThanOrEqual(300_000 + INTERVAL_MS / 2);
  });

  it('stays for as long as it takes something, however slowly, and goes the longest stall after the last', () => {
    const run = bench({ maxStallMs: 300_000 });
    const link = run.open();
    link.buffered = 40_000;
    let ticks = 0;
    run.advance(2_000_000, () => {
      if (++ticks % 500 === 0) link.drained();
    });
    expect(link).toMatchObject({ pings: [], deadAtMs: undefined });
    link.drained();
    const drainedAtMs = run.nowMs();
    run.advance(299_000);
    expect(link.deadAtMs).toBeUndefined();
    run.advance(INTERVAL_MS);
    expect(link.deadAtMs! - drainedAtMs).toBeLessThanOrEqual(300_000 + INTERVAL_MS / 2);
  });

  it('keeps its connection when the ping waits behind what the kernel hides', () => {
    const run = bench();
    const link = run.open();
    let ticks = 0;
    run.advance(2 * INTERVAL_MS, () => {
      if (++ticks % 2 === 0) link.sent(10_000);
    });
    expect(link.pings).toHaveLength(1);
    expect(link.deadAtMs).toBeUndefined();
    link.heard();
    run.advance(INTERVAL_MS);
    expect(link.pings).toHaveLength(2);
  });

  it('is pinged, and found dead in the usual time, once its backlog is gone', () => {
    const run = bench();
    const link = run.open();
    link.buffered = 1;
    run.advance(4 * INTERVAL_MS);
    link.buffered = 0;
    run.advance(1.5 * INTERVAL_MS);
    expect(link.pings).toHaveLength(1);
    expect(link.deadAtMs).toBeDefined();
  });
});
