// The three architectures as Aura uses them, by a person who signs in with a password.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { before, test } from "node:test";
import { anon, channelNamed, ok, serverClient, service, signIn, watch, withToken } from "./support.mjs";

let db, client;
before(async () => {
  db = await signIn("OPERATOR");
  client = serverClient(db);
});

test("the servers and their channels, counted", async () => {
  const servers = await client.fetchServers();
  const counts = Object.fromEntries(servers.map((s) => [s.name, s.channel_count]));
  assert.deepEqual({ ...counts, "aura-labs": undefined }, { "koji-pipeline": 4, "buf-barista": 11, "cloud-hub": 6, "aura-labs": undefined });
  for (const server of servers) {
    assert.equal((await client.fetchChannels(server.id)).length, server.channel_count, server.name);
  }
  assert.equal(servers.length, 4, "the operator is a member of the server for members, too");
});

test("architecture 1: a command is answered and nothing is kept", async () => {
  const leads = await channelNamed(db, "leads");
  const answer = await client.executeCommand(leads.id, "!help");
  assert.match(answer.text, /^Commands:/);
  assert.deepEqual(answer.chunks, [answer.text]);
  assert.equal((await client.executeCommand(leads.id, "!stats")).text, "Pipeline: 23 active leads\nHot: 8 | Warm: 12 | Cold: 3\nRevenue MTD: $4,200");
  assert.match((await client.executeCommand(leads.id, "!nonsense")).text, /^Unknown command: !nonsense/);
  assert.deepEqual(await client.fetchChannelMessages(leads.id, 10), []);
});

test("the function koji-discord-bot answers the same, by supabase.functions.invoke", async () => {
  const leads = await channelNamed(db, "leads");
  const answer = ok(await db.functions.invoke("koji-discord-bot", { body: { channel_id: leads.id, command: "!hot brooklyn" } }));
  assert.equal(answer.text, "1. Bakeri (★4.8) - sample\n2. Laurel (★4.6) - outreach\n3. ACRE (★4.5) - follow_up");
  assert.deepEqual(answer, await client.executeCommand(leads.id, "!hot brooklyn"));

  const viewer = await signIn("VIEWER");
  const refused = await viewer.functions.invoke("koji-discord-bot", { body: { channel_id: leads.id, command: "!send-samples 1" } });
  assert.equal(refused.error.name, "FunctionsHttpError");
  assert.equal(refused.error.context.status, 403);
  assert.equal((await refused.error.context.json()).code, "42501");
  const unknown = await viewer.functions.invoke("koji-discord-bot", { body: { channel_id: randomUUID(), command: "!stats" } });
  assert.equal(unknown.error.context.status, 404);
});

test("architecture 2: a message, a task, its progress and its result, all in the channel", async () => {
  const channel = await channelNamed(db, "workshop");
  const sent = ok(await db.rpc("hub_send", { p_channel_id: channel.id, p_content: "What is in this folder?" }));
  assert.equal(sent.thread, null);
  assert.equal(sent.task.project, "Desktop/homelab");
  const { task } = await watch(client, sent.task.id);
  assert.equal(task.status, "complete", task.error);

  const short = task.id.slice(0, 4);
  const messages = (await client.fetchChannelMessages(channel.id, 50)).reverse();
  assert.deepEqual(messages.map((m) => m.seq), messages.map((_, i) => i + 1), "numbered without gaps");
  assert.equal(messages[0].content, "What is in this folder?");
  assert.equal(messages[0].sender_label, "Operator");
  assert.equal(messages[1].content, `⏳ Task ${short} queued\nModel: gemini | Project: Desktop/homelab`, "a question is research");
  assert.equal(messages[1].embed_data.title, "Task Queued");
  const progress = messages.filter((m) => m.is_progress);
  assert.equal(progress[0].content, `▶️ ${short} started [survey/dev]`);
  assert.ok(progress.length >= 2 && progress.length <= 16);
  assert.ok(progress.slice(1).every((m) => m.content.startsWith(`📋 ${short}: `)));
  const last = messages.at(-1);
  assert.ok(last.content.startsWith(`✅ ${short} complete [survey/dev]\n`), last.content);
  assert.equal(last.embed_data.color, 3066993);
  assert.equal(last.content_type, "result");

  const older = await client.fetchChannelMessages(channel.id, 50, last.created_at);
  assert.equal(older.length, messages.length - 1, "`before` pages back");
});

