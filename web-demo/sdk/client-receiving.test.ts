// What the whole client does with messages that come.

import { describe, expect, test, vi } from "vitest";
import { makeClient, pass, ws } from "../tests/played";

describe("receiving", () => {
  test("acknowledges after a second, after 64, and when it goes", async () => {
    const { client } = makeClient();
    await pass(1);
    ws.wire.welcome(0);
    ws.wire.delivers(1);
    ws.wire.delivers(3);
    await pass(999);
    expect(ws.wire.all("ack")).toEqual([]);
    await pass(1);
    expect(ws.wire.all("ack")).toMatchObject([{ cursor: 1n }]);
    ws.wire.delivers(2);
    for (let seq = 4; seq <= 65; seq++) ws.wire.delivers(seq);
    expect(ws.wire.all("ack").at(-1)).toMatchObject({ cursor: 65n });
    ws.wire.delivers(66);
    client.close();
    expect(ws.wire.all("ack").at(-1)).toMatchObject({ cursor: 66n });
    expect(ws.wire.all("bye")).toHaveLength(1);
  });

  test("gone entries and gone history move the cursor", async () => {
    const { client, seqs } = makeClient();
    const gone: object[] = [];
    client.on("gone", (event) => gone.push(event));
    client.on("historyGone", (event) => gone.push(event));
    await pass(1);
    ws.wire.welcome(0);
    ws.wire.says({ case: "deliver", value: { seq: 1n, entry: { case: "gone", value: {} } } });
    ws.wire.says({ case: "historyGone", value: { floor: 10n } });
    ws.wire.delivers(10);
    await pass(1_000);
    expect(gone).toEqual([{ seq: 1 }, { floor: 10 }]);
    expect([seqs, ws.wire.all("ack").at(-1)?.cursor]).toEqual([[10], 10n]);
  });

  test("a listener that throws disturbs neither the others nor the client", async () => {
    const { client, seqs } = makeClient();
    const uncaught: unknown[] = [];
    vi.stubGlobal("setTimeout", ((original) => (run: () => void, ms?: number) =>
      original(() => {
        try {
          run();
        } catch (error) {
          uncaught.push(error);
        }
      }, ms))(setTimeout));
    client.on("message", () => {
      throw new Error("a listener's own");
    });
    await pass(1);
    ws.wire.welcome(0);
    ws.wire.delivers(1);
    ws.wire.delivers(2);
    await pass(1);
    vi.unstubAllGlobals();
    expect([seqs, uncaught.map(String)]).toEqual([[1, 2], ["Error: a listener's own", "Error: a listener's own"]]);
  });
});
