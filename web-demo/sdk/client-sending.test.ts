// What becomes of messages that the whole client is to send.

import { describe, expect, test } from "vitest";
import { makeClient, pass, receipt, ws } from "../tests/played";
import { Code, ReceiptStatus } from "./gen/tidegate/v1/client_pb";

describe("sending", () => {
  test("from sending over accepted to stored, and the stored seq counts as received", async () => {
    const { client, seqs } = makeClient();
    const handle = client.send({ receiverId: "bob", content: "hi" });
    const states: string[] = [];
    client.on("state", ({ state }) => states.push(state));
    await pass(1);
    ws.wire.welcome(0);
    const [send] = ws.wire.all("send");
    expect(send?.msg).toMatchObject({ receiverId: "bob", localId: handle.localId, contentType: 1 });
    // A backend's, stored nowhere, settles nothing.
    ws.wire.delivers(0, { sendId: "alice", localId: handle.localId });
    expect([states, seqs]).toEqual([[], [0]]);
    ws.wire.says(receipt(handle.localId, ReceiptStatus.ACCEPTED));
    ws.wire.says(receipt(handle.localId, ReceiptStatus.STORED, { seq: 1n, convSeq: 9n }));
    ws.wire.says(receipt(handle.localId, ReceiptStatus.ACCEPTED));
    ws.wire.delivers(1, { sendId: "alice", localId: handle.localId });
    expect([states, seqs, client.pending]).toEqual([["accepted", "stored"], [0], []]);
    expect(await handle.stored).toMatchObject({ conversation: "d:alice:bob", convSeq: 9, seq: 1, serverId: "s", sendTime: 5 });
    await pass(1_000);
    expect(ws.wire.all("ack").at(-1)?.cursor).toBe(1n);
  });

  test("unanswered sends go out again in order on the next session, and a delivery is their STORED", async () => {
    const { client, seqs } = makeClient();
    await pass(1);
    ws.wire.welcome(0);
    const handles = ["a", "b", "c"].map((content) => client.send({ receiverId: "bob", content }));
    ws.wire.says(receipt(handles[0]!.localId, ReceiptStatus.STORED, { seq: 1n, convSeq: 1n }));
    ws.wire.says(receipt(handles[1]!.localId, ReceiptStatus.ACCEPTED));
    client.setOnline(false);
    await pass(10_000);
    expect([ws.wires.length, client.status.state]).toEqual([1, "offline"]);
    client.setOnline(true);
    await pass(1);
    ws.wire.welcome(1);
    expect(ws.wire.all("send").map(({ msg }) => msg?.localId)).toEqual([handles[1]!.localId, handles[2]!.localId]);
    ws.wire.delivers(2, { sendId: "alice", localId: handles[1]!.localId });
    expect([handles.map(({ state }) => state), seqs]).toEqual([["stored", "stored", "sending"], []]);
  });

  test("an own delivery without a seq is stored nowhere: the send waits on", async () => {
    const { client, seqs } = makeClient();
    const handle = client.send({ receiverId: "bob", content: "hi" });
    await pass(1);
    ws.wire.welcome(0);
    ws.wire.delivers(0, { sendId: "alice", localId: handle.localId });
    expect([seqs, handle.state, client.pending]).toEqual([[0], "sending", [handle]]);
    ws.wire.delivers(1, { sendId: "alice", localId: handle.localId });
    expect([seqs, handle.state, client.pending]).toEqual([[0], "stored", []]);
  });

  test("a reload sends what was left, under the same ids", async () => {
    const first = makeClient({ user: "alice" });
    const handle = first.client.send({ receiverId: "bob", content: "left over" });
    await pass(0);
    first.client.close();
    await expect(handle.stored).rejects.toMatchObject({ code: "CLOSED" });
    const second = makeClient({ user: "alice" });
    expect(second.client.pending.map(({ localId }) => localId)).toEqual([handle.localId]);
    await pass(1);
    ws.wire.welcome(0);
    expect(ws.wire.all("send")).toMatchObject([{ msg: { localId: handle.localId } }]);
    ws.wire.says(receipt(handle.localId, ReceiptStatus.STORED, { seq: 1n }));
    await pass(0);
    second.client.close();
    expect(makeClient({ user: "alice" }).client.pending).toEqual([]);
  });

  test("a refusal is told", async () => {
    const { client } = makeClient();
    await pass(1);
    ws.wire.welcome(0);
    const handle = client.send({ receiverId: "bob", content: "x" });
    ws.wire.says(receipt(handle.localId, ReceiptStatus.REJECTED, { code: Code.PERMISSION_DENIED, message: "no" }));
    await expect(handle.accepted).rejects.toMatchObject({ code: "PERMISSION_DENIED", message: "no" });
    expect(handle.state).toBe("rejected");
  });

  test.each([
    [{ content: "x" }, "INVALID_ARGUMENT"],
    [{ receiverId: "a", groupId: "b", content: "x" }, "INVALID_ARGUMENT"],
    [{ receiverId: "no spaces", content: "x" }, "INVALID_ARGUMENT"],
    [{ receiverId: "bob", content: "x".repeat(65_537) }, "TOO_LARGE"],
  ])("what cannot be sent throws: %#", (outgoing, code) => {
    expect(() => makeClient().client.send(outgoing)).toThrow(expect.objectContaining({ code }));
  });
});
