import { expect, it } from 'vitest';
import { createMembers } from './members.ts';

const SECOND_MS = 1_000;

/** Ticks once a second. */
const tickFor = (members: ReturnType<typeof createMembers>, fromMs: number, untilMs: number): void => {
  for (let atMs = fromMs; atMs <= untilMs; atMs += SECOND_MS) members.tick(atMs);
};

it('forgets a life after the time it is remembered', () => {
  const members = createMembers(10_000, 2_500);
  tickFor(members, 0, 1_000);
  members.see('a 1', 0);
  tickFor(members, 2_000, 11_000);
  expect(members.ages()).toEqual({ 'a 1': 10_000 });
  tickFor(members, 12_000, 12_000);
  expect(members.ages()).toEqual({});
});

it('does not count an outage, however long', () => {
  const members = createMembers(10_000, 2_500);
  tickFor(members, 0, 3_000);
  members.see('a 1', 0);
  tickFor(members, 5_000_000, 5_004_000);
  expect(members.ages()).toEqual({ 'a 1': 4_000 });
});

it('is complete once it could have seen all that is remembered', () => {
  const members = createMembers(10_000, 2_500);
  tickFor(members, 0, 9_000);
  expect(members.isComplete()).toBe(false);
  tickFor(members, 10_000, 10_000);
  expect(members.isComplete()).toBe(true);
});

it('learns from others what they saw, and never makes a life younger than it was seen', () => {
  const members = createMembers(10_000, 2_500);
  members.see('a 1', 0);
  members.see('a 1', 9_000);
  members.see('b 1', 9_000);
  members.see('c 1', 10_001);
  expect(members.ages()).toEqual({ 'a 1': 0, 'b 1': 9_000 });
});
