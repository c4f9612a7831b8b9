// Serves the console's files in development; they are built into dist/console.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Failure } from '../failure.ts';
import type { HttpAnswer } from '../transports/http.ts';
import type { ApiRoute } from './api-route.ts';

/** The console's files: name under /console/, and media type. */
const FILES = [
  { name: 'index.html', type: 'text/html; charset=utf-8' },
  { name: 'console.js', type: 'text/javascript; charset=utf-8' },
  { name: 'console.css', type: 'text/css; charset=utf-8' },
  { name: 'icon.svg', type: 'image/svg+xml' },
] as const;

/** From source and from dist alike: the build lies in dist/console. */
const CONSOLE_DIRECTORIES = ['../../console/', '../../dist/console/'] as const;

const HEADERS = {
  'cache-control': 'no-cache',
  'x-content-type-options': 'nosniff',
  'content-security-policy':
    "default-src 'self'; connect-src 'self' ws: wss:; style-src 'self'; frame-ancestors 'none'",
} as const;

const readBuilt = (name: string): Buffer | undefined => {
  for (const directory of CONSOLE_DIRECTORIES) {
    try {
      return readFileSync(fileURLToPath(new URL(directory + name, import.meta.url)));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return undefined;
};

const serveFile = (name: string, type: string) => (): HttpAnswer => {
  const body = readBuilt(name);
  if (body === undefined) throw new Failure('notAvailable', 'the console is not built: npm run build');
  return { status: 200, headers: { ...HEADERS, 'content-type': type }, body };
};

const redirect = (): HttpAnswer => ({ status: 302, headers: { location: '/console/' }, body: '' });

export const createConsoleRoutes = (): ApiRoute[] => [
  { method: 'get', path: '/', access: 'public', handle: redirect },
  { method: 'get', path: '/console', access: 'public', handle: redirect },
  { method: 'get', path: '/console/', access: 'public', handle: serveFile('index.html', FILES[0].type) },
  ...FILES.map(
    ({ name, type }): ApiRoute => ({
      method: 'get',
      path: `/console/${name}`,
      access: 'public',
      handle: serveFile(name, type),
    }),
  ),
];
