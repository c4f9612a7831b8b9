// One test run for all rooms: unit tests beside the code, everything that crosses rooms under tests/.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['**/*.test.ts'],
    exclude: ['**/node_modules/**', '**/dist/**'],
    // Tests start real servers; a hung one must fail, not hang the run.
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Two cores, and the tests' servers need some of them.
    maxWorkers: 2,
    reporters: ['default', './tests/support/closing-line-reporter.ts'],
  },
});
