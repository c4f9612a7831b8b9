// Writes the files generated from typed code: dashboards and alert rules. Run it after changing either.
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { alertRulesFile } from './alerts.ts';
import { clusterDashboard, clusterDashboardUid } from './dashboards/cluster.ts';

/** File path below this folder → content; a test compares them with what is on disk. */
export function generatedFiles(): ReadonlyMap<string, string> {
  return new Map([
    [`generated/${clusterDashboardUid}.json`, `${JSON.stringify(clusterDashboard(), null, 2)}\n`],
    ['alerts.yml', alertRulesFile()],
  ]);
}

if (process.argv[1] === import.meta.filename) {
  for (const [path, content] of generatedFiles()) {
    const file = join(import.meta.dirname, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content);
    process.stdout.write(`wrote ${relative(process.cwd(), file)}\n`);
  }
}
