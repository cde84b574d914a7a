// A typed event emitter. A listener that throws is reported and does not disturb the others.

/** Listeners by the name of their event; `Events` maps each name to what a listener gets. */
export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<(event: never) => void>>();

  /** Adds a listener. @returns a function that removes it */
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => void): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    listeners.add(listener);
    this.#listeners.set(name, listeners);
    return () => listeners.delete(listener);
  }

  /** Calls the listeners of an event. */
  emit<Name extends keyof Events>(name: Name, event: Events[Name]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        (listener as (event: Events[Name]) => void)(event);
      } catch (error) {
        reportLater(error);
      }
    }
  }
}

/** Throws where nobody is disturbed, so that the browser reports it as an uncaught error. */
function reportLater(error: unknown): void {
  setTimeout(() => {
    throw error;
  });
}
