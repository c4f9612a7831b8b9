// Checks of what people type, with messages that tell how to put it right.
import { CHANNEL_PATTERN } from '../../protocol/channel-name.ts';
import { MAX_CHANNEL_LENGTH, MAX_KEY_LENGTH } from '../../protocol/limits.ts';

export type Checked<T> =
  | { readonly kind: 'valid'; readonly value: T }
  | { readonly kind: 'invalid'; readonly message: string };

const valid = <T>(value: T): Checked<T> => ({ kind: 'valid', value });
const invalid = (message: string): { kind: 'invalid'; message: string } => ({ kind: 'invalid', message });

const CHANNEL = new RegExp(CHANNEL_PATTERN);

/** Space around the name is not part of it. */
export const checkChannel = (text: string): Checked<string> => {
  const channel = text.trim();
  if (channel === '') return invalid('Enter a channel name, as in news or chat:lobby.');
  if (CHANNEL.test(channel)) return valid(channel);
  const wrong = Array.from(channel).find((character) => !CHANNEL.test(character));
  if (wrong === undefined) {
    return invalid(`A channel name has at most ${MAX_CHANNEL_LENGTH} characters; this one has ${channel.length}.`);
  }
  const shown = wrong === ' ' ? 'A space' : `“${wrong}”`;
  return invalid(`${shown} cannot be in a channel name. Allowed are letters, digits and _ - = @ , . ; / :`);
};

/** `undefined` when the field is empty: the publication then has no key. */
export const checkKey = (text: string): Checked<string | undefined> => {
  if (text === '') return valid(undefined);
  if (text.length <= MAX_KEY_LENGTH) return valid(text);
  return invalid(`A key has at most ${MAX_KEY_LENGTH} characters; this one has ${text.length}.`);
};

export const checkJson = (text: string): Checked<unknown> => {
  if (text.trim() === '') return invalid('Enter a JSON value, as in {"text": "hello"}.');
  try {
    return valid<unknown>(JSON.parse(text));
  } catch (error) {
    const hint = /^\s*[[{"\d-]/.test(text) ? '' : ' Text needs double quotes, as in "hello".';
    return invalid(`Not valid JSON: ${(error as Error).message}.${hint}`);
  }
};
