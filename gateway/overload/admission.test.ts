import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ADMISSION_CLASSES,
  type AdmissionClass,
  type AdmissionSettings,
  createAdmissionQueue,
  type Dismissed,
  type Place,
} from './admission.ts';

const settings = { admissionPerSecond: 100, admissionDeadlineMs: 1000 };
/** Fills the burst, so that what follows waits. */
const busyQueue = (given: AdmissionSettings = settings) => {
  const queue = createAdmissionQueue<string>(given);
  while (queue.arrive('early', 'anonymous', 0).kind === 'admitted');
  return queue;
};

interface Visitor {
  readonly admissionClass: AdmissionClass;
  readonly firstMs: number;
  attempts: number;
  admittedMs: number | undefined;
}

/** Plays clients that come at given moments, honour delays to the millisecond, and come until they are let in. */
const simulate = (given: AdmissionSettings, visitors: readonly Visitor[], untilMs: number) => {
  const queue = createAdmissionQueue<Visitor>(given);
  const due = new Map<number, Visitor[]>();
  let mostWaiting = 0;
  const comeAt = (atMs: number, visitor: Visitor): void => void due.set(atMs, [...(due.get(atMs) ?? []), visitor]);
  const dismiss = (nowMs: number, { item, retryAfterMs }: Dismissed<Visitor>): void =>
    comeAt(nowMs + retryAfterMs, item);
  for (const visitor of visitors) comeAt(visitor.firstMs, visitor);
  for (let nowMs = 0; nowMs <= untilMs; nowMs++) {
    for (const visitor of due.get(nowMs) ?? []) {
      visitor.attempts++;
      const arrival = queue.arrive(visitor, visitor.admissionClass, nowMs);
      if (arrival.kind === 'admitted') visitor.admittedMs = nowMs;
      else if (arrival.kind === 'refused') dismiss(nowMs, { item: visitor, retryAfterMs: arrival.retryAfterMs });
      else if (arrival.displaced !== undefined) dismiss(nowMs, arrival.displaced);
    }
    due.delete(nowMs);
    mostWaiting = Math.max(mostWaiting, queue.waiting());
    if (nowMs % 5 !== 0) continue;
    const { admitted, dismissed } = queue.serve(nowMs);
    for (const { item } of admitted) item.admittedMs = nowMs;
    for (const one of dismissed) dismiss(nowMs, one);
  }
  return { mostWaiting };
};
const crowd = (count: number, admissionClass: AdmissionClass, spreadMs: number): Visitor[] =>
  Array.from({ length: count }, (_, n) => ({
    admissionClass,
    firstMs: Math.floor((n / count) * spreadMs),
    attempts: 0,
    admittedMs: undefined,
  }));
const admittedPer = (visitors: readonly Visitor[], widthMs: number): number[] => {
  const counts: (number | undefined)[] = [];
  for (const { admittedMs } of visitors) {
    if (admittedMs === undefined) continue;
    const bin = Math.floor(admittedMs / widthMs);
    counts[bin] = (counts[bin] ?? 0) + 1;
  }
  return Array.from(counts, (count) => count ?? 0);
};

