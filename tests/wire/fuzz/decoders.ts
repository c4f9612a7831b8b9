// Every decoder of the project under hostile input: what it may answer, and that it answers.
import fc from 'fast-check';
import { decodeRecord, decodeRun } from '../../../broker/redis/record.ts';
import { isRedisUrl } from '../../../gateway/config/urls.ts';
import { parseRedisUrl } from '../../../broker/redis/redis-url.ts';
import { decodeFrame } from '../../../client/src/protocol/codec.ts';
import { parseApiKeys } from '../../../gateway/access/api-key-entries.ts';
import { isChannelPattern } from '../../../gateway/access/channel-pattern.ts';
import { createClientAddress } from '../../../gateway/access/client-address.ts';
import { createHostCheck, DEVELOPMENT_HOSTS } from '../../../gateway/access/host.ts';
import { createOriginCheck, DEVELOPMENT_ORIGINS, isOriginPattern } from '../../../gateway/access/origin.ts';
import { loadConfig } from '../../../gateway/config.ts';
import { weirDialect } from '../../../gateway/dialects/weir.ts';
import { handshakeFault } from '../../../gateway/transports/handshake-rules.ts';
import { parseSlots } from '../../../loadbalancer/runtime-api.ts';
import { parseCommand } from '../../../protocol/command-validators.ts';
import {
  parseBatch,
  parseChannel,
  parseChannelsQuery,
  parseHistoryQuery,
  parsePublish,
} from '../../../protocol/http-requests.ts';
import { protocolJsonSchema } from '../../../protocol/json-schema.ts';
import { type JsonSchema, nearly, valid } from './from-schema.ts';

const definitions = protocolJsonSchema()['$defs'] as Record<string, JsonSchema>;
const resolve = (ref: string): JsonSchema => definitions[ref.split('/').at(-1)!]!;
const of = (name: string): fc.Arbitrary<fc.JsonValue> => valid(definitions[name]!, resolve);
const around = (name: string): fc.Arbitrary<fc.JsonValue> => fc.oneof(of(name), nearly(of(name)), fc.jsonValue());

const text = fc.string({ unit: 'binary', maxLength: 300 });
/** A frame, then damaged as text: cut, doubled, with a piece replaced. */
const frames = fc
  .tuple(
    fc.oneof(around('ClientFrame'), around('ServerFrame')),
    fc.nat(),
    text,
    fc.constantFrom('whole', 'cut', 'spliced', 'twice'),
  )
  .map(([frame, at, piece, damage]) => {
    const written = JSON.stringify(frame);
    const place = at % (written.length + 1);
    switch (damage) {
      case 'whole':
        return written;
      case 'cut':
        return written.slice(0, place);
      case 'spliced':
        return written.slice(0, place) + piece + written.slice(place + 1);
      case 'twice':
        return written + written;
    }
  });
const parameters = fc.array(
  fc.tuple(fc.constantFrom('prefix', 'cursor', 'limit', 'reverse', 'since_epoch', 'since_offset', '__proto__'), text),
);

export class Wrong extends Error {}
const must = (condition: boolean, what: string): void => {
  if (!condition) throw new Wrong(what);
};
/** Damaged bytes may be refused, in the one way that callers expect. */
const orRangeError = (decode: () => unknown): void => {
  try {
    decode();
  } catch (error) {
    must(error instanceof RangeError, `expected a RangeError, got ${String(error)}`);
  }
};

export interface DecoderCase {
  readonly name: string;
  /** Throws when the decoder does not keep its word. */
  readonly property: fc.IProperty<unknown>;
}

const decoder = <T>(name: string, input: fc.Arbitrary<T>, check: (value: T) => void): DecoderCase => ({
  name,
  property: fc.property(input, check),
});

export const decoders: readonly DecoderCase[] = [
  decoder('frames of clients', fc.oneof(frames, text), (frame) => {
    const decoded = weirDialect.decode(frame);
    must(decoded.length >= 1 && decoded.length <= 64, 'expected 1 to 64 outcomes');
    for (const one of decoded) must(one.kind === 'command' || one.message !== '', 'expected a message');
  }),
  decoder('commands', around('Command'), (value) => void parseCommand(value)),
  decoder('commands of the schema', of('Command'), (value) => {
    must(parseCommand(value).kind === 'command', 'expected what the published schema allows to be taken');
  }),
  decoder('frames of servers, in the SDK', fc.oneof(frames, text), (frame) => {
    try {
      decodeFrame(frame);
    } catch (error) {
      must(error instanceof Error, 'expected an Error');
    }
  }),
  decoder('bodies of /v1/publish', around('PublishBody'), (body) => void parsePublish(body)),
  decoder('bodies of /v1/batch', around('BatchBody'), (body) => void parseBatch(body)),
  decoder('channels of paths', text, (channel) => void parseChannel(channel)),
  decoder('queries', parameters, (query) => {
    parseChannelsQuery(query);
    parseHistoryQuery(query);
  }),
  decoder('records of Redis', fc.uint8Array({ maxLength: 200 }), (bytes) => {
    orRangeError(() => decodeRecord(Buffer.from(bytes), 1));
  }),
  decoder('messages of Redis', fc.uint8Array({ maxLength: 200 }), (bytes) => {
    orRangeError(() => decodeRun('channel', Buffer.from(bytes)));
    orRangeError(() => decodeRun('channel', Buffer.from([1, ...bytes])));
  }),
  decoder(
    'Redis URLs',
    fc.oneof(
      text,
      text.map((rest) => `redis+sentinel://${rest}`),
    ),
    (url) => {
      if (isRedisUrl(url)) parseRedisUrl(url);
    },
  ),
  decoder('answers of the Runtime API', fc.tuple(text, text), ([state, stat]) => void parseSlots(state, stat)),
  decoder(
    'API keys',
    fc.oneof(
      text,
      text.map((rest) => `a=${rest}`),
    ),
    (keys) => {
      for (const problem of parseApiKeys(keys).problems) must(!problem.includes('\n'), 'expected one line');
    },
  ),
  decoder('patterns', text, (pattern) => {
    isChannelPattern(pattern);
    if (isOriginPattern(pattern)) createOriginCheck([pattern])('https://example.com');
  }),
  decoder('headers of a handshake', fc.array(text, { minLength: 9, maxLength: 9 }), (headers) => {
    const [host, origin, subprotocol, realIpHeader, version, upgrade, connection, key, extensions] = headers as [
      ...[string, string, string, string, string, string, string, string, string],
    ];
    const subprotocols = subprotocol.split(',');
    const handshake = { host, origin, realIpHeader, version, upgrade, connection, key, extensions, subprotocols };
    handshakeFault({ ...handshake, remoteAddress: '127.0.0.1' });
    createOriginCheck(DEVELOPMENT_ORIGINS)(origin);
    createHostCheck(DEVELOPMENT_HOSTS)!(host);
    must(createClientAddress([])('10.0.0.1', realIpHeader) === '10.0.0.1', 'expected a spoofed address to be ignored');
  }),
  decoder('configuration files', fc.oneof(text, fc.json()), (yaml) => {
    const { kind } = loadConfig({ argv: [], env: { WEIR_CONFIG: 'weir.yaml' }, readFile: () => yaml });
    must(kind === 'ok' || kind === 'invalid', `got ${kind}`);
  }),
];
