// The stream of messages: newest first, bounded, paused on request, never in the way of the page.
import { createBoundedLog } from '../model/bounded-log.ts';
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

/** Messages and gaps held and shown; older ones are only counted. */
const CAPACITY = 500;
const ALL = '';

const latencyText = (latenciesMs: readonly number[]): string => {
  const median = quantile(latenciesMs, 0.5);
  const high = quantile(latenciesMs, 0.99);
  return median === undefined || high === undefined ? '–' : `${formatDuration(median)} / ${formatDuration(high)}`;
};

export const startMessagesPanel = (): MessagesPanel => {
  const list = byId('message-list', HTMLOListElement);
  const empty = byId('messages-empty', HTMLElement);
  const total = byId('message-total', HTMLElement);
  const pause = byId('pause', HTMLButtonElement);
  const filter = byId('channel-filter', HTMLSelectElement);
  const alarm = byId('gap-alarm', HTMLElement);
  const log = createBoundedLog<StreamEntry>(CAPACITY);
  const meter = createRateMeter();
  /** Rows on the page, oldest first, with the sequence of their entry. */
  let rows: { sequence: number; row: HTMLLIElement }[] = [];
  let drawnTo = 0;
  /** Set while paused: the sequence after which nothing is shown. */
  let pausedAt: number | undefined;
  let messages = 0;
  let gaps = 0;
  let lastGap: Extract<StreamEntry, { kind: 'gap' }> | undefined;

  const drawRows = (): void => {
    const limit = pausedAt ?? log.total;
    const fresh = log
      .since(drawnTo)
      .filter(({ sequence, entry }) => sequence <= limit && (filter.value === ALL || channelOf(entry) === filter.value))
      .map(({ sequence, entry }) => ({ sequence, row: createRow(entry) }));
    drawnTo = limit;
    list.prepend(...fresh.map(({ row }) => row).reverse());
    rows.push(...fresh);
    // While paused, what is being read stays.
    const firstKept = pausedAt === undefined ? rows.findIndex(({ sequence }) => sequence >= log.oldest) : 0;
    for (const { row } of rows.splice(0, firstKept === -1 ? rows.length : firstKept)) row.remove();
    empty.hidden = rows.length > 0;
    list.hidden = rows.length === 0;
  };
  const drawCounts = (): void => {
    setText(total, formatCount(messages));
    const waiting = pausedAt === undefined ? 0 : log.total - pausedAt;
    setText(pause, pausedAt === undefined ? 'Pause' : `Resume (${formatCount(waiting)} new)`);
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
    drawnTo = 0;
    requestDraw();
  };
  const dismissGaps = (): void => {
    lastGap = undefined;
    gaps = 0;
  };

  pause.addEventListener('click', () => {
    pausedAt = pausedAt === undefined ? log.total : undefined;
    pause.setAttribute('aria-pressed', String(pausedAt !== undefined));
    requestDraw();
  });
  byId('clear', HTMLButtonElement).addEventListener('click', () => {
    log.clear();
    messages = 0;
    if (pausedAt !== undefined) pausedAt = log.total;
    dismissGaps();
    redrawAll();
  });
  byId('dismiss-gaps', HTMLButtonElement).addEventListener('click', () => {
    dismissGaps();
    requestDraw();
  });
  filter.addEventListener('change', redrawAll);

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
