import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { answerJson, type HookAnswer, type HookBackend, startHookBackend } from '../../tests/support/index.ts';
import { createRandomIds, systemClock } from '../clock.ts';
import { createMetricsRegistry } from '../observability/registry.ts';
import { createHooks, type Hooks, type HookSettings } from './hooks.ts';
import { signatureOf } from './signature.ts';

const SECRET = 'secret-of-the-hooks-0123456789012345';
const asker = { connection: 'c1', user: 'ann', address: '192.0.2.1' };

let backend: HookBackend;
const opened: Hooks[] = [];
beforeEach(async () => {
  backend = await startHookBackend();
});
afterEach(async () => {
  for (const hooks of opened.splice(0)) hooks.close();
  await backend[Symbol.asyncDispose]();
});

const setUp = (settings: Partial<HookSettings> = {}) => {
  const metrics = createMetricsRegistry();
  const hooks = createHooks({
    settings: {
      hookConnectUrl: `${backend.url}/connect`,
      hookSubscribeUrl: `${backend.url}/subscribe`,
      hookPublishUrl: `${backend.url}/publish`,
      hookRpcUrl: `${backend.url}/rpc`,
      hookEventsUrl: `${backend.url}/events`,
      hookSecret: SECRET,
      hookTimeoutMs: 5000,
      hookRetries: 1,
      hookFailOpen: [],
      hookMaxConcurrent: 10,
      hookMaxQueue: 10,
      hookMaxAnswerBytes: 1024,
      hookBreakerFailures: 100,
      hookBreakerOpenMs: 60_000,
      hookPrivateAddresses: true,
      ...settings,
    },
    nodeName: 'n1',
    clock: systemClock,
    ids: createRandomIds(),
    random: () => 0,
    metrics,
  });
  opened.push(hooks);
  const counted = async (sample: string): Promise<number> => {
    const line = (await metrics.exposition()).split('\n').find((text) => text.startsWith(`${sample} `));
    return Number(line?.slice(sample.length) ?? 0);
  };
  const outcome = (name: string, hook = 'subscribe'): Promise<number> =>
    counted(`weir_hook_calls_total{hook="${hook}",outcome="${name}"}`);
  return { hooks, counted, outcome };
};
const subscribe = (hooks: Hooks): Promise<void> => hooks.subscribe(asker, 'chat:1')!;
const unanswered = { error: 'internal', retryAfterMs: 1000 };

describe('a decision', () => {
  it('is asked with who and what, signed so that the backend can check it', async () => {
    const { hooks } = setUp();
    await hooks.publish(asker, { channel: 'chat:1', data: { text: 'ä' }, key: 'k' });
    const [call] = backend.calls;
    expect(call!.path).toBe('/publish');
    const id = call!.headers['webhook-id'] as string;
    expect(call!.body).toEqual({
      ...{ hook: 'publish', id, node: 'n1', connection: 'c1', user: 'ann', address: '192.0.2.1' },
      ...{ channel: 'chat:1', data: { text: 'ä' }, key: 'k' },
    });
    const timestampS = Number(call!.headers['webhook-timestamp']);
    expect(Math.abs(Date.now() / 1000 - timestampS)).toBeLessThan(60);
    expect(call!.headers['webhook-signature']).toBe(signatureOf(SECRET, id, timestampS, Buffer.from(call!.text)));
  });

  it('allows or denies, with the reason of the application', async () => {
    const { hooks, counted } = setUp();
    await subscribe(hooks);
    backend.answerWith(answerJson({ allow: false, reason: 'not your room' }));
    await expect(subscribe(hooks)).rejects.toMatchObject({ error: 'permissionDenied', message: 'not your room' });
    backend.answerWith(answerJson({ allow: false }));
    await expect(subscribe(hooks)).rejects.toMatchObject({ error: 'permissionDenied' });
    expect(await counted('weir_hook_decisions_total{hook="subscribe",decision="denied"}')).toBe(2);
  });

  it('is not asked where there is no hook', () => {
    const { hooks } = setUp({ hookSubscribeUrl: undefined, hookPublishUrl: undefined });
    expect(hooks.subscribe(asker, 'c')).toBeUndefined();
    expect(hooks.publish(asker, { channel: 'c', data: 1 })).toBeUndefined();
    expect(backend.calls).toEqual([]);
  });
});

