// How long a page takes from the start of connecting to its Welcome: over WebTransport, and where that does not work.
// `npm run bench:fallback`; FALLBACK_LOADS says how many page loads of each kind, by default 20.

import { join } from "node:path";
import type { Browser } from "playwright-core";
import { test } from "vitest";
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
  const loads = CASES.map((): Load[] => []);
  // In turns, so that what else the machine does meets all of them; the first turn is for warming up.
  for (let turn = 0; turn <= LOADS; turn++) {
    for (const [index, one] of CASES.entries()) {
      const loaded = await load(browser, server, one);
      if (turn > 0) loads[index]?.push(loaded);
    }
    process.stderr.write(`\r${turn} of ${LOADS}`);
  }
  await browser.close();
  await server.stop();
  process.stderr.write(`\n${table(loads)}\n`);
}, LIMIT_MS);

/** Loads a page in a new profile, and lets the client connect once. */
async function load(browser: Browser, server: Server, { udp, hasWebTransport }: Case): Promise<Load> {
  const context = await browser.newContext();
  if (!hasWebTransport) await context.addInitScript(() => Reflect.deleteProperty(globalThis, "WebTransport"));
  await context.route("**/minimal.js", (route) => route.fulfill({ contentType: "text/javascript", body: SCRIPT }));
  await context.route("**/tidegate.js", (route) => route.fulfill({ path: join(import.meta.dirname, "../../dist/tidegate.js") }));
  const nowhere = udp === "open" ? undefined : await udpNowhere(udp);
  const page = await context.newPage();
  await page.goto(`${server.url}examples/minimal.html`);
  await page.waitForFunction(() => typeof connect === "function");
  const loaded = await page.evaluate((at) => connect(at), nowhere ? { webtransport: `https://127.0.0.1:${nowhere.port}/wt` } : {});
  await context.close();
  nowhere?.close();
  return loaded;
}

function table(loads: Load[][]): string {
  const row = (name: string, cells: (number | string)[]): string => name.padEnd(46) + cells.map((cell) => String(cell).padStart(9)).join("");
  const rows = CASES.map(({ name, transport }, index) => {
    const all = loads[index] ?? [];
    const sorted = all.map(({ ms }) => ms).sort((a, b) => a - b);
    const times = [0.5, 0.9, 1].map((share) => (sorted[Math.ceil(share * sorted.length) - 1] ?? NaN).toFixed(0));
    return row(name, [...times, all.filter((one) => one.transport === transport).length]);
  });
  return [row(`connect() to Welcome in ms, ${LOADS} page loads each`, ["median", "p90", "max", "as named"]), ...rows].join("\n");
}

/**
 * In place of the minimal page's own script; the page itself has to come from the server, or Chromium keeps it from
 * connecting to this machine. Asking for the token and the addresses is part of connecting.
 */
const SCRIPT = `
import { TidegateClient, memoryStore } from "../tidegate.js";
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
`;
