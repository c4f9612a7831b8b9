// Revocations over Redis: a bounded table with an order of changes, read from where a node stopped reading.
import { BrokerUnavailableError } from '../broker.ts';
import {
  MAX_REVOCATIONS,
  type Revocation,
  type RevocationKind,
  RevocationsFullError,
  type RevocationsRead,
  type RevocationStore,
} from '../revocations.ts';
import { driverError } from './driver-error.ts';
import type { KeySpace } from './keys.ts';
import { loadScript, runScript, type Script } from './script.ts';
import type { Shard } from './shard.ts';

export interface RedisRevocationsOptions {
  readonly keySpace: KeySpace;
  readonly shardOf: (partition: number) => Shard | undefined;
  /** Names lives of the table; must not repeat. */
  readonly randomId: () => string;
  /** A server refused or was lost. */
  onFailure(): void;
}

/** Entries in one call: below what would hold the server, and what Lua can unpack. */
const BATCH = 1000;

const entryOf = ({ kind, value }: Revocation): string => `${kind}:${value}`;

const revocationOf = (entry: string, times: string): Revocation => {
  const colon = entry.indexOf(':');
  const [atMs, untilMs] = times.split(' ').map(Number);
  return {
    kind: entry.slice(0, colon) as RevocationKind,
    value: entry.slice(colon + 1),
    atMs: atMs!,
    untilMs: untilMs!,
  };
};

/** `<newest sequence number> <life>`. */
const splitVersion = (version: string): readonly [seq: string, life: string] => {
  const space = version.indexOf(' ');
  return space === -1 ? ['0', ''] : [version.slice(0, space), version.slice(space + 1)];
};

export const createRedisRevocations = (options: RedisRevocationsOptions): RevocationStore => {
  const addScript = loadScript('revocations-add.lua');
  const readScript = loadScript('revocations-read.lua');
  const { partition, revocations: keys } = options.keySpace.control;

  const run = async (script: Script, args: readonly (string | number)[]): Promise<unknown> => {
    const link = options.shardOf(partition)?.commands;
    if (link?.isUp() !== true) throw new BrokerUnavailableError('not connected to Redis');
    try {
      return await runScript(link.redis, script, keys, args);
    } catch (error) {
      options.onFailure();
      throw new BrokerUnavailableError('the revocations could not be reached', { cause: driverError(error) });
    }
  };

  const readPage = async (version: string): Promise<RevocationsRead & { readonly hasMore: boolean }> => {
    const [seq, life] = splitVersion(version);
    const reply = ((await run(readScript, [life, seq, BATCH])) as Buffer[]).map(String);
    const [newLife = '', newSeq = '0', isOver, hasMore] = reply;
    const revocations: Revocation[] = [];
    for (let i = 4; i < reply.length; i += 2) revocations.push(revocationOf(reply[i]!, reply[i + 1]!));
    return {
      version: `${newSeq} ${newLife}`,
      revocations,
      isAnew: isOver === '1' && life !== '',
      hasMore: hasMore === '1',
    };
  };

  return {
    async add(revocations) {
      for (let at = 0; at < revocations.length; at += BATCH) {
        const part = revocations.slice(at, at + BATCH);
        const fields = part.flatMap((revocation) => [
          entryOf(revocation),
          Math.floor(revocation.atMs),
          Math.ceil(revocation.untilMs),
        ]);
        if ((await run(addScript, [options.randomId(), MAX_REVOCATIONS, ...fields])) !== 1) {
          throw new RevocationsFullError(`expected at most ${MAX_REVOCATIONS} revocations at once`);
        }
      }
    },
    async read(version) {
      let page = await readPage(version);
      const { isAnew } = page;
      const revocations = [...page.revocations];
      while (page.hasMore) {
        page = await readPage(page.version);
        revocations.push(...page.revocations);
      }
      return { version: page.version, revocations, isAnew };
    },
  };
};
