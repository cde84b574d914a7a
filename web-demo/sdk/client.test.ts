// The whole client against a server that the test plays: how sessions begin and end, and pulls.

import { describe, expect, test } from "vitest";
import { FakeTransport } from "../tests/fakes";
import { clients, lose, makeClient, nextToken, opensByHand, pass, tokens, ws } from "../tests/played";
import { CloseCode, Code } from "./gen/tidegate/v1/client_pb";

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
    opensByHand();
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
    makeClient({ token: async () => `x.${btoa(JSON.stringify({ sub: "alice", exp, n: nextToken() }))}.y` });
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
