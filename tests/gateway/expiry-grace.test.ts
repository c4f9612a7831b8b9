// The grace after the end of a token, through a real node whose grace is short: who is closed, who is not, and when.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { signToken, TOKEN_SECRET, waitFor } from '../support/index.ts';
import { type GatewayUnderTest, startGatewayUnderTest } from './gateway-under-test.ts';

const GRACE_MS = 3000;

let gateway: GatewayUnderTest;
beforeAll(async () => {
  gateway = await startGatewayUnderTest({
    WEIR_JWT_SECRET: TOKEN_SECRET,
    WEIR_TOKEN_EXPIRY_GRACE_MS: String(GRACE_MS),
  });
});
afterAll(() => gateway.stop());

/** A connection whose token is over at `endsAtMs`, at most two seconds from now. */
const connectBriefly = async () => {
  const exp = Math.floor(Date.now() / 1000) + 2;
  const client = await gateway.connect({ connect: { token: signToken({ sub: 'ada', exp }) } });
  await client.expect('subscribe', { channel: 'c' });
  const closedAtMs = new Promise<number>((resolve) => client.socket.once('close', () => resolve(Date.now())));
  return { client, closedAtMs, endsAtMs: exp * 1000 };
};

describe('a connection whose token is over', () => {
  it('is served until its grace has passed, and closed with 3005 then, not before', async () => {
    const { client, closedAtMs, endsAtMs } = await connectBriefly();
    expect(await client.waitForClose()).toEqual({ code: 3005, reason: 'token_expired' });
    // The same machine, so the same clock: no tolerance is due on the early side.
    expect((await closedAtMs) - endsAtMs).toBeGreaterThanOrEqual(GRACE_MS);
    expect(await gateway.metric('weir_connections')).toBe(0);
  });

  it('goes on when it refreshes within the grace, with what it was subscribed to and its rights, past the end it had', async () => {
    const { client, endsAtMs } = await connectBriefly();
    const witness = await connectBriefly();
    const refusal = await waitFor(
      async () => {
        const reply = await client.command('publish', { channel: 'c', data: 'early' });
        return reply.type === 'error' ? reply : undefined;
      },
      { description: 'the token to be over' },
    );
    expect(refusal).toMatchObject({ code: 109 });
    expect(Date.now()).toBeGreaterThanOrEqual(endsAtMs);
    expect(await client.expect('refresh', { token: signToken({ sub: 'ada' }) })).toMatchObject({ type: 'refreshed' });
    // Who did not refresh and came later is closed: by then this one would have been as well.
    expect(await witness.client.waitForClose()).toMatchObject({ code: 3005 });
    expect(client.closed()).toBeUndefined();
    expect(await client.expect('publish', { channel: 'c', data: 'late' })).toMatchObject({ type: 'published' });
    await waitFor(() => client.messages('c').some(({ data }) => data === 'late'), { description: 'the message' });
  });

  it('a refresh with another token that is over does not buy time', async () => {
    const { client, closedAtMs, endsAtMs } = await connectBriefly();
    const over = await waitFor(
      async () => {
        const reply = await client.command('refresh', { token: signToken({ sub: 'ada' }, { expiresInS: -1 }) });
        return Date.now() > endsAtMs ? reply : undefined;
      },
      { description: 'the grace to begin' },
    );
    expect(over).toMatchObject({ type: 'error', code: 109 });
    expect(await client.waitForClose()).toMatchObject({ code: 3005 });
    expect((await closedAtMs) - endsAtMs).toBeGreaterThanOrEqual(GRACE_MS);
  });
});
