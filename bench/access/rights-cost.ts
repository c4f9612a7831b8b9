// What the rights check adds to a subscription and to a publication through a real node: its CPU for the same commands by
// clients whose namespace lets everyone do them, and by clients whose token has to be asked, in turns.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startNode } from '../../loadbalancer/cluster/node-process.ts';
import { temporaryDirectory } from '../../loadbalancer/cluster/temporary-directory.ts';
import { createAccess } from '../../gateway/access/access.ts';
import { readClaims } from '../../gateway/access/tokens/claims.ts';
import { mintToken } from '../../gateway/access/tokens/mint.ts';
import { loadConfig, namespaceOfChannel } from '../../gateway/config.ts';
import type { Pinning } from '../pinning.ts';
import { median } from '../rounds.ts';
import { type CommandClient, openCommandClient } from './command-client.ts';

/** Eight patterns of which the last covers the channels. */
const PATTERNS = [...Array.from({ length: 7 }, (_, n) => `other-${n}:*`), 'open:*'];
const CHECKED = { subscribe: PATTERNS, publish: PATTERNS };
const SECRET = 'secret-of-the-rights-bench-0123456789-0123456789';
const CONFIG = `namespaces:
  open: { subscribe: everyone, publish: everyone, history: { size: 10, ttl: 1m } }
`;
/** No limit of a connection or a user is to be met. */
const UNLIMITED = {
  WEIR_MAX_COMMAND_RATE: '100000000/s',
  WEIR_MAX_PUBLISH_RATE: '100000000/s',
  WEIR_MAX_USER_PUBLISH_RATE: '100000000/s',
  WEIR_MAX_IP_PUBLISH_RATE: '100000000/s',
  WEIR_MAX_BYTE_RATE: '1000GiB/s',
  WEIR_OVERLOAD_CPU_PERCENT: '0',
  WEIR_OVERLOAD_LAG_MS: '0',
};

const CLIENTS = 8;
const CHANNELS = 512;
const ROUNDS = 31;
/** All commands so often in one measurement: 10 to 30 ms of CPU alone say more about the collector of garbage. */
const PASSES = 4;
const WARM_UP_ROUNDS = 4;
const CHECKS = 200_000;

export const VERBS = ['subscribe', 'publish'] as const;
type Verb = (typeof VERBS)[number];

export interface RightsCost {
  /** One check with a token of eight patterns of which the last covers the channel, ns. */
  readonly checkNs: number;
  readonly commands: Readonly<Record<Verb, CommandCost>>;
}

interface CommandCost {
  /** CPU of the node for one command, without and with asking the token, ns: medians of rounds. */
  readonly withoutNs: number;
  readonly withNs: number;
  /** What asking adds, as a share: the median of the rounds, each compared within itself, since the machine changes between them. */
  readonly added: number;
}

/** CPU that all threads of a process have used, ns. */
const cpuNsOf = async (pid: number): Promise<number> => {
  const folder = `/proc/${pid}/task`;
  const threads = await readdir(folder);
  const used = await Promise.all(
    // A thread may end meanwhile.
    threads.map((thread) => readFile(join(folder, thread, 'schedstat'), 'utf8').catch(() => '0')),
  );
  return used.reduce((sum, text) => sum + Number(text.split(' ')[0]), 0);
};

const channels = Array.from({ length: CHANNELS }, (_, n) => `open:room-${n}`);
const onAll = (type: string, fields: Readonly<Record<string, unknown>> = {}) =>
  channels.map((channel) => ({ type, channel, ...fields }));
const COMMANDS: Readonly<Record<Verb, readonly Readonly<Record<string, unknown>>[]>> = {
  subscribe: onAll('subscribe'),
  publish: onAll('publish', { data: { text: 'x'.repeat(100) } }),
};
const UNSUBSCRIBE = onAll('unsubscribe');

