// Calls one hook: signed, with retries, a bounded queue and a circuit breaker. What it answers is checked against a schema.
import pLimit from 'p-limit';
import type { Static, TSchema } from '@sinclair/typebox';
import { createValidator } from '../../protocol/validate.ts';
import type { Clock, IdSource } from '../clock.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import { createBreaker } from './breaker.ts';
import { createHttpPost, type PostOutcome } from './http-post.ts';
import { signedHeaders } from './signature.ts';

export const HOOK_OUTCOMES = [
  'answered',
  'timeout',
  'network',
  'status',
  'invalid',
  'address',
  'open',
  'full',
] as const;
export type HookOutcome = (typeof HOOK_OUTCOMES)[number];

/** No answer that can be used: `outcome` says why. */
export class HookUnavailable extends Error {
  override readonly name = 'HookUnavailable';
  readonly outcome: HookOutcome;
  constructor(outcome: HookOutcome) {
    super(`no usable answer: ${outcome}`);
    this.outcome = outcome;
  }

  /** False when it was there and said something else than was asked: a client may have provoked that. */
  get isAway(): boolean {
    return this.outcome !== 'status' && this.outcome !== 'invalid' && this.outcome !== 'address';
  }
}

export interface HookClientOptions<S extends TSchema> {
  readonly name: string;
  readonly url: string;
  readonly secret: string;
  readonly answer: S;
  /** Whatever a successful answer says counts as the empty one: `answer` is not asked for. */
  readonly ignoresAnswer?: boolean;
  /** Per attempt, ms. */
  readonly timeoutMs: number;
  /** Attempts after the first. */
  readonly retries: number;
  readonly maxConcurrent: number;
  readonly maxQueue: number;
  readonly maxAnswerBytes: number;
  readonly breakerFailures: number;
  readonly breakerOpenMs: number;
  readonly addresses: 'any' | 'public';
  readonly clock: Clock;
  readonly ids: IdSource;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly metrics: MetricsRegistry;
}

export interface HookClient<T> {
  /** Rejects with `HookUnavailable`. `id` names a call that may be repeated; a fresh one when absent. */
  call(payload: Readonly<Record<string, unknown>>, id?: string): Promise<T>;
  /** Calls that wait for a place. */
  readonly waiting: number;
  readonly isOpen: boolean;
  close(): void;
}

/** Pause before the first retry, ms; doubled for each further one, and taken by a random half to whole. */
const BACKOFF_MS = 100;

/** Whether another attempt may help. */
const isTemporary = (outcome: HookOutcome, status: number | undefined): boolean =>
  outcome === 'timeout' || outcome === 'network' || (outcome === 'status' && (status! >= 500 || status === 429));

const failureOf = (outcome: PostOutcome): HookOutcome => {
  if (outcome.kind === 'answer') return 'status';
  return outcome.reason === 'tooLarge' ? 'invalid' : outcome.reason;
};

export const createHookClient = <S extends TSchema>(options: HookClientOptions<S>): HookClient<Static<S>> => {
  const { name, url, secret, timeoutMs, retries, maxConcurrent, maxQueue, clock, ids, random, metrics } = options;
  const breaker = createBreaker({ clock, failures: options.breakerFailures, openMs: options.breakerOpenMs });
  const limit = pLimit(maxConcurrent);
  /** Calls under way and such as wait. */
  let calls = 0;
  const post = createHttpPost({ ...options, url, maxSockets: maxConcurrent });
  const validator = createValidator(options.answer);

  const refuse = (outcome: HookOutcome): HookUnavailable => {
    metrics.count('weir_hook_calls_total', { hook: name, outcome });
    return new HookUnavailable(outcome);
  };

  const parse = (body: Buffer): Static<S> | undefined => {
    try {
      const validation = validator.validate(JSON.parse(body.toString('utf8')));
      return validation.kind === 'valid' ? validation.value : undefined;
    } catch {
      return undefined;
    }
  };

  const attempt = async (id: string, body: Buffer): Promise<{ value: Static<S> } | HookUnavailable | 'again'> => {
    if (!breaker.take()) return refuse('open');
    const startedMs = clock.monotonicMs();
    const timestampS = Math.floor(clock.nowMs() / 1000);
    const outcome = await post.send(body, signedHeaders(secret, id, timestampS, body));
    metrics.observe('weir_hook_duration_seconds', (clock.monotonicMs() - startedMs) / 1000, { hook: name });
    if (outcome.kind === 'answer' && outcome.status >= 200 && outcome.status < 300) {
      breaker.succeeded();
      const value = options.ignoresAnswer === true ? {} : parse(outcome.body);
      if (value === undefined) return refuse('invalid');
      metrics.count('weir_hook_calls_total', { hook: name, outcome: 'answered' });
      return { value };
    }
    const failure = failureOf(outcome);
    const unavailable = refuse(failure);
    if (isTemporary(failure, outcome.kind === 'answer' ? outcome.status : undefined)) {
      breaker.failed();
      return 'again';
    }
    // It answers: what a single client can provoke must not close the hook for all.
    breaker.succeeded();
    return unavailable;
  };

  const run = async (id: string, body: Buffer, queuedMs: number): Promise<Static<S>> => {
    // Who waited so long has been given up by whoever asked.
    if (clock.monotonicMs() - queuedMs > timeoutMs) throw refuse('full');
    for (let tried = 0; ; tried++) {
      const result = await attempt(id, body);
      if (result instanceof HookUnavailable) throw result;
      if (result !== 'again') return result.value;
      if (tried >= retries) throw new HookUnavailable('network');
      metrics.count('weir_hook_retries_total', { hook: name });
      const pauseMs = BACKOFF_MS * 2 ** tried * (0.5 + random() / 2);
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  };

  return {
    call(payload, id = ids.randomId()) {
      if (calls >= maxConcurrent + maxQueue) return Promise.reject(refuse('full'));
      // The id is the same for every attempt: the backend can tell a retry.
      const body = Buffer.from(JSON.stringify({ hook: name, id, ...payload }));
      calls++;
      return limit(run, id, body, clock.monotonicMs()).finally(() => calls--);
    },
    get waiting() {
      return Math.max(0, calls - maxConcurrent);
    },
    get isOpen() {
      return breaker.isOpen;
    },
    close: () => post.close(),
  };
};
