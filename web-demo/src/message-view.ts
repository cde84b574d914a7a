// One message as an element, with the attributes by which tests and styles know it.

import { textOf } from "../sdk";
import type { ChatMessage, ChatState } from "./chats";
import { icon, make, senderOf, timeOfDay } from "./dom";

/** Makes the element of a message. */
export function newMessage(chat: ChatMessage): HTMLLIElement {
  const element = make("li", `message ${chat.message.own ? "is-own" : "is-theirs"}`);
  const bubble = make("div", "bubble");
  const meta = make("span", "meta");
  meta.append(make("time"), make("span", "state"));
  // Many write in a channel.
  if (chat.message.channel && !chat.message.own) bubble.append(make("p", "sender", senderOf(chat.message)));
  bubble.append(make("p", "text", textOf(chat.message)), meta);
  element.append(bubble);
  updateMessage(element, chat);
  return element;
}

/** Brings the element up to what is known now. */
export function updateMessage(element: HTMLElement, chat: ChatMessage): void {
  const { message, state } = chat;
  const isSame = element.dataset.state === state;
  Object.assign(element.dataset, {
    localId: message.localId,
    serverId: message.serverId,
    seq: String(message.seq),
    state,
    conversation: message.conversation,
    convSeq: String(message.convSeq),
    own: String(message.own),
  });
  const time = element.querySelector("time");
  const ms = message.sendTime || message.createTime;
  if (time) {
    time.textContent = timeOfDay(ms);
    time.dateTime = new Date(ms).toISOString();
  }
  if (isSame) return;
  drawState(element, state, message.own);
  drawError(element, chat);
}

function drawState(element: HTMLElement, state: ChatState, isOwn: boolean): void {
  const slot = element.querySelector<HTMLElement>(".state");
  if (!slot || !isOwn || state === "received") return;
  const { name, label } = STATES[state];
  slot.replaceChildren(icon(name));
  slot.title = label;
  slot.setAttribute("role", "img");
  slot.setAttribute("aria-label", label);
}

function drawError(element: HTMLElement, { state, error, key }: ChatMessage): void {
  element.querySelector(".refusal")?.remove();
  if (state !== "rejected") return;
  const refusal = make("div", "refusal", `Not sent: ${error ?? "refused"}. `);
  const again = make("button", "link", "Send again");
  again.type = "button";
  again.dataset.again = key;
  refusal.append(again);
  element.append(refusal);
}

const STATES: Record<Exclude<ChatState, "received">, { name: string; label: string }> = {
  sending: { name: "sending", label: "Sending" },
  accepted: { name: "accepted", label: "Accepted: it cannot be lost any more" },
  stored: { name: "stored", label: "Stored: it has its place in the conversation" },
  rejected: { name: "rejected", label: "Refused" },
};
