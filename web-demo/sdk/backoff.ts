// How long to wait before a retry: exponential, capped, with full jitter. Draws no random numbers itself.

/** The bounds of a backoff, in milliseconds. */
export interface Backoff {
  /** The most the first retry waits. */
  baseMs: number;
  /** The most any retry waits. */
  capMs: number;
}

/** Between connection attempts. */
export const RECONNECT: Backoff = { baseMs: 500, capMs: 15_000 };
/** Before a message is sent again that was answered UNAVAILABLE or RATE_LIMITED without a time. */
export const RESEND: Backoff = { baseMs: 500, capMs: 10_000 };

/**
 * The wait before retry number `failures` (0 is the first).
 *
 * @param random a number in [0, 1), the jitter
 */
export function backoffMs(backoff: Backoff, failures: number, random: number): number {
  const ceiling = Math.min(backoff.capMs, backoff.baseMs * 2 ** Math.min(failures, 30));
  return Math.round(ceiling * random);
}
