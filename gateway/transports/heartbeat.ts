// Finds dead clients by protocol pings: which socket is pinged when, and which one answered too late. Pure: time is counted in ticks.
//
// - A socket from which something was heard is not pinged: its next ping is an interval after that.
// - One that stays silent is pinged, and ended when half an interval later nothing was heard: 1.5 intervals after the last sign of life
//   at the latest.
// - The first ping comes at a random part of the interval, later ones vary by an eighth, so that clients that came together are
//   not pinged together.
// - A link that answers at once, again and again, is pinged more rarely, up to `maxStretch` times; a late answer ends that.
// - A ping behind a backlog says nothing about the client, so a socket with a backlog is not pinged. It is ended when it took nothing
//   for `maxStallMs`; one that drains, however slowly, lives: slowness must not cost a connection.

/** What a socket offers; none of the calls throws. */
export interface HeartbeatSocket {
  ping(): void;
  /** Bytes that the kernel has not taken. */
  bufferedBytes(): number;
  /** Called once: nothing was heard in time. */
  handleNoPong(): void;
}

/** One socket's heartbeat. */
export interface Beat {
  /** Any frame came from the client, pongs included. */
  heard(): void;
  /** This many bytes were handed to the socket. */
  sent(bytes: number): void;
  /** The backlog shrank: whoever is there takes what is sent. */
  drained(): void;
  /** The socket is gone; idempotent. */
  end(): void;
}

/** Counted here, read by the metrics. */
export interface HeartbeatCounters {
  pingsSent: number;
  /** Pings that were due and not needed, because something was heard meanwhile. */
  pingsSkipped: number;
}

export interface HeartbeatOptions {
  /** Longest silence before a ping to a link that is not known as stable, ms. */
  readonly intervalMs: number;
  /** How many times longer the interval of a stable link may become; 1 turns it off. */
  readonly maxStretch: number;
  /** How long a socket with a backlog may be silent and take nothing, ms. */
  readonly maxStallMs: number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly counters: HeartbeatCounters;
}

export interface Heartbeats {
  /** Time between two calls of `tick`, ms. */
  readonly tickMs: number;
  /** Beats that are kept, those of sockets that are gone included. */
  readonly kept: number;
  add(socket: HeartbeatSocket): Beat;
  /**
   * One tick passed. Counts calls, not a clock: a process that slept or stalled has heard nothing in that time, which says nothing about its clients.
   * Returns the beats to look at now; the caller may spread `look` over some turns of the event loop.
   */
  tick(): readonly DueBeat[];
}

export interface DueBeat {
  look(): void;
}

/** Bounds of `intervalMs` and `maxStretch`: together with the pong they stay below the engine's longest idle timeout. */
export const PING_INTERVAL_MS = { min: 1000, max: 150_000 } as const;
export const PING_STRETCH = { min: 1, max: 4 } as const;
/** Bounds of `maxStallMs`. */
export const STALL_MS = { min: 1000, max: 900_000 } as const;
/**
 * The engine's own idle timeout, s: the longest it accepts, a backstop behind `maxStallMs`. It pings nothing. A socket that was
 * told to end and does not go is cut by it after 16 s all the same.
 */
export const ENGINE_IDLE_TIMEOUT_S = 960;

const TICKS_PER_INTERVAL = 64;
/** Taken off each wait: what was heard may be as old as a tick, and timers fire late. */
const RESERVE_TICKS = 2;
/** Later pings come up to this part of the interval early. */
const JITTER = 1 / 8;
/** Answers at once in a row that make a link's interval longer by half of the configured one. */
const ANSWERS_PER_STEP = 3;
/** The kernel may hide this much that the client has not read, so that a ping waits behind it. */
const HIDDEN_BACKLOG_BYTES = 256 * 1024;
const NONE = -1;
/** Fewer beats are not worth the work of taking those out that are gone. */
const MIN_SWEPT = 1024;

