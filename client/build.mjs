// Builds the package: bundles, types without imports, and the size budget that fails the build.
import { readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build, transform } from 'esbuild';
import { rollup } from 'rollup';
import { dts } from 'rollup-plugin-dts';
import { checkBundle } from './check-bundle.mjs';
import { internalNames } from './internal-names.mjs';

/** Of the minified main bundle, gzipped. */
const BUDGET_BYTES = 8192;
const TARGET = 'es2022';

const root = dirname(fileURLToPath(import.meta.url));
const dist = join(root, 'dist');
const entries = { index: join(root, 'src/index.ts'), testing: join(root, 'src/testing/index.ts') };

// esbuild strips the types, rollup bundles: it drops unused tables such as the error codes, which esbuild keeps.
const stripTypes = {
  name: 'strip-types',
  transform: async (code, id) => {
    const result = await transform(code, { loader: 'ts', target: TARGET, sourcemap: true, sourcefile: id });
    return { code: result.code, map: result.map };
  },
};

const failOnWarning = (warning) => {
  throw new Error(warning.message);
};

await rm(dist, { recursive: true, force: true });
for (const [name, input] of Object.entries(entries)) {
  const code = await rollup({ input, plugins: [stripTypes], onwarn: failOnWarning });
  await code.write({ file: join(dist, `${name}.js`), format: 'es' });
  const types = await rollup({
    input,
    plugins: [dts({ tsconfig: join(root, '../tsconfig.json'), compilerOptions: { noEmit: false } })],
    onwarn: failOnWarning,
  });
  const typesFile = join(dist, `${name}.d.ts`);
  await types.write({ file: typesFile, format: 'es' });
  if (/^(import|export .* from)\b|import\(/m.test(await readFile(typesFile, 'utf8'))) {
    throw new Error(`${typesFile} imports something: published types must stand alone`);
  }
}

const minFile = join(dist, 'index.min.js');
await build({
  entryPoints: [join(dist, 'index.js')],
  outfile: minFile,
  // Bundled, so that constants are put in their places.
  bundle: true,
  format: 'esm',
  minify: true,
  target: TARGET,
  mangleProps: await internalNames(
    await readFile(join(dist, 'index.js'), 'utf8'),
    await readFile(join(dist, 'index.d.ts'), 'utf8'),
    await readFile(join(root, 'src/protocol/wire.ts'), 'utf8'),
  ),
});
await checkBundle(await import(minFile), await import(join(dist, 'testing.js')));
const bytes = gzipSync(await readFile(minFile), { level: 9 }).length;
console.log(`@weir/client: ${bytes} of ${BUDGET_BYTES} bytes, minified and gzipped`);
if (bytes > BUDGET_BYTES) {
  console.error('over the bundle budget');
  process.exit(1);
}
