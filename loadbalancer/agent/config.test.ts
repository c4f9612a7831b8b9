import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { agentEnvNameOf, agentKeys, loadAgentConfig } from './config.ts';

const socket = { WEIR_AGENT_HAPROXY_SOCKET: '/run/haproxy/admin.sock' };
const problemsOf = (env: Record<string, string>, argv: string[] = []): readonly string[] => {
  const result = loadAgentConfig(argv, env);
  return result.kind === 'invalid' ? result.problems : [];
};

describe('the configuration of the balancer agent', () => {
  it('needs only the socket', () => {
    expect(loadAgentConfig([], socket)).toEqual({
      kind: 'ok',
      config: {
        redisUrl: 'redis://127.0.0.1:6379',
        redisPrefix: 'weir',
        haproxySocket: '/run/haproxy/admin.sock',
        host: '127.0.0.1',
        port: 8405,
        intervalMs: 500,
        absenceMs: 5_000,
        logLevel: 'info',
        logFormat: 'json',
      },
    });
    expect(loadAgentConfig(['--check-config'], socket)).toEqual({ kind: 'check-ok' });
  });

  it('is refused with one line per problem', () => {
    expect(
      problemsOf({ WEIR_AGENT_PROT: '1', WEIR_AGENT_PORT: 'abc', WEIR_AGENT_INTERVAL_MS: '1' }, ['--verbose']),
    ).toEqual([
      'unknown argument "--verbose"; known: --check-config',
      'WEIR_AGENT_PROT: unknown key; did you mean WEIR_AGENT_PORT?',
      'WEIR_AGENT_HAPROXY_SOCKET: expected a path of at most 107 characters, got nothing',
      'WEIR_AGENT_PORT: expected an integer 0–65535, got "abc"',
      expect.stringMatching(/^WEIR_AGENT_INTERVAL_MS: expected a duration of 50–3600000 ms .* got "1"$/),
    ]);
  });

  it('shows no password', () => {
    const [problem = ''] = problemsOf({ ...socket, WEIR_AGENT_REDIS_URL: 'redis://u:secret@ho st' });
    expect(problem).toMatch(/^WEIR_AGENT_REDIS_URL: expected a Redis URL/);
    expect(problem).not.toContain('secret');
  });

  it('may share its environment with a node', () => {
    expect(problemsOf({ ...socket, WEIR_AGENT_CHECK_PORT: '8406', WEIR_PORT: '8080' })).toEqual([]);
  });

  it('counts an empty variable as not set', () => {
    expect(loadAgentConfig([], { ...socket, WEIR_AGENT_PORT: ' ' })).toMatchObject({ config: { port: 8405 } });
  });

  it('stands in docs/operations.md, key by key with its default, and no other does', () => {
    const document = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8');
    for (const [key, { default: preset, description }] of Object.entries(agentKeys)) {
      const shown = preset.kind === 'value' ? `\`${String(preset.value)}\`` : 'required';
      expect(document).toContain(`| \`${agentEnvNameOf(key)}\` | ${shown} | ${description} |`);
    }
    const known = new Set([...Object.keys(agentKeys).map(agentEnvNameOf), 'WEIR_AGENT_CHECK_PORT']);
    expect((document.match(/WEIR_AGENT_[A-Z_]*[A-Z]/g) ?? []).filter((name) => !known.has(name))).toEqual([]);
  });
});
