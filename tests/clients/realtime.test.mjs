// Subscribing as Aura does, with the newest supabase-js: a real task of the real worker, a lost connection, who may listen.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { hangUp, joined, joinedPrivate, listen, live, liveAnon, liveWith, membersServer, newPerson, PATIENCE, recorder, seconds, wire } from "./live.mjs";
import { channelNamed, need, ok, serverClient, service } from "./support.mjs";

let db, admin;
before(async () => {
  db = await live("OPERATOR");
  admin = service();
});
after(hangUp);

const since = async (client, channel, thread = null, after = 0) =>
  ok(await client.rpc("hub_messages_since", { p_channel_id: channel, p_thread_id: thread, p_after: after }));
const post = async (client, channel, content) =>
  ok(await client.from("hub_channel_messages").insert({ channel_id: channel, content }).select().single());
const send = async (client, channel, content) => ok(await client.rpc("hub_send", { p_channel_id: channel, p_content: content }));

/** Takes from a subscription until one passes; the bound is for a machine that hangs. */
async function until(iterator, passes, what) {
  const taken = [];
  const late = AbortSignal.timeout(PATIENCE);
  for (;;) {
    const { value, done } = await Promise.race([
      iterator.next(),
      new Promise((_, reject) => late.addEventListener("abort", () => reject(new Error(`${what} did not come; ${taken.length} came: ${JSON.stringify(taken.at(-1))}`)))),
    ]);
    assert.ok(!done, `ended before ${what}`);
    taken.push(value);
    if (passes(value)) return taken;
  }
}

/** REST writes a time with six digits, the database without its last zeros. */
const asTold = (rows) => rows.map((row) => ({ ...row, created_at: row.created_at.replace(/0+\+/, "+") }));

for (const [by, vsn] of [["broadcast", "2.0.0"], ["changes", "2.0.0"], ["broadcast", "1.0.0"], ["changes", "1.0.0"]]) {
  test(`flat, by ${by}, vsn ${vsn}: a task of the worker, in order and once`, async () => {
    const person = await newPerson("ada", { vsn });
    const { channel } = await membersServer([[person, "operator"]]);
    const messages = serverClient(person, by).subscribeToChannelMessages(channel.id);
    const { task } = await send(person, channel.id, "What is in this folder?");
    const seen = await until(messages, (m) => ["result", "error"].includes(m.content_type), "the result");
    await messages.return();
    assert.deepEqual(seen.map((m) => m.seq), seen.map((_, i) => i + 1));
    assert.deepEqual(asTold(seen), asTold(await since(person, channel.id)), "rows as REST has them, none twice");
    assert.deepEqual(seen.slice(0, 2).map((m) => m.content_type), ["text", "task"]);
    assert.ok(seen.slice(2, -1).every((m) => m.is_progress && m.task_id === task.id) && seen.length > 3);
    assert.equal(seen.at(-1).content_type, "result", seen.at(-1).content);
  });

  test(`threaded, by ${by}, vsn ${vsn}: the thread appears, its conversation, its end`, async () => {
    const person = await newPerson("ada", { vsn });
    const { channel } = await membersServer([[person, "operator"]], { threaded: true });
    const hub = serverClient(person, by);
    const threads = hub.subscribeToTaskThreadUpdates(channel.id);
    const inChannel = hub.subscribeToChannelMessages(channel.id);
    const sent = await send(person, channel.id, "Survey the project");
    const [opened] = (await until(threads, () => true, "the thread")).slice(-1);
    assert.equal(opened.id, sent.thread.id);
    assert.equal(opened.status, "active");
    const inThread = hub.subscribeToThreadMessages(channel.id, opened.id);
    const seen = await until(inThread, (m) => ["result", "error"].includes(m.content_type), "the result");
    assert.deepEqual(asTold(seen), asTold(await since(person, channel.id, opened.id)));
    assert.equal(seen.at(-1).content_type, "result", seen.at(-1).content);
    const told = await until(inChannel, (m) => m.content_type === "task", "the queued line");
    assert.deepEqual(told.map((m) => m.content_type), ["text", "task"], "the channel stays clean");
    await until(threads, (t) => t.message_count === seen.length, "the count");

    // From here its time passes at once.
    ok(await admin.from("hub_channels").update({ thread_idle_after: "1 microsecond", thread_decay_after: "1 microsecond" }).eq("id", channel.id));
    const states = [];
    for (const status of ["idle", "decaying", "archived"]) {
      if (status === "archived") await hub.updateThreadStatus(opened.id, status);
      else ok(await admin.rpc("hub_decay_threads"));
      states.push(...(await until(threads, (t) => t.status === status, status)).map((t) => t.status));
    }
    assert.deepEqual([...new Set(states)].filter((s) => s !== "active"), ["idle", "decaying", "archived"]);
    const end = await until(inThread, (m) => m.content_type === "summary", "the summary");
    assert.deepEqual(end.map((m) => m.content_type), ["warning", "summary"]);
    await hub.updateThreadStatus(opened.id, "active");
    await until(threads, (t) => t.status === "active", "active again");
    await Promise.all([threads.return(), inThread.return(), inChannel.return()]);
  });
}
