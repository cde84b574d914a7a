// What the server does to its data while a page is away: another epoch, and history that is kept no longer.

import { expect, test } from "vitest";
import { chat, expectSame } from "./check";
import { Stage } from "./stage";

const stage = Stage.use();

test("a back-up is restored under a new epoch: the pages start over, and show what there is, once", async () => {
  stage.expectFailingConnections();
  const { server } = stage;
  const [alice, bob] = await stage.pair();
  const texts = await chat(alice, bob, "backed up");
  await expectSame([alice, bob], texts);
  await server.terminate();
  await server.backUp();
  await server.run();
  for (const tab of [alice, bob]) await tab.wake();
  await expectSame([alice, bob], [...texts, ...(await chat(alice, bob, "after the back-up"))]);
  const before = await alice.inbox();
  await server.terminate();
  const drawn = await server.restore();
  await alice.say("written in between");
  texts.push("written in between");
  await server.run();
  for (const tab of [alice, bob]) await tab.wake();
  await expectSame([alice, bob], texts);
  // Their seqs are those of the lines that the restore took away.
  texts.push(...(await chat(alice, bob, "restored")));
  await expectSame([alice, bob], texts);
  for (const tab of [alice, bob]) await tab.hasInbox({ epoch: drawn, cursor: texts.length });
  expect([before.cursor, before.epoch === drawn]).toEqual([20, false]);
  await bob.page.reload();
  await bob.isConnected();
  await expectSame([alice, bob], texts);
});

test("history that is gone: the page says so, and goes on from what there is", async () => {
  stage.expectFailingConnections();
  const [alice, bob] = await stage.pair();
  const known = await chat(alice, bob, "known");
  await expectSame([alice, bob], known);
  await bob.set("network", false);
  const missed = Array.from({ length: 20 }, (_, n) => `missed ${n}`);
  await alice.sayAll(missed);
  await alice.hasSettled(known.length + missed.length);
  await stage.server.terminate();
  await stage.server.run({ "retention.max_entries": "5" });
  await stage.server.says("retention");
  await bob.set("network", true);
  await bob.page.getByText("Some old messages are no longer kept").waitFor();
  await alice.wake();
  await alice.say("and on");

  const left = [...missed.slice(-5), "and on"];
  await bob.hasSettled(known.length + left.length);
  const shown = await bob.shown();
  expect(shown.map(({ text }) => text)).toEqual([...known, ...left]);
  const seqs = shown.map(({ convSeq }) => convSeq);
  expect(seqs).toEqual([...new Set(seqs)].sort((a, b) => a - b));
  await bob.say("still here");
  await bob.hasInbox({ epoch: (await alice.inbox()).epoch, cursor: known.length + missed.length + 2 });
  await expectSame([alice], [...known, ...missed, "and on", "still here"]);

  await bob.page.reload();
  await bob.isConnected();
  await bob.hasSettled(left.length + 1);
  expect((await bob.shown()).map(({ text }) => text)).toEqual([...left, "still here"]);
  await bob.page.waitForSelector("#older", { state: "hidden" });
});
