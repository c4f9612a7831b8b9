// Who managed what, from where, with which result: one log line per call of the server API that needs the scope `manage`, refused ones too.
import type { HttpAnswer, RequestHead } from '../transports/http.ts';

/** The part of a logger that is needed; its level does not depend on the node's. */
export interface AuditSink {
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
}

/** Notes the answer to a call and passes it on. */
export type Note = (answer: HttpAnswer, keyName?: string, body?: Buffer) => HttpAnswer;

export interface AuditLog {
  /** Of one call. */
  of(route: { readonly method: string; readonly path: string }, head: RequestHead, address: string): Note;
  /** An address ran out of attempts to present a known key. */
  limited(address: string): void;
}

/** Characters of a body or query that are logged. */
const MAX_LOGGED = 1000;

const shortened = (text: string): string | undefined => (text === '' ? undefined : text.slice(0, MAX_LOGGED));

export const createAuditLog = (sink: AuditSink): AuditLog => ({
  of:
    ({ method }, head, address) =>
    (answer, keyName, body) => {
      const fields = {
        event: 'audit',
        // Absent: no known key was presented.
        key: keyName,
        address,
        call: `${method.toUpperCase()} ${head.path.slice(0, MAX_LOGGED)}`,
        query: shortened(head.query.toString()),
        body: shortened(body?.toString('utf8', 0, MAX_LOGGED) ?? ''),
        status: answer.status,
        result: shortened(answer.body.toString('utf8')),
      };
      sink.info(fields, 'managed');
      return answer;
    },
  limited: (address) =>
    sink.warn({ event: 'api_keys_limited', address }, 'an address presented too many unknown API keys'),
});