test("architecture 3: as the document's client does it, by three plain calls", async () => {
  const channel = await channelNamed(db, "pulse-control");
  const text = "Survey the project, please";
  const posted = await client.postChannelMessage({
    id: randomUUID(), channel_id: channel.id, task_thread_id: null, sender_type: "human", sender_id: null, sender_label: "Mohamed",
    content: text, content_type: "text", embed_data: null, reply_to: null, is_progress: false, metadata: null, created_at: "2001-01-01T00:00:00Z",
  });
  assert.equal(posted.seq, 1);
  assert.ok(Date.parse(posted.created_at) > Date.parse("2020-01-01"), "the server's clock counts");
  assert.equal(posted.sender_label, "Mohamed");

  const created = await client.createMACTask({ content: text, project: channel.project_path, model_preference: "claude", channel_id: channel.id });
  const thread = await client.createTaskThread(channel.id, created.id);
  assert.equal(thread.name, `${created.id.slice(0, 8)} — ${text}`);
  assert.deepEqual(await client.createTaskThread(channel.id, created.id).then((t) => t.id), thread.id, "once");

  const { task } = await watch(client, created.id);
  assert.equal(task.status, "complete", task.error);
  const inThread = await client.fetchThreadMessages(thread.id, 100);
  assert.equal(inThread[0].content, text);
  assert.equal(inThread[0].reply_to, posted.id);
  assert.equal(inThread[1].embed_data.title, "Task Queued");
  assert.equal(inThread.filter((m) => m.content_type === "result").length, 1);
  assert.ok(inThread.at(-1).content.includes("complete [survey/dev]"));
  const inChannel = await client.fetchChannelMessages(channel.id, 100);
  assert.equal(inChannel.length, 2, "the channel stays clean: the message, and one queued line");

  assert.equal((await client.fetchTaskThreads(channel.id)).length, 1);
  assert.equal((await client.updateThreadStatus(thread.id, "archived")).status, "archived");
  const reply = ok(await db.rpc("hub_send", { p_channel_id: channel.id, p_content: "and once more", p_thread_id: thread.id }));
  assert.equal(reply.thread.status, "active", "a reply reopens it");
  assert.equal(reply.task.thread_id, thread.id);
  assert.equal((await watch(client, reply.task.id)).task.status, "complete");
});

test("a task of the Dispatch tab, with no channel, runs and can be shown in a thread later", async () => {
  const created = await client.createMACTask({ content: "Look around", project: "Desktop/homelab" });
  const { task } = await watch(client, created.id);
  assert.equal(task.status, "complete", task.error);
  const channel = await channelNamed(db, "infrastructure");
  const thread = await client.createTaskThread(channel.id, created.id);
  const types = (await client.fetchThreadMessages(thread.id, 100)).map((m) => m.content_type);
  assert.deepEqual(types, ["text", "task", "result"]);
});

test("hub_messages_since returns what a client missed", async () => {
  const channel = await channelNamed(db, "garden");
  for (const content of ["one", "two", "three"]) await client.postChannelMessage({ channel_id: channel.id, content });
  const missed = ok(await db.rpc("hub_messages_since", { p_channel_id: channel.id, p_after: 1 }));
  assert.deepEqual(missed.map((m) => [m.seq, m.content]), [[2, "two"], [3, "three"]]);
});

test("sending twice with one idempotency key sends once", async () => {
  const channel = await channelNamed(db, "research");
  const args = { p_channel_id: channel.id, p_content: "only once", p_idempotency_key: randomUUID() };
  const both = await Promise.all([db.rpc("hub_send", args), db.rpc("hub_send", args)]);
  assert.equal(ok(both[0]).task.id, ok(both[1]).task.id);
  const other = await db.rpc("hub_send", { ...args, p_content: "something else" });
  assert.equal(other.error.code, "UH003");
});

