// The whole client against a server that the test plays: what each test begins with, made anew before it.

import { afterEach, beforeEach, vi } from "vitest";
import { TidegateClient } from "../sdk/client";
import type { ReceiptStatus } from "../sdk/gen/tidegate/v1/client_pb";
import type { ClientOptions } from "../sdk/options";
import { memoryStore, type Store } from "../sdk/state";
import { FakeTransport } from "./fakes";

let store: Store;
/** Opens by itself after 1 ms. */
export let ws: FakeTransport;
/** Those that clients asked for: "token 1", "token 2". */
export let tokens: number;
export let clients: TidegateClient[];

beforeEach(() => {
  vi.useFakeTimers({ now: 1_700_000_000_000 });
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  store = memoryStore();
  ws = new FakeTransport("websocket", 1);
  tokens = 0;
  clients = [];
});
afterEach(() => {
  for (const client of clients) client.close();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

export const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

/** The connection breaks. */
export const lose = (): void => ws.wire.events?.closed(undefined, "lost");

/** From now on connections open when the test says so. */
export function opensByHand(): void {
  ws = new FakeTransport("websocket");
}

export const nextToken = (): number => ++tokens;

/** A client that has begun to connect, and what it tells. */
export function makeClient(options: Partial<ClientOptions> = {}): { client: TidegateClient; seqs: number[]; closed: string[]; states: string[] } {
  const client = new TidegateClient({
    endpoints: async () => ({ websocket: "ws://x" }),
    token: async () => `token ${nextToken()}`,
    deviceId: "d",
    store,
    transports: [ws],
    ...options,
  });
  clients.push(client);
  const [seqs, closed, states]: [number[], string[], string[]] = [[], [], []];
  client.on("message", ({ seq }) => seqs.push(seq));
  client.on("closed", ({ code }) => closed.push(code));
  client.on("connection", ({ state }) => states.at(-1) !== state && states.push(state));
  client.connect();
  return { client, seqs, closed, states };
}

export const receipt = (localId: string, status: ReceiptStatus, more = {}): never =>
  ({ case: "receipt", value: { localId, serverId: "s", sendTime: 5n, status, ...more } }) as never;
