// One gateway process with its clients, as the suites of this folder use it: whatever a test opens is given back.
import {
  type JsonAnswer,
  type JsonRequest,
  type NodeProcess,
  openRawSocket,
  openWsClient,
  type RawSocket,
  requestJson,
  startNode,
  waitFor,
  type WsClient,
  type WsClientOptions,
} from '../support/index.ts';

export interface GatewayUnderTest {
  readonly node: NodeProcess;
  readonly apiKey: string;
  readonly wsUrl: string;
  /** Opens a client that `giveBack` closes. */
  connect(options?: WsClientOptions): Promise<WsClient>;
  /** Opens a raw connection that `giveBack` closes. */
  raw(): Promise<RawSocket>;
  /** Calls the server API with the node's key; `apiKey` and `headers` of the request win. */
  api(path: string, request?: JsonRequest): Promise<JsonAnswer>;
  /** Publishes by HTTP and expects success. */
  publish(channel: string, data: unknown, more?: Readonly<Record<string, unknown>>): Promise<Position>;
  /** Sum over all labels of one metric. */
  metric(name: string): Promise<number>;
  /** Closes whatever `connect` and `raw` opened. */
  giveBack(): Promise<void>;
  /** Resolves when the node holds no connection, subscription or channel; rejects when the process ended. */
  isIdle(): Promise<void>;
  stop(): Promise<void>;
}

export interface Position {
  readonly channel: string;
  readonly epoch: string;
  readonly offset: number;
  readonly duplicate: boolean;
}

/** Values of every sample of the Prometheus text format by its name with labels. */
export const parseExposition = (text: string): ReadonlyMap<string, number> =>
  new Map(
    text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => {
        const end = line.lastIndexOf(' ');
        return [line.slice(0, end), Number(line.slice(end + 1))];
      }),
  );

/** Secret of the key `dev`, which has every scope; a test that configures keys itself includes it. */
export const API_KEY = 'secret-of-the-test-gateway-0123456789';

export async function startGatewayUnderTest(
  env: Readonly<Record<string, string>> = {},
  options: { readonly internalPort?: number } = {},
): Promise<GatewayUnderTest> {
  const node = await startNode({
    name: 'under-test',
    apiKey: API_KEY,
    // Requests are written by hand here, with any name in `Host`.
    env: { WEIR_ALLOWED_HOSTS: '*', ...env },
    ...options,
  });
  const wsUrl = `${node.url.replace('http', 'ws')}/v1/ws`;
  const apiUrl = node.internalPort === undefined ? node.url : `http://127.0.0.1:${node.internalPort}`;
  let opened: AsyncDisposable[] = [];
  const keep = <T extends AsyncDisposable>(one: T): T => {
    opened.push(one);
    return one;
  };
  const api: GatewayUnderTest['api'] = (path, request = {}) =>
    requestJson(apiUrl + path, { apiKey: API_KEY, ...request });
  const metric = async (name: string): Promise<number> => {
    const samples = parseExposition((await api('/metrics')).text);
    return [...samples].reduce((sum, [key, value]) => (key.split('{')[0] === name ? sum + value : sum), 0);
  };
  return {
    node,
    apiKey: API_KEY,
    wsUrl,
    connect: async (clientOptions) => keep(await openWsClient(wsUrl, clientOptions)),
    raw: async () => keep(await openRawSocket(node.port)),
    api,
    publish: async (channel, data, more) => {
      const answer = await api('/v1/publish', { body: { channel, data, ...more } });
      if (answer.status !== 200) throw new Error(`publish answered ${answer.status}: ${answer.text}`);
      return answer.body as Position;
    },
    metric,
    giveBack: async () => {
      const closing = opened;
      opened = [];
      await Promise.all(closing.map((one) => one[Symbol.asyncDispose]()));
    },
    isIdle: async () => {
      let held = '';
      const ended = node.exited.then(() => {
        throw new Error(`the node ended; its last output:\n${node.lastOutput()}`);
      });
      const idle = waitFor(
        async () => {
          const samples = parseExposition((await api('/metrics')).text);
          const counts = ['weir_connections', 'weir_subscriptions', 'weir_channels'].map((name) => samples.get(name));
          held = counts.join(', ');
          return counts.every((count) => count === 0);
        },
        { description: () => `the node to hold no connections, subscriptions, channels; it holds ${held}` },
      );
      await Promise.race([ended, idle]);
    },
    stop: async () => {
      await node.stop();
    },
  };
}
