import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createBreaker } from './breaker.ts';
import { createPublicLookup, isPublicAddress, isRefusedHost } from './public-addresses.ts';
import { signatureOf } from './signature.ts';

describe('the signature', () => {
  it('is the one of the Standard Webhooks specification', () => {
    // The example that the specification's libraries test with.
    const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
    const body = Buffer.from('{"test": 2432232314}');
    expect(signatureOf(secret, 'msg_p5jXN8AQM9LWM0D4loKWxJek', 1_614_265_330, body)).toBe(
      'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    );
  });

  it('covers the body byte by byte, and takes a plain secret as it is', () => {
    const body = Buffer.from('{"ä":"\u0000"}');
    const expected = createHmac('sha256', 'plain')
      .update(Buffer.concat([Buffer.from('i.7.'), body]))
      .digest('base64');
    expect(signatureOf('plain', 'i', 7, body)).toBe(`v1,${expected}`);
  });
});

describe('the circuit breaker', () => {
  const setUp = () => {
    let nowMs = 0;
    const clock = { nowMs: () => nowMs, monotonicMs: () => nowMs };
    return { breaker: createBreaker({ clock, failures: 3, openMs: 1000 }), advance: (ms: number) => (nowMs += ms) };
  };

  it('opens after failures in a row, and not before', () => {
    const { breaker } = setUp();
    for (const step of ['failed', 'failed', 'succeeded', 'failed', 'failed'] as const) {
      expect(breaker.take()).toBe(true);
      breaker[step]();
    }
    expect(breaker.take()).toBe(true);
    breaker.failed();
    expect([breaker.take(), breaker.isOpen]).toEqual([false, true]);
  });

  it('tries one call after its time, closes when that succeeds, and waits again when it fails', () => {
    const { breaker, advance } = setUp();
    for (let n = 0; n < 3; n++) breaker.failed();
    advance(1000);
    expect([breaker.take(), breaker.take()]).toEqual([true, false]);
    breaker.failed();
    advance(999);
    expect(breaker.take()).toBe(false);
    advance(1);
    expect(breaker.take()).toBe(true);
    breaker.succeeded();
    expect([breaker.take(), breaker.take(), breaker.isOpen]).toEqual([true, true, false]);
  });

  it('tries again when the trial was never decided', () => {
    const { breaker, advance } = setUp();
    for (let n = 0; n < 3; n++) breaker.failed();
    advance(1000);
    expect(breaker.take()).toBe(true);
    advance(1000);
    expect(breaker.take()).toBe(true);
  });
});

describe('public addresses', () => {
  it.each([
    ...['1.1.1.1', '8.8.8.8', '172.15.0.1', '172.32.0.1', '192.167.0.1', '223.255.255.255'],
    ...['2606:4700:4700::1111', '2a00:1450:4001::200e'],
  ])('include %s', (address) => expect(isPublicAddress(address)).toBe(true));

  it.each([
    ...['0.0.0.0', '10.1.2.3', '100.64.0.1', '127.0.0.1', '127.255.0.1', '169.254.169.254', '172.16.0.1', '172.31.9.9'],
    ...['192.168.1.1', '198.18.0.1', '203.0.113.9', '224.0.0.1', '255.255.255.255', '192.0.0.8'],
    ...['::', '::1', '::ffff:127.0.0.1', '::ffff:10.0.0.1', '::127.0.0.1', 'fc00::1', 'fd12::1', 'fe80::1', 'ff02::1'],
    ...['64:ff9b::7f00:1', '2002:7f00:1::', '2001::1', '2001:db8::1', '3fff::1', '100::1'],
    ...['localhost', '', '2130706433', '0x7f.1'],
  ])('do not include %j', (address) => expect(isPublicAddress(address)).toBe(false));

  it('as hosts of a URL, however they are written', () => {
    const hostOf = (url: string): string => new URL(url).hostname;
    for (const url of [
      'http://[::1]/',
      'http://2130706433/',
      'http://0x7f.1/',
      'http://0177.0.0.1/',
      'http://127.1/',
    ]) {
      expect(isRefusedHost(hostOf(url)), url).toBe(true);
    }
    for (const url of ['http://example.com/', 'http://1.1.1.1/']) expect(isRefusedHost(hostOf(url)), url).toBe(false);
  });
});

describe('the resolution of names', () => {
  type Lookup = NonNullable<Parameters<typeof createPublicLookup>[0]>;
  /** A name server that answers differently each time it is asked. */
  const asked = (answers: string[][]): { lookup: Lookup; count: () => number } => {
    let count = 0;
    const lookup = (_: string, __: unknown, callback: (error: null, found: object[]) => void): void =>
      callback(
        null,
        answers[count++]!.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      );
    return { lookup: lookup as unknown as Lookup, count: () => count };
  };
  const resolve = (lookup: Lookup, all: boolean): Promise<unknown> =>
    new Promise((done, fail) => {
      createPublicLookup(lookup)('name.example', { all }, (error, address, family) =>
        error === null ? done(all ? address : [address, family]) : fail(error),
      );
    });

  it('hands the socket what was checked, and asks once', async () => {
    const { lookup, count } = asked([['1.1.1.1', '2606:4700::1'], ['127.0.0.1']]);
    expect(await resolve(lookup, false)).toEqual(['1.1.1.1', 4]);
    expect(count()).toBe(1);
  });

  it.each([[['127.0.0.1']], [['1.1.1.1', '10.0.0.1']], [['1.1.1.1', '::1']], [[]]])('refuses %j', async (found) => {
    for (const all of [true, false]) await expect(resolve(asked([found]).lookup, all)).rejects.toThrow('not a public');
  });
});
