// What the client needs of a transport. Nothing above this file knows which one it is on.

/** Where to connect. */
export interface Endpoints {
  /** `https://host:port/wt`; absent: WebTransport is not offered. */
  webtransport?: string;
  /** `wss://host/ws`, or `ws://` on the same machine. */
  websocket: string;
  /** SHA-256 of the server's certificate in base64, where it is not signed by an authority. */
  certSha256?: string;
}

/** What happens on a {@link Wire}. */
export interface WireEvents {
  /** One frame, without its length. */
  frame(bytes: Uint8Array): void;
  /** Bytes arrived, whole frames or not. */
  alive(): void;
  /** The connection ended. Comes once, and not after {@link Wire.close}. */
  closed(code: number | undefined, reason: string): void;
}

/** One open connection of either kind. */
export interface Wire {
  /** The name of its transport. */
  readonly transport: string;
  /** How many lanes to ask for in Hello. */
  readonly lanes: number;
  /** Whether signals can go as datagrams. */
  readonly datagrams: boolean;
  /** Begins to read; lanes not yet. */
  start(events: WireEvents): void;
  /** Begins to read lanes and datagrams; called after Welcome. */
  readLanes(): void;
  /** Writes a frame on the control stream. */
  send(frame: Uint8Array): void;
  /** Writes a frame as a datagram; false: it has to go on the control stream. */
  trySendDatagram(frame: Uint8Array): boolean;
  /** Closes; no event comes after it. */
  close(code: number, reason: string): void;
}

/** A way to open a {@link Wire}. */
export interface Transport {
  /** Its name, as shown to people: `webtransport`, `websocket`. */
  readonly name: string;
  /** Whether it can be tried here. */
  isUsable(endpoints: Endpoints): boolean;
  /** Opens a connection; nothing is sent on it yet. After an abort what opens late closes itself. */
  open(endpoints: Endpoints, abort: AbortSignal): Promise<Wire>;
}
