// Two people chat in real browsers, over each transport, with a server that dies and a network that comes and goes.

import type { Browser, BrowserContext } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { expectSame } from "./check";
import { launch, looking, Tab, withoutWebTransport } from "./pages";
import { Server, udpNowhere } from "./server";

let browser: Browser;
let server: Server;
let context: BrowserContext;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());
beforeEach(async () => {
  server = await Server.start();
  context = await browser.newContext();
});
afterEach(async () => {
  await context.close();
  await server.stop();
});

async function pair(from: BrowserContext = context): Promise<[Tab, Tab]> {
  return [await Tab.open(from, server.url, "alice", "bob"), await Tab.open(from, server.url, "bob", "alice")];
}

async function chat(alice: Tab, bob: Tab, name: string): Promise<string[]> {
  const texts = [];
  for (let n = 0; n < 5; n++) {
    await alice.say(`${name} ping ${n}`);
    await bob.say(`${name} pong ${n}`);
    texts.push(`${name} ping ${n}`, `${name} pong ${n}`);
  }
  return texts;
}

test("two pages chat over WebTransport", async () => {
  const [alice, bob] = await pair();
  await alice.isConnected("webtransport");
  await bob.isConnected("webtransport");
  await expectSame([alice, bob], await chat(alice, bob, "wt"));
  expect([...alice.errors, ...bob.errors]).toEqual([]);
});

test("two pages chat over WebSocket when it is forced, and come back to WebTransport", async () => {
  const [alice, bob] = await pair();
  for (const tab of [alice, bob]) await tab.set("force-websocket", true);
  for (const tab of [alice, bob]) await tab.isConnected("websocket");
  const texts = await chat(alice, bob, "ws");
  await expectSame([alice, bob], texts);
  for (const tab of [alice, bob]) await tab.set("force-websocket", false);
  for (const tab of [alice, bob]) await tab.isConnected("webtransport");
  texts.push(...(await chat(alice, bob, "again")));
  await expectSame([alice, bob], texts);
  expect([...alice.errors, ...bob.errors]).toEqual([]);
});

test("a browser without WebTransport falls back to WebSocket", async () => {
  const without = await withoutWebTransport(browser);
  const [alice, bob] = await pair(without);
  for (const tab of [alice, bob]) await tab.isConnected("websocket");
  await expectSame([alice, bob], await chat(alice, bob, "fallback"));
  expect([...alice.errors, ...bob.errors]).toEqual([]);
  await without.close();
});

test("with UDP going nowhere the page is on WebSocket, and a closed port is no different", async () => {
  for (const isSilent of [true, false]) {
    const nowhere = await udpNowhere(isSilent);
    const cut = await browser.newContext();
    await cut.route("**/demo/connect", async (route) => {
      const answer = (await (await route.fetch()).json()) as object;
      await route.fulfill({ json: { ...answer, webtransport: `https://127.0.0.1:${nowhere.port}/wt` } });
    });
    const name = isSilent ? "silent" : "closed";
    const tabs = [await Tab.open(cut, server.url, `alice-${name}`, `bob-${name}`), await Tab.open(cut, server.url, `bob-${name}`, `alice-${name}`)] as const;
    for (const tab of tabs) await tab.isConnected("websocket");
    await expectSame([...tabs], await chat(...tabs, name));
    await cut.close();
    nowhere.close();
  }
});

test("a server that is killed and started again between messages loses and doubles nothing", async () => {
  const [alice, bob] = await pair();
  const texts = [];
  for (let round = 0; round < 5; round++) {
    for (const when of ["before", "during"]) {
      if (when === "during") await server.kill();
      await alice.say(`${when} ${round} from alice`);
      await bob.say(`${when} ${round} from bob`);
      texts.push(`${when} ${round} from alice`, `${when} ${round} from bob`);
    }
    await server.run();
    for (const tab of [alice, bob]) await tab.page.evaluate(() => window.dispatchEvent(new Event("online")));
    await expectSame([alice, bob], texts);
  }
  // The browser itself writes that nobody answered; the page has nothing to add.
  const own = [...alice.errors, ...bob.errors].filter((text) => !/ERR_|WebSocket connection to/.test(text));
  expect(own).toEqual([]);
});

test("a server that is stopped sends its clients away, and they come back with everything", async () => {
  const [alice, bob] = await pair();
  const texts = await chat(alice, bob, "before");
  const stopped = server.terminate();
  await alice.say("while it stops");
  texts.push("while it stops");
  expect(await stopped).toBe(0);
  await server.run();
  texts.push(...(await chat(alice, bob, "after")));
  await expectSame([alice, bob], texts);
});