export const createHeartbeats = (options: HeartbeatOptions): Heartbeats => {
  const { intervalMs, maxStretch, maxStallMs, random, counters } = options;
  const tickMs = intervalMs / TICKS_PER_INTERVAL;
  const stallTicks = Math.ceil(maxStallMs / tickMs);
  /** One list per tick of the longest wait, used in a circle. */
  const wheel: SocketBeat[][] = Array.from({ length: TICKS_PER_INTERVAL * maxStretch + 1 }, () => []);
  let now = 0;
  /** Beats whose socket is there. */
  let live = 0;
  /** Beats in the wheel, those included whose socket is gone. */
  let scheduled = 0;

  const schedule = (beat: SocketBeat, tick: number): void => {
    wheel[Math.max(tick, now + 1) % wheel.length]!.push(beat);
    scheduled++;
  };
  const sweep = (): void => {
    for (const [slot, beats] of wheel.entries()) wheel[slot] = beats.filter((beat) => !beat.isEnded);
    scheduled = wheel.reduce((sum, { length }) => sum + length, 0);
  };
  const waitTicks = (stretch: number): number =>
    Math.floor((TICKS_PER_INTERVAL * stretch - RESERVE_TICKS) * (1 - JITTER * random()));
  const pongTicks = (stretch: number): number => Math.floor((TICKS_PER_INTERVAL * stretch) / 2) - RESERVE_TICKS;

  class SocketBeat implements Beat, DueBeat {
    private socket: HeartbeatSocket | null;
    private heardTick = now;
    /** Of the ping that was not answered yet. */
    private pingedTick = NONE;
    /** Whether the next look is for the answer to a ping. */
    private looksForAnswer = false;
    private wait = Math.ceil((TICKS_PER_INTERVAL - RESERVE_TICKS) * random());
    private stretch = 1;
    private promptAnswers = 0;
    private bytesSinceHeard = 0;
    private drainedTick = NONE;

    constructor(socket: HeartbeatSocket) {
      this.socket = socket;
      live++;
      schedule(this, now + this.wait);
    }

    heard(): void {
      this.heardTick = now;
      this.bytesSinceHeard = 0;
      if (this.pingedTick !== NONE) this.handleAnswer();
    }

    sent(bytes: number): void {
      this.bytesSinceHeard += bytes;
    }

    drained(): void {
      this.drainedTick = now;
    }

    end(): void {
      if (this.socket === null) return;
      this.socket = null;
      live--;
      // Those that are gone stay listed until their next look, up to two intervals: who comes and goes must not fill the memory.
      if (scheduled > MIN_SWEPT && scheduled > 2 * live) sweep();
    }

    get isEnded(): boolean {
      return this.socket === null;
    }

    private handleAnswer(): void {
      const isPrompt = now - this.pingedTick <= pongTicks(this.stretch) / 2;
      this.pingedTick = NONE;
      this.promptAnswers = isPrompt ? this.promptAnswers + 1 : 0;
      if (!isPrompt) this.stretch = 1;
      else if (this.promptAnswers % ANSWERS_PER_STEP === 0) this.stretch = Math.min(maxStretch, this.stretch + 0.5);
      this.wait = waitTicks(this.stretch);
    }

    look(): void {
      const { socket } = this;
      if (socket === null) return;
      const isPinged = this.pingedTick !== NONE;
      const dueTick = isPinged ? this.pingedTick + pongTicks(this.stretch) : this.heardTick + this.wait;
      if (dueTick > now) {
        if (!this.looksForAnswer) {
          counters.pingsSkipped++;
          this.wait = waitTicks(this.stretch);
        }
        this.looksForAnswer = false;
        schedule(this, this.heardTick + this.wait);
        return;
      }
      const hasBacklog = socket.bufferedBytes() > 0 || (isPinged && this.bytesSinceHeard >= HIDDEN_BACKLOG_BYTES);
      if (hasBacklog && now - Math.max(this.heardTick, this.drainedTick) < stallTicks) {
        schedule(this, now + pongTicks(1));
        return;
      }
      if (isPinged || hasBacklog) {
        this.end();
        socket.handleNoPong();
        return;
      }
      this.pingedTick = now;
      this.looksForAnswer = true;
      counters.pingsSent++;
      schedule(this, now + pongTicks(this.stretch));
      socket.ping();
    }
  }

  return {
    tickMs,
    get kept() {
      return scheduled;
    },
    add: (socket) => new SocketBeat(socket),
    tick() {
      now++;
      const slot = now % wheel.length;
      const due = wheel[slot]!;
      wheel[slot] = [];
      scheduled -= due.length;
      return due;
    },
  };
};
