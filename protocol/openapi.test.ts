// Unit tests of the OpenAPI document: valid as such, closed under $ref, true in its examples.
import { readFile } from 'node:fs/promises';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { openApiDocument } from './openapi.ts';

const document = JSON.parse(JSON.stringify(openApiDocument())) as Record<string, unknown>;
const ajv = new Ajv2020({ strict: false });
ajv.addSchema(document, 'urn:weir:openapi');

type Node = Record<string, unknown>;
interface Found {
  readonly pointer: string;
  readonly node: Node;
}

const escape = (segment: string): string => segment.replaceAll('~', '~0').replaceAll('/', '~1');

const nodesOf = (value: unknown, pointer = '#'): Found[] => {
  if (typeof value !== 'object' || value === null) return [];
  const children = Object.entries(value).flatMap(([key, child]) => nodesOf(child, `${pointer}/${escape(key)}`));
  return [{ pointer, node: value as Node }, ...children];
};

const resolve = (ref: string): unknown =>
  ref
    .slice(2)
    .split('/')
    .map((segment) => segment.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce<unknown>((value, segment) => (value as Node | undefined)?.[segment], document);

const all = nodesOf(document);
const examples = all.flatMap(({ pointer, node }) => {
  if (node['schema'] === undefined || node['examples'] === undefined) return [];
  return Object.entries(node['examples'] as Record<string, { value: unknown }>).map(
    ([name, { value }]) => [`${pointer} ${name}`, `${pointer}/schema`, value] as const,
  );
});
interface OpenApiOperation {
  readonly security?: readonly Node[];
  readonly responses: Readonly<Record<string, Node>>;
}
const operations = Object.entries(document['paths'] as Record<string, Record<string, OpenApiOperation>>).flatMap(
  ([path, methods]) => Object.entries(methods).map(([method, operation]) => [`${method} ${path}`, operation] as const),
);

describe('the OpenAPI document', () => {
  it('is valid OpenAPI 3.1', async () => {
    expect(await new Validator().validate(structuredClone(document))).toEqual({ valid: true });
  });

  it('resolves every $ref inside itself', () => {
    const refs = all.map(({ node }) => node['$ref']).filter((ref) => typeof ref === 'string');
    expect(refs.length).toBeGreaterThan(50);
    expect(refs.filter((ref) => !ref.startsWith('#/') || resolve(ref) === undefined)).toEqual([]);
  });

  it('uses every component it defines', () => {
    const refs = new Set(all.map(({ node }) => node['$ref']));
    const { schemas, responses } = document['components'] as { schemas: Node; responses: Node };
    const defined = [
      ...Object.keys(schemas).map((name) => `#/components/schemas/${name}`),
      ...Object.keys(responses).map((name) => `#/components/responses/${name}`),
    ];
    expect(defined.filter((ref) => !refs.has(ref))).toEqual([]);
  });

  it('names each operation once', () => {
    const ids = all.map(({ node }) => node['operationId']).filter((id) => id !== undefined);
    expect(new Set(ids).size).toBe(operations.length);
    expect(ids.length).toBe(operations.length);
  });

  it.each(operations)('says what %s answers without a key', (_name, { security, responses }) => {
    const isOpen = security?.length === 0;
    expect('401' in responses).toBe(!isOpen);
    expect('403' in responses || isOpen).toBe(true);
  });

  it.each(examples)('has an example that is valid at %s', (_name, schemaPointer, value) => {
    const validate = ajv.compile({ $ref: `urn:weir:openapi${encodeURI(schemaPointer)}` });
    expect({ valid: validate(value), errors: validate.errors }).toEqual({ valid: true, errors: null });
  });

  it('is the committed docs/openapi.json (else run protocol/generate.ts)', async () => {
    const committed = await readFile(new URL('../docs/openapi.json', import.meta.url), 'utf8');
    expect(JSON.parse(committed)).toEqual(document);
  });
});
