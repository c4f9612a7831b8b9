// The overload ladder on a real node: a threshold that is always passed raises it, and each rung shows on the wire.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { waitFor } from '../support/index.ts';
import { type GatewayUnderTest, parseExposition, startGatewayUnderTest } from './gateway-under-test.ts';

interface Readiness {
  readonly status: string;
  readonly overload: { readonly level: number; readonly reasons: readonly string[] };
}

const start = (env: Readonly<Record<string, string>>): Promise<GatewayUnderTest> =>
  startGatewayUnderTest({
    // The other signals are the machine's, which is busy with other tests.
    WEIR_OVERLOAD_LAG_MS: '0',
    WEIR_OVERLOAD_CPU_PERCENT: '0',
    WEIR_OVERLOAD_BROKER_MS: '0',
    WEIR_OVERLOAD_RSS_BYTES: '0',
    WEIR_OVERLOAD_STEP_MS: '100',
    WEIR_OVERLOAD_RELEASE_MS: '100',
    WEIR_OVERLOAD_IDLE_MS: '300',
    ...env,
  });
const readiness = async (gateway: GatewayUnderTest): Promise<Readiness> => {
  const { status, body } = await gateway.api('/health/ready');
  expect(status).toBe(200);
  return body as Readiness;
};
const reach = (gateway: GatewayUnderTest, level: number) =>
  waitFor(async () => (await readiness(gateway)).overload.level === level, { description: `level ${level}` });
/** Whoever names a session is no newcomer. */
const RESUMING = { connect: { session: 'of-an-earlier-connection' } };

describe('a node at the top of the ladder', () => {
  let gateway: GatewayUnderTest;
  beforeAll(async () => {
    // No process is that small.
    gateway = await start({ WEIR_OVERLOAD_RSS_BYTES: '1MiB' });
    await reach(gateway, 8);
  });
  afterEach(() => gateway.giveBack());
  afterAll(() => gateway.stop());

  it('stays ready, and says how far it sheds and why', async () => {
    expect(await readiness(gateway)).toMatchObject({ status: 'ready', overload: { level: 8, reasons: ['memory'] } });
  });

  it('climbed in the published order, each rung with its reason', async () => {
    const samples = parseExposition((await gateway.api('/metrics')).text);
    expect(samples.get('weir_overload_level')).toBe(8);
    const rungs = [...samples.keys()].filter((key) => key.startsWith('weir_overload_engaged_total{'));
    expect(rungs).toEqual(
      [
        'thin_ephemeral',
        'coalesce_longer',
        'refuse_anonymous',
        'refuse_fallback',
        'move_idle',
        'refuse_new',
        'refuse_client_publishes',
        'refuse_server_publishes',
      ].map((rung) => `weir_overload_engaged_total{rung="${rung}",reason="memory"}`),
    );
  });

  it('closes a newcomer with 1013 and a delay of its own', async () => {
    const client = await gateway.connect({ connect: false });
    client.send({ type: 'connect', id: 1 });
    const { code, reason } = await client.waitForClose();
    expect(code).toBe(1013);
    expect(Number(/^retryAfterMs=(\d+)$/.exec(reason)?.[1])).toBeGreaterThanOrEqual(1000);
  });

  it('does so as well when the newcomer leaves connect out', async () => {
    const client = await gateway.connect({ connect: false });
    client.send({ type: 'subscribe', id: 1, channel: 'c' });
    expect(await client.waitForClose()).toMatchObject({ code: 1013 });
    expect(client.received).toEqual([]);
  });

  it('answers a client publish with 115 and a delay, and goes on serving the connection', async () => {
    const client = await gateway.connect(RESUMING);
    const reply = await waitFor(
      async () => {
        const answer = await client.command('publish', { channel: 'c', data: 1 });
        return answer.type === 'error' && answer;
      },
      { description: 'a refused publish' },
    );
    expect(reply).toMatchObject({ code: 115, name: 'overloaded', temporary: true });
    expect(reply['retryAfterMs']).toBeGreaterThanOrEqual(1000);
    expect((await client.expect('subscribe', { channel: 'c' })).type).toBe('subscribed');
    expect((await client.expect('ping')).type).toBe('pong');
  });

  it('answers a server publish 429 with Retry-After, as one and as a batch, and delivers what it takes', async () => {
    const client = await gateway.connect(RESUMING);
    await client.expect('subscribe', { channel: 'd' });
    let taken = 0;
    const refusedBy = (path: string, body: unknown) =>
      waitFor(
        async () => {
          const response = await fetch(`${gateway.node.url}${path}`, {
            method: 'POST',
            headers: { 'X-API-Key': gateway.apiKey },
            body: JSON.stringify(body),
          });
          const answer = (await response.json()) as Record<string, unknown>;
          if (response.status === 200) taken++;
          return response.status === 429 && { answer, retryAfter: Number(response.headers.get('retry-after')) };
        },
        { description: `a refusal at ${path}` },
      );
    const publish = { channel: 'd', data: 'x' };
    for (const [path, body] of [
      ['/v1/publish', publish],
      ['/v1/batch', { commands: [{ publish }] }],
    ] as const) {
      const { answer, retryAfter } = await refusedBy(path, body);
      expect(answer).toMatchObject({ code: 115, name: 'overloaded', temporary: true });
      expect(retryAfter).toBeGreaterThanOrEqual(1);
    }
    await client.waitForMessages(taken, 'd');
    expect(client.messages('d')).toHaveLength(taken);
  });

  it('reads history and lists channels all the same', async () => {
    expect((await gateway.api('/v1/channels')).status).toBe(200);
    expect((await gateway.api('/v1/channels/c/history')).status).toBe(200);
  });

  it('asks a connection without subscriptions to leave, once, and no other', async () => {
    const idle = await gateway.connect(RESUMING);
    const subscribed = await gateway.connect(RESUMING);
    await subscribed.expect('subscribe', { channel: 'quiet' });
    const push = await idle.waitForPush('reconnect');
    expect(push).toMatchObject({ reason: 'overloaded' });
    expect(push['withinMs']).toBeGreaterThan(push['afterMs'] as number);
    // Another one later: by then a second push to the first would be here.
    const later = await gateway.connect(RESUMING);
    await later.waitForPush('reconnect');
    for (const client of [idle, subscribed]) await client.expect('ping');
    expect(idle.pushes.filter(({ type }) => type === 'reconnect')).toHaveLength(1);
    expect(subscribed.pushes).toEqual([]);
  });

  it('waits longer for further messages before it flushes', async () => {
    const client = await gateway.connect(RESUMING);
    await client.expect('subscribe', { channel: 'slower' });
    await waitFor(
      async () => (await gateway.api('/v1/publish', { body: { channel: 'slower', data: 1 } })).status === 200,
      {
        description: 'a publish that is taken',
      },
    );
    await client.waitForMessages(1, 'slower');
    expect(await gateway.metric('weir_coalesce_delay_seconds')).toBe(0.06);
  });
});
