// One timer that can be set anew, and waiting with a limit.

import { TidegateError } from "./errors";

/** A timer for a moment of local time. Setting it again moves it. */
export class Alarm {
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #ring: () => void;

  constructor(ring: () => void) {
    this.#ring = ring;
  }

  /** Rings at `at` (ms since 1970), or not at all. */
  set(at: number | undefined): void {
    this.clear();
    if (at === undefined || at === Infinity) return;
    // Browsers ring at once when the delay does not fit in 31 bits.
    const delay = Math.min(Math.max(0, at - Date.now()), MAX_DELAY_MS);
    this.#timer = setTimeout(() => this.#ring(), delay);
  }

  /** Does not ring any more. */
  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

/** The promise's value, or a TIMEOUT error that says what took too long. */
export function within<T>(promise: Promise<T>, limitMs: number, what: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new TidegateError("TIMEOUT", `${what} took over ${limitMs} ms`)), limitMs);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

const MAX_DELAY_MS = 2 ** 31 - 1;
