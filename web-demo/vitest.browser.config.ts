// The tests in a real browser against the real program; `--mode screenshots` takes the README's pictures instead, and
// `--mode fallback` measures how long connecting takes, `--mode cluster` runs against several gateways on real servers.

import { defineConfig } from "vitest/config";

const INCLUDED: Record<string, string[]> = {
  screenshots: ["tests/browser/screenshots.ts"],
  fallback: ["tests/bench/fallback.ts"],
  cluster: ["tests/cluster/cluster.test.ts"],
};

export default defineConfig(({ mode }) => ({
  test: {
    include: INCLUDED[mode] ?? ["tests/browser/**/*.test.ts"],
    fileParallelism: false,
    disableConsoleIntercept: true,
    testTimeout: 300_000,
    hookTimeout: 60_000,
  },
}));
