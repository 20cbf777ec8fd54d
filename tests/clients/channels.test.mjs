// What any app does with Realtime, whatever the hub is for: broadcasts, presence, tokens. With the newest supabase-js.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { claimsOf, hangUp, Inbox, joined, joinedPrivate, listen, live, liveAnon, liveWith, newPerson, recorder, seconds, sign } from "./live.mjs";
import { channelNamed, need, ok, url } from "./support.mjs";

let ada, bob;
before(async () => {
  ada = await live("OPERATOR");
  bob = await live("OUTSIDER", { vsn: "1.0.0" });
});
after(hangUp);

const name = (what) => `${what}-${randomUUID().slice(0, 8)}`;
const broadcast = (event, payload) => ({ type: "broadcast", event, payload });

for (const [from, to] of [["2.0.0", "2.0.0"], ["1.0.0", "1.0.0"], ["1.0.0", "2.0.0"], ["2.0.0", "1.0.0"]]) {
  test(`broadcasts from vsn ${from} to vsn ${to}, in order; self and ack`, async () => {
    const topic = name("room");
    const [sender, reader] = [await live("OPERATOR", { vsn: from }), liveAnon({ vsn: to })];
    const heard = await joined(reader, topic);
    const mouth = await joined(sender, topic, { broadcast: { ack: true } });
    const payloads = [{ n: 1 }, { text: "ü€🦉\"\\\n", deep: { list: [1, 2.5, null, true] } }, { big: "x".repeat(100_000) }, {}];
    for (const payload of payloads) assert.equal(await mouth.channel.send(broadcast("cursor", payload)), "ok", "acknowledged");
    await heard.heard.atLeast(payloads.length);
    assert.deepEqual(heard.heard.all.map((m) => [m.event, m.payload]), payloads.map((p) => ["cursor", p]));

    // Its own come back only when asked for, and before the acknowledgement.
    const self = await joined(liveAnon({ vsn: from }), topic, { broadcast: { self: true, ack: true } });
    assert.equal(await self.channel.send(broadcast("mine", { n: 2 })), "ok");
    assert.deepEqual(self.heard.all.map((m) => m.payload), [{ n: 2 }]);
    await mouth.heard.find((m) => m.event === "mine");
    assert.deepEqual(mouth.heard.all.map((m) => m.event), ["mine"], "of its own nothing");
  });
}

test("binary broadcasts arrive as bytes at clients that support them", async () => {
  const topic = name("bytes");
  const [v2, v1] = [await joined(liveAnon(), topic), await joined(bob, topic)];
  const mouth = await joined(ada, topic, { broadcast: { ack: true } });
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  assert.equal(await mouth.channel.send(broadcast("raw", bytes.buffer)), "ok");
  assert.equal(await mouth.channel.send(broadcast("raw", new ArrayBuffer(0))), "ok");
  assert.equal(await mouth.channel.send(broadcast("end", { n: 1 })), "ok");
  await v2.heard.atLeast(3);
  const [first, second, end] = v2.heard.all;
  assert.deepEqual([first, second].map(({ payload }) => new Uint8Array(payload)), [bytes, new Uint8Array()]);
  assert.deepEqual(end.payload, { n: 1 });
  assert.deepEqual((await v1.heard.next()).payload, { n: 1 }, "vsn 1 has no bytes");
});

