// Writes docs/openapi.json and docs/weir.schema.json from the schemas.
import { writeFile } from 'node:fs/promises';
import { protocolJsonSchema } from './json-schema.ts';
import { openApiDocument } from './openapi.ts';

const artefacts = { 'openapi.json': openApiDocument(), 'weir.schema.json': protocolJsonSchema() };

for (const [name, document] of Object.entries(artefacts)) {
  await writeFile(new URL(`../docs/${name}`, import.meta.url), `${JSON.stringify(document, undefined, 2)}\n`);
}
