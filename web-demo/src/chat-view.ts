// The open conversation: its messages, kept in order, at the bottom while the reader is there. Asks for older ones.

import { avatar, byId, channelAvatar, dayOf, senderOf, subscribers } from "./dom";
import type { Chat, ChatMessage } from "./chats";
import { newMessage, updateMessage } from "./message-view";

/** Draws one conversation into `#messages`. */
export class ChatView {
  readonly #list = byId<HTMLOListElement>("messages");
  readonly #scroller = byId("scroller");
  readonly #top = byId("older");
  readonly #empty = byId("chat-empty");
  readonly #jump = byId<HTMLButtonElement>("jump");
  readonly #typing = byId("typing");
  readonly #elements = new Map<string, HTMLLIElement>();
  readonly #onTop: () => void;
  #chat: Chat | undefined;
  #isAtBottom = true;
  #settleIsDue = false;

  /** @param onTop called when the reader comes near the first message and there are older ones */
  constructor(onTop: () => void) {
    this.#onTop = onTop;
    this.#scroller.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    this.#jump.addEventListener("click", () => this.toBottom());
    new ResizeObserver(() => this.#isAtBottom && this.toBottom()).observe(this.#scroller);
  }

  /** Shows another conversation from its newest message. */
  open(chat: Chat): void {
    this.#chat = chat;
    this.#elements.clear();
    byId("chat-title").textContent = chat.title;
    byId("chat-avatar").replaceChildren(chat.isChannel ? channelAvatar() : avatar(chat.title));
    byId("leave").hidden = !chat.isChannel;
    this.#list.replaceChildren(...chat.messages.map((message) => this.#element(message)));
    this.#group(0, chat.messages.length);
    this.refresh();
    this.toBottom();
  }

  /** Draws a message of the open conversation where it belongs. */
  put(message: ChatMessage): void {
    const chat = this.#chat;
    if (!chat) return;
    const index = chat.indexOf(message);
    const element = this.#element(message);
    updateMessage(element, message);
    if (this.#list.children[index] !== element) this.#list.insertBefore(element, this.#placeOf(chat, index, element));
    this.#group(index, index + 2);
    this.#settleSoon();
  }

  /** Draws what was added above, and keeps what the reader sees where it is. */
  sync(): void {
    const chat = this.#chat;
    if (!chat) return;
    const before = this.#scroller.scrollHeight;
    let place: Element | null = this.#list.firstElementChild;
    for (const message of chat.messages) {
      const element = this.#element(message);
      if (element === place) place = place.nextElementSibling;
      else this.#list.insertBefore(element, place);
      updateMessage(element, message);
    }
    this.#group(0, chat.messages.length);
    this.refresh();
    if (this.#isAtBottom) this.toBottom();
    else this.#scroller.scrollTop += this.#scroller.scrollHeight - before;
  }

  /** Takes messages off the page. */
  remove(messages: ChatMessage[]): void {
    for (const { key } of messages) {
      this.#elements.get(key)?.remove();
      this.#elements.delete(key);
    }
    this.#group(0, 1);
    this.refresh();
  }

  /** Draws what depends on the conversation as a whole. */
  refresh(): void {
    const chat = this.#chat;
    if (!chat) return;
    this.#top.hidden = !chat.hasOlder || chat.messages.length === 0;
    this.#empty.hidden = chat.messages.length > 0 || !chat.isLoaded;
  }

  /** Whether the reader is at the newest message. */
  get isAtBottom(): boolean {
    return this.#isAtBottom;
  }

  /** Whether the messages leave room for more. */
  get hasRoom(): boolean {
    return this.#scroller.scrollHeight <= this.#scroller.clientHeight + TOP_PX;
  }

  /** Scrolls to the newest message. */
  toBottom(): void {
    this.#isAtBottom = true;
    this.#jump.hidden = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /** Says how many subscribe to the channel. */
  setCount(count: number | undefined): void {
    const element = byId("chat-count");
    element.hidden = count === undefined;
    if (count !== undefined) element.textContent = subscribers(count);
  }

  /** Says that the other one is typing. */
  setTyping(peer: string | undefined): void {
    this.#typing.hidden = !peer;
    byId("typing-text").textContent = peer ? `${peer} is typing` : "";
    if (this.#isAtBottom) this.toBottom();
  }

  #element(message: ChatMessage): HTMLLIElement {
    const known = this.#elements.get(message.key);
    if (known) return known;
    const element = newMessage(message);
    this.#elements.set(message.key, element);
    return element;
  }

  /** The element before which the one at `index` stands: that of the next message that is drawn. */
  #placeOf(chat: Chat, index: number, self: HTMLElement): HTMLElement | null {
    const next = chat.messages[index + 1];
    const element = next && this.#elements.get(next.key);
    return element && element !== self && element.parentElement ? element : null;
  }

  /** Marks days, and messages that follow one of the same sender, from `first` up to `end`. */
  #group(first: number, end: number): void {
    const messages = this.#chat?.messages ?? [];
    for (let index = Math.max(0, first); index < Math.min(end, messages.length); index++) {
      const [previous, current] = [messages[index - 1], messages[index]];
      const element = current && this.#elements.get(current.key);
      if (!current || !element) continue;
      const day = dayOf(timeOf(current));
      const isNewDay = !previous || dayOf(timeOf(previous)) !== day;
      if (isNewDay) element.dataset.day = day;
      else delete element.dataset.day;
      const follows = !isNewDay && previous && senderOf(previous.message) === senderOf(current.message);
      element.classList.toggle("follows", follows && timeOf(current) - timeOf(previous) < GROUP_MS);
    }
  }

  /** Once for all messages that arrive together: scrolling makes the browser lay out the page. */
  #settleSoon(): void {
    if (this.#settleIsDue) return;
    this.#settleIsDue = true;
    queueMicrotask(() => {
      this.#settleIsDue = false;
      this.refresh();
      if (this.#isAtBottom) this.toBottom();
      else this.#jump.hidden = false;
    });
  }

  #onScroll(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#isAtBottom = scrollHeight - scrollTop - clientHeight < BOTTOM_PX;
    this.#jump.hidden = this.#isAtBottom;
    if (scrollTop < TOP_PX && this.#chat?.hasOlder) this.#onTop();
  }
}

function timeOf({ message }: ChatMessage): number {
  return message.sendTime || message.createTime;
}

/** A loader above the first message; asked for before the reader sees it. */
const TOP_PX = 200;
const BOTTOM_PX = 60;
const GROUP_MS = 5 * 60_000;