const cut: HookAnswer = (_, response) => response.socket?.resetAndDestroy();
const cutInside: HookAnswer = (_, response) => {
  response.writeHead(200, { 'content-length': '100' }).write('{"allow":');
  setImmediate(() => response.socket?.resetAndDestroy());
};
const huge: HookAnswer = (_, response) => void response.end(`{"allow":true,"more":"${'x'.repeat(5000)}"}`);
const never: HookAnswer = () => undefined;
const slowly: HookAnswer = (_, response) => {
  response.writeHead(200).write('{"allow"');
  const timer = setInterval(() => response.write(' '), 20);
  response.on('close', () => clearInterval(timer));
};
const elsewhere: HookAnswer = (_, response) => void response.writeHead(302, { location: `${backend.url}/other` }).end();

describe('a backend that gives no usable answer', () => {
  it.each<[string, HookAnswer, string, number]>([
    ['500', answerJson({ allow: true }, 500), 'status', 2],
    ['429', answerJson({ allow: true }, 429), 'status', 2],
    ['403', answerJson({ allow: true }, 403), 'status', 1],
    ['a redirect', elsewhere, 'status', 1],
    ['no JSON', (_, response) => void response.end('allow'), 'invalid', 1],
    ['another form', answerJson({ allow: 'yes' }), 'invalid', 1],
    ['a huge answer', huge, 'invalid', 1],
    ['a reset', cut, 'network', 2],
    ['a reset inside the answer', cutInside, 'network', 2],
    ['silence', never, 'timeout', 2],
    ['an answer that never ends', slowly, 'timeout', 2],
  ])('%s: is refused, and asked again only where that may help', async (_, answer, name, attempts) => {
    const { hooks, counted, outcome } = setUp({ hookTimeoutMs: 200 });
    backend.answerWith(answer);
    await expect(subscribe(hooks)).rejects.toMatchObject(unanswered);
    expect(backend.calls.map(({ path }) => path)).toEqual(Array.from({ length: attempts }, () => '/subscribe'));
    expect(await outcome(name)).toBe(attempts);
    expect(await counted('weir_hook_decisions_total{hook="subscribe",decision="failed_closed"}')).toBe(1);
    // The next one is as if nothing had been.
    backend.answerWith(answerJson({ allow: true }));
    await subscribe(hooks);
  });

  it('is asked again with the same id and a fresh signature, and its late answer counts', async () => {
    const { hooks, counted } = setUp();
    let asked = 0;
    backend.answerWith((call, response) => (++asked === 1 ? cut : answerJson({ allow: true }))(call, response));
    await subscribe(hooks);
    const ids = backend.calls.map(({ headers }) => headers['webhook-id']);
    expect(ids).toEqual([ids[0], ids[0]]);
    expect(await counted('weir_hook_retries_total{hook="subscribe"}')).toBe(1);
  });

  it('counts as yes for the hooks that fail open, and for those alone', async () => {
    const { hooks, counted } = setUp({ hookFailOpen: ['publish'] });
    backend.answerWith(cut);
    await hooks.publish(asker, { channel: 'c', data: 1 });
    await expect(subscribe(hooks)).rejects.toMatchObject(unanswered);
    expect(await counted('weir_hook_decisions_total{hook="publish",decision="failed_open"}')).toBe(1);
    for (const status of [429, 500]) {
      backend.answerWith(answerJson({}, status));
      await hooks.publish(asker, { channel: 'c', data: 1 });
    }
    backend.answerWith(answerJson({ allow: false }));
    await expect(hooks.publish(asker, { channel: 'c', data: 1 })).rejects.toMatchObject({ error: 'permissionDenied' });
    // It is there and says something else: a client may have provoked that.
    for (const answer of [answerJson({ allow: true }, 400), elsewhere, answerJson({ allow: 1 }), huge]) {
      backend.answerWith(answer);
      await expect(hooks.publish(asker, { channel: 'c', data: 1 })).rejects.toMatchObject(unanswered);
    }
  });

  it('is not called any more after too many failures in a row, and found again when it is back', async () => {
    const { hooks, counted, outcome } = setUp({ hookBreakerFailures: 2, hookBreakerOpenMs: 150 });
    backend.answerWith(cut);
    await expect(subscribe(hooks)).rejects.toMatchObject(unanswered);
    await expect(subscribe(hooks)).rejects.toMatchObject(unanswered);
    expect(backend.calls).toHaveLength(2);
    expect(await outcome('open')).toBe(1);
    expect(await counted('weir_hook_breaker_open{hook="subscribe"}')).toBe(1);
    // Another hook is another matter.
    backend.answerWith(answerJson({ allow: true }));
    await hooks.publish(asker, { channel: 'c', data: 1 });
    await expect.poll(() => subscribe(hooks).then(() => 'allowed'), { timeout: 10_000 }).toBe('allowed');
    expect(await counted('weir_hook_breaker_open{hook="subscribe"}')).toBe(0);
  });

  it('holds a bounded number of calls: the rest is refused at once', async () => {
    const { hooks, outcome, counted } = setUp({ hookMaxConcurrent: 2, hookMaxQueue: 3, hookTimeoutMs: 60_000 });
    const held: (() => void)[] = [];
    backend.answerWith((call, response) => void held.push(() => answerJson({ allow: true })(call, response)));
    const asked = Array.from({ length: 5 }, () => subscribe(hooks));
    await expect.poll(() => held.length, { timeout: 10_000 }).toBe(2);
    expect(await counted('weir_hook_waiting{hook="subscribe"}')).toBe(3);
    await expect(subscribe(hooks)).rejects.toMatchObject(unanswered);
    expect(await outcome('full')).toBe(1);
    backend.answerWith(answerJson({ allow: true }));
    for (const answer of held) answer();
    await Promise.all(asked);
  });

  it('may not be in a private network where its URL is not trusted', async () => {
    const { hooks, outcome } = setUp({ hookPrivateAddresses: false });
    await expect(subscribe(hooks)).rejects.toMatchObject(unanswered);
    const byName = setUp({
      hookPrivateAddresses: false,
      hookSubscribeUrl: backend.url.replace('127.0.0.1', 'localhost'),
    });
    await expect(subscribe(byName.hooks)).rejects.toMatchObject(unanswered);
    expect(backend.calls).toEqual([]);
    expect([await outcome('address'), await byName.outcome('address')]).toEqual([1, 1]);
  });
});

