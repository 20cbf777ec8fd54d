// Compares the shape of what the programs said (kinds of messages, their keys, how they ended) with the fixtures.
//   node compare.mjs FIXTURES OUT      Prints what is new ("# new") and what is gone ("not ok"). A program without fixtures of its
//   version is compared with the newest version that has some.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

const parsed = (text) => { try { return JSON.parse(text); } catch { return null; } };

/** What a message is: its type, method, and what it is about. */
const kind = (m) => [m.type, m.subtype, m.method, m.request?.subtype, m.params?.update?.sessionUpdate, m.params?.item?.type ?? m.item?.type,
  m.method || m.type ? undefined : m.error ? "error" : "answer"].filter(Boolean).join(" ");

/** Every path of keys in a value. Names of models and files are no shape. */
function* paths(value, at) {
  if (Array.isArray(value)) for (const part of value) yield* paths(part, `${at}[]`);
  else if (value && typeof value === "object") for (const [key, part] of Object.entries(value)) {
    const path = `${at}.${/^\w+$/.test(key) || key.startsWith("_") ? key : "*"}`;
    yield path;
    yield* paths(part, path);
  } else if (value !== null) yield `${at}: ${typeof value}`;
}

function shape(file) {
  const lines = readFileSync(file, "utf8").trimEnd().split("\n");
  const said = lines.filter((line) => line.startsWith("<< ")).map((line) => parsed(line.slice(3))).filter((m) => m && typeof m === "object");
  return { end: lines.at(-1), kinds: new Set(said.map(kind)), keys: new Set(said.flatMap((m) => [...paths(m, kind(m))])) };
}

/** "claude.2.1.197.ok.transcript" in parts. */
const split = (name) => { const [, program, version, test] = name.match(/^(.+?)\.(\d+\.\d+\.\d+)\.(\w+)\.transcript$/) ?? []; return { name, program, version, test }; };
const newest = (a, b) => a.version.localeCompare(b.version, "en", { numeric: true });
const minus = (a, b) => [...a].filter((x) => !b.has(x));

const [fixtures, out] = process.argv.slice(2);
const known = readdirSync(fixtures).map(split).filter((f) => f.program);
const programs = new Map();
for (const now of readdirSync(out).map(split).filter((f) => f.program)) {
  const like = known.filter((f) => f.program === now.program && f.test === now.test);
  const old = like.find((f) => f.version === now.version) ?? like.sort(newest).at(-1);
  const title = `${now.program} ${now.version}`;
  const seen = programs.get(title) ?? programs.set(title, { old: new Set(), now: new Set(), against: new Set(), cases: 0, drift: [] }).get(title);
  if (!old) { seen.drift.push(`${now.test}: no fixture`); continue; }
  const before = shape(join(fixtures, old.name)), after = shape(join(out, now.name));
  seen.cases++;
  seen.against.add(old.version);
  for (const key of before.keys) seen.old.add(key);
  for (const key of after.keys) seen.now.add(key);
  if (before.end !== after.end) seen.drift.push(`${now.test}: ended with "${after.end}", was "${before.end}"`);
  for (const what of minus(after.kinds, before.kinds)) seen.drift.push(`${now.test}: says ${what}`);
  for (const what of minus(before.kinds, after.kinds)) seen.drift.push(`${now.test}: says ${what} no more`);
}
for (const [title, { old, now, against, cases, drift }] of programs) {
  for (const what of drift) console.log(`# drift: ${title} ${what}`);
  for (const what of minus(now, old)) console.log(`# new: ${title} ${what}`);
  const gone = minus(old, now);
  for (const what of gone) console.log(`# gone: ${title} ${what}`);
  console.log(`${gone.length ? "not ok" : "ok"} - ${title}: nothing is gone since ${[...against].join(", ") || "no fixtures"} (${cases} cases)`);
}