describe('the admission queue', () => {
  it('lets those in at once who come below the rate', () => {
    const queue = createAdmissionQueue<number>(settings);
    for (let n = 0; n < 200; n++) expect(queue.arrive(n, 'anonymous', n * 10)).toEqual({ kind: 'admitted' });
    expect(queue.waiting()).toBe(0);
  });

  it('serves who resumes first, then who has a token, then the anonymous; each class in the order of arrival', () => {
    const queue = busyQueue();
    const order: AdmissionClass[] = ['anonymous', 'authenticated', 'resume', 'anonymous', 'resume', 'authenticated'];
    for (const [n, admissionClass] of order.entries()) queue.arrive(`${admissionClass} ${n}`, admissionClass, 1);
    const served: Place<string>[] = [];
    for (let nowMs = 5; nowMs < 200; nowMs += 5) served.push(...queue.serve(nowMs).admitted);
    expect(served.map(({ item }) => item).filter((item) => item !== 'early')).toEqual([
      'resume 2',
      'resume 4',
      'authenticated 1',
      'authenticated 5',
      'anonymous 0',
      'anonymous 3',
    ]);
  });

  it('holds no more than it can serve before the deadline, and gives each of the others a moment of its own', () => {
    const queue = busyQueue();
    const arrivals = Array.from({ length: 200 }, () => queue.arrive('x', 'anonymous', 0));
    expect(queue.waiting()).toBe(100);
    const delays = arrivals.flatMap((arrival) => (arrival.kind === 'refused' ? [arrival.retryAfterMs] : []));
    expect(delays).toHaveLength(101);
    expect(delays[0]).toBeGreaterThanOrEqual(1000);
    for (const [n, delayMs] of delays.entries()) expect(delayMs).toBe(delays[0]! + n * 10);
  });

  it('makes room for a higher class by sending the newest of the lowest away', () => {
    const queue = busyQueue();
    for (let n = 0; n < 100; n++) queue.arrive(`anonymous ${n}`, 'anonymous', 0);
    expect(queue.arrive('r', 'resume', 1)).toMatchObject({ kind: 'waiting', displaced: { item: 'anonymous 98' } });
    expect(queue.arrive('a', 'authenticated', 1)).toMatchObject({ displaced: { item: 'anonymous 97' } });
    expect(queue.arrive('anonymous', 'anonymous', 1).kind).toBe('refused');
    expect(queue.waiting()).toBe(100);
  });

  it('sends away at the deadline whom others overtook', () => {
    const queue = busyQueue();
    queue.arrive('a', 'anonymous', 0);
    const dismissed: Dismissed<string>[] = [];
    for (let nowMs = 5; nowMs <= 1000; nowMs += 5) {
      if (nowMs % 10 === 5) queue.arrive('r', 'resume', nowMs);
      dismissed.push(...queue.serve(nowMs).dismissed);
    }
    expect(dismissed).toContainEqual({ item: 'a', retryAfterMs: expect.any(Number) as number });
  });

  it('makes up for a late timer, within half a second, and saves nothing up while nobody comes', () => {
    const queue = busyQueue();
    for (let n = 0; n < 99; n++) queue.arrive('x', 'anonymous', 0);
    expect(queue.serve(300).admitted).toHaveLength(30);
    expect(queue.serve(900).admitted).toHaveLength(50);
    const held = busyQueue();
    for (let n = 0; n < 99; n++) held.arrive('x', 'anonymous', 0);
    const { admitted, dismissed } = held.serve(3000);
    expect([admitted.length, dismissed.length]).toEqual([50, 50]);
    const quiet = createAdmissionQueue<number>(settings);
    const atOnce = Array.from({ length: 20 }, (_, n) => quiet.arrive(n, 'resume', 60_000));
    expect(atOnce.filter(({ kind }) => kind === 'admitted')).toHaveLength(5);
  });

  it('forgets who left, who then takes no turn', () => {
    const queue = busyQueue();
    const arrivals = ['a', 'b', 'c'].map((item) => queue.arrive(item, 'anonymous', 0));
    if (arrivals[1]?.kind !== 'waiting') throw new Error('expected to wait');
    const before = queue.waiting();
    queue.leave(arrivals[1].place);
    queue.leave(arrivals[1].place);
    expect(queue.waiting()).toBe(before - 1);
    const served: Place<string>[] = [];
    for (let nowMs = 5; nowMs < 200; nowMs += 5) served.push(...queue.serve(nowMs).admitted);
    expect(served.map(({ item }) => item)).not.toContain('b');
  });

  it('never sends anybody away for longer than a minute, however many there are', () => {
    const queue = busyQueue({ admissionPerSecond: 1, admissionDeadlineMs: 10 });
    const delays = Array.from({ length: 500 }, () => queue.dismiss('anonymous', 0));
    expect(Math.max(...delays)).toBeLessThanOrEqual(60_000);
    expect(new Set(delays.slice(0, 50)).size).toBe(50);
  });

  it('keeps rate, bound and order of classes whatever comes when', () => {
    const visitor = fc.record({
      admissionClass: fc.constantFrom(...ADMISSION_CLASSES),
      firstMs: fc.integer({ min: 0, max: 3000 }),
    });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 10, max: 2000 }),
        fc.array(visitor, { maxLength: 150 }),
        (perSecond, deadlineMs, arrivals) => {
          const given = { admissionPerSecond: perSecond, admissionDeadlineMs: deadlineMs };
          const visitors = arrivals.map((one): Visitor => ({ ...one, attempts: 0, admittedMs: undefined }));
          const { mostWaiting } = simulate(given, visitors, 5000);
          expect(mostWaiting).toBeLessThanOrEqual(Math.max(1, (perSecond * deadlineMs) / 1000));
          const times = visitors.flatMap(({ admittedMs }) => admittedMs ?? []).sort((a, b) => a - b);
          const burst = Math.max(1, Math.ceil(perSecond * 0.05));
          for (const [n, fromMs] of times.entries()) {
            const within = times.filter((atMs) => atMs >= fromMs && atMs < fromMs + 1000).length;
            expect(within, `from admission ${n}`).toBeLessThanOrEqual(perSecond + burst + 1);
          }
        },
      ),
      { numRuns: 40 },
    );
  }, 60_000);
});

describe('a storm of 10 000 clients, 3 000 of whom resume, at 2 000 a second', () => {
  const given = { admissionPerSecond: 2000, admissionDeadlineMs: 1000 };
  const resuming = crowd(3000, 'resume', 700);
  const fresh = crowd(7000, 'anonymous', 500);
  const all = [...resuming, ...fresh];
  const { mostWaiting } = simulate(given, all, 12_000);

  it('lets all in within the predicted time: clients over rate', () => {
    const last = Math.max(...all.map(({ admittedMs }) => admittedMs ?? Infinity));
    expect(last).toBeGreaterThan(4800);
    expect(last).toBeLessThanOrEqual(5000 * 1.2);
  });

  it('is flat: no fifth of a second has more than the rate, and until the last few none has much less', () => {
    const bins = admittedPer(all, 200);
    for (const count of bins) expect(count).toBeLessThanOrEqual(400 + 100);
    for (const count of bins.slice(0, 20)) expect(count).toBeGreaterThanOrEqual(400 * 0.85);
  });

  it('lets those who resume in first, without sending one of a thousand away', () => {
    const atOnce = resuming.filter(({ attempts }) => attempts === 1);
    expect(atOnce.length / resuming.length).toBeGreaterThanOrEqual(0.999);
    expect(Math.max(...resuming.map(({ admittedMs }) => admittedMs!))).toBeLessThanOrEqual(2000);
    expect(fresh.some(({ attempts }) => attempts > 1)).toBe(true);
  });

  it('stays within its bound', () => {
    expect(mostWaiting).toBeLessThanOrEqual(2000);
  });
});
