import { describe, expect, it } from 'vitest';
import { networkOf } from './client-network.ts';

describe('the network that an address counts for', () => {
  it.each([
    ['203.0.113.7', '203.0.113.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2:ffff::1', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::2', '0:0:0:0::/64'],
    ['fe80::', 'fe80:0:0:0::/64'],
  ])('of %s is %s', (address, network) => {
    expect(networkOf(address)).toBe(network);
  });

  it.each(['127.0.0.1', '127.8.8.8', '::1'])('does not exist for loopback (%s)', (address) => {
    expect(networkOf(address)).toBeUndefined();
  });
});
