// Finding and making elements, and what they say.

import type { Message } from "../sdk";

/** The element with this id. @throws when the page has none of that kind */
export function byId<E extends HTMLElement = HTMLElement>(id: string): E {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element as E;
}

/** Makes an element with a class and a text. */
export function make<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  className = "",
  text = "",
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

/** An icon of the page's sprite, silent to screen readers. */
export function icon(name: string): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/** A round picture of a user: initials on a colour of the name's own. */
export function avatar(user: string): HTMLElement {
  const element = make("span", "avatar", initialsOf(user));
  let hue = 0;
  for (const char of user) hue = (hue * 31 + char.charCodeAt(0)) % 360;
  element.style.setProperty("--hue", String(hue));
  element.setAttribute("aria-hidden", "true");
  return element;
}

/** A round picture of a channel. */
export function channelAvatar(): HTMLElement {
  const element = make("span", "avatar is-channel", "#");
  element.setAttribute("aria-hidden", "true");
  return element;
}

/** Who a message is from; what a backend calls him proves nothing, so that his id stands beside it. */
export function senderOf({ sender, nickname }: Message): string {
  return nickname ? `${nickname} (${sender})` : sender;
}

/** How many subscribe to a channel, in words. */
export function subscribers(count: number): string {
  return count === 1 ? "1 subscriber" : `${count} subscribers`;
}

/** The first letters of the first two words, or the first two letters of the only one. */
function initialsOf(user: string): string {
  const [first = user, second] = user.split(/[._@+-]+/).filter((word) => word !== "");
  return second ? first.slice(0, 1) + second.slice(0, 1) : first.slice(0, 2);
}

/** The time of day, as the reader writes it. */
export function timeOfDay(ms: number): string {
  return TIME_OF_DAY.format(ms);
}

/** The day in words. */
export function dayOf(ms: number): string {
  const date = new Date(ms);
  const daysAgo = Math.round((startOfDay(new Date()) - startOfDay(date)) / 86_400_000);
  if (daysAgo === 0) return "Today";
  if (daysAgo === 1) return "Yesterday";
  return date.toLocaleDateString([], { weekday: "long", day: "numeric", month: "long" });
}

function startOfDay(date: Date): number {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

/** Made once: making one takes longer than using it a hundred times. */
const TIME_OF_DAY = new Intl.DateTimeFormat([], { hour: "numeric", minute: "2-digit" });
const SVG = "http://www.w3.org/2000/svg";
