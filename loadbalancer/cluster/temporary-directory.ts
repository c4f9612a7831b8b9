// Makes a temporary directory that goes away with whoever made it.
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { whenThisProcessDies } from './parent-death.ts';

export interface TemporaryDirectory {
  readonly path: string;
  /** Safe to call twice. */
  remove(): Promise<void>;
}

/** `purpose` becomes part of its name. */
export async function temporaryDirectory(purpose: string): Promise<TemporaryDirectory> {
  const path = await mkdtemp(join(tmpdir(), `weir-${purpose}-`));
  const forget = whenThisProcessDies(() => {
    rmSync(path, { recursive: true, force: true });
  });
  return {
    path,
    remove: async () => {
      forget();
      await rm(path, { recursive: true, force: true });
    },
  };
}
