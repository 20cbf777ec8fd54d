// The wire itself, as supabase-swift reads it: vsn 2.0.0 by hand, byte by byte; and what a hostile client can send.
import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import pg from "pg";
import { claimsOf, hangUp, joined, live, liveAnon, newPerson, rawSocket, refusedHandshake, seconds, sign } from "./live.mjs";
import { anonKey, channelNamed, need, ok, url } from "./support.mjs";

let token, sql, room;
const table = `frames_${randomUUID().slice(0, 8)}`;
before(async () => {
  const operator = await live("OPERATOR");
  token = (await operator.auth.getSession()).data.session.access_token;
  room = (await channelNamed(operator, "research")).id;
  sql = new pg.Client({ connectionString: need("DATABASE_URL") });
  await sql.connect();
  await sql.query(`create table public.${table} (id integer primary key, word text, at timestamptz, n numeric, ok boolean, tags text[], extra jsonb);
    alter table public.${table} enable row level security;
    create policy all_of_it on public.${table} for select using (true);
    alter publication supabase_realtime add table public.${table}`);
});
after(async () => {
  await sql.query(`drop table public.${table}`);
  await sql.end();
  await hangUp();
});

const topicOf = (name) => `realtime:${name}`;
const fresh = () => topicOf(`frames-${randomUUID().slice(0, 8)}`);
const changes = { event: "*", schema: "public", table };

/** Until a limit of so many a second begins anew. */
const aSecond = () => new Promise((resolve) => setTimeout(resolve, 1100));

/** A binary frame of the server, taken apart as supabase-swift does it. */
function kind4(frame) {
  assert.equal(frame[0], 4);
  const [topicLength, eventLength, metaLength, encoding] = frame.subarray(1, 5);
  let at = 5;
  const take = (length) => frame.subarray(at, (at += length)).toString();
  return { topic: take(topicLength), event: take(eventLength), meta: take(metaLength), encoding, payload: frame.subarray(at) };
}
/** A broadcast as a client pushes it. */
function kind3({ joinRef = "", ref = "", topic, event, meta = "", encoding = 1, payload }) {
  const fields = [joinRef, ref, topic, event, meta].map((field) => Buffer.from(field));
  return Buffer.concat([Buffer.from([3, ...fields.map((f) => f.length), encoding]), ...fields, Buffer.from(payload)]);
}

test("a join and its answer: the echo in its place, each with an id; [] when nothing was asked", async () => {
  const raw = await rawSocket();
  const topic = fresh();
  raw.send(["7", "7", topic, "phx_join", { config: { broadcast: {}, presence: {}, private: false } }]);
  assert.equal(await raw.frames.next(), `["7","7","${topic}","phx_reply",{"status":"ok","response":{"postgres_changes":[]}}]`);

  const asked = [changes, { event: "INSERT", schema: "public", table, filter: "id=gt.5" }, { event: "DELETE", schema: "public" }];
  const reply = await raw.join(fresh(), { postgres_changes: asked }, {}, "8");
  assert.equal(reply.status, "ok");
  const ids = reply.response.postgres_changes.map(({ id }) => id);
  assert.deepEqual(reply.response.postgres_changes, asked.map((entry, i) => ({ ...entry, id: ids[i] })));
  assert.ok(ids.every((id) => Number.isSafeInteger(id) && id > 0) && new Set(ids).size === 3, "different, and JavaScript's and Swift's integers");
  raw.close();
});

test("references are passed back as they came: text, numbers, null", async () => {
  const raw = await rawSocket();
  for (const [joinRef, ref] of [["1", "2"], [1, 2], [null, "x"], ["a b", null], [null, 3.5]]) {
    const topic = fresh();
    raw.send([joinRef, ref, topic, "phx_join", {}]);
    await raw.alive();
    assert.ok(raw.frames.all.includes(`[${JSON.stringify(joinRef)},${JSON.stringify(ref)},"${topic}","phx_reply",{"status":"ok","response":{"postgres_changes":[]}}]`));
  }
  raw.close();
});

