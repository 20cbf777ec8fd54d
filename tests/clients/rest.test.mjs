// REST as PostgREST's documentation has it: every request of the tables in rest/ (rest/README.md says how they are written). Then supabase-js, where
// an earlier REST of ours misled it.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { agent, ask, judge, sections, token } from "./rest/table.mjs";
import { anon, anonKey, need, ok, url } from "./support.mjs";

const folder = new URL("./rest/", import.meta.url);
const text = (name) => readFileSync(new URL(name, folder), "utf8");
let sql;

before(async () => {
  sql = new pg.Client({ connectionString: need("DATABASE_URL") });
  await sql.connect();
  await sql.query(text("schema.sql"));
});
after(async () => {
  agent.destroy();
  await sql.query(text("drop.sql"));
  await sql.end();
});

/** Settings take hold when the notification arrives: the first request that shows it ends the wait. */
async function settled(first) {
  for (let tries = 0; ; tries++) {
    try {
      return judge(first, await ask(first));
    } catch (error) {
      if (tries === 100) throw error;
    }
    await sleep(50);
  }
}

const taken = "notify pgrst, 'reload config'; notify pgrst, 'reload schema'";
const rows = text("rows.sql");
for (const file of readdirSync(folder).filter((name) => name.endsWith(".txt")).sort()) {
  for (const section of sections(text(file))) {
    test(`${section.title} (${section.page})`, async (t) => {
      await sql.query(rows);
      if (section.settings.length) await sql.query([...section.settings, taken].join(";"));
      try {
        if (section.settings.length) await settled(section.cases[0]);
        for (const one of section.cases) await t.test(one.name, async () => judge(one, await ask(one)));
      } finally {
        const back = section.settings.map((setting) => setting.replace(/ set (\S+) = .*/, " reset $1"));
        if (back.length) await sql.query([...back, taken].join(";"));
      }
    });
  }
}

const db = anon();
const fresh = (name, body) => test(name, async (t) => {
  await sql.query(rows);
  await body(t);
});

/** With settings of the role authenticator, until `shows` holds. */
async function under(settings, shows, body) {
  const names = Object.keys(settings);
  await sql.query([...names.map((name) => `alter role authenticator set pgrst.${name} = '${settings[name]}'`), taken].join(";"));
  try {
    for (let tries = 0; !(await shows()) && tries < 100; tries++) await sleep(50);
    await body();
  } finally {
    await sql.query([...names.map((name) => `alter role authenticator reset pgrst.${name}`), taken].join(";"));
  }
}

fresh("supabase-js 1: infinities and far dates are values", async () => {
  const row = ok(await db.from("kinds").select("day, moment, plain, small, wide, money").eq("id", 2).single());
  assert.deepEqual(row, { day: "infinity", moment: "-infinity", plain: "12024-01-01T00:00:00", small: "Infinity", wide: "-Infinity", money: "NaN" });
});

fresh("supabase-js 2: what a function returns as a table is filtered, ordered and cut like a table", async () => {
  assert.deepEqual(ok(await db.rpc("counts").select("author").eq("books", 2).order("author").limit(2)), [{ author: "Jane Austen" }, { author: "Jules Verne" }]);
  assert.deepEqual(ok(await db.rpc("counts").eq("author", "nobody")), []);
});

fresh("supabase-js 3: numbers and times are Postgres' own", async () => {
  const row = ok(await db.from("kinds").select("small, money::text, moment, hour").eq("id", 1).single());
  assert.deepEqual(row, { small: 0.9, money: "1.50", moment: "2024-02-29T12:00:00.12+00:00", hour: "12:00:00+01" });
});

fresh("supabase-js 4: an object for an argument of a composite type", async () => {
  assert.equal(ok(await db.rpc("place", { spot: { lat: 3, long: 4.5 } })), "3 by 4.5");
});

fresh("supabase-js 5: CSV quotes what has commas and quotes", async () => {
  const said = ok(await db.from("authors").select("id, home, books(id)").eq("id", 4).csv());
  assert.equal(said.trimEnd(), 'id,home,books\n4,"{""city"": ""Prague"", ""land"": ""Bohemia"", ""floor"": 2}","[{""id"": 7}]"');
});

fresh("supabase-js 6: a computed column inside an embed", async () => {
  assert.deepEqual(ok(await db.from("authors").select("books(shout)").eq("id", 4)), [{ books: [{ shout: "WAR WITH THE NEWTS!" }] }]);
});

fresh("supabase-js 7: writes count exactly", async () => {
  const counts = [
    await db.from("terms").insert([{ code: "x" }, { code: "y" }], { count: "exact" }),
    await db.from("terms").update({ rank: 1 }, { count: "exact" }).in("code", ["x", "y", "a"]),
    await db.from("terms").upsert([{ code: "x", rank: 2 }, { code: "z", rank: 2 }], { count: "exact" }),
    await db.from("terms").delete({ count: "exact" }).eq("rank", 2).select("code"),
    await db.from("terms").delete({ count: "exact" }).eq("code", "nobody"),
  ];
  assert.deepEqual(counts.map(({ count, error }) => error ?? count), [2, 3, 2, 3, 0]);
});

