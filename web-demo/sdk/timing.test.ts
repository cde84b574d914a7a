// What is decided by time alone: acknowledgements, heartbeat, backoff, endings, tokens, ids.

import { describe, expect, test } from "vitest";
import { Acks } from "./acks";
import { backoffMs, RECONNECT } from "./backoff";
import { nextAfter } from "./ending";
import { CloseCode } from "./gen/tidegate/v1/client_pb";
import { Heartbeat } from "./heartbeat";
import { DeviceState, memoryStore } from "./state";
import { claimsOf, renewAt, TokenSource } from "./token";
import { uuidV7 } from "./uuid";

describe("acknowledgements", () => {
  test("after a second", () => {
    const acks = new Acks(10);
    acks.moved(11, 1_000);
    acks.moved(12, 1_900);
    expect([acks.isDue(12, 1_999), acks.dueAt, acks.isDue(12, 2_000)]).toEqual([false, 2_000, true]);
    acks.sent(12);
    expect([acks.dueAt, acks.isBehind(12), acks.isDue(12, 9_999)]).toEqual([undefined, false, false]);
  });

  test("after 64 messages", () => {
    const acks = new Acks(0);
    acks.moved(63, 0);
    expect(acks.isDue(63, 0)).toBe(false);
    expect(acks.isDue(64, 0)).toBe(true);
  });
});

describe("heartbeat", () => {
  test("pings at its interval, and takes 3 s of silence for death", () => {
    const heartbeat = new Heartbeat(5_000, 0);
    expect([heartbeat.check(4_999), heartbeat.check(5_000)]).toEqual(["wait", "ping"]);
    heartbeat.pinged(5_000);
    expect([heartbeat.nextAt, heartbeat.check(7_999), heartbeat.check(8_000)]).toEqual([8_000, "wait", "dead"]);
  });

  test("whatever arrives is a sign of life", () => {
    const heartbeat = new Heartbeat(5_000, 0);
    heartbeat.pinged(5_000);
    heartbeat.heard();
    expect([heartbeat.check(8_000), heartbeat.nextAt]).toEqual(["wait", 10_000]);
  });

  test("a check that comes late gives the connection one more chance", () => {
    const heartbeat = new Heartbeat(5_000, 0);
    heartbeat.pinged(5_000);
    expect(heartbeat.check(60_000)).toBe("ping");
    heartbeat.pinged(60_000);
    expect(heartbeat.check(63_000)).toBe("dead");
    const woken = new Heartbeat(5_000, 0);
    woken.pinged(0);
    expect(woken.check(60_000)).toBe("ping");
    woken.pinged(60_000);
    expect(woken.check(120_000)).toBe("dead");
  });

  test("a page that becomes visible pings sooner", () => {
    const heartbeat = new Heartbeat(25_000, 0);
    heartbeat.setInterval(5_000, 1_000);
    expect(heartbeat.nextAt).toBe(6_000);
  });
});

test("backoff doubles up to its cap, with full jitter", () => {
  expect([0, 1, 2, 3, 10, 1_000].map((failures) => backoffMs(RECONNECT, failures, 0.999_999))).toEqual([500, 1_000, 2_000, 4_000, 15_000, 15_000]);
  expect(backoffMs(RECONNECT, 5, 0)).toBe(0);
});

describe("what follows an ending", () => {
  const retry = (delayMs: number, withNewToken = false): object => ({ action: "retry", delayMs, withNewToken });

  test.each([
    ["a lost connection", { reason: "" }, retry(250)],
    ["DRAINING with a time", { code: CloseCode.DRAINING, reason: "", retryAfterMs: 1_234 }, retry(1_234)],
    ["SLOW", { code: CloseCode.SLOW, reason: "" }, retry(250)],
    ["REPLACED", { code: CloseCode.REPLACED, reason: "" }, { action: "stop" }],
    ["KICKED", { code: CloseCode.KICKED, reason: "", retryAfterMs: 5 }, { action: "stop" }],
    ["LIMIT", { code: CloseCode.LIMIT, reason: "" }, { action: "stop" }],
    ["UNAUTHENTICATED", { code: CloseCode.UNAUTHENTICATED, reason: "" }, retry(0, true)],
  ])("%s", (_, ending, next) => expect(nextAfter(ending, 0, false, 0.5)).toEqual(next));

  test("a second token that is refused is the last", () => {
    expect(nextAfter({ code: CloseCode.UNAUTHENTICATED, reason: "" }, 0, true, 0.5)).toEqual({ action: "stop" });
  });
});

describe("tokens", () => {
  const token = (claims: object): string => `x.${btoa(JSON.stringify(claims)).replace(/=/g, "")}.y`;

  test("claims are read from a JWT, and nothing from anything else", () => {
    expect(claimsOf(token({ sub: "alice", exp: 100 }))).toEqual({ sub: "alice", expiresAt: 100_000 });
    for (const text of ["", "opaque", "a.b.c", token({}), `x.${btoa("null")}.y`]) expect(claimsOf(text).sub).toBeUndefined();
  });

  test("it is renewed at 80 % of its life, at least 30 s before its end", () => {
    expect(renewAt(3_600_000, 0)).toBe(2_880_000);
    expect(renewAt(60_000, 0)).toBe(30_000);
    expect(renewAt(1_000, 0)).toBe(5_000);
    expect(renewAt(undefined, 0)).toBeUndefined();
  });

  test("it is kept while it is good, by the server's clock", async () => {
    let fetched = 0;
    const source = new TokenSource(async () => token({ exp: 3_600, n: ++fetched }));
    await source.current(0);
    await source.current(2_000_000);
    expect(fetched).toBe(1);
    await source.current(2_880_000);
    expect(fetched).toBe(2);
    const opaque = new TokenSource(async () => `opaque ${++fetched}`);
    expect([await opaque.current(0), await opaque.current(1)]).toEqual(["opaque 3", "opaque 4"]);
  });
});

test("UUIDv7 is well formed and grows, within a millisecond and when the clock goes back", () => {
  const drawn = Array.from({ length: 10_000 }, (_, index) => uuidV7(1_700_000_000_000 - (index % 3)));
  expect(drawn.every((id) => /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(id))).toBe(true);
  expect(drawn).toEqual([...new Set(drawn)].sort());
});

describe("what a device keeps", () => {
  test("the attempt grows, also when the clock goes back, and over page loads", () => {
    const store = memoryStore();
    expect([1_000, 900, 2_000].map((now) => new DeviceState(store, "d").nextAttempt(now))).toEqual([1_000, 1_001, 2_000]);
  });

  test("damaged state is no state", () => {
    const store = memoryStore();
    const state = new DeviceState(store, "d");
    state.setUser("alice");
    store.setItem("tidegate:d:inbox:alice", '{"epoch":1}');
    store.setItem("tidegate:d:pending:alice", '["!!", 3, "CgE="]');
    store.setItem("tidegate:d:attempt", "x");
    expect([state.loadInbox(), state.loadPending(), state.nextAttempt(5)]).toEqual([undefined, [], 5]);
  });
});
