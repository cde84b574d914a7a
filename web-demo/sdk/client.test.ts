// The whole client against a server that the test plays.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { FakeTransport } from "../tests/fakes";
import { TidegateClient } from "./client";
import { CloseCode, Code, ReceiptStatus } from "./gen/tidegate/v1/client_pb";
import type { ClientOptions } from "./options";
import { memoryStore, type Store } from "./state";

let store: Store;
let ws: FakeTransport;
let tokens: number;
let clients: TidegateClient[];

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

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

/** The connection breaks. */
const lose = (): void => ws.wire.events?.closed(undefined, "lost");

function makeClient(options: Partial<ClientOptions> = {}): { client: TidegateClient; seqs: number[]; closed: string[]; states: string[] } {
  const client = new TidegateClient({
    endpoints: async () => ({ websocket: "ws://x" }),
    token: async () => `token ${++tokens}`,
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

const receipt = (localId: string, status: ReceiptStatus, more = {}): never =>
  ({ case: "receipt", value: { localId, serverId: "s", sendTime: 5n, status, ...more } }) as never;

describe("Hello", () => {
  test("the first one has no position, a resume has, and the attempt grows", async () => {
    const { states } = makeClient({ start: "head" });
    await pass(1);
    expect(ws.wire.all("hello")[0]).toMatchObject({ token: "token 1", deviceId: "d", start: { from: { case: "head", value: true } } });
    expect(ws.wire.lanesAreRead).toBe(false);
    ws.wire.welcome(40);
    expect(ws.wire.lanesAreRead).toBe(true);
    ws.wire.delivers(41);
    const first = ws.wire.all("hello")[0];
    lose();
    await pass(1_000);
    const second = ws.wire.all("hello")[0];
    expect(ws.wires).toHaveLength(2);
    expect(second?.start?.from).toMatchObject({ case: "position", value: { epoch: "e", cursor: 41n } });
    expect(second?.attempt).toBeGreaterThan(first?.attempt ?? 0n);
    expect(states).toEqual(["connecting", "connected", "waiting", "connecting"]);
  });

  test("without a Welcome in 3 s the next transport gets its own, with a higher attempt", async () => {
    const wt = new FakeTransport("webtransport", 1);
    makeClient({ transports: [wt, ws] });
    await pass(1);
    const [first] = wt.wire.all("hello");
    expect(first).toBeDefined();
    expect(ws.wires).toHaveLength(0);
    const { events } = wt.wire;
    await pass(3_001);
    expect(wt.wire.closedWith).toBe(CloseCode.NORMAL);
    const [second] = ws.wire.all("hello");
    expect(second?.attempt).toBeGreaterThan(first?.attempt ?? 0n);
    ws.wire.welcome();
    events?.closed(CloseCode.REPLACED, "the close of the one that was given up");
    await pass(1);
    expect(ws.wires).toHaveLength(1);
    expect(clients[0]?.status).toMatchObject({ state: "connected", transport: "websocket" });
  });

  test("a page load resumes from what the last one kept, and applies nothing twice", async () => {
    const first = makeClient({ user: "alice" });
    await pass(1);
    ws.wire.welcome(0);
    for (const seq of [1, 2, 4]) ws.wire.delivers(seq);
    await pass(0);
    first.client.close();
    const second = makeClient({ user: "alice" });
    await pass(1);
    expect(ws.wire.all("hello")[0]?.start?.from).toMatchObject({ value: { epoch: "e", cursor: 2n } });
    ws.wire.welcome(2);
    for (const seq of [3, 4, 5]) ws.wire.delivers(seq);
    expect([first.seqs, second.seqs]).toEqual([[1, 2, 4], [3, 5]]);
  });

  test("another epoch makes everything new", async () => {
    const { client, seqs } = makeClient();
    const resets: boolean[] = [];
    client.on("welcome", ({ isReset }) => resets.push(isReset));
    await pass(1);
    ws.wire.welcome(0);
    ws.wire.delivers(1);
    lose();
    await pass(1_000);
    ws.wire.welcome(0, { epoch: "f" });
    ws.wire.delivers(1);
    expect([seqs, resets]).toEqual([[1, 1], [false, true]]);
  });
});

describe("receiving", () => {
  test("acknowledges after a second, after 64, and when it goes", async () => {
    const { client } = makeClient();
    await pass(1);
    ws.wire.welcome(0);
    ws.wire.delivers(1);
    ws.wire.delivers(3);
    await pass(999);
    expect(ws.wire.all("ack")).toEqual([]);
    await pass(1);
    expect(ws.wire.all("ack")).toMatchObject([{ cursor: 1n }]);
    ws.wire.delivers(2);
    for (let seq = 4; seq <= 65; seq++) ws.wire.delivers(seq);
    expect(ws.wire.all("ack").at(-1)).toMatchObject({ cursor: 65n });
    ws.wire.delivers(66);
    client.close();
    expect(ws.wire.all("ack").at(-1)).toMatchObject({ cursor: 66n });
    expect(ws.wire.all("bye")).toHaveLength(1);
  });

  test("gone entries and gone history move the cursor", async () => {
    const { client, seqs } = makeClient();
    const gone: object[] = [];
    client.on("gone", (event) => gone.push(event));
    client.on("historyGone", (event) => gone.push(event));
    await pass(1);
    ws.wire.welcome(0);
    ws.wire.says({ case: "deliver", value: { seq: 1n, entry: { case: "gone", value: {} } } });
    ws.wire.says({ case: "historyGone", value: { floor: 10n } });
    ws.wire.delivers(10);
    await pass(1_000);
    expect(gone).toEqual([{ seq: 1 }, { floor: 10 }]);
    expect([seqs, ws.wire.all("ack").at(-1)?.cursor]).toEqual([[10], 10n]);
  });

  test("a listener that throws disturbs neither the others nor the client", async () => {
    const { client, seqs } = makeClient();
    const uncaught: unknown[] = [];
    vi.stubGlobal("setTimeout", ((original) => (run: () => void, ms?: number) =>
      original(() => {
        try {
          run();
        } catch (error) {
          uncaught.push(error);
        }
      }, ms))(setTimeout));
    client.on("message", () => {
      throw new Error("a listener's own");
    });
    await pass(1);
    ws.wire.welcome(0);
    ws.wire.delivers(1);
    ws.wire.delivers(2);
    await pass(1);
    vi.unstubAllGlobals();
    expect([seqs, uncaught.map(String)]).toEqual([[1, 2], ["Error: a listener's own", "Error: a listener's own"]]);
  });
});

describe("sending", () => {
  test("from sending over accepted to stored, and the stored seq counts as received", async () => {
    const { client, seqs } = makeClient();
    const handle = client.send({ receiverId: "bob", content: "hi" });
    const states: string[] = [];
    client.on("state", ({ state }) => states.push(state));
    await pass(1);
    ws.wire.welcome(0);
    const [send] = ws.wire.all("send");
    expect(send?.msg).toMatchObject({ receiverId: "bob", localId: handle.localId, contentType: 1 });
    // A backend's, stored nowhere, settles nothing.
    ws.wire.delivers(0, { sendId: "alice", localId: handle.localId });
    expect([states, seqs]).toEqual([[], [0]]);
    ws.wire.says(receipt(handle.localId, ReceiptStatus.ACCEPTED));
    ws.wire.says(receipt(handle.localId, ReceiptStatus.STORED, { seq: 1n, convSeq: 9n }));
    ws.wire.says(receipt(handle.localId, ReceiptStatus.ACCEPTED));
    ws.wire.delivers(1, { sendId: "alice", localId: handle.localId });
    expect([states, seqs, client.pending]).toEqual([["accepted", "stored"], [0], []]);
    expect(await handle.stored).toMatchObject({ conversation: "d:alice:bob", convSeq: 9, seq: 1, serverId: "s", sendTime: 5 });
    await pass(1_000);
    expect(ws.wire.all("ack").at(-1)?.cursor).toBe(1n);
  });

  test("unanswered sends go out again in order on the next session, and a delivery is their STORED", async () => {
    const { client, seqs } = makeClient();
    await pass(1);
    ws.wire.welcome(0);
    const handles = ["a", "b", "c"].map((content) => client.send({ receiverId: "bob", content }));
    ws.wire.says(receipt(handles[0]!.localId, ReceiptStatus.STORED, { seq: 1n, convSeq: 1n }));
    ws.wire.says(receipt(handles[1]!.localId, ReceiptStatus.ACCEPTED));
    client.setOnline(false);
    await pass(10_000);
    expect([ws.wires.length, client.status.state]).toEqual([1, "offline"]);
    client.setOnline(true);
    await pass(1);
    ws.wire.welcome(1);
    expect(ws.wire.all("send").map(({ msg }) => msg?.localId)).toEqual([handles[1]!.localId, handles[2]!.localId]);
    ws.wire.delivers(2, { sendId: "alice", localId: handles[1]!.localId });
    expect([handles.map(({ state }) => state), seqs]).toEqual([["stored", "stored", "sending"], []]);
  });

  test("an own delivery without a seq is stored nowhere: the send waits on", async () => {
    const { client, seqs } = makeClient();
    const handle = client.send({ receiverId: "bob", content: "hi" });
    await pass(1);
    ws.wire.welcome(0);
    ws.wire.delivers(0, { sendId: "alice", localId: handle.localId });
    expect([seqs, handle.state, client.pending]).toEqual([[0], "sending", [handle]]);
    ws.wire.delivers(1, { sendId: "alice", localId: handle.localId });
    expect([seqs, handle.state, client.pending]).toEqual([[0], "stored", []]);
  });

  test("a reload sends what was left, under the same ids", async () => {
    const first = makeClient({ user: "alice" });
    const handle = first.client.send({ receiverId: "bob", content: "left over" });
    await pass(0);
    first.client.close();
    await expect(handle.stored).rejects.toMatchObject({ code: "CLOSED" });
    const second = makeClient({ user: "alice" });
    expect(second.client.pending.map(({ localId }) => localId)).toEqual([handle.localId]);
    await pass(1);
    ws.wire.welcome(0);
    expect(ws.wire.all("send")).toMatchObject([{ msg: { localId: handle.localId } }]);
    ws.wire.says(receipt(handle.localId, ReceiptStatus.STORED, { seq: 1n }));
    await pass(0);
    second.client.close();
    expect(makeClient({ user: "alice" }).client.pending).toEqual([]);
  });

  test("a refusal is told", async () => {
    const { client } = makeClient();
    await pass(1);
    ws.wire.welcome(0);
    const handle = client.send({ receiverId: "bob", content: "x" });
    ws.wire.says(receipt(handle.localId, ReceiptStatus.REJECTED, { code: Code.PERMISSION_DENIED, message: "no" }));
    await expect(handle.accepted).rejects.toMatchObject({ code: "PERMISSION_DENIED", message: "no" });
    expect(handle.state).toBe("rejected");
  });

  test.each([
    [{ content: "x" }, "INVALID_ARGUMENT"],
    [{ receiverId: "a", groupId: "b", content: "x" }, "INVALID_ARGUMENT"],
    [{ receiverId: "no spaces", content: "x" }, "INVALID_ARGUMENT"],
    [{ receiverId: "bob", content: "x".repeat(65_537) }, "TOO_LARGE"],
  ])("what cannot be sent throws: %#", (outgoing, code) => {
    expect(() => makeClient().client.send(outgoing)).toThrow(expect.objectContaining({ code }));
  });
});

describe("endings", () => {
  test("GoAway: closed with its code, and back after the time it says", async () => {
    makeClient();
    await pass(1);
    ws.wire.welcome(0);
    ws.wire.says({ case: "goAway", value: { reason: CloseCode.DRAINING, retryAfterMs: 5_000n } });
    expect(ws.wire.closedWith).toBe(CloseCode.DRAINING);
    await pass(4_999);
    expect(ws.wires).toHaveLength(1);
    await pass(2);
    expect(ws.wires).toHaveLength(2);
  });

  test("GoAway with alternatives: they come first, then the own address; the next time the own address alone", async () => {
    ws = new FakeTransport("websocket");
    const { client } = makeClient({ endpoints: async () => ({ websocket: "wss://own/ws" }) });
    const next = async (): Promise<void> => void (await pass(600));
    await next();
    ws.opens();
    await next();
    ws.wire.welcome(0);
    const alternatives = ["b:1", "c:1"];
    ws.wire.says({ case: "goAway", value: { reason: CloseCode.DRAINING, retryAfterMs: 5_000n, alternatives } });
    await pass(4_000);
    expect(ws.wires).toHaveLength(1);
    await pass(1_001);
    // The first one refuses the connection, the second one is about to stop too, and names no other.
    ws.fails();
    await next();
    ws.opens();
    await next();
    ws.wire.says({ case: "goAway", value: { reason: CloseCode.DRAINING, retryAfterMs: 9_000n } });
    await next();
    ws.opens();
    await next();
    ws.wire.welcome(0);
    expect(client.status.state).toBe("connected");
    lose();
    await next();
    // Math.random is 0.5: of two the second one is drawn first.
    const hosts = ws.wires.map(({ endpoints }) => new URL(endpoints.websocket).host);
    expect(hosts).toEqual(["own", "c:1", "b:1", "own", "own"]);
    const attempts = ws.wires.flatMap((wire) => wire.all("hello").map(({ attempt }) => attempt));
    expect(attempts).toEqual([...new Set(attempts)].sort());
  });

  test("an alternative that refuses for good is the last", async () => {
    const { closed } = makeClient({ endpoints: async () => ({ websocket: "wss://own/ws" }) });
    await pass(1);
    ws.wire.welcome(0);
    ws.wire.says({ case: "goAway", value: { reason: CloseCode.DRAINING, retryAfterMs: 10n, alternatives: ["b:1"] } });
    await pass(12);
    ws.wire.says({ case: "error", value: { close: CloseCode.KICKED } });
    await pass(60_000);
    expect([closed, ws.wires.length]).toEqual([["KICKED"], 2]);
  });

  test("REPLACED is final, until the application connects again", async () => {
    const { client, closed } = makeClient();
    await pass(1);
    ws.wire.welcome(0);
    ws.wire.says({ case: "error", value: { message: "", close: CloseCode.REPLACED } });
    await pass(60_000);
    expect([closed, ws.wires.length, ws.wire.closedWith]).toEqual([["REPLACED"], 1, CloseCode.REPLACED]);
    client.connect();
    await pass(1);
    expect(ws.wires).toHaveLength(2);
  });

  test("UNAUTHENTICATED gets one new token, and no third", async () => {
    const { closed } = makeClient();
    for (const token of ["token 1", "token 2"]) {
      await pass(1);
      expect(ws.wire.all("hello")[0]?.token).toBe(token);
      ws.wire.says({ case: "error", value: { code: Code.UNAUTHENTICATED, close: CloseCode.UNAUTHENTICATED } });
    }
    await pass(60_000);
    expect([closed, ws.wires.length]).toEqual([["UNAUTHENTICATED"], 2]);
  });

  test("3 s of silence after a Ping is a dead connection", async () => {
    makeClient();
    await pass(1);
    ws.wire.welcome(0);
    expect(ws.wire.all("ping")).toHaveLength(1);
    await pass(2_999);
    expect(ws.wire.closedWith).toBeUndefined();
    await pass(2);
    expect(ws.wire.closedWith).toBe(CloseCode.NORMAL);
    await pass(300);
    expect(ws.wires).toHaveLength(2);
  });

  test("a Pong gives the round trip, and the next Ping comes after 5 s", async () => {
    const { client } = makeClient();
    await pass(1);
    ws.wire.welcome(0);
    await pass(20);
    ws.wire.says({ case: "pong", value: {} }, ws.wire.sent.find(({ kind }) => kind.case === "ping")?.id);
    expect(client.status.rttMs).toBe(20);
    await pass(4_979);
    expect(ws.wire.all("ping")).toHaveLength(1);
    await pass(1);
    expect(ws.wire.all("ping")).toHaveLength(2);
  });

  test("a token is renewed in the running session before it ends", async () => {
    const exp = Date.now() / 1000 + 100;
    makeClient({ token: async () => `x.${btoa(JSON.stringify({ sub: "alice", exp, n: ++tokens }))}.y` });
    await pass(1);
    ws.wire.welcome(0);
    ws.wire.events?.alive();
    for (let second = 0; second < 72; second++) {
      await pass(1_000);
      ws.wire.events?.alive();
    }
    expect([ws.wires.length, tokens, ws.wire.all("refresh").length]).toEqual([1, 2, 1]);
  });
});

describe("pull", () => {
  test("waits for a connection, survives its loss, and gives the page", async () => {
    const { client } = makeClient();
    const page = client.pull("d:alice:bob", { before: 0, limit: 50 });
    await pass(1);
    ws.wire.welcome(0);
    await pass(0);
    expect(ws.wire.all("pull")).toMatchObject([{ timeline: "d:alice:bob", from: { case: "before", value: 0n }, limit: 50n }]);
    lose();
    await pass(1_000);
    ws.wire.welcome(0);
    await pass(0);
    const id = ws.wire.sent.find(({ kind }) => kind.case === "pull")?.id;
    const entry = { seq: 3n, entry: { case: "msg" as const, value: { sendId: "bob", receiverId: "alice" } } };
    ws.wire.says({ case: "page", value: { entries: [entry, { seq: 4n }], head: 4n, floor: 1n, more: true } }, id);
    expect(await page).toMatchObject({ entries: [{ seq: 3, message: { sender: "bob" } }, { seq: 4, message: undefined }], head: 4, more: true });
  });

  test("a refusal is an error", async () => {
    const { client } = makeClient();
    await pass(1);
    ws.wire.welcome(0);
    const page = client.pull("d:x:y", { after: 0 }).catch((error: unknown) => error);
    await pass(0);
    const id = ws.wire.sent.find(({ kind }) => kind.case === "pull")?.id;
    ws.wire.says({ case: "error", value: { code: Code.PERMISSION_DENIED, id } });
    expect(await page).toMatchObject({ code: "PERMISSION_DENIED" });
  });
});
