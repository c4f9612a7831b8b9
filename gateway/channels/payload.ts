// The payload of a publication as text: what JSON cannot carry from here to a receiver unchanged is refused.
import { Failure } from '../failure.ts';

/** Levels of arrays and objects inside `data`; far below what any JSON writer of sender, node or receiver can do. */
export const MAX_DATA_DEPTH = 1000;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Index of the quote that ends the string which begins at `start`. */
const endOfString = (text: string, start: number): number => {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let escapes = 0;
    while (text.charCodeAt(end - 1 - escapes) === BACKSLASH) escapes++;
    if (escapes % 2 === 0) return end;
  }
  return text.length;
};

/** Whether JSON text nests deeper than `limit`. Short text is not looked at: every level takes two characters. */
const isDeeperThan = (limit: number, text: string): boolean => {
  if (text.length <= 2 * limit) return false;
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case QUOTE:
        at = endOfString(text, at);
        break;
      case 0x5b: // [
      case 0x7b: // {
        if (++depth > limit) return true;
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth--;
    }
  }
  return false;
};

const holdsNonFinite = (value: unknown): boolean => {
  if (typeof value === 'number') return !Number.isFinite(value);
  return typeof value === 'object' && value !== null && Object.values(value).some(holdsNonFinite);
};

/**
 * JSON text of `data`. Throws `Failure` badRequest when it nests deeper than `MAX_DATA_DEPTH`, or holds a number such as
 * 1e400, which the parser reads as Infinity and the writer would turn into null in silence.
 */
export const payloadText = (data: unknown): string => {
  let text: string;
  try {
    text = JSON.stringify(data);
  } catch (error) {
    // The parser goes deeper than the writer: what only the first can do is the sender's error.
    if (!(error instanceof RangeError)) throw error;
    throw new Failure('badRequest', `data: expected at most ${MAX_DATA_DEPTH} levels of nesting`);
  }
  if (isDeeperThan(MAX_DATA_DEPTH, text)) {
    throw new Failure('badRequest', `data: expected at most ${MAX_DATA_DEPTH} levels of nesting`);
  }
  // Only text with a null can hide one, so the usual payload is not walked.
  if (text.includes('null') && holdsNonFinite(data)) {
    throw new Failure('badRequest', 'data: expected numbers within the range of IEEE 754 doubles');
  }
  return text;
};
