// The sends that wait for their STORED: which to write now, which again, and what a receipt means. Pure: it neither
// writes nor looks at a clock.

import { backoffMs, RESEND } from "./backoff";
import { Code, ReceiptStatus, type Receipt } from "./gen/tidegate/v1/client_pb";
import type { Msg } from "./gen/tidegate/v1/message_pb";
import { MAX_IN_FLIGHT, RESEND_AFTER_MS } from "./limits";

/** What a receipt did to a pending send. */
export type Outcome = "accepted" | "stored" | "rejected" | "retry";

/** Where a pending send is within the running session. */
type Phase =
  | { at: "queue" }
  | { at: "wire"; since: number }
  | { at: "log"; since: number }
  | { at: "pause"; until: number };

interface Entry {
  readonly msg: Msg;
  phase: Phase;
  refusals: number;
}

/** All sends without STORED or REJECTED, in the order in which they were sent. */
export class Pending {
  readonly #entries = new Map<string, Entry>();
  #window = MAX_IN_FLIGHT;

  /** How many wait. */
  get size(): number {
    return this.#entries.size;
  }

  /** The messages that wait, in order. */
  messages(): Msg[] {
    return [...this.#entries.values()].map((entry) => entry.msg);
  }

  /** Whether this message waits. */
  has(localId: string): boolean {
    return this.#entries.has(localId);
  }

  /** Adds a message at the end. */
  add(msg: Msg): void {
    this.#entries.set(msg.localId, { msg, phase: { at: "queue" }, refusals: 0 });
  }

  /**
   * A new session: everything unanswered is to be written again, in order.
   *
   * @param window how many may be in flight; 0: the protocol's limit
   */
  newSession(window: number): void {
    this.#window = window > 0 ? Math.min(window, MAX_IN_FLIGHT) : MAX_IN_FLIGHT;
    for (const entry of this.#entries.values()) entry.phase = { at: "queue" };
  }

  /** The messages to write now, in order; from here on they count as written. */
  due(now: number): Msg[] {
    const out: Msg[] = [];
    let free = this.#window - this.#inFlight(now);
    for (const entry of this.#entries.values()) {
      if (free <= 0) break;
      // What comes after a refused message waits for it, so that the sender's order is kept as far as can be.
      if (entry.phase.at === "pause" && entry.phase.until > now) break;
      if (!isDue(entry.phase, now)) continue;
      entry.phase = { at: "wire", since: now };
      out.push(entry.msg);
      free--;
    }
    return out;
  }

  /** When {@link due} has something to say next without a further event; undefined: never. */
  nextDueAt(): number | undefined {
    let next: number | undefined;
    for (const { phase } of this.#entries.values()) {
      const at = dueAt(phase);
      if (at !== undefined && (next === undefined || at < next)) next = at;
    }
    return next;
  }

  /**
   * Takes a receipt. A send that is stored or refused is forgotten.
   *
   * @param random a number in [0, 1), the jitter of a retry without a time
   * @returns what it did, or undefined when it answers nothing that waits (a repeat, a late ACCEPTED)
   */
  receipt(receipt: Receipt, now: number, random: number): Outcome | undefined {
    const entry = this.#entries.get(receipt.localId);
    if (!entry) return undefined;
    switch (receipt.status) {
      case ReceiptStatus.ACCEPTED:
        entry.phase = { at: "log", since: now };
        return "accepted";
      case ReceiptStatus.STORED:
        this.#entries.delete(receipt.localId);
        return "stored";
      case ReceiptStatus.REJECTED:
        return this.#rejected(entry, receipt, now, random);
      default:
        return undefined;
    }
  }

  /** The own message arrived as a delivery: that is its STORED. Whether it was waited for. */
  delivered(localId: string): boolean {
    return this.#entries.delete(localId);
  }

  #rejected(entry: Entry, receipt: Receipt, now: number, random: number): Outcome {
    if (receipt.code !== Code.UNAVAILABLE && receipt.code !== Code.RATE_LIMITED) {
      this.#entries.delete(receipt.localId);
      return "rejected";
    }
    const wait = Number(receipt.retryAfterMs) || backoffMs(RESEND, entry.refusals, random);
    entry.refusals++;
    entry.phase = { at: "pause", until: now + wait };
    return "retry";
  }

  #inFlight(now: number): number {
    let count = 0;
    for (const { phase } of this.#entries.values()) if (phase.at === "wire" && !isDue(phase, now)) count++;
    return count;
  }
}

function isDue(phase: Phase, now: number): boolean {
  return phase.at === "queue" || (dueAt(phase) ?? Infinity) <= now;
}

/** When time alone makes a send due; nothing for one in the queue, which waits for room. */
function dueAt(phase: Phase): number | undefined {
  switch (phase.at) {
    case "queue":
      return undefined;
    case "wire":
    case "log":
      return phase.since + RESEND_AFTER_MS;
    case "pause":
      return phase.until;
  }
}
