// Tests that the k6 scripts hold together without k6: thresholds name metrics that exist, every scenario has its script.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { scenarioNames } from './options.ts';

const folder = join(import.meta.dirname, 'scenarios');
const read = (file: string): Promise<string> => readFile(join(folder, file), 'utf8');
const metricNames = (text: string): Set<string> => new Set(text.match(/\bweir_[a-z_]+/g));

describe('k6 scenarios', () => {
  it.each(scenarioNames)('%s judges only metrics that are created', async (scenario) => {
    const created = metricNames(await read('metrics.ts'));
    const script = await read(`${scenario}.ts`);
    const judged = [...metricNames(script)];
    expect(judged.length).toBeGreaterThan(3);
    expect(judged.filter((name) => !created.has(name))).toEqual([]);
  });

  it('judges loss, duplication, reordering and latency of the fan-out', async () => {
    const judged = metricNames(await read('fan-out.ts'));
    for (const name of ['missing', 'duplicate', 'reordered']) expect(judged).toContain(`weir_messages_${name}`);
    expect(judged).toContain('weir_delivery_latency');
  });

  it('load nothing from the network', async () => {
    for (const file of await readdir(folder)) expect(await read(file), file).not.toMatch(/from '(https?:|\w+\.\w+\/)/);
  });
});
