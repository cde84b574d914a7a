// A tab is a device: over reloads and copies, against another page of the same device, and over the life of a token.

import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { chat, expectSame } from "./check";
import { Tab } from "./pages";
import { Stage } from "./stage";

const stage = Stage.use();

test("a reload keeps the history, and what was not sent yet is sent", async () => {
  const [alice, bob] = await stage.pair();
  const texts = await chat(alice, bob, "kept");
  await expectSame([alice, bob], texts);
  await alice.set("network", false);
  await alice.say("written offline");
  await alice.page.waitForSelector('.message[data-state="sending"]');
  await alice.page.getByText("You are offline").waitFor();
  await alice.page.reload();
  await alice.isConnected();
  await alice.page.waitForSelector("#note", { state: "hidden" });
  await expectSame([alice, bob], [...texts, "written offline"]);
});

test("a duplicated tab is another device", async () => {
  const [alice] = await stage.pair();
  const copy = await copyOf(alice, await stage.context.newPage());
  await alice.say("one of two");
  await expectSame([alice, copy], ["one of two"]);
  await alice.isConnected();
});

test("a second page with the same device: the first one says so and does not fight", async () => {
  const [alice, bob] = await stage.pair();
  const texts = await chat(alice, bob, "before");
  await expectSame([alice, bob], texts);
  // In another browser the lock is not seen that tells copies of a tab apart.
  const second = await copyOf(alice, await (await stage.newContext()).newPage());
  await alice.banner(/another page/);

  const connects = countConnects(alice.page);
  for (let round = 0; round < 3; round++) {
    await alice.wake();
    texts.push(...(await chat(second, bob, `second ${round}`)));
    await expectSame([second, bob], texts);
  }
  expect(await alice.page.getAttribute("#badge", "data-state")).toBe("closed");
  expect(connects()).toBe(0);

  await alice.page.click("#reconnect");
  await alice.isConnected();
  await second.banner(/another page/);
  texts.push(...(await chat(alice, bob, "back")));
  await expectSame([alice, bob], texts);
});

test("a token is renewed before it ends, and the session goes on", async () => {
  const tokens = await stage.server.serveTokens(stage.context, "12s");
  const [alice, bob] = await stage.pair();
  const connects = [countConnects(alice.page), countConnects(bob.page)];
  await tokens.wereAskedFor("alice", 4);
  await tokens.wereAskedFor("bob", 4);
  // The fourth is asked for after 15 s: the first one has ended by now.
  expect(connects.map((count) => count())).toEqual([0, 0]);
  await expectSame([alice, bob], await chat(alice, bob, "renewed"));
});

test("a token that is not renewed ends the session, and with a good one the page comes back", async () => {
  const tokens = await stage.server.serveTokens(stage.context, "10s");
  tokens.isSame = true;
  const [alice, bob] = [await stage.tab("alice", "bob"), await stage.tab("bob", "alice", await stage.newContext())];
  const texts = await chat(alice, bob, "before");
  await alice.banner(/ended the connection/);
  await alice.say("written in between");
  await alice.page.waitForSelector('.message[data-state="sending"]');
  tokens.isSame = false;
  await alice.page.click("#reconnect");
  await alice.isConnected();
  await expectSame([alice, bob], [...texts, "written in between"]);
});

/** A page with the session storage of another one, as the browser makes it for a duplicated tab. */
async function copyOf(tab: Tab, page: Page): Promise<Tab> {
  const kept = await tab.page.evaluate(() => ({ ...sessionStorage }) as Record<string, string>);
  await page.addInitScript((values) => {
    for (const [key, value] of Object.entries(values)) if (!sessionStorage.getItem(key)) sessionStorage.setItem(key, value);
  }, kept);
  await page.goto(tab.page.url());
  const copy = new Tab(page);
  await copy.isConnected();
  return copy;
}

/** Counts the page's attempts to connect from now on. */
function countConnects(page: Page): () => number {
  let count = 0;
  page.on("request", (request) => request.url().endsWith("/demo/connect") && count++);
  return () => count;
}
