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
  weight: 100,
  agentCheck: 'none',
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

  it.each<[string, Slot, Partial<Endpoint>, MembershipPlan['changes']]>([
    ['a node that drains keeps its sockets', slot(1, up), { state: 'draining' }, [{ kind: 'drain', slot: 'node1' }]],
    ['a draining node stays drained', slot(1, { ...up, admin: 'drain' }), { state: 'draining' }, []],
    ['a draining node without a slot gets none', slot(1), { state: 'draining' }, []],
    ['a node that takes less is weighed', slot(1, up), { weight: 40 }, [{ kind: 'weigh', slot: 'node1', weight: 40 }]],
    ['a weight that is set stays', slot(1, { ...up, weight: 40 }), { weight: 40 }, []],
    [
      'a node that says no weight has a full one',
      slot(1, { ...up, weight: 40 }),
      {},
      [{ kind: 'weigh', slot: 'node1', weight: 100 }],
    ],
    [
      'a node with an agent-check is asked, where HAProxy can',
      slot(1, { ...up, agentCheck: 'off' }),
      { agentCheckPort: 7, host: '127.0.0.1' },
      [{ kind: 'ask', slot: 'node1', host: '127.0.0.1', port: 7 }],
    ],
    [
      'and where it cannot, its announced weight counts',
      slot(1, up),
      { agentCheckPort: 7, weight: 40 },
      [{ kind: 'weigh', slot: 'node1', weight: 40 }],
    ],
    [
      'what HAProxy asks for is left to it',
      slot(1, { ...up, agentCheck: 7, weight: 3 }),
      { agentCheckPort: 7, weight: 40, state: 'draining' },
      [],
    ],
    [
      'another port is asked there',
      slot(1, { ...up, agentCheck: 7 }),
      { agentCheckPort: 8 },
      [{ kind: 'ask', slot: 'node1', host: '127.0.0.1', port: 8 }],
    ],
    [
      'a node that answers no more is asked no more',
      slot(1, { ...up, agentCheck: 7 }),
      {},
      [{ kind: 'ask-nobody', slot: 'node1' }],
    ],
  ])('%s', (_, before, wish, changes) => {
    expect(planMembership([before], [{ ...endpoint(1), ...wish }]).changes).toEqual(changes);
  });

  it('asks nobody on behalf of an empty slot, so that no stranger behind its address can fill it', () => {
    expect(planMembership([slot(1, { agentCheck: 1 })], []).changes).toEqual([{ kind: 'ask-nobody', slot: 'node1' }]);
    expect(planMembership([slot(1, { port: 10, ...up, agentCheck: 9 })], [], 'free').changes).toEqual([
      { kind: 'ask-nobody', slot: 'node1' },
      { kind: 'free', slot: 'node1' },
    ]);
  });

  it('frees at once what is gone for good, and does not give the slot away while it has sessions', () => {
    const plan = planMembership([slot(1, { port: 10, ...up, sessions: 3 })], [endpoint(20)], 'free');
    expect(plan.changes).toEqual([{ kind: 'free', slot: 'node1' }]);
    expect(plan.unplaced.map((one) => one.name)).toEqual(['n20']);
  });

  it('keeps what it does not know, when told so, and still adds', () => {
    const plan = planMembership([slot(1, { port: 10, ...up }), slot(2)], [endpoint(20)], 'keep');
    expect(plan.changes).toEqual([{ kind: 'join', slot: 'node2', host: '127.0.0.1', port: 20, checkPort: 20 }]);
  });

  it('takes the last of several nodes at one address', () => {
    const [old, fresh] = [
      { ...endpoint(10), name: 'old', state: 'draining' as const },
      { ...endpoint(10), name: 'new' },
    ];
    expect(planMembership([slot(1, { port: 10, ...up })], [old, fresh]).changes).toEqual([]);
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
      } else if (change.kind === 'ask') after.set(change.slot, { ...before, agentCheck: change.port });
      else if (change.kind === 'ask-nobody') after.set(change.slot, { ...before, agentCheck: 'off' });
      else if (change.kind === 'weigh') after.set(change.slot, { ...before, weight: change.weight });
      else if (change.kind === 'return') after.set(change.slot, { ...before, admin: 'ready' });
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
      agentCheck: fc.constantFrom<Slot['agentCheck']>('none', 'off', 7, 8),
      weight: fc.constantFrom(1, 100),
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

  const anyWishes = fc.array(
    fc.record({
      port: fc.integer({ min: 1, max: 8 }),
      state: fc.constantFrom('ready' as const, 'draining' as const),
      weight: fc.integer({ min: 1, max: 100 }),
      agentCheckPort: fc.constantFrom(undefined, 7),
    }),
    { maxLength: 10 },
  );

  it.each(['drain', 'free', 'keep'] as const)(
    'asks a node or follows its announcement, never both, and never asks for an empty slot (%s)',
    (unwanted) => {
      fc.assert(
        fc.property(anySlots, anyWishes, (raw, wishes) => {
          const wanted = wishes.map(({ agentCheckPort, ...wish }) => ({
            ...endpoint(wish.port),
            ...wish,
            ...(agentCheckPort === undefined ? {} : { agentCheckPort }),
          }));
          const slots = raw.map((over, i) => slot(i + 1, over));
          const plan = planMembership(slots, wanted, unwanted);
          const after = applied(slots, plan);
          for (const one of after) {
            const served = wanted.findLast((node) => node.port === one.port);
            if (one.admin === 'maint') expect(one.agentCheck).not.toBeTypeOf('number');
            else if (one.admin === 'ready' && served !== undefined) {
              const isAsked = served.agentCheckPort !== undefined && one.agentCheck !== 'none';
              if (isAsked) expect(one.agentCheck).toBe(served.agentCheckPort);
              else expect([one.agentCheck === 7 || one.agentCheck === 8, one.weight]).toEqual([false, served.weight]);
            }
          }
          // Slots that share an address sort themselves out in a second round.
          let rested: readonly Slot[] = after;
          for (let round = 0; round < 2; round += 1) {
            rested = applied(rested, planMembership(rested, wanted, unwanted));
          }
          const left = planMembership(rested, wanted, unwanted).changes.filter(({ kind }) => kind !== 'free');
          if (plan.unplaced.length === 0) expect(left).toEqual([]);
        }),
      );
    },
  );

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
      '# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_port srv_agent_state srv_agent_port',
      '5 clients 1 node1 10.0.0.7 2 4 100 8080 22 8500',
      '5 clients 2 node2 10.0.0.8 3 12 50 8080 18 8500',
      '5 clients 3 node3 127.0.0.1 0 5 1 1 0 0',
      '5 clients 4 node4 10.0.0.9 1 0 1 8080 0 0',
      '',
    ].join('\n');
    const stat = '# pxname,svname,scur\nclients,node1,12,\nclients,node2,3,\n';
    expect(parseSlots(state, stat)).toEqual([
      {
        slot: 'node1',
        host: '10.0.0.7',
        port: 8080,
        admin: 'ready',
        operational: 'up',
        weight: 100,
        agentCheck: 8500,
        sessions: 12,
      },
      {
        slot: 'node2',
        host: '10.0.0.8',
        port: 8080,
        admin: 'drain',
        operational: 'draining',
        weight: 50,
        agentCheck: 'off',
        sessions: 3,
      },
      {
        slot: 'node3',
        host: '127.0.0.1',
        port: 1,
        admin: 'maint',
        operational: 'down',
        weight: 1,
        agentCheck: 'none',
        sessions: 0,
      },
      {
        slot: 'node4',
        host: '10.0.0.9',
        port: 8080,
        admin: 'ready',
        operational: 'starting',
        weight: 1,
        agentCheck: 'none',
        sessions: 0,
      },
    ]);
  });
});
