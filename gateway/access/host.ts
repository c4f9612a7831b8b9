// Which host names a node answers for: against pages that point a name of their own at this machine (DNS rebinding).
import { hostTest } from './origin.ts';

/** Longer headers are refused unread: a host name has at most 253 characters. */
const MAX_HOST_LENGTH = 300;

const shape = /^(\[[0-9a-f:.]+\]|[a-z0-9_.*-]+?)\.?$/;
const shapeWithPort = /^(\[[0-9a-f:.]+\]|[a-z0-9_.-]+?)\.?(?::\d{1,5})?$/;

/** Whether a text is a pattern: `*` alone, or a host name or address with `*` inside labels, without port. */
export const isHostPattern = (pattern: string): boolean =>
  pattern.length <= MAX_HOST_LENGTH && shape.test(pattern.toLowerCase());

/** What a development node answers for: the names of this machine, on any port. */
export const DEVELOPMENT_HOSTS: readonly string[] = ['localhost', '127.0.0.1', '[::1]'];

/**
 * Compiles the names a node answers for into a test of the `Host` header; undefined when it answers for every name. The
 * port does not matter: a page that rebinds a name cannot choose another meaning by it, and forwarded ports differ.
 */
export const createHostCheck = (patterns: readonly string[]): ((host: string) => boolean) | undefined => {
  if (patterns.includes('*')) return undefined;
  const tests = patterns.filter(isHostPattern).map((pattern) => hostTest(shape.exec(pattern.toLowerCase())![1]!));
  return (header) => {
    if (header.length > MAX_HOST_LENGTH) return false;
    const host = shapeWithPort.exec(header.toLowerCase())?.[1];
    return host !== undefined && tests.some((test) => test(host));
  };
};
