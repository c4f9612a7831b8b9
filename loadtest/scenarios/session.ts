// One native-dialect session over a k6 WebSocket: connect, subscribe to one channel, then hand on what arrives.
import { type ErrorEvent, type MessageEvent, WebSocket } from 'k6/websockets';

export interface MessagePush {
  readonly type: 'message';
  readonly channel: string;
  readonly data: unknown;
  readonly offset: number;
}

export interface GapPush {
  readonly type: 'gap';
  readonly from: number | null;
  readonly to: number | null;
  readonly count: number;
  readonly offset?: number;
}

interface ErrorMessage {
  readonly type: 'error';
  readonly id?: number;
  readonly code: number;
  readonly name: string;
  readonly message: string;
}

type ServerMessage =
  | MessagePush
  | GapPush
  | ErrorMessage
  | { readonly type: 'connected' }
  | { readonly type: 'subscribed'; readonly offset: number };

/** How the session ended before `close()` was called; `code` is 1006 when the transport gave none. */
export interface SessionEnd {
  readonly stage: 'connecting' | 'subscribing' | 'live';
  readonly code: number;
  readonly reason: string;
}

export interface SessionHandlers {
  onConnected(tookMs: number): void;
  onSubscribed(tookMs: number, offset: number): void;
  onMessage(push: MessagePush): void;
  onGap(push: GapPush): void;
  onError(error: { readonly name: string; readonly message: string }): void;
  /** Called at most once, and never after `close()`. */
  onEnd(end: SessionEnd): void;
}

export interface SessionTarget {
  readonly wsUrl: string;
  readonly channel: string;
  readonly token: string;
}

export interface Session {
  close(): void;
}

const connectId = 1;
const subscribeId = 2;

/** Opens the socket at once; every later step is told through the handlers. */
export function openSession(target: SessionTarget, handlers: SessionHandlers): Session {
  const openedAt = Date.now();
  let subscribeSentAt = openedAt;
  let stage: SessionEnd['stage'] | 'ended' = 'connecting';
  let failure = '';
  const socket = new WebSocket(target.wsUrl);

  const handle = (message: ServerMessage): void => {
    switch (message.type) {
      case 'connected':
        stage = 'subscribing';
        handlers.onConnected(Date.now() - openedAt);
        subscribeSentAt = Date.now();
        socket.send(JSON.stringify({ id: subscribeId, type: 'subscribe', channel: target.channel }));
        return;
      case 'subscribed':
        stage = 'live';
        handlers.onSubscribed(Date.now() - subscribeSentAt, message.offset);
        return;
      case 'message':
        handlers.onMessage(message);
        return;
      case 'gap':
        handlers.onGap(message);
        return;
      case 'error':
        handlers.onError(message);
        // A refused connect or subscribe leaves a socket that would wait for ever.
        if (stage !== 'live') socket.close();
        return;
      default:
        // Other pushes (status, reconnect) carry nothing these scenarios measure.
        return;
    }
  };

  socket.addEventListener('open', () => {
    const token = target.token === '' ? {} : { token: target.token };
    socket.send(JSON.stringify({ id: connectId, type: 'connect', ...token }));
  });
  socket.addEventListener('message', (event) => {
    const frame = JSON.parse((event as MessageEvent).data as string) as ServerMessage | ServerMessage[];
    if (Array.isArray(frame)) for (const message of frame) handle(message);
    else handle(frame);
  });
  socket.addEventListener('error', (event) => {
    failure = (event as ErrorEvent).error;
  });
  socket.addEventListener('close', (event) => {
    if (stage === 'ended') return;
    const endedIn = stage;
    stage = 'ended';
    // The published types of k6 miss the close event's fields.
    const { code, reason } = event as unknown as { code?: number; reason?: string };
    handlers.onEnd({
      stage: endedIn,
      code: code ?? 1006,
      reason: reason === undefined || reason === '' ? failure : reason,
    });
  });

  return {
    close() {
      stage = 'ended';
      socket.close(1000);
    },
  };
}
