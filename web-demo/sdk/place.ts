// Where a subscription is in its channel, and what of it is new. Pure.

/** The place of one subscription, over all sessions. The server sends what is of one channel in one order. */
export class Place {
  #epoch: string | undefined;
  #position: number | undefined;
  #isOpen = false;

  /**
   * @param after the last entry that the application has; undefined: it begins at the head
   * @param epoch the life of the data that gave `after`; undefined: whichever the server's is
   */
  constructor(after: number | undefined, epoch: string | undefined) {
    this.#position = after;
    this.#epoch = epoch;
  }

  /** The seq of the last entry that came, or was skipped; undefined before the server has said where the head is. */
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
    this.#position = isReset ? floor - 1 : (this.#position ?? head);
    return isReset;
  }

  /** Takes an entry. @returns whether it is new: no repeat, and of no earlier subscription, which had not ended yet */
  apply(seq: number): boolean {
    if (!this.#isOpen) return false;
    // Stored nowhere.
    if (seq === 0) return true;
    if (seq <= (this.#position ?? 0)) return false;
    this.#position = seq;
    return true;
  }

  /** Entries below `floor` are gone. @returns whether that concerns this subscription */
  skipTo(floor: number): boolean {
    if (this.#isOpen) this.#position = Math.max(this.#position ?? 0, floor - 1);
    return this.#isOpen;
  }
}
