// What nodes of Weir say of themselves: the Prometheus text of `GET /metrics`.

/** The text; empty when there is none. */
export const metricsOf = async (url: string, apiKey: string): Promise<string> => {
  const response = await fetch(`${url}/metrics`, { headers: { 'X-API-Key': apiKey } });
  return response.ok ? await response.text() : '';
};

/** One series by its whole name, labels included; 0 when it is not there yet. */
export const sampleOf = (metrics: string, series: string): number =>
  Number(new RegExp(`^${series.replaceAll(/[{}]/g, '\\$&')} (\\S+)$`, 'm').exec(metrics)?.[1] ?? 0);

/** All series of a metric that have this label, written `name="value"`, added up. */
export const sumOf = (metrics: string, name: string, label: string): number =>
  [...metrics.matchAll(new RegExp(`^${name}\\{[^}]*${label}[^}]*\\} (\\S+)$`, 'gm'))].reduce(
    (sum, [, value]) => sum + Number(value),
    0,
  );
