// What a Sentinel says about the master, from its answer to SENTINEL MASTER.
import { PARTITIONS } from './partition.ts';
import type { Claim, TopologyView } from './topology.ts';

/** Names and values in turn. The config epoch grows with every failover. */
export const parseSentinelMaster = (
  answer: readonly string[],
  urlOf: (host: string, port: number) => string,
): TopologyView => {
  const fields = new Map<string, string>();
  for (let i = 0; i + 1 < answer.length; i += 2) fields.set(answer[i]!, answer[i + 1]!);
  const host = fields.get('ip');
  if (host === undefined) throw new Error('the Sentinel names no master');
  const claim: Claim = { url: urlOf(host, Number(fields.get('port'))), epoch: Number(fields.get('config-epoch') ?? 0) };
  return { claims: new Array<Claim>(PARTITIONS).fill(claim), members: [] };
};
