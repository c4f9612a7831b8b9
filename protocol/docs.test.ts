// Drift test: docs/protocol.md and docs/errors.md name what the schemas and code tables have, and nothing else.
import { readFile } from 'node:fs/promises';
import { Kind, OptionalKind, type TSchema } from '@sinclair/typebox';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { closeCodes, errorCodes, mayReconnect } from './codes.ts';
import { commandSchemas } from './commands.ts';
import { protocolJsonSchema } from './json-schema.ts';
import { operations } from './openapi-paths.ts';
import { pushSchemas } from './pushes.ts';
import { replySchemas } from './replies.ts';

const readDoc = (name: string): Promise<string> => readFile(new URL(`../docs/${name}`, import.meta.url), 'utf8');
const protocolDoc = await readDoc('protocol.md');
const errorsDoc = await readDoc('errors.md');

/** Text from a heading up to the next one of the same or a higher level. */
const section = (text: string, heading: string): string => {
  const start = text.indexOf(`\n${heading}\n`);
  if (start < 0) throw new Error(`expected a heading "${heading}"`);
  const level = heading.indexOf(' ');
  const body = text.slice(start + heading.length + 2);
  const end = body.search(new RegExp(`^#{1,${level}} `, 'm'));
  return end < 0 ? body : body.slice(0, end);
};

/** Cells of the body rows of every table. */
const rowsOf = (text: string): string[][] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('| ') && !/^[|\s:-]+$/.test(line))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim().replaceAll('`', '')),
    );

const codeRows = (text: string): string[][] => rowsOf(text).filter(([first]) => /^\d{3,4}$/.test(first ?? ''));
const yesNo = (value: boolean): string => (value ? 'yes' : 'no');

const errorRows = Object.values(errorCodes).map(({ code, name, temporary, httpStatus, meaning }) => [
  `${code}`,
  name,
  yesNo(temporary),
  `${httpStatus}`,
  meaning,
]);
const closeRows = Object.values(closeCodes).map(({ code, name, meaning }) => [
  `${code}`,
  name,
  yesNo(mayReconnect(code)),
  meaning,
]);

describe('codes', () => {
  it('in errors.md are the error codes with their meanings', () => {
    const rows = codeRows(section(errorsDoc, '## Error codes'));
    expect(rows.map((row) => row.slice(0, 5))).toEqual(errorRows);
    for (const row of rows) expect(row[5]).not.toBe('');
  });

  it('in errors.md are the close codes with their meanings', () => {
    const rows = codeRows(section(errorsDoc, '## Close codes'));
    expect(rows.map((row) => row.slice(0, 4))).toEqual(closeRows);
    for (const row of rows) expect(row[4]).not.toBe('');
  });

  it('in protocol.md are the error codes', () => {
    expect(codeRows(section(protocolDoc, '### Error codes'))).toEqual(errorRows.map((row) => row.slice(0, 4)));
  });

  it('in protocol.md are the close codes', () => {
    expect(codeRows(section(protocolDoc, '### Close codes'))).toEqual(closeRows.map((row) => row.slice(0, 3)));
  });
});

/** Fields below a schema with whether they are required: `limits`, `limits.maxFrameBytes`, `messages[].offset`. */
const fieldsOf = (schema: TSchema, prefix = ''): (readonly [path: string, required: string])[] => {
  if (schema[Kind] === 'Array') return fieldsOf(schema['items'] as TSchema, prefix.replace(/\.$/, '[].'));
  if (schema[Kind] !== 'Object') return [];
  return Object.entries(schema['properties'] as Record<string, TSchema>).flatMap(([name, property]) => {
    const path = prefix + name;
    if (path === 'type' || path === 'id') return [];
    return [[path, yesNo(property[OptionalKind] !== 'Optional')] as const, ...fieldsOf(property, `${path}.`)];
  });
};

