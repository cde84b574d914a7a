// Who is typing: said at most every two seconds, believed for four.

/** Typing indicators, sent and heard. */
export class Typing {
  readonly #say: (peer: string) => void;
  readonly #onChange: () => void;
  readonly #until = new Map<string, number>();
  #saidAt = 0;

  /**
   * @param say tells a user that we are typing
   * @param onChange called when {@link isTyping} may have changed
   */
  constructor(say: (peer: string) => void, onChange: () => void) {
    this.#say = say;
    this.#onChange = onChange;
  }

  /** We are typing to a user. */
  writes(peer: string): void {
    if (Date.now() - this.#saidAt < SAY_EVERY_MS) return;
    this.#saidAt = Date.now();
    this.#say(peer);
  }

  /** We sent what we were typing: the next stroke says so at once. */
  sent(): void {
    this.#saidAt = 0;
  }

  /** A user says to be typing. */
  heard(peer: string): void {
    this.#until.set(peer, Date.now() + BELIEVE_MS);
    setTimeout(this.#onChange, BELIEVE_MS + 50);
    this.#onChange();
  }

  /** A user has sent what he was typing. */
  stopped(peer: string): void {
    if (this.#until.delete(peer)) this.#onChange();
  }

  /** The connection is gone: what was heard last says nothing any more. */
  forget(): void {
    if (this.#until.size === 0) return;
    this.#until.clear();
    this.#onChange();
  }

  /** Whether a user is typing to us. */
  isTyping(peer: string): boolean {
    return (this.#until.get(peer) ?? 0) > Date.now();
  }
}

const SAY_EVERY_MS = 2_000;
const BELIEVE_MS = 4_000;
