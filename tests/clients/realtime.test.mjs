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
    // Who subscribed late was told of it as it is by now.
    if (opened.message_count < seen.length) await until(threads, (t) => t.message_count === seen.length, "the count");

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

for (const by of ["broadcast", "changes"]) {
  test(`by ${by}: the connection is lost, and nothing is missed or shown twice`, async () => {
    const line = await wire();
    const person = await newPerson("ada", { transport: line.transport });
    const other = await newPerson("bob");
    const { channel } = await membersServer([[person, "operator"], [other, "viewer"]]);
    const messages = serverClient(person, by).subscribeToChannelMessages(channel.id);
    const seen = [];
    const take = async (content) => seen.push(...(await until(messages, (m) => m.content === content, content)).map((m) => m.content));
    const say = async (...contents) => {
      for (const content of contents) await post(other, channel.id, content);
    };
    await say("1", "2");
    await take("2");
    for (const [away, back] of [[["3", "4", "5"], ["6"]], [["7"], ["8", "9"]]]) {
      line.cut();
      await say(...away);
      line.mend();
      // Some before it is back, some after; it can not tell.
      await say(...back);
      await take(back.at(-1));
    }
    assert.deepEqual(seen, ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    await messages.return();
    line.close();
  });
}

test("task:<uuid>, joined late: a replay and then live, each change once", async () => {
  const person = await newPerson("ada");
  const { channel } = await membersServer([[person, "operator"]]);
  const begun = Date.now() - 60_000;
  const { task } = await send(person, channel.id, "What is in this folder?");
  const { heard } = await joinedPrivate(person, `task:${task.id}`, { broadcast: { replay: { since: begun } } });
  await heard.find((m) => m.payload.status === "complete", "complete");
  const told = heard.all.map((m) => m.payload);
  assert.deepEqual(told.map((t) => t.seq), told.map((_, i) => i + 1), "from the first change to the last");
  assert.ok(heard.all.every((m) => m.event === "task" && m.payload.id === task.id));
  assert.equal(told[0].status, "running");
  const row = ok(await person.from("mac_tasks").select("*").eq("id", task.id).single());
  assert.equal(told.at(-1).result, row.result);
  assert.ok(told.some((t) => t.status === "running" && t.partial_output), "its progress");
});

test("replay: the newest of what was said since, in order, marked; not on public channels", async () => {
  const person = await newPerson("ada");
  const { channel } = await membersServer([[person, "operator"]]);
  const topic = `channel:${channel.id}`;
  for (const content of ["1", "2", "3", "4", "5"]) await post(person, channel.id, content);
  const all = await joinedPrivate(person, topic, { broadcast: { replay: { since: Date.now() - 600_000, limit: 3 } } });
  await post(person, channel.id, "6");
  await all.heard.find((m) => m.payload.content === "6");
  assert.deepEqual(all.heard.all.map((m) => [m.payload.content, m.meta?.replayed]), [["3", true], ["4", true], ["5", true], ["6", undefined]]);
  assert.ok(all.heard.all.every((m) => /^[0-9a-f-]{36}$/.test(m.meta.id)));
  await person.removeChannel(all.channel);

  const none = await joinedPrivate(person, topic, { broadcast: { replay: { since: Date.now() + 600_000 } } });
  await post(person, channel.id, "7");
  assert.equal((await none.heard.next()).payload.content, "7");
  await person.removeChannel(none.channel);
  assert.throws(() => person.channel("open", { config: { broadcast: { replay: { since: 0 } } } }), /private/);
});

test("a client without the right is refused and receives nothing else", async () => {
  const [member, outsider] = [await newPerson("member"), await live("OUTSIDER")];
  const { channel } = await membersServer([[member, "viewer"]], { threaded: true });
  const operator = await newPerson("operator");
  ok(await admin.rpc("hub_set_member", { p_server_id: channel.server_id, p_user_id: operator.id, p_role: "operator" }));
  const { task, thread } = await send(operator, channel.id, "What is in this folder?");
  const topics = [`channel:${channel.id}`, `thread:${thread.id}`, `task:${task.id}`];
  for (const topic of topics) await joinedPrivate(member, topic);

  const open = (await channelNamed(db, "quick")).id;
  const refusals = [
    ...topics.map((topic) => [outsider, topic]),
    ...topics.map((topic) => [liveAnon(), topic]),
    [liveAnon(), `channel:${open}`],
    [member, "device:dev"], [outsider, "device:dev"], [liveAnon(), "device:dev"],
    [member, `thread:${channel.id}`], [member, `task:${thread.id}`], [member, `channel:${task.id}`],
    [member, `channel:${channel.id.toUpperCase()}`], [member, `channel:${randomUUID()}`], [member, "channel:"], [member, "device:"],
    [member, "anything"], [member, `channel:${channel.id} `], [member, `xchannel:${channel.id}`],
    [await liveWith(need("HUB_DEVICE_JWT")), `channel:${channel.id}`], [await liveWith(need("HUB_DEVICE_JWT")), "device:other"],
  ];
  for (const [client, topic] of refusals) {
    const { error } = await listen(client, topic, { private: true }).refused();
    assert.equal(error, `Unauthorized: You do not have permissions to read from this Channel topic: ${topic}`);
  }
  // What anybody signed in may read, the outsider hears; and the device hears of itself.
  await joinedPrivate(outsider, `channel:${open}`);
  const device = await joinedPrivate(await liveWith(need("HUB_DEVICE_JWT")), "device:dev");
  await send(operator, channel.id, "Once more");
  const wake = await device.heard.find((m) => m.event === "wake");
  assert.equal(typeof wake.payload.seq, "number");
});

test("after a membership ends nothing more is received, and everything before it was", async () => {
  const { transport, frames } = recorder();
  const [owner, leaving] = [await newPerson("owner"), await newPerson("leaving", { transport })];
  const { server, channel } = await membersServer([[owner, "owner"], [leaving, "operator"]]);
  const open = (await channelNamed(db, "quick")).id;
  const { thread } = ok(await owner.rpc("hub_send", { p_channel_id: channel.id, p_content: "What is in this folder?" }));
  assert.equal(thread, null);
  const [room, marker, changes] = [
    await joinedPrivate(leaving, `channel:${channel.id}`),
    await joinedPrivate(leaving, `channel:${open}`),
    await joined(leaving, "changes", {}, { changes: [{ event: "*", schema: "public", table: "hub_channel_messages", filter: `channel_id=in.(${channel.id},${open})` }] }),
  ];
  const secret = `secret ${randomUUID()}`;
  await post(owner, channel.id, "the last words");
  ok(await owner.rpc("hub_set_member", { p_server_id: server.id, p_user_id: leaving.id, p_role: null }));
  await post(owner, channel.id, secret);
  const after = await post(db, open, `for everybody ${secret.slice(-12)}`);

  await marker.heard.find((m) => m.payload.id === after.id);
  await changes.heard.find((c) => c.new.id === after.id);
  await room.heard.find((m) => m.payload.content === "the last words");
  const why = await room.system.find((m) => m.status === "error");
  assert.match(why.message, /permission/);
  await room.closed();
  // Postgres Changes ask when they tell: whether the last words were told in time nobody promises.
  assert.equal(frames.all.filter((frame) => frame.includes(secret)).length, 0, "not even on the wire");

  const again = listen(leaving, `channel:${channel.id}`, { private: true });
  assert.match((await again.refused()).error, /^Unauthorized/);
  // Let in again, it hears again.
  await leaving.removeChannel(again.channel);
  assert.equal((await owner.rpc("hub_set_member", { p_server_id: server.id, p_user_id: leaving.id, p_role: "viewer" })).error.code, "UH003", "nobody is placed");
  ok(await owner.rpc("hub_invite", { p_server_id: server.id, p_user_id: leaving.id, p_role: "viewer" }));
  assert.equal(ok(await leaving.from("hub_invitations").select("*")).length, 1);
  assert.equal(ok(await leaving.rpc("hub_accept_invitation", { p_server_id: server.id })).role, "viewer");
  const back = await joinedPrivate(leaving, `channel:${channel.id}`);
  const welcome = await post(owner, channel.id, "welcome");
  assert.equal((await back.heard.find((m) => m.payload.content === "welcome")).payload.id, welcome.id);
});

test("a server that becomes members only disconnects other listeners", async () => {
  const [owner, reader] = [await newPerson("owner"), await newPerson("reader")];
  const { server, channel } = await membersServer([[owner, "owner"], [reader, "viewer"]]);
  const both = [await joinedPrivate(owner, `channel:${channel.id}`), await joinedPrivate(reader, `channel:${channel.id}`)];
  const { error } = await admin.from("hub_members").delete().eq("server_id", server.id).eq("user_id", reader.id);
  assert.equal(error, null);
  await both[1].closed();
  const said = await post(owner, channel.id, "still here");
  await both[0].heard.find((m) => m.payload.id === said.id);
});

test("only the database can send on a topic of the hub", async () => {
  const [owner, reader] = [await newPerson("owner"), await newPerson("reader")];
  const { channel } = await membersServer([[owner, "owner"], [reader, "viewer"]]);
  const topic = `channel:${channel.id}`;
  const ear = await joinedPrivate(reader, topic);
  const mouth = await joinedPrivate(owner, topic, { broadcast: { self: true } });
  await mouth.channel.send({ type: "broadcast", event: "message", payload: { id: "forged", content: "forged" } });
  await mouth.channel.send({ type: "broadcast", event: "message", payload: new TextEncoder().encode("forged").buffer });
  await assert.rejects(mouth.channel.httpSend("message", { content: "forged" }), /Unauthorized/);
  const silent = owner.channel(`${topic}?`, { config: { private: true } });
  await assert.rejects(silent.httpSend("message", { content: "forged" }), /Unauthorized/);
  await assert.rejects(liveAnon().channel(topic, { config: { private: true } }).httpSend("message", { content: "forged" }), /Unauthorized/);
  // The batch door leaves out in silence what may not be said.
  const late = (await newPerson("late")).channel(topic, { config: { private: true } });
  assert.equal(await late.send({ type: "broadcast", event: "message", payload: { content: "forged" } }), "ok");
  const said = await post(owner, channel.id, "the real one");
  for (const { heard } of [ear, mouth]) {
    assert.equal((await heard.next()).payload.id, said.id, "the first that is heard");
  }
  // A public channel of that name is another room.
  const stranger = await joined(await live("OUTSIDER"), topic, { broadcast: { self: true } });
  await stranger.channel.send({ type: "broadcast", event: "message", payload: { content: "in the other room" } });
  assert.equal((await stranger.heard.next()).payload.content, "in the other room");
  const next = await post(owner, channel.id, "the next");
  assert.equal((await ear.heard.next()).payload.id, next.id);
});
