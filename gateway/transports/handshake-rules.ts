// What RFC 6455 §4.2.1 demands of an opening handshake and the engine does not check.
import type { Handshake } from './websocket.ts';

/** Which rule a handshake breaks; doubles as the label of the metric. */
export type HandshakeFault = 'upgrade' | 'connection' | 'version' | 'key' | 'subprotocol' | 'extensions';

/** The only version there is. */
export const WEBSOCKET_VERSION = '13';

/** 16 bytes in base64: the last of 22 digits carries only two bits of them. */
const KEY = /^[A-Za-z0-9+/]{21}[AQgw]==$/;

/** RFC 9110 §5.6.2, as one character class. */
const TCHAR = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]";
const TOKEN = new RegExp(`^${TCHAR}+$`);
/** `name; parameter; parameter=value; parameter="value"` of RFC 6455 §9.1: a quoted value must be a token as well. */
const EXTENSION = new RegExp(`^${TCHAR}+(?:[ \\t]*;[ \\t]*${TCHAR}+(?:[ \\t]*=[ \\t]*(?:${TCHAR}+|"${TCHAR}+"))?)*$`);

const itemsOf = (list: string): string[] => list.split(',').map((item) => item.trim());

const isTokenList = (names: readonly string[]): boolean =>
  names.every((name) => TOKEN.test(name)) && new Set(names).size === names.length;

/** The first rule that is broken, in the order in which a client would have to mend them; undefined when none is. */
export const handshakeFault = (handshake: Handshake): HandshakeFault | undefined => {
  if (handshake.upgrade.toLowerCase() !== 'websocket') return 'upgrade';
  if (!itemsOf(handshake.connection.toLowerCase()).includes('upgrade')) return 'connection';
  if (handshake.version !== WEBSOCKET_VERSION) return 'version';
  if (!KEY.test(handshake.key)) return 'key';
  if (!isTokenList(handshake.subprotocols)) return 'subprotocol';
  if (handshake.extensions !== '' && !itemsOf(handshake.extensions).every((item) => EXTENSION.test(item))) {
    return 'extensions';
  }
  return undefined;
};
