// Messages as the application sees them, and their way from and to protobuf. No IO.

import { create } from "@bufbuild/protobuf";
import { TidegateError } from "./errors";
import { MsgSchema, MsgType, ContentType, type Msg } from "./gen/tidegate/v1/message_pb";
import { MAX_CONTENT_BYTES } from "./limits";

/** A message. Seqs and times are numbers, exact up to 2^53. */
export interface Message {
  /** Its seq in the timeline it came from: the inbox, unless it came from a pull of another one. */
  seq: number;
  /** The conversation it belongs to: `d:{a}:{b}`, `g:{id}` or `c:{name}`. */
  conversation: string;
  /** Its seq in the conversation. */
  convSeq: number;
  /** The server's id: 32 hex digits, the same for everybody and over all retries. */
  serverId: string;
  /** The id that the sending device chose. */
  localId: string;
  /** Who sent it. */
  sender: string;
  /** The name under which a backend wants the sender to be shown, or empty. It proves nothing. */
  nickname: string;
  /** The user it went to; empty for groups and channels. */
  receiverId: string;
  /** The group it went to, or empty. */
  groupId: string;
  /** The channel it went to, or empty. */
  channel: string;
  /** What kind of message: 0 single, 1 group, 2 channel, or a number of the application's own. */
  msgType: number;
  /** What is in `content`: 1 text, 2 image, …, or a number of the application's own. */
  contentType: number;
  /** The body, opaque to the server. */
  content: Uint8Array;
  /** When the sender's clock says it was written, in ms since 1970. */
  createTime: number;
  /** When the gateway took it, in ms since 1970; 0 for one that is not accepted yet. */
  sendTime: number;
  /** When it expires, in ms since 1970; 0: never. */
  expireAt: number;
  /** The application's reference to another message, or empty. */
  relatedId: string;
  /** Whether the own user sent it, from this device or another one. */
  own: boolean;
}

/** What to send. Exactly one of `receiverId`, `groupId` and `channel`. */
export interface Outgoing {
  /** The user it goes to. */
  receiverId?: string;
  /** The group it goes to. */
  groupId?: string;
  /** The channel it goes to. */
  channel?: string;
  /** The body; a string is sent as UTF-8. At most 64 KiB. */
  content: Uint8Array | string;
  /** What is in it; by default 1 (text) for a string and 0 for bytes. */
  contentType?: number;
  /** By default what the target says; a number of the application's own is passed on untouched. */
  msgType?: number;
  /** A reference to another message. */
  relatedId?: string;
  /** When it expires, in ms since 1970. */
  expireAt?: number;
}

/** The body as text. Bytes that are not UTF-8 become replacement characters. */
export function textOf(message: Pick<Message, "content">): string {
  return new TextDecoder().decode(message.content);
}

/** The name of the direct conversation of two users: both ids in byte order. */
export function directConversation(a: string, b: string): string {
  // The ids are ASCII, so that the order of UTF-16 units is the order of bytes.
  return a <= b ? `d:${a}:${b}` : `d:${b}:${a}`;
}

/** A text is what an id may be: 1 to 64 of `A–Z a–z 0–9 . _ @ + -`. */
export function isId(text: string): boolean {
  return /^[A-Za-z0-9._@+-]{1,64}$/.test(text);
}

/** A text is what the name of a channel may be: 1 to 128 of what ids are made of, and `/`. */
export function isChannel(text: string): boolean {
  return /^[A-Za-z0-9._@+/-]{1,128}$/.test(text);
}

/**
 * The message to put on the wire.
 *
 * @throws {@link TidegateError} INVALID_ARGUMENT or TOO_LARGE
 */
export function toMsg(outgoing: Outgoing, localId: string, now: number): Msg {
  const { receiverId = "", groupId = "", channel = "" } = outgoing;
  if ([receiverId, groupId, channel].filter((target) => target !== "").length !== 1) {
    throw new TidegateError("INVALID_ARGUMENT", "exactly one of receiverId, groupId and channel says where it goes");
  }
  const target = receiverId || groupId;
  if (channel && !isChannel(channel)) throw new TidegateError("INVALID_ARGUMENT", `"${channel.slice(0, 160)}" is not the name of a channel`);
  if (target && !isId(target)) throw new TidegateError("INVALID_ARGUMENT", `"${target.slice(0, 80)}" is not an id`);
  const isText = typeof outgoing.content === "string";
  const content = isText ? new TextEncoder().encode(outgoing.content as string) : (outgoing.content as Uint8Array).slice();
  if (content.length > MAX_CONTENT_BYTES) {
    throw new TidegateError("TOO_LARGE", `${content.length} bytes of content, over the limit of ${MAX_CONTENT_BYTES}`);
  }
  return create(MsgSchema, {
    receiverId,
    groupId,
    channel,
    localId,
    content: content as Uint8Array<ArrayBuffer>,
    createTime: BigInt(now),
    msgType: outgoing.msgType ?? (groupId ? MsgType.GROUP : channel ? MsgType.CHANNEL : MsgType.SINGLE),
    contentType: outgoing.contentType ?? (isText ? ContentType.TEXT : ContentType.DEFAULT),
    relatedId: outgoing.relatedId ?? "",
    expireAt: BigInt(Math.trunc(outgoing.expireAt ?? 0)),
  });
}

/**
 * The message for the application.
 *
 * @param seq the seq of its entry
 * @param user the own user
 */
export function fromMsg(msg: Msg, seq: number, user: string): Message {
  return {
    seq,
    conversation: msg.conversation || conversationOf(msg, user),
    convSeq: Number(msg.convSeq),
    serverId: msg.serverId,
    localId: msg.localId,
    sender: msg.sendId || user,
    nickname: msg.nickname,
    receiverId: msg.receiverId,
    groupId: msg.groupId,
    channel: msg.channel,
    msgType: msg.msgType,
    contentType: msg.contentType,
    // A copy: the original is a view into the buffer of everything that arrived with it.
    content: msg.content.slice(),
    createTime: Number(msg.createTime),
    sendTime: Number(msg.sendTime),
    expireAt: Number(msg.expireAt),
    relatedId: msg.relatedId,
    own: msg.sendId === "" || msg.sendId === user,
  };
}

/** The conversation that the target decides. */
export function conversationOf(msg: Pick<Msg, "sendId" | "receiverId" | "groupId" | "channel">, user: string): string {
  if (msg.groupId) return `g:${msg.groupId}`;
  if (msg.channel) return `c:${msg.channel}`;
  return directConversation(msg.sendId || user, msg.receiverId);
}