test("broadcasts over HTTP: send before subscribe, httpSend, bytes, what is refused", async () => {
  const topic = name("http");
  const { heard } = await joined(liveAnon(), topic);
  const channel = ada.channel(topic);
  assert.equal(await channel.send(broadcast("one", { n: 1 })), "ok", "before subscribe it goes over HTTP");
  assert.deepEqual(await channel.httpSend("two", { n: 2 }), { success: true });
  assert.deepEqual(await channel.httpSend("three", new Uint8Array([0, 255]).buffer), { success: true });
  assert.deepEqual(await liveAnon().channel(topic).httpSend("four", { n: 4 }), { success: true });
  await heard.atLeast(4);
  assert.deepEqual(heard.all.map((m) => m.event), ["one", "two", "three", "four"]);
  assert.deepEqual(heard.all[1].payload, { n: 2 });
  assert.deepEqual(new Uint8Array(heard.all[2].payload), new Uint8Array([0, 255]));

  const call = (path, { token = need("SUPABASE_ANON_KEY"), type = "application/json", body = "{}", method = "POST" } = {}) =>
    fetch(`${url}/realtime/v1/api/broadcast${path}`, { method, body: method === "POST" ? body : undefined,
      headers: { ...(token && { Authorization: `Bearer ${token}` }), "Content-Type": type } });
  const status = async (...args) => {
    const response = await call(...args);
    const text = await response.text();
    if (response.status !== 202) assert.equal(typeof JSON.parse(text), "object", "an error is JSON");
    return response.status;
  };
  const messages = (...messages) => ({ body: JSON.stringify({ messages }) });
  const one = `/${topic}/events/e`;
  assert.equal(await status(one), 202);
  assert.equal(await status(one, { token: null }), 401);
  assert.equal(await status(one, { token: "forged" }), 401);
  assert.equal(await status(one, { token: sign({ role: "anon", exp: seconds() - 1 }) }), 401);
  assert.equal(await status(one, { token: sign({ role: "anon", exp: seconds() + 60 }, "another secret") }), 401);
  assert.equal(await status(one, { type: "text/plain" }), 415);
  assert.equal(await status(one, { body: "{" }), 400);
  assert.equal(await status(`${one}?private=true`), 403);
  assert.equal(await status(one, { body: JSON.stringify({ x: "x".repeat(3 * 1024 * 1024) }) }), 422);
  assert.equal(await status(one, { method: "GET" }), 405);
  assert.equal(await status("", messages({ topic, event: "e", payload: {} })), 202);
  assert.equal(await status("", messages()), 422);
  assert.equal(await status("", { body: "[]" }), 400);
  for (const bad of [{ event: "e", payload: {} }, { topic, payload: {} }, { topic, event: "e" }, { topic, event: "e", payload: [] },
    { topic: 5, event: "e", payload: {} }, { topic, event: "e", payload: {}, private: "perhaps" }]) {
    assert.equal(await status("", messages({ topic, event: "not said", payload: {} }, bad)), 422, JSON.stringify(bad));
  }
  assert.equal(await status("", messages(...Array(1001).fill({ topic, event: "not said", payload: {} }))), 429);
  assert.deepEqual(await channel.httpSend("last", {}), { success: true });
  await heard.find((m) => m.event === "last");
  assert.equal(heard.all.filter((m) => m.event === "not said").length, 0, "a batch is said as a whole, or not");
});

for (const vsn of ["2.0.0", "1.0.0"]) {
  test(`presence of two clients, vsn ${vsn}: state, joins, leaves`, async () => {
    const topic = name("presence");
    const [one, two] = [liveAnon({ vsn }), liveAnon({ vsn })];
    const first = await joined(one, topic, { presence: { key: "one" } }, { presence: true });
    await first.present.find((p) => p.event === "sync");
    assert.deepEqual(first.channel.presenceState(), {});
    assert.equal(await first.channel.track({ typing: false }), "ok");
    await first.present.find((p) => p.event === "join" && p.key === "one");

    const second = await joined(two, topic, { presence: { key: "two" } }, { presence: true });
    await second.present.find((p) => p.event === "sync");
    assert.equal(second.channel.presenceState().one[0].typing, false, "who was there before");
    assert.equal(await second.channel.track({ typing: true, at: "desk" }), "ok");
    const came = await first.present.find((p) => p.event === "join" && p.key === "two");
    assert.deepEqual(came.newPresences.map(({ presence_ref, ...meta }) => meta), [{ typing: true, at: "desk" }]);
    assert.ok(came.newPresences[0].presence_ref);

    assert.equal(await second.channel.track({ typing: false }), "ok");
    await first.present.find((p) => p.event === "join" && p.key === "two" && p.newPresences[0].typing === false);
    assert.deepEqual(Object.keys(first.channel.presenceState()).sort(), ["one", "two"]);
    assert.equal(first.channel.presenceState().two.length, 1, "in place of what it showed before");
    assert.equal(await first.channel.untrack(), "ok");
    await second.present.find((p) => p.event === "leave" && p.key === "one");

    // Who is cut off is gone, too.
    two.realtime.socketAdapter.getSocket().conn.terminate();
    two.realtime.socketAdapter.getSocket().reconnectTimer.reset();
    const left = await first.present.find((p) => p.event === "leave" && p.key === "two" && p.leftPresences[0].typing === false && p.currentPresences.length === 0);
    assert.equal(left.leftPresences.length, 1);
  });
}

