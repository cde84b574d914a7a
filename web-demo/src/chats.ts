// The page's picture of its conversations: which messages, in which order, how many unread. Pure; draws nothing.

import { directConversation, type Message, type SendState } from "../sdk";

/** How far a message is: an own one as its send is, another one's is received. */
export type ChatState = SendState | "received";

/** A message as the page shows it. */
export interface ChatMessage {
  /** Names it over all retries and devices. */
  readonly key: string;
  /** What is known of it so far. */
  message: Message;
  /** How far it is. */
  state: ChatState;
  /** Why it was refused. */
  error?: string | undefined;
}

/** What an {@link Chats.put} did. */
export type Change = "added" | "updated" | "older";

/** One conversation: a window onto its newest messages. */
export class Chat {
  /** Its messages: those with a place in the conversation in that order, then the others as they were written. */
  readonly messages: ChatMessage[] = [];
  /** How many arrived unseen. */
  unread = 0;
  /** Whether it was asked for what is older than the window, at least once. */
  isLoaded = false;
  readonly #byKey = new Map<string, ChatMessage>();
  #hasOlder = true;
  #isTrimmed = false;

  constructor(
    /** Its name, `d:{a}:{b}` or `c:{channel}`. */
    readonly id: string,
    /** What it is called: the other user, the own one for notes to oneself; or the channel. */
    readonly title: string,
    /** Whether it is a channel. */
    readonly isChannel: boolean,
  ) {}

  /** Whether there may be messages before the first one. */
  get hasOlder(): boolean {
    return this.#hasOlder;
  }

  /** The conversation's seq of the first message of the window; 0: there is none with a place yet. */
  get firstSeq(): number {
    return this.messages[0]?.message.convSeq ?? 0;
  }

  /** The newest message. */
  get last(): ChatMessage | undefined {
    return this.messages.at(-1);
  }

  /** Whether this message is in the window. */
  find(key: string): ChatMessage | undefined {
    return this.#byKey.get(key);
  }

  /** Where a message stands in the window. */
  indexOf(chat: ChatMessage): number {
    return this.messages.lastIndexOf(chat);
  }

  /**
   * Takes a message, new or known. One that is older than the window is left out: scrolling brings it.
   *
   * @param origin `page`: it comes from a page that ends where the window begins
   */
  put(message: Message, state: ChatState, origin: "live" | "page" = "live", error?: string): Change {
    const known = this.#byKey.get(keyOf(message));
    if (known) return this.#update(known, message, state, error);
    const isOlder = message.convSeq > 0 && this.firstSeq > 0 && message.convSeq < this.firstSeq;
    if (isOlder && origin === "live" && this.#hasOlder && (this.isLoaded || this.#isTrimmed)) return "older";
    const chat: ChatMessage = { key: keyOf(message), message, state, error };
    this.#byKey.set(chat.key, chat);
    this.#insert(chat);
    if (this.firstSeq === 1) this.#hasOlder = false;
    return "added";
  }

  /** A page of older messages came. */
  loaded(hasOlder: boolean): void {
    this.isLoaded = true;
    this.#hasOlder = hasOlder && this.firstSeq !== 1;
  }

  /** Forgets the oldest messages beyond `most`. @returns those forgotten */
  trim(most: number): ChatMessage[] {
    const excess = Math.max(0, this.messages.length - most);
    const forgotten = this.messages.splice(0, excess);
    for (const { key } of forgotten) this.#byKey.delete(key);
    if (excess > 0) this.#hasOlder = this.#isTrimmed = true;
    return forgotten;
  }

  /** Takes a message away, to be sent anew. */
  remove(chat: ChatMessage): void {
    const index = this.indexOf(chat);
    if (index >= 0) this.messages.splice(index, 1);
    this.#byKey.delete(chat.key);
  }

  #update(known: ChatMessage, message: Message, state: ChatState, error: string | undefined): Change {
    // A later word never takes back an earlier one: a page may hold what a receipt has told already.
    if (RANK[state] < RANK[known.state]) return "updated";
    const moves = message.convSeq !== known.message.convSeq;
    known.message = message;
    known.state = state;
    known.error = error;
    if (moves) {
      this.messages.splice(this.indexOf(known), 1);
      this.#insert(known);
    }
    return "updated";
  }

  #insert(chat: ChatMessage): void {
    let at = this.messages.length;
    while (at > 0 && isBefore(chat, this.messages[at - 1])) at--;
    this.messages.splice(at, 0, chat);
  }
}

/** All conversations of a user, and the channels he has joined. */
export class Chats {
  readonly #chats = new Map<string, Chat>();
  readonly #channels = new Map<string, Chat>();

  constructor(
    /** The own user. */
    readonly user: string,
  ) {}

  /** The conversations, the latest first. */
  all(): Chat[] {
    return [...this.#chats.values()].sort((a, b) => timeOf(b) - timeOf(a));
  }

  /** The conversation with a user; made when there is none. */
  with(peer: string): Chat {
    const id = directConversation(this.user, peer);
    const chat = this.#chats.get(id) ?? new Chat(id, peer, false);
    this.#chats.set(id, chat);
    return chat;
  }

  /** The channels, in the order in which they were joined. */
  channels(): Chat[] {
    return [...this.#channels.values()];
  }

  /** A channel; made when there is none. */
  channel(name: string): Chat {
    const chat = this.#channels.get(name) ?? new Chat(`c:${name}`, name, true);
    this.#channels.set(name, chat);
    return chat;
  }

  /** What is known of a channel is void. @returns it, anew and in its place */
  reset(name: string): Chat {
    this.#channels.set(name, new Chat(`c:${name}`, name, true));
    return this.channel(name);
  }

  /** A channel is left. */
  leave(name: string): void {
    this.#channels.delete(name);
  }

  /** Where a message belongs; undefined for groups, which this page does not show, and for channels that were left. */
  of(message: Message): Chat | undefined {
    if (message.channel) return this.#channels.get(message.channel);
    if (message.groupId || !message.receiverId) return undefined;
    return this.with(message.own ? message.receiverId : message.sender);
  }

  /** The unread messages of all of them. */
  get unread(): number {
    return [...this.#chats.values(), ...this.#channels.values()].reduce((sum, chat) => sum + chat.unread, 0);
  }
}

/** Names a message over all retries. */
export function keyOf(message: Message): string {
  return message.localId ? `${message.sender}/${message.localId}` : message.serverId;
}

function isBefore(a: ChatMessage, b: ChatMessage | undefined): boolean {
  if (!b) return false;
  const [x, y] = [a.message.convSeq || Infinity, b.message.convSeq || Infinity];
  return x < y || (x === y && a.message.createTime < b.message.createTime);
}

function timeOf(chat: Chat): number {
  const message = chat.last?.message;
  return message ? message.sendTime || message.createTime : Infinity;
}

const RANK: Record<ChatState, number> = { sending: 0, accepted: 1, rejected: 2, stored: 3, received: 3 };
