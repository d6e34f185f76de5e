/**
 * The tests, one project a folder of tests/. `npm test` runs all but chaos, which `npm run test:chaos` runs (with its long
 * timeouts), and browser, which `npm run test:browser` runs; all name their projects, and a bare `vitest` leaves both out.
 * Timeouts end what hangs; no test asserts a time.
 */
import { defineConfig } from 'vitest/config';

const secondMs = 1000;
const minuteMs = 60 * secondMs;

/** Longest time for one test of each project. */
const timeoutMs: Record<string, number> = {
  unit: minuteMs,
  property: 2 * minuteMs,
  scenarios: minuteMs,
  simulation: process.env.ALUMNUS_SIMULATION_LONG === '1' ? 24 * 60 * minuteMs : 5 * minuteMs,
  integration: 5 * minuteMs,
  ...(process.env.ALUMNUS_BROWSER === '1' ? { browser: 10 * minuteMs } : {}),
  ...(process.env.ALUMNUS_CHAOS === '1' ? { chaos: 60 * minuteMs } : {}),
};

export default defineConfig({
  test: {
    // A process for each file: some load TensorFlow, which keeps its memory, and a native crash fails one file only.
    pool: 'forks',
    // More would put several TensorFlow libraries, each with a thread for every core, beside one another.
    maxWorkers: 2,
    projects: Object.entries(timeoutMs).map(([name, testTimeout]) => ({
      extends: true as const,
      test: {
        name,
        include: [`tests/${name}/**/*.test.ts`],
        testTimeout,
        hookTimeout: Math.max(testTimeout, minuteMs),
        // The seeds are played by several files; their report is one.
        ...(name === 'simulation' ? { globalSetup: 'tests/simulation/report.ts' } : {}),
        // Chaos takes ports and kills processes: one file at a time.
        ...(name === 'chaos' ? { fileParallelism: false } : {}),
      },
    })),
    env: { TF_CPP_MIN_LOG_LEVEL: '2', NO_COLOR: '1' },
  },
});
