// The demo page: signs in, and ties its controls to the app.

import { isChannel, isId } from "../sdk";
import { App, type Target } from "./app";
import { claimDeviceId } from "./device";
import { byId } from "./dom";
import "./style.css";

const USER_KEY = "tidegate-demo:user";
/** Channels stand in the address so; no user's id has a colon. */
const CHANNEL = "c:";
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
  wireLists(app);
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

function wireLists(app: App): void {
  wireNames(byId("open-form"), byId("peer"), byId("peer-error"), isId, (id) => id);
  wireNames(byId("join-form"), byId("channel"), byId("channel-error"), isChannel, (name) => CHANNEL + name);
  wireJoining();
  byId("back").addEventListener("click", () => (location.hash = ""));
  byId("leave").addEventListener("click", () => {
    app.leave();
    location.hash = "";
    byId("join-toggle").focus();
  });
  const follow = (): void => {
    const target = decodeHash();
    app.open(target);
    if (target && matchMedia("(min-width: 720px)").matches) byId("composer").focus();
  };
  window.addEventListener("hashchange", follow);
  document.addEventListener("visibilitychange", () => !document.hidden && app.seen());
  const wanted = parameters.get("peer");
  if (wanted && !location.hash && isId(wanted)) history.replaceState(null, "", `#${encodeURIComponent(wanted)}`);
  follow();
}

/** A form that takes a name, and opens what the name is of. */
function wireNames(form: HTMLElement, input: HTMLInputElement, error: HTMLElement, isName: (text: string) => boolean, hashOf: (name: string) => string): void {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const name = input.value.trim();
    error.hidden = isName(name);
    if (!isName(name)) return;
    input.value = "";
    location.hash = encodeURIComponent(hashOf(name));
  });
  input.addEventListener("input", () => (error.hidden = true));
}

/** The form for another channel is there when it is wanted. */
function wireJoining(): void {
  const [toggle, form] = [byId("join-toggle"), byId("join-form")];
  const show = (isShown: boolean): void => {
    form.hidden = !isShown;
    toggle.setAttribute("aria-expanded", String(isShown));
    if (isShown) byId("channel").focus();
    else byId("channel-error").hidden = true;
  };
  toggle.addEventListener("click", () => show(form.hidden));
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    show(false);
    toggle.focus();
  });
  window.addEventListener("hashchange", () => show(false));
}

/** What the address says is open. */
function decodeHash(): Target | undefined {
  try {
    const name = decodeURIComponent(location.hash.slice(1));
    if (name.startsWith(CHANNEL)) return isChannel(name.slice(CHANNEL.length)) ? { channel: name.slice(CHANNEL.length) } : undefined;
    return isId(name) ? { peer: name } : undefined;
  } catch {
    return undefined;
  }
}
