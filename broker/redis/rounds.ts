// After a failover the nodes decide once per pair of servers whether numberings go on in their epochs: only when every
// live node has restored what it knows. The first decision written to the new server is the one that counts.
import { setTimeout as pause } from 'node:timers/promises';
import { BrokerUnavailableError } from '../broker.ts';
import type { Json } from '../control.ts';
import type { KeySpace } from './keys.ts';
import { asError } from './link.ts';
import type { RedisControl } from './redis-control.ts';
import type { Round } from './restoration.ts';
import type { Shard } from './shard.ts';

const KIND = 'broker.restore';
/** One asking; nodes that were not connected yet hear the next one. */
const ASK_MS = 200;
const RETRY_MS = 30;
/** How long an asking again is met with the result of before. */
const MEMORY_MS = 5_000;

export interface RoundsOptions {
  readonly keySpace: KeySpace;
  readonly control: Pick<RedisControl, 'handle' | 'requestMembers' | 'members'>;
  readonly shardOf: (partition: number) => Shard | undefined;
  readonly restore: (round: Round) => Promise<void>;
  /** After which nodes that did not restore are given up. */
  readonly timeoutMs: number;
  onError(error: Error, stage: string): void;
}

export interface Rounds {
  /** Resolves when a decision is on the server that answered `?<writer> <server>` for the partition. */
  decide(partition: number, answer: string): Promise<void>;
  close(): void;
}

const nameOf = ({ scope, writer, server }: Round): string => `${scope} ${writer} ${server}`;

const parseRound = (payload: Json): Round => {
  const [scope, writer, server] = typeof payload === 'string' ? payload.split(' ') : [];
  return { scope: Number(scope), writer: writer ?? '', server: server ?? '' };
};

export const createRounds = (options: RoundsOptions): Rounds => {
  const { keySpace, control } = options;
  const restoring = new Map<string, Promise<void>>();
  const deciding = new Map<string, Promise<void>>();
  let closed = false;

  const restoreOnce = (round: Round): Promise<void> => {
    const name = nameOf(round);
    const known = restoring.get(name);
    if (known !== undefined) return known;
    const work = options.restore(round);
    restoring.set(name, work);
    const forget = (): void => void restoring.delete(name);
    work.then(() => setTimeout(forget, MEMORY_MS).unref(), forget);
    return work;
  };
  control.handle(KIND, async (payload) => {
    await restoreOnce(parseRound(payload));
    return { ages: control.members.ages(), isComplete: control.members.isComplete() };
  });

  /** Takes what a node that restored remembers; answers whether that is all there is to know. */
  const learn = (answer: Json): boolean => {
    const { ages, isComplete } = answer as { ages: Record<string, number>; isComplete: boolean };
    for (const [life, agoMs] of Object.entries(ages)) control.members.see(life, agoMs);
    return isComplete;
  };

  const write = async (round: Round, verdict: 'same' | 'new'): Promise<void> => {
    const shard = options.shardOf(round.scope);
    if (shard?.commands.isUp() !== true) throw new BrokerUnavailableError('not connected to Redis');
    const { redis } = shard.commands;
    const key = keySpace.roundsOf(round.scope);
    // Numberings of this writer that a former server could not go on with: their tails are not to be had any more.
    const before = Object.entries(await redis.hgetall(key));
    const ended = before.some(([field, word]) => field.startsWith(`${round.writer} `) && word === 'new');
    await redis.hsetnx(key, `${round.writer} ${round.server}`, ended ? 'new' : verdict);
  };

  const run = async (round: Round): Promise<void> => {
    const untilMs = performance.now() + options.timeoutMs;
    const restored = new Set<string>();
    let ownDone = false;
    let heard = false;
    let complete = false;
    const everyoneRestored = (): boolean => Object.keys(control.members.ages()).every((life) => restored.has(life));
    let cause: unknown;
    while (!closed) {
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0) break;
      try {
        await restoreOnce(round);
        ownDone = true;
        complete ||= control.members.isComplete();
        const askMs = Math.min(ASK_MS, leftMs);
        const { answers } = await control.requestMembers(KIND, nameOf(round), askMs, !complete);
        heard = true;
        for (const { node, answer } of answers) {
          restored.add(node);
          if (learn(answer)) complete = true;
        }
        // While all are young somebody may be missing of whom none of them knows: then the time is waited out.
        if (complete && everyoneRestored()) {
          await write(round, 'same');
          return;
        }
      } catch (error) {
        cause = error;
      }
      await pause(RETRY_MS);
    }
    if (closed || !ownDone || !heard) {
      throw new BrokerUnavailableError('the nodes could not decide after a failover', { cause });
    }
    const verdict = everyoneRestored() ? 'same' : 'new';
    if (verdict === 'new') {
      options.onError(new Error('not every node restored after a failover: epochs end'), 'redis.restore');
    }
    await write(round, verdict);
  };

  return {
    decide(partition, answer) {
      const [writer = '', server = ''] = answer.slice(1).split(' ');
      const round = { scope: keySpace.scopeOf(partition), writer, server };
      const name = nameOf(round);
      let decision = deciding.get(name);
      if (decision === undefined) {
        decision = run(round)
          .catch((error: unknown) => {
            throw error instanceof BrokerUnavailableError
              ? error
              : new BrokerUnavailableError('the decision after a failover was lost', { cause: asError(error) });
          })
          .finally(() => deciding.delete(name));
        deciding.set(name, decision);
      }
      return decision;
    },
    close() {
      closed = true;
    },
  };
};
