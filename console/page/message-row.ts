// One row of the stream: a message or a gap receipt.
import type { Gap, Message } from '../../client/src/index.ts';
import { formatDuration, formatTimeOfDay } from '../model/format.ts';
import { gapText } from '../model/gap-text.ts';
import { layOutJson } from '../model/json-text.ts';
import type { Delay } from '../model/latency.ts';
import { element } from './dom.ts';

export type StreamEntry =
  | {
      readonly kind: 'message';
      readonly message: Message;
      readonly delay: Delay;
      /** Published by this page's own connection. */
      readonly own: boolean;
    }
  | { readonly kind: 'gap'; readonly gap: Gap; readonly receivedAtMs: number };

export const channelOf = (entry: StreamEntry): string =>
  entry.kind === 'message' ? entry.message.channel : entry.gap.channel;

const LAYOUT = { lineWidth: 62, maxCharacters: 4000 } as const;

const jsonBlock = (data: unknown): HTMLElement => {
  const { tokens, cut } = layOutJson(data, LAYOUT);
  const block = element('pre', 'data');
  for (const { kind, text } of tokens) {
    block.append(kind === 'plain' ? text : element('span', `json-${kind}`, text));
  }
  if (cut) {
    const length = JSON.stringify(data).length;
    block.append(element('span', 'cut', `… cut; the value has ${length.toLocaleString('en')} characters`));
  }
  return block;
};

const delayCell = ({ kind, ms }: Delay): HTMLElement => {
  const text = formatDuration(ms);
  const cell = element('span', `latency ${kind}`, kind === 'live' ? text : `${text} ago`);
  cell.title =
    kind === 'live'
      ? 'From the server taking the publication to this page receiving it'
      : 'Older than the subscription: replayed from history';
  return cell;
};

const timeCell = (unixMs: number): HTMLElement => {
  const cell = element('time', 'time', formatTimeOfDay(unixMs));
  cell.dateTime = new Date(unixMs).toISOString();
  return cell;
};

const messageRow = ({ message, delay, own }: Extract<StreamEntry, { kind: 'message' }>): HTMLLIElement => {
  const { channel, offset, key, data, publisher, time } = message;
  const row = element(
    'li',
    'row message',
    timeCell(time),
    element('span', 'channel-name', channel),
    element('span', 'offset', offset === undefined ? 'ephemeral' : `#${offset}`),
    delayCell(delay),
  );
  const tags = element('span', 'tags');
  if (key !== undefined) tags.append(element('span', 'tag', `key ${key}`));
  if (own) tags.append(element('span', 'tag', 'from this page'));
  else if (publisher) tags.append(element('span', 'tag', `by ${publisher.user ?? publisher.connection}`));
  if (tags.hasChildNodes()) row.append(tags);
  row.append(jsonBlock(data));
  return row;
};

const gapRow = ({ gap, receivedAtMs }: Extract<StreamEntry, { kind: 'gap' }>): HTMLLIElement =>
  element(
    'li',
    'row gap',
    timeCell(receivedAtMs),
    element('span', 'channel-name', gap.channel),
    element('strong', 'offset', 'Gap'),
    element('span', 'gap-text', gapText(gap)),
  );

export const createRow = (entry: StreamEntry): HTMLLIElement => {
  const row = entry.kind === 'message' ? messageRow(entry) : gapRow(entry);
  row.dataset['channel'] = channelOf(entry);
  if (entry.kind === 'message' && entry.message.offset !== undefined) {
    row.dataset['offset'] = String(entry.message.offset);
  }
  return row;
};
