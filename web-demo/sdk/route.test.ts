import { describe, expect, test } from "vitest";
import { Route } from "./route";

const OWN = { webtransport: "https://a.example:4433/wt", websocket: "wss://a.example/ws", certSha256: "x" };
const first = (): number => 0;

/** The hosts of a round, in order. */
function hosts(route: Route, random = first): string[] {
  return route.round(OWN, random).map(({ websocket }) => new URL(websocket).host);
}

test("alternatives come first and once, under the same paths, and the own address last", () => {
  const route = new Route();
  expect(route.round(OWN, first)).toEqual([OWN]);
  route.note(["b.example:4433"]);
  expect(route.round(OWN, first)).toEqual([
    { webtransport: "https://b.example:4433/wt", websocket: "wss://b.example:4433/ws", certSha256: "x" },
    OWN,
  ]);
  expect(route.round(OWN, first)).toEqual([OWN]);
});

test("a page on a plain local address goes to the others over TLS, and without WebTransport where it has none", () => {
  const route = new Route();
  const own = { websocket: "ws://localhost:8080/ws" };
  route.note(["[::1]:4433"]);
  expect(route.round(own, first)).toEqual([{ websocket: "wss://[::1]:4433/ws" }, own]);
});

test("a farewell without alternatives leaves those of an earlier one", () => {
  const route = new Route();
  route.note(["b:1"]);
  route.note([]);
  route.note(undefined);
  expect(hosts(route)).toEqual(["b:1", "a.example"]);
});

describe("spreading", () => {
  const named = ["b:1", "c:1", "d:1", "e:1", "f:1"];

  test("a few of many are tried, each once", () => {
    const route = new Route();
    route.note([...named, ...named]);
    expect(hosts(route, () => 0.999)).toEqual(["f:1", "e:1", "d:1", "a.example"]);
  });

  test("over many clients each alternative is the first one for its share", () => {
    let state = 7;
    const random = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
    const counts = new Map<string | undefined, number>();
    for (let client = 0; client < 1_000; client++) {
      const route = new Route();
      route.note(named);
      const [to] = hosts(route, random);
      counts.set(to, (counts.get(to) ?? 0) + 1);
    }
    expect([...counts.keys()].sort()).toEqual(named);
    for (const count of counts.values()) expect(count).toBeGreaterThan(120);
  });
});

test.each(["", "b", "b:", "b:x", "user@b:1", "b:1/path", "b:1?x", "http://b:1", "b:99999", "a b:1", "[::zz]:1", "::1:1"])(
  "what is no address is not followed: %j",
  (address) => {
    const route = new Route();
    route.note([address]);
    expect(route.round(OWN, first)).toEqual([OWN]);
  },
);
