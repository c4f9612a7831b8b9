// A page of history as JSON whose messages are spliced from the log: stored bodies are never parsed to be answered.
import type { Publication } from '../../broker/publication.ts';

/** What a channel's log answered to a question for its history. */
export interface StoredHistory {
  readonly channel: string;
  readonly epoch: string;
  /** Head of the channel at the moment of the read. */
  readonly offset: number;
  readonly publications: readonly Publication[];
  /** Whether a further page exists in the asked direction. */
  readonly more: boolean;
}

const COMMA = Buffer.from(',');

/** `{…head,"channel":…,"epoch":…,"offset":…,"messages":[…],"more":…}`, UTF-8. Fields of `head` that are undefined are left out. */
export const writeHistoryPage = (head: Readonly<Record<string, unknown>>, page: StoredHistory): Buffer => {
  const { channel, epoch, offset, publications, more } = page;
  const opening = JSON.stringify({ ...head, channel, epoch, offset }).slice(0, -1);
  const parts: Buffer[] = [Buffer.from(`${opening},"messages":[`)];
  for (const [index, publication] of publications.entries()) {
    if (index > 0) parts.push(COMMA);
    // The body is a JSON object of its own: without its opening brace it continues ours.
    parts.push(Buffer.from(`{"offset":${publication.offset},`), publication.body.subarray(1));
  }
  parts.push(Buffer.from(`],"more":${more}}`));
  return Buffer.concat(parts);
};
