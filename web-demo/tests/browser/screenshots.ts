// The pictures of the README: desktop, phone and dark, taken from a real conversation.

import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, test } from "vitest";
import { launch, LIMIT_MS, Tab } from "./pages";
import { Server } from "./server";

const FOLDER = join(import.meta.dirname, "../../../docs/images");
const LINES: ["alice" | "bob", string][] = [
  ["alice", "Morning! Did the ferry get in on time?"],
  ["bob", "Ten minutes early, for once. The tide was with us."],
  ["alice", "Nice. I'm on the train, so I may drop out in the tunnel."],
  ["bob", "No worries, whatever you miss will be here when you're back."],
  ["alice", "And what I write in there goes out by itself"],
  ["alice", "See?"],
  ["bob", "Every word, once, in order."],
];

const IN_THE_CHANNEL: ["alice" | "bob", string][] = [
  ["bob", "The 9:40 ferry leaves from pier 3 today"],
  ["bob", "Not from pier 1"],
  ["alice", "Thanks! Is the café on board open?"],
  ["bob", "It is, and the tide is fine"],
];

let browser: Browser;
let server: Server;

beforeAll(async () => {
  browser = await launch();
  server = await Server.start();
});
afterAll(async () => {
  await browser.close();
  await server.stop();
});

test("screenshots", async () => {
  const desktop = await browser.newContext({ viewport: { width: 1100, height: 720 }, deviceScaleFactor: 2 });
  const alice = await Tab.open(desktop, server.url, "alice", "bob");
  const bob = await Tab.open(desktop, server.url, "bob", "alice");
  for (const [index, [who, text]] of LINES.entries()) {
    await (who === "alice" ? alice : bob).say(text);
    for (const tab of [alice, bob]) await tab.hasSettled(index + 1);
  }
  await alice.join("news/harbour");
  await alice.say("Pier 1 is closed until Friday");
  await alice.hasSettled(1);
  for (const tab of [alice, bob]) await tab.enter("@all");
  for (const [index, [who, text]] of IN_THE_CHANNEL.entries()) {
    await (who === "alice" ? alice : bob).say(text);
    for (const tab of [alice, bob]) await tab.hasSettled(index + 1);
  }
  await alice.counts("@all", 2);
  await isCalm(alice);
  await alice.page.screenshot({ path: join(FOLDER, "demo-channel.png") });
  for (const [tab, peer] of [[alice, "bob"], [bob, "alice"]] as const) await tab.page.click(`.item[data-peer="${peer}"]`);
  for (const [name, text] of Object.entries({ carol: "Lunch at one?", dave: "The slides are up", erin: "On it" })) {
    const tab = await Tab.open(desktop, server.url, name, "alice");
    await tab.say(text);
    await tab.hasSettled(1);
    await tab.page.close();
  }
  await isCalm(alice);
  await bob.page.locator("#composer").pressSequentially("On my ");
  await alice.page.bringToFront();
  await alice.page.waitForSelector("#typing:not([hidden])");
  await alice.page.screenshot({ path: join(FOLDER, "demo-desktop.png") });
  await alice.set("network", false);
  await alice.say("In the tunnel now");
  await alice.page.waitForSelector('.message[data-state="sending"]');
  await alice.page.screenshot({ path: join(FOLDER, "demo-offline.png") });
  await alice.set("network", true);
  await alice.hasSettled(LINES.length + 1);

  const dark = await browser.newContext({ viewport: { width: 1100, height: 720 }, deviceScaleFactor: 2, colorScheme: "dark" });
  const inTheDark = await Tab.open(dark, server.url, "bob", "alice");
  await inTheDark.hasSettled(LINES.length + 1);
  await isCalm(inTheDark);
  await inTheDark.page.screenshot({ path: join(FOLDER, "demo-dark.png") });

  const phone = await browser.newContext({ viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true });
  const onThePhone = await Tab.open(phone, server.url, "alice", "bob");
  await onThePhone.hasSettled(LINES.length + 1);
  await isCalm(onThePhone);
  await onThePhone.page.screenshot({ path: join(FOLDER, "demo-phone.png") });
  await onThePhone.page.click("#back");
  await onThePhone.page.waitForSelector("#conversations", { state: "visible" });
  await onThePhone.page.screenshot({ path: join(FOLDER, "demo-phone-list.png") });
});

/** Waits for a round trip that was not measured while the page was being built. */
async function isCalm({ page }: Tab): Promise<void> {
  await page.waitForFunction(() => {
    const { rtt } = document.querySelector<HTMLElement>("#badge")?.dataset ?? {};
    return rtt && Number(rtt) < 20;
  }, undefined, { timeout: LIMIT_MS });
}
