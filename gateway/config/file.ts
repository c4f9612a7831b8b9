// The YAML file named by WEIR_CONFIG, read into raw values and raw namespaces.
import { parseDocument } from 'yaml';
import { flatten, type RawValue } from './flatten.ts';

export interface FileContent {
  readonly values: ReadonlyMap<string, RawValue>;
  /** Whatever stands under `namespaces`, unchecked. */
  readonly namespaces: unknown;
  readonly problems: readonly string[];
}

const failed = (problem: string): FileContent => ({ values: new Map(), namespaces: undefined, problems: [problem] });

const reasonOf = (error: unknown): string => {
  const [first = 'unknown error'] = (error instanceof Error ? error.message : String(error)).split('\n');
  return first;
};

/** Never throws: what cannot be read or understood is a problem. */
export const readConfigFile = (
  path: string,
  readFile: (path: string) => string,
  keys: readonly string[],
): FileContent => {
  let text: string;
  try {
    text = readFile(path);
  } catch (error) {
    return failed(`WEIR_CONFIG: cannot read "${path}": ${reasonOf(error)}`);
  }
  try {
    const document = parseDocument(text, { prettyErrors: true });
    const [error] = document.errors;
    if (error !== undefined) return failed(`${path}: not valid YAML: ${reasonOf(error)}`);
    // Maps keep keys such as __proto__ harmless.
    const content: unknown = document.toJS({ mapAsMap: true });
    if (content === null || content === undefined) return { values: new Map(), namespaces: undefined, problems: [] };
    if (!(content instanceof Map)) return failed(`${path}: expected a mapping of keys`);
    const { namespaces, ...rest } = { namespaces: content.get('namespaces') as unknown, content };
    rest.content.delete('namespaces');
    return { ...flatten(rest.content, keys, `${path}: `), namespaces };
  } catch (error) {
    return failed(`${path}: not valid YAML: ${reasonOf(error)}`);
  }
};
