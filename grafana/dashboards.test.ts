// Tests that dashboards and alerts speak only of metrics that exist, in PromQL that parses, and that generated files are current.
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { metricDeclarations } from '../gateway/observability/metrics.ts';
import { createMetricsRegistry } from '../gateway/observability/registry.ts';
import { startHaproxy } from '../loadbalancer/cluster/haproxy-process.ts';
import { alertRules } from './alerts.ts';
import { catalog, haproxyMetrics, metricsNamedIn, processMetrics } from './catalog.ts';
import { annotations, clusterDashboard, clusterRows } from './dashboards/cluster.ts';
import { generatedFiles } from './generate.ts';

const run = promisify(execFile);

const panels = clusterRows.flatMap((row) => row.panels.map((panel) => ({ row: row.title, ...panel })));
const expressions = [
  ...panels.flatMap(({ row, title, queries }) => queries.map(({ expr }) => ({ where: `${row} / ${title}`, expr }))),
  ...annotations.map(({ name, expr }) => ({ where: `annotation ${name}`, expr })),
  ...alertRules.map(({ name, expr }) => ({ where: `alert ${name}`, expr })),
];
const named = metricsNamedIn(expressions.map(({ expr }) => expr).join('\n'));

/** `# TYPE` lines of an exposition: metric → type. */
function exposedTypes(exposition: string): Map<string, string> {
  return new Map([...exposition.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name ?? '', type ?? '']));
}

describe('queries of dashboards and alerts', () => {
  it('name only metrics of the catalogue', () => {
    expect([...named].filter((name) => !(name in catalog))).toEqual([]);
  });

  it('leave no metric of a node without a graph or an alert', () => {
    expect(Object.keys(metricDeclarations).filter((name) => !named.has(name))).toEqual([]);
  });

  it('parse as PromQL', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'weir-queries-'));
    const file = join(folder, 'rules.yml');
    const rules = expressions.map(({ where, expr }, index) => ({
      record: `query:${index}`,
      expr: expr.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.*'),
      labels: { where },
    }));
    await writeFile(file, stringify({ groups: [{ name: 'queries', rules }] }));
    const { stdout } = await run('promtool', ['check', 'rules', file]).catch((error: unknown) => {
      throw new Error((error as { stderr: string }).stderr);
    });
    await rm(folder, { recursive: true });
    expect(stdout).toContain(`SUCCESS: ${expressions.length} rules found`);
  });

  it('look at the process through metrics a node really exports', async () => {
    const exposed = exposedTypes(await createMetricsRegistry().exposition());
    for (const [name, { type }] of Object.entries(processMetrics)) expect(exposed.get(name), name).toBe(type);
  });

  it('look at the balancer through metrics and labels HAProxy really exports', async () => {
    await using haproxy = await startHaproxy();
    const exposition = await (await fetch(`${haproxy.statsUrl}/metrics`)).text();
    const exposed = exposedTypes(exposition);
    for (const [name, { type, labels }] of Object.entries(haproxyMetrics)) {
      expect(exposed.get(name), name).toBe(type);
      const sample = new RegExp(`^${name}(?:\\{(.*)\\})? `, 'm').exec(exposition);
      expect(
        [...(sample?.[1] ?? '').matchAll(/(\w+)=/g)].map((match) => match[1]),
        name,
      ).toEqual(labels);
    }
  });
});

describe('the cluster dashboard', () => {
  it('explains every panel', () => {
    expect(panels.filter(({ description }) => description.length < 20).map(({ title }) => title)).toEqual([]);
  });

  it('fills the width of every line and no more', () => {
    for (const panel of clusterDashboard().panels ?? []) {
      expect((panel.gridPos?.x ?? 0) + (panel.gridPos?.w ?? 0)).toBeLessThanOrEqual(24);
    }
  });

  it('gives every panel its own number and place', () => {
    const all = clusterDashboard().panels ?? [];
    expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
    const places = all.map(({ gridPos }) => `${gridPos?.x ?? '?'}:${gridPos?.y ?? '?'}`);
    expect(new Set(places).size).toBe(all.length);
  });
});

describe('files of this folder', () => {
  it('are what the code generates', async () => {
    for (const [path, content] of generatedFiles()) {
      const onDisk = await readFile(join(import.meta.dirname, path), 'utf8');
      expect(onDisk === content, `${path} differs from its source; run: npx tsx grafana/generate.ts`).toBe(true);
    }
    const dashboards = await readdir(join(import.meta.dirname, 'generated'));
    expect(dashboards.map((file) => `generated/${file}`).filter((file) => !generatedFiles().has(file))).toEqual([]);
  });

  it('hold a Prometheus configuration that promtool accepts', async () => {
    const { stdout } = await run('promtool', ['check', 'config', join(import.meta.dirname, 'prometheus.yml')]);
    expect(stdout).toContain('is valid prometheus config file syntax');
    expect(stdout).toContain(`SUCCESS: ${alertRules.length} rules found`);
  });

  it('scrape the jobs the catalogue knows and no others', async () => {
    const config = parse(await readFile(join(import.meta.dirname, 'prometheus.yml'), 'utf8')) as {
      scrape_configs: { job_name: string }[];
    };
    const jobs = new Set(Object.values(catalog).map(({ job }) => job));
    expect(new Set(config.scrape_configs.map(({ job_name }) => job_name))).toEqual(jobs);
  });
});
