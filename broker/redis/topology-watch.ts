// Asks the members of a Sentinel deployment or a cluster who owns what, again and again, and tells changes.
//
// A member that was cut off from the others answers with what it knew before, so claims carry epochs: an older claim
// replaces a newer one only when every member was heard.
import type { Redis } from 'ioredis';
import { driverError } from './driver-error.ts';
import { createLink, type Link } from './link.ts';
import { PARTITIONS } from './partition.ts';
import type { ReconnectSchedule } from './reconnect-schedule.ts';
import { newestClaims, type Claims, type Topology, type TopologyView } from './topology.ts';

const POLL_MS = 1_000;
/** While something seems to be changing, and for how long after it did. */
const HURRIED_POLL_MS = 100;
const HURRY_MS = 10_000;
const ANSWER_MS = 500;
/** Gossip makes a few members enough. */
const MAX_MEMBERS = 16;

export interface TopologyWatchOptions {
  readonly seeds: readonly string[];
  readonly reconnectDelayMs: ReconnectSchedule;
  ask(redis: Redis, url: string): Promise<TopologyView>;
  onError(error: Error, stage: string): void;
}

export const createTopologyWatch = (options: TopologyWatchOptions): Topology => {
  const members = new Map<string, Link>();
  const reported = new Map<string, string>();
  let onOwners: Parameters<Topology['start']>[0] | undefined;
  let claims: Claims | undefined;
  let timer: NodeJS.Timeout | undefined;
  let polling = false;
  let again = false;
  let hurryUntilMs = 0;

  const ask = async (url: string, link: Link): Promise<TopologyView | undefined> => {
    let limit: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => (limit = setTimeout(() => resolve(undefined), ANSWER_MS)));
    try {
      const view = await Promise.race([options.ask(link.redis, url), late]);
      if (view !== undefined) reported.delete(url);
      return view;
    } catch (thrown) {
      const error = driverError(thrown);
      // Asked every second: the same refusal is news only once.
      if (reported.get(url) !== error.message) options.onError(error, 'redis.topology');
      reported.set(url, error.message);
      return undefined;
    } finally {
      clearTimeout(limit);
    }
  };

  const follow = (views: readonly TopologyView[]): void => {
    const known = new Set([...options.seeds, ...views.flatMap((view) => view.members)].slice(0, MAX_MEMBERS));
    for (const url of known) if (!members.has(url)) addMember(url);
    for (const [url, link] of members) {
      if (known.has(url)) continue;
      members.delete(url);
      link.close();
    }
  };

  const lookOnce = async (): Promise<void> => {
    const asked = [...members].filter(([, link]) => link.isUp());
    const answers = await Promise.all(asked.map(([url, link]) => ask(url, link)));
    const views = answers.filter((view) => view !== undefined);
    if (onOwners === undefined || views.length === 0) return;
    const heardAll = views.length === members.size;
    const before = claims;
    const fresh = views.map((view) => view.claims);
    claims = newestClaims(heardAll || before === undefined ? fresh : [before, ...fresh], PARTITIONS);
    follow(views);
    if (claims.some((claim, partition) => claim?.url !== before?.[partition]?.url)) {
      onOwners(claims.map((claim) => claim?.url));
    }
  };

  const poll = (): void => {
    if (onOwners === undefined) return;
    if (polling) {
      again = true;
      return;
    }
    clearTimeout(timer);
    polling = true;
    void lookOnce().finally(() => {
      polling = false;
      if (onOwners === undefined) return;
      const hurried = performance.now() < hurryUntilMs;
      timer = setTimeout(poll, again ? HURRIED_POLL_MS / 5 : hurried ? HURRIED_POLL_MS : POLL_MS);
      again = false;
    });
  };

  const refresh = (): void => {
    hurryUntilMs = performance.now() + HURRY_MS;
    poll();
  };

  const addMember = (url: string): void => {
    const link = createLink({
      url,
      name: 'topology',
      readyCheck: false,
      prepare: () => Promise.resolve(),
      reconnectDelayMs: options.reconnectDelayMs,
      onUp: poll,
      onDown: refresh,
      onError: options.onError,
    });
    members.set(url, link);
    link.connect();
  };

  return {
    start(given) {
      onOwners = given;
      hurryUntilMs = performance.now() + HURRY_MS;
      for (const url of new Set(options.seeds)) addMember(url);
    },
    refresh,
    close() {
      onOwners = undefined;
      clearTimeout(timer);
      for (const link of members.values()) link.close();
      members.clear();
    },
  };
};
