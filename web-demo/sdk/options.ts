// What an application gives the client, and what it hears from it.

import type { TidegateError } from "./errors";
import type { Message } from "./message";
import type { SendHandle } from "./send-handle";
import type { Store } from "./state";
import type { Endpoints, Transport } from "./transport";

/** How to make a client. */
export interface ClientOptions {
  /** Where to connect; asked for at each attempt, so that addresses and certificate hashes may change. */
  endpoints: () => Promise<Endpoints>;
  /** A token of the application's backend; asked for when there is none, and before the last one ends. */
  token: () => Promise<string>;
  /** Names this device of the user, stable over page loads. Two pages with one device id replace each other. */
  deviceId: string;
  /** The user, where the application knows it; lets unfinished sends of an earlier page appear before the connection. */
  user?: string;
  /** Where the device's state is kept; by default `localStorage`. */
  store?: Store;
  /**
   * Where a device begins that has no state in the store: at the head (only what comes from now on) or at the floor
   * (everything there is). By default the server's cursor of this device, or the floor.
   */
  start?: "head" | "floor";
  /** The transports to race, in order; by default WebTransport and WebSocket. */
  transports?: Transport[];
  /** What the client calls itself in the server's logs. */
  agent?: string;
}

/** Where the connection stands. */
export interface ConnectionStatus {
  /** `waiting`: for the next attempt; `offline`: cut by {@link TidegateClient.setOnline}; `closed`: for good. */
  state: "idle" | "connecting" | "connected" | "waiting" | "offline" | "closed";
  /** The transport of the session; undefined without one. */
  transport: string | undefined;
  /** The id of the gateway that holds the session; undefined without one. */
  gateway: string | undefined;
  /** The last round trip, in milliseconds. */
  rttMs: number | undefined;
  /** When waiting: in how many milliseconds the next attempt begins. */
  retryInMs: number | undefined;
  /** Why there is no session. */
  reason: string | undefined;
}

/** A session began. */
export interface WelcomeEvent {
  /** The own user. */
  user: string;
  /** The life of the server's data. */
  epoch: string;
  /** Deliveries begin after this seq of the inbox. */
  start: number;
  /** The inbox's last seq. */
  head: number;
  /** The inbox's first seq that is still there. */
  floor: number;
  /**
   * Whether the server's data is another one than before, so that all the client knew of seqs is void. Messages the
   * application has may come again; their `serverId` tells.
   */
  isReset: boolean;
}

/** A volatile event from somebody. */
export interface SignalEvent {
  /** Who sent it. */
  from: string;
  /** The group it was sent to, or empty. */
  group: string;
  /** The channel it was sent to, or empty. */
  channel: string;
  /** The application's word for it. */
  kind: string;
  /** At most 1,000 bytes. */
  content: Uint8Array;
}

/** A volatile event to send. Exactly one of `user`, `group` and `channel`. */
export interface OutgoingSignal {
  /** The user it goes to. */
  user?: string;
  /** The group it goes to. */
  group?: string;
  /** The channel it goes to. */
  channel?: string;
  /** The application's word for it; at most 64 bytes. */
  kind: string;
  /** At most 1,000 bytes; a string is sent as UTF-8. */
  content?: Uint8Array | string;
}

/** The events of a client. */
export interface ClientEvents {
  /** A message arrived: from somebody, or from another device of the own user. Each comes once. */
  message: Message;
  /** An entry of the inbox that expired or was deleted. */
  gone: { seq: number };
  /** A send of this device changed its state. */
  state: SendHandle;
  /** A volatile event arrived. */
  signal: SignalEvent;
  /** The connection changed, or a round trip was measured. */
  connection: ConnectionStatus;
  /** A session began. */
  welcome: WelcomeEvent;
  /** Entries of the inbox below `floor` were removed before this device got them. */
  historyGone: { floor: number };
  /** The server refused something that is neither a send nor a pull nor a subscription. */
  error: TidegateError;
  /** The connection ended for good: `code` is the close code's name, such as `REPLACED`. */
  closed: { code: string; reason: string };
}
