// The demo on several gateways: people at different ones chat, and a gateway that dies or stops loses nobody a message.

import type { Browser, BrowserContext } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { chat, expectSame } from "../browser/check";
import { errorsOf, NOBODY_ANSWERED, unexpected } from "../browser/console";
import { launch, Tab } from "../browser/pages";
import { Cluster, GATEWAYS, type Gateway } from "./cluster";

const TRANSPORTS = ["webtransport", "websocket"] as const;
type Name = (typeof TRANSPORTS)[number];
/** Missing servers are installed within it. It ends a hang. */
const START_LIMIT_MS = 300_000;

let cluster: Cluster;
let browser: Browser;
let errors: string[];
let contexts: BrowserContext[];

beforeAll(async () => {
  [cluster, browser] = await Promise.all([Cluster.up(), launch()]);
}, START_LIMIT_MS);

afterAll(async () => {
  await browser?.close();
  await cluster?.down();
}, START_LIMIT_MS);

beforeEach(() => {
  [errors, contexts] = [[], []];
});

afterEach(async () => {
  for (const context of contexts) await context.close();
});

test.each(TRANSPORTS)("over %s each gateway serves the page, and people at different ones chat and see each other write", async (name) => {
  const context = await contextFor(name);
  for (const [index, gateway] of GATEWAYS.entries()) {
    const next = GATEWAYS[(index + 1) % GATEWAYS.length] ?? gateway;
    const [alice, bob] = await pair(context, `${name}-${index}`, gateway, next);
    for (const tab of [alice, bob]) await tab.isConnected(name);
    for (const [tab, at] of [[alice, gateway], [bob, next]] as const) {
      await tab.isAt(at);
      expect(await tab.page.textContent("#badge-gateway")).toBe(at);
    }
    await alice.page.locator("#composer").pressSequentially("hel");
    await bob.page.waitForSelector("#typing:not([hidden])");
    await expectSame([alice, bob], await chat(alice, bob, gateway));
    for (const tab of [alice, bob]) await tab.page.close();
  }
  expect(errors).toEqual([]);
});

test.each(TRANSPORTS)("over %s people at different gateways talk in a channel and see how many they are", async (name) => {
  const context = await contextFor(name);
  const [alice, bob] = await pair(context, `${name}-channel`, "gateway-1", "gateway-2");
  const channel = `room/${name}`;
  for (const [tab, at] of [[alice, "gateway-1"], [bob, "gateway-2"]] as const) {
    await tab.isConnected(name);
    await tab.isAt(at);
    await tab.join(channel);
  }
  for (const tab of [alice, bob]) await tab.counts(channel, 2);
  await expectSame([alice, bob], await chat(alice, bob, channel));
  await picture(alice, `${name}-channel`);
  await bob.page.close();
  await alice.counts(channel, 1);
  expect(errors).toEqual([]);
});

test.each(TRANSPORTS)("over %s a gateway that is killed moves its users without loss", async (name) => {
  await moves(name, "gateway-2", "kill");
});

test.each(TRANSPORTS)("over %s a gateway that is stopped sends its users to the others", async (name) => {
  await moves(name, "gateway-3", "stop");
});

test.each([["kill", "gateway-2"], ["stop", "gateway-3"]] as const)(
  "over websocket, with a certificate that nobody believes, a gateway's users move without TLS after a %s",
  async (end, victim) => {
    await moves("websocket", victim, end, false);
  },
);

/** alice is at a gateway that ends while both write; she goes on at another one, and comes back when it is there again. */
async function moves(name: Name, victim: Gateway, end: "kill" | "stop", believes = name === "websocket"): Promise<void> {
  const context = await contextFor(name, believes);
  const [alice, bob] = await pair(context, `${name}-${end}-${believes}`, victim, "gateway-1");
  await alice.isAt(victim);
  await bob.isAt("gateway-1");
  const texts = await chat(alice, bob, "before");
  await expectSame([alice, bob], texts);

  const flood = ["alice", "bob"].map((who) => Array.from({ length: 120 }, (_, n) => `${who} ${n}`)) as [string[], string[]];
  const said = Promise.all([alice.sayAll(flood[0], FLOOD), bob.sayAll(flood[1], FLOOD)]);
  for (const tab of [alice, bob]) await tab.hasStored(10);
  await cluster.tell(end, victim);
  await said;
  await alice.isAt(victim, { other: true });
  await alice.isConnected(name);
  texts.push(...flood.flat());
  await expectSame([alice, bob], texts);
  for (const [tab, own] of [[alice, flood[0]], [bob, flood[1]]] as const) {
    const shown = (await tab.shown()).filter(({ isOwn }) => isOwn).map(({ text }) => text);
    expect(shown.filter((text) => own.includes(text))).toEqual(own);
  }
  await picture(alice, `${name}-${end}`);

  texts.push(...(await chat(alice, bob, "elsewhere")));
  await expectSame([alice, bob], texts);
  await cluster.tell("start", victim);
  await alice.set("network", false);
  await alice.set("network", true);
  await alice.isAt(victim);
  texts.push(...(await chat(alice, bob, "back")));
  await expectSame([alice, bob], texts);
  expect(unexpected(errors, NOBODY_ANSWERED)).toEqual([]);
}

/** With wss pages must believe the gateways' certificate, as they do in production. */
async function contextFor(name: Name, believes = name === "websocket"): Promise<BrowserContext> {
  const context = await browser.newContext({ ignoreHTTPSErrors: believes, viewport: { width: 1100, height: 720 } });
  if (name === "websocket") await context.addInitScript(() => Reflect.deleteProperty(globalThis, "WebTransport"));
  errorsOf(context, errors);
  contexts.push(context);
  return context;
}

/** Two people in conversation, each on the page of a gateway. */
async function pair(context: BrowserContext, name: string, first: Gateway, second: Gateway): Promise<[Tab, Tab]> {
  const [alice, bob] = [`alice-${name}`, `bob-${name}`];
  return [await Tab.open(context, cluster.demo(first), alice, bob), await Tab.open(context, cluster.demo(second), bob, alice)];
}

/** For a person to look at, where a folder is named. */
async function picture({ page }: Tab, name: string): Promise<void> {
  const folder = process.env.PICTURES;
  if (folder) await page.screenshot({ path: `${folder}/${name}.png` });
}

/** So many texts at once, and so long between two such bursts: some are under way when the gateway ends. */
const FLOOD = { burst: 6, pauseMs: 100 };
