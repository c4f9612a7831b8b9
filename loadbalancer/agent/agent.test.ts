// The agent as a process: how it starts, what it answers, how it ends.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { startAnnounced } from '../../tests/support/announced-upstreams.ts';
import { closeAfterTest, closeAll, startEmptyHaproxy } from '../../tests/support/balanced-upstreams.ts';
import { requestJson } from '../../tests/support/http.ts';
import { waitFor } from '../../tests/support/wait-for.ts';
import { startAgent } from '../cluster/agent-process.ts';
import { freePort } from '../cluster/free-port.ts';
import { projectRoot } from '../cluster/node-process.ts';
import { startRedis } from '../cluster/redis-process.ts';
import { agentMetrics, exposition } from './metrics.ts';

afterEach(closeAll);

const runAgent = (
  env: Record<string, string>,
  args: string[] = [],
): Promise<{ code: number; stdout: string; stderr: string }> =>
  new Promise((resolve) => {
    const command = ['--import', 'tsx', join('loadbalancer', 'agent.ts'), ...args];
    const options = { cwd: projectRoot(), env: { PATH: process.env['PATH'], ...env } };
    execFile(process.execPath, command, options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });

describe('the balancer agent', () => {
  it('refuses a wrong configuration with exit code 78 and a line per problem', async () => {
    const { code, stderr } = await runAgent({ WEIR_AGENT_PORT: '-1' });
    expect(code).toBe(78);
    expect(stderr.trim().split('\n')).toEqual([
      expect.stringMatching(/^weir-balancer-agent: configuration: WEIR_AGENT_HAPROXY_SOCKET: expected a path/),
      expect.stringMatching(/^weir-balancer-agent: configuration: WEIR_AGENT_PORT: expected an integer/),
    ]);
  });

  it('checks a configuration without starting, and does not start twice on one port', async () => {
    const env = { WEIR_AGENT_HAPROXY_SOCKET: '/tmp/none.sock' };
    expect(await runAgent(env, ['--check-config'])).toMatchObject({ code: 0, stdout: 'configuration is valid\n' });
    await using agent = await startAgent({ redisUrl: 'redis://127.0.0.1:1', haproxySocket: '/tmp/none.sock' });
    const second = await runAgent({ ...env, WEIR_AGENT_PORT: new URL(agent.url).port });
    expect(second).toMatchObject({ code: 1, stderr: expect.stringContaining('EADDRINUSE') as unknown });
  });

  it('lives, waits and says why while neither Redis nor HAProxy are there, then follows, then ends at once', async () => {
    const redisPort = await freePort();
    const haproxy = await startEmptyHaproxy();
    await using agent = await startAgent({
      redisUrl: `redis://127.0.0.1:${redisPort}`,
      haproxySocket: haproxy.runtimeSocket,
    });
    expect((await requestJson(`${agent.url}/health/live`)).status).toBe(200);
    const { status, body } = await requestJson(`${agent.url}/health`);
    expect({ status, body }).toMatchObject({ status: 503, body: { status: 'not_ready' } });
    expect(JSON.stringify(body)).toContain('the registry cannot be read');

    const redis = await startRedis({ port: redisPort });
    closeAfterTest(redis.stop);
    const node = await startAnnounced(redis, 'node');
    await haproxy.nodesUp([node]);
    await waitFor(async () => (await requestJson(`${agent.url}/health/ready`)).status === 200, {
      description: 'the agent to be ready',
    });
    const { text } = await requestJson(`${agent.url}/metrics`);
    expect(text).toContain('weir_balancer_members{state="ready"} 1\n');
    expect(text).toContain('weir_balancer_changes_total{kind="join"} 2\n');
    expect((await requestJson(`${agent.url}/`)).status).toBe(404);
    expect((await requestJson(`${agent.url}/health`, { body: {} })).status).toBe(405);

    await agent.stop();
    expect(await agent.exited).toEqual({ code: 0, signal: null });
    // The nodes stay where they are: an agent may be updated at any time.
    await haproxy.nodesUp([node]);
  });
});

it('the metrics of the agent are all exported from the start, in the format of Prometheus', () => {
  const text = exposition({});
  for (const [name, { type }] of Object.entries(agentMetrics)) expect(text).toContain(`# TYPE ${name} ${type}\n`);
  for (const line of text.trim().split('\n')) {
    expect(line).toMatch(/^(# (HELP|TYPE) weir_balancer_\w+ .+|weir_balancer_\w+(\{\w+="[\w-]+"\})? 0)$/);
  }
});
