// What happens to connections before they are let in: gone meanwhile, silent, or one of too many of their address.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Command } from '../../protocol/commands.ts';
import type { Ending } from '../access/limits/limits.ts';
import { createMetricsRegistry } from '../observability/registry.ts';
import { type Admitting, createAdmitting } from './admitting.ts';
import type { Connection } from '../session/connection.ts';

const CONNECT: Command = { type: 'connect', id: 1 };
const SUBSCRIBE: Command = { type: 'subscribe', id: 2, channel: 'c' };

class FakeConnection {
  readonly ran: string[] = [];
  readonly answered: (number | undefined)[] = [];
  commandBytes = 100;
  closed: Ending | undefined;

  isOpen(): boolean {
    return this.closed === undefined;
  }

  close(code: number, reason: string): void {
    this.closed = { code, reason };
    admitting.handleClosed(this as unknown as Connection);
  }

  replyFailure(id: number | undefined): void {
    this.answered.push(id);
  }
}

let admitting: Admitting;
let network: (Ending | undefined) | Promise<Ending | undefined>;
let onRun: (connection: FakeConnection, command: Command) => void;
beforeEach(() => {
  vi.useFakeTimers();
  [network, onRun] = [undefined, () => undefined];
  admitting = createAdmitting({
    settings: {
      admissionPerSecond: 20,
      admissionDeadlineMs: 500,
      maxHandshakes: 4,
      connectDeadlineMs: 10_000,
      anonymous: true,
    },
    metrics: createMetricsRegistry(),
    nowMs: () => Date.now(),
    enterNetwork: () => network,
    run: (connection, command) => {
      const fake = connection as unknown as FakeConnection;
      fake.ran.push(command.type);
      onRun(fake, command);
    },
  });
});
afterEach(() => {
  admitting.close();
  vi.useRealTimers();
});

const open = (): FakeConnection => {
  const fake = new FakeConnection();
  admitting.handleOpened(fake as unknown as Connection);
  return fake;
};
const send = (fake: FakeConnection, ...commands: Command[]): void => {
  for (const command of commands) admitting.run(fake as unknown as Connection, command);
};

describe('commands of a connection', () => {
  it('run at once when there is room, and later ones without any detour', () => {
    const fake = open();
    send(fake, CONNECT, SUBSCRIBE);
    expect(fake.ran).toEqual(['connect', 'subscribe']);
  });

  it('run in order once it is let in', () => {
    send(open(), CONNECT);
    const fake = open();
    send(fake, CONNECT, SUBSCRIBE);
    expect(fake.ran).toEqual([]);
    expect(admitting.isEntering(fake as unknown as Connection)).toBe(true);
    vi.advanceTimersByTime(100);
    expect(fake.ran).toEqual(['connect', 'subscribe']);
    expect(admitting.isEntering(fake as unknown as Connection)).toBe(false);
  });

  it('are not run when it closed while its address was counted', async () => {
    network = Promise.resolve(undefined);
    const fake = open();
    send(fake, CONNECT, SUBSCRIBE);
    fake.close(1006, '');
    await vi.advanceTimersByTimeAsync(0);
    expect(fake.ran).toEqual([]);
  });

  it('stop where one of them closes the connection', async () => {
    network = Promise.resolve(undefined);
    const fake = open();
    onRun = () => fake.close(3500, 'invalid_token');
    send(fake, CONNECT, SUBSCRIBE);
    await vi.advanceTimersByTimeAsync(0);
    expect(fake.ran).toEqual(['connect']);
  });

  it('are not run when its address has too many connections', async () => {
    network = Promise.resolve({ code: 3504, reason: 'too many' });
    const fake = open();
    send(fake, CONNECT);
    await vi.advanceTimersByTimeAsync(0);
    expect(fake).toMatchObject({ ran: [], closed: { code: 3504 } });
  });

  it('beyond the bytes that are kept are answered, however few they are', () => {
    send(open(), CONNECT);
    const fake = open();
    fake.commandBytes = 20_000;
    send(fake, CONNECT, SUBSCRIBE, { ...SUBSCRIBE, id: 3 });
    expect(fake.answered).toEqual([3]);
  });
});

describe('more connections than may stand outside', () => {
  it('are refused as long as those outside have just come', () => {
    for (let n = 0; n < 4; n++) open();
    expect(admitting.refusalOfUpgrade()).toBeGreaterThan(0);
  });

  it('take the place of the one that was silent for longest, one at a time', () => {
    const [first, second] = [open(), open(), open(), open()];
    vi.advanceTimersByTime(1000);
    expect(admitting.refusalOfUpgrade()).toBeUndefined();
    expect(first.closed).toMatchObject({ code: 1013, reason: expect.stringMatching(/^retryAfterMs=\d+$/) as string });
    expect(second.closed).toBeUndefined();
  });

  it('are refused while the oldest is being let in', () => {
    network = new Promise(() => undefined);
    const first = open();
    send(first, CONNECT);
    for (let n = 0; n < 3; n++) open();
    vi.advanceTimersByTime(2000);
    expect(admitting.refusalOfUpgrade()).toBeGreaterThan(0);
    expect(first.closed).toBeUndefined();
  });
});
