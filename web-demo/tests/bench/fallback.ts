// How long a page takes from the start of connecting to its Welcome: over WebTransport, and where that does not work.
// `npm run bench:fallback`; FALLBACK_LOADS says how many page loads of each kind, by default 20.

import { join } from "node:path";
import type { Browser } from "playwright-core";
import { expect, test } from "vitest";
import type { Endpoints } from "../../sdk";
import { launch } from "../browser/pages";
import { Server, udpNowhere } from "../browser/server";

declare global {
  var connect: (endpoints: Partial<Endpoints>) => Promise<Load>;
}

/** One page load. */
interface Load {
  transport: string;
  ms: number;
}

/** What a page meets. */
interface Case {
  name: string;
  transport: "webtransport" | "websocket";
  udp: "open" | "silent" | "closed";
  hasWebTransport: boolean;
}

const CASES: Case[] = [
  { name: "WebTransport", transport: "webtransport", udp: "open", hasWebTransport: true },
  { name: "WebSocket, UDP goes nowhere", transport: "websocket", udp: "silent", hasWebTransport: true },
  { name: "WebSocket, UDP is refused", transport: "websocket", udp: "closed", hasWebTransport: true },
  { name: "WebSocket, a browser without WebTransport", transport: "websocket", udp: "open", hasWebTransport: false },
];
/** Ends a hang. */
const LIMIT_MS = 60 * 60_000;
const LOADS = Number(process.env.FALLBACK_LOADS ?? 20);

test("fallback", async () => {
  const [browser, server] = [await launch(), await Server.start()];
  const times = CASES.map((): number[] => []);
  // In turns, so that what else the machine does meets all of them; the first turn is for warming up.
  for (let turn = -1; turn < LOADS; turn++) {
    for (const [index, one] of CASES.entries()) {
      const { ms, transport } = await load(browser, server, one);
      expect(transport, one.name).toBe(one.transport);
      if (turn >= 0) times[index]?.push(ms);
    }
  }
  await browser.close();
  await server.stop();
  console.log(table(times));
}, LIMIT_MS);

/** Loads a page in a new profile, and lets the client connect once. */
async function load(browser: Browser, server: Server, { udp, hasWebTransport }: Case): Promise<Load> {
  const context = await browser.newContext();
  if (!hasWebTransport) await context.addInitScript(() => Reflect.deleteProperty(globalThis, "WebTransport"));
  await context.route("**/bench", (route) => route.fulfill({ contentType: "text/html", body: PAGE }));
  await context.route("**/tidegate.js", (route) => route.fulfill({ path: join(import.meta.dirname, "../../dist/tidegate.js") }));
  const nowhere = udp === "open" ? undefined : await udpNowhere(udp);
  const page = await context.newPage();
  await page.goto(`${server.url}bench`);
  await page.waitForFunction(() => typeof connect === "function");
  const loaded = await page.evaluate((at) => connect(at), nowhere ? { webtransport: `https://127.0.0.1:${nowhere.port}/wt` } : {});
  await context.close();
  nowhere?.close();
  return loaded;
}

function table(times: number[][]): string {
  const row = (name: string, cells: string[]): string => name.padEnd(44) + cells.map((cell) => cell.padStart(8)).join("");
  const rows = CASES.map(({ name }, index) => {
    const sorted = (times[index] ?? []).sort((a, b) => a - b);
    return row(name, [0.5, 0.9, 1].map((share) => (sorted[Math.ceil(share * sorted.length) - 1] ?? NaN).toFixed(0)));
  });
  return [row(`connect() to Welcome in ms, ${LOADS} page loads each`, ["median", "p90", "max"]), ...rows].join("\n");
}

/** A page with the client and nothing else. Asking for the token and the address is part of connecting. */
const PAGE = `<!doctype html><link rel="icon" href="data:,"><script type="module">
import { TidegateClient, memoryStore } from "/tidegate.js";
const json = async (path) => (await fetch(path)).json();
globalThis.connect = (other) => new Promise((resolve) => {
  const client = new TidegateClient({
    endpoints: async () => json("/demo/connect").then((at) => ({ ...at, certSha256: at.cert_sha256, ...other })),
    token: async () => (await json("/demo/token?user=bench")).token,
    deviceId: "bench",
    store: memoryStore(),
  });
  const since = performance.now();
  client.on("welcome", () => resolve({ transport: client.status.transport, ms: performance.now() - since }));
  client.connect();
});
</script>`;
