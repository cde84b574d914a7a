import { describe, expect, test } from "vitest";
import type { Message } from "../sdk";
import { Chats, keyOf, type Chat } from "./chats";

function message(convSeq: number, more: Partial<Message> = {}): Message {
  return {
    seq: convSeq, conversation: "d:alice:bob", convSeq, serverId: `s${convSeq}`, localId: `l${convSeq}`, sender: "bob", nickname: "",
    receiverId: "alice", groupId: "", channel: "", msgType: 0, contentType: 1, content: new Uint8Array(), createTime: convSeq,
    sendTime: convSeq, expireAt: 0, relatedId: "", own: false, ...more,
  };
}

const own = (localId: string, convSeq = 0): Message =>
  message(convSeq, { localId, sender: "alice", receiverId: "bob", own: true, createTime: 1_000 + localId.charCodeAt(0) });
const order = (chat: Chat): string[] => chat.messages.map(({ message: { localId } }) => localId);

test("messages find their conversation, from either side", () => {
  const chats = new Chats("alice");
  expect(chats.of(message(1))).toBe(chats.with("bob"));
  expect(chats.of(own("a"))).toBe(chats.with("bob"));
  expect(chats.of(message(1, { groupId: "g" }))).toBeUndefined();
});

test("messages of a channel are shown while it is joined, beside the conversations", () => {
  const chats = new Chats("alice");
  const post = message(1, { channel: "news", receiverId: "" });
  expect(chats.of(post)).toBeUndefined();
  for (const name of ["news", "@all", "news"]) chats.channel(name);
  const news = chats.of(post);
  expect(news).toMatchObject({ id: "c:news", title: "news", isChannel: true });
  news?.put(post, "received");
  news!.unread = 2;
  expect([chats.channels().map(({ id }) => id), chats.all(), chats.unread]).toEqual([["c:news", "c:@all"], [], 2]);
  expect(chats.reset("news").messages).toEqual([]);
  expect(chats.channels().map(({ id }) => id)).toEqual(["c:news", "c:@all"]);
  chats.leave("news");
  expect([chats.of(post), chats.unread]).toEqual([undefined, 0]);
});

describe("order", () => {
  test("by the conversation's seq, whatever the order of arrival; each once", () => {
    const chat = new Chats("alice").with("bob");
    for (const seq of [3, 1, 2, 3, 5, 4, 1]) chat.put(message(seq), "received");
    expect(order(chat)).toEqual(["l1", "l2", "l3", "l4", "l5"]);
  });

  test("what has no place yet stands at the end, and moves to its place", () => {
    const chat = new Chats("alice").with("bob");
    chat.put(message(1), "received");
    for (const id of ["a", "b"]) chat.put(own(id), "sending");
    chat.put(message(3), "received");
    expect(order(chat)).toEqual(["l1", "l3", "a", "b"]);
    chat.put(own("a", 2), "stored");
    expect(order(chat)).toEqual(["l1", "a", "l3", "b"]);
  });
});

test("a later word never takes back an earlier one", () => {
  const chat = new Chats("alice").with("bob");
  chat.put(own("a", 2), "stored");
  chat.put(own("a"), "accepted");
  expect(chat.find(keyOf(own("a")))).toMatchObject({ state: "stored", message: { convSeq: 2 } });
});

describe("the window", () => {
  test("older messages come by pages only, once it is loaded", () => {
    const chat = new Chats("alice").with("bob");
    for (const seq of [8, 9]) chat.put(message(seq), "received", "page");
    chat.loaded(true);
    expect(chat.put(message(5), "received")).toBe("older");
    expect(chat.put(message(10), "received")).toBe("added");
    for (const seq of [6, 7]) chat.put(message(seq), "received", "page");
    expect(order(chat)).toEqual(["l6", "l7", "l8", "l9", "l10"]);
    expect(chat.firstSeq).toBe(6);
  });

  test("it ends at the first message of all", () => {
    const chat = new Chats("alice").with("bob");
    chat.put(message(1), "received");
    expect(chat.hasOlder).toBe(false);
    chat.loaded(true);
    expect(chat.hasOlder).toBe(false);
  });

  test("what is trimmed can be loaded again", () => {
    const chat = new Chats("alice").with("bob");
    for (let seq = 1; seq <= 10; seq++) chat.put(message(seq), "received");
    expect(chat.trim(4).map(({ message: { convSeq } }) => convSeq)).toEqual([1, 2, 3, 4, 5, 6]);
    expect([chat.hasOlder, chat.put(message(3), "received")]).toEqual([true, "older"]);
    for (let seq = 1; seq <= 6; seq++) chat.put(message(seq), "received", "page");
    expect([chat.messages.length, chat.hasOlder]).toEqual([10, false]);
  });
});

test("the latest conversation comes first", () => {
  const chats = new Chats("alice");
  chats.with("bob").put(message(5), "received");
  chats.with("carol").put(message(9, { sender: "carol" }), "received");
  expect(chats.all().map(({ title }) => title)).toEqual(["carol", "bob"]);
});
