// Every type of Postgres with its odd values, as REST, CSV and Postgres Changes give them: what Postgres itself makes of the row.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import pg from "pg";
import { hangUp, rawSocket } from "./live.mjs";
import { anonKey, need, url } from "./support.mjs";

const id = randomUUID().slice(0, 8);
const [table, mood, spot, even] = ["table", "mood", "spot", "even"].map((name) => `types_${name}_${id}`);
const later = "'2024-02-29 12:00:00.120+00'";
const kinds = {
  boolean: ["true", "false"],
  '"char"': ["'x'", "''"],
  name: ["'a name'"],
  text: [`'"quoted", \\ and ''single'' ü 圍棋 😀'`, "''", "E'two\\nlines\\tand\\x01'"],
  "varchar(5)": ["'a,b'", "' x '"],
  "char(5)": ["'ab'"],
  bytea: ["'\\x00ff'", "''"],
  smallint: ["-32768"],
  integer: ["2147483647", "-1"],
  bigint: ["9223372036854775807", "-9007199254740993"],
  real: ["0.9", "'NaN'", "'-Infinity'"],
  "double precision": ["0.1", "1e300", "'Infinity'"],
  numeric: ["1.50", "'NaN'", "12345678901234567890.123456789000"],
  "numeric(6,3)": ["1.5", "-0.001"],
  money: ["'1234.5'", "'-1'"],
  date: ["'2024-02-29'", "'infinity'", "'0044-03-15 BC'"],
  time: ["'12:30:00.5'", "'24:00:00'"],
  timetz: ["'12:00:00+01'", "'00:00:00.123456-12:30'"],
  timestamp: ["'2024-02-29 12:00:00'", "'-infinity'", "'12024-01-01'"],
  timestamptz: [later, "'infinity'", "'0001-01-01 00:00:00+00 BC'"],
  interval: ["'1 mon 2 days'", "'-1 years -00:00:00.5'"],
  uuid: ["'123E4567-E89B-12D3-A456-426614174000'"],
  json: [`'{"b": 1,  "a": [null, 1.50]}'`, "'null'", `'"text"'`],
  jsonb: [`'{"b": 1,  "a": [null, 1.50]}'`, "'null'", "'1e3'"],
  jsonpath: ["'$.a[*] ? (@ > 1)'"],
  inet: ["'10.0.0.1/8'", "'::1'"],
  cidr: ["'10.0.0.0/8'"],
  macaddr: ["'08:00:2b:01:02:03'"],
  macaddr8: ["'08:00:2b:01:02:03:04:05'"],
  "bit(3)": ["B'101'"],
  varbit: ["B'10'", "B''"],
  point: ["'(1.5,-2)'"],
  line: ["'{1,2,3}'"],
  lseg: ["'[(0,0),(1,1)]'"],
  box: ["'(1,1),(0,0)'"],
  path: ["'[(0,0),(1,1)]'"],
  polygon: ["'((0,0),(1,1),(1,0))'"],
  circle: ["'<(0,0),2>'"],
  tsvector: ["'fat:1A cat:2'"],
  tsquery: ["'fat & !cat'"],
  int4range: ["'[1,5)'", "'empty'", "'(,5]'"],
  numrange: ["'[1.50,2)'"],
  daterange: ["'[2024-01-01,infinity)'"],
  tstzrange: ["'[2024-01-01 00:00+00,)'"],
  int4multirange: ["'{[1,2),[5,7)}'", "'{}'"],
  oid: ["4294967295"],
  pg_lsn: ["'16/B374D848'"],
  txid_snapshot: ["'10:20:10,14'"],
  [mood]: ["'calm'", "'very busy'"],
  [spot]: ["row(1.50, null)", "row(null, 'a, b')"],
  [even]: ["4"],
  "integer[]": ["'{1,NULL,3}'", "'{}'", "'[0:1]={7,8}'"],
  "integer[][]": ["'{{1,2},{3,4}}'"],
  "text[]": [`'{"a,b","c\\"d","",NULL,"NULL"}'`],
  "real[]": ["'{0.9,NaN}'"],
  "timestamptz[]": ["'{2024-02-29 12:00+00,infinity}'"],
  "jsonb[]": [`array['{"a": 1}', 'null']::jsonb[]`],
  [`${spot}[]`]: [`array[row(1, 'x')]::public.${spot}[]`],
};
const columns = Object.keys(kinds).map((kind, i) => [`c${i}`, kind, kinds[kind]]);
const rows = [0, 1, 2, 3].map((row) => `(${[row, ...columns.map(([, , values]) => values[row] ?? "null")].join(", ")})`);
let sql;
const value = async (query) => (await sql.query(query)).rows[0].value;
const get = (accept) => fetch(`${url}/rest/v1/${table}?order=id`, { headers: { apikey: anonKey, Accept: accept } });

