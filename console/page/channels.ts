// Subscribes to channels and lists the subscriptions.
import type { Gap, Message, Subscription, WeirClient } from '../../client/src/index.ts';
import { checkChannel } from '../model/input.ts';
import { createChannelRow, type ChannelRow } from './channel-row.ts';
import { byId } from './dom.ts';
import { createField } from './field.ts';
import { errorText } from './notices.ts';
import type { ServerClock } from './server-clock.ts';

export interface ChannelEvents {
  /** `liveSinceMs`: when the subscription was made or resumed, server's clock. */
  onMessage(message: Message, liveSinceMs: number): void;
  onGap(gap: Gap): void;
  /** Subscriptions came or went. */
  onChanged(channels: readonly string[]): void;
}

export interface ChannelsPanel {
  /** Draws rates and positions; for the caller's ticks. */
  draw(): void;
}

export const startChannelsPanel = (
  client: WeirClient,
  clock: ServerClock,
  { onMessage, onGap, onChanged }: ChannelEvents,
): ChannelsPanel => {
  const list = byId('channel-list', HTMLUListElement);
  const empty = byId('channels-empty', HTMLElement);
  const field = createField(byId('subscribe-channel', HTMLInputElement), byId('subscribe-error', HTMLElement));
  const rows = new Map<string, ChannelRow>();

  const changed = (): void => {
    empty.hidden = rows.size > 0;
    onChanged([...rows.keys()]);
  };

  const adopt = (subscription: Subscription): void => {
    const { channel } = subscription;
    const row = createChannelRow(subscription);
    let liveSinceMs = clock.now();
    rows.set(channel, row);
    list.append(row.item);

    subscription.on('message', (message) => {
      row.count();
      onMessage(message, liveSinceMs);
    });
    subscription.on('gap', (gap) => {
      row.countGap();
      onGap(gap);
    });
    subscription.on('subscribing', () => row.draw());
    subscription.on('subscribed', ({ recovered }) => {
      liveSinceMs = clock.now();
      row.showRecovered(recovered);
      row.draw();
    });
    subscription.on('error', (error) => field.complain(`${channel}: ${errorText(error)}`));
    subscription.on('unsubscribed', ({ code, reason, error }) => {
      rows.delete(channel);
      row.item.remove();
      if (!error && code !== undefined) {
        field.complain(`${channel}: unsubscribed by the server, ${code} ${reason ?? ''}`.trim());
      }
      changed();
    });
    changed();
  };

  byId('subscribe-form', HTMLFormElement).addEventListener('submit', (event) => {
    event.preventDefault();
    const channel = field.read(checkChannel);
    if (channel.kind === 'invalid') return;
    if (rows.has(channel.value)) field.complain(`${channel.value} is subscribed already.`);
    else adopt(client.subscribe(channel.value));
  });
  // The server may subscribe this page by itself.
  client.on('subscription', adopt);
  changed();

  return {
    draw: () => {
      for (const row of rows.values()) row.draw();
    },
  };
};
