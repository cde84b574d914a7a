// A network that comes and goes, and a server that dies, stops, or sends its clients elsewhere.

import { create, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { delimit } from "../../sdk/framing";
import { CloseCode, ServerFrameSchema } from "../../sdk/gen/tidegate/v1/client_pb";
import { chat, expectSame } from "./check";
import { udpNowhere } from "./server";
import { Stage } from "./stage";

const stage = Stage.use();

test("a server that is killed and started again between messages loses and doubles nothing", async () => {
  stage.expectFailingConnections();
  const [alice, bob] = await stage.pair();
  const texts = [];
  for (let round = 0; round < 5; round++) {
    for (const when of ["before", "during"]) {
      if (when === "during") await stage.server.kill();
      await alice.say(`${when} ${round} from alice`);
      await bob.say(`${when} ${round} from bob`);
      texts.push(`${when} ${round} from alice`, `${when} ${round} from bob`);
    }
    await stage.server.run();
    for (const tab of [alice, bob]) await tab.wake();
    await expectSame([alice, bob], texts);
  }
});

test("a server that is stopped sends its clients away, and they come back with everything", async () => {
  stage.expectFailingConnections();
  const [alice, bob] = await stage.pair();
  const texts = await chat(alice, bob, "before");
  const stopped = stage.server.terminate();
  await alice.say("while it stops");
  texts.push("while it stops");
  expect(await stopped).toBe(0);
  await stage.server.run();
  texts.push(...(await chat(alice, bob, "after")));
  await expectSame([alice, bob], texts);
});

test("a server that is stopped in the middle of a flood: what was written arrives, once and in order", async () => {
  stage.expectFailingConnections();
  const [alice, bob] = await stage.pair();
  const connections = [await alice.recordConnection(), await bob.recordConnection()];
  const [fromAlice, fromBob] = ["alice", "bob"].map((name) => Array.from({ length: 240 }, (_, n) => `${name} ${n}`)) as [string[], string[]];
  const flood = Promise.all([alice.sayAll(fromAlice, FLOOD), bob.sayAll(fromBob, FLOOD)]);
  for (const tab of [alice, bob]) await tab.hasStored(20);
  expect(await stage.server.terminate()).toBe(0);
  await flood;
  await stage.server.run();
  for (const tab of [alice, bob]) await tab.wake();
  await expectSame([alice, bob], [...fromAlice, ...fromBob]);
  for (const [tab, own] of [[alice, fromAlice], [bob, fromBob]] as const) {
    const shown = (await tab.shown()).filter(({ isOwn }) => isOwn).map(({ text }) => text);
    expect(shown).toEqual(own);
  }
  for (const states of connections) expect(await states()).toContainEqual(expect.stringMatching(/^waiting: the gateway is stopping$/));
});

test("a server that goes away names another one, and the page goes there", async () => {
  stage.expectFailingConnections();
  const nowhere = await udpNowhere("closed");
  const { server, context } = stage;
  await context.route("**/demo/connect", async (route) => {
    const answer = (await (await route.fetch()).json()) as object;
    await route.fulfill({ json: { ...answer, webtransport: `https://127.0.0.1:${nowhere.port}/wt` } });
  });
  // A relay plays the first server: it hands everything on, and in the end says that it stops. The other one is the
  // program itself, where WebTransport works.
  const farewells: (() => void)[] = [];
  const kind = { case: "goAway" as const, value: { reason: CloseCode.DRAINING, retryAfterMs: 50n, alternatives: [server.quicAddress] } };
  const farewell = Buffer.from(delimit(toBinary(ServerFrameSchema, create(ServerFrameSchema, { kind }))));
  await context.routeWebSocket(/\/ws$/, (page) => {
    page.connectToServer();
    farewells.push(() => page.send(farewell));
  });
  const [alice, bob] = await stage.pair();
  for (const tab of [alice, bob]) await tab.isConnected("websocket");
  const texts = await chat(alice, bob, "before");
  for (const say of farewells) say();
  for (const tab of [alice, bob]) await tab.isConnected("webtransport");
  texts.push(...(await chat(alice, bob, "after")));
  await expectSame([alice, bob], texts);
});

test("100 network cuts of random length while messages flow lose and double nothing", async () => {
  const [alice, bob] = await stage.pair();
  const messages = [await alice.recordMessages(), await bob.recordMessages()];
  const random = randomFrom(20_260_401);
  const texts = [];
  for (let cut = 0; cut < 100; cut++) {
    const victim = random() < 0.5 ? alice : bob;
    await victim.set("network", false);
    for (const [name, tab] of Object.entries({ alice, bob })) {
      if (random() < 0.3) continue;
      await tab.say(`${cut} from ${name}`);
      texts.push(`${cut} from ${name}`);
    }
    await victim.page.waitForTimeout(random() * 120);
    await victim.set("network", true);
    await victim.page.waitForTimeout(random() * 250);
  }
  await expectSame([alice, bob], texts);
  for (const states of messages) {
    const all = await states();
    expect(all).toHaveLength(texts.length);
    for (const one of all) expect(one).toMatch(/^(sending( accepted)? stored|received)$/);
  }
});

/** So many texts at once, and so long between two such bursts: the server has some at hand whenever it stops. */
const FLOOD = { burst: 12, pauseMs: 50 };

/** Mulberry32: the same cuts each time. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
