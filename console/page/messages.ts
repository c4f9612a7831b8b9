// The stream of messages: newest first, bounded, paused on request, never in the way of the page.
import { createBoundedLog, type Numbered } from '../model/bounded-log.ts';
import { formatCount, formatDuration, formatRate } from '../model/format.ts';
import { gapText } from '../model/gap-text.ts';
import { quantile } from '../model/latency.ts';
import { createRateMeter } from '../model/rate-meter.ts';
import { byId, element, setText } from './dom.ts';
import { createFrameTask } from './frame.ts';
import { channelOf, createRow, type StreamEntry } from './message-row.ts';

export interface MessagesPanel {
  add(entry: StreamEntry): void;
  /** Offers these channels to filter by. */
  offerChannels(channels: readonly string[]): void;
  /** Draws rate and latencies; for the caller's ticks. */
  draw(): void;
}

/** Messages and gaps held; older ones are only counted. */
const CAPACITY = 500;
/** Rows on the page until somebody scrolls down for more: what a flood has to draw again and again. */
const PAGE = 60;
const ALL = '';

const latencyText = (latenciesMs: readonly number[]): string => {
  const median = quantile(latenciesMs, 0.5);
  const high = quantile(latenciesMs, 0.99);
  return median === undefined || high === undefined ? '–' : `${formatDuration(median)} / ${formatDuration(high)}`;
};

export const startMessagesPanel = (): MessagesPanel => {
  const list = byId('message-list', HTMLOListElement);
  const scroller = byId('message-scroller', HTMLElement);
  const empty = byId('messages-empty', HTMLElement);
  const total = byId('message-total', HTMLElement);
  const pause = byId('pause', HTMLButtonElement);
  const filter = byId('channel-filter', HTMLSelectElement);
  const alarm = byId('gap-alarm', HTMLElement);
  const log = createBoundedLog<StreamEntry>(CAPACITY);
  const meter = createRateMeter();
  /** Rows on the page, oldest first, with the sequence of their entry. */
  let rows: { sequence: number; row: HTMLLIElement }[] = [];
  let shown = PAGE;
  /** What there was when the stream was paused. */
  let paused: { entries: readonly Numbered<StreamEntry>[]; total: number } | undefined;
  let messages = 0;
  let gaps = 0;
  let lastGap: Extract<StreamEntry, { kind: 'gap' }> | undefined;

  const drawRows = (): void => {
    const wanted = (paused?.entries ?? log.since(0))
      .filter(({ entry }) => filter.value === ALL || channelOf(entry) === filter.value)
      .slice(-shown);
    const firstWanted = wanted[0]?.sequence ?? Infinity;
    for (const { sequence, row } of rows) if (sequence < firstWanted) row.remove();
    const kept = rows.filter(({ sequence }) => sequence >= firstWanted);
    const oldestKept = kept[0]?.sequence ?? Infinity;
    const newestKept = kept.at(-1)?.sequence ?? -Infinity;
    const create = ({ sequence, entry }: Numbered<StreamEntry>) => ({ sequence, row: createRow(entry) });
    const newer = wanted.filter(({ sequence }) => sequence > newestKept).map(create);
    const older = kept.length === 0 ? [] : wanted.filter(({ sequence }) => sequence < oldestKept).map(create);
    list.prepend(...newer.map(({ row }) => row).reverse());
    list.append(...older.map(({ row }) => row).reverse());
    rows = [...older, ...kept, ...newer];
    empty.hidden = rows.length > 0;
    list.hidden = rows.length === 0;
  };
  const drawCounts = (): void => {
    setText(total, formatCount(messages));
    setText(pause, paused ? `Resume (${formatCount(log.total - paused.total)} new)` : 'Pause');
    alarm.hidden = lastGap === undefined;
    if (!lastGap) return;
    setText(byId('gap-count', HTMLElement), gaps === 1 ? '1 gap' : `${formatCount(gaps)} gaps`);
    setText(byId('gap-text', HTMLElement), `${lastGap.gap.channel}: ${gapText(lastGap.gap)}`);
  };
  const requestDraw = createFrameTask(() => {
    drawRows();
    drawCounts();
  });
  const redrawAll = (): void => {
    list.replaceChildren();
    rows = [];
    requestDraw();
  };
  const dismissGaps = (): void => {
    lastGap = undefined;
    gaps = 0;
  };

  pause.addEventListener('click', () => {
    paused = paused ? undefined : { entries: log.since(0), total: log.total };
    pause.setAttribute('aria-pressed', String(paused !== undefined));
    requestDraw();
  });
  byId('clear', HTMLButtonElement).addEventListener('click', () => {
    log.clear();
    messages = 0;
    if (paused) paused = { entries: [], total: log.total };
    dismissGaps();
    redrawAll();
  });
  byId('dismiss-gaps', HTMLButtonElement).addEventListener('click', () => {
    dismissGaps();
    requestDraw();
  });
  filter.addEventListener('change', redrawAll);
  scroller.addEventListener('scroll', () => {
    const { scrollTop, scrollHeight, clientHeight } = scroller;
    if (scrollTop === 0) shown = PAGE;
    else if (scrollHeight - clientHeight - scrollTop < clientHeight) shown = Math.min(CAPACITY, rows.length + PAGE);
    else return;
    requestDraw();
  });

  return {
    add: (entry) => {
      log.push(entry);
      if (entry.kind === 'message') {
        messages += 1;
        meter.add(performance.now());
      } else {
        gaps += 1;
        lastGap = entry;
      }
      requestDraw();
    },
    offerChannels: (channels) => {
      const chosen = filter.value;
      const option = (value: string, text: string): HTMLOptionElement => {
        const made = element('option', '', text);
        made.value = value;
        return made;
      };
      // The chosen one stays on offer: its messages are still in the list.
      const names = new Set(chosen === ALL ? channels : [...channels, chosen]);
      filter.replaceChildren(option(ALL, 'All channels'), ...[...names].sort().map((name) => option(name, name)));
      filter.value = chosen;
    },
    draw: () => {
      setText(byId('message-rate', HTMLElement), `${formatRate(meter.perSecond(performance.now()))}/s`);
      const latencies = log.since(0).flatMap(({ entry }) => {
        return entry.kind === 'message' && entry.delay.kind === 'live' ? [entry.delay.ms] : [];
      });
      setText(byId('message-latency', HTMLElement), latencyText(latencies));
    },
  };
};