test("100 network cuts of random length while messages flow lose and double nothing", async () => {
  const [alice, bob] = await pair();
  const random = randomFrom(20_260_401);
  const texts = [];
  for (let cut = 0; cut < 100; cut++) {
    const victim = random() < 0.5 ? alice : bob;
    await victim.set("network", false);
    for (const [name, tab] of Object.entries({ alice, bob })) {
      if (random() < 0.3) continue;
      await tab.say(`${cut} from ${name}`);
      texts.push(`${cut} from ${name}`);
    }
    await victim.page.waitForTimeout(random() * 120);
    await victim.set("network", true);
    await victim.page.waitForTimeout(random() * 250);
  }
  await expectSame([alice, bob], texts);
  expect([...alice.errors, ...bob.errors]).toEqual([]);
});

test("a reload keeps the history, and what was not sent yet is sent", async () => {
  const [alice, bob] = await pair();
  const texts = await chat(alice, bob, "kept");
  await expectSame([alice, bob], texts);
  await alice.set("network", false);
  await alice.say("written offline");
  await alice.page.waitForSelector('.message[data-state="sending"]');
  await alice.page.reload();
  await alice.isConnected();
  await expectSame([alice, bob], [...texts, "written offline"]);
  expect([...alice.errors, ...bob.errors]).toEqual([]);
});

test("a long conversation: the page shows its end, and scrolling brings the rest", async () => {
  const [alice, bob] = await pair();
  const texts = Array.from({ length: 320 }, (_, n) => `line ${n}`);
  await alice.sayAll(texts);
  await expectSame([alice, bob], texts);
  await bob.page.reload();
  await bob.isConnected();
  await bob.hasSettled(50);
  expect((await bob.shown()).at(-1)?.text).toBe(texts.at(-1));
  while ((await bob.shown()).length < texts.length) {
    const before = (await bob.shown()).length;
    await bob.page.$eval("#scroller", (scroller) => (scroller.scrollTop = 0));
    await bob.hasSettled(before + 1);
  }
  await expectSame([alice, bob], texts);
});

test("typing shows, and goes with the message", async () => {
  const [alice, bob] = await pair();
  await alice.page.locator("#composer").pressSequentially("hel");
  await bob.page.waitForSelector("#typing:not([hidden])");
  await alice.say("hello");
  await bob.hasSettled(1);
  await bob.page.waitForSelector("#typing", { state: "hidden" });
});

test("a duplicated tab is another device", async () => {
  const [alice] = await pair();
  const copies = await alice.page.evaluate(() => ({ ...sessionStorage }));
  const second = await context.newPage();
  await second.addInitScript((kept) => {
    for (const [key, value] of Object.entries(kept)) if (!sessionStorage.getItem(key)) sessionStorage.setItem(key, value);
  }, copies as Record<string, string>);
  const copy = new Tab(second);
  await second.goto(`${server.url}?user=alice&peer=bob`);
  await copy.isConnected();
  await alice.say("one of two");
  await expectSame([alice, copy], ["one of two"]);
  await alice.isConnected();
  expect([...alice.errors, ...copy.errors]).toEqual([]);
});

test("the minimal page chats", async () => {
  const bob = await Tab.open(context, server.url, "bob", "carol");
  const carol = new Tab(await context.newPage());
  await carol.page.goto(`${server.url}examples/minimal.html?user=carol`);
  await carol.page.fill("#text", "fifteen lines");
  await carol.page.press("#text", "Enter");
  await bob.hasSettled(1);
  await bob.say("that is all");
  await carol.page.getByText("bob: that is all").waitFor();
  expect([...bob.errors, ...carol.errors]).toEqual([]);
});

test("on a phone the list and the conversation take turns", async () => {
  const phone = await looking(browser, { viewport: { width: 360, height: 740 } });
  const tab = await Tab.open(phone, server.url, "alice", "bob");
  await tab.say("hi");
  await tab.hasSettled(1);
  expect(await tab.page.isVisible("#conversations")).toBe(false);
  await tab.page.click("#back");
  await tab.page.waitForSelector("#conversations", { state: "visible" });
  expect(await tab.page.isVisible("#composer")).toBe(false);
  const overflow = await tab.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  expect(overflow).toBeLessThanOrEqual(0);
  await tab.page.click('.item[data-peer="bob"]');
  await tab.page.waitForSelector("#composer", { state: "visible" });
  await phone.close();
});

/** Mulberry32: the same cuts each time. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
