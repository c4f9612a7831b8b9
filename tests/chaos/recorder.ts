// Judges what recording clients and publishers saw of one channel: which promises of delivery were broken. Pure.

export interface Position {
  readonly epoch: string;
  readonly offset: number;
}

/** What one subscription was told, in order. It survives breaks of the connection, so a reconnect leaves no trace in it. */
export type RecordedEvent =
  /** Where the subscription began; first of all events, and only once. */
  | { readonly kind: 'start'; readonly position: Position }
  | { readonly kind: 'message'; readonly offset: number; readonly content: string; readonly messageId: string }
  | {
      readonly kind: 'gap';
      readonly from: number;
      readonly to: number;
      readonly count: number;
      readonly reason: string;
    }
  /** The numbering began again; messages go on after `position`. */
  | { readonly kind: 'epoch'; readonly position: Position }
  /** The server refused for good to go on from the client's position. */
  | { readonly kind: 'refused'; readonly reason: string };

export interface Recording {
  readonly client: string;
  readonly events: readonly RecordedEvent[];
}

/** A publication that was answered with success, maybe after retries; a messageId may have several. */
export interface Acknowledged extends Position {
  readonly messageId: string;
}

export interface LoggedMessage {
  readonly offset: number;
  readonly messageId: string;
}

export interface ChannelEvidence {
  readonly recordings: readonly Recording[];
  readonly acknowledged: readonly Acknowledged[];
  /** Every messageId that was ever sent, also without an answer. */
  readonly attempted: ReadonlySet<string>;
  /** Head of the channel when all was quiet. */
  readonly head: Position;
  /** What history held then, ascending, of the head's epoch. */
  readonly log: readonly LoggedMessage[];
}

export type ViolationKind =
  | 'duplicate'
  | 'overlap'
  | 'hole'
  | 'bad-gap'
  | 'short'
  | 'refused'
  | 'no-start'
  | 'different-content'
  | 'phantom'
  | 'lost-acknowledged'
  | 'needless-gap'
  | 'repeated-message';

export interface Violation {
  readonly kind: ViolationKind;
  /** Undefined: seen by comparing clients, publishers and the log. */
  readonly client?: string;
  readonly detail: string;
}

type Report = (kind: ViolationKind, detail: string) => void;

/** One account of a channel by all clients, to compare them with each other. */
interface Seen {
  /** `epoch offset` to what the first client got there. */
  readonly contents: Map<string, { readonly content: string; readonly client: string }>;
  /** messageId to the positions where it was seen. */
  readonly places: Map<string, Set<string>>;
}

const keyOf = (epoch: string, offset: number): string => `${epoch} ${offset}`;

const notePlace = (seen: Seen, messageId: string, epoch: string, offset: number): void => {
  const places = seen.places.get(messageId) ?? new Set();
  seen.places.set(messageId, places.add(keyOf(epoch, offset)));
};

