// Finds the property names nobody outside the bundle can know, which a minifier may therefore shorten.
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const typescriptLib = join(dirname(fileURLToPath(import.meta.resolve('typescript'))));
const withoutComments = (code) => code.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
const identifiers = (code) => withoutComments(code).match(/[A-Za-z_$][\w$]*/g) ?? [];
const MEMBER = /(?:^|[\s;{,])([A-Za-z_$][\w$]*)\??\s*[:(<]/g;

/** Members of whatever the language and the browser offer. */
const platformNames = async () => {
  const files = (await readdir(typescriptLib)).filter((file) => /^lib\.(es|dom).*\.d\.ts$/.test(file));
  const sources = await Promise.all(files.map((file) => readFile(join(typescriptLib, file), 'utf8')));
  return sources.flatMap((source) => [...withoutComments(source).matchAll(MEMBER)].map(([, name]) => name));
};

/**
 * A pattern of the names in `code` that are neither in the published types, nor in the messages of the wire, nor members of the
 * platform. Whatever an application, the server or the engine reads by name is in one of the three.
 */
export const internalNames = async (code, publishedTypes, wireTypes) => {
  const known = new Set([...identifiers(publishedTypes), ...identifiers(wireTypes), ...(await platformNames())]);
  const names = new Set(identifiers(code).filter((name) => !known.has(name)));
  return new RegExp(`^(${[...names].join('|').replaceAll('$', '\\$')})$`);
};