test("heartbeat, leave, a second join: the join reference in each answer", async () => {
  const raw = await rawSocket();
  raw.send([null, "1", "phoenix", "heartbeat", {}]);
  assert.equal(await raw.frames.next(), '[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]');

  const topic = fresh();
  await raw.join(topic, {}, {}, "10");
  await raw.join(topic, {}, {}, "11");
  // The first is closed before the second is answered, under its own name: the client must not take it for the second's.
  assert.deepEqual(raw.frames.all.slice(1), [
    `["10","10","${topic}","phx_reply",{"status":"ok","response":{"postgres_changes":[]}}]`,
    `["10","10","${topic}","phx_close",{}]`,
    `["11","11","${topic}","phx_reply",{"status":"ok","response":{"postgres_changes":[]}}]`,
  ]);
  raw.send(["11", "12", topic, "phx_leave", {}]);
  await raw.alive();
  assert.deepEqual(raw.frames.all.slice(4, 6), [
    `["11","12","${topic}","phx_reply",{"status":"ok","response":{}}]`, `["11","11","${topic}","phx_close",{}]`,
  ]);
  // What is said to a topic that was left is answered, as Phoenix does.
  raw.send(["11", "13", topic, "broadcast", { type: "broadcast", event: "e", payload: {} }]);
  assert.deepEqual((await raw.reply("13"))[4], { status: "error", response: { reason: "unmatched topic" } });
  raw.close();
});

test("a broadcast of the database: kind 4, its layout, the id in meta and in the payload", async () => {
  const raw = await rawSocket();
  const topic = topicOf(`channel:${room}`);
  await raw.join(topic, { private: true }, { access_token: token });
  const posted = await fetch(`${url}/rest/v1/hub_channel_messages`, {
    method: "POST", headers: { apikey: anonKey, Authorization: `Bearer ${token}`, "Content-Type": "application/json", Prefer: "return=representation" },
    body: JSON.stringify({ channel_id: room, content: "Grüße 🦉" }),
  });
  const [row] = await posted.json();
  const frame = await raw.frames.find((f) => Buffer.isBuffer(f));
  const read = kind4(frame);
  assert.deepEqual([read.topic, read.event, read.encoding], [topic, "message", 1]);
  const payload = JSON.parse(read.payload);
  assert.equal(payload.constructor, Object, "Swift decodes only objects");
  assert.deepEqual([payload.id, payload.seq, payload.content], [row.id, row.seq, "Grüße 🦉"]);
  assert.match(JSON.parse(read.meta).id, /^[0-9a-f-]{36}$/);
  assert.deepEqual(frame, Buffer.concat([Buffer.from([4, Buffer.byteLength(topic), 7, Buffer.byteLength(read.meta), 1]), Buffer.from(topic + "message" + read.meta), read.payload]));
  raw.close();
});

