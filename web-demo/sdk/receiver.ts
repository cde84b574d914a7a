// The receiving side of a client: each entry of the inbox is applied once, the cursor acknowledged in time.

import { Acks } from "./acks";
import { Alarm } from "./alarm";
import type { Deliver, HistoryGone } from "./gen/tidegate/v1/client_pb";
import { Inbox, type InboxSnapshot } from "./inbox";
import { fromMsg, type Message } from "./message";

/** Whom a {@link Receiver} tells. */
export interface ReceiverEvents {
  /** A message that was not there before. */
  message(message: Message): void;
  /** An entry without a message. */
  gone(seq: number): void;
  /** Entries below the floor are lost to this device. */
  historyGone(floor: number): void;
  /** What the device has of its inbox changed. */
  changed(): void;
  /** The cursor is to be acknowledged. */
  acknowledge(cursor: number): void;
  /** Too many entries wait above a hole: only a new session helps. */
  overflow(): void;
}

/** The inbox of one device, over all its sessions. */
export class Receiver {
  readonly #events: ReceiverEvents;
  readonly #alarm = new Alarm(() => this.#acknowledgeWhenDue());
  #inbox = new Inbox();
  #acks = new Acks(0);
  #user = "";

  constructor(events: ReceiverEvents) {
    this.#events = events;
  }

  /** Takes up where the user's device was. */
  restore(user: string, snapshot: InboxSnapshot | undefined): void {
    this.#user = user;
    this.#inbox = Inbox.from(snapshot);
  }

  /** What to keep over a page load. */
  snapshot(): InboxSnapshot {
    return this.#inbox.snapshot();
  }

  /** From where to go on; undefined for a device that knows nothing. */
  get position(): { epoch: string; cursor: number } | undefined {
    return this.#inbox.isKnown ? { epoch: this.#inbox.epoch, cursor: this.#inbox.cursor } : undefined;
  }

  /** A session began. @returns whether what was known of seqs is void */
  welcome(epoch: string, start: number): boolean {
    this.#acks = new Acks(start);
    const verdict = this.#inbox.welcome(epoch, start);
    this.#events.changed();
    return verdict === "reset";
  }

  /** Takes an entry. */
  deliver({ timeline, seq: wireSeq, entry }: Deliver): void {
    if (!this.#isInbox(timeline)) return;
    const seq = Number(wireSeq);
    if (seq !== 0 && !this.apply(seq)) return;
    if (entry.case === "gone") this.#events.gone(seq);
    if (entry.case === "msg") this.#events.message(fromMsg(entry.value, seq, this.#user));
  }

  /** Counts `seq` as received. @returns whether it is new; undefined when there is no room for it */
  apply(seq: number): boolean | undefined {
    const verdict = this.#inbox.apply(seq);
    if (verdict === "full") {
      this.#events.overflow();
      return undefined;
    }
    if (verdict === "seen") return false;
    this.#events.changed();
    this.#acks.moved(this.#inbox.cursor, Date.now());
    this.#acknowledgeWhenDue();
    return true;
  }

  /** The server goes on from the floor. */
  historyGone({ timeline, floor }: HistoryGone): void {
    if (!this.#isInbox(timeline)) return;
    this.#inbox.skipTo(Number(floor));
    this.#events.changed();
    this.#events.historyGone(Number(floor));
  }

  /** Acknowledges what there is to acknowledge, due or not: the device is about to go. */
  flush(): void {
    if (this.#acks.isBehind(this.#inbox.cursor)) this.#acknowledge();
  }

  /** There is no session: nothing can be acknowledged. */
  pause(): void {
    this.#alarm.clear();
  }

  #acknowledgeWhenDue(): void {
    if (this.#acks.isDue(this.#inbox.cursor, Date.now())) this.#acknowledge();
    else this.#alarm.set(this.#acks.dueAt);
  }

  #acknowledge(): void {
    this.#events.acknowledge(this.#inbox.cursor);
    this.#acks.sent(this.#inbox.cursor);
    this.#alarm.clear();
  }

  #isInbox(timeline: string): boolean {
    return timeline === "" || timeline === `i:${this.#user}`;
  }
}
