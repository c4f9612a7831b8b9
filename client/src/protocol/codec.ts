// Frames: one JSON object or an array of them, in both directions.
import { malformedFrame } from '../errors.ts';
import type { Commands, CommandType, Push, Reply } from './wire.ts';

const textEncoder = new TextEncoder();
export const byteLength = (text: string): number => textEncoder.encode(text).length;

/** Fields of a command as a JSON object. Encoded apart from `type` and `id`, so that a retry costs no second encoding. */
export const encodeFields = (fields: Commands[CommandType]): string => JSON.stringify(fields);

export const encodeCommand = (type: CommandType, fields: string, id?: number): string =>
  `{"type":"${type}"${id === undefined ? '' : `,"id":${id}`}${fields === '{}' ? '' : `,${fields.slice(1, -1)}`}}`;

export const joinFrame = (commands: readonly string[]): string =>
  commands.length === 1 ? commands[0]! : `[${commands.join(',')}]`;

const isMessage = (value: unknown): value is Reply | Push =>
  typeof value === 'object' && value !== null && typeof (value as { type?: unknown }).type === 'string';

/** Messages of a frame in order. Throws WeirError `malformed_frame`. */
export const decodeFrame = (frame: string): (Reply | Push)[] => {
  let value: unknown;
  try {
    value = JSON.parse(frame);
  } catch (error) {
    throw malformedFrame(error);
  }
  const messages: unknown[] = Array.isArray(value) ? value : [value];
  if (!messages.every(isMessage)) throw malformedFrame();
  return messages;
};
