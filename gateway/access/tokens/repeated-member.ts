// Whether JSON text names a member of an object twice, which parsers resolve in different ways and hide from their callers.

const lexeme = /"(?:[^"\\]|\\.)*"|[{}[\]]/gs;
const followedByColon = /[ \t\r\n]*:/y;

/** `json` must be valid JSON text. */
export const repeatedMember = (json: string): boolean => {
  /** Names seen in each open object; undefined for an open array. */
  const open: (Set<string> | undefined)[] = [];
  lexeme.lastIndex = 0;
  for (let match = lexeme.exec(json); match !== null; match = lexeme.exec(json)) {
    const [text] = match;
    if (text === '{') open.push(new Set());
    else if (text === '[') open.push(undefined);
    else if (text === '}' || text === ']') open.pop();
    else {
      followedByColon.lastIndex = lexeme.lastIndex;
      if (!followedByColon.test(json)) continue;
      const name = text.includes('\\') ? (JSON.parse(text) as string) : text.slice(1, -1);
      const names = open.at(-1)!;
      if (names.has(name)) return true;
      names.add(name);
    }
  }
  return false;
};