const families: [string, Readonly<Record<string, TSchema>>, string][] = [
  ['## 5. Commands', commandSchemas, 'Command'],
  ['## 6. Replies', replySchemas, 'Reply'],
  ['## 7. Pushes', pushSchemas, 'Push'],
];

const examples = [...protocolDoc.matchAll(/^```json *(\S*)\n([\s\S]*?)^```/gm)].map(
  (match) => [match[1] ?? '', match[2] ?? ''] as const,
);

describe.each(families)('%s', (heading, schemas, family) => {
  const text = section(protocolDoc, heading);

  it('has one heading per type', () => {
    const headings = [...text.matchAll(/^### `(.+)`$/gm)].map((match) => match[1]);
    expect(headings).toEqual(Object.keys(schemas));
  });

  it.each(Object.entries(schemas))('lists every field of %s, required or not', (type, schema) => {
    const rows = rowsOf(section(text, `### \`${type}\``)).filter(([first]) => first !== 'field');
    expect(rows.map(([path, , required]) => [path, required])).toEqual(fieldsOf(schema));
    for (const row of rows) expect(row[3]).not.toBe('');
  });

  it.each(Object.keys(schemas))('has an example of %s', (type) => {
    const name = type.charAt(0).toUpperCase() + type.slice(1) + family;
    expect(section(text, `### \`${type}\``)).toContain(`\`\`\`json ${name}\n{`);
  });
});

describe('the HTTP API', () => {
  const text = section(protocolDoc, '## 9. HTTP API');

  it('has one heading per call of the OpenAPI document', () => {
    const headings = [...text.matchAll(/^### `(.+)`$/gm)].map((match) => match[1] ?? '');
    const calls = Object.entries(operations).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(headings.toSorted()).toEqual(calls.toSorted());
  });

  const calls = Object.entries(operations).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => [`${method.toUpperCase()} ${path}`, operation] as const),
  );

  it.each(calls)('says for %s which scope it needs and whether it is available', (call, operation) => {
    const body = section(text, `### \`${call}\``);
    const isLater = JSON.stringify(operation.responses).includes('#/components/responses/NotAvailable');
    expect(/[*_]Not available yet\.[*_]/.test(body)).toBe(isLater);
    if (operation.scope !== 'none') expect(body).toMatch(new RegExp(`[Ss]cope \`${operation.scope}\``));
  });

  it.each(calls)('names every query parameter of %s', (call, { parameters = [] }) => {
    const body = section(text, `### \`${call}\``);
    for (const parameter of parameters) {
      if (parameter['in'] === 'query') expect(body).toContain(`\`${String(parameter['name'])}\``);
    }
  });

  it('names every field of every body', () => {
    const { $defs } = protocolJsonSchema() as { $defs: Record<string, { properties?: Record<string, unknown> }> };
    const isMessage = (name: string): boolean => /(Command|Reply|Push|Frame|Position|Since)$/.test(name);
    const bodies = Object.entries($defs).filter(([name]) => !isMessage(name) || name === 'BatchCommand');
    expect(bodies.length).toBeGreaterThan(20);
    const names = bodies.flatMap(([, { properties = {} }]) => Object.keys(properties));
    expect(names.filter((name) => !text.includes(`\`${name}\``) && !text.includes(`"${name}"`))).toEqual([]);
  });
});

describe('examples in protocol.md', () => {
  const ajv = new Ajv2020({ strict: true, strictRequired: false });
  ajv.addSchema(protocolJsonSchema());

  it('are many', () => {
    expect(examples.length).toBeGreaterThan(35);
  });

  it.each(examples)('of %s are valid: %s', (name, text) => {
    const validate = ajv.getSchema(`urn:weir:protocol:v1#/$defs/${name}`);
    expect(validate, `a schema named ${name}`).toBeDefined();
    expect({ valid: validate!(JSON.parse(text)), errors: validate!.errors }).toEqual({ valid: true, errors: null });
  });
});
