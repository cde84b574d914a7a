import { describe, expect, test } from "vitest";
import { Inbox } from "./inbox";
import { MAX_APPLIED_ABOVE_CURSOR } from "./limits";

function at(epoch: string, cursor: number): Inbox {
  return Inbox.from({ epoch, cursor, above: [] });
}

describe("entries", () => {
  test("each is new once, in any order", () => {
    const inbox = at("e", 10);
    expect([12, 11, 12, 11, 13, 10, 15].map((seq) => inbox.apply(seq))).toEqual(["new", "new", "seen", "seen", "new", "seen", "new"]);
    expect(inbox.snapshot()).toEqual({ epoch: "e", cursor: 13, above: [[15, 15]] });
  });

  test("random orders with repeats end dense, and each seq was new exactly once", () => {
    let state = 7;
    const random = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
    for (let round = 0; round < 50; round++) {
      let inbox = at("e", 0);
      const counts = new Map<number, number>();
      const seqs = Array.from({ length: 200 }, (_, index) => index + 1).flatMap((seq) => (random() < 0.3 ? [seq, seq] : [seq]));
      for (const seq of seqs.sort(() => random() - 0.5)) {
        if (inbox.apply(seq) === "new") counts.set(seq, (counts.get(seq) ?? 0) + 1);
        if (random() < 0.1) inbox = Inbox.from(JSON.parse(JSON.stringify(inbox.snapshot())));
      }
      expect(inbox.snapshot()).toEqual({ epoch: "e", cursor: 200, above: [] });
      expect([...counts.values()].every((count) => count === 1) && counts.size === 200).toBe(true);
    }
  });

  test("too many above a hole: the client has to reconnect, and loses nothing", () => {
    const inbox = at("e", 0);
    for (let seq = 2; seq < 2 + MAX_APPLIED_ABOVE_CURSOR; seq++) expect(inbox.apply(seq)).toBe("new");
    expect(inbox.apply(9_999)).toBe("full");
    expect(inbox.welcome("e", 0)).toBe("resumed");
    expect(inbox.apply(1)).toBe("new");
    expect(inbox.cursor).toBe(1 + MAX_APPLIED_ABOVE_CURSOR);
    expect(inbox.apply(9_999)).toBe("new");
  });
});

describe("Welcome", () => {
  test("the first one gives epoch and start", () => {
    const inbox = new Inbox();
    expect(inbox.isKnown).toBe(false);
    expect(inbox.welcome("e", 40)).toBe("resumed");
    expect([inbox.isKnown, inbox.epoch, inbox.cursor]).toEqual([true, "e", 40]);
  });

  test("a resume keeps what is above the cursor", () => {
    const inbox = at("e", 5);
    inbox.apply(7);
    expect(inbox.welcome("e", 5)).toBe("resumed");
    expect(inbox.apply(7)).toBe("seen");
  });

  test("another epoch, or a start before the cursor, makes the seqs void", () => {
    for (const [epoch, start] of [["f", 5], ["e", 0]] as const) {
      const inbox = at("e", 5);
      inbox.apply(7);
      expect(inbox.welcome(epoch, start)).toBe("reset");
      expect(inbox.snapshot()).toEqual({ epoch, cursor: start, above: [] });
    }
  });
});

test("history that is gone moves the cursor to before the floor", () => {
  const inbox = at("e", 5);
  for (const seq of [9, 12]) inbox.apply(seq);
  inbox.skipTo(9);
  expect(inbox.snapshot()).toEqual({ epoch: "e", cursor: 9, above: [[12, 12]] });
  inbox.skipTo(3);
  expect(inbox.cursor).toBe(9);
});
