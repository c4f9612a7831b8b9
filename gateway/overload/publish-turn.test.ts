import { describe, expect, it } from 'vitest';
import { createPublishTurn } from './publish-turn.ts';

const setUp = (publishWaitMs = 100) => {
  const world = { nowMs: 5000, endTurn: (): void => undefined };
  const turn = createPublishTurn({
    clock: { nowMs: () => world.nowMs, monotonicMs: () => world.nowMs },
    publishWaitMs,
    nextTurn: (work) => (world.endTurn = work),
  });
  const take = (count: number): void => {
    for (let taken = 0; taken < count; taken++) turn.handleTaken();
  };
  const isFull = (): boolean => turn.isFull(world.nowMs);
  return { world, take, isFull };
};

describe('what one turn of the loop takes in', () => {
  it('ends when it has taken publications for half of what they may take, until the next turn', () => {
    const { world, take, isFull } = setUp();
    expect(isFull()).toBe(false);
    take(5000);
    world.nowMs += 50;
    expect(isFull()).toBe(false);
    world.nowMs += 1;
    expect(isFull()).toBe(true);
    world.endTurn();
    expect(isFull()).toBe(false);
    take(5000);
    expect(isFull()).toBe(false);
    world.nowMs += 51;
    expect(isFull()).toBe(true);
  });

  it('counts from the first publication, and not at all when so few came that something else took the time', () => {
    const { world, take, isFull } = setUp();
    world.nowMs += 1000;
    take(255);
    expect(isFull()).toBe(false);
    world.nowMs += 1000;
    expect(isFull()).toBe(false);
    take(1);
    expect(isFull()).toBe(true);
  });

  it('has no end where publications may take however long they like', () => {
    const { world, take, isFull } = setUp(0);
    take(100_000);
    world.nowMs += 100_000;
    expect(isFull()).toBe(false);
  });
});
