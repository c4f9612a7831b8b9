// Shows the cluster: totals, their course, and a table of the nodes.
import type { NodeStats, Stats } from '../../protocol/http.ts';
import { formatBytes, formatCount, formatDuration, formatRate } from '../model/format.ts';
import { sparklinePath } from '../model/sparkline.ts';
import { rememberApiKey, takeApiKey } from './api-key.ts';
import { byId, element, setText } from './dom.ts';
import { createStatisticsSource, type Statistics } from './statistics-source.ts';

export interface StatisticsOptions {
  readonly url: string;
  readonly isWanted: () => boolean;
  /** The node this page is connected to. */
  readonly ownNode: () => string | undefined;
}

/** Values in a course: two minutes of polls. */
const COURSE_SLOTS = 60;
const COURSE_WIDTH = 120;
const COURSE_HEIGHT = 28;
const UNKNOWN = '–';

interface Tile {
  readonly id: string;
  readonly value: (stats: Stats) => number;
  readonly format: (value: number) => string;
}
const TILES: readonly Tile[] = [
  { id: 'connections', value: ({ connections }) => connections, format: formatCount },
  { id: 'subscriptions', value: ({ subscriptions }) => subscriptions, format: formatCount },
  { id: 'channels', value: ({ channels }) => channels, format: formatCount },
  { id: 'publications', value: ({ rates }) => rates.publicationsPerSecond, format: formatRate },
  { id: 'deliveries', value: ({ rates }) => rates.deliveriesPerSecond, format: formatRate },
];

const optional = <T>(value: T | undefined, format: (value: T) => string): string =>
  value === undefined ? UNKNOWN : format(value);

const cellsOf = (node: NodeStats): string[] => [
  optional(node.state, (state) => state.replace('_', ' ')),
  optional(node.broker, String),
  formatCount(node.connections),
  formatCount(node.subscriptions),
  formatCount(node.channels),
  formatRate(node.rates.publicationsPerSecond),
  formatRate(node.rates.deliveriesPerSecond),
  optional(node.eventLoopLagMs, formatDuration),
  optional(node.bufferedBytes, formatBytes),
  optional(node.rssBytes, formatBytes),
  optional(node.uptimeMs, formatDuration),
  node.version ?? UNKNOWN,
];

const nodeRow = (node: NodeStats, isOwn: boolean): HTMLTableRowElement => {
  const name = element('th', '', node.node);
  name.scope = 'row';
  if (isOwn) name.append(element('span', 'tag', 'this page'));
  const row = element('tr', '', name, ...cellsOf(node).map((text) => element('td', '', text)));
  row.dataset['node'] = node.node;
  row.classList.toggle('alarm', node.state === 'not_ready' || node.broker === 'degraded');
  return row;
};

const messageOf = (statistics: Statistics): string => {
  switch (statistics.kind) {
    case 'noKey':
    case 'shown':
      return '';
    case 'loading':
      return 'Asking…';
    case 'paused':
      return 'Paused until the connection is back.';
    case 'refused':
    case 'failed':
      return statistics.message;
  }
};

export const startStatistics = ({ url, isWanted, ownNode }: StatisticsOptions): void => {
  const input = byId('api-key', HTMLInputElement);
  const message = byId('statistics-message', HTMLElement);
  const body = byId('statistics-body', HTMLElement);
  const hint = byId('statistics-hint', HTMLElement);
  const missing = byId('missing-nodes', HTMLElement);
  const forget = byId('forget-key', HTMLButtonElement);
  const courses = new Map(TILES.map(({ id }) => [id, [] as number[]]));

  const drawStats = (stats: Stats): void => {
    for (const { id, value, format } of TILES) {
      const course = courses.get(id)!;
      course.push(value(stats));
      if (course.length > COURSE_SLOTS) course.shift();
      setText(byId(`total-${id}`, HTMLElement), format(value(stats)));
      const path = sparklinePath(course, COURSE_SLOTS, COURSE_WIDTH, COURSE_HEIGHT);
      byId(`course-${id}`, SVGPathElement).setAttribute('d', path);
    }
    const nodes = [...stats.nodes].sort((a, b) => a.node.localeCompare(b.node));
    byId('node-rows', HTMLTableSectionElement).replaceChildren(
      ...nodes.map((node) => nodeRow(node, node.node === ownNode())),
    );
    missing.hidden = stats.missing === undefined;
    setText(missing, `No answer in time from ${stats.missing?.join(', ') ?? ''}: the totals are a lower bound.`);
  };
  const show = (statistics: Statistics): void => {
    const isError = statistics.kind === 'refused' || statistics.kind === 'failed';
    setText(message, messageOf(statistics));
    message.classList.toggle('error', isError);
    if (statistics.kind === 'refused') input.setAttribute('aria-invalid', 'true');
    else input.removeAttribute('aria-invalid');
    hint.hidden = statistics.kind !== 'noKey';
    if (statistics.kind === 'shown') drawStats(statistics.stats);
    // The last numbers stay, dimmed, through a failed turn; a key that may not see them must not leave them there.
    if (statistics.kind === 'shown') body.hidden = false;
    else if (statistics.kind !== 'failed' && statistics.kind !== 'paused') body.hidden = true;
    body.classList.toggle('stale', statistics.kind !== 'shown');
  };

  const source = createStatisticsSource({ url, isWanted, onChange: show });
  const useKey = (key: string): void => {
    rememberApiKey(key);
    forget.hidden = key === '';
    for (const course of courses.values()) course.length = 0;
    source.useKey(key);
  };
  byId('key-form', HTMLFormElement).addEventListener('submit', (event) => {
    event.preventDefault();
    useKey(input.value.trim());
  });
  forget.addEventListener('click', () => {
    input.value = '';
    useKey('');
    input.focus();
  });
  input.value = takeApiKey();
  useKey(input.value);
};
