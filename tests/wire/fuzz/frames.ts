// Raw sockets that speak WebSocket well, badly, and not at all; whatever they do, the node gives everything back.
import fc from 'fast-check';
import { protocolJsonSchema } from '../../../protocol/json-schema.ts';
import { type FrameOptions, openRawSocket, upgradeRequest, webSocketFrame } from '../../support/index.ts';
import { type JsonSchema, nearly, valid } from './from-schema.ts';
import type { FuzzedNode } from './fuzzed-node.ts';

const definitions = protocolJsonSchema()['$defs'] as Record<string, JsonSchema>;
const resolve = (ref: string): JsonSchema => definitions[ref.split('/').at(-1)!]!;
const frame = valid(definitions['ClientFrame']!, resolve);

/** What a socket writes at once: right frames, wrong frames, bytes. */
const written: fc.Arbitrary<Buffer> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .oneof(frame, nearly(frame))
      .map((message) => webSocketFrame({ opcode: 1, payload: JSON.stringify(message).slice(0, 20_000) })),
  },
  {
    weight: 4,
    arbitrary: fc
      .record({
        opcode: fc.nat(15),
        payload: fc.uint8Array({ maxLength: 300 }),
        fin: fc.boolean(),
        masked: fc.oneof({ weight: 5, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
        reserved: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(7) }),
      })
      .map((options: FrameOptions) => webSocketFrame(options)),
  },
  {
    weight: 1,
    arbitrary: fc
      .record({ opcode: fc.nat(2), announcedLength: fc.nat(2 ** 31 - 1) })
      .map((options) => webSocketFrame({ ...options, payload: 'cut short' })),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)) },
);

const session = fc.record({
  handshake: fc.oneof(
    { weight: 10, arbitrary: fc.constant(upgradeRequest('/v1/ws')) },
    { weight: 1, arbitrary: fc.nat(150).map((length) => upgradeRequest('/v1/ws').slice(0, length)) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary-ascii', maxLength: 200 }) },
  ),
  writes: fc.array(written, { maxLength: 12 }),
  /** Bytes per write; 0: each as it is. */
  chop: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 50 })),
  ending: fc.constantFrom('reset', 'end', 'close frame'),
});
type Session = typeof session extends fc.Arbitrary<infer T> ? T : never;

const play = async (port: number, { handshake, writes, chop, ending }: Session): Promise<void> => {
  await using raw = await openRawSocket(port);
  const write = (bytes: Uint8Array): Promise<void> => new Promise((done) => raw.socket.write(bytes, () => done()));
  raw.write(handshake);
  const pieces = writes.flatMap((bytes) => {
    const step = chop === 0 ? Math.max(1, bytes.length) : chop;
    return Array.from({ length: Math.ceil(bytes.length / step) }, (_, n) => bytes.subarray(n * step, (n + 1) * step));
  });
  for (const piece of pieces) {
    if (raw.socket.closed) return;
    await write(piece);
  }
  if (ending === 'close frame') await write(webSocketFrame({ opcode: 8, payload: Buffer.from([3, 232]) }));
  else if (ending === 'end') raw.end();
  else raw.reset();
};

const CONCURRENT = 10;

/** Plays the sessions of one seed and returns how many there were. */
export const fuzzFrames = async ({ node }: FuzzedNode, seed: number, count: number): Promise<number> => {
  const sessions = fc.sample(session, { seed, numRuns: count });
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < sessions.length) await play(node.port, sessions[next++]!);
  };
  await Promise.all(Array.from({ length: CONCURRENT }, worker));
  return sessions.length;
};
