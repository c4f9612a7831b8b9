// A client that records what its subscriptions are told, and after each break goes on from what it has accounted for.
import { WebSocket } from 'ws';
import type { WireObject } from '../support/index.ts';
import type { Position, RecordedEvent, Recording } from './recorder.ts';

export interface RecordingClientOptions {
  readonly name: string;
  readonly url: string;
  readonly channels: readonly string[];
  readonly random: () => number;
}

export interface RecordingClient {
  readonly name: string;
  recording(channel: string): Recording;
  /** Where the subscription stands; undefined unless it is subscribed on an open connection. */
  position(channel: string): Position | undefined;
  /** Why it is where it is: last events with times, for the report of a failure. */
  diary(): readonly string[];
  /** Stops reading for a while. */
  stall(forMs: number): void;
  /** Cuts the TCP connection; it comes back by itself. */
  cut(): void;
  stop(): void;
}

interface Track {
  readonly channel: string;
  readonly events: RecordedEvent[];
  position: Position | undefined;
  isSubscribed: boolean;
}

const DIARY_LINES = 40;
const RETRY_MS = { least: 50, most: 400 } as const;
const HANDSHAKE_TIMEOUT_MS = 3_000;
/** A subscribe or connect that nobody answers: the connection is given up. */
const REPLY_TIMEOUT_MS = 8_000;

export const startRecordingClient = ({ name, url, channels, random }: RecordingClientOptions): RecordingClient => {
  const tracks: Track[] = channels.map((channel) => ({
    channel,
    events: [],
    position: undefined,
    isSubscribed: false,
  }));
  const diary: string[] = [];
  const beganAt = performance.now();
  let socket: WebSocket | undefined;
  let isStopped = false;

  const note = (text: string): void => {
    diary.push(`${String(Math.round(performance.now() - beganAt)).padStart(7)} ms ${text}`);
    if (diary.length > DIARY_LINES) diary.shift();
  };
  const retryDelay = (): number => RETRY_MS.least + random() * (RETRY_MS.most - RETRY_MS.least);

  const open = (): void => {
    if (isStopped) return;
    const mine = new WebSocket(url, ['weir.v1.json'], {
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      perMessageDeflate: false,
    });
    socket = mine;
    const waiting = new Map<number, (reply: WireObject) => void>();
    const timers = new Set<NodeJS.Timeout>();
    let nextId = 1;
    const later = (action: () => void, ms: number): NodeJS.Timeout => {
      const timer = setTimeout(() => {
        timers.delete(timer);
        action();
      }, ms);
      timers.add(timer);
      return timer;
    };
    const command = (fields: Readonly<Record<string, unknown>>, then: (reply: WireObject) => void): void => {
      const id = nextId++;
      const timer = later(() => {
        note(`no reply to ${JSON.stringify(fields)}`);
        mine.terminate();
      }, REPLY_TIMEOUT_MS);
      waiting.set(id, (reply) => {
        clearTimeout(timer);
        then(reply);
      });
      mine.send(JSON.stringify({ id, ...fields }));
    };
    const subscribe = (track: Track): void => {
      const { channel, position } = track;
      command({ type: 'subscribe', channel, ...(position === undefined ? {} : { since: position }) }, (reply) => {
        note(`${channel} since ${JSON.stringify(position)}: ${JSON.stringify(reply)}`);
        if (reply.type === 'error') {
          if (reply['temporary'] === true) later(() => subscribe(track), Number(reply['retryAfterMs'] ?? retryDelay()));
          else track.events.push({ kind: 'refused', reason: JSON.stringify(reply) });
          return;
        }
        track.isSubscribed = true;
        if (position !== undefined) return;
        track.position = { epoch: String(reply['epoch']), offset: Number(reply['offset']) };
        track.events.push({ kind: 'start', position: track.position });
      });
    };
    const take = (push: WireObject): void => {
      const track = tracks.find(({ channel }) => channel === push['channel']);
      if (push.type === 'reconnect') {
        note(JSON.stringify(push));
        later(() => mine.close(), Number(push['afterMs']));
      }
      if (track?.position === undefined) return;
      const { epoch } = track.position;
      if (push.type === 'message') {
        const offset = Number(push['offset']);
        const data = push['data'] as { messageId: string };
        track.events.push({ kind: 'message', offset, messageId: data.messageId, content: JSON.stringify(data) });
        track.position = { epoch, offset };
      } else if (push.type === 'gap') {
        note(JSON.stringify(push));
        if (push['reason'] === 'epoch') {
          track.position = { epoch: String(push['epoch']), offset: Number(push['offset']) };
          track.events.push({ kind: 'epoch', position: track.position });
          return;
        }
        const [from, to, count] = [Number(push['from']), Number(push['to']), Number(push['count'])];
        track.events.push({ kind: 'gap', from, to, count, reason: String(push['reason']) });
        track.position = { epoch, offset: to };
      } else if (push.type === 'unsubscribed') {
        note(JSON.stringify(push));
        track.isSubscribed = false;
        later(() => subscribe(track), retryDelay());
      }
    };
    mine.on('open', () => {
      command({ type: 'connect' }, (reply) => {
        note(`connected to ${String(reply['node'])}`);
        if (reply.type === 'error') mine.terminate();
        else tracks.forEach(subscribe);
      });
    });
    mine.on('message', (bytes: Buffer) => {
      // What a cut connection still held was accounted for neither by the old nor by the new one.
      if (mine !== socket) return;
      const frame = JSON.parse(bytes.toString('utf8')) as WireObject | WireObject[];
      for (const object of Array.isArray(frame) ? frame : [frame]) {
        if (object.id === undefined) take(object);
        else {
          waiting.get(object.id)?.(object);
          waiting.delete(object.id);
        }
      }
    });
    // The close event follows.
    mine.on('error', (error) => note(`error: ${error.message}`));
    mine.on('close', (code, reason) => {
      note(`closed with ${code} ${reason.toString()}`);
      timers.forEach(clearTimeout);
      for (const track of tracks) track.isSubscribed = false;
      setTimeout(open, retryDelay());
    });
  };
  open();

  const trackOf = (channel: string): Track | undefined => tracks.find((track) => track.channel === channel);
  return {
    name,
    recording: (channel) => ({ client: name, events: trackOf(channel)?.events ?? [] }),
    position: (channel) => {
      const track = trackOf(channel);
      return track?.isSubscribed === true ? track.position : undefined;
    },
    diary: () => diary,
    stall: (forMs) => {
      const stalled = socket;
      if (stalled?.readyState !== WebSocket.OPEN) return;
      stalled.pause();
      setTimeout(() => stalled.resume(), forMs);
    },
    cut: () => socket?.terminate(),
    stop: () => {
      isStopped = true;
      socket?.terminate();
    },
  };
};
