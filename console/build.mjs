// Builds the console into dist/console: one script with the SDK in it, the page, the stylesheet and the icon.
import { copyFile, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const folder = dirname(fileURLToPath(import.meta.url));
const page = join(folder, 'page');
const target = join(folder, '../dist/console');

await mkdir(target, { recursive: true });
await build({
  entryPoints: [join(page, 'main.ts')],
  outfile: join(target, 'console.js'),
  bundle: true,
  format: 'esm',
  target: 'es2022',
  // Left readable: whoever opens the developer tools here wants to see what happens.
  minify: false,
  logLevel: 'warning',
});
for (const file of ['index.html', 'console.css', 'icon.svg']) await copyFile(join(page, file), join(target, file));
