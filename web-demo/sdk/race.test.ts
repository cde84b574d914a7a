import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeTransport } from "../tests/fakes";
import { openFirst, type Winner } from "./race";

const ENDPOINTS = { websocket: "ws://x" };
let wt: FakeTransport;
let ws: FakeTransport;
let abort: AbortController;
let outcome: Winner | Error | undefined;

beforeEach(() => {
  vi.useFakeTimers();
  wt = new FakeTransport("webtransport");
  ws = new FakeTransport("websocket");
  abort = new AbortController();
  outcome = undefined;
});
afterEach(() => vi.useRealTimers());

function race(): void {
  openFirst([wt, ws], ENDPOINTS, abort.signal).then(
    (winner) => (outcome = winner),
    (error: Error) => (outcome = error),
  );
}

test("WebTransport alone, when it opens within its head start", async () => {
  race();
  await vi.advanceTimersByTimeAsync(499);
  wt.opens();
  await vi.advanceTimersByTimeAsync(5_000);
  expect(outcome).toMatchObject({ wire: wt.wire });
  expect(ws.wires).toHaveLength(0);
});

test("WebSocket starts after 500 ms; who opens first wins, the other is closed without a word", async () => {
  race();
  await vi.advanceTimersByTimeAsync(500);
  ws.opens();
  await vi.advanceTimersByTimeAsync(1);
  expect(outcome).toMatchObject({ wire: ws.wire });
  wt.opens();
  await vi.advanceTimersByTimeAsync(1);
  expect(wt.wire.closedWith).toBe(4100);
  expect([wt.wire.sent, ws.wire.sent, ws.wire.closedWith]).toEqual([[], [], undefined]);
});

test("WebSocket starts at the failure of WebTransport", async () => {
  race();
  wt.fails();
  await vi.advanceTimersByTimeAsync(0);
  expect(ws.wires).toHaveLength(1);
  ws.opens();
  await vi.advanceTimersByTimeAsync(0);
  expect(outcome).toMatchObject({ wire: ws.wire });
});

test("all failed, none in time, or aborted: no winner, and what opens late is closed", async () => {
  race();
  wt.fails();
  await vi.advanceTimersByTimeAsync(0);
  ws.fails();
  await vi.advanceTimersByTimeAsync(0);
  expect(String(outcome)).toContain("webtransport: refused; websocket: refused");

  race();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(String(outcome)).toContain("in time");
  ws.opens();
  await vi.advanceTimersByTimeAsync(0);
  expect(ws.wire.closedWith).toBe(4100);

  race();
  abort.abort();
  await vi.advanceTimersByTimeAsync(0);
  expect(String(outcome)).toContain("aborted");
});
