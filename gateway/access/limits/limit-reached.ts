// A refusal because of a limit: which one, so that it is counted, and so that going on beyond it can end a connection.
import { Failure } from '../../failure.ts';
import type { LIMIT_REASONS } from '../../observability/metrics.ts';

export type LimitReason = (typeof LIMIT_REASONS)[number];

export class LimitReached extends Failure {
  readonly reason: LimitReason;

  constructor(reason: LimitReason, message: string, retryAfterMs?: number) {
    // Waiting helps against a rate, not against a count.
    super(retryAfterMs === undefined ? 'limitExceeded' : 'tooManyRequests', message, retryAfterMs);
    this.reason = reason;
  }
}
