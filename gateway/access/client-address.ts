// The address a client really has: the socket's, or the one a trusted proxy names in `X-Real-IP`.
import { BlockList, isIP, SocketAddress } from 'node:net';

interface Network {
  readonly address: string;
  readonly prefix: number;
  readonly family: 'ipv4' | 'ipv6';
}

const parseNetwork = (text: string): Network | undefined => {
  const [address = '', prefixText, ...rest] = text.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0 || address.includes('%')) return undefined;
  const bits = version === 4 ? 32 : 128;
  if (prefixText !== undefined && !/^\d{1,3}$/.test(prefixText)) return undefined;
  const prefix = prefixText === undefined ? bits : Number(prefixText);
  return prefix > bits ? undefined : { address, prefix, family: version === 4 ? 'ipv4' : 'ipv6' };
};

/** Whether a text is an IP address or a CIDR network. */
export const isNetwork = (text: string): boolean => parseNetwork(text) !== undefined;

const mappedIpv4 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/;

/** One spelling per address, since addresses key limits; undefined when it is none. IPv4 in IPv6 becomes IPv4, zones go. */
const canonicalAddress = (text: string): string | undefined => {
  const [address = ''] = text.trim().split('%');
  const version = isIP(address);
  if (version === 0) return undefined;
  if (version === 4) return address;
  const canonical = new SocketAddress({ address, family: 'ipv6' }).address;
  return mappedIpv4.exec(canonical)?.[1] ?? canonical;
};

/**
 * `remoteAddress` is what the socket says, `xRealIp` the header or ''. The header counts only when the socket belongs
 * to a trusted proxy and it holds one well-formed address; everybody else could write anything into it.
 */
export const createClientAddress = (
  trustedProxies: readonly string[],
): ((remoteAddress: string, xRealIp: string) => string) => {
  const trusted = new BlockList();
  for (const { address, prefix, family } of trustedProxies.flatMap((text) => parseNetwork(text) ?? [])) {
    trusted.addSubnet(address, prefix, family);
  }
  return (remoteAddress, xRealIp) => {
    const remote = canonicalAddress(remoteAddress);
    if (remote === undefined) return remoteAddress;
    if (xRealIp === '' || !trusted.check(remote, isIP(remote) === 4 ? 'ipv4' : 'ipv6')) return remote;
    return canonicalAddress(xRealIp) ?? remote;
  };
};
