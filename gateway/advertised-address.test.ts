import type { NetworkInterfaceInfo } from 'node:os';
import { describe, expect, it } from 'vitest';
import { advertisedAddress, type Interfaces } from './advertised-address.ts';

const own = (address: string, internal = false): NetworkInterfaceInfo =>
  ({ address, internal, family: address.includes(':') ? 'IPv6' : 'IPv4' }) as NetworkInterfaceInfo;

const interfaces: Interfaces = {
  lo: [own('127.0.0.1', true), own('::1', true)],
  eth0: [own('fe80::1'), own('2001:db8::7'), own('10.1.0.7')],
  eth1: [own('172.30.0.130')],
};

describe('the address a node advertises', () => {
  it.each<[string, string | undefined, string, string | undefined]>([
    ['is the one configured, whatever the machine has', '192.0.2.1', '0.0.0.0', '192.0.2.1'],
    ['is the own one in the network configured', '172.30.0.0/24', '0.0.0.0', '172.30.0.130'],
    ['is the own one in an IPv6 network', '2001:db8::/32', '0.0.0.0', '2001:db8::7'],
    ['does not exist in a foreign network', '192.168.0.0/16', '0.0.0.0', undefined],
    ['is the one it listens on', undefined, '10.1.0.7', '10.1.0.7'],
    ['is loopback when only this machine can connect', undefined, 'localhost', '127.0.0.1'],
    ['is the first IPv4 address others see when it listens on all', undefined, '0.0.0.0', '10.1.0.7'],
    ['is that one too when it listens on a name', undefined, 'gateway.internal', '10.1.0.7'],
  ])('%s', (_, setting, host, expected) => {
    expect(advertisedAddress(setting, host, interfaces)).toBe(expected);
  });

  it('is an IPv6 address where there is no other, and loopback where there is none', () => {
    expect(advertisedAddress(undefined, '::', { eth0: [own('fe80::1'), own('2001:db8::7')] })).toBe('2001:db8::7');
    expect(advertisedAddress(undefined, '0.0.0.0', { lo: [own('127.0.0.1', true)] })).toBe('127.0.0.1');
  });
});
