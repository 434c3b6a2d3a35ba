import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 180_000,
    hookTimeout: 120_000,
    // The machine that CI runs on has two cores; more files at once only take processor time from each other.
    maxWorkers: 2,
  },
});
