// What the page and the network do, as far as a connection cares. Does nothing outside of a browser.

/** What a {@link watchPage} tells. */
export interface PageEvents {
  /** The network or the page changed: find out at once whether the connection lives. */
  changed(): void;
  /** The browser says that it is online again. */
  online(): void;
  /** The page is about to go. */
  leaving(): void;
}

/** Listens until the returned function is called. */
export function watchPage(events: PageEvents): () => void {
  if (typeof window === "undefined") return () => {};
  const watched: [EventTarget | undefined, string, () => void][] = [
    [window, "online", () => events.online()],
    [window, "pageshow", () => events.changed()],
    [window, "pagehide", () => events.leaving()],
    [document, "visibilitychange", () => events.changed()],
    [(navigator as Navigator & { connection?: EventTarget }).connection, "change", () => events.changed()],
  ];
  for (const [target, name, listener] of watched) target?.addEventListener(name, listener);
  return () => {
    for (const [target, name, listener] of watched) target?.removeEventListener(name, listener);
  };
}

/** Whether somebody can see the page. */
export function isPageVisible(): boolean {
  return typeof document === "undefined" || document.visibilityState === "visible";
}
