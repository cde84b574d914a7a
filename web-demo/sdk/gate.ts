// Waiting for a session that is not there yet.

import { within } from "./alarm";
import { deferred, type Deferred } from "./deferred";
import type { Session } from "./session";

/** Those who wait for the next session. */
export class Gate {
  readonly #waiting = new Set<Deferred<Session>>();

  /** The next session. @throws TIMEOUT at the deadline, or what {@link fail} says */
  wait(deadline: number): Promise<Session> {
    const next = deferred<Session>();
    this.#waiting.add(next);
    const leftMs = Math.max(0, deadline - Date.now());
    return within(next.promise, leftMs, "the connection").finally(() => this.#waiting.delete(next));
  }

  /** There is one. */
  open(session: Session): void {
    for (const next of [...this.#waiting]) next.resolve(session);
  }

  /** There will be none. */
  fail(error: Error): void {
    for (const next of [...this.#waiting]) next.reject(error);
  }
}
