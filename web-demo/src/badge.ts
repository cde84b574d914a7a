// How the page is connected: the badge that says it, and the note above the composer while it is not.

import type { ConnectionStatus } from "../sdk";
import { byId } from "./dom";

/** Draws the connection into `#badge` and `#note`. */
export class Badge {
  readonly #badge = byId("badge");
  readonly #text = byId("badge-text");
  readonly #gateway = byId("badge-gateway");
  readonly #note = byId("note");
  #noteTimer: ReturnType<typeof setTimeout> | undefined;

  /** Draws where the connection stands. */
  draw(status: ConnectionStatus): void {
    this.#drawNote(status);
    this.#badge.dataset.state = status.state;
    this.#badge.dataset.transport = status.transport ?? "";
    this.#badge.dataset.rtt = status.rttMs === undefined ? "" : String(status.rttMs);
    this.#text.textContent = textFor(status);
    this.#badge.dataset.gateway = status.gateway ?? "";
    this.#gateway.textContent = status.gateway ?? "";
    this.#gateway.hidden = !status.gateway;
    this.#badge.title = titleFor(status);
  }

  #drawNote({ state }: ConnectionStatus): void {
    const note = NOTES[state];
    if (note) this.#note.textContent = note;
    if (!note || state === "offline") {
      clearTimeout(this.#noteTimer);
      this.#noteTimer = undefined;
      this.#note.hidden = !note;
      return;
    }
    // A reconnect that takes a moment is not worth the reader's while.
    this.#noteTimer ??= setTimeout(() => (this.#note.hidden = false), NOTE_AFTER_MS);
  }
}

function titleFor({ state, reason, gateway }: ConnectionStatus): string {
  if (state === "connected") return gateway ? `${TITLE}, at ${gateway}` : TITLE;
  return reason || TITLE;
}

function textFor(status: ConnectionStatus): string {
  switch (status.state) {
    case "connected": {
      const name = NAMES[status.transport ?? ""] ?? status.transport ?? "connected";
      return status.rttMs === undefined ? name : `${name} · ${status.rttMs} ms`;
    }
    case "offline":
      return "Offline";
    case "closed":
      return "Disconnected";
    case "waiting":
      return "Reconnecting …";
    default:
      return "Connecting …";
  }
}

const NAMES: Record<string, string> = { webtransport: "WebTransport", websocket: "WebSocket" };
const NO_CONNECTION = "No connection. What you write goes out by itself.";
const NOTES: Partial<Record<ConnectionStatus["state"], string>> = {
  offline: "You are offline. What you write goes out later.",
  waiting: NO_CONNECTION,
  connecting: NO_CONNECTION,
};
/** So long a connection may be away before the reader is told. */
const NOTE_AFTER_MS = 1_500;
const TITLE = "Transport and round-trip time";
