import { TidegateClient, textOf } from "../tidegate.js";
const user = new URLSearchParams(location.search).get("user") ?? "alice";
const json = async (path) => (await fetch(path)).json();
const client = new TidegateClient({
  deviceId: "minimal",
  token: async () => (await json(`/demo/token?user=${user}`)).token, // in your product: your backend
  endpoints: async () => {
    const { webtransport, websocket, cert_sha256 } = await json("/demo/connect");
    return { webtransport, websocket, certSha256: cert_sha256 };
  },
});
const show = (who, text) => messages.append(Object.assign(document.createElement("li"), { textContent: `${who}: ${text}` }));
client.on("message", (message) => show(message.sender, textOf(message)));
form.onsubmit = (event) => (event.preventDefault(), client.send({ receiverId: "bob", content: text.value }), show(user, text.value), form.reset());
client.connect();
