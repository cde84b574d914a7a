// Where a subscription is in its channel: what is the next entry, and what has come too early. Pure.

import type { HistoryEntry } from "./history";
import { MAX_HELD } from "./limits";

/**
 * The place of one subscription, over all sessions. Entries come in their order, on another stream than the words about
 * them: what is ahead of the place waits until the server has said where the subscription begins, or what is gone.
 */
export class Place {
  #epoch: string | undefined;
  #position: number | undefined;
  #isOpen = false;
  readonly #held = new Map<number, HistoryEntry>();

  /**
   * @param after the last entry that the application has; undefined: it begins at the head
   * @param epoch the life of the data that gave `after`; undefined: whichever the server's is
   */
  constructor(after: number | undefined, epoch: string | undefined) {
    this.#position = after;
    this.#epoch = epoch;
  }

  /** The seq of the last entry that was handed over, or skipped; undefined before the server has said where the head is. */
  get position(): number | undefined {
    return this.#position;
  }

  /** The life of the data that gave the position. */
  get epoch(): string | undefined {
    return this.#epoch;
  }

  /** A session begins, which has not opened the subscription yet. @returns whether what was known of seqs is void */
  begin(epoch: string): boolean {
    this.#isOpen = false;
    this.#held.clear();
    const isReset = this.#epoch !== undefined && this.#epoch !== epoch && this.#position !== undefined;
    if (isReset) this.#position = 0;
    return isReset;
  }

  /** The session has opened it. @returns whether the position was of another life of the data, and is void */
  opened(epoch: string, head: number, floor: number): boolean {
    if (this.#isOpen) return false;
    this.#isOpen = true;
    this.#epoch = epoch;
    const isReset = this.#position !== undefined && this.#position > head;
    this.#moveTo(isReset ? floor - 1 : (this.#position ?? head));
    return isReset;
  }

  /** Entries below `floor` are gone. @returns whether that concerns this subscription */
  skipTo(floor: number): boolean {
    if (!this.#isOpen) return false;
    this.#moveTo(Math.max(this.#position ?? 0, floor - 1));
    return true;
  }

  /** Takes an entry, which {@link next} gives when its turn has come. @returns whether there was room for it */
  take(entry: HistoryEntry): boolean {
    if (this.#isOpen && entry.seq <= (this.#position ?? 0)) return true;
    if (this.#held.size >= MAX_HELD) return false;
    this.#held.set(entry.seq, entry);
    return true;
  }

  /** The next entry, once. */
  next(): HistoryEntry | undefined {
    if (!this.#isOpen || this.#position === undefined) return undefined;
    const entry = this.#held.get(this.#position + 1);
    if (!entry) return undefined;
    this.#held.delete(entry.seq);
    this.#position = entry.seq;
    return entry;
  }

  #moveTo(position: number): void {
    this.#position = position;
    for (const seq of this.#held.keys()) if (seq <= position) this.#held.delete(seq);
  }
}
