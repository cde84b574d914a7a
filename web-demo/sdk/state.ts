// What a device keeps between page loads: attempt, inbox and pending sends, in a storage of the browser's kind.

import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { decodeBase64, encodeBase64 } from "./base64";
import { MsgSchema, type Msg } from "./gen/tidegate/v1/message_pb";
import type { InboxSnapshot } from "./inbox";

/** Where the client keeps its state: `localStorage`, `sessionStorage` or anything that acts like them. */
export type Store = Pick<Storage, "getItem" | "setItem" | "removeItem">;

/** The state of one device. A storage that is full or forbidden costs what is kept, nothing else. */
export class DeviceState {
  readonly #store: Store;
  readonly #prefix: string;
  #user = "";

  constructor(store: Store, deviceId: string) {
    this.#store = store;
    this.#prefix = `tidegate:${deviceId}:`;
  }

  /** Says whose state it is from now on; inbox and pending sends are kept per user. */
  setUser(user: string): void {
    this.#user = user;
  }

  /** Draws the number of the next connection attempt: it grows, over page loads too. */
  nextAttempt(now: number): number {
    const last = Number(this.#read("attempt") ?? 0);
    const attempt = Math.max(Number.isSafeInteger(last) ? last + 1 : 0, now);
    this.#write("attempt", String(attempt));
    return attempt;
  }

  /** The inbox as it was kept. */
  loadInbox(): InboxSnapshot | undefined {
    const snapshot = this.#readJson(`inbox:${this.#user}`);
    return isSnapshot(snapshot) ? snapshot : undefined;
  }

  /** Keeps the inbox. */
  saveInbox(snapshot: InboxSnapshot): void {
    this.#write(`inbox:${this.#user}`, JSON.stringify(snapshot));
  }

  /** The pending sends as they were kept, in order. */
  loadPending(): Msg[] {
    const kept = this.#readJson(`pending:${this.#user}`);
    if (!Array.isArray(kept)) return [];
    return kept.flatMap((text: unknown) => (typeof text === "string" ? decodeMsg(text) : []));
  }

  /** Keeps the first megabyte of the pending sends. */
  savePending(messages: Msg[]): void {
    const kept: string[] = [];
    let chars = 0;
    for (const msg of messages) {
      const text = encodeBase64(toBinary(MsgSchema, msg));
      chars += text.length;
      if (chars > MAX_PENDING_CHARS) break;
      kept.push(text);
    }
    if (kept.length > 0) this.#write(`pending:${this.#user}`, JSON.stringify(kept));
    else this.#remove(`pending:${this.#user}`);
  }

  #readJson(key: string): unknown {
    try {
      return JSON.parse(this.#read(key) ?? "null");
    } catch {
      return undefined;
    }
  }

  #read(key: string): string | null {
    try {
      return this.#store.getItem(this.#prefix + key);
    } catch {
      return null;
    }
  }

  #write(key: string, value: string): void {
    try {
      this.#store.setItem(this.#prefix + key, value);
    } catch {
      // A stale value would be worse than none: an old cursor only repeats, but old pending sends come back.
      this.#remove(key);
    }
  }

  #remove(key: string): void {
    try {
      this.#store.removeItem(this.#prefix + key);
    } catch {
      // Forbidden storage keeps nothing.
    }
  }
}

/** A store that lasts as long as the page. */
export function memoryStore(): Store {
  const values = new Map<string, string>();
  return {
    getItem: (key) => values.get(key) ?? null,
    setItem: (key, value) => void values.set(key, value),
    removeItem: (key) => void values.delete(key),
  };
}

/** `localStorage` where there is one, otherwise memory. */
export function defaultStore(): Store {
  try {
    return globalThis.localStorage ?? memoryStore();
  } catch {
    return memoryStore();
  }
}

function isSnapshot(value: unknown): value is InboxSnapshot {
  const snapshot = value as InboxSnapshot | null | undefined;
  return (
    typeof snapshot?.epoch === "string" &&
    Number.isSafeInteger(snapshot.cursor) &&
    Array.isArray(snapshot.above) &&
    snapshot.above.every((range) => Number.isSafeInteger(range?.[0]) && Number.isSafeInteger(range?.[1]))
  );
}

function decodeMsg(text: string): Msg[] {
  try {
    return [fromBinary(MsgSchema, decodeBase64(text))];
  } catch {
    return [];
  }
}

const MAX_PENDING_CHARS = 1_000_000;
