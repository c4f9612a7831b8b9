// Lifecycle events over Redis: each lane is a stream, what lives put into it and a clock, under one hash tag, changed by scripts.
import { BrokerUnavailableError } from '../broker.ts';
import {
  LANE_STEP_MS,
  type LifecycleChange,
  type LifecycleEvent,
  type LifecycleLog,
  type LifecycleTerms,
  type LifecycleType,
  type RecordOutcome,
} from '../lifecycle.ts';
import { driverError } from './driver-error.ts';
import type { KeySpace } from './keys.ts';
import { loadScript, runScript, type Script } from './script.ts';
import type { Shard } from './shard.ts';

export interface RedisLifecycleOptions {
  readonly keySpace: KeySpace;
  readonly shardOf: (partition: number) => Shard | undefined;
  /** A server refused or was lost. */
  onFailure(): void;
}

const load = (file: string): Script => loadScript('lifecycle-lane.lua', file);

/** Kind, name, time, about, detail. */
const fieldsOf = (change: LifecycleChange): readonly [string, string, number, string, string] => {
  const timeMs = Math.floor(change.timeMs);
  switch (change.kind) {
    case 'connected':
      return [change.kind, change.key, timeMs, change.about, ''];
    case 'disconnected':
      return [change.kind, change.key, timeMs, change.about, change.detail];
    case 'joined':
      return [change.kind, change.channel, timeMs, '', change.again === true ? 'again' : ''];
    case 'left':
      return [change.kind, change.channel, timeMs, '', ''];
    case 'lost':
      return [change.kind, '', timeMs, '', change.detail];
  }
};
const EVENT_FIELDS = 6;

const eventsOf = (fields: readonly Buffer[]): LifecycleEvent[] =>
  Array.from({ length: fields.length / EVENT_FIELDS }, (_, n) => {
    const at = n * EVENT_FIELDS;
    const [position, type, id, time, subject, detail] = fields.slice(at, at + EVENT_FIELDS).map(String);
    return {
      position: position!,
      type: type as LifecycleType,
      id: id!,
      timeMs: Number(time),
      subject: subject!,
      detail: detail!,
    };
  });

const outcomeOf = ([code, seq]: readonly number[]): RecordOutcome => {
  switch (code) {
    case 1:
      return { kind: 'recorded' };
    case 2:
      return { kind: 'behind', seq: seq! };
    case 3:
      return { kind: 'unknown' };
    default:
      return { kind: 'retired' };
  }
};

export const createRedisLifecycle = ({ keySpace, shardOf, onFailure }: RedisLifecycleOptions): LifecycleLog => {
  const recordScript = load('lifecycle-record.lua');
  const takeScript = load('lifecycle-take.lua');
  const retireScript = load('lifecycle-retire.lua');

  /** On the connection that publications do not use. */
  const reach = async <T>(lane: number, work: (shard: Shard) => Promise<T>): Promise<T> => {
    const shard = shardOf(keySpace.ofLane(lane).partition);
    if (shard?.historyLink.isUp() !== true) throw new BrokerUnavailableError('not connected to Redis');
    try {
      return await work(shard);
    } catch (error) {
      onFailure();
      throw new BrokerUnavailableError('the lifecycle events could not be reached', { cause: driverError(error) });
    }
  };

  const run = (
    script: Script,
    lane: number,
    terms: LifecycleTerms,
    args: readonly (string | number)[],
    moreKeys: readonly string[] = [],
  ): Promise<unknown> => {
    const { keys, nodePrefix, retiredPrefix } = keySpace.ofLane(lane);
    const shared = [nodePrefix, retiredPrefix, terms.graceMs, terms.maxEvents, LANE_STEP_MS, lane];
    return reach(lane, ({ historyLink }) =>
      runScript(historyLink.redis, script, [...keys, ...moreKeys], [...shared, ...args]),
    );
  };

  return {
    async record({ lane, life, seq, changes }, terms) {
      const { nodePrefix, retiredPrefix } = keySpace.ofLane(lane);
      const args = [life, seq, terms.leaseMs, ...changes.flatMap(fieldsOf)];
      const reply = await run(recordScript, lane, terms, args, [nodePrefix + life, retiredPrefix + life]);
      return outcomeOf(reply as number[]);
    },
    async take({ lane, holder, wish, limit }, terms) {
      const args = [holder, wish.kind, wish.kind === 'hold' ? wish.holdMs : 0, limit];
      const reply = (await run(takeScript, lane, terms, args)) as [number, number, number, number, ...Buffer[]];
      const [isHeld, backlog, oldestMs, isUnfinished, ...fields] = reply;
      return {
        isHeld: isHeld === 1,
        events: eventsOf(fields),
        backlog,
        oldestMs,
        isUnfinished: isUnfinished === 1,
      };
    },
    async acknowledge(lane, positions) {
      if (positions.length === 0) return;
      const [, log] = keySpace.ofLane(lane).keys;
      await reach(lane, ({ historyLink }) => historyLink.redis.xdel(log!, ...positions));
    },
    async retire(lane, life, terms) {
      return (await run(retireScript, lane, terms, [life])) === 1;
    },
  };
};
