#!/usr/bin/env node
// `npx weir`: runs the built tool, or in a fresh checkout its source.
import { existsSync } from 'node:fs';

const built = new URL('../dist/gateway/cli/main.js', import.meta.url);
if (existsSync(built)) await import(built.href);
else {
  const { register } = await import('tsx/esm/api');
  register();
  await import('../gateway/cli/main.ts');
}
