// What follows the end of a session: another try after a while, with a new token, or nothing. Pure.

import { backoffMs, RECONNECT } from "./backoff";
import { CloseCode } from "./gen/tidegate/v1/client_pb";

/** How a session, or the attempt to get one, ended. */
export interface Ending {
  /** The close code; undefined when the connection was lost without one. */
  code?: number | undefined;
  /** The reason in words. */
  reason: string;
  /** How long the server asked to stay away, in milliseconds. */
  retryAfterMs?: number | undefined;
  /** The servers it named to go to instead, as `host:port`. */
  alternatives?: string[] | undefined;
}

/** What to do after an {@link Ending}. */
export type Next =
  | { action: "stop" }
  | { action: "retry"; delayMs: number; withNewToken: boolean };

/**
 * Decides what follows.
 *
 * @param failures how many attempts have failed since the last session that lived
 * @param tokenIsNew whether the refused token was already the second one
 * @param random a number in [0, 1), the jitter
 */
export function nextAfter(ending: Ending, failures: number, tokenIsNew: boolean, random: number): Next {
  if (ending.code === CloseCode.UNAUTHENTICATED) {
    return tokenIsNew ? { action: "stop" } : { action: "retry", delayMs: 0, withNewToken: true };
  }
  if (ending.code !== undefined && isFinal(ending.code)) return { action: "stop" };
  const delayMs = ending.retryAfterMs || backoffMs(RECONNECT, failures, random);
  return { action: "retry", delayMs: Math.min(delayMs, MAX_RETRY_AFTER_MS), withNewToken: false };
}

/** Whether a close code says that reconnecting makes no sense without a change. */
export function isFinal(code: number): boolean {
  return code >= 4100 && code <= 4199;
}

/** The longest a server may send a client away; longer is taken for a mistake. */
const MAX_RETRY_AFTER_MS = 5 * 60_000;
