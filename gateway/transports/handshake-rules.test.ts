import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { handshakeFault } from './handshake-rules.ts';
import type { Handshake } from './websocket.ts';

const handshake = (given: Partial<Handshake> = {}): Handshake => ({
  host: 'localhost',
  origin: '',
  subprotocols: [],
  remoteAddress: '127.0.0.1',
  realIpHeader: '',
  version: '13',
  upgrade: 'websocket',
  connection: 'Upgrade',
  key: 'dGhlIHNhbXBsZSBub25jZQ==',
  extensions: '',
  ...given,
});

describe('a handshake that breaks a rule of RFC 6455 §4.2.1', () => {
  it.each<[Partial<Handshake>, string]>([
    [{ upgrade: '' }, 'upgrade'],
    [{ upgrade: 'h2c' }, 'upgrade'],
    [{ connection: '' }, 'connection'],
    [{ connection: 'keep-alive' }, 'connection'],
    [{ connection: 'not-upgrade' }, 'connection'],
    [{ version: '' }, 'version'],
    [{ version: '8' }, 'version'],
    [{ version: '13, 8' }, 'version'],
    [{ key: '' }, 'key'],
    [{ key: 'dGhlIHNhbXBsZSBub25jZQ=' }, 'key'],
    [{ key: 'dGhlIHNhbXBsZSBub25jZQAA' }, 'key'],
    [{ key: 'dGhlIHNhbXBsZSBub25jZB==' }, 'key'],
    [{ key: 'dGhlIHNhbXBsZSBub25jZ===' }, 'key'],
    [{ key: '!!!!!!!!!!!!!!!!!!!!!!==' }, 'key'],
    [{ subprotocols: ['a', ''] }, 'subprotocol'],
    [{ subprotocols: ['a', 'a'] }, 'subprotocol'],
    [{ subprotocols: ['a b'] }, 'subprotocol'],
    [{ subprotocols: ['ä'] }, 'subprotocol'],
    [{ extensions: 'permessage-deflate;' }, 'extensions'],
    [{ extensions: 'permessage-deflate,,x' }, 'extensions'],
    [{ extensions: 'permessage deflate' }, 'extensions'],
    [{ extensions: 'a; b="c d"' }, 'extensions'],
    [{ extensions: 'a; b=' }, 'extensions'],
  ])('%j is known by that rule: %s', (given, fault) => {
    expect(handshakeFault(handshake(given))).toBe(fault);
  });

  it('is told the rule it has to mend first', () => {
    expect(handshakeFault(handshake({ key: '', version: '8', connection: '' }))).toBe('connection');
  });
});

describe('a handshake that keeps them', () => {
  it.each<Partial<Handshake>>([
    {},
    { upgrade: 'WebSocket' },
    { connection: 'keep-alive, Upgrade' },
    { connection: 'UPGRADE' },
    { subprotocols: ['weir.v1.json', 'other'] },
    { extensions: 'permessage-deflate; client_max_window_bits' },
    { extensions: 'permessage-deflate; server_max_window_bits=10, x-other ; a = "b"' },
  ])('%j passes', (given) => {
    expect(handshakeFault(handshake(given))).toBeUndefined();
  });

  it('with any 16 bytes as key', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        expect(handshakeFault(handshake({ key: Buffer.from(bytes).toString('base64') }))).toBeUndefined();
      }),
    );
  });
});

it('any header text gets a decision, and a hostile one without backtracking', () => {
  fc.assert(fc.property(fc.string(), (extensions) => void handshakeFault(handshake({ extensions }))));
  const started = process.cpuUsage();
  for (const part of ['a;', 'a ', 'a;b="c";', ' \t;']) {
    handshakeFault(handshake({ extensions: part.repeat(5_000) }));
  }
  expect(process.cpuUsage(started).user).toBeLessThan(1_000_000);
});
