// The grammar of configured URLs, and how they are shown without their password.

const host = String.raw`(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::\d{1,5})?`;
const userInfo = String.raw`(?:[^@/\s]*@)?`;
const redisShapes = [
  new RegExp(String.raw`^rediss?://${userInfo}${host}(?:/\d*)?$`),
  new RegExp(String.raw`^redis\+sentinel://${userInfo}${host}(?:,${host})*/[A-Za-z0-9_.-]+$`),
  new RegExp(String.raw`^redis\+cluster://${userInfo}${host}(?:,${host})*/?$`),
];

const hostsOf = (url: string): string[] =>
  url
    .replace(/^[a-z+]+:\/\/(?:[^@/]*@)?/, '')
    .split('/')[0]!
    .split(',');

const portInRange = (hostAndPort: string): boolean => {
  const port = /^(?:\[[^\]]*\]|[^:]*):(\d+)$/.exec(hostAndPort)?.[1];
  return port === undefined || (Number(port) >= 1 && Number(port) <= 65_535);
};

export const isRedisUrl = (url: string): boolean =>
  redisShapes.some((shape) => shape.test(url)) && hostsOf(url).every(portInRange);

export const isWebUrl = (url: string): boolean => URL.canParse(url) && /^https?:$/.test(new URL(url).protocol);

const withoutCredentials = (url: string): string =>
  url.replace(/^([A-Za-z][A-Za-z0-9+.-]*:\/\/)([^/\s]*)@/, (_, scheme: string, credentials: string) => {
    const colon = credentials.indexOf(':');
    return `${scheme}${colon < 0 ? '***' : `${credentials.slice(0, colon)}:***`}@`;
  });

/** `redis://user:secret@host` → `redis://user:***@host`, and `?key=secret` → `?key=***`. */
export const withoutPassword = (url: string): string =>
  withoutCredentials(url).replace(/([?&](?:[^=&#]*=)?)[^&#]*/g, (_, name: string) => `${name}***`);
