// Sessions over Redis: one hash each, written and claimed by scripts, on the connection that publications do not use.
import { BrokerUnavailableError } from '../broker.ts';
import type { SaveOutcome, Sessions, SessionSubscription } from '../sessions.ts';
import { driverError } from './driver-error.ts';
import type { KeySpace } from './keys.ts';
import { loadScript, runScript, type Script } from './script.ts';
import type { Shard } from './shard.ts';

export interface RedisSessionsOptions {
  readonly keySpace: KeySpace;
  readonly shardOf: (partition: number) => Shard | undefined;
  /** A server refused or was lost. */
  onFailure(): void;
}

/** Distinct from every user, also from one with an empty name. */
const ownerField = (owner: string | null): string => (owner === null ? 'anonymous' : `user:${owner}`);

export const createRedisSessions = ({ keySpace, shardOf, onFailure }: RedisSessionsOptions): Sessions => {
  const saveScript = loadScript('session-save.lua');
  const claimScript = loadScript('session-claim.lua');
  const removeScript = loadScript('session-remove.lua');

  /** All sessions of one call lie where the first one does. */
  const run = async (
    script: Script,
    sessions: readonly string[],
    args: readonly (string | number)[],
  ): Promise<unknown> => {
    const keys = sessions.map((session) => keySpace.ofSession(session));
    const link = keys[0] === undefined ? undefined : shardOf(keys[0].partition)?.historyLink;
    if (link?.isUp() !== true) throw new BrokerUnavailableError('not connected to Redis');
    try {
      return await runScript(
        link.redis,
        script,
        keys.map(({ key }) => key),
        args,
      );
    } catch (error) {
      onFailure();
      throw new BrokerUnavailableError('the session could not be reached', { cause: driverError(error) });
    }
  };

  return {
    async save(records, leaseMs) {
      const outcomes = new Array<SaveOutcome>(records.length);
      const indexes = keySpace.groupByCall([...records.keys()], (index) => records[index]!.session);
      await Promise.all(
        indexes.map(async (group) => {
          const part = group.map((index) => records[index]!);
          const fields = part.flatMap(({ fence, owner, holder, subscriptions }) => [
            ...[fence, ownerField(owner), holder.node, holder.connection],
            JSON.stringify(subscriptions),
          ]);
          const names = part.map(({ session }) => session);
          const results = (await run(saveScript, names, [leaseMs, ...fields])) as number[];
          for (const [i, index] of group.entries()) outcomes[index] = results[i] === 1 ? 'saved' : 'stale';
        }),
      );
      return outcomes;
    },
    async claim({ session, owner, holder }, leaseMs) {
      const args = [leaseMs, ownerField(owner), holder.node, holder.connection];
      const reply = (await run(claimScript, [session], args)) as Buffer[] | null;
      if (reply === null) return undefined;
      const [fence, node, connection, subscriptions] = reply.map((field) => field.toString());
      return {
        previous: { node: node!, connection: connection! },
        fence: Number(fence),
        subscriptions: JSON.parse(subscriptions!) as SessionSubscription[],
      };
    },
    async remove(sessions, leaseMs) {
      await Promise.all(
        keySpace
          .groupByCall(sessions, ({ session }) => session)
          .map((group) =>
            run(
              removeScript,
              group.map(({ session }) => session),
              [leaseMs, ...group.map(({ fence }) => fence)],
            ),
          ),
      );
    },
  };
};
