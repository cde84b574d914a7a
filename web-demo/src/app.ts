// The signed-in page: one client, its conversations and channels, and the views that show them.

import { memoryStore, textOf, TidegateClient, TidegateError, webSocketTransport, webTransportTransport } from "../sdk";
import type { Message, SendHandle, Store, WelcomeEvent } from "../sdk";
import { fetchEndpoints, fetchToken } from "./api";
import { Badge } from "./badge";
import { Channels } from "./channels";
import { ChatView } from "./chat-view";
import { Chats, keyOf, type Chat, type ChatState } from "./chats";
import { byId } from "./dom";
import { ListView, type Looks } from "./list-view";
import { toast } from "./toast";
import { Typing } from "./typing";

/** What to open: the conversation with a user, or a channel. */
export type Target = { peer: string } | { channel: string };

/** The page of one signed-in user. */
export class App {
  readonly #client: TidegateClient;
  readonly #channels: Channels;
  readonly #channelList = new ListView("channels", "channels-hint", this.#looks());
  readonly #list = new ListView("conversations", "list-hint", this.#looks());
  readonly #view = new ChatView(() => void this.#loadOlder());
  readonly #badge = new Badge();
  readonly #typing: Typing;
  #chats: Chats;
  #open: Chat | undefined;
  #historyIsLoaded = false;
  readonly #isLoading = new Set<Chat>();
  #drawIsDue = false;

