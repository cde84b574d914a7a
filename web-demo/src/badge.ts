// The badge that says how the page is connected.

import type { ConnectionStatus } from "../sdk";
import { byId } from "./dom";

/** Draws the connection into `#badge`. */
export class Badge {
  readonly #badge = byId("badge");
  readonly #text = byId("badge-text");

  draw(status: ConnectionStatus): void {
    this.#badge.dataset.state = status.state;
    this.#badge.dataset.transport = status.transport ?? "";
    this.#badge.dataset.rtt = status.rttMs === undefined ? "" : String(status.rttMs);
    this.#text.textContent = textFor(status);
    this.#badge.title = status.reason && status.state !== "connected" ? status.reason : TITLE;
  }
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
const TITLE = "Transport and round-trip time";
