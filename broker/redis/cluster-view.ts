// What a node of a Redis Cluster says about the owners of the partitions, from its answer to CLUSTER NODES.
import { PARTITION_TAGS, slotOfTag } from './partition.ts';
import type { Claim, TopologyView } from './topology.ts';

const PARTITION_SLOTS = PARTITION_TAGS.map(slotOfTag);
/** Such nodes cannot be asked. */
const UNUSABLE_FLAGS = ['fail', 'noaddr', 'handshake'];

/**
 * Lines of CLUSTER NODES: id, `host:port@bus[,hostname…]`, flags, master, ping, pong, config epoch, link state, then slots
 * as `n` or `n-m`; slots in `[…]` are on their way and still belong to whoever lists them without brackets.
 * `urlOf` gets an empty host from a node that does not know its own address.
 */
export const parseClusterNodes = (answer: string, urlOf: (host: string, port: number) => string): TopologyView => {
  const claims = new Array<Claim | undefined>(PARTITION_SLOTS.length).fill(undefined);
  const members: string[] = [];
  for (const line of answer.split('\n')) {
    const [, address = '', flagText = '', , , , epoch = '', , ...slots] = line.trim().split(' ');
    const [, host, port, hostname] = /^(.*):(\d+)(?:@\d+)?(?:,([^,]*))?/.exec(address) ?? [];
    const flags = flagText.split(',');
    if (host === undefined || flags.some((flag) => UNUSABLE_FLAGS.includes(flag))) continue;
    const url = urlOf(host === '' ? (hostname ?? '') : host, Number(port));
    members.push(url);
    if (!flags.includes('master')) continue;
    const claim: Claim = { url, epoch: Number(epoch) };
    for (const range of slots) {
      const [first, last = first] = range.split('-').map(Number);
      if (first === undefined || last === undefined || Number.isNaN(first)) continue;
      PARTITION_SLOTS.forEach((slot, partition) => {
        if (slot >= first && slot <= last) claims[partition] = claim;
      });
    }
  }
  return { claims, members };
};