  constructor(user: string, deviceId: string) {
    const store = storage();
    this.#chats = new Chats(user);
    this.#client = new TidegateClient({
      endpoints: fetchEndpoints,
      token: () => fetchToken(user),
      deviceId,
      user,
      start: "head",
      store,
      agent: "tidegate-demo",
    });
    this.#channels = new Channels(this.#client, user, store, {
      joined: (channel) => void this.#loadOlder(this.#chats.channel(channel)).then(() => this.#fill()),
      reset: (channel) => this.#onReset(channel),
      message: (message, isNew) => this.#onMessage(message, isNew),
      historyGone: () => this.#onHistoryGone(),
      ended: (channel, { message }) => this.#onEnded(channel, message),
      changed: () => this.#drawSoon(),
    });
    this.#channels.start();
    for (const channel of this.#channels.names()) this.#chats.channel(channel);
    this.#typing = new Typing((peer) => this.#client.signal({ user: peer, kind: "typing" }), () => this.#drawSoon());
    this.#listen();
  }

  /** Connects, and shows what an earlier page left unsent. */
  start(): void {
    for (const handle of this.#client.pending) this.#onState(handle);
    this.#badge.draw(this.#client.status);
    this.#client.connect();
    setInterval(() => this.#look(), LOOK_EVERY_MS);
    this.#drawSoon();
  }

  /** Shows a conversation, or a channel, which is joined for it; undefined: the list alone, on a narrow screen. */
  open(target: Target | undefined): void {
    this.#open = target && this.#chatOf(target);
    byId("app").dataset.view = this.#open ? "chat" : "list";
    byId("chat").hidden = !this.#open;
    byId("no-chat").hidden = Boolean(this.#open);
    if (this.#open) {
      this.#view.open(this.#open);
      this.#markRead();
      void this.#fill();
    }
    this.#drawSoon();
  }

  /** Sends a text to whom the open conversation is with. @returns whether it was taken */
  send(text: string): boolean {
    if (!this.#open || text.trim() === "") return false;
    try {
      const { title, isChannel } = this.#open;
      this.#onState(this.#client.send({ ...(isChannel ? { channel: title } : { receiverId: title }), content: text }));
    } catch (error) {
      toast(`Not sent: ${whyNot(error)}.`);
      return false;
    }
    this.#typing.sent();
    this.#view.toBottom();
    return true;
  }

  /** The user is writing in the open conversation. */
  writes(): void {
    if (this.#open && !this.#open.isChannel) this.#typing.writes(this.#open.title);
  }

  /** Leaves the open channel. */
  leave(): void {
    const chat = this.#open;
    if (!chat?.isChannel) return;
    this.#channels.leave(chat.title);
    this.#chats.leave(chat.title);
    this.open(undefined);
  }

  /** Sends a refused message anew. */
  sendAgain(key: string): void {
    const chat = this.#open;
    const refused = chat?.find(key);
    if (!chat || !refused) return;
    chat.remove(refused);
    this.#view.remove([refused]);
    this.send(textOf(refused.message));
  }

  /** The page can be seen again: what is open is read. */
  seen(): void {
    this.#markRead();
    this.#look();
  }

  /** Cuts the network, or mends it. */
  setOnline(isOnline: boolean): void {
    this.#client.setOnline(isOnline);
  }

  /** Uses nothing but WebSocket, or everything again. */
  forceWebSocket(isForced: boolean): void {
    this.#client.setTransports(isForced ? [webSocketTransport()] : [webTransportTransport(), webSocketTransport()]);
  }

  /** Comes back after the server ended the connection for good. */
  reconnect(): void {
    byId("banner").hidden = true;
    this.#client.connect();
  }

  #listen(): void {
    this.#client.on("connection", (status) => {
      this.#badge.draw(status);
      if (status.state !== "connected") this.#typing.forget();
    });
    this.#client.on("welcome", (welcome) => this.#onWelcome(welcome));
    this.#client.on("message", (message) => this.#onMessage(message));
    this.#client.on("state", (handle) => this.#onState(handle));
    this.#client.on("signal", ({ kind, from }) => kind === "typing" && this.#typing.heard(from));
    this.#client.on("historyGone", () => this.#onHistoryGone());
    this.#client.on("closed", ({ code, reason }) => showBanner(code, reason));
  }

  #onWelcome({ isReset }: WelcomeEvent): void {
    if (isReset) this.#startOver();
    if (this.#historyIsLoaded) return;
    this.#historyIsLoaded = true;
    void this.#loadHistory();
  }

  /** The server's data is another one: what is shown may have other places there, or none. */
  #startOver(): void {
    const open = this.#open;
    this.#chats = new Chats(this.#chats.user);
    for (const channel of this.#channels.names()) this.#chats.channel(channel);
    this.#historyIsLoaded = false;
    for (const handle of this.#client.pending) this.#onState(handle);
    this.open(open && (open.isChannel ? { channel: open.title } : { peer: open.title }));
  }

  /** A channel comes again from its beginning. */
  #onReset(channel: string): void {
    const isOpen = this.#open?.isChannel && this.#open.title === channel;
    this.#chats.reset(channel);
    for (const handle of this.#client.pending) this.#onState(handle);
    if (isOpen) this.open({ channel });
  }

  #onEnded(channel: string, why: string): void {
    toast(`${channel}: ${why}`);
    if (this.#open?.isChannel && this.#open.title === channel) location.hash = "";
    this.#chats.leave(channel);
    this.#drawSoon();
  }

  #onHistoryGone(): void {
    toast("Some old messages are no longer kept by the server");
  }

  #onMessage(message: Message, isNew = true): void {
    const chat = this.#put(message, stateOf(message));
    if (!chat || message.own || !isNew) return;
    if (!chat.isChannel) this.#typing.stopped(message.sender);
    if (chat !== this.#open || document.hidden) chat.unread++;
    this.#drawSoon();
  }

  #onState(handle: SendHandle): void {
    this.#put(handle.message, handle.state, handle.error?.message);
  }

  /** Takes a message into its conversation and onto the page. @returns the conversation, when the message is shown */
  #put(message: Message, state: ChatState, error?: string): Chat | undefined {
    const chat = this.#chats.of(message);
    if (!chat || chat.put(message, state, "live", error) === "older") return undefined;
    const shown = chat.find(keyOf(message));
    if (shown && chat === this.#open) this.#view.put(shown);
    if (chat !== this.#open || this.#view.isAtBottom) this.#trim(chat);
    this.#drawSoon();
    return chat;
  }

  #trim(chat: Chat): void {
    if (chat.messages.length <= MAX_SHOWN + TRIM_SLACK) return;
    const forgotten = chat.trim(MAX_SHOWN);
    if (chat === this.#open) this.#view.remove(forgotten);
  }

  /** The latest messages of all conversations, from the inbox. */
  async #loadHistory(): Promise<void> {
    const chats = this.#chats;
    let before = 0;
    try {
      for (let count = 0; count < HISTORY_ENTRIES; ) {
        const page = await this.#client.pull("", { before, limit: HISTORY_ENTRIES - count });
        if (chats !== this.#chats) return;
        for (const { message } of page.entries.reverse()) if (message) this.#put(message, stateOf(message));
        count += page.entries.length;
        before = page.entries.at(-1)?.seq ?? 0;
        if (!page.more || before <= 1) break;
      }
    } catch (error) {
      this.#historyIsLoaded = false;
      if (isRefusal(error)) toast(`History could not be read: ${error.message}`);
    }
    void this.#fill();
  }

  /** Asks for older messages until the open conversation fills the screen. */
  async #fill(): Promise<void> {
    const chat = this.#open;
    for (let pages = 0; chat && chat === this.#open && pages < MAX_FILL_PAGES; pages++) {
      if (chat.isLoaded && (!chat.hasOlder || !this.#view.hasRoom)) break;
      if (!(await this.#loadOlder(chat))) break;
    }
  }

  /** One page of what is older than a conversation's window. @returns whether there was one */
  async #loadOlder(chat = this.#open): Promise<boolean> {
    if (!chat || this.#isLoading.has(chat) || (chat.isLoaded && !chat.hasOlder)) return false;
    // What comes after a channel's page must come live: it is read once it is subscribed to.
    if (chat.isChannel && !this.#channels.isJoined(chat.title)) return false;
    this.#isLoading.add(chat);
    try {
      const page = await this.#client.pull(chat.id, { before: chat.firstSeq, limit: PAGE_ENTRIES });
      for (const { message } of page.entries) if (message) chat.put(message, stateOf(message), "page");
      chat.loaded(page.more);
      if (chat === this.#open) this.#view.sync();
      this.#drawSoon();
      return page.entries.length > 0;
    } catch (error) {
      if (isRefusal(error)) chat.loaded(false);
      return false;
    } finally {
      this.#isLoading.delete(chat);
    }
  }

  #markRead(): void {
    if (this.#open && !document.hidden) this.#open.unread = 0;
    this.#drawSoon();
  }

  /** Asks how many are in the channels that the reader sees. */
  #look(): void {
    this.#channels.look((channel) => {
      const chat = this.#chats.channel(channel);
      return chat === this.#open || this.#channelList.shows(chat);
    });
  }

  #chatOf(target: Target): Chat {
    if ("peer" in target) return this.#chats.with(target.peer);
    const chat = this.#chats.channel(target.channel);
    this.#channels.join(target.channel);
    return chat;
  }

  #looks(): Looks {
    return {
      isOpen: (chat) => chat === this.#open,
      isTyping: (chat) => this.#isTyping(chat),
      count: (chat) => this.#countOf(chat),
    };
  }

  #isTyping({ isChannel, title }: Chat): boolean {
    return !isChannel && this.#typing.isTyping(title);
  }

  #countOf({ isChannel, title }: Chat): number | undefined {
    return isChannel ? this.#channels.count(title) : undefined;
  }

  /** Draws lists and title once for all that happens in one turn. */
  #drawSoon(): void {
    if (this.#drawIsDue) return;
    this.#drawIsDue = true;
    setTimeout(() => {
      this.#drawIsDue = false;
      this.#channelList.draw(this.#chats.channels());
      this.#list.draw(this.#chats.all());
      this.#view.setCount(this.#open && this.#countOf(this.#open));
      this.#view.setTyping(this.#open && this.#isTyping(this.#open) ? this.#open.title : undefined);
      const { unread } = this.#chats;
      document.title = unread > 0 ? `(${unread}) tidegate` : "tidegate";
    });
  }
}

