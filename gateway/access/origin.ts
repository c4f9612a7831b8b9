// Which browser pages may open connections: an allow-list over the `Origin` header (RFC 6455 §10.2, RFC 6454).

/** Longer origins are refused unread: a host name has at most 253 characters. */
const MAX_ORIGIN_LENGTH = 300;

interface Origin {
  readonly scheme: string;
  readonly host: string;
  /** Always a number in text: the default of the scheme when the header names none; empty for schemes without one. */
  readonly port: string;
}

const shape = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(\[[0-9a-f:.]+\]|[a-z0-9_.*-]+)(?::(\d{1,5}|\*))?$/;
const defaultPorts: Readonly<Record<string, string>> = { http: '80', https: '443', ws: '80', wss: '443' };
const defaultPortOf = (scheme: string): string => defaultPorts[scheme] ?? '';

const parseOrigin = (header: string): Origin | undefined => {
  if (header.length > MAX_ORIGIN_LENGTH) return undefined;
  const [, scheme, host, port] = shape.exec(header.toLowerCase()) ?? [];
  if (scheme === undefined || host === undefined || host.includes('*') || port === '*') return undefined;
  return { scheme, host, port: port ?? defaultPortOf(scheme) };
};

/**
 * One label against one pattern, in linear time: a regular expression with several wildcards backtracks for minutes
 * on a hostile header. A `*` alone needs at least one character.
 */
const labelTest = (pattern: string): ((label: string) => boolean) => {
  if (pattern === '*') return (label) => label !== '';
  const [head = '', ...others] = pattern.split('*');
  const tail = others.pop();
  if (tail === undefined) return (label) => label === head;
  return (label) => {
    if (label.length < head.length + tail.length || !label.startsWith(head) || !label.endsWith(tail)) return false;
    const end = label.length - tail.length;
    let from = head.length;
    for (const part of others) {
      const found = label.indexOf(part, from);
      if (found < 0 || found + part.length > end) return false;
      from = found + part.length;
    }
    return true;
  };
};

/** A host name, lower-case, against one with `*` inside labels. */
export const hostTest = (pattern: string): ((host: string) => boolean) => {
  const tests = pattern.split('.').map(labelTest);
  return (host) => {
    const labels = host.split('.');
    return labels.length === tests.length && tests.every((test, index) => test(labels[index]!));
  };
};

type OriginTest = (origin: Origin) => boolean;

const compile = (pattern: string): OriginTest | undefined => {
  if (pattern.length > MAX_ORIGIN_LENGTH) return undefined;
  const [, scheme, host, port] = shape.exec(pattern.toLowerCase()) ?? [];
  if (host === undefined) return undefined;
  const matches = hostTest(host);
  return (origin) =>
    (scheme === undefined ? origin.scheme === 'http' || origin.scheme === 'https' : origin.scheme === scheme) &&
    (port === '*' || origin.port === (port ?? defaultPortOf(origin.scheme))) &&
    matches(origin.host);
};

/** Whether a text is a pattern: `*` alone, or `[scheme://]host[:port]` with `*` inside labels or as the port. */
export const isOriginPattern = (pattern: string): boolean => pattern === '*' || compile(pattern) !== undefined;

/**
 * Whether a pattern lets the pages of unrelated sites in: `*`, a host of wildcards only, or wildcards right below a top-level
 * name, where anybody can have a name.
 */
export const coversAnySite = (pattern: string): boolean => {
  const host = shape.exec(pattern.toLowerCase())?.[2] ?? '';
  return pattern === '*' || /^(?:\*+\.)*(?:\*+|\*+\.[^.*]+)$/.test(host);
};

/** What a development node accepts: pages of this machine, on any port. */
export const DEVELOPMENT_ORIGINS: readonly string[] = ['localhost:*', '127.0.0.1:*', '[::1]:*'];

export type OriginDecision = 'allowed' | 'refused';

/**
 * Compiles an allow-list. A request without `Origin` does not come from a browser and is allowed; one with `Origin`
 * needs a matching pattern, so an empty list refuses every browser. A pattern without scheme means http and https, one
 * without port means the scheme's default port. `*` alone allows every origin, `null` included.
 */
export const createOriginCheck = (patterns: readonly string[]): ((origin: string | undefined) => OriginDecision) => {
  if (patterns.includes('*')) return () => 'allowed';
  const tests = patterns.flatMap((pattern) => compile(pattern) ?? []);
  return (header) => {
    if (header === undefined || header === '') return 'allowed';
    const origin = parseOrigin(header);
    return origin !== undefined && tests.some((test) => test(origin)) ? 'allowed' : 'refused';
  };
};
