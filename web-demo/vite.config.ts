// Builds the page and the SDK into dist/. Names carry no hashes: the output is committed and compared with a fresh build.

import { resolve } from "node:path";
import { defineConfig } from "vitest/config";

export default defineConfig({
  base: "./",
  build: {
    target: "es2022",
    modulePreload: { polyfill: false },
    emptyOutDir: true,
    rolldownOptions: {
      // Two entries, so that the page runs the very file that others get as the SDK.
      input: { index: resolve(import.meta.dirname, "index.html"), tidegate: resolve(import.meta.dirname, "sdk/index.ts") },
      preserveEntrySignatures: "allow-extension",
      output: { entryFileNames: "[name].js", chunkFileNames: "[name].js", assetFileNames: "[name][extname]" },
    },
  },
  test: {
    include: ["sdk/**/*.test.ts", "src/**/*.test.ts"],
    environment: "node",
  },
});
