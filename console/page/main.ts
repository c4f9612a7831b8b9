// Puts the console together: one client, its panels, and the ticks that keep them current.
import { WeirClient } from '../../client/src/index.ts';
import { delayOf } from '../model/latency.ts';
import { startChannelsPanel } from './channels.ts';
import { startConnectionPanel } from './connection.ts';
import { byId, setText } from './dom.ts';
import { startMessagesPanel } from './messages.ts';
import { createNotices } from './notices.ts';
import { startPublishForm } from './publish-form.ts';
import { startServerClock } from './server-clock.ts';
import { startStatistics } from './statistics.ts';
import { startTheme } from './theme.ts';

/** Rates and positions are drawn at this pace, ms. */
const TICK_MS = 500;

// Relative, so that the page also works below a path of a proxy.
const resolve = (path: string): string => new URL(`../${path}`, location.href).href.replace(/#.*$/, '');
const socketUrl = resolve('v1/ws');

startTheme(byId('theme', HTMLFieldSetElement));
setText(
  byId('publish-example', HTMLElement),
  `curl -X POST ${resolve('v1/publish')} \\
  -H "X-API-Key: $WEIR_API_KEY" -H 'Content-Type: application/json' \\
  -d '{"channel":"news","data":{"text":"hello"}}'`,
);

const client = new WeirClient(socketUrl, { name: 'weir-console' });
const notices = createNotices(byId('notices', HTMLElement));
client.on('error', (error) => notices.showError('Connection', error));

const clock = startServerClock(client, () => connection.draw());
const connection = startConnectionPanel(client, socketUrl, () => clock);
const messages = startMessagesPanel();
const channels = startChannelsPanel(client, clock, {
  onMessage: (message, liveSinceMs) => {
    const receivedAtMs = Date.now();
    clock.observeStamp(message.time, receivedAtMs);
    const arrival = { timeMs: message.time, receivedAtMs, offsetMs: clock.offsetMs, liveSinceMs };
    const own = message.publisher !== undefined && message.publisher.connection === connection.connected?.connection;
    messages.add({ kind: 'message', message, delay: delayOf(arrival), own });
  },
  onGap: (gap) => messages.add({ kind: 'gap', gap, receivedAtMs: Date.now() }),
  onChanged: messages.offerChannels,
});
startPublishForm(client);
startStatistics({
  url: resolve('v1/stats'),
  // While the SDK looks for the node, requests would only fail with it.
  isWanted: () => !document.hidden && client.state !== 'connecting',
  ownNode: () => (client.isConnected ? connection.connected?.node : undefined),
});
setInterval(() => {
  channels.draw();
  messages.draw();
}, TICK_MS);
void client.connect();
