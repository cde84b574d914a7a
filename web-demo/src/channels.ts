// The channels this tab has joined: a subscription to each, kept over reloads by name, and how many others are there.

import { isChannel, type Message, type Store, type Subscription, type TidegateClient, type TidegateError } from "../sdk";

/** Whom {@link Channels} tell. */
export interface ChannelsEvents {
  /** It is open for the first time: its history can be read, and what follows comes live. */
  joined(channel: string): void;
  /** What is known of the channel is void; it comes again from its beginning. */
  reset(channel: string): void;
  /** A message. `isNew`: it was not there when the channel began to come again. */
  message(message: Message, isNew: boolean): void;
  /** Messages were removed before they came. */
  historyGone(): void;
  /** The server refused or ended it. */
  ended(channel: string, error: TidegateError): void;
  /** A count may have changed. */
  changed(): void;
}

/** The joined channels of a user. */
export class Channels {
  readonly #client: TidegateClient;
  readonly #store: Store;
  readonly #key: string;
  readonly #events: ChannelsEvents;
  readonly #joined = new Map<string, Subscription>();
  #lookedAt = 0;

  constructor(client: TidegateClient, user: string, store: Store, events: ChannelsEvents) {
    this.#client = client;
    this.#store = store;
    this.#key = `tidegate-demo:channels:${user}`;
    this.#events = events;
  }

  /** The joined ones, in the order in which they were joined. */
  names(): string[] {
    return [...this.#joined.keys()];
  }

  /** Joins what an earlier page had joined, and everybody's channel on the first one. */
  start(): void {
    for (const channel of this.#kept()) this.join(channel);
  }

  /** Joins a channel, if that is not done. */
  join(channel: string): void {
    if (this.#joined.has(channel)) return;
    const subscription = this.#client.subscribe(channel);
    this.#joined.set(channel, subscription);
    this.#keep();
    // Up to here it has come again after a reset, and was there before.
    let knownTo = 0;
    subscription.on("message", (message) => this.#events.message(message, message.seq === 0 || message.seq > knownTo));
    subscription.on("historyGone", () => this.#events.historyGone());
    subscription.on("subscribed", ({ head, isReset }) => {
      if (isReset) {
        knownTo = head;
        this.#events.reset(channel);
      }
      this.#events.changed();
    });
    subscription.on("ended", (error) => {
      this.#forget(channel);
      this.#events.ended(channel, error);
    });
    // A refusal is told by `ended`.
    subscription.ready.then(() => this.#joined.has(channel) && this.#events.joined(channel), () => {});
  }

  /** Leaves a channel. */
  leave(channel: string): void {
    this.#joined.get(channel)?.unsubscribe();
    this.#forget(channel);
  }

  /** Whether it has been open once: what comes after its history comes live. */
  isJoined(channel: string): boolean {
    return this.#joined.get(channel)?.position !== undefined;
  }

  /** About how many subscribe to a channel; undefined as long as it is not known. */
  count(channel: string): number | undefined {
    return this.#joined.get(channel)?.count || undefined;
  }

  /** Asks how many are in the channels that somebody looks at, unless that was asked a moment ago. */
  look(isSeen: (channel: string) => boolean): void {
    if (document.hidden || Date.now() - this.#lookedAt < LOOK_AGAIN_MS) return;
    this.#lookedAt = Date.now();
    for (const [channel, subscription] of this.#joined) if (subscription.state === "live" && isSeen(channel)) subscription.refresh();
  }

  #forget(channel: string): void {
    this.#joined.delete(channel);
    this.#keep();
    this.#events.changed();
  }

  #kept(): string[] {
    try {
      const kept: unknown = JSON.parse(this.#store.getItem(this.#key) ?? "null");
      if (Array.isArray(kept)) return kept.filter((name): name is string => typeof name === "string" && isChannel(name));
    } catch {
      // What is no list is none.
    }
    return [EVERYBODY];
  }

  #keep(): void {
    try {
      this.#store.setItem(this.#key, JSON.stringify(this.names()));
    } catch {
      // A storage that is full costs the list, nothing else.
    }
  }
}

/** The least between two looks at the counts. */
const LOOK_AGAIN_MS = 4_900;
const EVERYBODY = "@all";
