// The list of conversations. Draws what it is given; elements stay, so that the focus stays.

import { textOf } from "../sdk";
import type { Chat } from "./chats";
import { avatar, byId, icon, make, timeOfDay } from "./dom";

/** Draws the list into `#conversations`. */
export class ListView {
  readonly #list = byId<HTMLUListElement>("conversations");
  readonly #hint = byId("list-hint");
  readonly #items = new Map<string, HTMLLIElement>();

  /**
   * @param chats the conversations, in the order to show
   * @param openPeer with whom the open one is
   * @param isTyping who is typing just now
   */
  draw(chats: Chat[], openPeer: string | undefined, isTyping: (peer: string) => boolean): void {
    this.#hint.hidden = chats.length > 0;
    const items = chats.map((chat) => this.#item(chat, chat.peer === openPeer, isTyping(chat.peer)));
    items.forEach((item, index) => {
      if (this.#list.children[index] !== item) this.#list.insertBefore(item, this.#list.children[index] ?? null);
    });
    while (this.#list.children.length > items.length) this.#list.lastElementChild?.remove();
  }

  #item(chat: Chat, isOpen: boolean, isTyping: boolean): HTMLLIElement {
    const item = this.#items.get(chat.peer) ?? newItem(chat.peer);
    this.#items.set(chat.peer, item);
    const link = item.firstElementChild as HTMLElement;
    if (isOpen) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
    const last = chat.last;
    const time = last ? timeOfDay(last.message.sendTime || last.message.createTime) : "";
    setText(link, ".item-time", time);
    const preview = last ? (last.message.own ? "You: " : "") + textOf(last.message).slice(0, 120) : "No messages yet";
    setText(link, ".item-preview", isTyping ? "typing …" : preview);
    link.querySelector(".item-preview")?.classList.toggle("is-typing", isTyping);
    const badge = link.querySelector<HTMLElement>(".unread");
    if (badge) {
      badge.hidden = chat.unread === 0;
      badge.textContent = chat.unread > 99 ? "99+" : String(chat.unread);
      badge.setAttribute("aria-label", `${chat.unread} unread`);
    }
    return item;
  }
}

function newItem(peer: string): HTMLLIElement {
  const item = make("li");
  const link = make("a", "item");
  link.href = `#${encodeURIComponent(peer)}`;
  link.dataset.peer = peer;
  const text = make("span", "item-text");
  const name = make("span", "item-name", peer);
  text.append(name, make("span", "item-preview"));
  const side = make("span", "item-side");
  const unread = make("span", "unread");
  unread.hidden = true;
  side.append(make("span", "item-time"), unread);
  link.append(avatar(peer), text, side, icon("chevron"));
  item.append(link);
  return item;
}

function setText(root: HTMLElement, selector: string, text: string): void {
  const element = root.querySelector(selector);
  if (element && element.textContent !== text) element.textContent = text;
}
