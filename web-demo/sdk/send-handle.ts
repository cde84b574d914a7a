// The application's view of one send.

import { deferred } from "./deferred";
import type { TidegateError } from "./errors";
import type { Message } from "./message";

/** How far a send has come. It is never lost on the way: until `stored` or `rejected` the client sends it again. */
export type SendState = "sending" | "accepted" | "stored" | "rejected";

/** One send, from the call to its end. */
export interface SendHandle {
  /** The id that names this message over all retries. */
  readonly localId: string;
  /** Settles when the message is durable. Rejects when it is refused for good or the client is closed. */
  readonly accepted: Promise<Message>;
  /** Settles when the message has its place in the conversation. Rejects like {@link accepted}. */
  readonly stored: Promise<Message>;
  /** The message as far as it is known: ids, times and seqs fill in on the way. */
  readonly message: Message;
  /** How far it has come. */
  readonly state: SendState;
  /** Why it was refused. */
  readonly error: TidegateError | undefined;
}

/** The handle as the client drives it. */
export class TrackedSend implements SendHandle {
  readonly localId: string;
  readonly accepted: Promise<Message>;
  readonly stored: Promise<Message>;
  #message: Message;
  #state: SendState = "sending";
  #error: TidegateError | undefined;
  readonly #accepted = deferred<Message>();
  readonly #stored = deferred<Message>();

  /** @param message what is known before it is sent */
  constructor(message: Message) {
    this.localId = message.localId;
    this.#message = message;
    this.accepted = this.#accepted.promise;
    this.stored = this.#stored.promise;
    // Who only watches the state need not catch anything.
    this.accepted.catch(() => {});
    this.stored.catch(() => {});
  }

  get message(): Message {
    return this.#message;
  }

  get state(): SendState {
    return this.#state;
  }

  get error(): TidegateError | undefined {
    return this.#error;
  }

  /** It has come so far, and this is known of it now. */
  advance(state: SendState, known: Partial<Message>): void {
    this.#state = state;
    this.#message = { ...this.#message, ...known };
    if (state !== "sending") this.#accepted.resolve(this.#message);
    if (state === "stored") this.#stored.resolve(this.#message);
  }

  /** It was refused for good. */
  refuse(error: TidegateError): void {
    this.#state = "rejected";
    this.#error = error;
    this.abandon(error);
  }

  /** The client was closed: nobody waits any longer, whatever becomes of the message. */
  abandon(error: TidegateError): void {
    this.#accepted.reject(error);
    this.#stored.reject(error);
  }
}
