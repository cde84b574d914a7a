// The tests in a real browser against the real program; `--mode screenshots` takes the README's pictures instead.

import { defineConfig } from "vitest/config";

export default defineConfig(({ mode }) => ({
  test: {
    include: mode === "screenshots" ? ["tests/browser/screenshots.ts"] : ["tests/browser/**/*.test.ts"],
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 60_000,
  },
}));
