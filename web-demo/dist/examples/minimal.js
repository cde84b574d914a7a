import { TidegateClient, textOf } from "../tidegate.js";
const user = new URLSearchParams(location.search).get("user") ?? "alice";
const json = async (path) => (await fetch(path)).json(); // in your product: your own backend
const show = (who, text) => messages.append(Object.assign(document.createElement("li"), { textContent: `${who}: ${text}` }));
const token = async () => (await json(`/demo/token?user=${user}`)).token;
const endpoints = async () => json("/demo/connect").then((at) => ({ ...at, certSha256: at.cert_sha256 }));
const client = new TidegateClient({ token, endpoints, deviceId: "minimal" });
client.on("message", (message) => show(message.sender, textOf(message)));
client.connect();
form.onsubmit = (event) => {
  event.preventDefault();
  client.send({ receiverId: "bob", content: text.value }).stored.then((message) => show(user, textOf(message)));
  form.reset();
};
