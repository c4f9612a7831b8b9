// Tokens through a real node: who gets in, as whom, and how everybody else is told that they do not.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { forgeToken, signToken, TOKEN_SECRET, waitFor } from '../support/index.ts';
import { type GatewayUnderTest, startGatewayUnderTest } from './gateway-under-test.ts';

let gateway: GatewayUnderTest;
beforeAll(async () => {
  gateway = await startGatewayUnderTest({ WEIR_JWT_SECRET: TOKEN_SECRET, WEIR_JWT_AUDIENCE: 'weir' });
});
afterEach(async () => {
  await gateway.giveBack();
  await gateway.isIdle();
});
afterAll(() => gateway.stop());

const nowS = (): number => Math.floor(Date.now() / 1000);
const good = (claims: Readonly<Record<string, unknown>> = {}) => signToken({ sub: 'ada', aud: 'weir', ...claims });

describe('a connect with a valid token', () => {
  it('is answered with the user and when the token ends', async () => {
    const client = await gateway.connect({ connect: { token: good() } });
    expect(client.connected).toMatchObject({ type: 'connected', user: 'ada' });
    const { expiresInMs } = client.connected as unknown as { expiresInMs: number };
    expect(expiresInMs).toBeGreaterThan(3_500_000);
    expect(expiresInMs).toBeLessThanOrEqual(3_600_000);
  });

  it('may be followed by commands in the same frame, which have its rights', async () => {
    const client = await gateway.connect({ connect: false });
    const token = good({ weir: { subscribe: ['user:{user}'] } });
    const replies = await client.commands([
      { type: 'connect', token },
      { type: 'subscribe', channel: 'user:ada' },
      { type: 'subscribe', channel: 'user:bob' },
    ]);
    expect(replies).toMatchObject([
      { type: 'connected' },
      { type: 'subscribed', channel: 'user:ada' },
      { type: 'error', code: 103 },
    ]);
  });

  it('has its publications stamped with user and connection, whatever the client writes', async () => {
    const client = await gateway.connect({ connect: { token: good() } });
    await client.expect('subscribe', { channel: 'chat:lobby' });
    await client.expect('publish', { channel: 'chat:lobby', data: 1, publisher: { user: 'eve', connection: 'x' } });
    const [message] = await client.waitForMessages(1);
    const { connection } = client.connected as unknown as { connection: string };
    expect(message?.['publisher']).toEqual({ user: 'ada', connection });
  });

  it('is subscribed by the server to the channels that the token names, and may take them over', async () => {
    const token = good({ weir: { channels: ['inbox:ada', 'news'], subscribe: [], publish: [] } });
    const client = await gateway.connect({ connect: { token } });
    for (const channel of ['inbox:ada', 'news']) {
      expect(await client.waitForPush('subscribed', (push) => push['channel'] === channel)).not.toHaveProperty('id');
    }
    expect(client.received[0]).toMatchObject({ type: 'connected' });
    await gateway.publish('inbox:ada', 'hello');
    expect(await client.waitForMessages(1, 'inbox:ada')).toMatchObject([{ data: 'hello' }]);
    expect(await client.expect('subscribe', { channel: 'news' })).toMatchObject({ type: 'subscribed' });
    expect(await client.command('subscribe', { channel: 'news' })).toMatchObject({ type: 'error', code: 105 });
    expect(await client.command('subscribe', { channel: 'other' })).toMatchObject({ type: 'error', code: 103 });
  });
});