test("broadcasts of clients: kind 3 becomes kind 4 with no meta, text stays text", async () => {
  const [one, two, old] = [await rawSocket(), await rawSocket(), await rawSocket({ query: { apikey: anonKey } })];
  const topic = fresh();
  await one.join(topic, { broadcast: { ack: true } }, {}, "1");
  await two.join(topic);
  // Without vsn it is version 1: objects.
  old.send({ topic, event: "phx_join", payload: {}, ref: "1", join_ref: "1" });
  assert.equal(await old.frames.next(), `{"ref":"1","topic":"${topic}","event":"phx_reply","payload":{"status":"ok","response":{"postgres_changes":[]}},"join_ref":"1"}`);

  one.send(kind3({ joinRef: "1", ref: "2", topic, event: "é", payload: '{"a": 1.50}' }));
  await one.reply("2");
  assert.deepEqual(await two.frames.find(Buffer.isBuffer), Buffer.concat([Buffer.from([4, Buffer.byteLength(topic), 2, 0, 1]), Buffer.from(`${topic}é{"a": 1.50}`)]));
  assert.equal(await old.frames.next(), `{"ref":null,"topic":"${topic}","event":"broadcast","payload":{"type":"broadcast","event":"é","payload":{"a": 1.50}}}`);

  one.send(kind3({ joinRef: "1", ref: "3", topic, event: "raw", encoding: 0, payload: [0, 1, 255] }));
  assert.deepEqual([...kind4(await two.frames.find((f) => Buffer.isBuffer(f) && f.includes("raw"))).payload], [0, 1, 255]);

  one.send(["1", "4", topic, "broadcast", { type: "broadcast", event: "text", payload: { b: 2 } }]);
  assert.deepEqual(await two.event(topic, "broadcast"), [null, null, topic, "broadcast", { type: "broadcast", event: "text", payload: { b: 2 } }]);
  assert.match(await old.frames.next(), /"event":"text"/, "and bytes were not sent to version 1");
  await one.reply("4");
  assert.equal(one.frames.all.filter((f) => Buffer.isBuffer(f)).length, 0);
  for (const raw of [one, two, old]) raw.close();
});

test("presence: the state after the join, differences with a reference for each", async () => {
  const [one, two] = [await rawSocket(), await rawSocket()];
  const topic = fresh();
  const config = (key) => ({ presence: { enabled: true, key } });
  await one.join(topic, config("one"), {}, "1");
  assert.deepEqual(await one.event(topic, "presence_state"), ["1", null, topic, "presence_state", {}]);
  one.send(["1", "2", topic, "presence", { type: "presence", event: "track", payload: { at: "desk" } }]);
  assert.deepEqual((await one.reply("2"))[4], { status: "ok", response: {} });
  const joins = (await one.event(topic, "presence_diff"))[4];
  const ref = joins.joins.one.metas[0].phx_ref;
  assert.equal(typeof ref, "string");
  assert.deepEqual(joins, { joins: { one: { metas: [{ at: "desk", phx_ref: ref }] } }, leaves: {} });
  await two.join(topic, config("two"));
  assert.deepEqual((await two.event(topic, "presence_state"))[4], { one: { metas: [{ at: "desk", phx_ref: ref }] } });
  one.close();
  assert.deepEqual((await two.event(topic, "presence_diff"))[4], { joins: {}, leaves: { one: { metas: [{ at: "desk", phx_ref: ref }] } } });
  two.close();
});

