// The application's view of one subscription to a channel.

import { deferred } from "./deferred";
import { TidegateError } from "./errors";
import { Emitter } from "./events";
import type { HistoryEntry } from "./history";
import type { Message } from "./message";
import { Place } from "./place";

/** Where a subscription begins. */
export interface SubscribeOptions {
  /** What comes after this seq; 0: everything that is still there. By default what comes from now on. */
  after?: number;
  /** The life of the data that gave `after`. Under another one the channel comes from its floor. */
  epoch?: string;
}

/** How far a subscription is: to be opened, or opened again; open; or over for good. */
export type SubscriptionState = "subscribing" | "live" | "ended";

/** The server said how a channel is. */
export interface SubscribedEvent {
  /** The channel's last seq. */
  head: number;
  /** Its first seq that is still there. */
  floor: number;
  /** About how many sessions subscribe to it. */
  count: number;
  /**
   * Whether the server's data is another one than before: what the application has of the channel is void, and the
   * channel comes from its floor.
   */
  isReset: boolean;
}

/** The events of a subscription. */
export interface SubscriptionEvents {
  /** A message of the channel, the own ones too: each once, in the order of their seqs. A volatile one has seq 0. */
  message: Message;
  /** An entry that expired or was deleted. */
  gone: { seq: number };
  /** Entries below `floor` were removed before this subscription got them. */
  historyGone: { floor: number };
  /** It was opened, again after a reconnect, or {@link Subscription.refresh} was answered. */
  subscribed: SubscribedEvent;
  /** The server refused it for good, or ended it. The client does not subscribe again. */
  ended: TidegateError;
}

/** A subscription to a channel. It goes on over reconnects from where it was, until {@link unsubscribe}. */
export interface Subscription {
  /** The channel's name. */
  readonly channel: string;
  /** Settles when it is open for the first time. Rejects when it is refused for good, or ended before. */
  readonly ready: Promise<void>;
  /** How far it is. */
  readonly state: SubscriptionState;
  /** Why the server refused or ended it. */
  readonly error: TidegateError | undefined;
  /** The seq of the last entry that was handed over; undefined as long as it is not known where the head is. */
  readonly position: number | undefined;
  /** The life of the data that gave the position. To go on after a page load, keep it with the last seq. */
  readonly epoch: string | undefined;
  /** The channel's last seq, as far as it is known: each Pong says it anew. What is above `position` is on its way. */
  readonly head: number;
  /** The channel's first seq that was still there when the server last said so. */
  readonly floor: number;
  /** About how many sessions subscribed when the server last said so. */
  readonly count: number;
  /** Adds a listener. @returns a function that removes it */
  on<Name extends keyof SubscriptionEvents>(name: Name, listener: (event: SubscriptionEvents[Name]) => void): () => void;
  /** Asks for head, floor and count anew; a `subscribed` event answers. */
  refresh(): void;
  /** Ends it. Nothing of it comes any more. */
  unsubscribe(): void;
}

/** What a {@link TrackedSubscription} asks of its client. */
export interface SubscriptionOwner {
  /** Subscribe is to be sent. */
  ask(subscription: TrackedSubscription): void;
  /** The application does not want it any more. */
  unsubscribe(subscription: TrackedSubscription): void;
}

/** The subscription as the client drives it. */
export class TrackedSubscription implements Subscription {
  readonly channel: string;
  readonly ready: Promise<void>;
  readonly #owner: SubscriptionOwner;
  readonly #emitter = new Emitter<SubscriptionEvents>();
  readonly #ready = deferred<void>();
  readonly #place: Place;
  #state: SubscriptionState = "subscribing";
  #error: TidegateError | undefined;
  #head = 0;
  #floor = 1;
  #count = 0;
  #isReset = false;

  constructor(channel: string, { after, epoch }: SubscribeOptions, owner: SubscriptionOwner) {
    this.channel = channel;
    this.#owner = owner;
    this.#place = new Place(after, epoch);
    this.ready = this.#ready.promise;
    // Who only listens need not catch anything.
    this.ready.catch(() => {});
  }

  get state(): SubscriptionState {
    return this.#state;
  }

  get error(): TidegateError | undefined {
    return this.#error;
  }

  get position(): number | undefined {
    return this.#place.position;
  }

  get epoch(): string | undefined {
    return this.#place.epoch;
  }

  get head(): number {
    return this.#head;
  }

  get floor(): number {
    return this.#floor;
  }

  get count(): number {
    return this.#count;
  }

  on<Name extends keyof SubscriptionEvents>(name: Name, listener: (event: SubscriptionEvents[Name]) => void): () => void {
    return this.#emitter.on(name, listener);
  }

  refresh(): void {
    if (this.#state !== "ended") this.#owner.ask(this);
  }

  unsubscribe(): void {
    if (this.#state === "ended") return;
    this.abandon(new TidegateError("CLOSED", "unsubscribed"));
    this.#owner.unsubscribe(this);
  }

  /** A session begins. */
  begin(epoch: string): void {
    this.pause();
    if (this.#place.begin(epoch)) this.#isReset = true;
  }

  /** There is no session. */
  pause(): void {
    if (this.#state === "live") this.#state = "subscribing";
  }

  /** The server has said how the channel is. */
  subscribed(epoch: string, { head, floor, count }: Omit<SubscribedEvent, "isReset">): void {
    const isFirst = this.#state === "subscribing";
    if (this.#place.opened(epoch, head, floor)) this.#isReset = true;
    this.#state = "live";
    // A Pong may have said a later one already.
    this.#head = isFirst ? head : Math.max(this.#head, head);
    [this.#floor, this.#count] = [floor, count];
    const isReset = this.#isReset;
    this.#isReset = false;
    this.#ready.resolve();
    this.#emitter.emit("subscribed", { head: this.#head, floor, count, isReset });
  }

  /** The channel's head is at least this. */
  raiseHead(head: number): void {
    if (this.#state === "live") this.#head = Math.max(this.#head, head);
  }

  /** An entry has come. */
  deliver({ seq, message }: HistoryEntry): void {
    if (!this.#place.apply(seq)) return;
    this.raiseHead(seq);
    if (message) this.#emitter.emit("message", message);
    else this.#emitter.emit("gone", { seq });
  }

  /** Entries below the floor are gone. */
  historyGone(floor: number): void {
    if (!this.#place.skipTo(floor)) return;
    this.#floor = Math.max(this.#floor, floor);
    this.#emitter.emit("historyGone", { floor });
  }

  /** The server does not want it. */
  end(error: TidegateError): void {
    this.#error = error;
    this.abandon(error);
    this.#emitter.emit("ended", error);
  }

  /** It is over; nobody is told but who waits for it. */
  abandon(error: TidegateError): void {
    this.#state = "ended";
    this.#ready.reject(error);
  }
}