const checkRecording = (recording: Recording, evidence: ChannelEvidence, seen: Seen, report: Report): void => {
  const logged = new Set(evidence.log.map(({ offset }) => offset));
  const [start, ...events] = recording.events;
  if (start?.kind !== 'start') {
    report('no-start', 'was never subscribed');
    return;
  }
  let { epoch, offset } = start.position;
  const delivered = new Set<string>();
  /** True when it may be taken as the next; the account goes on behind it in any case, so that one fault is one line. */
  const follows = (from: number, what: string): void => {
    if (from <= offset) report('overlap', `${what} after ${offset} of ${epoch}`);
    else if (from > offset + 1) report('hole', `${what} after ${offset} of ${epoch}`);
  };
  for (const event of events) {
    switch (event.kind) {
      case 'start':
        report('overlap', `began again at ${event.position.offset} of ${event.position.epoch} after ${offset}`);
        ({ epoch, offset } = event.position);
        break;
      case 'message': {
        const key = keyOf(epoch, event.offset);
        if (delivered.has(key)) report('duplicate', `message ${event.offset} of ${epoch}`);
        else follows(event.offset, `message ${event.offset}`);
        delivered.add(key);
        offset = Math.max(offset, event.offset);
        notePlace(seen, event.messageId, epoch, event.offset);
        if (!evidence.attempted.has(event.messageId)) report('phantom', `nobody published ${event.messageId}`);
        const first = seen.contents.get(key);
        if (first === undefined) seen.contents.set(key, { content: event.content, client: recording.client });
        else if (first.content !== event.content)
          report('different-content', `${key}: ${event.content}, but ${first.client} got ${first.content}`);
        break;
      }
      case 'gap': {
        const what = `gap ${event.from}-${event.to} (${event.reason})`;
        if (event.to < event.from || event.count !== event.to - event.from + 1)
          report('bad-gap', `${what} counts ${event.count}`);
        follows(event.from, what);
        offset = Math.max(offset, event.to);
        if (epoch === evidence.head.epoch) {
          const held = Array.from({ length: event.to - event.from + 1 }, (_, index) => event.from + index);
          const kept = held.find((candidate) => logged.has(candidate));
          // The log only ever loses: what it holds at the end it held when the receipt was written.
          if (kept !== undefined) report('needless-gap', `${what}, but history still holds ${kept}`);
        }
        break;
      }
      case 'epoch':
        if (event.position.epoch === epoch) report('overlap', `${epoch} began again after ${offset}`);
        ({ epoch, offset } = event.position);
        break;
      case 'refused':
        report('refused', event.reason);
    }
  }
  if (epoch !== evidence.head.epoch || offset !== evidence.head.offset)
    report('short', `ended at ${offset} of ${epoch}, the head is ${evidence.head.offset} of ${evidence.head.epoch}`);
};

/**
 * Acknowledged publications against what was delivered and what the log holds. That a client which got nothing at their
 * position has a receipt or a change of epoch for it is what the check of holes says.
 */
const checkAcknowledged = (evidence: ChannelEvidence, seen: Seen, report: Report): void => {
  const logged = new Map(evidence.log.map(({ offset, messageId }) => [offset, messageId]));
  const oldest = evidence.log[0]?.offset ?? Infinity;
  const contents = new Map<string, string>();
  for (const [messageId, places] of seen.places) for (const place of places) contents.set(place, messageId);
  for (const { messageId, epoch, offset } of evidence.acknowledged) {
    const key = keyOf(epoch, offset);
    notePlace(seen, messageId, epoch, offset);
    const delivered = contents.get(key);
    if (delivered !== undefined && delivered !== messageId)
      report('lost-acknowledged', `${messageId} was acknowledged at ${key}, where clients got ${delivered}`);
    if (epoch !== evidence.head.epoch) continue;
    if (offset > evidence.head.offset)
      report('lost-acknowledged', `${messageId} was acknowledged at ${key}, beyond the head ${evidence.head.offset}`);
    else if (offset >= oldest && logged.get(offset) !== messageId)
      report('lost-acknowledged', `${messageId} was acknowledged at ${key}, where the log has ${logged.get(offset)}`);
  }
};

/** What every client got is what was published, once, in order, or a receipt says what is missing. */
export const checkChannel = (evidence: ChannelEvidence): readonly Violation[] => {
  const violations: Violation[] = [];
  const seen: Seen = { contents: new Map(), places: new Map() };
  for (const recording of evidence.recordings) {
    checkRecording(recording, evidence, seen, (kind, detail) =>
      violations.push({ kind, client: recording.client, detail }),
    );
  }
  const report: Report = (kind, detail) => violations.push({ kind, detail });
  checkAcknowledged(evidence, seen, report);
  for (const { offset, messageId } of evidence.log) notePlace(seen, messageId, evidence.head.epoch, offset);
  for (const [messageId, places] of seen.places) {
    const epochs = [...places].map((place) => place.slice(0, place.lastIndexOf(' ')));
    // A new epoch is a new log, which does not know what the old one had seen.
    if (new Set(epochs).size < places.size) report('repeated-message', `${messageId} is at ${[...places].join(', ')}`);
  }
  return violations;
};
