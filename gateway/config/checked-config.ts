// The configuration of a node after every check: typed, complete, immutable.
import type { ConfigValues } from './keys.ts';
import type { NamespaceConfig } from './namespaces.ts';

export interface Config extends ConfigValues {
  /** Configured namespaces by name; always contains `default`. */
  readonly namespaces: ReadonlyMap<string, NamespaceConfig>;
}
