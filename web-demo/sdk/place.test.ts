import { expect, test } from "vitest";
import { MAX_HELD } from "./limits";
import { Place } from "./place";

const take = (place: Place, ...seqs: number[]): boolean[] => seqs.map((seq) => place.take({ seq, message: undefined }));

function rest(place: Place): number[] {
  const seqs = [];
  for (let entry = place.next(); entry; entry = place.next()) seqs.push(entry.seq);
  return seqs;
}

function opened(after: number | undefined, head: number, floor = 1): Place {
  const place = new Place(after, undefined);
  place.begin("e");
  place.opened("e", head, floor);
  return place;
}

test("without a position it begins at the head, whatever comes before the server has said where that is", () => {
  const place = new Place(undefined, undefined);
  place.begin("e");
  take(place, 4, 5, 6);
  expect([rest(place), place.position]).toEqual([[], undefined]);
  expect(place.opened("e", 5, 1)).toBe(false);
  expect([rest(place), place.position, place.epoch]).toEqual([[6], 6, "e"]);
});

test("each entry once and in order; what is ahead waits", () => {
  const place = opened(2, 9);
  const out: number[] = [];
  for (const seq of [6, 3, 3, 4, 2, 5, 6, 7]) {
    take(place, seq);
    out.push(...rest(place));
  }
  expect([out, place.position]).toEqual([[3, 4, 5, 6, 7], 7]);
});

test("what is gone is skipped, and never goes back", () => {
  const place = opened(2, 20);
  take(place, 10, 11);
  expect([rest(place), place.skipTo(10)]).toEqual([[], true]);
  expect(rest(place)).toEqual([10, 11]);
  place.skipTo(5);
  take(place, 11, 12);
  expect([rest(place), place.position]).toEqual([[12], 12]);
});

test("beyond the head is of another life: from the floor", () => {
  const place = new Place(99, undefined);
  place.begin("e");
  take(place, 3);
  expect([place.opened("e", 5, 3), place.position]).toEqual([true, 2]);
  expect(rest(place)).toEqual([3]);
});

test("a session goes on where the last one was; another epoch begins again", () => {
  const place = opened(undefined, 5);
  take(place, 6, 8);
  expect(rest(place)).toEqual([6]);
  expect([place.begin("e"), place.position]).toEqual([false, 6]);
  expect([place.opened("e", 8, 1), rest(place)]).toEqual([false, []]);
  expect([place.begin("f"), place.position]).toEqual([true, 0]);
  expect([place.opened("f", 1, 1), place.epoch]).toEqual([false, "f"]);
  take(place, 1);
  expect(rest(place)).toEqual([1]);
});

test.each([
  ["e", 7, false],
  ["d", 0, true],
  [undefined, 7, false],
])("a position of epoch %s under epoch e", (epoch, position, isReset) => {
  const place = new Place(7, epoch);
  expect([place.begin("e"), place.position]).toEqual([isReset, position]);
});

test("a second answer of a session changes nothing", () => {
  const place = opened(undefined, 5);
  take(place, 6);
  expect([rest(place), place.opened("e", 4, 1), place.opened("e", 9, 1), place.position]).toEqual([[6], false, false, 6]);
});

test("gone history of an earlier subscription is nobody's", () => {
  const place = new Place(2, undefined);
  place.begin("e");
  expect([place.skipTo(9), place.position]).toEqual([false, 2]);
});

test("so much waits above a hole, and no more", () => {
  const place = opened(0, 1);
  const seqs = Array.from({ length: MAX_HELD }, (_, index) => index + 2);
  expect(take(place, ...seqs).every(Boolean)).toBe(true);
  expect(take(place, MAX_HELD + 2)).toEqual([false]);
});
