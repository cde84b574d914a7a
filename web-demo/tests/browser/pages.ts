// Pages of the demo as the tests use them: by its controls and by what it shows.

import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { expect } from "vitest";

/** A message as the page shows it. */
export interface Shown {
  text: string;
  localId: string;
  serverId: string;
  seq: number;
  convSeq: number;
  state: string;
  isOwn: boolean;
}

/** Starts Chromium as it is, without flags that help WebTransport. */
export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox"],
    ignoreDefaultArgs: ["--disable-quic"],
  });
}

/** A tab of the demo, signed in. */
export class Tab {
  constructor(readonly page: Page) {}

  /** Opens the demo for a user, in conversation with another one. */
  static async open(context: BrowserContext, url: string, user: string, peer: string): Promise<Tab> {
    const tab = new Tab(await context.newPage());
    await tab.page.goto(`${url}?user=${user}&peer=${peer}`);
    await tab.isConnected();
    return tab;
  }

  /** Waits until the badge says that it is connected, over this transport where one is given. */
  async isConnected(transport?: "webtransport" | "websocket"): Promise<void> {
    const which = transport ? `[data-transport="${transport}"]` : "";
    await this.page.waitForSelector(`#badge[data-state="connected"]${which}`, { timeout: LIMIT_MS });
  }

  /** The gateway that holds the session, as the badge says. */
  gateway(): Promise<string> {
    return this.page.$eval("#badge", (badge) => (badge as HTMLElement).dataset.gateway ?? "");
  }

  /** Waits until the badge says that it is connected at a gateway, or at one of the others. */
  async isAt(gateway: string, { other = false } = {}): Promise<void> {
    const which = `[data-gateway="${gateway}"]`;
    const selector = `#badge[data-state="connected"]${other ? `:not(${which})` : which} #badge-gateway:not(:empty)`;
    await this.page.waitForSelector(selector, { timeout: LIMIT_MS });
  }

  /** Writes a text into the composer and sends it. */
  async say(text: string): Promise<void> {
    await this.page.fill("#composer", text);
    await this.page.press("#composer", "Enter");
  }

