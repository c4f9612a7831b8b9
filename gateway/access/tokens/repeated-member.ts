// Whether JSON text names a member of an object twice, which parsers resolve in different ways and hide from their callers.

const QUOTE = 0x22;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
/** The largest code of white space in JSON. */
const SPACE = 0x20;

/** Index of the quote that ends the string which begins at `start`. */
const endOfString = (json: string, start: number): number => {
  let at = start + 1;
  while (at < json.length && json.charCodeAt(at) !== QUOTE) at += json.charCodeAt(at) === BACKSLASH ? 2 : 1;
  return at;
};

/** `json` must be valid JSON text. */
export const repeatedMember = (json: string): boolean => {
  /** Names seen in each open object; undefined for an open array. */
  const open: (Set<string> | undefined)[] = [];
  for (let at = 0; at < json.length; at++) {
    const code = json.charCodeAt(at);
    if (code === OPEN_OBJECT) open.push(new Set());
    else if (code === OPEN_ARRAY) open.push(undefined);
    else if (code === CLOSE_OBJECT || code === CLOSE_ARRAY) open.pop();
    else if (code === QUOTE) {
      const start = at;
      at = endOfString(json, start);
      let next = at + 1;
      while (json.charCodeAt(next) <= SPACE) next++;
      if (json.charCodeAt(next) !== COLON) continue;
      const text = json.slice(start + 1, at);
      const name = text.includes('\\') ? (JSON.parse(json.slice(start, at + 1)) as string) : text;
      const names = open.at(-1)!;
      if (names.has(name)) return true;
      names.add(name);
    }
  }
  return false;
};