const checkCost = (): number => {
  const loaded = loadConfig({ argv: [], env: { WEIR_PROFILE: 'production' } });
  if (loaded.kind !== 'ok') throw new Error('the configuration of the bench is wrong');
  const access = createAccess((channel) => namespaceOfChannel(loaded.config, channel));
  const identity = readClaims({ sub: 'ada', weir: CHECKED }, { expiryRequired: false });
  if (typeof identity === 'string') throw new Error(identity);
  const { who } = identity;
  const standing = { subscribed: false };
  const rounds = Array.from({ length: ROUNDS }, () => {
    let spentNs = 0;
    for (let done = 0; done < CHECKS; done += CHANNELS) {
      // Names that nobody has looked up before, as they come out of a frame.
      const names = JSON.parse(JSON.stringify(channels)) as string[];
      const startedNs = process.hrtime.bigint();
      for (const name of names) access.require('publish', who, name, standing);
      spentNs += Number(process.hrtime.bigint() - startedNs);
    }
    return spentNs / CHECKS;
  });
  return median(rounds);
};

export const measureRights = async (pinning: Pinning): Promise<RightsCost> => {
  const directory = await temporaryDirectory('rights');
  const configFile = join(directory.path, 'weir.yaml');
  await writeFile(configFile, CONFIG);
  await using node = await startNode({
    name: 'bench-rights',
    apiKey: SECRET,
    entry: 'built',
    prefix: pinning.serverPrefix,
    env: { WEIR_CONFIG: configFile, WEIR_JWT_SECRET: SECRET, WEIR_LOG_LEVEL: 'warn', ...UNLIMITED },
  });
  const url = `${node.url.replace('http', 'ws')}/v1/ws`;
  const clientsWith = (weir: object | undefined): Promise<CommandClient[]> => {
    const claims = { sub: 'ada', exp: Math.floor(Date.now() / 1000) + 3600, ...(weir !== undefined && { weir }) };
    const token = mintToken({ claims, key: { secret: SECRET } });
    return Promise.all(Array.from({ length: CLIENTS }, () => openCommandClient(url, token)));
  };
  const groups = { without: await clientsWith(undefined), with: await clientsWith(CHECKED) };
  // Channels stay open, so that a round measures subscriptions and not the opening of channels.
  const holder = await openCommandClient(url, mintToken({ claims: { sub: 'holder' }, key: { secret: SECRET } }));
  await holder.run(COMMANDS.subscribe);

  const nsPerCommand = async (verb: Verb, clients: readonly CommandClient[]): Promise<number> => {
    let used = 0;
    for (let pass = 0; pass < PASSES; pass += 1) {
      const before = await cpuNsOf(node.pid);
      await Promise.all(clients.map((client) => client.run(COMMANDS[verb])));
      used += (await cpuNsOf(node.pid)) - before;
      if (verb === 'subscribe') await Promise.all(clients.map((client) => client.run(UNSUBSCRIBE)));
    }
    return used / (clients.length * CHANNELS * PASSES);
  };

  const measure = async (verb: Verb): Promise<CommandCost> => {
    const rounds: { without: number; with: number }[] = [];
    for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round += 1) {
      const used = { without: 0, with: 0 };
      // Each goes first every other time.
      for (const kind of round % 2 === 0 ? (['without', 'with'] as const) : (['with', 'without'] as const)) {
        used[kind] = await nsPerCommand(verb, groups[kind]);
      }
      if (round >= 0) rounds.push(used);
    }
    return {
      withoutNs: median(rounds.map(({ without }) => without)),
      withNs: median(rounds.map((used) => used.with)),
      added: median(rounds.map((used) => used.with / used.without)) - 1,
    };
  };
  try {
    return {
      checkNs: checkCost(),
      commands: { subscribe: await measure('subscribe'), publish: await measure('publish') },
    };
  } finally {
    for (const client of [...groups.without, ...groups.with, holder]) client.close();
    await directory.remove();
  }
};
