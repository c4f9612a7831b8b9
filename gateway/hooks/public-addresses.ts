// Which addresses are out on the internet: everything else could be a service that trusts whoever reaches it.
import dns from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';

/** Private, shared, loopback, link-local, documentation, benchmark, multicast and reserved (IANA special-purpose registry). */
const notPublicIpv4 = new BlockList();
for (const [address, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const)
  notPublicIpv4.addSubnet(address, prefix, 'ipv4');

/** The only part of IPv6 that is assigned to the internet; addresses that carry an IPv4 one lie outside of it, but for the exceptions. */
const globalIpv6 = new BlockList();
globalIpv6.addSubnet('2000::', 3, 'ipv6');
const notPublicIpv6 = new BlockList();
for (const [address, prefix] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const)
  notPublicIpv6.addSubnet(address, prefix, 'ipv6');

export const isPublicAddress = (address: string): boolean => {
  switch (isIP(address)) {
    case 4:
      return !notPublicIpv4.check(address, 'ipv4');
    case 6:
      return globalIpv6.check(address, 'ipv6') && !notPublicIpv6.check(address, 'ipv6');
    default:
      return false;
  }
};

export class AddressRefused extends Error {
  override readonly name = 'AddressRefused';
}

/** Whether the host of a URL is itself an address, and none that may be called. */
export const isRefusedHost = (hostname: string): boolean => {
  const address = hostname.replace(/^\[(.*)\]$/, '$1');
  return isIP(address) !== 0 && !isPublicAddress(address);
};

/**
 * Resolves names for a socket and refuses those with any address that is not public. The socket connects to what was checked here: a
 * second answer of the name server is never asked for.
 */
export const createPublicLookup =
  (lookup: typeof dns.lookup = dns.lookup): LookupFunction =>
  (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) {
        callback(error, '', 0);
        return;
      }
      const refused = addresses.find(({ address }) => !isPublicAddress(address));
      const [first] = addresses;
      if (refused !== undefined || first === undefined) {
        callback(new AddressRefused(`${hostname} is not a public address`), '', 0);
      } else if (options.all === true) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