test("presence on a channel of the hub: readers see each other, others do not", async () => {
  const room = await channelNamed(ada, "quick");
  const topic = `channel:${room.id}`;
  const viewer = await live("VIEWER");
  const first = await joinedPrivate(ada, topic, { presence: { key: "ada" } }, { presence: true });
  const second = await joinedPrivate(viewer, topic, { presence: { key: "viewer" } }, { presence: true });
  assert.equal(await first.channel.track({ looking: true }), "ok");
  await second.present.find((p) => p.event === "join" && p.key === "ada");
  const open = await joined(liveAnon(), topic, {}, { presence: true });
  await open.present.find((p) => p.event === "sync");
  assert.deepEqual(open.channel.presenceState(), {}, "the public room of that name is another");
  // A task's topic is for hearing alone.
  const task = ok(await ada.from("mac_tasks").insert({ content: "For nobody", platform: "windows", channel_id: room.id }).select().single());
  const quiet = await joinedPrivate(ada, `task:${task.id}`);
  assert.equal(await quiet.channel.track({ here: true }), "error");
});

test("too many presence calls close the channel with a reason", async () => {
  const { channel, system, closed } = await joined(liveAnon(), name("noisy"), { presence: { key: "x" } });
  for (let n = 0; n < 5; n++) assert.equal(await channel.track({ n }), "ok");
  channel.track({ n: 6 });
  assert.match((await system.find((m) => m.status === "error")).message, /rate limit/);
  await closed();
});

test("a refreshed token keeps the channel open; an expired one closes it", async () => {
  const room = await channelNamed(ada, "quick");
  const claims = claimsOf((await ada.auth.getSession()).data.session.access_token);
  const first = sign({ ...claims, exp: seconds() + 5 });
  const { transport, frames } = recorder();
  const [kept, over] = [await liveWith(first, { transport }), await liveWith(first)];
  const [stays, goes] = [await joinedPrivate(kept, `channel:${room.id}`), await joinedPrivate(over, `channel:${room.id}`)];
  await kept.realtime.setAuth(sign({ ...claims, exp: seconds() + 3600 }));
  // The clock that matters is the server's: it says when five seconds are over.
  assert.match((await goes.system.find((m) => m.status === "error")).message, /expired/);
  await goes.closed();
  const said = ok(await ada.from("hub_channel_messages").insert({ channel_id: room.id, content: "after the first token" }).select().single());
  await stays.heard.find((m) => m.payload.id === said.id);
  assert.deepEqual(stays.states.all.map((s) => s.state), ["SUBSCRIBED"]);
  assert.equal(goes.heard.all.filter((m) => m.payload.id === said.id).length, 0);

  // A token of somebody who may not read, and one that is none, close it.
  for (const [token, why] of [[need("HUB_DEVICE_JWT"), /permission/], [sign({ ...claims, exp: seconds() - 10 }), /expired/], ["a.b.c", /JWT/]]) {
    const client = await liveWith(sign({ ...claims, exp: seconds() + 3600, n: randomUUID() }));
    const ear = await joinedPrivate(client, `channel:${room.id}`);
    client.realtime.setAuth(token);
    assert.match((await ear.system.find((m) => m.status === "error")).message, why);
    await ear.closed();
    const refused = listen(client, `channel:${room.id}`, { private: true });
    assert.match((await refused.refused()).error, /^(Unauthorized|InvalidJWTToken|MalformedJWT|JwtSignatureError): /);
  }
});

test("a refreshed session of supabase-js reaches the channel by itself", async () => {
  const person = await newPerson("fresh");
  const topic = `channel:${(await channelNamed(ada, "quick")).id}`;
  const ear = await joinedPrivate(person, topic);
  const before = person.realtime.accessTokenValue;
  ok(await person.auth.updateUser({ data: { name: "Fresh" } }));
  ok(await person.auth.refreshSession());
  const tokens = new Inbox("tokens");
  person.auth.onAuthStateChange((event, session) => tokens.add(session?.access_token));
  const token = await tokens.find((t) => t && t !== before, "a new token");
  await person.realtime.setAuth();
  assert.equal(person.realtime.accessTokenValue, token);
  const said = ok(await ada.from("hub_channel_messages").insert({ channel_id: topic.slice(8), content: "hello again" }).select().single());
  await ear.heard.find((m) => m.payload.id === said.id);
  assert.deepEqual(ear.states.all.map((s) => s.state), ["SUBSCRIBED"]);
});
