// Shows the connection and switches it on and off.
import type { Connected, WeirClient } from '../../client/src/index.ts';
import { formatDuration } from '../model/format.ts';
import { byId, setText } from './dom.ts';
import type { ServerClock } from './server-clock.ts';

/** What the SDK's states look like to people: waiting for the next attempt is its own state. */
type Shown =
  | { readonly kind: 'disconnected'; readonly why: string }
  | { readonly kind: 'connecting' }
  | { readonly kind: 'connected' }
  | { readonly kind: 'reconnecting'; readonly attempt: number; readonly retryAtMs: number };

const LABELS: Readonly<Record<Shown['kind'], string>> = {
  disconnected: 'Disconnected',
  connecting: 'Connecting',
  connected: 'Connected',
  reconnecting: 'Reconnecting',
};

/** How often the countdown to the next attempt is drawn, ms. */
const COUNTDOWN_MS = 100;
const UNKNOWN = '–';

const detailOf = (shown: Shown): string => {
  switch (shown.kind) {
    case 'disconnected':
      return shown.why;
    case 'connecting':
    case 'connected':
      return '';
    case 'reconnecting': {
      const leftMs = shown.retryAtMs - performance.now();
      const when = leftMs > 0 ? `next try in ${(leftMs / 1000).toFixed(1)} s` : 'trying now';
      return `attempt ${shown.attempt}, ${when}`;
    }
  }
};

export interface ConnectionPanel {
  /** The present connection's `connected` reply; undefined before the first. */
  readonly connected: Connected | undefined;
  /** Draws what changes by itself, as the round trip. */
  draw(): void;
}

export const startConnectionPanel = (client: WeirClient, url: string, clock: () => ServerClock): ConnectionPanel => {
  const pill = byId('state', HTMLElement);
  const label = byId('state-label', HTMLElement);
  const detail = byId('state-detail', HTMLElement);
  const toggle = byId('toggle-connection', HTMLButtonElement);
  const broker = byId('connection-broker', HTMLElement);
  const degraded = byId('degraded', HTMLElement);
  let connected: Connected | undefined;
  let shown: Shown = { kind: 'disconnected', why: '' };

  const draw = (): void => {
    pill.dataset['state'] = shown.kind;
    setText(label, LABELS[shown.kind]);
    setText(detail, detailOf(shown));
    setText(toggle, shown.kind === 'disconnected' ? 'Connect' : 'Disconnect');
    const current = shown.kind === 'connected' ? connected : undefined;
    const roundTripMs = current && clock().roundTripMs;
    setText(byId('connection-node', HTMLElement), current?.node ?? UNKNOWN);
    setText(byId('connection-id', HTMLElement), current?.connection ?? UNKNOWN);
    setText(byId('connection-user', HTMLElement), current ? (current.user ?? 'anonymous') : UNKNOWN);
    setText(
      byId('connection-round-trip', HTMLElement),
      roundTripMs === undefined ? UNKNOWN : formatDuration(roundTripMs),
    );
    // The session outlives connections.
    setText(byId('connection-session', HTMLElement), connected?.session ?? UNKNOWN);
    if (!current) {
      setText(broker, UNKNOWN);
      degraded.hidden = true;
    }
  };
  const show = (next: Shown): void => {
    shown = next;
    draw();
  };

  setText(byId('connection-url', HTMLElement), url.replace(/^http/, 'ws'));
  client.on('connected', (reply) => {
    connected = reply;
    showBroker(reply.broker);
    draw();
  });
  const showBroker = (state: Connected['broker']): void => {
    setText(broker, state);
    degraded.hidden = state === 'ready';
  };
  client.on('status', ({ broker: state }) => showBroker(state));
  client.on('state', ({ state, closed }) => {
    if (state === 'disconnected') {
      show({ kind: state, why: closed ? `closed with ${closed.code} ${closed.reason}`.trim() : '' });
    } else show({ kind: state });
  });
  client.on('reconnecting', ({ attempt, delayMs }) =>
    show({ kind: 'reconnecting', attempt, retryAtMs: performance.now() + delayMs }),
  );
  setInterval(() => {
    if (shown.kind === 'reconnecting') setText(detail, detailOf(shown));
  }, COUNTDOWN_MS);

  toggle.addEventListener('click', () => {
    if (client.state === 'disconnected') void client.connect();
    else client.disconnect();
  });
  draw();
  return {
    get connected() {
      return connected;
    },
    draw,
  };
};
