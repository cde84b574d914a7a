// The protocol's numbers, seen from the wire: when a client sends again, pings, gives up a connection, and how much.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { makeClient, pass, receipt, ws } from "../tests/played";
import type { TidegateClient } from "./client";
import { Code, ReceiptStatus } from "./gen/tidegate/v1/client_pb";

let client: TidegateClient;
let seqs: number[];

afterEach(() => void vi.unstubAllGlobals());

async function connect(): Promise<void> {
  ({ client, seqs } = makeClient());
  await pass(1);
  ws.wire.welcome(0);
}

/** Time passes; the server answers each Ping at once. */
async function live(ms: number): Promise<void> {
  for (const end = Date.now() + ms; Date.now() < end; ) {
    await pass(Math.min(1_000, end - Date.now()));
    ws.wire.events?.alive();
  }
}

const says = (localId: string, status: ReceiptStatus, more = {}): void =>
  ws.wire.says(receipt(localId, status, more));
const sent = (): (string | undefined)[] => ws.wire.all("send").map(({ msg }) => msg?.localId);

describe("sending again", () => {
  test("30 s after ACCEPTED without STORED or REJECTED, in the same session, under the same id", async () => {
    await connect();
    const { localId } = client.send({ receiverId: "bob", content: "x" });
    await live(10_000);
    says(localId, ReceiptStatus.ACCEPTED);
    await live(29_999);
    expect(sent()).toEqual([localId]);
    await live(1);
    expect([sent(), ws.wires.length]).toEqual([[localId, localId], 1]);
    says(localId, ReceiptStatus.STORED, { seq: 1n });
    await live(60_000);
    expect(sent()).toHaveLength(2);
  });

  test("not after a REJECTED that is final, and after an UNAVAILABLE when its time has come", async () => {
    await connect();
    const [a, b] = ["a", "b"].map((content) => client.send({ receiverId: "bob", content }).localId) as [string, string];
    says(a, ReceiptStatus.ACCEPTED);
    says(a, ReceiptStatus.REJECTED, { code: Code.PERMISSION_DENIED });
    says(b, ReceiptStatus.REJECTED, { code: Code.UNAVAILABLE, retryAfterMs: 2_000n });
    await live(1_999);
    expect(sent()).toEqual([a, b]);
    await live(1);
    expect(sent()).toEqual([a, b, b]);
    says(b, ReceiptStatus.STORED, { seq: 1n });
    await live(60_000);
    expect(sent()).toHaveLength(3);
  });
});

test("64 sends are in flight; each ACCEPTED or refusal lets the next one go, in order", async () => {
  await connect();
  const all = Array.from({ length: 70 }, (_, n) => client.send({ receiverId: "bob", content: `${n}` }).localId);
  expect(sent()).toEqual(all.slice(0, 64));
  says(all[5] ?? "", ReceiptStatus.ACCEPTED);
  expect(sent()).toEqual(all.slice(0, 65));
  says(all[5] ?? "", ReceiptStatus.STORED, { seq: 1n });
  expect(sent()).toHaveLength(65);
  says(all[6] ?? "", ReceiptStatus.REJECTED, { code: Code.CONFLICT });
  says(all[7] ?? "", ReceiptStatus.STORED, { seq: 2n });
  expect(sent()).toEqual(all.slice(0, 67));
});

test("with 4,096 seqs above a hole the client reconnects from its cursor, and applies each once", async () => {
  await connect();
  const own = client.send({ receiverId: "bob", content: "own" });
  for (let seq = 2; seq <= 4_097; seq++) ws.wire.delivers(seq);
  expect(ws.wire.closedWith).toBeUndefined();
  // A receipt counts like a delivery, and without room for its seq it has to come again.
  says(own.localId, ReceiptStatus.STORED, { seq: 4_098n });
  expect(ws.wire.closedWith).toBeDefined();
  expect(own.state).toBe("sending");
  await pass(600);
  expect(ws.wires).toHaveLength(2);
  expect(ws.wire.all("hello")[0]?.start?.from).toMatchObject({ value: { epoch: "e", cursor: 0n } });
  ws.wire.welcome(0);
  for (let seq = 1; seq <= 4_097; seq++) ws.wire.delivers(seq);
  ws.wire.delivers(4_098, { sendId: "alice", localId: own.localId });
  expect([own.state, seqs.length, new Set(seqs).size]).toEqual(["stored", 4_097, 4_097]);
  await live(1_000);
  expect(ws.wire.all("ack").at(-1)?.cursor).toBe(4_098n);
});

describe("the heartbeat", () => {
  const page = new EventTarget() as EventTarget & { visibilityState: string };
  const network = new EventTarget();
  let opened: EventTarget;

  beforeEach(() => {
    page.visibilityState = "visible";
    opened = new EventTarget();
    vi.stubGlobal("window", opened);
    vi.stubGlobal("document", page);
    vi.stubGlobal("navigator", { connection: network });
  });

  const pings = (): number => ws.wire.all("ping").length;
  const turn = (visibilityState: string): void => {
    page.visibilityState = visibilityState;
    page.dispatchEvent(new Event("visibilitychange"));
    ws.wire.events?.alive();
  };

  test("is 5 s while the page is visible and 25 s while it is not", async () => {
    await connect();
    const first = pings();
    ws.wire.events?.alive();
    await live(15_000);
    expect(pings()).toBe(first + 3);
    turn("hidden");
    const hidden = pings();
    await live(24_000);
    expect(pings()).toBe(hidden);
    await live(26_000);
    expect(pings()).toBe(hidden + 2);
    turn("visible");
    const visible = pings();
    await live(10_000);
    expect(pings()).toBe(visible + 2);
  });

  test("comes at once when the page or the network changes", async () => {
    await connect();
    ws.wire.events?.alive();
    for (const [target, name] of [[opened, "online"], [opened, "pageshow"], [page, "visibilitychange"], [network, "change"]] as const) {
      const before = pings();
      target.dispatchEvent(new Event(name));
      expect([name, pings()]).toEqual([name, before + 1]);
    }
  });

  test("3 s of silence after such a Ping end the session, and the next one begins", async () => {
    await connect();
    ws.wire.events?.alive();
    await pass(1_000);
    network.dispatchEvent(new Event("change"));
    await pass(2_999);
    expect(ws.wire.closedWith).toBeUndefined();
    await pass(1);
    expect(ws.wire.closedWith).toBeDefined();
    await pass(500);
    expect(ws.wires).toHaveLength(2);
  });
});
