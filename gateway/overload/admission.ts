// Who is let in, and when: a bounded queue with a deadline that serves at a fixed rate, and a timetable for those it turns away.
//
// Pure: time comes in, decisions come out. Lower classes give way: those who resume come first, because what they miss
// grows meanwhile; then those with a token; then the anonymous. Whoever is turned away gets a moment of its own, one
// behind the other at the admitted rate, so that those who honour it come back as a flat curve that can be served.
import { bucketShapeOf, REFUSED, take } from '../access/limits/token-bucket.ts';

/** First served first. */
export const ADMISSION_CLASSES = ['resume', 'authenticated', 'anonymous'] as const;
export type AdmissionClass = (typeof ADMISSION_CLASSES)[number];

export interface AdmissionSettings {
  readonly admissionPerSecond: number;
  /** Longest wait, ms; with the rate it is the bound of the queue. */
  readonly admissionDeadlineMs: number;
}

export type Arrival<T> =
  | { readonly kind: 'admitted' }
  /** `displaced` had to make room: it is turned away. */
  | { readonly kind: 'waiting'; readonly place: Place<T>; readonly displaced: Dismissed<T> | undefined }
  | { readonly kind: 'refused'; readonly retryAfterMs: number };

export interface Place<T> {
  readonly item: T;
  readonly admissionClass: AdmissionClass;
  readonly sinceMs: number;
  state: 'waiting' | 'gone';
}

export interface Dismissed<T> {
  readonly item: T;
  readonly retryAfterMs: number;
}

export interface AdmissionQueue<T> {
  /** One arrives. `nowMs` is monotonic in all calls. */
  arrive(item: T, admissionClass: AdmissionClass, nowMs: number): Arrival<T>;
  /** Who is let in now, in order, and who waited in vain. */
  serve(nowMs: number): { readonly admitted: readonly Place<T>[]; readonly dismissed: readonly Dismissed<T>[] };
  /** A place of its own in the timetable, for one that is turned away before it could arrive. Ms from now. */
  dismiss(admissionClass: AdmissionClass, nowMs: number): number;
  /** One that waits is gone. */
  leave(place: Place<T>): void;
  waiting(): number;
}

/** After a quiet time those of this time are let in at once; longer, and the curve would not be flat. */
const BURST_MS = 50;
/** While some wait, what a late timer missed is made up for, so that a busy machine does not cost rate. */
const CATCH_UP_MS = 500;
/** Nobody is sent away for longer. A timetable that is full begins again: then more than one come at a time. */
const MAX_RETRY_MS = 60_000;
const SECOND_MS = 1000;

interface Lane<T> {
  places: Place<T>[];
  /** Places before it are gone. */
  head: number;
  waiting: number;
  /** The moment named last. */
  lastSlotMs: number;
}

export const createAdmissionQueue = <T>(settings: AdmissionSettings): AdmissionQueue<T> => {
  const { admissionPerSecond: perSecond, admissionDeadlineMs: deadlineMs } = settings;
  const tokenMs = SECOND_MS / perSecond;
  const tokensOf = (ms: number): number => Math.max(1, Math.ceil(ms / tokenMs));
  const capacity = tokensOf(CATCH_UP_MS);
  const shape = bucketShapeOf({ count: capacity, perMs: capacity * tokenMs });
  const unusedMs = (capacity - tokensOf(BURST_MS)) * tokenMs;
  const maxWaiting = Math.max(1, Math.floor((perSecond * deadlineMs) / SECOND_MS));
  const lanes = ADMISSION_CLASSES.map((): Lane<T> => ({ places: [], head: 0, waiting: 0, lastSlotMs: 0 }));
  const rankOf = (admissionClass: AdmissionClass): number => ADMISSION_CLASSES.indexOf(admissionClass);
  let fullAtMs = 0;
  let waiting = 0;

  const takeOne = (nowMs: number): boolean => {
    const taken = take(shape, fullAtMs, nowMs, 1);
    if (taken === REFUSED) return false;
    fullAtMs = taken;
    return true;
  };

  const dismiss = (admissionClass: AdmissionClass, nowMs: number): number => {
    const rank = rankOf(admissionClass);
    const lane = lanes[rank]!;
    // Behind all that wait already, who are served first.
    const firstMs = nowMs + (waiting + 1) * tokenMs;
    let slotMs = Math.max(firstMs, lane.lastSlotMs + tokenMs);
    if (slotMs > nowMs + MAX_RETRY_MS) slotMs = firstMs;
    lane.lastSlotMs = slotMs;
    // Lower classes that are turned away from now on come after this one.
    for (const lower of lanes.slice(rank + 1)) lower.lastSlotMs = Math.max(lower.lastSlotMs, slotMs);
    return Math.ceil(slotMs - nowMs);
  };

  const remove = (place: Place<T>): void => {
    if (place.state === 'gone') return;
    place.state = 'gone';
    waiting--;
    lanes[rankOf(place.admissionClass)]!.waiting--;
  };

  const firstOf = (lane: Lane<T>): Place<T> | undefined => {
    while (lane.head < lane.places.length && lane.places[lane.head]!.state === 'gone') lane.head++;
    if (lane.head === lane.places.length) {
      lane.places = [];
      lane.head = 0;
    } else if (lane.head > maxWaiting) {
      lane.places = lane.places.slice(lane.head);
      lane.head = 0;
    }
    return lane.places[lane.head];
  };

  /** The one that waits the shortest in the lowest class below `rank`. */
  const displace = (rank: number, nowMs: number): Dismissed<T> | undefined => {
    const lane = lanes.findLast((candidate) => candidate.waiting > 0);
    if (lane === undefined || lanes.indexOf(lane) <= rank) return undefined;
    while (lane.places.at(-1)?.state === 'gone') lane.places.pop();
    const place = lane.places.pop()!;
    remove(place);
    return { item: place.item, retryAfterMs: dismiss(place.admissionClass, nowMs) };
  };

  return {
    arrive(item, admissionClass, nowMs) {
      if (waiting === 0) {
        fullAtMs = Math.max(fullAtMs, nowMs + unusedMs);
        if (takeOne(nowMs)) return { kind: 'admitted' };
      }
      const rank = rankOf(admissionClass);
      const displaced = waiting < maxWaiting ? undefined : displace(rank, nowMs);
      if (waiting >= maxWaiting) return { kind: 'refused', retryAfterMs: dismiss(admissionClass, nowMs) };
      const place: Place<T> = { item, admissionClass, sinceMs: nowMs, state: 'waiting' };
      const lane = lanes[rank]!;
      lane.places.push(place);
      lane.waiting++;
      waiting++;
      return { kind: 'waiting', place, displaced };
    },
    serve(nowMs) {
      const admitted: Place<T>[] = [];
      const dismissed: Dismissed<T>[] = [];
      for (const lane of lanes) {
        for (let place = firstOf(lane); place !== undefined; place = firstOf(lane)) {
          // Also after the deadline: when this node was held up, those who waited are not sent away for it.
          if (takeOne(nowMs)) {
            remove(place);
            admitted.push(place);
          } else if (place.sinceMs + deadlineMs <= nowMs) {
            remove(place);
            dismissed.push({ item: place.item, retryAfterMs: dismiss(place.admissionClass, nowMs) });
          } else break;
        }
      }
      return { admitted, dismissed };
    },
    dismiss,
    leave: remove,
    waiting: () => waiting,
  };
};
