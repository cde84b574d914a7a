// Two people chat in real browsers, over each transport.

import { expect, test } from "vitest";
import { chat, expectSame } from "./check";
import { Tab } from "./pages";
import { udpNowhere } from "./server";
import { Stage } from "./stage";

const stage = Stage.use();

test("two pages chat over WebTransport", async () => {
  const [alice, bob] = await stage.pair();
  for (const tab of [alice, bob]) await tab.isConnected("webtransport");
  await expectSame([alice, bob], await chat(alice, bob, "wt"));
});

test("two pages chat over WebSocket when it is forced, and come back to WebTransport", async () => {
  const [alice, bob] = await stage.pair();
  for (const tab of [alice, bob]) await tab.set("force-websocket", true);
  for (const tab of [alice, bob]) await tab.isConnected("websocket");
  const texts = await chat(alice, bob, "ws");
  await expectSame([alice, bob], texts);
  for (const tab of [alice, bob]) await tab.set("force-websocket", false);
  for (const tab of [alice, bob]) await tab.isConnected("webtransport");
  texts.push(...(await chat(alice, bob, "again")));
  await expectSame([alice, bob], texts);
});

test("a browser without WebTransport falls back to WebSocket", async () => {
  const [alice, bob] = await stage.pair(await stage.withoutWebTransport());
  for (const tab of [alice, bob]) await tab.isConnected("websocket");
  await expectSame([alice, bob], await chat(alice, bob, "fallback"));
});

test.each(["silent", "closed"] as const)("with a UDP port that is %s the page is on WebSocket", async (kind) => {
  stage.expectFailingConnections();
  const nowhere = await udpNowhere(kind);
  await stage.context.route("**/demo/connect", async (route) => {
    const answer = (await (await route.fetch()).json()) as object;
    await route.fulfill({ json: { ...answer, webtransport: `https://127.0.0.1:${nowhere.port}/wt` } });
  });
  const [alice, bob] = await stage.pair();
  for (const tab of [alice, bob]) await tab.isConnected("websocket");
  await expectSame([alice, bob], await chat(alice, bob, kind));
  nowhere.close();
});

test("a long conversation: the page shows its end, and scrolling brings the rest", async () => {
  const [alice, bob] = await stage.pair();
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
  const [alice, bob] = await stage.pair();
  await alice.page.locator("#composer").pressSequentially("hel");
  await bob.page.waitForSelector("#typing:not([hidden])");
  await alice.say("hello");
  await bob.hasSettled(1);
  await bob.page.waitForSelector("#typing", { state: "hidden" });
});

test("the minimal page chats", async () => {
  const bob = await stage.tab("bob", "carol");
  const carol = new Tab(await stage.context.newPage());
  await carol.page.goto(`${stage.server.url}examples/minimal.html?user=carol`);
  await carol.page.fill("#text", "fifteen lines");
  await carol.page.press("#text", "Enter");
  await bob.hasSettled(1);
  await bob.say("that is all");
  await carol.page.getByText("bob: that is all").waitFor();
});

test("on a phone the list and the conversation take turns", async () => {
  const peer = "a.name-that-nobody@would.ever.choose-for.himself";
  const tab = await stage.tab("alice", peer, await stage.newContext({ viewport: { width: 360, height: 740 } }));
  await tab.say("Donaudampfschifffahrtsgesellschaftskapitän".repeat(3));
  await tab.hasSettled(1);
  const fits = (): Promise<boolean> => tab.page.evaluate(() => document.querySelector("#send")!.getBoundingClientRect().right <= innerWidth);
  expect(await fits()).toBe(true);
  expect(await tab.page.isVisible("#conversations")).toBe(false);
  await tab.page.click("#back");
  await tab.page.waitForSelector("#conversations", { state: "visible" });
  expect(await tab.page.isVisible("#composer")).toBe(false);
  const overflow = await tab.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  expect(overflow).toBeLessThanOrEqual(0);
  await tab.page.click(`.item[data-peer="${peer}"]`);
  await tab.page.waitForSelector("#composer", { state: "visible" });
});
