// Reads JSON bodies: what is no JSON is refused before any schema sees it.
import type { ParsedRequest } from '../../protocol/http-requests.ts';
import { describeProblems } from '../../protocol/validate.ts';
import { Failure } from '../failure.ts';

/** A request that cannot be served as it stands, with the fields at fault. */
export class RequestRefused extends Failure {
  readonly refusal: Extract<ParsedRequest<unknown>, { kind: 'invalid' }>;

  constructor(refusal: Extract<ParsedRequest<unknown>, { kind: 'invalid' }>) {
    super(refusal.error, describeProblems(refusal.problems));
    this.refusal = refusal;
  }
}

/** The body is not JSON: 400, as HTTP means it. */
export class MalformedBody extends Failure {
  constructor() {
    super('badRequest', 'body: expected JSON, got text that is none');
  }
}

export const parseJson = (body: Buffer): unknown => {
  try {
    return JSON.parse(body.toString());
  } catch {
    throw new MalformedBody();
  }
};

/** The parsed value; throws `RequestRefused`. */
export const accepted = <T>(parsed: ParsedRequest<T>): T => {
  if (parsed.kind === 'invalid') throw new RequestRefused(parsed);
  return parsed.value;
};
