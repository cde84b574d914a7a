// When the cursor is acknowledged: at most every second or 64 messages. Knows time only as it is told.

import { ACK_DELAY_MS, ACK_EVERY } from "./limits";

/** The plan of a session's acknowledgements. */
export class Acks {
  #acknowledged: number;
  #waitingSince: number | undefined;

  /** @param start the cursor the session began after */
  constructor(start: number) {
    this.#acknowledged = start;
  }

  /** Notes that the cursor moved. */
  moved(cursor: number, now: number): void {
    if (cursor > this.#acknowledged) this.#waitingSince ??= now;
  }

  /** Whether the cursor is to be acknowledged now. */
  isDue(cursor: number, now: number): boolean {
    if (this.#waitingSince === undefined) return false;
    return cursor - this.#acknowledged >= ACK_EVERY || now - this.#waitingSince >= ACK_DELAY_MS;
  }

  /** Whether there is anything to acknowledge, due or not. */
  isBehind(cursor: number): boolean {
    return cursor > this.#acknowledged;
  }

  /** When the next acknowledgement falls due; undefined when there is nothing to acknowledge. */
  get dueAt(): number | undefined {
    return this.#waitingSince === undefined ? undefined : this.#waitingSince + ACK_DELAY_MS;
  }

  /** Notes that the cursor was acknowledged. */
  sent(cursor: number): void {
    this.#acknowledged = Math.max(this.#acknowledged, cursor);
    this.#waitingSince = undefined;
  }
}
