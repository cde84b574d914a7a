// The demo page: signs in, and ties its controls to the app.

import { isId } from "../sdk";
import { App } from "./app";
import { claimDeviceId } from "./device";
import { byId } from "./dom";
import "./style.css";

const USER_KEY = "tidegate-demo:user";
const parameters = new URLSearchParams(location.search);

const user = parameters.get("user") ?? sessionStorage.getItem(USER_KEY) ?? "";
if (isId(user)) void enter(user);
else showSignIn();

function showSignIn(): void {
  const name = byId<HTMLInputElement>("name");
  byId("welcome").hidden = false;
  byId("sign-in-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (isId(name.value.trim())) void enter(name.value.trim());
    else byId("name-error").hidden = false;
  });
  name.addEventListener("input", () => (byId("name-error").hidden = true));
  name.focus();
}

async function enter(name: string): Promise<void> {
  sessionStorage.setItem(USER_KEY, name);
  byId("welcome").hidden = true;
  byId("app").hidden = false;
  byId("me").textContent = name;
  const app = new App(name, await claimDeviceId());
  wireSwitches(app);
  wireComposer(app);
  wireConversations(app);
  app.start();
}

function wireSwitches(app: App): void {
  const network = byId<HTMLInputElement>("network");
  network.checked = true;
  network.addEventListener("change", () => app.setOnline(network.checked));
  const force = byId<HTMLInputElement>("force-websocket");
  force.checked = false;
  force.addEventListener("change", () => app.forceWebSocket(force.checked));
  byId("reconnect").addEventListener("click", () => app.reconnect());
  byId("sign-out").addEventListener("click", () => {
    sessionStorage.removeItem(USER_KEY);
    location.assign(location.pathname);
  });
}

function wireComposer(app: App): void {
  const composer = byId<HTMLTextAreaElement>("composer");
  const submit = (): void => {
    if (app.send(composer.value)) composer.value = "";
    fit(composer);
    composer.focus();
  };
  byId("composer-form").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  composer.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  composer.addEventListener("input", () => {
    fit(composer);
    if (composer.value) app.writes();
  });
  byId("messages").addEventListener("click", (event) => {
    const key = (event.target as HTMLElement).dataset.again;
    if (key) app.sendAgain(key);
  });
}

/** A composer as high as its text, within what the style sheet allows. */
function fit(composer: HTMLTextAreaElement): void {
  composer.style.height = "auto";
  composer.style.height = `${composer.scrollHeight}px`;
}

function wireConversations(app: App): void {
  const peer = byId<HTMLInputElement>("peer");
  const error = byId("peer-error");
  byId("open-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const id = peer.value.trim();
    error.hidden = isId(id);
    if (!isId(id)) return;
    peer.value = "";
    location.hash = encodeURIComponent(id);
  });
  peer.addEventListener("input", () => (error.hidden = true));
  byId("back").addEventListener("click", () => (location.hash = ""));
  const follow = (focus: boolean): void => {
    const id = decodeHash();
    app.open(isId(id) ? id : undefined);
    if (focus && isId(id) && matchMedia("(min-width: 720px)").matches) byId("composer").focus();
  };
  window.addEventListener("hashchange", () => follow(true));
  document.addEventListener("visibilitychange", () => !document.hidden && app.seen());
  const wanted = parameters.get("peer");
  if (wanted && !location.hash && isId(wanted)) history.replaceState(null, "", `#${encodeURIComponent(wanted)}`);
  follow(true);
}

function decodeHash(): string {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}
