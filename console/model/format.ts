// Numbers and times as people read them.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

export const formatCount = (count: number): string => whole.format(count);

/** One decimal below ten, none above. */
export const formatRate = (perSecond: number): string => (perSecond < 9.95 ? tenths : whole).format(perSecond);

/** A latency: `<1 ms`, `12 ms`, `1.2 s`; an age: `5 min`, `3 h`, `2 d`. */
export const formatDuration = (ms: number): string => {
  if (ms < 1) return '<1 ms';
  if (ms < 999.5) return `${whole.format(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 9.95) return `${tenths.format(seconds)} s`;
  if (seconds < 59.5) return `${whole.format(seconds)} s`;
  const minutes = seconds / 60;
  if (minutes < 59.5) return `${whole.format(minutes)} min`;
  const hours = minutes / 60;
  return hours < 47.5 ? `${whole.format(hours)} h` : `${whole.format(hours / 24)} d`;
};

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

export const formatBytes = (bytes: number): string => {
  let value = bytes;
  let unit = 0;
  while (value >= 1023.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${(value < 9.95 && unit > 0 ? tenths : whole).format(value)} ${BYTE_UNITS[unit]!}`;
};

/** Local time of day with milliseconds, as `14:03:27.081`. */
export const formatTimeOfDay = (unixMs: number): string => {
  const date = new Date(unixMs);
  const two = (value: number): string => String(value).padStart(2, '0');
  const milliseconds = String(date.getMilliseconds()).padStart(3, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${milliseconds}`;
};
