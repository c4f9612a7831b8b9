import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createClientAddress, isNetwork } from './client-address.ts';

describe('createClientAddress', () => {
  it('believes nobody when no proxy is trusted', () => {
    expect(createClientAddress([])('10.0.0.1', '203.0.113.9')).toBe('10.0.0.1');
  });

  it('ignores the header of an address outside the trusted networks', () => {
    expect(createClientAddress(['10.0.0.0/8'])('11.0.0.1', '203.0.113.9')).toBe('11.0.0.1');
  });

  it.each(['', 'unknown', '203.0.113.9, 10.0.0.1', '203.0.113.9:4711', '999.1.1.1', '<script>'])(
    'keeps the address of the proxy when its header is %j',
    (header) => {
      expect(createClientAddress(['10.0.0.0/8'])('10.0.0.1', header)).toBe('10.0.0.1');
    },
  );

  it('returns what it got when the socket names no address', () => {
    expect(createClientAddress(['10.0.0.0/8'])('', '203.0.113.9')).toBe('');
  });

  it.each<[trusted: string, remote: string, header: string, client: string]>([
    ['10.0.0.1', '10.0.0.1', '203.0.113.9', '203.0.113.9'],
    ['10.0.0.0/8', '10.255.0.7', '203.0.113.9', '203.0.113.9'],
    ['10.0.0.0/8', '0000:0000:0000:0000:0000:ffff:0a00:0001', '203.0.113.9', '203.0.113.9'],
    ['::1', '0000:0000:0000:0000:0000:0000:0000:0001', '2001:DB8::0:9', '2001:db8::9'],
    ['fd00::/8', 'fd12::1', '::ffff:203.0.113.9', '203.0.113.9'],
    ['127.0.0.1', '127.0.0.1', ' 203.0.113.9 ', '203.0.113.9'],
  ])('with %s trusted, takes from %s the header %j as %s', (trusted, remote, header, client) => {
    expect(createClientAddress([trusted])(remote, header)).toBe(client);
  });

  it('has one spelling per address', () => {
    const clientAddress = createClientAddress([]);
    expect(clientAddress('0000:0000:0000:0000:0000:ffff:7f00:0001', '')).toBe('127.0.0.1');
    expect(clientAddress('2001:0DB8:0000::1', '')).toBe('2001:db8::1');
    expect(clientAddress('fe80::1%eth0', '')).toBe('fe80::1');
  });

  it('answers any texts', () => {
    const clientAddress = createClientAddress(['10.0.0.0/8', '::/0']);
    const address = fc.oneof(fc.string(), fc.ipV4(), fc.ipV6());
    fc.assert(fc.property(address, address, (remote, header) => void clientAddress(remote, header)));
  });

  it('never takes an address from an untrusted socket', () => {
    const clientAddress = createClientAddress(['192.0.2.1']);
    fc.assert(
      fc.property(fc.ipV4(), fc.ipV4(), (remote, header) => {
        fc.pre(remote !== '192.0.2.1');
        expect(clientAddress(remote, header)).toBe(remote);
      }),
    );
  });
});

describe('isNetwork', () => {
  it.each([
    '',
    'localhost',
    '10.0.0.0/33',
    '::/129',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0.0/-1',
    '10.0.0',
    'fe80::1%eth0',
  ])('refuses %j', (text) => {
    expect(isNetwork(text)).toBe(false);
  });

  it.each(['10.0.0.1', '10.0.0.0/8', '::1', 'fd00::/8', '0.0.0.0/0'])('accepts %s', (text) => {
    expect(isNetwork(text)).toBe(true);
  });
});
