import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Endpoint, type MembershipPlan, planMembership } from './membership.ts';
import { parseSlots, type Slot } from './runtime-api.ts';

const slot = (number: number, over: Partial<Slot> = {}): Slot => ({
  slot: `node${number}`,
  host: '127.0.0.1',
  port: 1,
  admin: 'maint',
  operational: 'down',
  weight: 1,
  sessions: 0,
  ...over,
});
const up = { admin: 'ready', operational: 'up' } as const;
const endpoint = (port: number): Endpoint => ({ name: `n${port}`, host: '127.0.0.1', port, checkPort: port });

describe('planMembership', () => {
  it('names the nodes that find no free slot, and still places the others', () => {
    const plan = planMembership([slot(1), slot(2, { port: 10, ...up, sessions: 5 })], [endpoint(20), endpoint(30)]);
    expect(plan.unplaced.map((one) => one.name)).toEqual(['n30']);
    expect(plan.changes).toEqual([
      { kind: 'drain', slot: 'node2' },
      { kind: 'join', slot: 'node1', host: '127.0.0.1', port: 20, checkPort: 20 },
    ]);
  });

  it.each<[string, Slot[], number[], MembershipPlan['changes']]>([
    ['nothing to do', [slot(1, { port: 10, ...up })], [10], []],
    [
      'a node drained by itself stays as it is',
      [slot(1, { port: 10, admin: 'ready', operational: 'draining' })],
      [10],
      [],
    ],
    ['a wanted node that is down stays as it is', [slot(1, { port: 10, admin: 'ready' })], [10], []],
    ['an unwanted node drains', [slot(1, { port: 10, ...up })], [], [{ kind: 'drain', slot: 'node1' }]],
    [
      'a drained node with sessions is left alone',
      [slot(1, { port: 10, admin: 'drain', operational: 'draining', sessions: 3 })],
      [],
      [],
    ],
    [
      'a drained node without sessions is freed',
      [slot(1, { port: 10, admin: 'drain', operational: 'draining' })],
      [],
      [{ kind: 'free', slot: 'node1' }],
    ],
    [
      'a dead unwanted node is freed at once',
      [slot(1, { port: 10, admin: 'ready', sessions: 2 })],
      [],
      [{ kind: 'free', slot: 'node1' }],
    ],
    [
      'a drained node that is wanted again returns',
      [slot(1, { port: 10, admin: 'drain', operational: 'draining', sessions: 3 })],
      [10],
      [{ kind: 'return', slot: 'node1' }],
    ],
    [
      'a node in two slots keeps the ready one',
      [slot(1, { port: 10, admin: 'drain', operational: 'draining', sessions: 1 }), slot(2, { port: 10, ...up })],
      [10],
      [],
    ],
    [
      'an empty slot is preferred to one that was just freed',
      [slot(1, { port: 10, admin: 'drain', operational: 'down' }), slot(2)],
      [20],
      [
        { kind: 'free', slot: 'node1' },
        { kind: 'join', slot: 'node2', host: '127.0.0.1', port: 20, checkPort: 20 },
      ],
    ],
  ])('%s', (_, slots, wanted, changes) => {
    expect(planMembership(slots, wanted.map(endpoint)).changes).toEqual(changes);
  });

  /** What HAProxy makes of a plan, before any check or session moves. */
  function applied(slots: readonly Slot[], plan: MembershipPlan): Slot[] {
    const after = new Map(slots.map((one) => [one.slot, one]));
    for (const change of plan.changes) {
      const before = after.get(change.slot)!;
      if (change.kind === 'join') {
        expect(before.admin).toBe('maint');
        expect(before.sessions).toBe(0);
        after.set(change.slot, {
          ...before,
          host: change.host,
          port: change.port,
          admin: 'ready',
          operational: 'down',
        });
      } else if (change.kind === 'return') after.set(change.slot, { ...before, admin: 'ready' });
      else if (change.kind === 'drain') after.set(change.slot, { ...before, admin: 'drain', operational: 'draining' });
      else after.set(change.slot, { ...before, admin: 'maint', operational: 'down' });
    }
    return [...after.values()];
  }

  const anySlots = fc.array(
    fc.record({
      port: fc.integer({ min: 1, max: 8 }),
      admin: fc.constantFrom('ready', 'drain', 'maint'),
      operational: fc.constantFrom('down', 'starting', 'up', 'draining'),
      sessions: fc.nat(2),
    }),
    { maxLength: 10 },
  );
  const anyPorts = fc.array(fc.integer({ min: 1, max: 8 }), { maxLength: 10 });

  it('leaves each wanted node in exactly one ready slot, no other ready, and nothing more to place', () => {
    fc.assert(
      fc.property(anySlots, anyPorts, (raw, ports) => {
        const slots = raw.map((over, i) => slot(i + 1, over));
        const plan = planMembership(slots, ports.map(endpoint));
        const after = applied(slots, plan);
        const ready = after.filter((one) => one.admin === 'ready').map((one) => one.port);
        const unplaced = plan.unplaced.map((one) => one.port);
        expect([...ready, ...unplaced].sort()).toEqual([...new Set(ports)].sort());
        if (unplaced.length > 0) expect(after.some((one) => one.admin === 'maint' && one.sessions === 0)).toBe(false);

        const again = planMembership(after, ports.map(endpoint));
        expect(again.changes.filter((change) => change.kind === 'drain' || change.kind === 'return')).toEqual([]);
        const placedLater = again.changes.filter((change) => change.kind === 'join').length;
        expect(placedLater).toBeLessThanOrEqual(unplaced.length);
      }),
    );
  });

  it('comes to rest once every session is gone', () => {
    fc.assert(
      fc.property(anySlots, anyPorts, (raw, ports) => {
        let slots = raw.map((over, i) => slot(i + 1, over));
        const wanted = ports.map(endpoint).slice(0, slots.length);
        for (let round = 0; round < 3; round += 1) {
          slots = applied(slots, planMembership(slots, wanted)).map((one) => ({ ...one, sessions: 0 }));
        }
        expect(planMembership(slots, wanted)).toEqual({ changes: [], unplaced: [], draining: [] });
      }),
    );
  });
});

describe('parseSlots', () => {
  it('reads states, weights and sessions by column name', () => {
    const state = [
      '1',
      '# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_port',
      '5 clients 1 node1 10.0.0.7 2 4 100 8080',
      '5 clients 2 node2 10.0.0.8 3 12 50 8080',
      '5 clients 3 node3 127.0.0.1 0 5 1 1',
      '5 clients 4 node4 10.0.0.9 1 0 1 8080',
      '',
    ].join('\n');
    const stat = '# pxname,svname,scur\nclients,node1,12,\nclients,node2,3,\n';
    expect(parseSlots(state, stat)).toEqual([
      { slot: 'node1', host: '10.0.0.7', port: 8080, admin: 'ready', operational: 'up', weight: 100, sessions: 12 },
      { slot: 'node2', host: '10.0.0.8', port: 8080, admin: 'drain', operational: 'draining', weight: 50, sessions: 3 },
      { slot: 'node3', host: '127.0.0.1', port: 1, admin: 'maint', operational: 'down', weight: 1, sessions: 0 },
      { slot: 'node4', host: '10.0.0.9', port: 8080, admin: 'ready', operational: 'starting', weight: 1, sessions: 0 },
    ]);
  });
});
