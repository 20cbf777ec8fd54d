// An app of its own on the same stack: tables, policies, triggers and publications through DATABASE_URL, users through the admin's door.
// Nothing here is the hub's.
import { postgresChangesFilter } from "@supabase/supabase-js";
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import pg from "pg";
import { hangUp, Inbox, joined, joinedPrivate, listen, liveAnon, newPerson } from "./live.mjs";
import { need, ok, service, url } from "./support.mjs";

const id = randomUUID().slice(0, 8);
const [notes, secrets, plain, unpublished] = ["notes", "secrets", "plain", "unpublished"].map((name) => `own_${name}_${id}`);
let sql, ada, bob;
const run = (text, values) => sql.query(text, values);

before(async () => {
  sql = new pg.Client({ connectionString: need("DATABASE_URL") });
  await sql.connect();
  // One batch: an app's first migration.
  await run(`
    create table public.${notes} (
      id bigint generated always as identity primary key, room text not null, body text, stars integer, at timestamptz not null default now(),
      tags text[] not null default '{}', extra jsonb, owner uuid not null default auth.uid());
    alter table public.${notes} enable row level security;
    create policy mine on public.${notes} for all to authenticated using (owner = (select auth.uid()) or room = 'open') with check (owner = (select auth.uid()));
    create policy open_to_all on public.${notes} for select to anon using (room = 'open');
    create table public.${secrets} (id integer primary key, word text);
    alter table public.${secrets} enable row level security;
    create table public.${plain} (id integer primary key, word text);
    alter table public.${plain} replica identity full;
    create table public.${unpublished} (id integer primary key);
    alter publication supabase_realtime add table public.${notes}, public.${secrets}, public.${plain};

    create policy own_listen_${id} on realtime.messages for select to authenticated
      using (realtime.topic() like 'own-${id}:%' and extension in ('broadcast', 'presence'));
    create policy own_speak_${id} on realtime.messages for insert to authenticated
      with check (realtime.topic() in ('own-${id}:lobby', 'own-${id}:kept'));

    create function public.own_told_${id}() returns trigger language plpgsql security definer set search_path = '' as $$
    begin
      perform realtime.broadcast_changes('own-${id}:' || coalesce(new.room, old.room), tg_op, tg_op, tg_table_name, tg_table_schema, new, old);
      perform realtime.send(jsonb_build_object('stars', coalesce(new.stars, 0)), 'counted', 'own-${id}:counts', true);
      perform realtime.send(jsonb_build_object('op', tg_op), 'seen', 'own-${id}', false);
      return null;
    end $$;
    create trigger told after insert or update or delete on public.${notes} for each row execute function public.own_told_${id}();`);
  [ada, bob] = [await newPerson("ada"), await newPerson("bob", { vsn: "1.0.0" })];
});
after(async () => {
  await run(`drop table public.${notes}, public.${secrets}, public.${plain}, public.${unpublished};
    drop function public.own_told_${id}(); drop policy own_listen_${id} on realtime.messages; drop policy own_speak_${id} on realtime.messages;`);
  await sql.end();
  await hangUp();
});

const write = async (client, row) => ok(await client.from(notes).insert(row).select().single());
const table = (name, more = {}) => ({ event: "*", schema: "public", table: name, ...more });

test("users through the admin API: made, listed, found, signed in, changed, gone", async () => {
  const admin = service().auth.admin;
  const email = `${randomUUID()}@own.example`;
  const { user } = ok(await admin.createUser({ email, password: "first password", email_confirm: true, app_metadata: { plan: "free" } }));
  assert.equal(ok(await admin.getUserById(user.id)).user.email, email);
  const { users, total } = ok(await admin.listUsers({ page: 1, perPage: 1000 }));
  assert.ok(users.some((one) => one.id === user.id) && total >= users.length);
  ok(await admin.updateUserById(user.id, { password: "second password" }));
  const client = liveAnon();
  assert.ok((await client.auth.signInWithPassword({ email, password: "first password" })).error);
  const { session } = ok(await client.auth.signInWithPassword({ email, password: "second password" }));
  assert.equal(session.user.app_metadata.plan, "free");
  await joinedPrivate(client, `own-${id}:lobby`);
  ok(await admin.deleteUser(user.id));
  assert.ok((await client.auth.getUser()).error);
  const { rows } = await run("select count(*)::integer as n from auth.users where id = $1", [user.id]);
  assert.equal(rows[0].n, 0);
  assert.equal((await ada.auth.admin.listUsers()).error.status, 403);
});

