import { writeFileSync, mkdirSync, cpSync } from 'node:fs';
import { spawn, execFileSync } from 'node:child_process';
import { startCluster } from '../loadbalancer/cluster/cluster.ts';
import { clusterRows, annotations } from '../grafana/dashboards/cluster.ts';
import { alertRules } from '../grafana/alerts.ts';
const c = await startCluster({ nodes: 3 });
mkdirSync('/tmp/pv/targets', { recursive: true });
// /metrics needs a key on the single port? use apiKey header via prometheus config
writeFileSync('/tmp/pv/prometheus.yml', `global: {scrape_interval: 2s, evaluation_interval: 2s}
rule_files: [/work/main/grafana/alerts.yml]
scrape_configs:
  - job_name: weir
    authorization: {type: Bearer, credentials: ${c.apiKey}}
    static_configs: [{targets: [${c.nodes.map((n) => `"127.0.0.1:${n.port}"`).join(',')}]}]
  - job_name: haproxy
    static_configs: [{targets: ["${c.haproxy.statsUrl.replace('http://', '')}"]}]
`);
const p = spawn('prometheus', ['--config.file=/tmp/pv/prometheus.yml', '--storage.tsdb.path=/tmp/pv/data', '--web.listen-address=127.0.0.1:19190'], { stdio: 'ignore' });
const k = spawn('npx', ['tsx', 'loadtest/main.ts', '--ws-url', c.wsUrl, '--api-url', c.apiUrl, ...process.argv.slice(2)], { stdio: 'inherit', env: { ...process.env, WEIR_LOADTEST_API_KEY: c.apiKey } });
await new Promise((r) => k.on('exit', (code) => { console.log('loadtest exit', code); r(0); }));
const q = async (expr: string) => (await (await fetch('http://127.0.0.1:19190/api/v1/query?query=' + encodeURIComponent(expr))).json()) as any;
const sub = (e: string) => e.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.*');
for (const row of clusterRows) for (const panel of row.panels) for (const { expr } of panel.queries) {
  const r = await q(sub(expr)); const v = r.data?.result ?? [];
  console.log(`${row.title} | ${panel.title} | ${r.status} n=${v.length} ${v.slice(0, 3).map((x: any) => Number(x.value[1]).toPrecision(4)).join(' ')}`);
}
for (const a of alertRules) { const r = await q(a.expr); if (r.status !== 'success' || r.data.result.length > 0) console.log('ALERT', a.name, r.status, JSON.stringify(r.data?.result?.map((x: any) => x.value[1]))); }
console.log('firing', JSON.stringify((await q('ALERTS')).data.result.map((x: any) => x.metric.alertname + ':' + x.metric.alertstate)));
p.kill(); await c.stop();
