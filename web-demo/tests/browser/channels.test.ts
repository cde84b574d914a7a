// Channels in real browsers, over each transport: who is there, what is said, and what a page has after it was away.

import type { BrowserContext } from "playwright-core";
import { expect, test } from "vitest";
import { chat, expectSame } from "./check";
import type { Tab } from "./pages";
import { Stage } from "./stage";

const stage = Stage.use();
const TRANSPORTS = ["webtransport", "websocket"] as const;
type Name = (typeof TRANSPORTS)[number];

/** alice and bob, both with a channel open. */
async function inChannel(channel: string, transport: Name = "webtransport"): Promise<[Tab, Tab]> {
  const context: BrowserContext = transport === "websocket" ? await stage.withoutWebTransport() : stage.context;
  const tabs = await stage.pair(context);
  for (const tab of tabs) {
    await tab.isConnected(transport);
    await tab.enter(channel);
  }
  return tabs;
}

test.each(TRANSPORTS)("over %s two pages in @all see each other come, talk and go", async (transport) => {
  const alice = await stage.tab("alice", "bob", transport === "websocket" ? await stage.withoutWebTransport() : stage.context);
  await alice.isConnected(transport);
  await alice.enter("@all");
  await alice.counts("@all", 1);
  await alice.say("is anybody there?");
  await alice.hasSettled(1);
  const bob = await stage.tab("bob", "alice", alice.page.context());
  await bob.isConnected(transport);
  // Both ask anew while they look at it.
  for (const tab of [alice, bob]) await tab.counts("@all", 2);
  await bob.enter("@all");
  const texts = ["is anybody there?", ...(await chat(alice, bob, transport))];
  await expectSame([alice, bob], texts);
  expect((await bob.senders()).filter((name) => name !== "")).toEqual(Array.from({ length: 6 }, () => "alice"));

  await bob.page.click("#leave");
  await alice.counts("@all", 1);
  await alice.say("alone again");
  await expectSame([alice], [...texts, "alone again"]);
  expect(await bob.channels()).toEqual([]);
  await bob.join("@all");
  await expectSame([alice, bob], [...texts, "alone again"]);
});

test.each(TRANSPORTS)("over %s a reload keeps the channels, what they hold, and what was not sent yet", async (transport) => {
  const [alice, bob] = await inChannel("@all", transport);
  const texts = await chat(alice, bob, "before");
  await alice.join("news/sport");
  await alice.say("goal");
  await alice.hasSettled(1);
  await alice.enter("@all");
  await alice.set("network", false);
  await alice.say("written offline");
  texts.push("written offline");
  await bob.say("meanwhile");
  texts.push("meanwhile");
  await alice.page.waitForSelector('.message[data-state="sending"]');
  await alice.page.reload();
  await alice.isConnected(transport);
  await expectSame([alice, bob], texts);
  texts.push(...(await chat(alice, bob, "after")));
  await expectSame([alice, bob], texts);
  expect(await alice.channels()).toEqual(["@all", "news/sport"]);
  await alice.enter("news/sport");
  await expectSame([alice], ["goal"]);
});

test.each(TRANSPORTS)("over %s a server that is killed and started again leaves no hole and doubles nothing", async (transport) => {
  stage.expectFailingConnections();
  const [alice, bob] = await inChannel("@all", transport);
  const texts: string[] = [];
  for (let round = 0; round < 3; round++) {
    const flood = ["alice", "bob"].map((name) => Array.from({ length: 60 }, (_, n) => `${round} ${name} ${n}`)) as [string[], string[]];
    const said = Promise.all([alice.sayAll(flood[0], FLOOD), bob.sayAll(flood[1], FLOOD)]);
    for (const tab of [alice, bob]) await tab.hasStored(round * 60 + 10);
    await stage.server.kill();
    await said;
    await stage.server.run();
    for (const tab of [alice, bob]) await tab.wake();
    texts.push(...flood.flat());
    await expectSame([alice, bob], texts);
  }
  for (const tab of [alice, bob]) await tab.counts("@all", 2);
});

test.each(TRANSPORTS)("over %s who was away gets what he missed in its order", async (transport) => {
  const [alice, bob] = await inChannel("@all", transport);
  const texts = await chat(alice, bob, "before");
  for (let round = 0; round < 3; round++) {
    await bob.set("network", false);
    const missed = Array.from({ length: 40 }, (_, n) => `missed ${round}.${n}`);
    await alice.sayAll(missed);
    texts.push(...missed);
    await alice.hasSettled(texts.length);
    await bob.set("network", true);
    await bob.isConnected(transport);
    await expectSame([alice, bob], texts);
  }
});

