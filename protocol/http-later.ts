// Bodies, queries and answers of the HTTP API calls that answer 108 `not_available` until their work arrives (protocol §7).
import { type Static, Type } from '@sinclair/typebox';
import { replySchemas } from './replies.ts';

const { channel, members, total } = replySchemas.presence.properties;
export const presenceAnswerSchema = Type.Object({ channel, members, total }, { $id: 'http.presenceAnswer' });
export type PresenceAnswer = Static<typeof presenceAnswerSchema>;