fresh("supabase-js 8: maxAffected on a function that returns nothing runs nothing", async () => {
  const { error, status } = await db.rpc("forget_quietly").maxAffected(20);
  assert.deepEqual([status, error?.code], [400, "PGRST128"]);
  assert.equal((await db.from("terms").select("*", { count: "exact", head: true })).count, 3);
  assert.equal((await db.from("terms").delete().gt("rank", 0).maxAffected(2)).error.code, "PGRST124");
  assert.equal((await db.from("terms").select("*", { count: "exact", head: true })).count, 3);
});

fresh("supabase-js 9: settings of the role authenticator are obeyed", async () => {
  const settings = { db_aggregates_enabled: "true", db_schemas: "public, graphql_public, annex", db_max_rows: "900" };
  const crowd = async () => ok(await db.from("crowd").select("id")).length;
  await under(settings, async () => (await crowd()) === 900, async () => {
    assert.equal(await crowd(), 900);
    assert.deepEqual(ok(await db.from("books").select("pages.sum()").eq("author_id", 1)), [{ sum: 753 }]);
    assert.deepEqual(ok(await db.schema("annex").from("boxes").select("label").eq("id", 1)), [{ label: "maps" }]);
    assert.equal(ok(await db.schema("annex").rpc("label_of", { box: 2 })), "coins");
  });
});

fresh("supabase-js 10: select without return=representation", async () => {
  const answer = await fetch(`${url}/rest/v1/books?select=id,authors(name)`, {
    method: "POST",
    headers: { apikey: anonKey, "Content-Type": "application/json" },
    body: JSON.stringify({ id: 30, title: "Unseen", author_id: 1 }),
  });
  assert.deepEqual([answer.status, await answer.text()], [201, ""]);
  assert.equal((await db.from("books").insert({ id: 31, title: "Seen", author_id: 1 })).status, 201);
});

fresh("supabase-js 11: errors, ranges, tokens and media types as PostgREST's", async () => {
  const unknown = await db.from("books").select("nope");
  assert.deepEqual([unknown.status, unknown.error.code, unknown.error.message], [400, "42703", "column books.nope does not exist"]);

  const mixed = await db.from("terms").upsert([{ code: "a", name: "A" }, { code: "new", name: "N" }]).select();
  assert.deepEqual([mixed.status, mixed.data.length], [201, 2]);

  const beyond = await fetch(`${url}/rest/v1/books?offset=20`, { headers: { apikey: anonKey, Prefer: "count=exact" } });
  assert.deepEqual([beyond.status, beyond.headers.get("content-range"), beyond.headers.get("content-type")], [416, "*/8", "application/json; charset=utf-8"]);

  const late = { apikey: anonKey, Authorization: `Bearer ${token("authenticated", "exp=-10")}` };
  assert.equal((await fetch(`${url}/rest/v1/publishers?id=eq.1`, { headers: late })).status, 200);

  const two = await fetch(`${url}/rest/v1/publishers?id=eq.1`, { headers: { apikey: anonKey, Accept: "image/png, application/json" } });
  assert.deepEqual([two.status, await two.json()], [200, [{ id: 1, name: "Harbour", city: "London" }]]);

  const allowed = await fetch(`${url}/rest/v1/author_totals`, { method: "OPTIONS", headers: { apikey: anonKey } });
  assert.equal(allowed.headers.get("allow"), "OPTIONS,GET,HEAD");

  // A junction in a schema that is not exposed is no second way.
  assert.deepEqual(ok(await db.from("books").select("genres(name)").eq("id", 1)), [{ genres: [{ name: "novel" }] }]);
  assert.deepEqual(ok(await db.from("books").select("authors(contemporaries(name))").eq("id", 3).order("id", { referencedTable: "authors.contemporaries" })), [
    { authors: { contemporaries: [{ name: "Jane Austen" }, { name: "Jules Verne" }] } },
  ]);
});

fresh("supabase-js 12: junctions whose columns are named like the target's, aggregates inside an embed", async () => {
  assert.deepEqual(ok(await db.from("prizes").select("id, books(id)").eq("id", 1).order("id", { referencedTable: "books" })), [
    { id: 1, books: [{ id: 1 }, { id: 3 }] },
  ]);
  const sums = () => db.from("authors").select("books(pages.sum())").eq("id", 1);
  await under({ db_aggregates_enabled: "true" }, async () => !(await sums()).error, async () => {
    assert.deepEqual(ok(await sums()), [{ books: [{ sum: 753 }] }]);
    assert.deepEqual(ok(await db.from("prizes").select("books(count)").order("id")), [{ books: [{ count: 2 }] }, { books: [{ count: 0 }] }]);
  });
});
