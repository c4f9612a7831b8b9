// Composes PromQL from declared metrics: an unknown name does not compile, an unknown label or a misused type throws.
import { catalog, type ChartedMetric, type Job } from './catalog.ts';

/** Label → value; a value starting with `=~`, `!~` or `!=` brings its own operator. */
export type Where = Readonly<Record<string, string>>;

/** Where the queries run: dashboards follow the selected range and nodes, alerts have a fixed window. */
export interface QueryScope {
  /** A duration or `$__rate_interval`. */
  readonly window: string;
  readonly matchers: Readonly<Record<Job, Where>>;
}

/** A metric was used in a way its declaration does not allow. */
export class MetricUseError extends Error {
  override readonly name = 'MetricUseError';
}

/** Labels Prometheus gives to every series of a target. */
const targetLabels = ['job', 'instance', 'le'];

export interface Promql {
  /** The gauge itself. */
  value(name: ChartedMetric, where?: Where): string;
  /** Per-second increase of a counter. */
  rate(name: ChartedMetric, where?: Where): string;
  /** Increase of a counter over the window, or over `window` when given. */
  increase(name: ChartedMetric, where?: Where, window?: string): string;
  /**
   * As `increase`, and it sees the first event as well: a labelled counter starts to exist with it, and `increase`
   * needs two samples. For alerts on rare events.
   */
  growth(name: ChartedMetric, where?: Where): string;
  /** A quantile of a histogram over all nodes, or per label in `by`. */
  quantile(q: number, name: ChartedMetric, by?: readonly string[]): string;
  /** Mean observation of a histogram. */
  mean(name: ChartedMetric, by?: readonly string[]): string;
  /** Seconds (or whatever it observes) per second spent, of a histogram. */
  sumRate(name: ChartedMetric): string;
  /** Buckets for a heatmap. */
  buckets(name: ChartedMetric): string;
  /** `up` of a job: 1 per target that could be scraped. */
  up(job: Job): string;
}

export function createPromql(scope: QueryScope): Promql {
  const selector = (name: ChartedMetric, suffix: string, where: Where): string => {
    const { job, labels } = catalog[name];
    for (const label of Object.keys(where)) {
      if (!labels.includes(label) && !targetLabels.includes(label)) {
        throw new MetricUseError(`${name} has no label "${label}"; it has: ${labels.join(', ') || 'none'}`);
      }
    }
    return `${name}${suffix}${matchers({ ...scope.matchers[job], ...where })}`;
  };
  const expect = (name: ChartedMetric, type: 'counter' | 'gauge' | 'histogram'): void => {
    const declared = catalog[name].type;
    if (declared !== type) throw new MetricUseError(`${name} is a ${declared}, used as a ${type}`);
  };
  const histogramRate = (name: ChartedMetric, suffix: '_bucket' | '_sum' | '_count'): string => {
    expect(name, 'histogram');
    return `rate(${selector(name, suffix, {})}[${scope.window}])`;
  };

  return {
    value(name, where = {}) {
      expect(name, 'gauge');
      return selector(name, '', where);
    },
    rate(name, where = {}) {
      expect(name, 'counter');
      return `rate(${selector(name, '', where)}[${scope.window}])`;
    },
    increase(name, where = {}, window = scope.window) {
      expect(name, 'counter');
      return `increase(${selector(name, '', where)}[${window}])`;
    },
    growth(name, where = {}) {
      expect(name, 'counter');
      const series = selector(name, '', where);
      return `((${series} unless ${series} offset ${scope.window}) or increase(${series}[${scope.window}]))`;
    },
    quantile(q, name, by = []) {
      return `histogram_quantile(${q}, ${sum(histogramRate(name, '_bucket'), ...by, 'le')})`;
    },
    mean(name, by = []) {
      return `${sum(histogramRate(name, '_sum'), ...by)} / ${sum(histogramRate(name, '_count'), ...by)}`;
    },
    sumRate: (name) => histogramRate(name, '_sum'),
    buckets: (name) => sum(histogramRate(name, '_bucket'), 'le'),
    up: (job) => `up${matchers(scope.matchers[job])}`,
  };
}

function matchers(where: Where): string {
  const parts = Object.entries(where).map(([label, value]) => {
    const [, operator = '=', text = ''] = /^(=~|!~|!=)?([^]*)$/.exec(value) ?? [];
    return `${label}${operator}${JSON.stringify(text)}`;
  });
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
}

const aggregate =
  (operation: 'sum' | 'max' | 'min' | 'count') =>
  (expression: string, ...by: string[]): string =>
    `${operation}${by.length === 0 ? '' : ` by (${by.join(', ')}) `}(${expression})`;

export const sum = aggregate('sum');
export const max = aggregate('max');
export const min = aggregate('min');
export const count = aggregate('count');

/** A ratio that is absent, not infinite, while the whole is 0. */
export const ratio = (part: string, whole: string): string => `${part} / (${whole} > 0)`;
