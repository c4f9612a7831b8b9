import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Json, NodeRecord } from '../../broker/control.ts';
import { afterFailure, afterReading, fateOfUnknown, type Members, noMembers, wantedNodes } from './members.ts';

const ABSENCE_MS = 1_000;
const record = (node: string, over: { readonly [key: string]: Json } = {}, announcedAtMs = 0): NodeRecord => ({
  node,
  announcedAtMs,
  info: {
    version: '1',
    state: 'ready',
    ready: true,
    address: '10.0.0.1',
    port: node.charCodeAt(0),
    weight: 100,
    admissionPerSecond: 1_000,
    connections: 0,
    ...over,
  },
});

/** `ab` at 0: both listed then; `-`: listed none; `!`: no answer. */
const readings = (steps: readonly (readonly [atMs: number, listed: string])[]): Members => {
  let members = noMembers;
  for (const [atMs, listed] of steps) {
    if (listed === '!') members = afterFailure(members);
    else {
      const names = Array.from(listed.replace('-', ''));
      members = afterReading(
        members,
        names.map((name) => record(name)),
        atMs,
        ABSENCE_MS,
      );
    }
  }
  return members;
};
const names = (members: Members): string => [...members.known.keys()].sort().join('');

describe('the nodes an agent believes in', () => {
  it.each<[string, [number, string][], string]>([
    ['nobody before the first reading', [], ''],
    ['whoever is listed', [[0, 'ab']], 'ab'],
    [
      'also who was missing for a moment',
      [
        [0, 'ab'],
        [500, 'a'],
        [999, 'a'],
      ],
      'ab',
    ],
    [
      'not who was missing for long',
      [
        [0, 'ab'],
        [500, 'a'],
        [1_000, 'a'],
      ],
      'a',
    ],
    [
      'everybody during an outage, however long',
      [
        [0, 'ab'],
        [100, '!'],
        [90_000, '!'],
      ],
      'ab',
    ],
    [
      'everybody just after it, though few have come back',
      [
        [0, 'ab'],
        [100, '!'],
        [90_000, 'a'],
        [90_999, 'a'],
      ],
      'ab',
    ],
    [
      'only those that came back in time',
      [
        [0, 'ab'],
        [100, '!'],
        [90_000, 'a'],
        [91_000, 'a'],
      ],
      'a',
    ],
    [
      'everybody while nobody is listed',
      [
        [0, 'ab'],
        [90_000, '-'],
        [180_000, '-'],
      ],
      'ab',
    ],
    [
      'and just after it',
      [
        [0, 'ab'],
        [90_000, '-'],
        [180_000, 'b'],
        [180_900, 'b'],
      ],
      'ab',
    ],
    [
      'a failure in between begins the wait anew',
      [
        [0, 'ab'],
        [900, 'a'],
        [950, '!'],
        [1_000, 'a'],
        [1_900, 'a'],
      ],
      'ab',
    ],
  ])('%s', (_, steps, expected) => {
    expect(names(readings(steps))).toBe(expected);
  });

  it('are never fewer than those of the last reading, and never none once there was one', () => {
    const step = fc.tuple(fc.nat(3_000), fc.constantFrom('a', 'b', 'ab', 'abc', '-', '!'));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (pauses) => {
        let atMs = 0;
        const steps = pauses.map(([pauseMs, listed]): [number, string] => [(atMs += pauseMs), listed]);
        const known = names(readings(steps));
        const lists = steps.map(([, listed]) => listed).filter((listed) => listed !== '!' && listed !== '-');
        for (const name of lists.at(-1) ?? '') expect(known).toContain(name);
        if (lists.length > 0) expect(known).not.toBe('');
      }),
    );
  });

  it('are not those that announce something else', () => {
    const strange: Json[] = [null, 1, 'x', [], {}, { version: '1', ready: true }];
    const records = strange.map((info, i): NodeRecord => ({ node: `n${i}`, info, announcedAtMs: 0 }));
    const wrong = [record('x', { address: 'a b' }), record('y', { port: 70_000 }), record('z', { weight: 0 })];
    const members = afterReading(noMembers, [...records, ...wrong, record('a')], 0, ABSENCE_MS);
    expect([names(members), members.ignored]).toEqual(['a', ['n0', 'n1', 'n2', 'n3', 'n4', 'n5', 'x', 'y', 'z']]);
  });
});

it('slots of strangers are freed only after a row of readings as long as an absence', () => {
  const fate = (steps: [number, string][], nowMs: number): unknown => fateOfUnknown(readings(steps), nowMs, ABSENCE_MS);
  expect(fate([], 0)).toBeUndefined();
  expect(fate([[0, 'a']], 999)).toBe('keep');
  expect(fate([[0, 'a']], 1_000)).toBe('free');
  expect(
    fate(
      [
        [0, 'a'],
        [5_000, '!'],
      ],
      6_000,
    ),
  ).toBeUndefined();
  expect(
    fate(
      [
        [0, 'a'],
        [5_000, '-'],
      ],
      6_000,
    ),
  ).toBeUndefined();
  expect(
    fate(
      [
        [0, 'a'],
        [5_000, '!'],
        [6_000, 'a'],
      ],
      6_500,
    ),
  ).toBe('keep');
});

it('the newest announcement comes last, so that it counts where two nodes have one address', () => {
  const records = [record('b', {}, 5), record('a', {}, 9), record('c', {}, 5)];
  const wanted = wantedNodes(afterReading(noMembers, records, 0, ABSENCE_MS));
  expect(wanted.map(({ name }) => name)).toEqual(['b', 'c', 'a']);
});

it('only a drain is passed on as a state: whether a node is well is for HAProxy to check', () => {
  const records = [
    record('a', { state: 'draining' }),
    record('b', { state: 'not_ready', internalPort: 9 }),
    record('c'),
  ];
  const wanted = wantedNodes(afterReading(noMembers, records, 0, ABSENCE_MS));
  expect(wanted.map(({ name, state, internalPort }) => [name, state, internalPort])).toEqual([
    ['a', 'draining', undefined],
    ['b', 'ready', 9],
    ['c', 'ready', undefined],
  ]);
});
