// What a device has of its inbox: the cursor and the seqs applied above it. Decides what is new; stores and sends nothing.

import { MAX_APPLIED_ABOVE_CURSOR } from "./limits";

/** What is kept of an {@link Inbox} between page loads. */
export interface InboxSnapshot {
  /** The life of the data that gave the seqs. */
  epoch: string;
  /** Everything up to here is applied, without a hole. */
  cursor: number;
  /** The seqs applied above the cursor, as ranges: first and last of each. */
  above: [number, number][];
}

/** What to do with an entry: apply it, drop it, or reconnect because too many wait above a hole. */
export type Verdict = "new" | "seen" | "full";

/** The cursor of a device together with the seqs it applied above it. Each seq is new exactly once. */
export class Inbox {
  #epoch = "";
  #cursor = 0;
  #above = new Set<number>();

  /** The inbox as it was when the snapshot was taken; empty without one. */
  static from(snapshot: InboxSnapshot | undefined): Inbox {
    const inbox = new Inbox();
    if (!snapshot) return inbox;
    inbox.#epoch = snapshot.epoch;
    inbox.#cursor = snapshot.cursor;
    for (const [first, last] of snapshot.above) {
      for (let seq = first; seq <= last && inbox.#above.size < MAX_APPLIED_ABOVE_CURSOR; seq++) inbox.#above.add(seq);
    }
    return inbox;
  }

  /** Whether the device has a cursor to resume from. */
  get isKnown(): boolean {
    return this.#epoch !== "";
  }

  /** The life of the data that gave the seqs; empty before the first Welcome. */
  get epoch(): string {
    return this.#epoch;
  }

  /** Everything up to here is applied, without a hole. */
  get cursor(): number {
    return this.#cursor;
  }

  /**
   * Takes the epoch and the start that the server's Welcome says.
   *
   * @returns "reset" when the server starts before what the device had, so that its knowledge of seqs is dropped
   */
  welcome(epoch: string, start: number): "resumed" | "reset" {
    const resumes = epoch === this.#epoch && start >= this.#cursor;
    const isFirst = !this.isKnown;
    if (!resumes) {
      this.#epoch = epoch;
      this.#above.clear();
      this.#cursor = start;
      return isFirst ? "resumed" : "reset";
    }
    this.#raise(start);
    return "resumed";
  }

  /** Decides about the entry `seq`, and remembers it when it is new. */
  apply(seq: number): Verdict {
    if (seq <= this.#cursor || this.#above.has(seq)) return "seen";
    if (seq === this.#cursor + 1) {
      this.#raise(seq);
      return "new";
    }
    if (this.#above.size >= MAX_APPLIED_ABOVE_CURSOR) return "full";
    this.#above.add(seq);
    return "new";
  }

  /** Entries below `floor` are gone: the cursor moves to just before it. */
  skipTo(floor: number): void {
    this.#raise(floor - 1);
  }

  /** What to keep. */
  snapshot(): InboxSnapshot {
    return { epoch: this.#epoch, cursor: this.#cursor, above: ranges(this.#above) };
  }

  #raise(cursor: number): void {
    if (cursor > this.#cursor) this.#cursor = cursor;
    for (const seq of this.#above) if (seq <= this.#cursor) this.#above.delete(seq);
    while (this.#above.delete(this.#cursor + 1)) this.#cursor++;
  }
}

function ranges(seqs: Set<number>): [number, number][] {
  const out: [number, number][] = [];
  for (const seq of [...seqs].sort((a, b) => a - b)) {
    const last = out.at(-1);
    if (last && last[1] === seq - 1) last[1] = seq;
    else out.push([seq, seq]);
  }
  return out;
}
