// The Supabase CLI against a running `hub dev`, as functions/local/README.md has it.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fine, need, project, query, run, supabase } from "./support.mjs";

const env = need("HUB_DEV_ENV");
const url = (await readFile(env, "utf8")).match(/^DATABASE_URL=(.*)$/m)[1];
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
