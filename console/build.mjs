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
  entryPoints: { console: join(page, 'main.ts') },
  outdir: target,
  bundle: true,
  format: 'esm',
  target: 'es2022',
  // Left readable: whoever opens the developer tools here wants to see what happens.
  minify: false,
  logLevel: 'warning',
});
await build({ entryPoints: [join(page, 'console.css')], outdir: target, bundle: true, logLevel: 'warning' });
for (const file of ['index.html', 'icon.svg']) await copyFile(join(page, file), join(target, file));
