// What a node holds in memory for its clients, against one budget, and who gives way when it is used up. Pure: no sockets.
//
// Published order: channel logs shrink first, since the broker has what they hold; then the largest debtors are parked, so that
// their outboxes grow no further; then the largest debtors go, until the sum is below the low mark. A debtor that goes is
// first *dismissed*: it gets nothing more and has the chance to drain and to hear why. If the budget is passed again
// meanwhile it is cut, because memory that nobody takes is given back by nothing else.
//
// An outbox counts with the most it ever held: the engine keeps that memory until the socket closes (engine trap).

/** Somebody whose outbox counts. The field belongs to the budget. */
export interface Debtor {
  /** Most that its outbox held so far, bytes; 0 once forgotten. */
  heldBytes: number;
}

/** What counts beside outboxes: channel logs, requests being read or worked on, pages of history on their way. */
export type BudgetPart = 'rings' | 'requests' | 'pages';

export interface Relief<D> {
  /** What channel logs may keep from now on, bytes. */
  readonly ringBytes: number;
  /** Those whose live fan-out stops until they drained. */
  readonly park: readonly D[];
  /** Those who are to go: nothing more is sent to them. */
  readonly dismiss: readonly D[];
  /** Dismissed before, and still there: their sockets are cut. */
  readonly cut: readonly D[];
}

export interface ByteBudget<D extends Debtor> {
  readonly maxBytes: number;
  /** Sum of all parts. */
  readonly bytes: number;
  /** All but channel logs: what only clients can give back. */
  readonly owedBytes: number;
  readonly outboxBytes: number;
  bytesOf(part: BudgetPart): number;
  /** What channel logs may keep now, bytes: at most half of the budget, and no more than clients leave of it. */
  readonly ringAllowance: number;
  /** Whether more has to give way: `relieve` is due. */
  readonly isOver: boolean;
  /** Whether requests and pages alone use the budget up, which nobody can give back: further requests are refused. */
  readonly isFull: boolean;
  /** The outbox of a debtor holds so much now. Constant time. */
  settle(debtor: D, bytes: number): void;
  /** The socket of the debtor is gone. */
  forget(debtor: D): void;
  /** A part grew or shrank by so much. */
  charge(part: BudgetPart, bytes: number): void;
  /** Who gives way now. The caller does it and tells by `forget` and `charge`. */
  relieve(): Relief<D>;
}

/** Channel logs together may keep this part of the budget. */
const RINGS_PER_BUDGET = 2;
/** Share of the budget owed by clients from which the largest debtors are parked. */
const PARK_FROM = 0.8;
/** Share of the budget down to which debtors go once it was passed. */
const LOW = 0.9;

export const createByteBudget = <D extends Debtor>(maxBytes: number): ByteBudget<D> => {
  const parts: Record<BudgetPart, number> = { rings: 0, requests: 0, pages: 0 };
  const debtors = new Set<D>();
  const dismissed = new Set<D>();
  let outboxBytes = 0;

  const owed = (): number => outboxBytes + parts.requests + parts.pages;
  const total = (): number => owed() + parts.rings;

  /** The largest debtors of `among` whose debts together are at least `bytes`. */
  const largest = (among: Iterable<D>, bytes: number): D[] => {
    if (bytes <= 0) return [];
    const found: D[] = [];
    let sum = 0;
    for (const debtor of [...among].sort((a, b) => b.heldBytes - a.heldBytes)) {
      if (sum >= bytes) break;
      sum += debtor.heldBytes;
      found.push(debtor);
    }
    return found;
  };
  const present = (): D[] => [...debtors].filter((debtor) => !dismissed.has(debtor));

  return {
    maxBytes,
    get bytes() {
      return total();
    },
    get owedBytes() {
      return owed();
    },
    get outboxBytes() {
      return outboxBytes;
    },
    bytesOf: (part) => parts[part],
    get ringAllowance() {
      return Math.max(0, Math.min(maxBytes / RINGS_PER_BUDGET, maxBytes - owed()));
    },
    get isOver() {
      return total() > maxBytes || owed() > maxBytes * PARK_FROM;
    },
    get isFull() {
      // Outboxes give way before requests are refused: publishers must not pay for clients that do not read.
      return parts.requests + parts.pages >= maxBytes;
    },
    settle(debtor, bytes) {
      const more = bytes - debtor.heldBytes;
      if (more <= 0) return;
      if (debtor.heldBytes === 0) debtors.add(debtor);
      debtor.heldBytes = bytes;
      outboxBytes += more;
    },
    forget(debtor) {
      outboxBytes -= debtor.heldBytes;
      debtor.heldBytes = 0;
      debtors.delete(debtor);
      dismissed.delete(debtor);
    },
    charge(part, bytes) {
      parts[part] += bytes;
    },
    relieve() {
      const owedNow = owed();
      const ringBytes = Math.max(0, Math.min(maxBytes / RINGS_PER_BUDGET, maxBytes * LOW - owedNow));
      const park = largest(present(), owedNow - maxBytes * PARK_FROM);
      if (owedNow <= maxBytes) return { ringBytes, park, dismiss: [], cut: [] };
      const cut = [...dismissed];
      const left = owedNow - cut.reduce((sum, { heldBytes }) => sum + heldBytes, 0);
      const dismiss = largest(present(), left > maxBytes ? left - maxBytes * LOW : 0);
      for (const debtor of dismiss) dismissed.add(debtor);
      return { ringBytes, park, dismiss, cut };
    },
  };
};
