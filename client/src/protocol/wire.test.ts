// The plain types say the same as the schemas, in both directions.
import { expect, expectTypeOf, it } from 'vitest';
import type { CommandOf } from '../../../protocol/commands.ts';
import type { Position, Since } from '../../../protocol/position.ts';
import type { Push, PushOf } from '../../../protocol/pushes.ts';
import type { ReplyOf, HistoryMessage } from '../../../protocol/replies.ts';
import { decodeFrame, encodeCommand, encodeFields, joinFrame } from './codec.ts';
import type * as wire from './wire.ts';

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
type SameCommand<T extends Exclude<wire.CommandType, 'ping'>> = Same<
  CommandOf<T>,
  { type: T; id?: number } & wire.Commands[T]
>;
type SameReply<T extends keyof Names> = Same<ReplyOf<Names[T]>, wire.Replies[T]>;
interface Names {
  connect: 'connected';
  refresh: 'refreshed';
  subscribe: 'subscribed';
  unsubscribe: 'unsubscribed';
  publish: 'published';
  history: 'history';
  presence: 'presence';
  ping: 'pong';
}

it('has the commands of the schemas', () => {
  expectTypeOf<
    { [T in Exclude<wire.CommandType, 'ping'>]: SameCommand<T> }[Exclude<wire.CommandType, 'ping'>]
  >().toEqualTypeOf<true>();
});

it('has the replies of the schemas', () => {
  expectTypeOf<{ [T in keyof Names]: SameReply<T> }[keyof Names]>().toEqualTypeOf<true>();
  expectTypeOf<Same<ReplyOf<'error'>, wire.ErrorReply>>().toEqualTypeOf<true>();
  expectTypeOf<Same<HistoryMessage, wire.HistoryMessage>>().toEqualTypeOf<true>();
});

it('has the pushes and positions of the schemas', () => {
  expectTypeOf<Same<PushOf<'message'>, wire.Message>>().toEqualTypeOf<true>();
  expectTypeOf<Same<PushOf<'gap'>, wire.Gap>>().toEqualTypeOf<true>();
  expectTypeOf<Same<PushOf<'reconnect'>, wire.ReconnectPush>>().toEqualTypeOf<true>();
  expectTypeOf<Same<PushOf<'status'>, wire.Status>>().toEqualTypeOf<true>();
  expectTypeOf<PushOf<'join'> | PushOf<'leave'>>().toExtend<wire.Joined>();
  expectTypeOf<Push>().toExtend<wire.Push>();
  expectTypeOf<Same<Position, wire.Position>>().toEqualTypeOf<true>();
  expectTypeOf<Same<Since, wire.Since>>().toEqualTypeOf<true>();
});

it.each(['', '{', 'null', '7', '"text"', '[1]', '[{}]', '{"type":7}'])('refuses the frame %s', (frame) => {
  expect(() => decodeFrame(frame)).toThrow(expect.objectContaining({ name: 'malformed_frame' }));
});

it('reads an object and an array of them', () => {
  expect(decodeFrame('{"type":"pong","id":1}')).toEqual([{ type: 'pong', id: 1 }]);
  expect(decodeFrame('[{"type":"pong"},{"type":"status","broker":"ready"}]')).toHaveLength(2);
  expect(decodeFrame('[]')).toEqual([]);
});

it('writes one command as an object and several as an array', () => {
  const ping = encodeCommand('ping', encodeFields({}), 7);
  const leave = encodeCommand('unsubscribe', encodeFields({ channel: 'a"b' }));
  expect(JSON.parse(joinFrame([ping]))).toEqual({ type: 'ping', id: 7 });
  expect(JSON.parse(joinFrame([ping, leave]))).toEqual([
    { type: 'ping', id: 7 },
    { type: 'unsubscribe', channel: 'a"b' },
  ]);
});
