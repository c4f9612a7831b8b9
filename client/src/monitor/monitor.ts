// Whether the connection still lives: silence is answered by a ping, and only an unanswered ping ends it.
import type { Cancel, Clock } from '../clock.ts';

export interface MonitorSetup {
  clock: Clock;
  /** Silence after which a ping is sent, ms. */
  idleMs: number;
  /** Time the answer may take, ms. */
  pongTimeoutMs: number;
  sendPing(): void;
  onDead(): void;
}

export interface Monitor {
  /** Anything arrived. */
  received(): void;
  stop(): void;
}

/** A timer later than this means that the machine slept, and silence until now proves nothing. */
const SLEPT_MS = 2000;

/** Protocol pings of the server are invisible to a browser, hence pings of its own. */
export const createMonitor = ({ clock, idleMs, pongTimeoutMs, sendPing, onDead }: MonitorSetup): Monitor => {
  let lastReceivedMs = clock.now();
  let cancel: Cancel;

  const watch = (): void => {
    // Messages only note their time: one timer per idle period, none per message.
    cancel = clock.after(Math.max(0, lastReceivedMs + idleMs - clock.now()), () => {
      if (clock.now() - lastReceivedMs < idleMs) watch();
      else probe();
    });
  };

  const probe = (): void => {
    const sentMs = clock.now();
    answered = false;
    sendPing();
    cancel = clock.after(pongTimeoutMs, () => {
      const slept = clock.now() - sentMs > pongTimeoutMs + SLEPT_MS;
      // What arrived while the thread was busy comes after the timers that are due: give the answer a turn.
      cancel = clock.after(0, () => {
        if (answered) watch();
        else if (slept) probe();
        else onDead();
      });
    });
  };
  let answered: boolean;

  watch();
  return {
    received: () => {
      lastReceivedMs = clock.now();
      answered = true;
    },
    stop: () => cancel(),
  };
};
