// What must hold of two pages that show one conversation.

import { expect } from "vitest";
import type { Shown, Tab } from "./pages";

/** Both pages show these texts, each once, in one dense order, nothing else. */
export async function expectSame(tabs: Tab[], texts: string[]): Promise<void> {
  for (const tab of tabs) await tab.hasSettled(texts.length);
  const views = await Promise.all(tabs.map((tab) => tab.shown()));
  for (const view of views) {
    expect(view.map(({ text }) => text).sort()).toEqual([...texts].sort());
    expect(view.map(({ convSeq }) => convSeq)).toEqual(texts.map((_, index) => index + 1));
    expect(new Set(view.map(({ serverId }) => serverId)).size).toBe(texts.length);
    expect(view.every(hasState)).toBe(true);
  }
  const [first, ...others] = views.map((view) => view.map(({ serverId, text }) => `${serverId} ${text}`));
  for (const other of others) expect(other).toEqual(first);
}

/** Five lines each, in turns. @returns the texts */
export async function chat(alice: Tab, bob: Tab, name: string): Promise<string[]> {
  const texts = [];
  for (let n = 0; n < 5; n++) {
    await alice.say(`${name} ping ${n}`);
    await bob.say(`${name} pong ${n}`);
    texts.push(`${name} ping ${n}`, `${name} pong ${n}`);
  }
  return texts;
}

function hasState({ state, isOwn }: Shown): boolean {
  return state === (isOwn ? "stored" : "received");
}
