// The node that is fuzzed: small, forgetful, and watched for what it keeps.
import { readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseExposition } from '../../gateway/gateway-under-test.ts';
import { type NodeProcess, requestJson, startNode, temporaryDirectory, waitFor } from '../../support/index.ts';

export const FUZZ_KEY = 'secret-of-the-fuzzed-node-0123456789';
export const READER_KEY = 'reader-of-the-fuzzed-node-0123456789';

export interface Held {
  readonly descriptors: number;
  readonly rssBytes: number;
}

export interface FuzzedNode extends AsyncDisposable {
  readonly node: NodeProcess;
  /** Resolves when the very same process lives, is ready and holds no connection, subscription or channel; with what it holds else. */
  isIdle(): Promise<Held>;
}

/** What the process holds, as the kernel sees it (Linux). */
const heldBy = (pid: number): Held => ({
  descriptors: readdirSync(`/proc/${pid}/fd`).length,
  rssBytes: 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]),
});

export const startFuzzedNode = async (): Promise<FuzzedNode> => {
  const directory = await temporaryDirectory('fuzz');
  const config = join(directory.path, 'weir.yaml');
  // History would grow by design.
  await writeFile(config, 'namespaces: { default: { history: { size: 20, ttl: 1s } }, fuzz: { class: ephemeral } }\n');
  const node = await startNode({
    name: 'fuzzed',
    apiKey: FUZZ_KEY,
    env: {
      WEIR_CONFIG: config,
      WEIR_ALLOWED_HOSTS: '*',
      WEIR_API_KEYS: `all=${FUZZ_KEY},reader=${READER_KEY}:read`,
      WEIR_MAX_BODY_BYTES: String(64 * 1024),
      WEIR_MAX_FRAME_BYTES: String(16 * 1024),
      WEIR_REQUEST_TIMEOUT_MS: '1000',
      WEIR_CONNECT_DEADLINE_MS: '2000',
      WEIR_LOG_LEVEL: 'error',
    },
  });
  const asleep = async (): Promise<Held> => {
    let held = '';
    await waitFor(
      async () => {
        if (node.exit() !== undefined) return true;
        const { text } = await requestJson(`${node.url}/metrics`, { apiKey: FUZZ_KEY });
        const samples = parseExposition(text);
        const counts = ['weir_connections', 'weir_subscriptions', 'weir_channels'].map((name) => samples.get(name));
        held = counts.join(', ');
        return counts.every((count) => count === 0);
      },
      { timeoutMs: 20_000, description: () => `no connections, subscriptions and channels; held ${held}` },
    );
    if (node.exit() !== undefined) throw new Error(`the node ended; its last output:\n${node.lastOutput()}`);
    const { status } = await requestJson(`${node.url}/health/ready`);
    if (status !== 200) throw new Error(`the node answers ${status} at /health/ready`);
    return heldBy(node.pid);
  };
  return {
    node,
    isIdle: asleep,
    [Symbol.asyncDispose]: async () => {
      await node.stop();
      await directory.remove();
    },
  };
};
