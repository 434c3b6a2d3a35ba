import { defineConfig } from 'vitest/config';

/** Rooms whose tests are all processor time: they run slower among the code and the memory of other files. */
const ALONE = ['test/engine/**/*.test.ts', 'test/journal/**/*.test.ts'];

export default defineConfig({
  test: {
    pool: 'forks',
    setupFiles: ['test/support/each-file.ts'],
    testTimeout: 180_000,
    hookTimeout: 120_000,
    // The machine that CI runs on has two cores; more files at once only take processor time from each other.
    maxWorkers: 2,
    projects: [
      { extends: true, test: { name: 'rooms', include: ALONE } },
      // A process for each file is a fifth of the time of all others.
      { extends: true, test: { name: 'others', include: ['test/**/*.test.ts'], exclude: ALONE, isolate: false } },
    ],
  },
});
