// Which changes of health are told: the begin and the end of an outage at once, a change within it only when it lasts.
//
// Links that break or come back together do so one after the other; without this, one outage would be told several times.
import type { BrokerHealth } from '../broker.ts';

export interface HealthReportsOptions {
  /** How long a change within an outage lasts before it is told, ms. */
  readonly settleMs: number;
  report(health: BrokerHealth): void;
}

export interface HealthReports {
  /** To be called after every change. Nothing is told before the first `ready`; `ready` is told before it returns. */
  update(next: BrokerHealth): void;
  /** Nothing is told any more. */
  close(): void;
}

const isSame = (a: BrokerHealth, b: BrokerHealth): boolean => {
  if (a.state === 'ready' || b.state === 'ready') return a.state === b.state;
  return a.affected === b.affected && a.reason === b.reason;
};

export const createHealthReports = ({ settleMs, report }: HealthReportsOptions): HealthReports => {
  let told: BrokerHealth | undefined;
  let latest: BrokerHealth | undefined;
  let turn: NodeJS.Immediate | undefined;
  let settling: NodeJS.Timeout | undefined;

  const cancel = (): void => {
    clearImmediate(turn);
    clearTimeout(settling);
    turn = undefined;
    settling = undefined;
  };

  const tell = (): void => {
    cancel();
    if (latest === undefined || (told !== undefined && isSame(told, latest))) return;
    told = latest;
    report(latest);
  };

  return {
    update(next) {
      latest = next;
      if (next.state === 'ready') tell();
      else if (told === undefined) return;
      // After the poll phase, in which the connections of a server that went away close together.
      else if (told.state === 'ready') turn ??= setImmediate(tell);
      else settling ??= setTimeout(tell, settleMs);
    },
    close: cancel,
  };
};
