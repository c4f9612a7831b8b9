// An event as the application gets it.
import { type LifecycleEvent, NODE_LOST } from '../../../broker/lifecycle.ts';

/** Those the application may ask for; `lost` is always told. */
export const EVENT_TYPES = ['connected', 'disconnected', 'occupied', 'vacated'] as const;
export type EventType = (typeof EVENT_TYPES)[number];

interface Loss {
  /** null: nobody knows. */
  readonly count: number | null;
  readonly reason: 'overflow' | 'broker';
  /** Absent where it concerns all. */
  readonly node?: string;
}

/** The log writes digits, nodes write it out. */
const lossOf = ({ detail }: LifecycleEvent): Loss =>
  /^\d+$/.test(detail) ? { count: Number(detail), reason: 'overflow' } : (JSON.parse(detail) as Loss);

/** How many events were lost, as far as it is known, at least 1. */
export const lostCount = (event: LifecycleEvent): number => lossOf(event).count ?? 1;

const contentOf = (event: LifecycleEvent): object => {
  switch (event.type) {
    case 'connected':
      return JSON.parse(event.subject) as object;
    case 'disconnected': {
      const ending =
        event.detail === NODE_LOST ? { reason: NODE_LOST } : { reason: 'closed', code: Number(event.detail) };
      return { ...(JSON.parse(event.subject) as object), ...ending };
    }
    case 'occupied':
    case 'vacated':
      return { channel: event.subject };
    case 'lost':
      return lossOf(event);
  }
};

export const bodyOf = (event: LifecycleEvent): Readonly<Record<string, unknown>> => ({
  id: event.id,
  type: event.type,
  time: event.timeMs,
  ...contentOf(event),
});
