// Lays out a JSON value for reading: on one line where it fits, indented where not, cut where it is too long.

export interface JsonToken {
  readonly kind: 'key' | 'string' | 'number' | 'literal' | 'plain';
  readonly text: string;
}

export interface JsonText {
  readonly tokens: readonly JsonToken[];
  /** Whether the end is missing. */
  readonly cut: boolean;
}

export interface JsonTextOptions {
  /** Characters of a line that make a list or object spread over several. */
  readonly lineWidth: number;
  readonly maxCharacters: number;
}

const INDENT = '  ';

const kindOf = (value: unknown): JsonToken['kind'] => {
  switch (typeof value) {
    case 'string':
      return 'string';
    case 'number':
      return 'number';
    default:
      return 'literal';
  }
};

/** `value` comes from JSON.parse. */
export const layOutJson = (value: unknown, { lineWidth, maxCharacters }: JsonTextOptions): JsonText => {
  const tokens: JsonToken[] = [];
  let left = maxCharacters;
  let cut = false;
  let plain = '';

  const flush = (): void => {
    if (plain !== '') tokens.push({ kind: 'plain', text: plain });
    plain = '';
  };
  const put = (kind: JsonToken['kind'], text: string): void => {
    const shown = text.slice(0, left);
    if (shown.length < text.length) cut = true;
    left -= shown.length;
    if (kind === 'plain') {
      plain += shown;
      return;
    }
    flush();
    if (shown !== '') tokens.push({ kind, text: shown });
  };

  const putAll = (entries: readonly [string | undefined, unknown][], open: string, close: string, line: Line): void => {
    const { oneLine, indent } = line;
    const inner = oneLine ? indent : indent + INDENT;
    const pad = open === '{' ? ' ' : '';
    put('plain', open + (oneLine ? pad : `\n${inner}`));
    for (const [index, [key, item]] of entries.entries()) {
      // A list of a million items must not be walked to its end.
      if (cut) return;
      if (index > 0) put('plain', oneLine ? ', ' : `,\n${inner}`);
      if (key !== undefined) {
        put('key', JSON.stringify(key));
        put('plain', ': ');
      }
      putValue(item, { oneLine, indent: inner });
    }
    put('plain', oneLine ? pad + close : `\n${indent}${close}`);
  };

  const putValue = (item: unknown, { oneLine, indent }: Line): void => {
    const text = JSON.stringify(item);
    if (typeof item !== 'object' || item === null) {
      put(kindOf(item), text);
      return;
    }
    const line = { oneLine: oneLine || text.length + indent.length <= lineWidth, indent };
    if (Array.isArray(item)) {
      const entries = item.map((one: unknown): [undefined, unknown] => [undefined, one]);
      if (entries.length === 0) put('plain', '[]');
      else putAll(entries, '[', ']', line);
    } else {
      const entries = Object.entries(item);
      if (entries.length === 0) put('plain', '{}');
      else putAll(entries, '{', '}', line);
    }
  };

  putValue(value, { oneLine: false, indent: '' });
  flush();
  return { tokens, cut };
};

interface Line {
  readonly oneLine: boolean;
  readonly indent: string;
}
