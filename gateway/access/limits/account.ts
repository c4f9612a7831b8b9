// What a connection has used of its limits, and whom it counts for.
import type { ChannelRates } from './channel-rates.ts';
import type { Principal } from './principals.ts';

/** Flat numbers (states of token buckets), since there are as many of them as connections. */
export class Account {
  commandsFullAtMs = 0;
  bytesFullAtMs = 0;
  publishesFullAtMs = 0;
  refusalsFullAtMs = 0;
  /** The moment that was named to the command refused last. */
  lastSlotMs = 0;
  /** Entered, and to be left when the connection closes. */
  network: Principal | undefined = undefined;
  user: Principal | undefined = undefined;
  /** Of a connection without user; made with the first publish that needs it. */
  channelRates: ChannelRates | undefined = undefined;
  isClosed = false;
  /** Subscriptions held, those that are being opened included. */
  private subscriptions = 0;

  /** One more subscription is held, or `change` of them are not any more. */
  handleHeld(change: number): void {
    if (this.isClosed) return;
    this.subscriptions += change;
    if (this.user !== undefined) this.user.subscriptions += change;
  }

  /** What is held counts for the user from now on. */
  countFor(user: Principal): void {
    this.user = user;
    user.subscriptions += this.subscriptions;
  }

  /** The connection and what it holds count for nobody any more; publishes under way still do. Idempotent. */
  close(): void {
    if (this.isClosed) return;
    this.handleHeld(-this.subscriptions);
    this.isClosed = true;
    this.network?.connections.leave();
    this.user?.connections.leave();
  }
}
