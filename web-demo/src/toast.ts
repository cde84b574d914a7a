// A short word to the reader that goes by itself.

import { byId } from "./dom";

let timer: ReturnType<typeof setTimeout> | undefined;

/** Shows a text for a few seconds. */
export function toast(text: string): void {
  const element = byId("toast");
  element.textContent = text;
  element.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => (element.hidden = true), 5_000);
}
