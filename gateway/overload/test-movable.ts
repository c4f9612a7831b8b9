// A connection as far as moving knows it, which records what it is told; for tests.
import type { PushOf } from '../../protocol/pushes.ts';
import type { ConnectionState } from '../session/connection.ts';
import type { Movable } from './departures.ts';

export interface RecordingMovable extends Movable {
  readonly asked: PushOf<'reconnect'>[];
  closed: { readonly code: number; readonly reason: string } | undefined;
}

export const movable = (state: ConnectionState = 'connected'): RecordingMovable => {
  const asked: PushOf<'reconnect'>[] = [];
  return {
    state,
    departure: null,
    agesAtMs: null,
    asked,
    closed: undefined,
    send(message) {
      if (message.type === 'reconnect') asked.push(message);
    },
    close(code, reason) {
      this.closed ??= { code, reason };
      this.state = 'closed';
    },
  };
};
