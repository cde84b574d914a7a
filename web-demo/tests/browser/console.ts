// What pages write on their consoles that is an error, and which of it is Chromium's own word about a server that is gone.

import type { BrowserContext } from "playwright-core";

/**
 * What Chromium itself writes when nobody answers: the page cannot keep it from doing so. Everything else that is an
 * error on the console, and every uncaught one, fails the test.
 */
export const NOBODY_ANSWERED = [
  /^Failed to load resource: net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE)/,
  /^WebSocket connection to '[^']*' failed: (Error in connection establishment: net::ERR_|WebSocket is closed before|Connection closed before)/,
  /^Failed to establish a connection to https:\S+ net::ERR_/,
];

/** From now on notes the errors of a context's pages. */
export function errorsOf(context: BrowserContext, into: string[]): void {
  context.on("console", (message) => message.type() === "error" && into.push(message.text()));
  context.on("weberror", (error) => into.push(`uncaught: ${error.error()}`));
}

/** The errors that none of the patterns expects. */
export function unexpected(errors: string[], patterns: RegExp[]): string[] {
  return errors.filter((text) => !patterns.some((pattern) => pattern.test(text)));
}
