// What a backend for hooks was told of lifecycle events: as they came, and without those it had seen before.
import type { HookBackend } from './hook-backend.ts';

export interface ToldEvent {
  readonly id: string;
  readonly type: 'connected' | 'disconnected' | 'occupied' | 'vacated' | 'lost';
  readonly time: number;
  readonly connection?: string;
  readonly channel?: string;
  readonly [field: string]: unknown;
}

/** Every event of every call, repeated ones included. */
export const allEvents = ({ calls }: Pick<HookBackend, 'calls'>): ToldEvent[] =>
  calls.filter(({ body }) => body['hook'] === 'events').flatMap(({ body }) => body['events'] as ToldEvent[]);

/** Each event once, in the order in which they came first. */
export const toldEvents = (backend: Pick<HookBackend, 'calls'>): ToldEvent[] => {
  const first = new Map<string, ToldEvent>();
  for (const event of allEvents(backend)) if (!first.has(event.id)) first.set(event.id, event);
  return [...first.values()];
};

/** Types of the events about one connection or channel, in order. */
export const typesOf = (backend: Pick<HookBackend, 'calls'>, about: string): string[] =>
  toldEvents(backend)
    .filter(({ connection, channel }) => connection === about || channel === about)
    .map(({ type }) => type);
