// What every browser test stands on: one browser, a server of its own, and pages whose consoles stay without an error.

import type { Browser, BrowserContext, BrowserContextOptions } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { errorsOf, NOBODY_ANSWERED, unexpected } from "./console";
import { launch, Tab } from "./pages";
import { Server } from "./server";

/** The browser, and what belongs to the running test. */
export class Stage {
  #browser: Browser | undefined;
  #server: Server | undefined;
  #context: BrowserContext | undefined;
  #contexts: BrowserContext[] = [];
  #errors: string[] = [];
  #expected: RegExp[] = [];

  /** Registers the browser and, for each test, a server and a context. */
  static use(): Stage {
    const stage = new Stage();
    beforeAll(() => stage.#open());
    afterAll(() => stage.browser.close());
    beforeEach(() => stage.#begin());
    afterEach(() => stage.#end());
    return stage;
  }

  get browser(): Browser {
    return here(this.#browser);
  }

  get server(): Server {
    return here(this.#server);
  }

  /** The context of this test's pages, unless it makes others. */
  get context(): BrowserContext {
    return here(this.#context);
  }

  /** Another context, as of another browser. */
  async newContext(options: BrowserContextOptions = {}): Promise<BrowserContext> {
    const context = await this.browser.newContext(options);
    errorsOf(context, this.#errors);
    this.#contexts.push(context);
    return context;
  }

  /** A context whose pages have no WebTransport. */
  async withoutWebTransport(): Promise<BrowserContext> {
    const context = await this.newContext();
    await context.addInitScript(() => Reflect.deleteProperty(globalThis, "WebTransport"));
    return context;
  }

  /** In this test connections fail: Chromium's own words about it are no error of the page's. */
  expectFailingConnections(): void {
    this.#expected.push(...NOBODY_ANSWERED);
  }

  /** The demo, open for a user in conversation with another one. */
  tab(user: string, peer: string, context: BrowserContext = this.context): Promise<Tab> {
    return Tab.open(context, this.server.url, user, peer);
  }

  /** alice and bob, in conversation with each other. */
  async pair(context: BrowserContext = this.context): Promise<[Tab, Tab]> {
    return [await this.tab("alice", "bob", context), await this.tab("bob", "alice", context)];
  }

  async #open(): Promise<void> {
    this.#browser = await launch();
  }

  async #begin(): Promise<void> {
    this.#errors = [];
    this.#expected = [];
    this.#server = await Server.start();
    this.#context = await this.newContext();
  }

  async #end(): Promise<void> {
    for (const context of this.#contexts.splice(0)) await context.close();
    await this.#server?.stop();
    expect(unexpected(this.#errors, this.#expected)).toEqual([]);
  }
}

function here<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("the stage is there only within a test");
  return value;
}
