// What an application in TypeScript does with the built client. Checked against dist/tidegate.d.ts, and never run.

import {
  directConversation,
  isChannel,
  isId,
  memoryStore,
  TidegateClient,
  TidegateError,
  textOf,
  webSocketTransport,
  webTransportTransport,
  type ClientOptions,
  type ConnectionStatus,
  type Endpoints,
  type HistoryPage,
  type Message,
  type SendHandle,
  type Subscription,
} from "../../dist/tidegate.js";

const endpoints: Endpoints = { webtransport: "https://chat.example.com/wt", websocket: "wss://chat.example.com/ws" };
const options: ClientOptions = {
  endpoints: async () => endpoints,
  token: async () => (await fetch("/my-backend/tidegate-token")).text(),
  deviceId: "this-browser",
  store: memoryStore(),
  transports: [webTransportTransport(), webSocketTransport()],
};
const client = new TidegateClient(options);

const forget: () => void = client.on("message", (message) => show(message));
client.on("connection", ({ state, transport, rttMs }: ConnectionStatus) => {
  if (state === "connected") console.log(transport?.toUpperCase(), rttMs?.toFixed(0));
});
client.on("closed", ({ code, reason }) => console.log(code, reason));
client.on("signal", ({ from, kind }) => console.log(from, kind));
client.connect();

const handle: SendHandle = client.send({ receiverId: "bob", content: "hello" });
client.on("state", ({ localId, state }) => state === "stored" && localId === handle.localId && forget());

export async function history(peer: string): Promise<Message[]> {
  try {
    await handle.stored;
    const page: HistoryPage = await client.pull(directConversation(client.user, peer), { before: 0, limit: 50 });
    return page.entries.flatMap(({ message }) => message ?? []);
  } catch (error) {
    if (error instanceof TidegateError && error.code === "PERMISSION_DENIED") return [];
    throw error;
  }
}

const news: Subscription = client.subscribe("news/sport", { after: 120 });
news.on("message", (message) => show(message));
news.on("subscribed", ({ head, floor, count, isReset }) => console.log(head - floor, count.toFixed(0), isReset));
news.on("historyGone", ({ floor }) => console.log(floor));
news.on("ended", ({ code, message }) => console.log(code === "PERMISSION_DENIED", message));
client.send({ channel: news.channel, content: isChannel(news.channel) ? "goal" : "" });

export async function follow(channel: string): Promise<number> {
  const subscription = client.subscribe(channel);
  await subscription.ready;
  subscription.refresh();
  subscription.unsubscribe();
  return subscription.head - (subscription.position ?? 0);
}

function show(message: Message): void {
  const { seq, own }: { seq: number; own: boolean } = message;
  console.log(seq, own, isId(message.sender), textOf(message));
}

// @ts-expect-error: there is no such event
client.on("mesage", () => {});
// @ts-expect-error: a device has to have an id
new TidegateClient({ endpoints: async () => endpoints, token: async () => "" });
// @ts-expect-error: this is no code
if (new TidegateError("TIMEOUT", "").code === "NO_SUCH_CODE") throw new Error();
// @ts-expect-error: positions move by themselves
news.position = 1;
// @ts-expect-error: handles are made by `send`
handle.advance("stored", {});
