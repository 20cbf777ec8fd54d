// Migrations, lints, advisors and types by the real Supabase CLI, against databases as projects have them.
import assert from "node:assert/strict";
import { copyFile, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { database, deno, fine, hub, project, query, repo, supabase, types } from "./support.mjs";

const here = await project();
const versions = (await readdir(`${here}/supabase/migrations`)).map((name) => name.split("_")[0]).sort();
const push = (url, ...more) => supabase(here, ["db", "push", `--remote=${url}`, "--yes", "--output-format", "json", ...more]);
const pushed = async (url, ...more) => JSON.parse((await fine(push(url, ...more))).out);
const listed = async (url, folder = here) =>
  JSON.parse((await fine(supabase(folder, ["migration", "list", `--remote=${url}`, "--output-format", "json"]))).out).migrations;
const equalOnBothSides = (rows) => assert.deepEqual(rows.map(({ local, remote }) => [local, remote]), versions.map((version) => [version, version]));

// Every table, column, function, policy, trigger, index and grant of ours, as text.
const SHAPE = `
  select format('%s %s %s', c.oid::regclass, c.relkind, c.relacl) as line from pg_class c
   where c.relnamespace in ('public'::regnamespace, 'hub_internal'::regnamespace) and c.relname <> 'refinery_schema_history' and c.relname not like 'refinery%'
  union all select format('%s %s %s %s', a.attrelid::regclass, a.attname, a.atttypid::regtype, a.attacl) from pg_attribute a join pg_class c on c.oid = a.attrelid
   where c.relnamespace = 'public'::regnamespace and a.attnum > 0
  union all select format('%s %s %s', p.oid::regprocedure, p.proacl, md5(p.prosrc)) from pg_proc p
   where p.pronamespace in ('public'::regnamespace, 'hub_internal'::regnamespace)
  union all select format('%s %s %s', schemaname, tablename, policyname) from pg_policies
  union all select format('%s %s', tgrelid::regclass, tgname) from pg_trigger where not tgisinternal
  union all select format('%s %s', pubname, tablename) from pg_publication_tables
  union all select name from public.hub_servers
  order by 1`;
const shape = async (url) => (await query(url, SHAPE)).map(({ line }) => line);

const older = await database("older");
const newer = await database("newer", { grants: "newer" });

test("db push --dry-run names every migration and applies none", async () => {
  const { dryRun, migrations } = await pushed(older.url, "--dry-run");
  assert.equal(dryRun, true);
  assert.deepEqual(migrations.map((file) => String(file.version ?? file).split("/").at(-1).split("_")[0]), versions);
  assert.deepEqual(await query(older.url, "select to_regclass('public.hub_servers') as t, to_regnamespace('hub_internal') as s"), [{ t: null, s: null }]);
});

for (const [what, db] of [["older", older], ["newer", newer]]) {
  test(`db push deploys to a project with the grants of ${what} ones, once`, async () => {
    assert.equal((await pushed(db.url)).migrations.length, versions.length);
    const again = await pushed(db.url);
    assert.equal(again.upToDate, true);
    assert.deepEqual(again.migrations, []);
    equalOnBothSides(await listed(db.url));
  });
  test(`hub migrate recognises what db push did (${what})`, async () => {
    const { out } = await fine(hub("migrate", "--url", db.url));
    assert.match(out, new RegExp(`nothing to apply. ${versions.length} had been applied by the Supabase CLI`));
    assert.equal((await pushed(db.url)).upToDate, true);
  });
}

test("db push recognises what hub migrate did, and both make the same schema", async () => {
  const { url } = await database("by_hub");
  await fine(hub("migrate", "--url", url));
  assert.equal((await pushed(url)).upToDate, true);
  equalOnBothSides(await listed(url));
  const made = await shape(url);
  assert.ok(made.length > 500);
  assert.deepEqual(await shape(older.url), made);
  assert.deepEqual(await shape(newer.url), made);
});

test("half the migrations by db push and half by hub migrate", async () => {
  const { url } = await database("half");
  const part = await project();
  for (const version of versions.slice(9)) {
    const [name] = (await readdir(`${part}/supabase/migrations`)).filter((file) => file.startsWith(version));
    await rm(`${part}/supabase/migrations/${name}`);
  }
  await fine(supabase(part, ["db", "push", `--remote=${url}`, "--yes"]));
  await fine(hub("migrate", "--url", url));
  equalOnBothSides(await listed(url));
  assert.deepEqual(await shape(url), await shape(older.url));
});

test("db push --include-seed brings the demo data", async () => {
  const { url } = await database("seeded");
  await fine(push(url, "--include-seed"));
  assert.deepEqual(await query(url, "select count(*)::int as n from public.hub_servers"), [{ n: 4 }]);
});

test("a project with tables and migrations of its own keeps them", async () => {
  const { url } = await database("theirs");
  const their = await project();
  const folder = `${their}/supabase/migrations`;
  await writeFile(
    `${folder}/20250101000000_orders.sql`,
    `create table public.orders (id bigint generated always as identity primary key, owner uuid not null default auth.uid(), what text not null);
     alter table public.orders enable row level security;
     create policy own on public.orders for all to authenticated using (owner = (select auth.uid()));
     create function public.order_count() returns bigint language sql stable set search_path = '' as 'select count(*) from public.orders';
     alter publication supabase_realtime add table public.orders;
     insert into public.orders (owner, what) values (gen_random_uuid(), 'tea'), (gen_random_uuid(), 'koji');`,
  );
  // Their own first, alone, as it was before ours came.
  const ours = (await readdir(folder)).filter((name) => !name.endsWith("_orders.sql"));
  for (const name of ours) await rm(`${folder}/${name}`);
  await fine(supabase(their, ["db", "push", `--remote=${url}`, "--yes"]));
  const look = `select (select string_agg(o::text, ',' order by id) from public.orders o) as rows, (select relacl::text from pg_class where oid = 'public.orders'::regclass) as grants,
      (select string_agg(policyname, ',') from pg_policies where tablename = 'orders') as policies, (select proacl::text from pg_proc where proname = 'order_count') as function,
      (select count(*)::int from pg_publication_tables where tablename = 'orders') as published,
      (select string_agg(defaclacl::text, ' ' order by defaclobjtype) from pg_default_acl d where defaclrole = 'postgres'::regrole and defaclnamespace = 'public'::regnamespace) as defaults`;
  const before = await query(url, look);
  // Then ours, as supabase/README.md says: copied beside theirs.
  for (const name of ours) await copyFile(`${repo}/supabase/migrations/${name}`, `${folder}/${name}`);
  await fine(supabase(their, ["db", "push", `--remote=${url}`, "--yes"]));
  assert.deepEqual(await query(url, look), before);
  assert.deepEqual((await listed(url, their)).map(({ local, remote }) => [local, remote]), ["20250101000000", ...versions].map((version) => [version, version]));
  assert.match((await fine(hub("migrate", "--url", url))).out, /nothing to apply/);
});

// Lint --------------------------------------------------------------------------------------------------------------------------

// What is known, and why it stays.
const LINTS = [
  {
    message: /^never read variable "v_told"$/,
    functions: /^hub_internal\.tell_(end|change|insert)$/,
    why: "tell is called in an assignment and not by PERFORM, whose arguments are prepared anew at each call (…telling)",
  },
  {
    message: /^unused parameter "p_(now|limit)"$/,
    functions: /^hub_internal\.(keep_broadcasts|enlane|reap_lanes|reap_device_projects|tell_endings|settle_waiting)$/,
    why: "every errand is called in one way (hub_errands): with the moment, and with how much it may do",
  },
  {
    message: /^record "new" has no field "(device|drained_at|id)"$/,
    functions: /^hub_internal\.(wake_device_change|retime_threads)$/,
    triggers: true,
    why: "one function for two tables, which asks tg_table_name before it looks at the field that only one of them has",
  },
];
const known = (name, issue) => LINTS.some((lint) => lint.message.test(issue.message) && lint.functions.test(name));
const lint = (url, ...more) => supabase(here, ["db", "lint", `--remote=${url}`, "--level", "warning", "--output-format", "json", ...more]);
const issues = ({ out }) => {
  const said = JSON.parse(out || "[]");
  return (Array.isArray(said) ? said : (said.results ?? [])).flatMap((found) => found.issues.map((issue) => ({ name: found.function, ...issue })));
};

test("db lint reports nothing that is not listed here", async () => {
  await query(older.admin, "create extension plpgsql_check with schema extensions");
  const done = await fine(lint(older.url, "--fail-on", "error"));
  const found = issues(done);
  assert.deepEqual(found.filter((issue) => !known(issue.name, issue)), []);
  for (const { message, why } of LINTS.filter((lint) => !lint.triggers)) assert.ok(found.some((issue) => message.test(issue.message)), `gone, so strike it: ${message} (${why})`);
});

test("db lint finds a fault that is made on purpose", async () => {
  await query(newer.admin, "create extension plpgsql_check with schema extensions");
  await query(newer.url, "create function public.broken() returns int language plpgsql as 'begin return (select no_such_column from public.hub_servers); end'");
  const done = await lint(newer.url, "--fail-on", "error");
  assert.notEqual(done.code, 0);
  assert.match(done.all, /no_such_column/);
  await query(newer.url, "drop function public.broken()");
});

test("the functions of triggers, which db lint leaves out, pass the same check", async () => {
  const found = await query(
    older.admin,
    `select distinct p.oid::regproc::text as name, c.message, c.level
       from pg_trigger t join pg_proc p on p.oid = t.tgfoid join pg_language l on l.oid = p.prolang,
            lateral extensions.plpgsql_check_function_tb(p.oid, t.tgrelid, oldtable => t.tgoldtable, newtable => t.tgnewtable) c
      where p.pronamespace in ('public'::regnamespace, 'hub_internal'::regnamespace) and l.lanname = 'plpgsql' and not t.tgisinternal`,
  );
  assert.deepEqual(found.filter((issue) => !known(issue.name, issue)), []);
});

// Advisors ----------------------------------------------------------------------------------------------------------------------

const ADVICE = [
  { name: "unused_index", where: /./, why: "the database is a minute old; tests/bench shows what the indexes are for" },
  { name: "rls_enabled_no_policy", where: /^hub_internal$/, why: "nobody holds a grant there and no API exposes it: only definer functions reach these tables" },
  { name: "unindexed_foreign_keys", where: /^hub_internal$/, why: "lanes are few, and devices are revoked rather than deleted" },
];
const advise = async (url) =>
  JSON.parse((await fine(supabase(here, ["db", "advisors", `--remote=${url}`, "--type=all", "--level=info", "--output-format", "json"]))).out).results.map((found) => ({
    name: found.name,
    schema: found.metadata.schema,
    detail: found.detail,
  }));

for (const [what, db] of [["older", older], ["newer", newer]]) {
  test(`db advisors, security and performance, report nothing that is not listed here (${what})`, async () => {
    const found = await advise(db.url);
    assert.deepEqual(found.filter(({ name, schema }) => !ADVICE.some((advice) => advice.name === name && advice.where.test(schema))), []);
    for (const { name, why } of ADVICE) assert.ok(found.some((finding) => finding.name === name), `gone, so strike it: ${name} (${why})`);
  });
}

test("db advisors find a fault that is made on purpose", async () => {
  const { url } = await database("careless");
  await query(
    url,
    `create table public.open (id int primary key, at regproc);
     create table public.slow (id int primary key, owner uuid);
     alter table public.slow enable row level security;
     create policy a on public.slow for select to authenticated using (owner = auth.uid());
     create policy b on public.slow for select to authenticated using (true);
     create function public.definer() returns void language sql security definer as '';`,
  );
  const names = new Set((await advise(url)).map(({ name }) => name));
  for (const name of ["rls_disabled_in_public", "auth_rls_initplan", "multiple_permissive_policies", "function_search_path_mutable", "unsupported_reg_types"]) {
    assert.ok(names.has(name), `${name} is not among ${[...names]}`);
  }
});

// Types -------------------------------------------------------------------------------------------------------------------------

test("supabase/types/database.ts is what gen types makes of these migrations", async () => {
  const committed = await readFile(`${repo}/supabase/types/database.ts`, "utf8");
  assert.equal(await types(here, older.url), committed, "write it anew: tests/deploy/run --types");
});

test("a program with supabase-js and these types type-checks", async () => {
  // What must not pass is marked @ts-expect-error in it, so that types which allow anything fail here.
  await fine(deno(["check", "--no-remote", "--node-modules-dir=manual", "client.ts"], { cwd: import.meta.dirname }));
});
