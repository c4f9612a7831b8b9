// Field schemas shared by commands, replies, pushes and HTTP bodies.
import { Type } from '@sinclair/typebox';
import { CHANNEL_PATTERN } from './channel-name.ts';
import { MAX_COMMAND_ID, MAX_KEY_LENGTH } from './limits.ts';

export const channelSchema = Type.String({
  pattern: CHANNEL_PATTERN,
  description: 'channel name (1-200 of A-Za-z0-9_-=@,.;/:)',
});
export const idSchema = Type.Integer({ minimum: 1, maximum: MAX_COMMAND_ID, description: 'command id' });
export const keySchema = Type.String({ minLength: 1, maxLength: MAX_KEY_LENGTH, description: 'conflation key' });
export const messageIdSchema = Type.String({ minLength: 1, maxLength: MAX_KEY_LENGTH, description: 'idempotency key' });
export const policySchema = Type.Union(
  [Type.Literal('all'), Type.Literal('latest'), Type.Literal('conflate'), Type.Literal('ack')],
  { description: 'delivery policy' },
);
/** Unix time, ms. */
export const timeSchema = Type.Number({ minimum: 0, description: 'unix time in ms' });
export const brokerStateSchema = Type.Union([Type.Literal('ready'), Type.Literal('degraded')]);
export const publisherSchema = Type.Object(
  { user: Type.Optional(Type.String()), connection: Type.String() },
  { description: 'who published; set by the server only' },
);
