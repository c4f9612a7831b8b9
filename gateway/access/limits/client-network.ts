// Which clients count as one by their address.

const LOOPBACK = /^127\.|^::1$/;
/** Half of an IPv6 address names the network; the other half the client chooses. */
const NETWORK_GROUPS = 4;

/**
 * The address that limits are counted by: IPv4 as it is, IPv6 its /64 network, since every host has a whole one. Undefined
 * for loopback: whoever connects from this machine is a proxy that is not trusted yet, or its operator. `address` is canonical.
 */
export const networkOf = (address: string): string | undefined => {
  if (LOOPBACK.test(address)) return undefined;
  if (!address.includes(':')) return address;
  const [before = '', after] = address.split('::');
  const head = before === '' ? [] : before.split(':');
  const tail = after === undefined || after === '' ? [] : after.split(':');
  const zeros = after === undefined ? 0 : Math.max(0, 8 - head.length - tail.length);
  const groups = [...head, ...Array.from({ length: zeros }, () => '0'), ...tail];
  return `${groups.slice(0, NETWORK_GROUPS).join(':')}::/64`;
};
