// The Supabase CLI against a running `hub dev`, as functions/local/README.md has it.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fine, need, project, query, run, supabase } from "./support.mjs";

const env = need("HUB_DEV_ENV");
const told = Object.fromEntries((await readFile(env, "utf8")).split("\n").filter((line) => /^\w+=/.test(line)).map((line) => line.split(/=(.*)/s, 2)));
const url = told.DATABASE_URL;
const here = await project();

test("db push finds hub dev by the address in dev.env", async () => {
  const given = await fine(run("sh", ["-c", `printf %s "$(grep ^DATABASE_URL "$0" | cut -d= -f2-)"`, env]));
  assert.equal(given.out, url);
  const pushed = JSON.parse((await fine(supabase(here, ["db", "push", "--db-url", given.out, "--yes", "--output-format", "json"]))).out);
  assert.equal(pushed.upToDate, true);
  const { migrations } = JSON.parse((await fine(supabase(here, ["migration", "list", "--db-url", given.out, "--output-format", "json"]))).out);
  assert.ok(migrations.length > 9 && migrations.every(({ local, remote }) => local === remote));
});

test("postgres:postgres is refused", async () => {
  const guess = new URL(url);
  guess.password = "postgres";
  await assert.rejects(query(guess.href, "select 1"), { code: "28P01" });
  assert.deepEqual(await query(url, "select current_user::text as me"), [{ me: "postgres" }]);
  const refused = await supabase(here, ["db", "push", "--db-url", guess.href, "--yes"]);
  assert.notEqual(refused.code, 0);
  assert.match(refused.all, /password authentication failed/);
});

test("db lint makes its extension, and leaves nothing", async () => {
  await fine(supabase(here, ["db", "lint", "--db-url", url, "--schema", "public", "--fail-on", "error"]));
  assert.deepEqual(await query(url, "select from pg_extension where extname = 'plpgsql_check'"), []);
});

const INSPECT = ["bloat", "blocking", "calls", "db-stats", "index-stats", "locks", "long-running-queries", "outliers", "replication-slots", "role-stats",
  "table-stats", "traffic-profile", "vacuum-stats", "cache-hit", "index-sizes", "index-usage", "role-configs", "role-connections", "seq-scans",
  "table-record-counts", "table-sizes", "unused-indexes"];
test("every inspect db command has an answer", async () => {
  for (const command of INSPECT) await fine(supabase(here, ["inspect", "db", command, "--db-url", url]));
  const [{ calls }] = await query(url, "select sum(calls)::int as calls from pg_stat_statements");
  assert.ok(calls > 0);
});

test("after db reset the people and members are there again, with the tokens of dev.env", async () => {
  const servers = async (token) => {
    const headers = { apikey: told.SUPABASE_ANON_KEY, authorization: `Bearer ${token}` };
    const response = await fetch(`${told.SUPABASE_URL}/rest/v1/hub_servers?select=name&order=name`, { headers });
    return response.ok ? (await response.json()).map(({ name }) => name) : [];
  };
  const before = await servers(told.HUB_OPERATOR_JWT);
  assert.equal(before.length, 4);
  // With an extension that somebody made, too: the reset drops all that are not Supabase's own.
  await query(url, "create extension if not exists plpgsql_check");
  await fine(supabase(here, ["db", "reset", "--db-url", url, "--yes"]));
  assert.deepEqual(await query(url, "select from pg_extension where extname = 'plpgsql_check'"), []);

  // Nothing tells a client of it; the bound is for a machine that hangs.
  const deadline = Date.now() + 60_000;
  while ((await servers(told.HUB_OPERATOR_JWT)).length < before.length && Date.now() < deadline) await sleep(100);
  assert.deepEqual(await servers(told.HUB_OPERATOR_JWT), before);
  assert.deepEqual(await servers(told.HUB_VIEWER_JWT), before);
  const signingIn = await fetch(`${told.SUPABASE_URL}/auth/v1/token?grant_type=password`, {
    method: "POST",
    headers: { apikey: told.SUPABASE_ANON_KEY, "content-type": "application/json" },
    body: JSON.stringify({ email: told.HUB_OPERATOR_EMAIL, password: told.HUB_OPERATOR_PASSWORD }),
  });
  assert.equal(signingIn.status, 200);
  assert.equal((await query(url, "select from mesh_devices where name = 'dev' and user_id is not null")).length, 1);
});