describe('a connect with a token that is none', () => {
  const claims = { sub: 'ada', aud: 'weir', exp: nowS() + 3600 };
  const hs256 = { alg: 'HS256', typ: 'JWT' };
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ['text', 'no token', /compact form/],
    ['two dots and nothing', '..', /compact form/],
    ['alg none', forgeToken({ alg: 'none' }, claims, { signature: '' }), /alg/],
    ['alg nOnE with a signature', forgeToken({ alg: 'nOnE' }, claims), /alg/],
    ['no alg', forgeToken({}, claims), /alg/],
    ['an alg that is an object', forgeToken({ alg: { toString: 'HS256' } }, claims), /alg/],
    ['a stripped signature', forgeToken(hs256, claims, { signature: '' }), /signature/],
    ['a wrong signature', forgeToken(hs256, claims, { secret: 'another' }), /no key/],
    ['a family without a key', forgeToken({ alg: 'RS256' }, claims), /no key/],
    ['extensions that must be understood', forgeToken({ ...hs256, crit: ['b64'], b64: false }, claims), /crit/],
    ['a key id that is no text', forgeToken({ ...hs256, kid: {} }, claims), /kid/],
    ['a header that is no object', forgeToken('[]', claims), /header/],
    ['claims that are no object', forgeToken(hs256, '"ada"'), /aud/],
    ['claims that are no JSON', forgeToken(hs256, '{"sub":'), /claims/],
    ['sub twice', forgeToken(hs256, `{"sub":"eve","aud":"weir","\\u0073ub":"ada"}`), /once/],
    ['alg twice', forgeToken('{"alg":"none","alg":"HS256"}', claims), /once/],
    ['bytes that are no UTF-8', `${'_'.repeat(8)}.e30.AA`, /header/],
    ['no sub', forgeToken(hs256, { aud: 'weir' }), /sub/],
    ['a sub that is a number', good({ sub: 7 }), /sub/],
    ['an empty sub', forgeToken(hs256, { ...claims, sub: '' }), /sub/],
    ['a sub with a line feed', forgeToken(hs256, { ...claims, sub: 'a\nb' }), /sub/],
    ['a sub that is too long', forgeToken(hs256, { ...claims, sub: 'a'.repeat(201) }), /sub/],
    ['an exp that is text', forgeToken(hs256, { ...claims, exp: '9999999999' }), /exp/],
    ['an exp beyond all time', forgeToken(hs256, `{"sub":"ada","aud":"weir","exp":1e400}`), /exp/],
    ['an exp that is null', forgeToken(hs256, { ...claims, exp: null }), /exp/],
    ['an nbf in the future', good({ nbf: nowS() + 600 }), /nbf/],
    ['another audience', good({ aud: 'elsewhere' }), /aud/],
    ['no audience', signToken({ sub: 'ada' }), /aud/],
    ['rights that are no list', forgeToken(hs256, { ...claims, weir: { subscribe: '*' } }), /weir\.subscribe/],
    ['a pattern that is none', forgeToken(hs256, { ...claims, weir: { publish: ['chat*'] } }), /weir\.publish\[0\]/],
    ['a channel that is none', forgeToken(hs256, { ...claims, weir: { channels: ['a*'] } }), /weir\.channels/],
    ['rights that are null', forgeToken(hs256, { ...claims, weir: null }), /weir/],
    [
      'claims nested without end',
      forgeToken(hs256, `{"aud":"weir","sub":${'['.repeat(5000)}${']'.repeat(5000)}}`),
      /sub/,
    ],
  ];

  it.each(cases)('%s: error 101, then close 3500', async (_, token, message) => {
    const client = await gateway.connect({ connect: false });
    const reply = await client.command('connect', { token });
    expect(reply).toMatchObject({ type: 'error', code: 101 });
    expect(reply['message']).toMatch(message);
    expect(await client.waitForClose()).toEqual({ code: 3500, reason: 'invalid_token' });
  });

  it('what is longer than any token is a bad request', async () => {
    const client = await gateway.connect({ connect: false });
    const reply = await client.command('connect', { token: 'x'.repeat(16_385) });
    expect(reply).toMatchObject({ type: 'error', code: 107 });
    expect(JSON.stringify(reply)).not.toContain('xxx');
  });

  it('an expired one: error 109, then close 3005, so that the client fetches another', async () => {
    const client = await gateway.connect({ connect: false });
    const reply = await client.command('connect', { token: good({ exp: nowS() - 1 }) });
    expect(reply).toMatchObject({ type: 'error', code: 109 });
    expect(await client.waitForClose()).toMatchObject({ code: 3005 });
  });

  it('an expired one of another key is an invalid one', async () => {
    const client = await gateway.connect({ connect: false });
    const token = signToken({ sub: 'ada', aud: 'weir' }, { key: 'x'.repeat(64), expiresInS: -1 });
    expect(await client.command('connect', { token })).toMatchObject({ type: 'error', code: 101 });
    expect(await client.waitForClose()).toMatchObject({ code: 3500 });
  });

  it('a token that was valid before is refused once its time is over, although it is known', async () => {
    const token = good({ exp: nowS() + 2 });
    await gateway.connect({ connect: { token } });
    const refused = await waitFor(
      async () => {
        const client = await gateway.connect({ connect: false });
        const reply = await client.command('connect', { token });
        return reply.type === 'error' ? reply : undefined;
      },
      { description: 'the token to be refused' },
    );
    expect(refused).toMatchObject({ code: 109 });
  });
});
