// Follows the registry of nodes and makes the slots of one HAProxy agree with it, for as long as it runs.
import { setTimeout as pause } from 'node:timers/promises';
import type { ControlBus } from '../../broker/control.ts';
import { applyMembership, type MembershipResult } from '../membership.ts';
import type { RuntimeApi } from '../runtime-api.ts';
import {
  afterFailure,
  afterReading,
  countByState,
  fateOfUnknown,
  type Members,
  noMembers,
  wantedNodes,
} from './members.ts';
import type { AgentMetricValues, AgentStage } from './metrics.ts';

type LogFields = { readonly event: string } & Readonly<Record<string, unknown>>;

export interface AgentLog {
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
}

export interface FollowerOptions {
  /** Rejects while the registry cannot be reached. */
  readonly registry: Pick<ControlBus, 'nodes'>;
  readonly runtime: RuntimeApi;
  /** Pause between two looks at the registry, and between two at HAProxy. */
  readonly intervalMs: number;
  /** How long a node must be missing in the registry before its slot is freed. */
  readonly absenceMs: number;
  /** Monotonic. */
  readonly nowMs: () => number;
  readonly log: AgentLog;
}

export interface Follower {
  /** Nothing is wrong when empty. */
  problems(): readonly string[];
  metrics(): AgentMetricValues;
  /** Ends both loops after the round they are in. HAProxy keeps what it has. */
  stop(): Promise<void>;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export const startFollower = (options: FollowerOptions): Follower => {
  const { registry, runtime, intervalMs, absenceMs, nowMs, log } = options;
  const ending = new AbortController();
  const changed: Record<string, number> = {};
  const errors: Record<AgentStage, number> = { registry: 0, haproxy: 0 };
  let members: Members = noMembers;
  /** Undefined while HAProxy is well, and before it was asked. */
  let haproxyProblem: string | undefined;
  let placed: Pick<MembershipResult, 'unplaced' | 'free'> = { unplaced: [], free: 0 };
  let asked = false;

  const tellRegistry = (before: Members, reason: string): void => {
    const fields = { event: `registry_${members.registry}`, members: members.known.size };
    if (members.registry === before.registry && (before !== noMembers || members.registry !== 'away')) return;
    if (members.registry === 'readable') log.info(fields, 'the registry can be read');
    else
      log.warn(
        { ...fields, ...(reason === '' ? {} : { reason }) },
        `the registry is ${members.registry}; known nodes stay`,
      );
  };

  const tellMembers = (before: Members): void => {
    for (const [name, { info }] of members.known) {
      if (!before.known.has(name)) log.info({ event: 'node_known', node: name, info }, `${name} is known`);
    }
    for (const name of before.known.keys()) {
      if (!members.known.has(name)) log.info({ event: 'node_gone', node: name }, `${name} is gone`);
    }
    const ignored = members.ignored.filter((name) => !before.ignored.includes(name));
    if (ignored.length > 0) {
      log.warn({ event: 'node_ignored', nodes: ignored }, 'nodes announce no usable address: of an earlier version?');
    }
  };

  const readRegistry = async (): Promise<void> => {
    const before = members;
    let reason = '';
    try {
      members = afterReading(members, await registry.nodes(), nowMs(), absenceMs);
    } catch (error) {
      errors.registry += 1;
      reason = messageOf(error);
      members = afterFailure(members);
    }
    tellRegistry(before, reason);
    tellMembers(before);
  };

  const tellUnplaced = (unplaced: readonly string[]): void => {
    if (unplaced.join() === placed.unplaced.join()) return;
    const fields = { event: 'slots_exhausted', nodes: unplaced };
    if (unplaced.length > 0)
      log.error(fields, `HAProxy has no free slot for ${unplaced.join(', ')}: give it more slots`);
    else log.info({ event: 'slots_suffice' }, 'every node has a slot again');
  };

  const tellProblem = (problem: string | undefined): void => {
    if (problem !== undefined) errors.haproxy += 1;
    if (problem === haproxyProblem) return;
    if (problem === undefined) log.info({ event: 'haproxy_up' }, 'HAProxy takes changes');
    else log.warn({ event: 'haproxy_failed', reason: problem }, problem);
    haproxyProblem = problem;
  };

  const adjustHaproxy = async (): Promise<void> => {
    const fate = fateOfUnknown(members, nowMs(), absenceMs);
    try {
      const result = await applyMembership(
        runtime,
        wantedNodes(members),
        fate === undefined ? { onlyWhenEmpty: true } : { unwanted: fate },
      );
      for (const change of result.changes) {
        changed[change.kind] = (changed[change.kind] ?? 0) + 1;
        log.info({ event: 'slot_changed', ...change }, `${change.slot}: ${change.kind}`);
      }
      // A round that looked only whether HAProxy is empty knows nothing of who has no slot.
      if (fate !== undefined) {
        tellUnplaced(result.unplaced);
        placed = result;
      }
      tellProblem(result.refused[0]);
    } catch (error) {
      tellProblem(messageOf(error));
    }
    asked = true;
  };

  const repeat = async (round: () => Promise<void>): Promise<void> => {
    while (!ending.signal.aborted) {
      await round();
      await pause(intervalMs, undefined, { signal: ending.signal }).catch(() => undefined);
    }
  };
  // Apart, so that a registry that is slow to fail does not delay the filling of a HAProxy that has restarted.
  const loops = Promise.all([repeat(readRegistry), repeat(adjustHaproxy)]);

  return {
    problems: () => [
      ...(members.registry === 'away' ? ['the registry cannot be read'] : []),
      ...(members.registry === 'empty' ? ['the registry lists no node'] : []),
      ...(haproxyProblem === undefined ? [] : [haproxyProblem]),
      ...(asked ? [] : ['HAProxy was not asked yet']),
      ...(placed.unplaced.length === 0 ? [] : [`no free slot for ${placed.unplaced.join(', ')}`]),
    ],
    metrics: () => ({
      weir_balancer_registry_up: members.registry === 'readable' ? 1 : 0,
      weir_balancer_haproxy_up: asked && haproxyProblem === undefined ? 1 : 0,
      weir_balancer_members: countByState(members),
      weir_balancer_members_unplaced: placed.unplaced.length,
      weir_balancer_slots_free: placed.free,
      weir_balancer_records_ignored: members.ignored.length,
      weir_balancer_changes_total: changed,
      weir_balancer_errors_total: errors,
    }),
    async stop() {
      ending.abort();
      await loops;
    },
  };
};
