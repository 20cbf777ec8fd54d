// What the suite's files share: a project folder of its own, the Supabase CLI in it, databases as projects have them.
import { execFile, spawn } from "node:child_process";
import { cp, mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";

export const need = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run ./run`);
  return value;
};

export const repo = need("HUB_REPO");
const bin = (name) => join(import.meta.dirname, "node_modules/.bin", name);
const home = await mkdtemp(join(tmpdir(), "hub-deploy-"));
process.on("exit", () => execFile("rm", ["-rf", home]));

/** Runs a program to its end. */
export function run(program, args, { cwd = repo, env = {}, input } = {}) {
  return new Promise((resolve, reject) => {
    // A home of its own: neither this machine's login nor its telemetry takes part.
    const child = spawn(program, args, { cwd, env: { PATH: process.env.PATH, HOME: home, DENO_DIR: join(home, "deno"), DO_NOT_TRACK: "1", NO_COLOR: "1", ...env } });
    let [out, err] = ["", ""];
    child.stdout.on("data", (data) => (out += data));
    child.stderr.on("data", (data) => (err += data));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, out, err, all: `${out}${err}` }));
    // One that reads nothing may have ended by now, and the pipe with it: how it ended is what counts.
    child.stdin.on("error", () => {});
    child.stdin.end(input ?? "");
  });
}

/** The program's output, or an error with all that it said. */
export async function fine(running) {
  const done = await running;
  if (done.code !== 0) throw new Error(`ended with ${done.code}:\n${done.all}`);
  return done;
}

export const hub = (...args) => run(need("HUB_BIN"), args);
export const deno = (args, options) => run(bin("deno"), args, options);
export const denoProgram = bin("deno");
export const supabase = (project, args, env = {}) => run(bin("supabase"), [...args, "--agent", "no", "--workdir", project], { cwd: project, env });

let projects = 0;
/** A checkout's part that the Supabase CLI reads, in a folder of its own: it leaves traces where it works. */
export async function project() {
  const folder = join(home, `project-${++projects}`);
  for (const part of ["supabase", "migrations", "seed"]) {
    await cp(join(repo, part), join(folder, part), { recursive: true, verbatimSymlinks: true, filter: (path) => !path.endsWith(".temp") });
  }
  return folder;
}

/** An empty folder of this run's. */
export async function folder(name) {
  const path = join(home, name);
  await mkdir(path, { recursive: true });
  return path;
}

export async function file(name, text) {
  const path = join(home, name);
  await writeFile(path, text);
  return path;
}

/** A database as a project has it before the first migration: with the grants of older projects, or of those made since 2026-05-30. */
export async function database(name, { grants = "older" } = {}) {
  const at = (user) => `postgresql://${user}@127.0.0.1:${need("PGPORT")}/${name}?sslmode=disable`;
  await query(at("supabase_admin").replace(`/${name}?`, "/postgres?"), `create database ${name} template template0`);
  await fine(hub("migrate", "--platform", "--url", at("supabase_admin")));
  if (grants === "newer") {
    for (const what of ["tables", "functions", "sequences"]) {
      await query(at("postgres"), `alter default privileges for role postgres in schema public revoke all on ${what} from anon, authenticated, service_role`);
    }
  }
  return { url: at("postgres"), admin: at("supabase_admin") };
}

/** Rows of one statement. */
export async function query(url, text, values) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(text, values)).rows;
  } finally {
    await client.end();
  }
}

/** The types of the schema for TypeScript, as they are committed. */
export async function types(projectFolder, url) {
  const { out } = await fine(supabase(projectFolder, ["gen", "types", "--lang=typescript", "--schema=public", `--remote=${url}`]));
  const head = "// Written by `tests/deploy/run --types` from the migrations: `supabase gen types`, formatted by `deno fmt`.\n\n";
  return (await fine(deno(["fmt", "--ext=ts", "--line-width=140", "-"], { input: head + out }))).out;
}
