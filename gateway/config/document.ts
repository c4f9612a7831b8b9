// The reference tables of docs/configuration.md, made from the keys themselves.
import { formatRate, type Rate } from '../access/limits/rate.ts';
import type { Default, KeySpec } from './key-spec.ts';
import { secretFileVariable } from './environment.ts';
import { configKeys } from './keys.ts';
import { namespaceKeys } from './namespaces.ts';
import { envNameOf, wordsOf } from './words.ts';

const unitOf: Readonly<Partial<Record<KeySpec['form'], string>>> = {
  duration: 'ms',
  bytes: 'bytes',
  rate: 'count/time',
  'byte-rate': 'bytes/time',
};

const showValue = (value: unknown): string => {
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.map(showValue).join(', ');
  if (typeof value === 'object' && value !== null) return `\`${formatRate(value as Rate)}\``;
  return `\`${String(value)}\``;
};

const showDefault = (given: Default<unknown>): string => {
  switch (given.kind) {
    case 'value':
      return showValue(given.value);
    case 'profile':
      return `${showValue(given.production)}; development: ${showValue(given.development)}`;
    case 'computed':
    case 'none':
      return given.text;
  }
};

/** What may be written; the unit has a column of its own. */
const showType = ({ form, expected, schema }: KeySpec): string => {
  switch (form) {
    case 'integer':
    case 'duration':
    case 'bytes':
      return `${form === 'bytes' ? 'size' : form} ${String(schema['minimum'])}–${String(schema['maximum'])}`;
    case 'boolean':
      return 'boolean';
    case 'list':
      return expected.startsWith('a list') ? expected : `list of ${expected}`;
    case 'choice':
    case 'rate':
    case 'byte-rate':
    case 'text':
    case 'api-keys':
      return expected;
  }
};

/** Padded as the formatter of the repository pads, so that formatting the document changes nothing. */
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string => {
  const lines = [head, ...rows].map((cells) => cells.map((cell) => cell.replaceAll('|', '\\|')));
  const widths = head.map((_, column) => Math.max(3, ...lines.map((cells) => cells[column]!.length)));
  const [first, ...others] = lines.map(
    (cells) => `| ${cells.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`,
  );
  return [first, `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`, ...others].join('\n');
};

/** Words with marks that Markdown would read become code. */
const asCode = (text: string): string => text.replace(/[^\s,]*[*_<[/:][^\s,]*(?:,[^\s,]+)*/g, '`$&`');

const keyTable = (): string =>
  table(
    ['key', 'environment', 'type', 'default', 'unit', 'meaning'],
    Object.entries<KeySpec>(configKeys).map(([key, spec]) => [
      `\`${key}\``,
      `\`${envNameOf(key)}\``,
      asCode(showType(spec)),
      showDefault(spec.default),
      unitOf[spec.form] ?? '–',
      spec.secret === 'no'
        ? spec.description
        : `${spec.description} Secret; \`${secretFileVariable(key)}\` may name a file that holds it.`,
    ]),
  );

const namespaceTable = (): string =>
  table(
    ['key', 'type', 'default', 'unit', 'meaning'],
    Object.entries<KeySpec>(namespaceKeys).map(([key, spec]) => [
      // `history: {size, ttl}` is how the protocol writes the bounds.
      key === 'historySize' || key === 'historyTtl' ? `\`${wordsOf(key).join('.')}\`` : `\`${key}\``,
      asCode(showType(spec)),
      showDefault(spec.default),
      unitOf[spec.form] ?? '–',
      spec.description,
    ]),
  );

const sections: Readonly<Record<string, () => string>> = { keys: keyTable, namespaces: namespaceTable };

/** Replaces what stands between `<!-- generated: x -->` and `<!-- end: x -->` with the table `x`. */
export const insertTables = (markdown: string): string =>
  Object.entries(sections).reduce((text, [name, render]) => {
    const [open, close] = [`<!-- generated: ${name} -->`, `<!-- end: ${name} -->`];
    const start = text.indexOf(open);
    const end = text.indexOf(close);
    if (start < 0 || end < start)
      throw new Error(`the document has no place for the table ${name}: ${open} … ${close}`);
    return `${text.slice(0, start)}${open}\n\n${render()}\n\n${text.slice(end)}`;
  }, markdown);
