// Messages of one ephemeral channel that wait for their turn: within a bound, and thinned while the node is overloaded. Pure.
import type { EphemeralMessage } from '../../../broker/broker.ts';

/** What one channel may have waiting, bytes; what comes beyond it is dropped for every member. */
const MAX_CHANNEL_BYTES = 4 * 1024 * 1024;
/** Messages that thinning leaves, each of another key: the newest. */
export const MAX_THINNED_MESSAGES = 64;
/** While thinning, so many may gather before they are thinned, which keeps the cost of each constant. */
const GATHER_FACTOR = 4;

/** What all channels of a node have waiting, against one bound. */
export interface WaitingAccount {
  readonly bytes: number;
  /** So much more waits, or less. Returns false, and takes nothing, when it is more than may wait. */
  charge(bytes: number): boolean;
}

export const createWaitingAccount = (maxBytes: number, onCharged: (bytes: number) => void): WaitingAccount => {
  let bytes = 0;
  return {
    get bytes() {
      return bytes;
    },
    charge(more) {
      // One message alone always may: it is bounded by the largest that is accepted at all.
      if (more > 0 && bytes > 0 && bytes + more > maxBytes) return false;
      bytes += more;
      if (more !== 0) onCharged(more);
      return true;
    },
  };
};

/** What is handed over in one go; a member that gets it, or is told how much it misses, misses nothing else. */
export interface HandOver {
  readonly messages: readonly EphemeralMessage[];
  /** Left out because newer ones stand for them; told in front of the messages. */
  readonly thinned: number;
  /** Came while no more could wait; told behind the messages. */
  readonly overrun: number;
  /** The way from the backplane was interrupted: in front of the messages an unknown number is missing. */
  readonly interrupted: boolean;
}

const bytesOf = (messages: readonly EphemeralMessage[]): number =>
  messages.reduce((sum, { body }) => sum + body.length, 0);

/** The newest of every key; those without a key share one place. At most `MAX_THINNED_MESSAGES`, in order. */
const newestByKey = (messages: readonly EphemeralMessage[]): EphemeralMessage[] => {
  const kept = new Map<string | undefined, EphemeralMessage>();
  for (let at = messages.length - 1; at >= 0 && kept.size < MAX_THINNED_MESSAGES; at--) {
    const message = messages[at]!;
    if (!kept.has(message.key)) kept.set(message.key, message);
  }
  return [...kept.values()].reverse();
};

export class WaitingMessages {
  private readonly account: WaitingAccount;
  private messages: EphemeralMessage[] = [];
  private bytes = 0;
  private thinned = 0;
  private overrun = 0;
  private interrupted = false;

  constructor(account: WaitingAccount) {
    this.account = account;
  }

  get isEmpty(): boolean {
    return this.messages.length + this.thinned + this.overrun === 0 && !this.interrupted;
  }

  /** @param thinning older messages may give way to newer ones at once */
  accept(messages: readonly EphemeralMessage[], thinning: boolean): void {
    for (const message of messages) {
      const { length } = message.body;
      // Behind one that was dropped everything is until the next turn, so that one number tells it all.
      const fits = this.overrun === 0 && this.bytes <= MAX_CHANNEL_BYTES && this.account.charge(length);
      if (!fits) {
        this.overrun++;
        continue;
      }
      this.messages.push(message);
      this.bytes += length;
      if (thinning && this.messages.length > GATHER_FACTOR * MAX_THINNED_MESSAGES) this.thin();
    }
  }

  /** Something was missed before whatever comes next, nobody knows how much. */
  interrupt(): void {
    this.interrupted = true;
  }

  thin(): void {
    const kept = newestByKey(this.messages);
    this.thinned += this.messages.length - kept.length;
    this.replace(kept, bytesOf(kept));
  }

  /** The first messages that fit into `maxBytes`, at least one, and what there is to tell. */
  take(maxBytes: number): HandOver {
    let bytes = 0;
    let count = 0;
    for (const { body } of this.messages) {
      if (count > 0 && bytes + body.length > maxBytes) break;
      bytes += body.length;
      count++;
    }
    const messages = this.messages.slice(0, count);
    this.replace(this.messages.slice(count), this.bytes - bytes);
    const { thinned, interrupted } = this;
    const overrun = this.messages.length === 0 ? this.overrun : 0;
    this.thinned = 0;
    this.interrupted = false;
    this.overrun -= overrun;
    return { messages, thinned, overrun, interrupted };
  }

  clear(): void {
    this.replace([], 0);
    this.thinned = 0;
    this.overrun = 0;
    this.interrupted = false;
  }

  private replace(messages: EphemeralMessage[], bytes: number): void {
    this.account.charge(bytes - this.bytes);
    this.messages = messages;
    this.bytes = bytes;
  }
}
