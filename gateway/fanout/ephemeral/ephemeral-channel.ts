// One ephemeral channel on this node: who listens, in cells of a size that one native publish may serve, and what waits.
import type { EphemeralRun } from '../../../broker/broker.ts';
import type { Dialect } from '../../dialects/dialect.ts';
import type { Subscriber } from '../channel-state.ts';
import { type WaitingAccount, WaitingMessages } from './waiting-messages.ts';

/** Members of a cell: a native publish takes some 7 us for each, and the loop waits meanwhile. */
export const CELL_MEMBERS = 500;

/** Members of a channel that are served together: each has the same messages behind it. */
export class Cell {
  readonly id: number;
  readonly members = new Set<EphemeralSubscription>();
  /** Messages that every receiving member was handed, or told of, so far. */
  handed = 0;

  constructor(id: number) {
    this.id = id;
  }
}

export class EphemeralSubscription {
  readonly subscriber: Subscriber;
  readonly channel: EphemeralChannel;
  readonly cell: Cell;
  readonly policy = 'all';
  readonly window = null;
  /** `cell.handed` when it stopped receiving; undefined while it receives. */
  missedFrom: number | undefined;
  /** While it did not receive, the node itself may have missed something: nobody knows how much. */
  missedUnknown = false;
  /** Whether the engine brings it the frames of the cell's topic. */
  native = false;

  constructor(subscriber: Subscriber, channel: EphemeralChannel, cell: Cell) {
    this.subscriber = subscriber;
    this.channel = channel;
    this.cell = cell;
  }

  /** Under which the engine knows the members of its cell that speak its dialect. */
  get topic(): string {
    return topicOf(this.subscriber.dialect, this.cell, this.channel);
  }

  get receives(): boolean {
    return this.missedFrom === undefined;
  }
}

export class EphemeralChannel {
  readonly name: string;
  readonly waiting: WaitingMessages;
  readonly cells: Cell[] = [];
  status: 'opening' | 'open' | 'closed' = 'opening';
  opening: Promise<void> | undefined;
  subscriptionCount = 0;
  /** Monotonic time before which it hands nothing over, because the node is overloaded, ms. */
  restsUntilMs: number | undefined;
  private cellsMade = 0;

  constructor(name: string, account: WaitingAccount) {
    this.name = name;
    this.waiting = new WaitingMessages(account);
  }

  add(subscriber: Subscriber): EphemeralSubscription {
    let cell = this.cells.find(({ members }) => members.size < CELL_MEMBERS);
    if (cell === undefined) {
      cell = new Cell(this.cellsMade++);
      this.cells.push(cell);
    }
    const member = new EphemeralSubscription(subscriber, this, cell);
    cell.members.add(member);
    this.subscriptionCount++;
    return member;
  }

  /** Returns whether it was a member. */
  remove(member: EphemeralSubscription): boolean {
    const { cell } = member;
    if (!cell.members.delete(member)) return false;
    this.subscriptionCount--;
    if (cell.members.size === 0) this.cells.splice(this.cells.indexOf(cell), 1);
    return true;
  }

  accept({ messages }: EphemeralRun): void {
    this.waiting.accept(messages, this.restsUntilMs !== undefined);
  }
}

export const topicOf = (dialect: Dialect, cell: Cell, channel: EphemeralChannel): string =>
  `${dialect.name} ${cell.id} ${channel.name}`;