describe('rpc', () => {
  it('brings the answer of the application, or its error', async () => {
    const { hooks } = setUp();
    backend.answerWith(answerJson({ data: { sum: 3 } }));
    expect(await hooks.rpc(asker, { method: 'add', data: [1, 2] })).toEqual({ sum: 3 });
    expect(backend.calls[0]!.body).toMatchObject({ hook: 'rpc', method: 'add', data: [1, 2], user: 'ann' });
    backend.answerWith(answerJson({ error: { message: 'no such method' } }));
    await expect(hooks.rpc(asker, { method: 'x' })).rejects.toMatchObject({
      error: 'badRequest',
      message: 'no such method',
    });
  });

  it('is never repeated, and says when nobody answered', async () => {
    const { hooks } = setUp({ hookRetries: 3 });
    backend.answerWith(cut);
    await expect(hooks.rpc(asker, { method: 'pay' })).rejects.toMatchObject(unanswered);
    expect(backend.calls).toHaveLength(1);
  });

  it('is not available without its hook', async () => {
    const { hooks } = setUp({ hookRpcUrl: undefined });
    await expect(hooks.rpc(asker, { method: 'x' })).rejects.toMatchObject({ error: 'notAvailable' });
  });
});

describe('events', () => {
  const told = [{ id: 'a.1.connected' }, { id: 'b.1.connected' }];

  it('are taken by any 2xx, whatever its body, and the same ones have the same name', async () => {
    const { hooks, outcome } = setUp();
    backend.answerWith((_, response) => response.writeHead(204).end());
    for (const events of [told, told, told.slice(0, 1)]) await hooks.events!.send(events);
    backend.answerWith((_, response) => response.writeHead(200).end('thanks'));
    await hooks.events!.send(told);
    const names = backend.calls.map(({ headers }) => headers['webhook-id']);
    expect(names).toEqual([names[0], names[0], names[2], names[0]]);
    expect(names[2]).not.toBe(names[0]);
    expect(backend.calls[0]!.body).toEqual({ hook: 'events', id: names[0], node: 'n1', events: told });
    expect(await outcome('answered', 'events')).toBe(4);
  });

  it('are not taken by anything else, and are tried once: whoever keeps them tries again', async () => {
    const { hooks } = setUp();
    for (const status of [302, 404, 500]) {
      backend.answerWith(answerJson({}, status));
      await expect(hooks.events!.send(told)).rejects.toThrow('no usable answer');
    }
    backend.answerWith((_, response) => response.socket?.resetAndDestroy());
    await expect(hooks.events!.send(told)).rejects.toThrow('no usable answer');
    expect(backend.calls).toHaveLength(4);
  });

  it('do not go to a private address where these are refused, and nowhere without a URL', async () => {
    await expect(setUp({ hookPrivateAddresses: false }).hooks.events!.send(told)).rejects.toThrow('address');
    expect(backend.calls).toEqual([]);
    expect(setUp({ hookEventsUrl: undefined }).hooks.events).toBeUndefined();
  });
});
