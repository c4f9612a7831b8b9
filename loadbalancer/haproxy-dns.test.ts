// The profile for orchestrators: HAProxy fills its slots from a name server.
import { afterEach, describe, expect, it } from 'vitest';
import {
  closeAfterTest,
  closeAll,
  openSocket,
  openSockets,
  startEmptyHaproxy,
  startUpstream,
  type Upstream,
} from '../tests/support/balanced-upstreams.ts';
import { startDnsServer } from '../tests/support/dns-server.ts';
import { waitFor } from '../tests/support/wait-for.ts';
import { openAgentCheck } from '../gateway/overload/agent-check.ts';
import { freePort } from './cluster/free-port.ts';
import type { HaproxyProcess } from './cluster/haproxy-process.ts';
import { CLIENT_BACKEND } from './haproxy-options.ts';
import type { Slot } from './runtime-api.ts';

afterEach(closeAll);

const NAME = 'node.weir.internal';

/** As pods: one port, an address each. */
const startNodes = async (addresses: readonly string[]): Promise<Upstream[]> => {
  const port = await freePort();
  return Promise.all(addresses.map((host) => startUpstream(host, { host, port })));
};

const startResolving = async (port: number, agentCheckPort?: number) => {
  const dns = await startDnsServer(NAME);
  closeAfterTest(dns.stop);
  const haproxy = await startEmptyHaproxy({
    config: {
      nodes: { kind: 'dns', slots: 4, host: NAME, port, nameserver: dns.nameserver, holdObsoleteMs: 500 },
      agentCheck: agentCheckPort === undefined ? undefined : { intervalMs: 100, port: agentCheckPort },
    },
  });
  return { dns, haproxy };
};

const slotsInUse = async (haproxy: HaproxyProcess): Promise<Slot[]> =>
  (await haproxy.runtime.slots(CLIENT_BACKEND)).filter((slot) => slot.admin !== 'maint');
const addressesUp = async (haproxy: HaproxyProcess): Promise<string> =>
  (await slotsInUse(haproxy))
    .filter((slot) => slot.operational === 'up')
    .map((slot) => slot.host)
    .sort()
    .join();
const until = (haproxy: HaproxyProcess, addresses: string): Promise<unknown> =>
  waitFor(async () => (await addressesUp(haproxy)) === addresses, {
    timeoutMs: 20_000,
    description: `HAProxy to serve ${addresses}`,
  });

describe('HAProxy with nodes from a name server', () => {
  it('follows the addresses as they come and go, and those that stay keep their sockets', async () => {
    const [a, b, c] = (await startNodes(['127.0.0.2', '127.0.0.3', '127.0.0.4'])) as [Upstream, Upstream, Upstream];
    const { dns, haproxy } = await startResolving(a.port);
    dns.answer([a.host, b.host]);
    await until(haproxy, '127.0.0.2,127.0.0.3');
    await openSockets(haproxy, 4);
    expect([a.sockets(), b.sockets()]).toEqual([2, 2]);

    dns.answer([a.host, b.host, c.host]);
    await until(haproxy, '127.0.0.2,127.0.0.3,127.0.0.4');
    await openSockets(haproxy, 2);
    expect([a.sockets(), b.sockets(), c.sockets()]).toEqual([2, 2, 2]);

    dns.answer([a.host, c.host]);
    await until(haproxy, '127.0.0.2,127.0.0.4');
    await openSockets(haproxy, 2);
    expect([a.sockets(), c.sockets()]).toEqual([3, 3]);
  });

  it('keeps its nodes while the name server is silent or has forgotten the name', async () => {
    const [a] = (await startNodes(['127.0.0.2'])) as [Upstream];
    const { dns, haproxy } = await startResolving(a.port);
    dns.answer([a.host]);
    await until(haproxy, '127.0.0.2');
    for (const trouble of ['silent', 'nxdomain'] as const) {
      dns.answer(trouble);
      const before = dns.asked();
      // More than the tries of one resolution, so that HAProxy has drawn its conclusion.
      await waitFor(() => dns.asked() >= before + 6, { timeoutMs: 25_000, description: `six questions (${trouble})` });
      expect(await addressesUp(haproxy)).toBe('127.0.0.2');
      await openSocket(haproxy);
    }
    expect(a.sockets()).toBe(2);
  });

  it('takes weight and drain from the agent-check of each address', async () => {
    const [a, b] = (await startNodes(['127.0.0.2', '127.0.0.3'])) as [Upstream, Upstream];
    const agentPort = await freePort();
    const states = new Map([a, b].map((node) => [node.host, { draining: false, weight: 100 }]));
    for (const [host, said] of states) {
      const check = await openAgentCheck({
        host,
        port: agentPort,
        state: () => ({ kind: said.draining ? 'draining' : 'ready' }),
        weight: () => said.weight,
      });
      closeAfterTest(check.close);
    }
    const { dns, haproxy } = await startResolving(a.port, agentPort);
    dns.answer([a.host, b.host]);
    await until(haproxy, '127.0.0.2,127.0.0.3');
    const slotOf = async (node: Upstream): Promise<Slot | undefined> =>
      (await slotsInUse(haproxy)).find((slot) => slot.host === node.host);
    states.get(b.host)!.weight = 50;
    await waitFor(async () => (await slotOf(b))?.weight === 50, { description: 'the weight' });
    await openSockets(haproxy, 6);
    expect([a.sockets(), b.sockets()]).toEqual([4, 2]);
    states.get(b.host)!.draining = true;
    await waitFor(async () => (await slotOf(b))?.admin === 'drain', { description: 'the drain' });
    await openSockets(haproxy, 2);
    expect([a.sockets(), b.sockets()]).toEqual([6, 2]);
    states.get(b.host)!.draining = false;
    await waitFor(async () => (await slotOf(b))?.admin === 'ready', { description: 'the end of the drain' });
  });
});
