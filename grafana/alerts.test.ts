// Tests of the alert rules with Prometheus' own tool: each fires in the incident it is for, and none in a healthy cluster.
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { alertRules } from './alerts.ts';
import { evaluatedAtMinutes, healthyCluster, type Incident, incidents, intervalSeconds } from './alerts.test-cases.ts';

const run = promisify(execFile);
const rulesFile = join(import.meta.dirname, 'alerts.yml');

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-alerts-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

/** The incident travels as a label, because promtool reports a failure by the expression and its labels only. */
const testOf = (incident: Incident) => ({
  interval: `${intervalSeconds}s`,
  input_series: Object.entries({ ...healthyCluster, ...incident.series }).map(([series, values]) => ({
    series,
    values,
  })),
  promql_expr_test: [
    {
      expr: `label_replace(group by (alertname) (ALERTS{alertstate="firing"}), "incident", "${incident.name}", "", "")`,
      eval_time: `${evaluatedAtMinutes}m`,
      exp_samples: incident.firing.map((alertname) => ({
        labels: `{alertname="${alertname}",incident="${incident.name}"}`,
        value: 1,
      })),
    },
  ],
});

describe('alert rules', () => {
  it('pass the check of promtool', async () => {
    const { stdout } = await run('promtool', ['check', 'rules', rulesFile]);
    expect(stdout).toContain(`SUCCESS: ${alertRules.length} rules found`);
  });

  it('each have an incident in which they fire', () => {
    const tested = new Set(incidents.flatMap(({ firing }) => firing));
    expect(alertRules.map(({ name }) => name).filter((name) => !tested.has(name))).toEqual([]);
  });

  it('fire in the incident they are for, and stay silent in the others', async () => {
    const file = join(folder, 'incidents.yml');
    const tests = incidents.map(testOf);
    await writeFile(
      file,
      stringify({ rule_files: [rulesFile], evaluation_interval: `${2 * intervalSeconds}s`, tests }),
    );
    const { stdout } = await run('promtool', ['test', 'rules', file]).catch((error: unknown) => {
      const { stdout: out, stderr } = error as { stdout: string; stderr: string };
      throw new Error(`${out}\n${stderr}`);
    });
    expect(stdout).toContain('SUCCESS');
  }, 60_000);
});
