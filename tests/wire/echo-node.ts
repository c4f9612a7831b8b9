// A node that serves /v1/echo, and HAProxy in front of it: what conformance suites talk to.
import { type HaproxyProcess, type NodeProcess, startHaproxy, startNode } from '../support/index.ts';

export interface EchoUnderTest extends AsyncDisposable {
  readonly node: NodeProcess;
  readonly haproxy: HaproxyProcess;
  /** Where to connect, by the name of the way. */
  readonly ports: Readonly<Record<'directly' | 'through HAProxy', number>>;
}

export const ECHO_PATH = '/v1/echo';
export const ECHO_API_KEY = 'secret-of-the-echo-node-0123456789';

/** `maxFrameBytes` bounds what is echoed. */
export const startEcho = async (
  maxFrameBytes: number,
  env: Readonly<Record<string, string>> = {},
): Promise<EchoUnderTest> => {
  const node = await startNode({
    name: 'echo',
    apiKey: ECHO_API_KEY,
    env: {
      WEIR_CONFORMANCE_ECHO: 'true',
      WEIR_ALLOWED_HOSTS: '*',
      WEIR_MAX_FRAME_BYTES: String(maxFrameBytes),
      WEIR_MAX_OUTBOX_BYTES: String(Math.max(1024 * 1024, maxFrameBytes)),
      ...env,
    },
  });
  const haproxy = await startHaproxy({ slots: 1, config: { extraPublicPaths: [ECHO_PATH] } });
  await haproxy.setNodes([node]);
  return {
    node,
    haproxy,
    ports: { directly: node.port, 'through HAProxy': haproxy.port },
    [Symbol.asyncDispose]: async () => {
      await haproxy.stop();
      await node.stop();
    },
  };
};