/** Why a message was not taken, in the reader's words. */
function whyNot(error: unknown): string {
  if (!(error instanceof TidegateError)) return "something went wrong";
  return error.code === "TOO_LARGE" ? "a message is at most 64 KiB" : error.message;
}

function showBanner(code: string, reason: string): void {
  byId("banner-text").textContent =
    code === "REPLACED" ? "This device is connected from another page." : `The server ended the connection: ${reason || code}.`;
  byId("banner").hidden = false;
}

/** How far a message is that the server sent. */
function stateOf(message: Message): ChatState {
  if (!message.own) return "received";
  // Without a seq it is stored nowhere, and its receipt may be still to come.
  return message.seq > 0 ? "stored" : "accepted";
}

function isRefusal(error: unknown): error is TidegateError {
  return error instanceof TidegateError && error.code !== "CLOSED" && error.code !== "TIMEOUT";
}

/** Each tab is a device of its own, and so is its state. */
function storage(): Store {
  try {
    return sessionStorage;
  } catch {
    return memoryStore();
  }
}

/** So many entries of the inbox are read at the start. */
const HISTORY_ENTRIES = 200;
const PAGE_ENTRIES = 50;
/** How often to ask how many subscribe to the channels in view. */
const LOOK_EVERY_MS = 5_000;
/** Messages of a conversation on the page while the reader is at the newest; older ones come back by scrolling. */
const MAX_SHOWN = 500;
const TRIM_SLACK = 50;
const MAX_FILL_PAGES = 5;