  /** Sends many texts as fast as the page takes them, or in bursts. */
  async sayAll(texts: string[], { burst = texts.length, pauseMs = 0 } = {}): Promise<void> {
    const say = async ([all, burst, pauseMs]: [string[], number, number]): Promise<void> => {
      const composer = document.querySelector<HTMLTextAreaElement>("#composer");
      const form = document.querySelector<HTMLFormElement>("#composer-form");
      if (!composer || !form) throw new Error("no conversation is open");
      for (const [index, text] of all.entries()) {
        if (index > 0 && index % burst === 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
        composer.value = text;
        form.requestSubmit();
      }
    };
    await this.page.evaluate(say, [texts, burst, pauseMs] as [string[], number, number]);
  }

  /** Opens a channel of the list. */
  async enter(channel: string): Promise<void> {
    await this.page.click(`.item[data-channel="${channel}"]`);
    await this.page.locator("#chat-title").getByText(channel, { exact: true }).waitFor({ timeout: LIMIT_MS });
  }

  /** Joins a channel by its name; what is said then is said there. */
  async join(channel: string): Promise<void> {
    if (await this.page.isHidden("#join-toggle")) await this.page.click("#back");
    await this.page.click("#join-toggle");
    await this.page.fill("#channel", channel);
    await this.page.press("#channel", "Enter");
    // The page follows its address a moment later.
    await this.page.waitForSelector("#join-form", { state: "hidden", timeout: LIMIT_MS });
  }

  /** The channels of the list, from top to bottom. */
  channels(): Promise<(string | undefined)[]> {
    return this.page.$$eval("#channels .item", (items) => items.map((item) => (item as HTMLElement).dataset.channel));
  }

  /** Waits until the list says that so many subscribe to a channel. */
  async counts(channel: string, count: number): Promise<void> {
    const number = this.page.locator(`.item[data-channel="${channel}"] .count-number`);
    await number.getByText(String(count), { exact: true }).waitFor({ timeout: LIMIT_MS });
  }

  /** Who wrote what the page shows, from top to bottom; empty for the own ones. */
  senders(): Promise<string[]> {
    return this.page.$$eval("#messages .message", (elements) => elements.map((element) => element.querySelector(".sender")?.textContent ?? ""));
  }

  /** Flips a switch. */
  async set(id: "network" | "force-websocket", isOn: boolean): Promise<void> {
    const isNow = await this.page.isChecked(`#${id}`);
    if (isNow !== isOn) await this.page.press(`#${id}`, "Space");
  }

  /** Tells the page that the network is back, so that it does not wait any longer. */
  async wake(): Promise<void> {
    await this.page.evaluate(() => window.dispatchEvent(new Event("online")));
  }

  /** Waits for the banner that says why the connection ended for good. */
  async banner(text: RegExp): Promise<void> {
    await this.page.locator("#banner").getByText(text).waitFor({ timeout: LIMIT_MS });
  }

  /** From now on notes what the badge says, one after the other: the state, and why there is no session. */
  async recordConnection(): Promise<() => Promise<string[]>> {
    const seen = await this.page.evaluateHandle(() => {
      const badge = document.querySelector<HTMLElement>("#badge");
      if (!badge) throw new Error("there is no badge");
      const seen: string[] = [];
      new MutationObserver(() => seen.push(`${badge.dataset.state}: ${badge.title}`)).observe(badge, { attributes: true });
      return seen;
    });
    return () => seen.jsonValue();
  }

  /** From now on notes for each message which states it is shown in, one after the other. */
  async recordMessages(): Promise<() => Promise<string[]>> {
    const seen = await this.page.evaluateHandle(() => {
      const seen = new Map<string, string[]>();
      const note = (element: HTMLElement, state: string | null | undefined): void => {
        const states = seen.get(element.dataset.localId ?? "") ?? [];
        seen.set(element.dataset.localId ?? "", states);
        if (state && states.at(-1) !== state) states.push(state);
      };
      const messages = document.querySelector("#messages") ?? document;
      new MutationObserver((records) => {
        // The old values first: what changed twice in one turn would otherwise be noted once.
        for (const { type, target, oldValue } of records) if (type === "attributes") note(target as HTMLElement, oldValue);
        for (const element of document.querySelectorAll<HTMLElement>("#messages .message")) note(element, element.dataset.state);
      }).observe(messages, { subtree: true, childList: true, attributeFilter: ["data-state"], attributeOldValue: true });
      return seen;
    });
    return () => seen.evaluate((map) => [...map.values()].map((states) => states.join(" ")));
  }

  /** What the device has kept of its inbox. */
  inbox(): Promise<{ epoch: string; cursor: number; above: unknown[] }> {
    return this.page.evaluate(() => {
      const key = Object.keys(sessionStorage).find((name) => /^tidegate:.*:inbox:/.test(name)) ?? "";
      return JSON.parse(sessionStorage.getItem(key) ?? "{}") as { epoch: string; cursor: number; above: unknown[] };
    });
  }

  /** Waits until the device has everything up to a cursor, and nothing above it. */
  async hasInbox(wanted: { epoch: string; cursor: number }): Promise<void> {
    await expect.poll(() => this.inbox(), { timeout: LIMIT_MS }).toEqual({ ...wanted, above: [] });
  }

  /** What the page shows, from top to bottom. */
  shown(): Promise<Shown[]> {
    return this.page.$$eval("#messages .message", (elements) =>
      elements.map((element) => {
        const { localId = "", serverId = "", seq, convSeq, state = "", own } = (element as HTMLElement).dataset;
        const text = element.querySelector(".text")?.textContent ?? "";
        return { text, localId, serverId, seq: Number(seq), convSeq: Number(convSeq), state, isOwn: own === "true" };
      }),
    );
  }

  /** Waits until that many own messages are stored, whatever becomes of the others. */
  async hasStored(count: number): Promise<void> {
    const isEnough = (wanted: number): boolean => document.querySelectorAll('.message[data-state="stored"]').length >= wanted;
    await this.page.waitForFunction(isEnough, count, { timeout: LIMIT_MS });
  }

  /** Waits until the page shows that many messages, all of them with their place. */
  async hasSettled(count: number): Promise<void> {
    const isSettled = (wanted: number): boolean => {
      const messages = [...document.querySelectorAll<HTMLElement>("#messages .message")];
      return messages.length >= wanted && messages.every(({ dataset }) => /stored|received/.test(dataset.state ?? ""));
    };
    await this.page.waitForFunction(isSettled, count, { timeout: LIMIT_MS }).catch(async (error: unknown) => {
      const texts = (await this.shown()).map(({ text, state }) => `${text} (${state})`);
      throw new Error(`waited for ${count} messages, shown are ${texts.length}: ${texts.join(", ")}`, { cause: error });
    });
  }
}

/** Ends a hang; no verdict depends on it. */
export const LIMIT_MS = 60_000;
