// Counts and distributions by label, kept as plain numbers and handed to prom-client when somebody scrapes.
//
// prom-client validates, sorts and hashes labels on every increment: half a microsecond, as much as a publication's parsing.
import { Histogram, type HistogramConfiguration } from 'prom-client';

export type Labels = Readonly<Record<string, string>>;

interface Tally {
  readonly labels: Labels;
}

const NO_LABELS: Labels = {};

/** Finds the tally of a set of label values; made by `create` when it is the first of its kind. */
const byLabels = <T extends Tally>(names: readonly string[], create: (labels: Labels) => T) => {
  const tallies = new Map<string, T>();
  const [first] = names;

  const keyOf = (labels: Labels): string => {
    if (first === undefined) return '';
    if (names.length === 1) return labels[first]!;
    let key = '';
    // No label value holds a NUL: they are routes, codes and names of ours.
    for (const name of names) key += `${labels[name]}\u0000`;
    return key;
  };
  const add = (key: string, labels: Labels): T => {
    const unknown = Object.keys(labels).find((name) => !names.includes(name));
    if (unknown !== undefined) throw new TypeError(`${unknown} is no label of this metric`);
    const tally = create({ ...labels });
    tallies.set(key, tally);
    return tally;
  };
  return {
    of(labels: Labels = NO_LABELS): T {
      const key = keyOf(labels);
      return tallies.get(key) ?? add(key, labels);
    },
    all: () => tallies.values(),
  };
};

interface Count extends Tally {
  value: number;
}

export interface CounterTally {
  add(labels: Labels | undefined, by: number): void;
  counts(): Iterable<Readonly<Count>>;
}

export const createCounterTally = (labelNames: readonly string[]): CounterTally => {
  const tallies = byLabels<Count>(labelNames, (labels) => ({ labels, value: 0 }));
  return {
    add(labels, by) {
      if (!(by >= 0 && by < Infinity)) throw new TypeError(`expected to count up, got ${by}`);
      tallies.of(labels).value += by;
    },
    counts: () => tallies.all(),
  };
};

interface Distribution extends Tally {
  /** Per bucket, not cumulative; the last is what is above all bounds. */
  readonly buckets: number[];
  sum: number;
}

/** prom-client's histogram with its values kept here: the same text when scraped. */
export class TalliedHistogram extends Histogram {
  private readonly own: HistogramConfiguration<string>;
  private readonly bounds: readonly number[];
  private readonly tallies: ReturnType<typeof byLabels<Distribution>>;

  constructor(configuration: HistogramConfiguration<string> & { readonly buckets: number[] }) {
    super(configuration);
    const { labelNames = [], buckets } = configuration;
    this.own = configuration;
    this.bounds = [...buckets];
    this.tallies = byLabels(labelNames, (labels) => ({
      labels,
      buckets: new Array<number>(buckets.length + 1).fill(0),
      sum: 0,
    }));
    // Without labels there is one distribution, and it is shown from the start.
    if (labelNames.length === 0) this.tallies.of();
  }

  note(value: number, labels?: Labels): void {
    // One of these would stay in the sum for ever.
    if (!Number.isFinite(value)) throw new TypeError(`expected a number, got ${value}`);
    const tally = this.tallies.of(labels);
    const { bounds } = this;
    let index = 0;
    while (index < bounds.length && value > bounds[index]!) index++;
    tally.buckets[index]!++;
    tally.sum += value;
  }

  /** What the registry asks for. */
  override get(): ReturnType<Histogram['get']> {
    const { name, help } = this.own;
    const values = [...this.tallies.all()].flatMap(({ labels, buckets, sum }) => {
      let count = 0;
      const bucketValues = buckets.map((own, index) => {
        count += own;
        const le = this.bounds[index] ?? '+Inf';
        return { labels: { le, ...labels }, value: count, metricName: `${name}_bucket` };
      });
      return [
        ...bucketValues,
        { labels, value: sum, metricName: `${name}_sum` },
        { labels, value: count, metricName: `${name}_count` },
      ];
    });
    return Promise.resolve({ name, help, type: 'histogram', values, aggregator: 'sum' } as unknown as Awaited<
      ReturnType<Histogram['get']>
    >);
  }

  /** As `get`: prom-client has two, of which one shares labels between values to save text. */
  getForPromString(): ReturnType<Histogram['get']> {
    return this.get();
  }
}