/** Numbers as they are written: JavaScript's would lose digits. */
const exactly = (json) => JSON.parse(json.replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, (token) => (token.startsWith('"') ? token : `"number ${token}"`)));
const named = (row) => Object.fromEntries(columns.map(([column, kind]) => [kind, row[column]]));

before(async () => {
  sql = new pg.Client({ connectionString: need("DATABASE_URL") });
  await sql.connect();
  await sql.query(`
    create type public.${mood} as enum ('calm', 'very busy');
    create type public.${spot} as (lat numeric, label text);
    create domain public.${even} as integer check (value % 2 = 0);
    create table public.${table} (id integer primary key, ${columns.map(([column, kind]) => `${column} ${kind}`).join(", ")});
    grant select on public.${table} to anon;
    alter publication supabase_realtime add table public.${table}`);
});
after(async () => {
  await sql.query(`drop table public.${table}; drop type public.${mood}, public.${spot}; drop domain public.${even}`);
  await sql.end();
  await hangUp();
});

test("Postgres Changes give the values of to_jsonb", async () => {
  const raw = await rawSocket();
  const topic = `realtime:types-${id}`;
  await raw.join(topic, { postgres_changes: [{ event: "*", schema: "public", table }] });
  await raw.event(topic, "system");
  await sql.query(`insert into public.${table} values ${rows.join(", ")}`);
  for (const row of rows.keys()) {
    await raw.event(topic, "postgres_changes", (payload) => payload.data.record.id === row);
    const frame = raw.frames.all.findLast((frame) => typeof frame === "string" && exactly(frame)[4]?.data?.record?.id === `number ${row}`);
    const wanted = exactly(await value(`select to_jsonb(t)::text as value from public.${table} t where id = ${row}`));
    assert.deepEqual(named(exactly(frame)[4].data.record), named(wanted), `row ${row}`);
  }
  raw.close();
});

test("REST gives the text of json_agg", async () => {
  const answer = await (await get("application/json")).text();
  const wanted = await value(`select json_agg(t)::text as value from (select * from public.${table} order by id) t`);
  for (const [i, row] of exactly(answer).entries()) assert.deepEqual(named(row), named(exactly(wanted)[i]), `row ${i}`);
  assert.equal(answer, wanted);
});

test("CSV has each value as Postgres writes it in a row", async () => {
  const answer = await (await get("text/csv")).text();
  const lines = await value(`select string_agg(substr(t::text, 2, length(t::text) - 2), E'\\n') as value from (select * from public.${table} order by id) t`);
  assert.equal(answer.trimEnd(), `id,${columns.map(([column]) => column).join(",")}\n${lines}`);
});

test("every value finds its row", async () => {
  const not = new Set(["json", "jsonpath", "point", "path", "polygon", "line", "lseg", "box", "circle", "txid_snapshot", "xml"]);
  for (const [column, kind, values] of columns.filter(([, kind]) => !not.has(kind) && !kind.startsWith("json") && !kind.startsWith(spot))) {
    for (const row of values.keys()) {
      const said = await value(`select ${column}::text as value from public.${table} where id = ${row}`);
      const target = `${url}/rest/v1/${table}?select=id&id=eq.${row}&${column}=eq.${encodeURIComponent(said)}`;
      const answer = await fetch(target, { headers: { apikey: anonKey } });
      assert.deepEqual([answer.status, await answer.json()], [200, [{ id: row }]], `${kind}: ${said}`);
    }
  }
});
