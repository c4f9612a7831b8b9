// A refusal with a code of the protocol: what a sender gets instead of a reply, on any transport.
import { BrokerUnavailableError } from '../broker/broker.ts';
import { type ErrorCode, type ErrorName, errorCodes } from '../protocol/codes.ts';

/** Delay named to clients while the broker is away, ms. */
const BROKER_RETRY_AFTER_MS = 1000;

export interface FailureInfo {
  readonly message: string;
  /** Delay after which a retry makes sense, ms; only for temporary errors. */
  readonly retryAfterMs?: number | undefined;
}

/** Thrown anywhere below a command or a request; becomes an `error` reply or a problem+json answer. */
export class Failure extends Error {
  readonly error: ErrorName;
  readonly retryAfterMs: number | undefined;

  constructor(error: ErrorName, message: string, retryAfterMs?: number) {
    super(message);
    this.error = error;
    this.retryAfterMs = retryAfterMs;
  }

  get code(): ErrorCode {
    return errorCodes[this.error];
  }
}

/** A refusal after which the connection cannot go on: the error is answered, then the connection is closed. */
export class ClosingFailure extends Failure {
  readonly closeCode: number;
  readonly closeReason: string;

  constructor({ error, message, retryAfterMs }: Failure, closeCode: number, closeReason: string) {
    super(error, message, retryAfterMs);
    this.closeCode = closeCode;
    this.closeReason = closeReason;
  }
}

/**
 * What a sender may know of any thrown value: failures and a missing broker by their own words, everything else as
 * `internal` with a correlation id under which `log` gets the details.
 */
export const toFailure = (
  thrown: unknown,
  log: (correlationId: string, thrown: unknown) => void,
  correlationId: () => string,
): Failure => {
  if (thrown instanceof Failure) return thrown;
  if (thrown instanceof BrokerUnavailableError) {
    return new Failure('brokerUnavailable', 'the broker cannot be reached right now', BROKER_RETRY_AFTER_MS);
  }
  const id = correlationId();
  log(id, thrown);
  return new Failure('internal', `internal error ${id}`);
};
