// `POST /v1/drain`: who may call it, what it refuses, and that the process ends by it as by SIGTERM.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openWsClient, requestJson } from '../support/index.ts';
import { API_KEY, type GatewayUnderTest, startGatewayUnderTest } from './gateway-under-test.ts';

const PUBLISHER = 'secret-of-a-publisher-0123456789abcdef';

let gateway: GatewayUnderTest;
beforeAll(async () => {
  gateway = await startGatewayUnderTest({
    WEIR_API_KEYS: `dev=${API_KEY},publisher=${PUBLISHER}:publish+read+metrics`,
  });
});
afterAll(() => gateway.stop());

const drain = (body?: unknown, apiKey = API_KEY) =>
  requestJson(`${gateway.node.url}/v1/drain`, { method: 'POST', ...(apiKey !== '' && { apiKey }), body });
const isReady = async (): Promise<boolean> => (await requestJson(`${gateway.node.url}/health/ready`)).status === 200;

describe('a call that is refused drains nothing', () => {
  it.each<[string, unknown, string, number, number]>([
    ['without a key', {}, '', 401, 101],
    ['with a key of another scope', {}, PUBLISHER, 403, 103],
    ['for a node that is not there', { node: 'nobody' }, API_KEY, 404, 108],
    ['with a node that is no name', { node: 7 }, API_KEY, 422, 107],
    ['with an empty name', { node: '' }, API_KEY, 422, 107],
    ['with a very long name', { node: 'n'.repeat(101) }, API_KEY, 422, 107],
    ['with a time that would end it before the answer', { timeoutMs: 0 }, API_KEY, 422, 107],
    ['with a negative time', { timeoutMs: -1 }, API_KEY, 422, 107],
    ['with a time without end', { timeoutMs: 1e15 }, API_KEY, 422, 107],
    ['with a time in words', { timeoutMs: '30s' }, API_KEY, 422, 107],
    ['with a list', [], API_KEY, 422, 107],
    ['with null', null, API_KEY, 422, 107],
  ])('%s', async (_, body, apiKey, status, code) => {
    const answer = await drain(body, apiKey);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect({ status: answer.status, body: answer.body }).toMatchObject({ status, body: { code } });
    expect(await isReady()).toBe(true);
  });
});

describe('a call that is accepted', () => {
  it('is answered before anything ends, and the process ends with 0 although SIGTERM comes as well', async () => {
    const clients = await Promise.all([1, 2, 3].map(() => openWsClient(gateway.wsUrl)));
    const answer = await drain();
    expect({ status: answer.status, body: answer.body }).toEqual({
      status: 202,
      body: {
        node: 'under-test',
        connections: 3,
        survivors: [],
        movesPerSecond: 0,
        firstMoveMs: 0,
        lastMoveMs: 0,
        timeoutMs: 30_000,
      },
    });
    gateway.node.kill('SIGTERM');
    const closes = await Promise.all(clients.map((client) => client.waitForClose()));
    expect(closes.map(({ code }) => code)).toEqual([1012, 1012, 1012]);
    expect(await gateway.node.exited).toEqual({ code: 0, signal: null });
  });
});
