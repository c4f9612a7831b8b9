// The address by which others reach this node, from what was configured and what the machine has.
import { BlockList, isIP } from 'node:net';
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';

export type Interfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;

const familyOf = (address: string): 'ipv4' | 'ipv6' => (isIP(address) === 6 ? 'ipv6' : 'ipv4');

const WILDCARDS = new Set(['0.0.0.0', '::']);
const LOOPBACK = '127.0.0.1';

/**
 * `setting` is an IP address, or a network such as `10.0.0.0/8` out of which the node takes its own address; undefined:
 * the address it listens on, or on all of them the first that other machines can see, IPv4 before IPv6.
 * Undefined when no address of this machine lies in the network.
 */
export const advertisedAddress = (
  setting: string | undefined,
  host: string,
  interfaces: Interfaces = networkInterfaces(),
): string | undefined => {
  const own = Object.values(interfaces).flatMap((addresses) => addresses ?? []);
  if (setting?.includes('/') === true) {
    const [network = '', prefix] = setting.split('/');
    const list = new BlockList();
    list.addSubnet(network, Number(prefix), familyOf(network));
    return own.find(({ address }) => list.check(address, familyOf(address)))?.address;
  }
  if (setting !== undefined) return setting;
  if (host === 'localhost') return LOOPBACK;
  if (isIP(host) !== 0 && !WILDCARDS.has(host)) return host;
  const visible = own.filter(({ internal, address }) => !internal && !address.startsWith('fe80:'));
  return (visible.find(({ address }) => isIP(address) === 4) ?? visible[0])?.address ?? LOOPBACK;
};