test("Postgres Changes: the payload of each kind, field by field", async () => {
  const raw = await rawSocket();
  const topic = fresh();
  const { response } = await raw.join(topic, { postgres_changes: [changes] });
  const [{ id }] = response.postgres_changes;
  const system = await raw.event(topic, "system");
  assert.deepEqual(system[4], { message: "Subscribed to PostgreSQL", status: "ok", extension: "postgres_changes", channel: topic.slice(9) });
  await sql.query(`insert into public.${table} values (1, 'ü', '2026-01-02 03:04:05.678+02', 1.50, true, '{a,"b c"}', '{"x": [1, null]}')`);
  const insert = await raw.event(topic, "postgres_changes", (p) => p.data.type === "INSERT");
  await sql.query(`update public.${table} set word = null where id = 1`);
  const update = await raw.event(topic, "postgres_changes", (p) => p.data.type === "UPDATE");
  await sql.query(`delete from public.${table}`);
  const gone = await raw.event(topic, "postgres_changes", (p) => p.data.type === "DELETE");
  assert.deepEqual([insert, update, gone].map(([joinRef, ref]) => [joinRef, ref]), Array(3).fill([null, null]));
  const columns = Object.entries({ id: "int4", word: "text", at: "timestamptz", n: "numeric", ok: "bool", tags: "_text", extra: "jsonb" }).map(([name, type]) => ({ name, type }));
  const record = { id: 1, word: "ü", at: "2026-01-02T01:04:05.678+00:00", n: 1.5, ok: true, tags: ["a", "b c"], extra: { x: [1, null] } };
  const common = (type, commit_timestamp) => ({ schema: "public", table, type, columns, errors: null, commit_timestamp });
  for (const [[, , , , payload], type, rest] of [
    [insert, "INSERT", { record }], [update, "UPDATE", { record: { ...record, word: null }, old_record: { id: 1 } }], [gone, "DELETE", { old_record: { id: 1 } }],
  ]) {
    assert.match(payload.data.commit_timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.ok(Math.abs(Date.parse(payload.data.commit_timestamp) - Date.now()) < 600_000);
    assert.deepEqual(payload, { ids: [id], data: { ...common(type, payload.data.commit_timestamp), ...rest } });
  }
  raw.close();
});

test("one change, two subscriptions on one channel: one frame with both ids", async () => {
  const raw = await rawSocket();
  const topic = fresh();
  const { response } = await raw.join(topic, { postgres_changes: [changes, { ...changes, event: "INSERT" }, { ...changes, filter: "id=eq.8" }] });
  await raw.event(topic, "system");
  await sql.query(`insert into public.${table} (id) values (9)`);
  const [, , , , payload] = await raw.event(topic, "postgres_changes");
  assert.deepEqual(payload.ids.sort(), response.postgres_changes.slice(0, 2).map(({ id }) => id).sort());
  await sql.query(`delete from public.${table}`);
  await raw.event(topic, "postgres_changes", (p) => p.data.type === "DELETE");
  assert.equal(raw.frames.all.filter((f) => f.includes('"INSERT","table"') || f.includes('"type":"INSERT"') || f.includes('"type": "INSERT"')).length, 1);
  raw.close();
});

test("a channel that is closed by the server says why, and names its join", async () => {
  const raw = await rawSocket();
  const topic = topicOf(`channel:${room}`);
  await raw.join(topic, { private: true }, { access_token: token }, "5");
  raw.send(["5", "6", topic, "access_token", { access_token: sign({ ...claimsOf(token), exp: seconds() - 1 }) }]);
  const system = await raw.event(topic, "system");
  assert.deepEqual([system[0], system[4].status, system[4].extension, system[4].channel], ["5", "error", "system", topic.slice(9)]);
  assert.deepEqual(await raw.event(topic, "phx_close"), ["5", "5", topic, "phx_close", {}]);
  raw.close();
});

test("handshakes that are refused: an HTTP status and {error}", async () => {
  const claims = claimsOf(anonKey);
  const refusals = [
    [{ query: { vsn: "2.0.0" } }, 401, /missing/],
    [{ apikey: "" }, 401, /./], [{ apikey: "nonsense" }, 401, /./], [{ apikey: "a.b.c" }, 401, /./],
    [{ apikey: sign(claims, "another secret") }, 401, /signature/],
    [{ apikey: sign(claims, "", { alg: "none", typ: "JWT" }) }, 401, /./],
    [{ apikey: sign(claims, need("SUPABASE_JWT_SECRET"), { alg: "none", typ: "JWT" }) }, 401, /./],
    [{ apikey: sign({ ...claims, exp: seconds() - 5 }) }, 401, /expired/],
    [{ apikey: sign({ exp: seconds() + 60 }) }, 401, /role/], [{ apikey: sign({ role: "anon" }) }, 401, /exp/],
    [{ apikey: `${anonKey}x` }, 401, /./], [{ apikey: "x".repeat(5000) }, 401, /./],
    [{ vsn: "3.0.0" }, 400, /vsn/],
  ];
  for (const [how, status, why] of refusals) {
    const refusal = await refusedHandshake(how);
    assert.equal(refusal.status, status, JSON.stringify(how).slice(0, 100));
    assert.match(refusal.error, why);
    assert.deepEqual(Object.keys(refusal), ["status", "error"]);
  }
  // Not a WebSocket at all.
  const plain = await fetch(`${url}/realtime/v1/websocket?apikey=${anonKey}`);
  assert.ok(plain.status >= 400 && plain.status < 500);
});

test("tokens of a join that are refused: forged, expired, alg=none, without a user", async () => {
  const raw = await rawSocket();
  const claims = claimsOf(token);
  const bad = [
    [sign(claims, "another secret"), /^JwtSignatureError: /], [sign({ ...claims, exp: seconds() - 5 }), /^InvalidJWTToken: Token has expired/],
    [sign(claims, "", { alg: "none", typ: "JWT" }), /^[A-Za-z]+: /], ["nonsense", /^MalformedJWT: /], [sign({ sub: claims.sub, exp: claims.exp }), /^InvalidJWTToken: /],
    [sign({ ...claims, role: "postgres" }), /^[A-Za-z]+: /], [sign({ ...claims, role: "supabase_admin" }), /^[A-Za-z]+: /], [sign({ ...claims, sub: "' or true --" }), /^Unauthorized: /],
    [sign({ ...claims, role: "no_such_role" }), /^[A-Za-z]+: /],
  ];
  for (const [access_token, why] of bad) {
    const { status, response } = await raw.join(topicOf(`channel:${room}`), { private: true }, { access_token });
    assert.equal(status, "error", String(why));
    assert.match(response.reason, why);
  }
  assert.equal((await raw.join(topicOf(`channel:${room}`), { private: true }, { access_token: token })).status, "ok");
  raw.close();
});

test("topics may have odd names", async () => {
  const [one, two] = [await rawSocket(), await rawSocket()];
  for (const name of [" ", "ü🦉\u0301", "x".repeat(240), "x".repeat(300), "ü".repeat(300), `a"b'c\\d`, "a,b;c(d)", "realtime:realtime:x", "%00", "../..", "\u001b[0m\n\t", "'; drop table x; --", "phoenix", "null", "*", "{}"]) {
    const topic = topicOf(name);
    for (const raw of [one, two]) {
      const { status, response } = await raw.join(topic, { broadcast: { self: true } });
      assert.equal(status, "ok", `${JSON.stringify(name)}: ${JSON.stringify(response)}`);
    }
    const event = `e ${name.slice(0, 20)}`;
    one.send([null, null, topic, "broadcast", { type: "broadcast", event, payload: { name } }]);
    for (const raw of [one, two]) {
      const [, , , , payload] = await raw.event(topic, "broadcast");
      assert.deepEqual(payload, { type: "broadcast", event, payload: { name } });
    }
    // Private, it is a question to policies, and they say no.
    const { response } = await two.join(topic, { private: true }, { access_token: token });
    assert.equal(response.reason, `Unauthorized: You do not have permissions to read from this Channel topic: ${name}`);
  }
  for (const [topic, why] of [["realtime:", /^TopicNameRequired: /], ["", /./], ["other:x", /unmatched topic/], ["realtime", /unmatched topic/], ["REALTIME:x", /unmatched topic/], ["realtime:a\0b", /^TopicNameInvalid: |^[A-Za-z]+: /]]) {
    for (const config of [{}, { private: true }]) {
      const { status, response } = await one.join(topic, config, { access_token: token });
      assert.equal(status, "error", JSON.stringify(topic));
      assert.match(response.reason, why);
    }
  }
  one.close();
  two.close();
});

test("101 channels on one socket: the last is refused, the others work", async () => {
  const raw = await rawSocket();
  const base = fresh();
  for (let n = 0; n < 100; n++) {
    if (n === 90) await aSecond(); // so many may join in one
    assert.equal((await raw.join(`${base}-${n}`, { broadcast: { self: true } })).status, "ok", `${n}`);
  }
  assert.match((await raw.join(`${base}-more`)).response.reason, /^ChannelRateLimitReached: /);
  raw.send([null, null, `${base}-99`, "broadcast", { type: "broadcast", event: "e", payload: {} }]);
  await raw.event(`${base}-99`, "broadcast");
  // Who leaves one may join one, and a second join of one that is open is no more.
  assert.equal((await raw.join(`${base}-5`)).status, "ok");
  raw.send([null, "leave", `${base}-0`, "phx_leave", {}]);
  await raw.reply("leave");
  assert.equal((await raw.join(`${base}-more`)).status, "ok");
  raw.close();
});

test("malformed frames are dropped, and the socket stays open", async () => {
  const raw = await rawSocket();
  const topic = fresh();
  await raw.join(topic, { broadcast: { self: true } }, {}, "1");
  const before = raw.frames.all.length;
  const garbage = [
    "", "null", "1", '"x"', "{}", "[]", "[1]", "[1,2,3,4]", "[null,null,null,null,null]", '[null,null,"t","e",{},1]', '{"topic":"t"}', "[[],{},\"t\",\"e\",{}]", "[null,null,5,\"e\",{}]", "{", "[", "\u0000",
    "[".repeat(100_000), `[null,null,"t","e",${"[".repeat(200)}${"]".repeat(200)}`, `{"topic":"${topic}","event":"phx_leave","payload":{},"ref":"1"}`, "\ufffd".repeat(1000), '[null,null,"\\ud800","e",{}]',
    Buffer.alloc(0), Buffer.from([0]), Buffer.from([3]), Buffer.from([4, 1, 1, 0, 1, 65, 66]), Buffer.from([9, 9, 9, 9]), Buffer.from([3, 255, 255, 255, 255, 255, 1, 65]), Buffer.alloc(4_000_000, 3), randomBytes(1000),
    kind3({ joinRef: "1", topic, event: "bad", payload: "{" }), kind3({ joinRef: "1", topic, event: "bad", meta: "{", payload: "{}" }),
    Buffer.concat([Buffer.from([3, 0, 0, topic.length, 2, 0, 1]), Buffer.from(topic), Buffer.from([0xff, 0xfe]), Buffer.from("{}")]),
  ];
  for (const frame of garbage) raw.send(frame);
  raw.send(["1", null, topic, "broadcast", { type: "broadcast", event: "after", payload: {} }]);
  const [, , , , payload] = await raw.event(topic, "broadcast");
  assert.equal(payload.event, "after", "nothing of it was taken for a broadcast");
  const said = raw.frames.all.slice(before).filter((f) => !f.includes('"after"')).map(String);
  assert.deepEqual(said.filter((f) => !f.includes("unmatched topic")), [], "nor answered as anything but a topic nobody joined");

  // Events that mean nothing, on a channel and elsewhere.
  for (const event of ["phx_reply", "phx_close", "phx_error", "system", "presence_state", "postgres_changes", "unknown", "", "x".repeat(10_000)]) {
    raw.send(["1", null, topic, event, { status: "ok" }]);
    raw.send([null, null, "phoenix", event, {}]);
  }
  for (const payload of [null, 5, "x", [], {}, { type: "presence" }, { event: 5 }, { event: "track", payload: [] }]) raw.send(["1", null, topic, "presence", payload].slice(0, 5));
  await raw.alive();
  raw.close();
});

test("a huge frame is answered up to the limit; above it the socket is closed", async () => {
  const raw = await rawSocket();
  const topic = fresh();
  await raw.join(topic, { broadcast: { self: true, ack: true } }, {}, "1");
  const say = (ref, size) => raw.send(["1", ref, topic, "broadcast", { type: "broadcast", event: "e", payload: { x: "x".repeat(size) } }]);
  say("2", 1_000_000);
  assert.equal((await raw.reply("2"))[4].status, "ok");
  say("3", 4_000_000);
  assert.deepEqual((await raw.reply("3"))[4], { status: "error", response: { error: "payload_size_exceeded" } });
  await raw.alive();
  say("4", 6_000_000);
  // What is too large is not read, so the connection may be reset before a reason is.
  const { code } = await raw.closed.next();
  assert.ok(code === 1009 || code === 1006, `${code}`);
});

test("a thousand joins with an invalid config are answered, and other sockets are not affected", async () => {
  const quiet = fresh().slice(9);
  const [bystander, other] = [await joined(liveAnon(), quiet), await joined(liveAnon(), quiet)];
  const odd = [
    null, 5, "x", [], {}, { config: null }, { config: [] }, { config: "x" }, { config: { private: "perhaps" } }, { config: { broadcast: 5, presence: "x" } },
    { config: { postgres_changes: {} } }, { config: { postgres_changes: [null, 5, "x", [], {}] } }, { config: { postgres_changes: Array(500).fill({ event: "*", schema: "x" }) } },
    { config: { postgres_changes: [{ event: "*", schema: "public", table, filter: "id=eq.1 or 1=1" }] } }, { config: { postgres_changes: [{ event: {}, schema: [], table: 5, filter: {} }] } },
    { config: { postgres_changes: [{ event: "*", schema: "public", table: "x\0y" }] } }, { config: { postgres_changes: [{ schema: "public", table, filter: "\0" }] } },
    { config: { private: true, broadcast: { replay: { since: "x" } } } }, { config: { private: true, broadcast: { replay: { since: -1, limit: 1e99 } } } }, { config: { broadcast: { replay: {} } } },
    { access_token: 5 }, { access_token: {} }, { access_token: "x" }, { access_token: "", config: {} }, { config: { presence: { enabled: true, key: { a: 1 } } } }, { config: { presence: { enabled: true, key: "k".repeat(100_000) } } },
    { config: JSON.parse(`${"[".repeat(100)}${"]".repeat(100)}`) },
  ];
  const before = bystander.heard.all.length;
  let joins = 0;
  for (let socket = 0; socket < 11; socket++) {
    const raw = await rawSocket();
    for (let n = 0; n < 95; n++, joins++) raw.send([`${n}`, `${n}`, topicOf(`garbage-${n}`), "phx_join", odd[joins % odd.length]]);
    for (let n = 0; n < 95; n++) {
      const [, , , , payload] = await raw.reply(`${n}`);
      assert.ok(["ok", "error"].includes(payload.status));
      if (payload.status === "ok") assert.ok(Array.isArray(payload.response.postgres_changes));
      else assert.match(payload.response.reason, /^[A-Za-z]+: /);
    }
    await raw.alive();
    raw.close();
  }
  assert.ok(joins > 1000);
  // One that joins faster than it may is closed with a reason that lets it come back.
  const hasty = await rawSocket();
  for (let n = 0; n < 300; n++) hasty.send([`${n}`, `${n}`, topicOf("hasty"), "phx_join", {}]);
  const { code, reason } = await hasty.closed.next();
  assert.ok(code < 4000, "from 4000 on Swift does not come back");
  assert.match(reason, /too many joins/);

  await other.channel.send({ type: "broadcast", event: "still", payload: {} });
  await bystander.heard.find((m) => m.event === "still");
  assert.equal(bystander.heard.all.length, before + 1);
  assert.deepEqual(bystander.states.all.map((s) => s.state), ["SUBSCRIBED"]);
  const person = await newPerson("after");
  const ear = await joined(person, "after", {}, { changes: [changes] });
  await sql.query(`insert into public.${table} (id) values (100)`);
  await ear.heard.next();
  await sql.query(`delete from public.${table}`);
  const { rows } = await sql.query("select count(*)::integer as n from realtime.messages where topic like 'garbage%'");
  assert.equal(rows[0].n, 0, "nothing of it is left");
});

test("too many frames: the socket is closed with a reason, and the client may connect again", async () => {
  const raw = await rawSocket();
  for (let n = 0; n < 5000; n++) raw.send([null, null, "phoenix", "heartbeat", {}]);
  const { code, reason } = await raw.closed.next();
  assert.ok(code < 4000);
  assert.match(reason, /too many messages/);
  const again = await rawSocket();
  await again.alive();
  again.close();
});
