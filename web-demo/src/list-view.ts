// A list of conversations, or of channels. Draws what it is given; elements stay, so that the focus stays.

import { textOf } from "../sdk";
import type { Chat } from "./chats";
import { avatar, byId, channelAvatar, icon, make, senderOf, subscribers, timeOfDay } from "./dom";

/** What a list shows of its conversations besides what they are. */
export interface Looks {
  /** Whether it is the open one. */
  isOpen(chat: Chat): boolean;
  /** Whether somebody is typing in it. */
  isTyping(chat: Chat): boolean;
  /** How many subscribe to it; undefined: unknown, or no channel. */
  count(chat: Chat): number | undefined;
}

/** Draws a list. */
export class ListView {
  readonly #list: HTMLUListElement;
  readonly #hint: HTMLElement;
  readonly #looks: Looks;
  readonly #items = new Map<string, HTMLLIElement>();

  /**
   * @param list the id of the list's element
   * @param hint that of the words for an empty one
   */
  constructor(list: string, hint: string, looks: Looks) {
    this.#list = byId<HTMLUListElement>(list);
    this.#hint = byId(hint);
    this.#looks = looks;
  }

  /** @param chats the conversations, in the order to show */
  draw(chats: Chat[]): void {
    this.#hint.hidden = chats.length > 0;
    const items = chats.map((chat) => this.#item(chat));
    items.forEach((item, index) => {
      if (this.#list.children[index] !== item) this.#list.insertBefore(item, this.#list.children[index] ?? null);
    });
    while (this.#list.children.length > items.length) this.#list.lastElementChild?.remove();
  }

  /** Whether the reader sees its item. */
  shows(chat: Chat): boolean {
    const item = this.#items.get(chat.id)?.getBoundingClientRect();
    const view = this.#list.closest(".sections")?.getBoundingClientRect();
    return Boolean(item && view && item.height > 0 && item.bottom > view.top && item.top < view.bottom);
  }

  #item(chat: Chat): HTMLLIElement {
    const item = this.#items.get(chat.id) ?? newItem(chat);
    this.#items.set(chat.id, item);
    const link = item.firstElementChild as HTMLElement;
    const isTyping = this.#looks.isTyping(chat);
    if (this.#looks.isOpen(chat)) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
    const last = chat.last;
    const time = last ? timeOfDay(last.message.sendTime || last.message.createTime) : "";
    setText(link, ".item-time", time);
    setText(link, ".item-preview", isTyping ? "typing …" : previewOf(chat));
    link.querySelector(".item-preview")?.classList.toggle("is-typing", isTyping);
    drawCount(link, this.#looks.count(chat));
    const badge = link.querySelector<HTMLElement>(".unread");
    if (badge) {
      badge.hidden = chat.unread === 0;
      badge.textContent = chat.unread > 99 ? "99+" : String(chat.unread);
      badge.setAttribute("aria-label", `${chat.unread} unread`);
    }
    return item;
  }
}

function newItem({ id, title, isChannel }: Chat): HTMLLIElement {
  const item = make("li");
  const link = make("a", "item");
  link.href = `#${encodeURIComponent(isChannel ? id : title)}`;
  link.dataset[isChannel ? "channel" : "peer"] = title;
  const text = make("span", "item-text");
  text.append(make("span", "item-name", title), make("span", "item-preview"));
  const side = make("span", "item-side");
  const unread = make("span", "unread");
  unread.hidden = true;
  side.append(isChannel ? newCount() : make("span", "item-time"), unread);
  link.append(isChannel ? channelAvatar() : avatar(title), text, side, icon("chevron"));
  item.append(link);
  return item;
}

function newCount(): HTMLElement {
  const count = make("span", "count");
  count.hidden = true;
  count.append(icon("people"), make("span", "count-number"));
  return count;
}

function drawCount(link: HTMLElement, count: number | undefined): void {
  const element = link.querySelector<HTMLElement>(".count");
  if (!element) return;
  element.hidden = count === undefined;
  if (count === undefined) return;
  setText(element, ".count-number", String(count));
  element.title = subscribers(count);
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", subscribers(count));
}

function previewOf({ last, isChannel }: Chat): string {
  if (!last) return "No messages yet";
  const who = last.message.own ? "You: " : isChannel ? `${senderOf(last.message)}: ` : "";
  return who + textOf(last.message).slice(0, 120);
}

function setText(root: HTMLElement, selector: string, text: string): void {
  const element = root.querySelector(selector);
  if (element && element.textContent !== text) element.textContent = text;
}
