import { expect, test } from "vitest";
import { Place } from "./place";

const news = (place: Place, ...seqs: number[]): number[] => seqs.filter((seq) => place.apply(seq));

function opened(after: number | undefined, head: number, floor = 1): Place {
  const place = new Place(after, undefined);
  place.begin("e");
  place.opened("e", head, floor);
  return place;
}

test("without a position it begins at the head; what came before is of an earlier subscription", () => {
  const place = new Place(undefined, undefined);
  place.begin("e");
  expect([news(place, 4, 5, 6, 0), place.position]).toEqual([[], undefined]);
  expect(place.opened("e", 6, 1)).toBe(false);
  expect([news(place, 6, 7), place.position, place.epoch]).toEqual([[7], 7, "e"]);
});

test("each entry once; what is stored nowhere always", () => {
  const place = opened(2, 9);
  expect([news(place, 2, 3, 3, 0, 4, 0, 3, 5), place.position]).toEqual([[3, 0, 4, 0, 5], 5]);
});

test("what is gone is skipped, and never goes back", () => {
  const place = opened(2, 20);
  expect([place.skipTo(10), news(place, 9, 10)]).toEqual([true, [10]]);
  place.skipTo(5);
  expect(news(place, 10, 11)).toEqual([11]);
});

test("beyond the head is of another life: from the floor", () => {
  const place = new Place(99, undefined);
  place.begin("e");
  expect([place.opened("e", 5, 3), place.position]).toEqual([true, 2]);
  expect(news(place, 3)).toEqual([3]);
});

test("a session goes on where the last one was; another epoch begins again", () => {
  const place = opened(undefined, 5);
  expect(news(place, 6)).toEqual([6]);
  expect([place.begin("e"), place.position, news(place, 7)]).toEqual([false, 6, []]);
  expect([place.opened("e", 8, 1), news(place, 6, 7)]).toEqual([false, [7]]);
  expect([place.begin("f"), place.position]).toEqual([true, 0]);
  expect([place.opened("f", 1, 1), place.epoch]).toEqual([false, "f"]);
  expect(news(place, 1)).toEqual([1]);
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
  expect([news(place, 6), place.opened("e", 4, 1), place.opened("e", 9, 1), place.position]).toEqual([[6], false, false, 6]);
});

test("gone history of an earlier subscription is nobody's", () => {
  const place = new Place(2, undefined);
  place.begin("e");
  expect([place.skipTo(9), place.position]).toEqual([false, 2]);
});