test("history that is gone: the page says so, and goes on from what there is", async () => {
  stage.expectFailingConnections();
  const [alice, bob] = await inChannel("@all");
  const known = await chat(alice, bob, "known");
  await expectSame([alice, bob], known);
  await bob.set("network", false);
  const missed = Array.from({ length: 20 }, (_, n) => `missed ${n}`);
  await alice.sayAll(missed);
  await alice.hasSettled(known.length + missed.length);
  await stage.server.terminate();
  await stage.server.run({ "retention.max_entries": "5" });
  await stage.server.says("retention");
  await bob.set("network", true);
  await bob.page.getByText("Some old messages are no longer kept").waitFor();
  await alice.wake();
  await alice.say("and on");
  const left = [...missed.slice(-5), "and on"];
  await bob.hasSettled(known.length + left.length);
  expect((await bob.shown()).map(({ text }) => text)).toEqual([...known, ...left]);
});

test("a back-up is restored under a new epoch: the channel is shown as it is now, once", async () => {
  stage.expectFailingConnections();
  const { server } = stage;
  const [alice, bob] = await inChannel("@all");
  const texts = await chat(alice, bob, "backed up");
  await expectSame([alice, bob], texts);
  await server.terminate();
  await server.backUp();
  await server.run();
  for (const tab of [alice, bob]) await tab.wake();
  await expectSame([alice, bob], [...texts, ...(await chat(alice, bob, "after the back-up"))]);
  await server.terminate();
  await server.restore();
  await server.run();
  for (const tab of [alice, bob]) {
    await tab.wake();
    await tab.page.getByText("after the back-up ping 0").waitFor({ state: "detached" });
  }
  await expectSame([alice, bob], texts);
  texts.push(...(await chat(alice, bob, "restored")));
  await expectSame([alice, bob], texts);
});

test("a channel is joined by its name, counts what is unread, and one that is refused is not there", async () => {
  const [alice, bob] = await inChannel("@all");
  await bob.join("news/sport");
  await alice.join("news/sport");
  await alice.enter("@all");
  await bob.say("goal");
  await bob.say("and another");
  await alice.page.waitForSelector('.item[data-channel="news/sport"] .unread:text-is("2")');
  expect(await alice.page.title()).toBe("(2) tidegate");
  await alice.enter("news/sport");
  await expectSame([alice, bob], ["goal", "and another"]);
  await alice.page.waitForFunction(() => document.title === "tidegate");

  await alice.join("@forbidden");
  await alice.page.getByText("@forbidden: ").waitFor();
  await expect.poll(() => alice.channels()).toEqual(["@all", "news/sport"]);
  await alice.page.waitForSelector("#chat", { state: "hidden" });
  await alice.page.click("#join-toggle");
  await alice.page.fill("#channel", "no spaces");
  await alice.page.press("#channel", "Enter");
  await alice.page.waitForSelector("#channel-error", { state: "visible" });
  await alice.page.press("#channel", "Escape");
  await alice.page.waitForSelector("#join-form", { state: "hidden" });
  expect(await alice.page.evaluate(() => document.activeElement?.id)).toBe("join-toggle");
});

test("on a phone a channel fits, and the list is a step back", async () => {
  const tab = await stage.tab("alice", "", await stage.newContext({ viewport: { width: 360, height: 740 } }));
  await tab.join("a/channel-whose-name/is-longer/than-any/that-somebody/would-choose/for-anything-at-all/if-not/for-a-test");
  await tab.say("Donaudampfschifffahrtsgesellschaftskapitän".repeat(3));
  await tab.hasSettled(1);
  const fits = (selector: string): Promise<boolean> =>
    tab.page.$eval(selector, (element) => element.getBoundingClientRect().right <= innerWidth && document.documentElement.scrollWidth <= innerWidth);
  for (const selector of ["#send", "#leave"]) expect(await fits(selector), selector).toBe(true);
  await tab.page.click("#back");
  await tab.page.waitForSelector("#channels", { state: "visible" });
  for (const selector of ["#join-toggle", "#open-conversation", ".item .count"]) expect(await fits(selector), selector).toBe(true);
  expect(await tab.page.isVisible("#composer")).toBe(false);
});

/** So many texts at once, and so long between two such bursts: some are under way when the server dies. */
const FLOOD = { burst: 6, pauseMs: 50 };
