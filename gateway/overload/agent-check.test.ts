import { connect } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { type AgentCheck, type AgentCheckState, agentCheckLine, openAgentCheck, weightByRoom } from './agent-check.ts';

const opened: AgentCheck[] = [];
afterEach(async () => {
  for (const check of opened.splice(0)) await check.close();
});

/** All that comes before the other side ends the connection. */
const ask = (port: number, says = ''): Promise<string> =>
  new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect({ host: '127.0.0.1', port }, () => socket.write(says));
    socket.on('data', (chunk) => (answer += chunk.toString()));
    socket.on('end', () => socket.end());
    socket.on('close', () => {
      resolve(answer);
    });
    socket.on('error', reject);
  });

describe('the answer to an agent-check', () => {
  it.each<[AgentCheckState, number, string]>([
    [{ kind: 'ready' }, 75, 'ready up 75%\n'],
    [{ kind: 'ready' }, 0, 'ready up 1%\n'],
    [{ kind: 'ready' }, 250, 'ready up 100%\n'],
    [{ kind: 'draining' }, 75, 'drain\n'],
    [{ kind: 'not_ready', reason: 'deaf for 3 s' }, 75, 'down #deaf for 3 s\n'],
    [{ kind: 'not_ready', reason: 'a\nready up 100%\r\nü' }, 75, 'down #a ready up 100%   \n'],
    [{ kind: 'maintenance' }, 75, 'maint\n'],
  ])('%o at %i %% is %j', (state, weight, line) => {
    expect(agentCheckLine(state, weight)).toBe(line);
  });

  it('is one line whatever the reason is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (reason) => {
        const line = agentCheckLine({ kind: 'not_ready', reason }, 50);
        expect(line).toMatch(/^down #[\x20-\x7e]{0,100}\n$/);
      }),
    );
  });

  it('follows state and weight, and needs no question', async () => {
    let state: AgentCheckState = { kind: 'ready' };
    const check = await openAgentCheck({ host: '127.0.0.1', port: 0, state: () => state, weight: () => 40 });
    opened.push(check);
    expect(await ask(check.port)).toBe('ready up 40%\n');
    state = { kind: 'draining' };
    expect(await ask(check.port, 'x'.repeat(100_000))).toBe('drain\n');
  });

  it('costs no more than its bound of connections, and one port has one listener', async () => {
    const options = { host: '127.0.0.1', state: () => ({ kind: 'ready' }) as const, weight: () => 100 };
    const check = await openAgentCheck({ ...options, port: 0 });
    opened.push(check);
    await expect(openAgentCheck({ ...options, port: check.port })).rejects.toThrow('EADDRINUSE');
    const answers = await Promise.allSettled(Array.from({ length: 200 }, () => ask(check.port)));
    expect(answers.some((one) => one.status === 'fulfilled' && one.value === 'ready up 100%\n')).toBe(true);
    expect(await ask(check.port)).toBe('ready up 100%\n');
  });
});

describe('the weight by room', () => {
  it.each([
    [0, 100],
    [80, 100],
    [90, 50],
    [95, 30],
    [100, 1],
    [130, 1],
  ])('with %d of 100 connections is %d', (connections, weight) => {
    expect(weightByRoom(connections, 100)).toBe(weight);
  });

  it('never grows with the connections and stays within 1–100', () => {
    fc.assert(
      fc.property(fc.nat(200), fc.nat(200), (one, other) => {
        const [high, low] = [weightByRoom(Math.min(one, other), 100), weightByRoom(Math.max(one, other), 100)];
        expect(low).toBeLessThanOrEqual(high);
        expect(low).toBeGreaterThanOrEqual(1);
        expect(high).toBeLessThanOrEqual(100);
      }),
    );
  });
});
