// What the whole client does about channels.

import { describe, expect, test } from "vitest";
import { lose, makeClient, pass, receipt, ws } from "../tests/played";
import type { TidegateClient } from "./client";
import { Code, ReceiptStatus } from "./gen/tidegate/v1/client_pb";
import type { SubscribeOptions, Subscription } from "./subscription";

/** What a subscription has told, as texts. */
function told(subscription: Subscription): string[] {
  const all: string[] = [];
  subscription.on("message", ({ seq, sender }) => all.push(`${seq} ${sender}`));
  subscription.on("gone", ({ seq }) => all.push(`${seq} gone`));
  subscription.on("historyGone", ({ floor }) => all.push(`floor ${floor}`));
  subscription.on("subscribed", ({ head, floor, count, isReset }) => all.push(`${isReset ? "reset" : "open"} ${floor}-${head} ${count}`));
  subscription.on("ended", ({ code, message }) => all.push(`${code} ${message}`));
  return all;
}

async function connect(): Promise<TidegateClient> {
  const { client } = makeClient();
  await pass(1);
  ws.wire.welcome(0);
  return client;
}

/** A live subscription and what it tells from now on. */
async function live(head: number, options?: SubscribeOptions): Promise<{ client: TidegateClient; news: Subscription; all: string[] }> {
  const client = await connect();
  const news = client.subscribe("news", options);
  ws.wire.subscribed("news", head);
  return { client, news, all: told(news) };
}

async function reconnect(epoch = "e"): Promise<void> {
  lose();
  await pass(1_000);
  ws.wire.welcome(0, { epoch });
}

const afters = (): (bigint | undefined)[] => ws.wire.all("subscribe").map(({ after }) => after);
const refuse = (code: Code, more = {}): void => ws.wire.says({ case: "error", value: { code, message: "no", ...more } }, ws.wire.idOf("news"));