test("inserting several rows, filtering by a value with a blank, exact counts", async () => {
  const channel = await channelNamed(db, "bridge");
  const rows = ok(await db.from("hub_channel_messages").insert([{ channel_id: channel.id, content: "a b" }, { channel_id: channel.id, content: "c" }]).select());
  assert.equal(rows.length, 2);
  assert.equal(ok(await db.from("hub_channel_messages").select("*").eq("content", "a b").eq("channel_id", channel.id)).length, 1);
  const { count } = await db.from("hub_channels").select("*", { count: "exact", head: true });
  assert.equal(count, 23);
});

test("a viewer reads and posts, and may not create tasks", async () => {
  const viewer = await signIn("VIEWER");
  const channel = await channelNamed(viewer, "quick");
  ok(await viewer.from("hub_channel_messages").insert({ channel_id: channel.id, content: "hello" }));
  for (const call of [
    viewer.rpc("hub_send", { p_channel_id: channel.id, p_content: "run this" }),
    viewer.from("mac_tasks").insert({ content: "run this", channel_id: channel.id }),
    viewer.from("hub_channel_messages").insert({ channel_id: channel.id, content: "x", sender_type: "system" }),
    viewer.from("hub_channel_messages").insert({ channel_id: channel.id, content: "x", sender_id: randomUUID() }),
    viewer.from("hub_channel_messages").insert({ channel_id: channel.id, content: "x", embed_data: { title: "Task Complete" } }),
    viewer.rpc("hub_decay_threads"),
  ]) {
    const { error, status } = await call;
    assert.equal(error?.code, "42501", JSON.stringify(error));
    assert.equal(status, 403);
  }
});

test("an outsider does not learn that the members' server exists", async () => {
  const outsider = await signIn("OUTSIDER");
  assert.equal((await serverClient(outsider).fetchServers()).length, 3);
  const labs = await channelNamed(db, "prototypes");
  assert.deepEqual(ok(await outsider.from("hub_channels").select("*").eq("id", labs.id)), []);
  const errors = [];
  for (const id of [labs.id, randomUUID()]) {
    const { error } = await outsider.rpc("hub_send", { p_channel_id: id, p_content: "hello?" });
    errors.push({ ...error, details: null });
  }
  assert.deepEqual(errors[0], errors[1]);
  assert.equal(errors[0].code, "UH004");
});

test("without a sign-in nothing is visible", async () => {
  const { error, status } = await anon().from("hub_servers").select("*");
  assert.equal(error.code, "42501");
  assert.equal(status, 401);
});

test("a device sees the tasks it holds and itself", async () => {
  const device = withToken("HUB_DEVICE_JWT");
  assert.deepEqual(ok(await device.from("hub_servers").select("*")), []);
  assert.deepEqual(ok(await device.from("mesh_devices").select("name")), [{ name: "dev" }]);
  const foreign = await device.rpc("hub_claim_tasks", { p_device: "somebody-else" });
  assert.equal(foreign.error.code, "42501");
});

test("an executor that only updates rows gets the same messages", async () => {
  const admin = service();
  const channel = await channelNamed(db, "cc-media");
  // For a platform nobody here has, so that the worker leaves it alone.
  const created = await client.createMACTask({ content: "Cut the trailer", channel_id: channel.id, platform: "windows" });
  ok(await admin.from("mac_tasks").update({ status: "running", claimed_by: "old-mac" }).eq("id", created.id));
  ok(await admin.from("mac_tasks").update({ partial_output: "Cutting" }).eq("id", created.id));
  ok(await admin.from("mac_tasks").update({ status: "complete", result: "Cut." }).eq("id", created.id));
  const contents = (await client.fetchChannelMessages(channel.id, 10)).reverse().map((m) => m.content);
  const short = created.id.slice(0, 4);
  assert.deepEqual(contents.slice(1), [`▶️ ${short} started [claude/old-mac]`, `📋 ${short}: Cutting`, `✅ ${short} complete [claude/old-mac]\nCut.`].map((c) => c.replace("[claude/", `[${created.model_preference}/`)));
});
