// `ping`: the application-level heartbeat.
import type { ReplyOf } from '../../../protocol/replies.ts';

export const handlePing = (): ReplyOf<'pong'> => ({ type: 'pong' });