test("realtime.broadcast_changes: insert, update, delete, to those whom the policies let in", async () => {
  const ears = [await joinedPrivate(ada, `own-${id}:den`), await joinedPrivate(bob, `own-${id}:den`)];
  const refused = listen(liveAnon(), `own-${id}:den`, { private: true });
  assert.match((await refused.refused()).error, /^Unauthorized/);
  const row = await write(ada, { room: "den", body: "hello", stars: 3, tags: ["a", "b"], extra: { x: 1 } });
  ok(await ada.from(notes).update({ stars: 4 }).eq("id", row.id));
  ok(await ada.from(notes).delete().eq("id", row.id));
  for (const { heard } of ears) {
    await heard.atLeast(3);
    const [insert, update, gone] = heard.all;
    assert.deepEqual(heard.all.map((m) => m.event), ["INSERT", "UPDATE", "DELETE"]);
    assert.ok(heard.all.every((m) => m.payload.schema === "public" && m.payload.table === notes && m.payload.operation === m.event));
    assert.deepEqual([insert.payload.record.body, insert.payload.record.tags, insert.payload.record.extra, insert.payload.old_record], ["hello", ["a", "b"], { x: 1 }, null]);
    assert.deepEqual([update.payload.record.stars, update.payload.old_record.stars], [4, 3]);
    assert.deepEqual([gone.payload.record, gone.payload.old_record.stars], [null, 4]);
  }
});

test("realtime.send: private and public, only what is committed, in order, from SQL and from clients", async () => {
  const counts = await joinedPrivate(ada, `own-${id}:counts`);
  const open = await joined(liveAnon(), `own-${id}`);
  await run("begin");
  await run(`insert into public.${notes} (room, stars, owner) values ('x', 1, $1)`, [ada.id]);
  await run("rollback");
  await run("begin");
  await run(`insert into public.${notes} (room, stars, owner) select 'x', n, $1 from generate_series(10, 39) n`, [ada.id]);
  await run("savepoint s");
  await run(`insert into public.${notes} (room, stars, owner) values ('x', 2, $1)`, [ada.id]);
  await run("rollback to s");
  await run(`insert into public.${notes} (room, stars, owner) values ('x', 40, $1)`, [ada.id]);
  await run("commit");
  await counts.heard.find((m) => m.payload.stars === 40);
  assert.deepEqual(counts.heard.all.map((m) => m.payload.stars), Array.from({ length: 31 }, (_, i) => i + 10));
  assert.equal(new Set(counts.heard.all.map((m) => m.payload.id)).size, 31, "each with an id");
  await open.heard.atLeast(31);
  assert.deepEqual(open.heard.all[0].payload.op, "INSERT");

  // What a client may say its policies decide: in the lobby, and nowhere else.
  const lobby = [await joinedPrivate(ada, `own-${id}:lobby`, { broadcast: { ack: true } }), await joinedPrivate(bob, `own-${id}:lobby`)];
  const den = await joinedPrivate(bob, `own-${id}:counts`);
  assert.equal(await lobby[0].channel.send({ type: "broadcast", event: "hi", payload: { n: 1 } }), "ok");
  assert.deepEqual((await lobby[1].heard.next()).payload, { n: 1 });
  await counts.channel.send({ type: "broadcast", event: "hi", payload: { n: 2 } });
  await run(`select realtime.send('{"last": true}', 'end', 'own-${id}:counts', true), realtime.send_binary('\\x0102', 'bytes', 'own-${id}:counts', true)`);
  assert.deepEqual((await den.heard.next()).payload.last, true, "what it may not say nobody hears");
  const bytes = await counts.heard.find((m) => m.event === "bytes");
  assert.deepEqual([...new Uint8Array(bytes.payload)], [1, 2]);
  // A policy that lets clients call realtime.send themselves is not needed for triggers, and without it they can not.
  const { error } = await ada.schema("realtime").rpc("send", { payload: {}, event: "e", topic: `own-${id}:counts` });
  assert.ok(error, "the schema is no API");
});

