// Reading a timeline's past by Pull: one at a time, over reconnects. Moves no cursor.

import { create } from "@bufbuild/protobuf";
import { TidegateError } from "./errors";
import { PullSchema, type Deliver, type Page } from "./gen/tidegate/v1/client_pb";
import { MAX_PULL_ENTRIES, MAX_WAITING_PULLS, PULL_TIMEOUT_MS } from "./limits";
import { fromMsg, type Message } from "./message";
import type { Session } from "./session";

/** From where, in which direction and how much. */
export interface PullRange {
  /** Entries with a greater seq. */
  after?: number;
  /** Entries with a smaller seq; 0: from the head. */
  before?: number;
  /** At most so many, 1 to 1,000; by default the server's choice. */
  limit?: number;
}

/** An entry of a timeline. */
export interface HistoryEntry {
  /** Its place. */
  seq: number;
  /** The message; undefined when it expired or was deleted. */
  message: Message | undefined;
}

/** A part of a timeline, oldest first. A page is at most 64 KiB: it may hold less than was asked for. */
export interface HistoryPage {
  /** What was asked for, in the order of their seqs. */
  entries: HistoryEntry[];
  /** The timeline's last seq. */
  head: number;
  /** The timeline's first seq that is still there. */
  floor: number;
  /** Whether there are further entries in the direction asked for. */
  more: boolean;
}

/** The queue of pulls. */
export class History {
  readonly #whenLive: (deadline: number) => Promise<Session>;
  readonly #user: () => string;
  #tail: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** @param whenLive waits for a session, and rejects at the deadline or when there will be none */
  constructor(whenLive: (deadline: number) => Promise<Session>, user: () => string) {
    this.#whenLive = whenLive;
    this.#user = user;
  }

  /** Reads a page. @throws {@link TidegateError} the server's refusal, LIMIT, CLOSED or TIMEOUT */
  pull(timeline: string, range: PullRange): Promise<HistoryPage> {
    if (this.#waiting >= MAX_WAITING_PULLS) return Promise.reject(new TidegateError("LIMIT", "too many pulls wait"));
    const limit = range.limit ?? 0;
    if (!Number.isInteger(limit) || limit < 0 || limit > MAX_PULL_ENTRIES) {
      return Promise.reject(new TidegateError("INVALID_ARGUMENT", `a limit is 1 to ${MAX_PULL_ENTRIES}`));
    }
    this.#waiting++;
    const page = this.#tail.then(() => this.#pull(timeline, range, limit)).finally(() => this.#waiting--);
    this.#tail = page.catch(() => {});
    return page;
  }

  async #pull(timeline: string, range: PullRange, limit: number): Promise<HistoryPage> {
    const deadline = Date.now() + PULL_TIMEOUT_MS;
    const from: { case: "after" | "before"; value: bigint } =
      range.after !== undefined
        ? { case: "after", value: BigInt(range.after) }
        : { case: "before", value: BigInt(range.before ?? 0) };
    const pull = create(PullSchema, { timeline, from, limit: BigInt(limit) });
    for (;;) {
      const session = await this.#whenLive(deadline);
      try {
        const answer = await session.request({ case: "pull", value: pull });
        if (answer.case === "page") return this.#page(answer.value);
        throw new TidegateError("INTERNAL", "a Pull was answered by something else");
      } catch (error) {
        const wait = retryWait(error);
        if (wait === undefined || Date.now() + wait >= deadline) throw error;
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }

  #page(page: Page): HistoryPage {
    return {
      entries: page.entries.map(({ seq, entry }) => entryOf(Number(seq), entry, this.#user())),
      head: Number(page.head),
      floor: Number(page.floor),
      more: page.more,
    };
  }
}

/** The entry for the application. @param user the own user */
export function entryOf(seq: number, entry: Deliver["entry"], user: string): HistoryEntry {
  return { seq, message: entry.case === "msg" ? fromMsg(entry.value, seq, user) : undefined };
}

/** How long to wait before a pull is tried again, in milliseconds; undefined: the refusal is final. */
function retryWait(error: unknown): number | undefined {
  if (!(error instanceof TidegateError)) return undefined;
  switch (error.code) {
    case "CLOSED":
      return 0;
    case "TIMEOUT":
    case "UNAVAILABLE":
    case "RATE_LIMITED":
      return error.retryAfterMs || RETRY_MS;
    default:
      return undefined;
  }
}

const RETRY_MS = 500;
