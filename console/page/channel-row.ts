// One line of the list of subscriptions.
import type { Subscription } from '../../client/src/index.ts';
import { formatCount, formatRate } from '../model/format.ts';
import { createRateMeter } from '../model/rate-meter.ts';
import { element, setText } from './dom.ts';

export interface ChannelRow {
  readonly item: HTMLLIElement;
  count(): void;
  countGap(): void;
  showRecovered(recovered: boolean): void;
  /** Draws state, position and rate as they are now. */
  draw(): void;
}

const term = (name: string, value: HTMLElement): HTMLElement => element('div', '', element('dt', '', name), value);

export const createChannelRow = (subscription: Subscription): ChannelRow => {
  const { channel } = subscription;
  const meter = createRateMeter();
  let messages = 0;
  let gaps = 0;

  const state = element('span', 'chip');
  const rate = element('dd', 'rate');
  const total = element('dd', 'total');
  const offset = element('dd', 'offset');
  const epoch = element('dd', 'epoch');
  const recovered = element('dd', 'recovered', '–');
  const gapCount = element('dd', 'gaps', '0');
  const gapTerm = term('gaps', gapCount);
  const leave = element('button', 'quiet', 'Unsubscribe');
  leave.type = 'button';
  leave.setAttribute('aria-label', `Unsubscribe from ${channel}`);
  leave.addEventListener('click', () => subscription.unsubscribe());
  const facts = element(
    'dl',
    'facts',
    term('rate', rate),
    term('messages', total),
    term('offset', offset),
    term('epoch', epoch),
    term('recovered', recovered),
    gapTerm,
  );
  const item = element('li', 'channel', element('strong', 'name', channel), state, leave, facts);
  item.dataset['channel'] = channel;

  const draw = (): void => {
    item.dataset['state'] = subscription.state;
    setText(state, subscription.state);
    setText(rate, `${formatRate(meter.perSecond(performance.now()))}/s`);
    setText(total, formatCount(messages));
    setText(offset, subscription.position ? `#${subscription.position.offset}` : '–');
    setText(epoch, subscription.position?.epoch ?? '–');
    epoch.title = epoch.textContent;
    setText(gapCount, formatCount(gaps));
    gapTerm.classList.toggle('alarm', gaps > 0);
  };
  draw();

  return {
    item,
    count: () => {
      messages += 1;
      meter.add(performance.now());
    },
    countGap: () => {
      gaps += 1;
    },
    showRecovered: (value) => {
      setText(recovered, value ? 'yes' : 'no');
      recovered.classList.toggle('alarm', !value);
    },
    draw,
  };
};
