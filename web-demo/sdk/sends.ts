// All sends of a client that are not finished, each with its handle. Decides nothing, see pending.ts.

import type { Message, Outgoing } from "./message";
import { conversationOf, fromMsg, toMsg } from "./message";
import { codeName, TidegateError } from "./errors";
import type { Receipt } from "./gen/tidegate/v1/client_pb";
import type { Msg } from "./gen/tidegate/v1/message_pb";
import { MAX_PENDING } from "./limits";
import { Pending } from "./pending";
import { TrackedSend, type SendState } from "./send-handle";
import { uuidV7 } from "./uuid";

/** All unfinished sends of a client. */
export class Sends {
  readonly #pending = new Pending();
  readonly #handles = new Map<string, TrackedSend>();
  readonly #onState: (handle: TrackedSend) => void;

  /** @param onState called at each change of any send's state */
  constructor(onState: (handle: TrackedSend) => void) {
    this.#onState = onState;
  }

  /** The unfinished sends, in order. */
  handles(): TrackedSend[] {
    return [...this.#handles.values()];
  }

  /** The messages to keep over a page load. */
  messages(): Msg[] {
    return this.#pending.messages();
  }

  /** Takes a message. @throws {@link TidegateError} INVALID_ARGUMENT, TOO_LARGE, or LIMIT when too many wait */
  add(outgoing: Outgoing, user: string): TrackedSend {
    if (this.#pending.size >= MAX_PENDING) throw new TidegateError("LIMIT", `${MAX_PENDING} messages wait already`);
    return this.#track(toMsg(outgoing, uuidV7(), Date.now()), user);
  }

  /** Takes up messages that an earlier page left unfinished. @returns their handles */
  restore(messages: Msg[], user: string): TrackedSend[] {
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
      handle.refuse(new TidegateError(codeName(receipt.code), receipt.message, Number(receipt.retryAfterMs)));
      this.#handles.delete(receipt.localId);
      return this.#onState(handle);
    }
    const known = { serverId: receipt.serverId, sendTime: Number(receipt.sendTime) };
    if (outcome === "accepted") return this.#advance(handle, "accepted", known);
    this.#advance(handle, "stored", { ...known, seq: Number(receipt.seq), convSeq: Number(receipt.convSeq) });
  }

  /** An own message arrived as a delivery. @returns whether it was waited for, and this is its STORED */
  delivered(message: Message): boolean {
    // Without a seq it is stored nowhere: its receipt is still to come.
    if (message.seq === 0 || !this.#pending.delivered(message.localId)) return false;
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

  #track(msg: Msg, user: string): TrackedSend {
    this.#pending.add(msg);
    const handle = new TrackedSend({ ...fromMsg(msg, 0, user), sendTime: 0, own: true });
    this.#handles.set(msg.localId, handle);
    return handle;
  }

  #advance(handle: TrackedSend, state: SendState, known: Partial<Message>): void {
    if (state === "stored") this.#handles.delete(handle.localId);
    handle.advance(state, known);
    this.#onState(handle);
  }
}
