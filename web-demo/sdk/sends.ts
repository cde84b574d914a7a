// The application's view of its sends: one handle each, from sending to stored. Decides nothing, see pending.ts.

import { deferred } from "./deferred";
import type { Message, Outgoing } from "./message";
import { conversationOf, fromMsg, toMsg } from "./message";
import { codeName, TidegateError } from "./errors";
import { Code, type Receipt } from "./gen/tidegate/v1/client_pb";
import type { Msg } from "./gen/tidegate/v1/message_pb";
import { MAX_PENDING } from "./limits";
import { Pending } from "./pending";
import { uuidV7 } from "./uuid";

/** How far a send has come. It is never lost on the way: until `stored` or `rejected` the client sends it again. */
export type SendState = "sending" | "accepted" | "stored" | "rejected";

/** One send, from the call to its end. */
export class SendHandle {
  /** The id that names this message over all retries. */
  readonly localId: string;
  /** Settles when the message is durable. Rejects when it is refused for good or the client is closed. */
  readonly accepted: Promise<Message>;
  /** Settles when the message has its place in the conversation. Rejects like {@link accepted}. */
  readonly stored: Promise<Message>;
  #message: Message;
  #state: SendState = "sending";
  #error: TidegateError | undefined;
  readonly #listeners = new Set<(handle: SendHandle) => void>();
  readonly #resolveAccepted: (message: Message) => void;
  readonly #resolveStored: (message: Message) => void;
  readonly #reject: (error: TidegateError) => void;

  /** @internal */
  constructor(message: Message) {
    this.localId = message.localId;
    this.#message = message;
    const accepted = deferred<Message>();
    const stored = deferred<Message>();
    this.accepted = accepted.promise;
    this.stored = stored.promise;
    this.#resolveAccepted = accepted.resolve;
    this.#resolveStored = stored.resolve;
    this.#reject = (error) => {
      accepted.reject(error);
      stored.reject(error);
    };
    // Who only watches the state need not catch anything.
    this.accepted.catch(() => {});
    this.stored.catch(() => {});
  }

  /** The message as far as it is known: ids, times and seqs fill in on the way. */
  get message(): Message {
    return this.#message;
  }

  /** How far it has come. */
  get state(): SendState {
    return this.#state;
  }

  /** Why it was refused. */
  get error(): TidegateError | undefined {
    return this.#error;
  }

  /** Calls the listener at each change of state. @returns a function that removes it */
  on(listener: (handle: SendHandle) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** @internal */
  advance(state: SendState, known: Partial<Message>): void {
    this.#state = state;
    this.#message = { ...this.#message, ...known };
    if (state !== "sending") this.#resolveAccepted(this.#message);
    if (state === "stored") this.#resolveStored(this.#message);
    for (const listener of [...this.#listeners]) listener(this);
  }

  /** @internal */
  refuse(error: TidegateError): void {
    this.#state = "rejected";
    this.#error = error;
    this.#reject(error);
    for (const listener of [...this.#listeners]) listener(this);
  }

  /** @internal The client was closed: nobody waits any longer, whatever becomes of the message. */
  abandon(error: TidegateError): void {
    this.#reject(error);
  }
}

/** All unfinished sends of a client. */
export class Sends {
  readonly #pending = new Pending();
  readonly #handles = new Map<string, SendHandle>();
  readonly #onState: (handle: SendHandle) => void;

  /** @param onState called at each change of any send's state, after its own listeners */
  constructor(onState: (handle: SendHandle) => void) {
    this.#onState = onState;
  }

  /** The unfinished sends, in order. */
  handles(): SendHandle[] {
    return [...this.#handles.values()];
  }

  /** The messages to keep over a page load. */
  messages(): Msg[] {
    return this.#pending.messages();
  }

  /** Takes a message. @throws {@link TidegateError} INVALID_ARGUMENT, TOO_LARGE, or LIMIT when too many wait */
  add(outgoing: Outgoing, user: string): SendHandle {
    if (this.#pending.size >= MAX_PENDING) throw new TidegateError("LIMIT", `${MAX_PENDING} messages wait already`);
    return this.#track(toMsg(outgoing, uuidV7(), Date.now()), user);
  }

  /** Takes up messages that an earlier page left unfinished. @returns their handles */
  restore(messages: Msg[], user: string): SendHandle[] {
    return messages.filter((msg) => !this.#pending.has(msg.localId)).map((msg) => this.#track(msg, user));
  }

  /** A new session: everything is to be written again. */
  newSession(window: number): void {
    this.#pending.newSession(window);
  }

  /** What to write now. */
  due(now: number): Msg[] {
    return this.#pending.due(now);
  }

  /** When to ask again without a further event. */
  nextDueAt(): number | undefined {
    return this.#pending.nextDueAt();
  }

  /** Takes a receipt. */
  receipt(receipt: Receipt, now: number): void {
    const handle = this.#handles.get(receipt.localId);
    const outcome = this.#pending.receipt(receipt, now, Math.random());
    if (!handle || !outcome || outcome === "retry") return;
    if (outcome === "rejected") {
      const code = receipt.code === Code.OK ? Code.INTERNAL : receipt.code;
      handle.refuse(new TidegateError(codeName(code), receipt.message, Number(receipt.retryAfterMs)));
      this.#handles.delete(receipt.localId);
      return this.#onState(handle);
    }
    const known = { serverId: receipt.serverId, sendTime: Number(receipt.sendTime) };
    if (outcome === "accepted") return this.#advance(handle, "accepted", known);
    this.#advance(handle, "stored", { ...known, seq: Number(receipt.seq), convSeq: Number(receipt.convSeq) });
  }

  /** An own message arrived as a delivery. @returns whether it was waited for, and this is its STORED */
  delivered(message: Message): boolean {
    if (!this.#pending.delivered(message.localId)) return false;
    const handle = this.#handles.get(message.localId);
    if (handle) this.#advance(handle, "stored", message);
    return true;
  }

  /** The client is closed. */
  abandon(): void {
    for (const handle of this.#handles.values()) handle.abandon(new TidegateError("CLOSED", "the client was closed"));
    this.#handles.clear();
  }

  /** The own user became known: the conversations of sends made before can be named. */
  identify(user: string): void {
    for (const msg of this.#pending.messages()) {
      const handle = this.#handles.get(msg.localId);
      handle?.advance(handle.state, { sender: user, conversation: conversationOf(msg, user) });
    }
  }

  #track(msg: Msg, user: string): SendHandle {
    this.#pending.add(msg);
    const handle = new SendHandle({ ...fromMsg(msg, 0, user), sendTime: 0, own: true });
    this.#handles.set(msg.localId, handle);
    return handle;
  }

  #advance(handle: SendHandle, state: SendState, known: Partial<Message>): void {
    if (state === "stored") this.#handles.delete(handle.localId);
    handle.advance(state, known);
    this.#onState(handle);
  }
}