test("Postgres Changes: insert, update, delete, for those who may see the row", async () => {
  const [hers, his, nobodys] = [
    await joined(ada, "hers", {}, { changes: [table(notes)] }),
    await joined(bob, "his", {}, { changes: [table(notes)] }),
    await joined(liveAnon(), "nobodys", {}, { changes: [table(notes)] }),
  ];
  // Rights are asked when a change is told, so the next is made when this one was.
  let made = 0;
  const told = async (work) => {
    const done = await work;
    await hers.heard.atLeast(++made);
    return done.data ?? done;
  };
  const mine = await told(write(ada, { room: "closed", body: "for me", stars: 1, tags: ["x"], extra: { deep: [1, null] } }));
  const open = await told(write(ada, { room: "open", body: "for all", stars: 2 }));
  await told(ada.from(notes).update({ body: "for me still" }).eq("id", mine.id));
  await told(ada.from(notes).update({ room: "open" }).eq("id", mine.id));
  await told(ada.from(notes).delete().eq("id", open.id));
  const seen = (ear) => ear.heard.all.map((c) => [c.eventType, c.new.body]);
  assert.deepEqual(seen(hers), [["INSERT", "for me"], ["INSERT", "for all"], ["UPDATE", "for me still"], ["UPDATE", "for me still"], ["DELETE", undefined]]);
  for (const ear of [his, nobodys]) {
    await ear.heard.find((c) => c.eventType === "DELETE");
    assert.deepEqual(seen(ear), [["INSERT", "for all"], ["UPDATE", "for me still"], ["DELETE", undefined]]);
  }
  const [insert, , update, , gone] = hers.heard.all;
  assert.deepEqual({ ...insert.new, at: 0 }, { ...mine, at: 0 }, "typed as REST has it");
  assert.equal(new Date(insert.new.at).getTime(), new Date(mine.at).getTime());
  assert.deepEqual([insert.schema, insert.table, insert.errors, insert.old], ["public", notes, null, {}]);
  assert.match(insert.commit_timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.deepEqual(update.old, { id: mine.id });
  assert.deepEqual([gone.old, gone.new], [{ id: open.id }, {}], "of a row that is gone, its key");
});

test("with row level security and no policy nobody receives changes; without it everybody does, with the whole old row", async () => {
  const [closed, open] = [await joined(ada, "closed", {}, { changes: [table(secrets)] }), await joined(liveAnon(), "open", {}, { changes: [table(plain)] })];
  await run(`insert into public.${secrets} values (1, 'x'); insert into public.${plain} values (1, 'x'); update public.${plain} set word = 'y'; delete from public.${plain}`);
  await open.heard.atLeast(3);
  assert.deepEqual(open.heard.all.map((c) => [c.eventType, c.new.word, c.old.word]), [["INSERT", "x", undefined], ["UPDATE", "y", "x"], ["DELETE", undefined, "y"]]);
  // The key of a row that is gone is the one thing that passes.
  await run(`delete from public.${secrets}`);
  assert.deepEqual((await closed.heard.next()).old, { id: 1 });
});

test("filters: every operator, alone and together", async () => {
  const rows = [
    { body: "alpha", stars: 1 }, { body: "Beta, too", stars: 2 }, { body: null, stars: 3 }, { body: 'quote " and (paren)', stars: 4 }, { body: "alphabet", stars: null },
  ];
  const room = `filters-${id}`;
  const f = () => postgresChangesFilter();
  const cases = [
    ["stars=eq.1", [0]], ["stars=neq.1", [1, 2, 3]], ["stars=lt.2", [0]], ["stars=lte.2", [0, 1]], ["stars=gt.3", [3]], ["stars=gte.3", [2, 3]],
    ["stars=in.(1,4)", [0, 3]], ["stars=not.in.(1,4)", [1, 2]], ["body=like.alpha%", [0, 4]], ["body=ilike.beta%", [1]], ["body=is.null", [2]],
    ["body=not.is.null", [0, 1, 3, 4]], ["body=match.^alph.*t$", [4]], ["body=imatch.^BETA", [1]], ["stars=isdistinct.1", [1, 2, 3, 4]],
    ["stars=gte.1,body=like.%a%", [0, 1, 3]], ['body=in.("Beta, too",alpha)', [0, 1]],
    [f().eq("body", 'quote " and (paren)'), [3]], [f().in("body", ["Beta, too", "alphabet"]).is("stars", null), [4]],
  ];
  const ears = [];
  for (const [i, [filter]] of cases.entries()) {
    const own = typeof filter === "string" ? `${filter},room=eq.${room}` : filter.eq("room", room);
    ears.push(await joined(ada, `filter ${i}`, {}, { changes: [table(notes, { event: "INSERT", filter: own })] }));
  }
  const end = await joined(ada, "end", {}, { changes: [table(notes, { filter: `room=eq.end-${id}` })] });
  for (const row of rows) await write(ada, { room, ...row });
  await write(ada, { room: `end-${id}`, body: "end" });
  await end.heard.next();
  cases.forEach(([filter, expected], i) => {
    assert.deepEqual(ears[i].heard.all.map((c) => rows.findIndex((row) => row.body === c.new.body)), expected, String(filter));
  });
  await Promise.all(ears.map(({ channel }) => ada.removeChannel(channel)));
});

test("several subscriptions on one channel, each with its own rows; select", async () => {
  const room = `several-${id}`;
  const by = { inserts: [], updates: [], deletes: [], all: [], some: [] };
  const heard = new Inbox("several");
  const on = (name) => (change) => (by[name].push(change), heard.add(change));
  const channel = ada.channel("several")
    .on("postgres_changes", table(notes, { event: "INSERT", filter: `room=eq.${room}` }), on("inserts"))
    .on("postgres_changes", table(notes, { event: "UPDATE", filter: `room=eq.${room}` }), on("updates"))
    .on("postgres_changes", table(notes, { event: "DELETE" }), on("deletes"))
    .on("postgres_changes", { event: "*", schema: "public", table: notes, filter: `room=eq.${room}` }, on("all"))
    .on("postgres_changes", table(notes, { event: "INSERT", filter: `room=eq.${room}`, select: ["id", "body"] }), on("some"));
  const system = new Inbox("system");
  channel.on("system", {}, (m) => system.add(m)).subscribe();
  await system.find((m) => m.status === "ok");
  const row = await write(ada, { room, body: "b", stars: 1 });
  ok(await ada.from(notes).update({ stars: 2 }).eq("id", row.id));
  await heard.atLeast(5);
  ok(await ada.from(notes).delete().eq("id", row.id));
  await heard.find((c) => c.eventType === "DELETE" && c.old.id === row.id);
  const count = (name) => by[name].map((c) => c.eventType);
  assert.deepEqual([count("inserts"), count("updates")], [["INSERT"], ["UPDATE"]]);
  assert.deepEqual(count("all"), ["INSERT", "UPDATE"], "a filter of a DELETE sees the old key alone");
  assert.deepEqual(by.deletes.filter((c) => c.old.id === row.id).length, 1);
  assert.deepEqual(by.some.map((c) => c.new), [{ id: row.id, body: "b" }]);
});

test("a subscription that is not possible gets an error, and the channel stays open", async () => {
  const bad = [
    [table(unpublished), /Please check Realtime is enabled/], [table("no_such_table"), /Please check Realtime is enabled/], [table("users", { schema: "auth" }), /Please check Realtime is enabled/],
    [table(notes, { filter: "no_such_column=eq.1" }), /invalid column for filter no_such_column/],
    [table(notes, { filter: "stars=eq.many" }), /invalid input syntax for type integer/],
    [table(notes, { filter: "stars" }), /Error parsing `filter` params/],
    [table(notes, { filter: "stars=between.1" }), /Error parsing `filter` params/],
    [table(notes, { filter: `stars=in.(${Array.from({ length: 101 }, (_, i) => i)})` }), /Maximum 100/],
    [table(notes, { filter: "body=match.(" }), /invalid regular expression/],
    [table(notes, { filter: `stars=eq.1); drop table public.${notes}; --` }), /invalid input syntax/],
    [table(notes, { filter: `stars) or (1=eq.1` }), /./],
    [table(notes, { filter: "stars=eq.1'; select pg_sleep(10); --" }), /invalid input syntax/],
    [table(notes, { select: ["no_such_column"] }), /invalid column for select/],
    [table(`${notes}; drop table ${notes}`), /Please check Realtime is enabled/],
  ];
  const topic = `still-${id}`;
  for (const [filter, why] of bad) {
    const ear = await joined(ada, `bad ${JSON.stringify(filter).slice(0, 80)}`);
    await ada.removeChannel(ear.channel);
    const wrong = listen(ada, topic, { broadcast: { self: true } }, { changes: [filter] });
    await wrong.joined();
    const told = await wrong.system.find((m) => m.extension === "postgres_changes");
    assert.equal(told.status, "error");
    assert.equal(told.channel, topic);
    assert.match(told.message, why);
    await wrong.channel.send({ type: "broadcast", event: "here", payload: {} });
    await wrong.heard.next();
    await ada.removeChannel(wrong.channel);
  }
  // A table with no key is heard by nobody, and says so.
  await run(`create table public.own_nokey_${id} (n integer); alter publication supabase_realtime add table public.own_nokey_${id}`);
  const ear = await joined(ada, "no key", {}, { changes: [table(`own_nokey_${id}`)] });
  await run(`insert into public.own_nokey_${id} values (1)`);
  assert.deepEqual((await ear.heard.next()).errors, ["Error 400: Bad Request, no primary key"]);
  await run(`drop table public.own_nokey_${id}`);
  assert.equal((await fetch(`${url}/health`)).status, 200);
});

test("a table published later is received; one that is altered goes on", async () => {
  const late = `own_late_${id}`;
  const early = listen(ada, "early", {}, { changes: [table(late)] });
  assert.equal((await early.system.next()).status, "error");
  await ada.removeChannel(early.channel);
  await run(`create table public.${late} (id integer primary key, word text); alter publication supabase_realtime add table public.${late}`);
  const ear = await joined(ada, "late", {}, { changes: [table(late)] });
  // A column that is gone by the time a change is told is told to nobody.
  await run(`insert into public.${late} values (1, 'one')`);
  await run(`alter table public.${late} add column more integer default 7; insert into public.${late} values (2, 'two')`);
  await ear.heard.atLeast(2);
  await run(`alter table public.${late} drop column word; insert into public.${late} values (3, 8)`);
  await ear.heard.atLeast(3);
  assert.deepEqual(ear.heard.all.map((c) => c.new), [{ id: 1, word: "one" }, { id: 2, word: "two", more: 7 }, { id: 3, more: 8 }]);
  await run(`drop table public.${late}`);
});

test("a subscription that waits is there when it says so, and says why it is not", async () => {
  const wait = { postgres_changes_options: { wait: true } };
  const ear = listen(ada, `waits-${id}`, wait, { changes: [table(plain)] });
  await ear.joined();
  // Not a moment later: whoever reads the table now and follows it from here on misses nothing.
  await run(`insert into public.${plain} values (901, 'waited')`);
  assert.equal((await ear.heard.find((change) => change.new?.id === 901)).eventType, "INSERT");

  const none = listen(ada, `waits-no-${id}`, wait, { changes: [table(unpublished)] });
  await none.refused();
  const { error } = await none.states.find(({ state }) => state === "CHANNEL_ERROR");
  assert.match(error, /^RealtimeDisabledForConfiguration: Unable to subscribe .*: \[event: \*, schema: public, table: own_unpublished_\w+, filters: \[\], select: nil\]$/);
  await ada.removeChannel(none.channel);
  await ada.removeChannel(ear.channel);
});

test("what is sent to be kept is replayed to who comes later", async () => {
  const topic = `own-${id}:kept`;
  const mouth = await joinedPrivate(ada, topic, { broadcast: { ack: true } });
  const since = Date.now() - 60_000;
  const said = (n, persist) => mouth.channel.send({ type: "broadcast", event: "kept", payload: { n }, ...(persist && { persist }) });
  assert.equal(await said(1, true), "ok");
  assert.equal(await said(2), "ok");
  assert.equal(await said(3, { ttl: 600 }), "ok");
  assert.equal(await said(4, { ttl: 999_999_999 }), "invalid_persist_ttl");
  assert.deepEqual(await mouth.channel.httpSend("kept", { n: 5 }, { persist: { ttl: 600 } }), { success: true });
  assert.deepEqual(await mouth.channel.httpSend("kept", new Uint8Array([0, 255]), { persist: true }), { success: true });
  const late = await joinedPrivate(await newPerson("late"), topic, { broadcast: { replay: { since } } });
  await late.heard.atLeast(4);
  const what = late.heard.all.map(({ payload }) => payload.n ?? [...new Uint8Array(payload)]);
  assert.deepEqual(what, [1, 3, 5, [0, 255]]);
  assert.ok(late.heard.all.every(({ meta }) => meta.replayed === true));
  await ada.removeChannel(mouth.channel);
});

test("who is refused before the form was read gets the answer, and no broken pipe", async () => {
  for (const [path, headers, status] of [
    ["/rest/v1/hub_servers", { apikey: "rubbish" }, 401], ["/rest/v1/hub_servers", {}, 401], ["/auth/v1/signup", { apikey: "rubbish" }, 401],
    ["/nothing", {}, 404],
  ]) {
    for (let i = 0; i < 10; i++) {
      const form = new FormData();
      form.append("file", new Blob([new Uint8Array(2 * 1024 * 1024)]), "file.bin");
      assert.equal((await fetch(url + path, { method: "POST", headers, body: form })).status, status, `${path} ${i}`);
    }
  }
});
