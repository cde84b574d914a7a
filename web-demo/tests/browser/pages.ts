// Pages of the demo as the tests use them: by its controls and by what it shows.

import { chromium, type Browser, type BrowserContext, type BrowserContextOptions, type Page } from "playwright-core";

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
  /** Errors on the console and uncaught ones, in order. */
  readonly errors: string[] = [];

  constructor(readonly page: Page) {
    page.on("console", (message) => message.type() === "error" && this.errors.push(message.text()));
    page.on("pageerror", (error) => this.errors.push(String(error)));
  }

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

  /** Writes a text into the composer and sends it. */
  async say(text: string): Promise<void> {
    await this.page.fill("#composer", text);
    await this.page.press("#composer", "Enter");
  }

  /** Sends many texts as fast as the page takes them. */
  async sayAll(texts: string[]): Promise<void> {
    await this.page.evaluate((all) => {
      const composer = document.querySelector<HTMLTextAreaElement>("#composer");
      const form = document.querySelector<HTMLFormElement>("#composer-form");
      if (!composer || !form) throw new Error("no conversation is open");
      for (const text of all) {
        composer.value = text;
        form.requestSubmit();
      }
    }, texts);
  }

  /** Flips a switch. */
  async set(id: "network" | "force-websocket", isOn: boolean): Promise<void> {
    const isNow = await this.page.isChecked(`#${id}`);
    if (isNow !== isOn) await this.page.press(`#${id}`, "Space");
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

/** A context whose pages have no WebTransport. */
export async function withoutWebTransport(browser: Browser): Promise<BrowserContext> {
  const context = await browser.newContext();
  await context.addInitScript(() => Reflect.deleteProperty(globalThis, "WebTransport"));
  return context;
}

/** A context of a phone's width, or with other colours, or both. */
export function looking(browser: Browser, options: BrowserContextOptions): Promise<BrowserContext> {
  return browser.newContext(options);
}

/** Ends a hang; no verdict depends on it. */
export const LIMIT_MS = 60_000;