describe("subscribing", () => {
  test("waits for a connection, and then everything comes in order", async () => {
    const { client, seqs } = makeClient();
    const news = client.subscribe("news");
    const all = told(news);
    expect([news.channel, news.state, news.position]).toEqual(["news", "subscribing", undefined]);
    await pass(1);
    ws.wire.welcome(0);
    expect([ws.wire.all("subscribe").map(({ channel }) => channel), afters()]).toEqual([["news"], [undefined]]);
    ws.wire.subscribed("news", 5, { floor: 2, count: 3 });
    await news.ready;
    for (const seq of [5, 6, 7, 7, 6]) ws.wire.posts("news", seq);
    ws.wire.says({ case: "deliver", value: { timeline: "c:news", seq: 8n, entry: { case: "gone", value: {} } } });
    ws.wire.posts("other", 1);
    ws.wire.delivers(1);
    expect(all).toEqual(["open 2-5 3", "6 bob", "7 bob", "8 gone"]);
    expect([news.state, news.position, news.head, news.floor, news.count, news.epoch, seqs]).toEqual(["live", 8, 8, 2, 3, "e", [1]]);
  });

  test("a message says its channel, and a volatile one has no seq", async () => {
    const { news } = await live(5);
    const messages: object[] = [];
    news.on("message", (message) => messages.push(message));
    ws.wire.posts("news", 6, { nickname: "Bob the Great" });
    ws.wire.posts("news", 0);
    ws.wire.posts("news", 0);
    const common = { conversation: "c:news", channel: "news", sender: "bob", own: false };
    expect(messages).toMatchObject([{ seq: 6, convSeq: 6, nickname: "Bob the Great", ...common }, { seq: 0, nickname: "", ...common }, { seq: 0, ...common }]);
  });

  test("after a seq; below the floor the server says what is gone", async () => {
    const { all, news } = await live(20, { after: 3 });
    expect(afters()).toEqual([3n]);
    ws.wire.says({ case: "historyGone", value: { timeline: "c:news", floor: 10n } });
    for (const seq of [10, 11]) ws.wire.posts("news", seq);
    expect([all, news.floor]).toEqual([["floor 10", "10 bob", "11 bob"], 10]);
  });

  test("again while subscribed: the same one, asked anew, where it is", async () => {
    const { client, news, all } = await live(5);
    ws.wire.posts("news", 6);
    expect(client.subscribe("news", { after: 1 })).toBe(news);
    ws.wire.subscribed("news", 6, { count: 2 });
    news.refresh();
    ws.wire.posts("news", 7);
    ws.wire.subscribed("news", 6, { count: 1 });
    expect(all).toEqual(["6 bob", "open 1-6 2", "7 bob", "open 1-7 1"]);
    expect([afters(), news.position]).toEqual([[undefined, 6n, 6n], 7]);
  });

  test.each([
    ["no spaces", {}],
    ["", {}],
    ["x".repeat(129), {}],
    ["news", { after: -1 }],
    ["news", { after: 1.5 }],
  ])("%j cannot be asked for", async (channel, options) => {
    const client = await connect();
    expect(() => client.subscribe(channel, options)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    expect(ws.wire.all("subscribe")).toEqual([]);
  });
});

describe("over sessions", () => {
  test("it goes on by its position, on each", async () => {
    const { news, all } = await live(5);
    ws.wire.posts("news", 6);
    await reconnect();
    expect([afters(), news.state]).toEqual([[6n], "subscribing"]);
    ws.wire.subscribed("news", 9);
    for (const seq of [6, 7, 8, 9]) ws.wire.posts("news", seq);
    await reconnect();
    expect(afters()).toEqual([9n]);
    expect(all).toEqual(["6 bob", "open 1-9 1", "7 bob", "8 bob", "9 bob"]);
  });

  test("one that was never answered begins at the head still", async () => {
    const client = await connect();
    client.subscribe("news");
    await reconnect();
    expect(afters()).toEqual([undefined]);
  });

  test("another epoch drops the position: from the floor, and the application is told", async () => {
    const { all, news } = await live(5);
    ws.wire.posts("news", 6);
    await reconnect("f");
    expect(afters()).toEqual([0n]);
    ws.wire.subscribed("news", 9, { floor: 3 });
    ws.wire.says({ case: "historyGone", value: { timeline: "c:news", floor: 3n } });
    ws.wire.posts("news", 3);
    await reconnect("f");
    ws.wire.subscribed("news", 9, { floor: 3 });
    expect(all).toEqual(["6 bob", "reset 3-9 1", "floor 3", "3 bob", "open 3-9 1"]);
    expect([afters(), news.epoch]).toEqual([[3n], "f"]);
  });

  test("so does a head before the position", async () => {
    const { all } = await live(5);
    ws.wire.posts("news", 6);
    await reconnect();
    ws.wire.subscribed("news", 4, { floor: 2 });
    for (const seq of [2, 3]) ws.wire.posts("news", seq);
    expect(all).toEqual(["6 bob", "reset 2-4 1", "2 bob", "3 bob"]);
  });

  test("a position that was kept over a page load counts under its epoch only", async () => {
    const client = await connect();
    client.subscribe("news", { after: 7, epoch: "e" });
    client.subscribe("sport", { after: 7, epoch: "before" });
    expect(afters()).toEqual([7n, 0n]);
  });

  test("also under the epoch of a session that is still to come", async () => {
    const client = await connect();
    lose();
    client.subscribe("news", { after: 7, epoch: "f" });
    await pass(1_000);
    ws.wire.welcome(0, { epoch: "f" });
    expect(afters()).toEqual([7n]);
  });

  test("a Pong says how far the channel is", async () => {
    const { news } = await live(5);
    ws.wire.says({ case: "pong", value: { heads: [{ head: 70n }, { timeline: "c:news", head: 8n }, { timeline: "c:x", head: 9n }] } });
    expect([news.position, news.head]).toEqual([5, 8]);
  });
});

describe("refusals", () => {
  test.each([
    [Code.PERMISSION_DENIED, "PERMISSION_DENIED"],
    [Code.LIMIT, "LIMIT"],
    [Code.INVALID_ARGUMENT, "INVALID_ARGUMENT"],
  ])("%i is final", async (code, name) => {
    const client = await connect();
    const errors: unknown[] = [];
    client.on("error", (error) => errors.push(error));
    const news = client.subscribe("news");
    const all = told(news);
    refuse(code);
    await expect(news.ready).rejects.toMatchObject({ code: name, message: "no" });
    expect([all, news.state, news.error?.code, errors]).toEqual([[`${name} no`], "ended", name, []]);
    await reconnect();
    expect(ws.wire.all("subscribe")).toEqual([]);
    expect(client.subscribe("news")).not.toBe(news);
  });

  test("RATE_LIMITED and UNAVAILABLE are asked again: after the time that was said, and a while more", async () => {
    const client = await connect();
    const news = client.subscribe("news");
    refuse(Code.RATE_LIMITED, { retryAfterMs: 1_000n });
    // Math.random is 0.5: half of 500 ms at first, of 1,000 ms the second time.
    await pass(1_249);
    expect(afters()).toHaveLength(1);
    await pass(1);
    expect(afters()).toHaveLength(2);
    refuse(Code.UNAVAILABLE);
    await pass(499);
    expect([afters().length, news.state]).toEqual([2, "subscribing"]);
    await pass(1);
    ws.wire.subscribed("news", 5);
    await news.ready;
    ws.wire.events?.alive();
    await pass(1_000);
    expect([afters().length, news.position]).toEqual([3, 5]);
  });

  test("the server ends it: an event, and no other try", async () => {
    const { news, all } = await live(5);
    ws.wire.says({ case: "unsubscribed", value: { channel: "news", reason: "the token allows it no more" } });
    ws.wire.posts("news", 6);
    await reconnect();
    expect([all, news.state, afters()]).toEqual([["PERMISSION_DENIED the token allows it no more"], "ended", []]);
  });
});

describe("unsubscribing", () => {
  test("nothing comes any more, and the server is told once", async () => {
    const { news, all } = await live(5);
    news.unsubscribe();
    news.unsubscribe();
    news.refresh();
    ws.wire.posts("news", 6);
    ws.wire.says({ case: "unsubscribed", value: { channel: "news" } }, ws.wire.sent.at(-1)?.id);
    await reconnect();
    expect([all, news.state, afters()]).toEqual([[], "ended", []]);
    expect(ws.wires[0]?.all("unsubscribe")).toMatchObject([{ channel: "news" }]);
  });

  test("from within a listener: what had come too is not told", async () => {
    const client = await connect();
    const news = client.subscribe("news", { after: 0 });
    const all = told(news);
    news.on("message", () => news.unsubscribe());
    ws.wire.subscribed("news", 2);
    for (const seq of [1, 2]) ws.wire.posts("news", seq);
    expect(all).toEqual(["open 1-2 1", "1 bob"]);
  });

  test("before it was asked for: the server hears nothing, and whoever waits is told", async () => {
    const { client } = makeClient();
    const news = client.subscribe("news");
    news.unsubscribe();
    await expect(news.ready).rejects.toMatchObject({ code: "CLOSED" });
    await pass(1);
    ws.wire.welcome(0);
    expect([ws.wire.all("subscribe"), ws.wire.all("unsubscribe")]).toEqual([[], []]);
  });

  test("and subscribing at once: answers and entries of the first are not the second's", async () => {
    const { client, news, all } = await live(5);
    const errors: unknown[] = [];
    client.on("error", (error) => errors.push(error));
    news.refresh();
    const refresh = ws.wire.idOf("news");
    news.unsubscribe();
    const unsubscribe = ws.wire.sent.at(-1)?.id;
    const second = client.subscribe("news", { after: 2 });
    const after = told(second);
    // On its way when the first one ended.
    ws.wire.posts("news", 6);
    ws.wire.says({ case: "historyGone", value: { timeline: "c:news", floor: 6n } });
    ws.wire.says({ case: "subscribed", value: { channel: "news", head: 6n, floor: 1n, count: 9n } }, refresh);
    ws.wire.says({ case: "error", value: { code: Code.NOT_FOUND } }, unsubscribe);
    ws.wire.subscribed("news", 6);
    for (const seq of [3, 4, 5, 6, 7]) ws.wire.posts("news", seq);
    expect([all, errors]).toEqual([[], []]);
    expect(after).toEqual(["open 1-6 1", "3 bob", "4 bob", "5 bob", "6 bob", "7 bob"]);
  });

  test("a closed client ends all of it", async () => {
    const { client } = makeClient();
    const news = client.subscribe("news");
    client.close();
    await expect(news.ready).rejects.toMatchObject({ code: "CLOSED" });
    expect(news.state).toBe("ended");
    expect(() => client.subscribe("news")).toThrow(expect.objectContaining({ code: "CLOSED" }));
  });
});

describe("publishing", () => {
  test("STORED without a seq of the inbox ends the send, and who subscribes gets the message too", async () => {
    const { client, all } = await live(5);
    const handle = client.send({ channel: "news", content: "goal" });
    expect(ws.wire.all("send")).toMatchObject([{ msg: { channel: "news", receiverId: "", msgType: 2 } }]);
    ws.wire.posts("news", 6, { sendId: "alice", localId: handle.localId });
    expect(handle.state).toBe("sending");
    ws.wire.says(receipt(handle.localId, ReceiptStatus.STORED, { seq: 0n, convSeq: 6n }));
    expect(await handle.stored).toMatchObject({ conversation: "c:news", channel: "news", seq: 0, convSeq: 6 });
    expect([all, client.pending]).toEqual([["6 alice"], []]);
    await pass(1_000);
    expect(ws.wire.all("ack")).toEqual([]);
  });

  test.each(["no spaces", "x".repeat(129)])("to %j throws", async (channel) => {
    const client = await connect();
    expect(() => client.send({ channel, content: "x" })).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});
