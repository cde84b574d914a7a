// Tokens of a short life, served to pages in place of the demo's own.

import type { BrowserContext } from "playwright-core";
import { LIMIT_MS } from "./pages";

/** What the pages of a context get when they ask for a token. */
export class Tokens {
  /** Whether a user gets the same token again and again. */
  isSame = false;
  readonly #given = new Map<string, string[]>();
  #onAsked: () => void = () => {};

  /** @param mint makes a token for a user */
  static async serve(context: BrowserContext, mint: (user: string) => Promise<string>): Promise<Tokens> {
    const tokens = new Tokens();
    await context.route("**/demo/token?*", async (route) => {
      const user = new URL(route.request().url()).searchParams.get("user") ?? "";
      await route.fulfill({ json: { token: await tokens.#give(user, mint) } });
    });
    return tokens;
  }

  /** Waits until a user's page has asked that many times. */
  wereAskedFor(user: string, times: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const limit = setTimeout(() => reject(new Error(`${user} asked for a token ${this.#count(user)} times`)), LIMIT_MS);
      this.#onAsked = () => {
        if (this.#count(user) < times) return;
        clearTimeout(limit);
        resolve();
      };
      this.#onAsked();
    });
  }

  async #give(user: string, mint: (user: string) => Promise<string>): Promise<string> {
    const given = this.#given.get(user) ?? [];
    this.#given.set(user, given);
    const token = (this.isSame ? given[0] : undefined) ?? (await mint(user));
    given.push(token);
    this.#onAsked();
    return token;
  }

  #count(user: string): number {
    return this.#given.get(user)?.length ?? 0;
  }
}
