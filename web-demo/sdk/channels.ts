// All subscriptions of a client: which to ask the server for, whose an answer is, and when to ask again.

import { create } from "@bufbuild/protobuf";
import { Alarm } from "./alarm";
import { backoffMs, RESEND } from "./backoff";
import { TidegateError } from "./errors";
import { SubscribeSchema, UnsubscribeSchema, type Deliver, type HistoryGone } from "./gen/tidegate/v1/client_pb";
import { entryOf } from "./history";
import { isChannel } from "./message";
import type { ClientKind, ServerKind } from "./session";
import { TrackedSubscription, type SubscribeOptions } from "./subscription";

/** What {@link Channels} need of their client. */
export interface ChannelsContext {
  /** Writes a request. @returns its number; undefined: there is no session */
  ask(kind: ClientKind): number | undefined;
  /** Whether there is one. */
  isLive(): boolean;
  /** The own user. */
  user(): string;
}

/** A subscription, and when to ask for it again. */
interface Followed {
  readonly subscription: TrackedSubscription;
  readonly alarm: Alarm;
  refusals: number;
}

/** The subscriptions of a client, over all its sessions. */
export class Channels {
  readonly #context: ChannelsContext;
  readonly #followed = new Map<string, Followed>();
  /** What was asked on this session, by the request's number; undefined for an Unsubscribe, whose answer is for nobody. */
  readonly #asked = new Map<number, TrackedSubscription | undefined>();
  #epoch = "";

  constructor(context: ChannelsContext) {
    this.#context = context;
  }

  /** Adds a subscription; one that is there is asked about, and its position stays. @throws INVALID_ARGUMENT */
  subscribe(channel: string, options: SubscribeOptions): TrackedSubscription {
    const { after } = options;
    if (!isChannel(channel)) throw new TidegateError("INVALID_ARGUMENT", `"${channel.slice(0, 160)}" is not the name of a channel`);
    if (after !== undefined && !(Number.isSafeInteger(after) && after >= 0)) {
      throw new TidegateError("INVALID_ARGUMENT", "after is a seq, or 0");
    }
    const followed = this.#followed.get(channel) ?? this.#add(channel, options);
    this.#ask(followed);
    return followed.subscription;
  }

  /** A session begins, which subscribes to nothing yet. */
  newSession(epoch: string): void {
    this.pause();
    this.#epoch = epoch;
    for (const followed of this.#followed.values()) {
      followed.subscription.begin(epoch);
      this.#ask(followed);
    }
  }

  /** There is no session. */
  pause(): void {
    this.#asked.clear();
    for (const followed of this.#followed.values()) {
      followed.alarm.clear();
      followed.subscription.pause();
    }
  }

  /** The client is closed. */
  abandon(): void {
    this.pause();
    for (const { subscription } of this.#followed.values()) subscription.abandon(new TidegateError("CLOSED", "the client was closed"));
    this.#followed.clear();
  }

  /** Takes a frame. @returns whether it was about channels alone */
  frame(kind: ServerKind, id: number): boolean {
    switch (kind.case) {
      case "subscribed":
        this.#onSubscribed(id, Number(kind.value.head), Number(kind.value.floor), Number(kind.value.count));
        return true;
      case "unsubscribed":
        if (!this.#asked.delete(id)) this.#onUnsubscribed(kind.value.channel, kind.value.reason);
        return true;
      case "pong":
        for (const { timeline, head } of kind.value.heads) this.#of(timeline)?.raiseHead(Number(head));
        return true;
      case "deliver":
        return this.#onDeliver(kind.value);
      case "historyGone":
        return this.#onHistoryGone(kind.value);
      default:
        return false;
    }
  }

  /** Takes a refusal. @returns whether it was that of a subscription */
  refused(error: TidegateError, id: number): boolean {
    if (!this.#asked.has(id)) return false;
    const followed = this.#answered(id);
    if (!followed) return true;
    if (error.code === "UNAVAILABLE" || error.code === "RATE_LIMITED") {
      // On top of what the server says: many that were refused together do not come back together.
      const wait = error.retryAfterMs + backoffMs(RESEND, followed.refusals++, Math.random());
      followed.alarm.set(Date.now() + wait);
    } else {
      this.#forget(followed);
      followed.subscription.end(error);
    }
    return true;
  }

  #add(channel: string, options: SubscribeOptions): Followed {
    const subscription = new TrackedSubscription(channel, options, {
      ask: () => this.#ask(followed),
      unsubscribe: () => this.#unsubscribe(followed),
    });
    const followed: Followed = { subscription, alarm: new Alarm(() => this.#ask(followed)), refusals: 0 };
    if (this.#context.isLive()) subscription.begin(this.#epoch);
    this.#followed.set(channel, followed);
    return followed;
  }

  #ask(followed: Followed): void {
    const { channel, position } = followed.subscription;
    const after = position === undefined ? {} : { after: BigInt(position) };
    const id = this.#context.ask({ case: "subscribe", value: create(SubscribeSchema, { channel, ...after }) });
    if (id === undefined) return;
    followed.alarm.clear();
    this.#asked.set(id, followed.subscription);
  }

  #unsubscribe(followed: Followed): void {
    this.#forget(followed);
    const { channel } = followed.subscription;
    const id = this.#context.ask({ case: "unsubscribe", value: create(UnsubscribeSchema, { channel }) });
    if (id !== undefined) this.#asked.set(id, undefined);
  }

  #forget({ subscription, alarm }: Followed): void {
    alarm.clear();
    this.#followed.delete(subscription.channel);
  }

  /** Takes a request's number. @returns whose it was, if that is not over */
  #answered(id: number): Followed | undefined {
    const subscription = this.#asked.get(id);
    this.#asked.delete(id);
    const followed = subscription && this.#followed.get(subscription.channel);
    return followed?.subscription === subscription ? followed : undefined;
  }

  #onSubscribed(id: number, head: number, floor: number, count: number): void {
    const followed = this.#answered(id);
    if (!followed) return;
    followed.refusals = 0;
    followed.subscription.subscribed(this.#epoch, { head, floor, count });
  }

  #onUnsubscribed(channel: string, reason: string): void {
    const followed = this.#followed.get(channel);
    if (!followed) return;
    this.#forget(followed);
    followed.subscription.end(new TidegateError("PERMISSION_DENIED", reason));
  }

  #onDeliver({ timeline, seq, entry }: Deliver): boolean {
    if (!timeline.startsWith(PREFIX)) return false;
    this.#of(timeline)?.deliver(entryOf(Number(seq), entry, this.#context.user()));
    return true;
  }

  #onHistoryGone({ timeline, floor }: HistoryGone): boolean {
    if (!timeline.startsWith(PREFIX)) return false;
    this.#of(timeline)?.historyGone(Number(floor));
    return true;
  }

  #of(timeline: string): TrackedSubscription | undefined {
    if (!timeline.startsWith(PREFIX)) return undefined;
    return this.#followed.get(timeline.slice(PREFIX.length))?.subscription;
  }
}

/** Timelines of channels begin so. */
const PREFIX = "c:";
