// What of the changes that wait to be written is still worth telling (pure).
import type { LifecycleChange } from '../../../broker/lifecycle.ts';

/** What is there at the moment. */
interface Alive {
  connection(id: string): boolean;
  channel(name: string): boolean;
}

/** A connection's name in changes is its id and a number behind a dot. */
export const connectionOf = (key: string): string => key.slice(0, key.lastIndexOf('.'));

/** Whether a change is about something that is over, or about nothing in particular. */
export const isOfDead = (change: LifecycleChange, alive: Alive): boolean => {
  switch (change.kind) {
    case 'connected':
    case 'disconnected':
      return !alive.connection(connectionOf(change.key));
    case 'joined':
    case 'left':
      return !alive.channel(change.channel);
    case 'lost':
      return true;
  }
};

interface Dropped {
  readonly changes: LifecycleChange[];
  /** Events nobody will hear of. */
  readonly dropped: number;
}

/** How many events a `lost` stands for; what nobody knows counts as none. */
const countOf = (detail: string): number => (JSON.parse(detail) as { readonly count: number | null }).count ?? 0;

/**
 * Leaves out connections and channels that came and went among the changes, and counts them: of the channels the lane knows nothing, so
 * their end is no news there either. Of the changes of any other channel it leaves the newest, which says where it stands. Keeps the
 * order of the rest. A `lost` whose count is known is counted with what is dropped here.
 */
export const compact = (changes: readonly LifecycleChange[]): Dropped => {
  const begun = new Set<string>();
  const over = new Set<string>();
  const spans = new Map<string, { readonly first: LifecycleChange; newest: LifecycleChange }>();
  for (const change of changes) {
    if (change.kind === 'connected') begun.add(change.key);
    else if (change.kind === 'disconnected' && begun.has(change.key)) over.add(change.key);
    else if (change.kind === 'joined' || change.kind === 'left') {
      const span = spans.get(change.channel);
      if (span === undefined) spans.set(change.channel, { first: change, newest: change });
      else span.newest = change;
    }
  }
  let dropped = 0;
  const left = changes.filter((change) => {
    switch (change.kind) {
      case 'connected':
      case 'disconnected':
        if (!over.has(change.key)) return true;
        dropped += 1;
        return false;
      case 'joined':
      case 'left': {
        const { first, newest } = spans.get(change.channel)!;
        const isVisit = first.kind === 'joined' && newest.kind === 'left';
        if (!isVisit) return newest === change;
        dropped += 1;
        return false;
      }
      case 'lost':
        dropped += countOf(change.detail);
        return countOf(change.detail) === 0;
    }
  });
  return { changes: left, dropped };
};
