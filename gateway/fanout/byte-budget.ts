// What a node holds in memory for its clients, against one budget, and who gives way when it is used up. Pure: no sockets.
//
// Published order: channel logs shrink first, since the broker has what they hold; then the largest debtors are parked, so that
// their outboxes grow no further; then the largest debtors go, until the sum is below the low mark. A debtor that goes is
// first *dismissed*: it gets nothing more and has the chance to drain and to hear why. If the budget is passed again
// meanwhile it is cut, because memory that nobody takes is given back by nothing else.
//
// An outbox counts with the most it ever held: the engine keeps that memory until the socket closes (engine trap). And it counts
// for more than it held, by a factor that the caller knows.

/** Somebody whose outbox counts. The field belongs to the budget. */
export interface Debtor {
  /** Most that its outbox held so far, bytes; 0 once forgotten. */
  heldBytes: number;
}

/**
 * What counts beside outboxes: channel logs, requests being read or worked on, pages of history on their way, ephemeral messages
 * that wait for their turn, the reserve for what arrives in pieces, outboxes of sockets that were told to end and have not left.
 */
export const BUDGET_PARTS = ['rings', 'requests', 'pages', 'ephemeral', 'inbound', 'closing'] as const;
export type BudgetPart = (typeof BUDGET_PARTS)[number];

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
  /** All but channel logs and those who are leaving: what only clients can give back. */
  readonly owedBytes: number;
  /** What outboxes cost. */
  readonly outboxBytes: number;
  bytesOf(part: BudgetPart): number;
  /** What channel logs may keep now, bytes: at most half of the budget, and no more than clients leave of it. */
  readonly ringAllowance: number;
  /** Whether more has to give way: `relieve` is due. */
  readonly isOver: boolean;
  /** Whether all but channel logs and outboxes uses the budget up, which nobody can give back: further requests are refused. */
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

/** Sizes of debts are told apart by powers of the fourth root of 2. */
const CLASSES_PER_DOUBLING = 4;
const CLASSES = 53 * CLASSES_PER_DOUBLING + 1;
const classOf = (bytes: number): number => Math.floor(Math.log2(Math.max(1, bytes)) * CLASSES_PER_DOUBLING);

/** @param outboxFactor what an outbox costs for each byte it held at most */
export const createByteBudget = <D extends Debtor>(maxBytes: number, outboxFactor: number): ByteBudget<D> => {
  const parts = Object.fromEntries(BUDGET_PARTS.map((part) => [part, 0])) as Record<BudgetPart, number>;
  const debtors = new Set<D>();
  const dismissed = new Set<D>();
  let outboxBytes = 0;

  /** What no debtor can give back by going. */
  const fixed = (): number => parts.requests + parts.pages + parts.ephemeral + parts.inbound;
  const owed = (): number => outboxBytes + fixed();
  /** Nobody else goes for those who are leaving: channel logs make room for them. */
  const total = (): number => owed() + parts.rings + parts.closing;

  /** The largest debtors of `among` whose debts together are at least `bytes`, the largest first. */
  const largest = (among: readonly D[], bytes: number): D[] => {
    if (bytes <= 0) return [];
    // Only those near the top are sorted: this runs ten times a second with everybody in it while a node is full.
    const sums = new Float64Array(CLASSES);
    for (const { heldBytes } of among) sums[classOf(heldBytes)]! += heldBytes * outboxFactor;
    let least = CLASSES - 1;
    for (let sum = sums[least]!; sum < bytes && least > 0; sum += sums[least]!) least--;
    const found: D[] = [];
    let sum = 0;
    const candidates = among.filter(({ heldBytes }) => classOf(heldBytes) >= least);
    for (const debtor of candidates.sort((a, b) => b.heldBytes - a.heldBytes)) {
      if (sum >= bytes) break;
      sum += debtor.heldBytes * outboxFactor;
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
      return Math.max(0, Math.min(maxBytes / RINGS_PER_BUDGET, maxBytes - owed() - parts.closing));
    },
    get isOver() {
      return total() > maxBytes || owed() > maxBytes * PARK_FROM;
    },
    get isFull() {
      // Outboxes give way before requests are refused: publishers must not pay for clients that do not read.
      return fixed() >= maxBytes;
    },
    settle(debtor, bytes) {
      const more = bytes - debtor.heldBytes;
      if (more <= 0) return;
      if (debtor.heldBytes === 0) debtors.add(debtor);
      debtor.heldBytes = bytes;
      outboxBytes += more * outboxFactor;
    },
    forget(debtor) {
      outboxBytes -= debtor.heldBytes * outboxFactor;
      debtor.heldBytes = 0;
      debtors.delete(debtor);
      dismissed.delete(debtor);
    },
    charge(part, bytes) {
      parts[part] += bytes;
    },
    relieve() {
      const owedNow = owed();
      const ringBytes = Math.max(0, Math.min(maxBytes / RINGS_PER_BUDGET, maxBytes * LOW - owedNow - parts.closing));
      const park = largest(present(), owedNow - maxBytes * PARK_FROM);
      if (owedNow <= maxBytes) return { ringBytes, park, dismiss: [], cut: [] };
      const cut = [...dismissed];
      const left = owedNow - cut.reduce((sum, { heldBytes }) => sum + heldBytes * outboxFactor, 0);
      const dismiss = largest(present(), left > maxBytes ? left - maxBytes * LOW : 0);
      for (const debtor of dismiss) dismissed.add(debtor);
      return { ringBytes, park, dismiss, cut };
    },
  };
};
