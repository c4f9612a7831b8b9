import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BudgetPart, createByteBudget, type Debtor } from './byte-budget.ts';

const MAX_BYTES = 10_000;
const MAX_STEP = 2000;
const DEBTORS = 12;
/** What nobody gives back by going. */
const FIXED_PARTS = ['requests', 'pages', 'ephemeral', 'inbound'] as const;

interface Client extends Debtor {
  readonly name: number;
  parked: boolean;
}

const setUp = (maxBytes = MAX_BYTES, outboxFactor = 1) => {
  const budget = createByteBudget<Client>(maxBytes, outboxFactor);
  const client = (name: number): Client => ({ name, heldBytes: 0, parked: false });
  return { budget, client };
};

describe('the byte budget', () => {
  it('sums outboxes at the most they held, and everything else as it is', () => {
    const { budget, client } = setUp();
    const [one, two] = [client(1), client(2)];
    budget.settle(one, 300);
    budget.settle(one, 100);
    budget.settle(two, 200);
    budget.charge('requests', 50);
    budget.charge('requests', -20);
    budget.charge('rings', 1000);
    expect([budget.bytes, budget.owedBytes, budget.outboxBytes]).toEqual([1530, 530, 500]);
    budget.forget(one);
    budget.forget(one);
    expect([budget.bytes, budget.outboxBytes]).toEqual([1230, 200]);
  });

  it('counts an outbox by its factor, whoever is to go included', () => {
    const { budget, client } = setUp(1000, 2.5);
    const clients = [client(1), client(2), client(3)];
    for (const [index, one] of clients.entries()) budget.settle(one, 100 + 40 * index);
    expect([budget.outboxBytes, budget.owedBytes]).toEqual([1050, 1050]);
    // 150 over the low mark: the largest alone, whose 180 bytes cost 450.
    expect(budget.relieve().dismiss).toEqual([clients[2]]);
    budget.forget(clients[2]!);
    expect(budget.outboxBytes).toBe(600);
    for (const one of clients) budget.forget(one);
    expect(budget.bytes).toBe(0);
  });

  it('shrinks channel logs and nothing else while clients owe little', () => {
    const { budget, client } = setUp();
    budget.settle(client(1), 4000);
    budget.charge('rings', 7000);
    expect(budget.isOver).toBe(true);
    expect(budget.relieve()).toEqual({ ringBytes: 5000, park: [], dismiss: [], cut: [] });
    budget.charge('requests', 3000);
    expect(budget.relieve()).toEqual({ ringBytes: 2000, park: [], dismiss: [], cut: [] });
    expect(budget.ringAllowance).toBe(3000);
  });

  it('then parks the largest debtors, as many as make the difference', () => {
    const { budget, client } = setUp();
    const clients = [1500, 3000, 2000, 1800, 500].map((bytes, index) => {
      const one = client(index);
      budget.settle(one, bytes);
      return one;
    });
    expect(budget.relieve()).toEqual({ ringBytes: 200, park: [clients[1]], dismiss: [], cut: [] });
  });

  it('then lets the largest go, down to the low mark, and cuts those that are still there the next time', () => {
    const { budget, client } = setUp();
    const clients = [2000, 4000, 3000, 1900].map((bytes, index) => {
      const one = client(index);
      budget.settle(one, bytes);
      return one;
    });
    // Outboxes can give way, so nobody is refused for them.
    expect(budget.isFull).toBe(false);
    expect(budget.relieve()).toMatchObject({ ringBytes: 0, dismiss: [clients[1]], cut: [] });
    // It did not leave, and more came.
    budget.settle(clients[3]!, 2000);
    expect(budget.relieve()).toMatchObject({ dismiss: [], cut: [clients[1]] });
    budget.forget(clients[1]!);
    expect(budget.relieve()).toEqual({ ringBytes: 2000, park: [], dismiss: [], cut: [] });
  });

  it('finds the largest among many of all sizes, no more of them than are needed', () => {
    const debts = fc.array(fc.integer({ min: 1, max: 1 << 30 }), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(debts, fc.integer({ min: 1, max: 100 }), (held, percent) => {
        const sum = held.reduce((all, one) => all + one, 0);
        // So much is owed beyond the share from which the largest are parked.
        const maxBytes = (sum * (100 - percent)) / 80;
        const { budget, client } = setUp(maxBytes);
        held.forEach((one, index) => budget.settle(client(index), one));
        const { park } = budget.relieve();
        const sorted = [...held].sort((a, b) => b - a);
        const needed = sum - maxBytes * 0.8;
        let count = 0;
        for (let got = 0; got < needed && count < sorted.length; count++) got += sorted[count]!;
        expect(park.map(({ heldBytes }) => heldBytes)).toEqual(sorted.slice(0, count));
      }),
    );
  });

  const bytes = fc.integer({ min: 1, max: MAX_STEP });
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('owe' as const), who: fc.nat(DEBTORS - 1), bytes }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('leave' as const), who: fc.nat(DEBTORS - 1), bytes }) },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('charge' as const),
        part: fc.constantFrom<BudgetPart>('rings', 'requests', 'pages', 'ephemeral', 'inbound'),
        bytes,
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('done' as const), bytes }) },
  );

  it('holds under any interleaving: at most a step over the budget, and the largest debtors go', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), fc.boolean(), (steps, victimsLeaveAtOnce) => {
        const { budget, client } = setUp();
        const clients = Array.from({ length: DEBTORS }, (_, index) => client(index));
        const gone = new Set<Client>();
        const dismissed = new Set<Client>();
        const leave = (one: Client): void => {
          budget.forget(one);
          dismissed.delete(one);
          gone.add(one);
        };
        const relieve = (): void => {
          const { ringBytes, park, dismiss, cut } = budget.relieve();
          const spared = clients.filter((one) => !gone.has(one) && !dismissed.has(one) && !dismiss.includes(one));
          for (const victim of dismiss) {
            for (const one of spared) expect(victim.heldBytes).toBeGreaterThanOrEqual(one.heldBytes);
          }
          for (const one of park) {
            const others = clients.filter(
              (other) => !gone.has(other) && !dismissed.has(other) && !park.includes(other),
            );
            for (const other of others) expect(one.heldBytes).toBeGreaterThanOrEqual(other.heldBytes);
          }
          for (const one of cut) expect(dismissed.has(one)).toBe(true);
          budget.charge('rings', Math.min(0, ringBytes - budget.bytesOf('rings')));
          for (const one of cut) leave(one);
          for (const one of dismiss)
            if (victimsLeaveAtOnce) leave(one);
            else dismissed.add(one);
        };
        for (const { kind, ...rest } of steps) {
          if (kind === 'owe') {
            const one = clients[(rest as { who: number }).who]!;
            // Nothing is sent to those that are to go; who is gone comes back as another.
            if (!dismissed.has(one)) budget.settle(one, one.heldBytes + rest.bytes);
            gone.delete(one);
          } else if (kind === 'leave') leave(clients[(rest as { who: number }).who]!);
          else if (kind === 'charge') {
            const { part } = rest as { part: BudgetPart };
            // Each is refused or bounded when there is no room.
            if (part === 'rings' || !budget.isFull) budget.charge(part, rest.bytes);
          } else for (const part of FIXED_PARTS) budget.charge(part, -budget.bytesOf(part));
          // Two steps when victims take their time: the one that dismissed them and the one that cuts them.
          expect(budget.bytes).toBeLessThanOrEqual(MAX_BYTES + MAX_STEP * (victimsLeaveAtOnce ? 1 : 2));
          if (budget.isOver) relieve();
          const owedByParts = FIXED_PARTS.reduce((all, part) => all + budget.bytesOf(part), 0);
          const mostLeft = Math.max(MAX_BYTES, owedByParts) + (victimsLeaveAtOnce ? 0 : MAX_STEP);
          expect(budget.bytes).toBeLessThanOrEqual(mostLeft);
          const sum = clients.reduce((all, one) => all + one.heldBytes, 0);
          expect(budget.outboxBytes).toBe(sum);
        }
      }),
      { numRuns: 500 },
    );
  });
});
