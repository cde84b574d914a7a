import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { Code, ReceiptSchema, ReceiptStatus, type Receipt } from "./gen/tidegate/v1/client_pb";
import { MsgSchema, type Msg } from "./gen/tidegate/v1/message_pb";
import { MAX_IN_FLIGHT, RESEND_AFTER_MS } from "./limits";
import { Pending } from "./pending";

const msg = (localId: string): Msg => create(MsgSchema, { localId });
const ids = (messages: Msg[]): string[] => messages.map(({ localId }) => localId);
const receipt = (localId: string, status: ReceiptStatus, more: { code?: Code; retryAfterMs?: bigint } = {}): Receipt =>
  create(ReceiptSchema, { localId, status, ...more });

function pending(...localIds: string[]): Pending {
  const all = new Pending();
  for (const localId of localIds) all.add(msg(localId));
  return all;
}

test("each is written once, and forgotten when it is stored", () => {
  const all = pending("a", "b");
  expect(ids(all.due(0))).toEqual(["a", "b"]);
  expect(all.due(1)).toEqual([]);
  expect(all.receipt(receipt("a", ReceiptStatus.ACCEPTED), 2, 0)).toBe("accepted");
  expect(all.receipt(receipt("a", ReceiptStatus.STORED), 3, 0)).toBe("stored");
  expect(all.receipt(receipt("a", ReceiptStatus.ACCEPTED), 4, 0)).toBeUndefined();
  expect(ids(all.messages())).toEqual(["b"]);
});

test("STORED without ACCEPTED, and a delivery of the own message, both end it", () => {
  const all = pending("a", "b");
  all.due(0);
  expect(all.receipt(receipt("a", ReceiptStatus.STORED), 1, 0)).toBe("stored");
  expect(all.delivered("b")).toBe(true);
  expect(all.delivered("b")).toBe(false);
  expect(all.size).toBe(0);
});

test("a new session writes all that is unanswered again, in order, the accepted ones too", () => {
  const all = pending("a", "b", "c");
  all.due(0);
  all.receipt(receipt("b", ReceiptStatus.ACCEPTED), 1, 0);
  all.receipt(receipt("a", ReceiptStatus.STORED), 1, 0);
  all.add(msg("d"));
  all.newSession(0);
  expect(ids(all.due(2))).toEqual(["b", "c", "d"]);
});

describe("in flight", () => {
  test("at most 64, or fewer where the server says so", () => {
    const many = Array.from({ length: 200 }, (_, index) => `m${index}`);
    const all = pending(...many);
    expect(all.due(0)).toHaveLength(MAX_IN_FLIGHT);
    expect(all.due(0)).toEqual([]);
    all.receipt(receipt("m3", ReceiptStatus.ACCEPTED), 1, 0);
    all.receipt(receipt("m9", ReceiptStatus.REJECTED, { code: Code.CONFLICT }), 1, 0);
    expect(ids(all.due(2))).toEqual(["m64", "m65"]);
    all.newSession(10);
    expect(all.due(3)).toHaveLength(10);
    all.newSession(1_000);
    expect(all.due(4)).toHaveLength(MAX_IN_FLIGHT);
  });
});

describe("refusals", () => {
  test("a final one ends it", () => {
    const all = pending("a");
    all.due(0);
    expect(all.receipt(receipt("a", ReceiptStatus.REJECTED, { code: Code.PERMISSION_DENIED }), 1, 0)).toBe("rejected");
    expect(all.size).toBe(0);
  });

  test.each([Code.UNAVAILABLE, Code.RATE_LIMITED])("code %i is tried again after the time it says; later ones wait", (code) => {
    const all = pending("a");
    all.due(0);
    expect(all.receipt(receipt("a", ReceiptStatus.REJECTED, { code, retryAfterMs: 700n }), 100, 0)).toBe("retry");
    all.add(msg("b"));
    expect(all.due(799)).toEqual([]);
    expect(all.nextDueAt()).toBe(800);
    expect(ids(all.due(800))).toEqual(["a", "b"]);
  });

  test("without a time it backs off with jitter", () => {
    const all = pending("a");
    for (const wait of [250, 500, 1_000]) {
      all.newSession(0);
      all.due(0);
      all.receipt(receipt("a", ReceiptStatus.REJECTED, { code: Code.UNAVAILABLE }), 0, 0.5);
      expect(all.nextDueAt()).toBe(wait);
    }
  });
});

test("silence for 30 s after ACCEPTED, or after the write, sends again", () => {
  const all = pending("a", "b");
  all.due(0);
  all.receipt(receipt("b", ReceiptStatus.ACCEPTED), 5_000, 0);
  expect(all.nextDueAt()).toBe(RESEND_AFTER_MS);
  expect(ids(all.due(RESEND_AFTER_MS))).toEqual(["a"]);
  expect(ids(all.due(5_000 + RESEND_AFTER_MS))).toEqual(["b"]);
});
