// What the ways of tasks through the hub are played on: a `hub dev` of its own, the program `hub` as a person and as a machine use it, what
// runs below a process, and waiting for something to be so.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import { join } from "node:path";

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
export const free = () => new Promise((done) => { const s = createServer().listen(0, "127.0.0.1", () => { const { port } = s.address(); s.close(() => done(port)); }); });

/** What `look` gives once it is something. */
export async function until(what, ms, look) {
  const end = Date.now() + ms;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > end) throw new Error(`${what}: not within ${ms} ms`);
    await sleep(100);
  }
}

export function descendants(pid) {
  const children = new Map();
  for (const entry of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const parent = Number(readFileSync(`/proc/${entry}/stat`, "utf8").split(") ")[1].split(" ")[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(entry)]);
    } catch { /* it has just ended */ }
  }
  const all = (of) => (children.get(of) ?? []).flatMap((child) => [child, ...all(child)]);
  return all(pid);
}

export const isAgent = (pid) => { try { return !/agent-host/.test(readFileSync(`/proc/${pid}/cmdline`, "utf8")); } catch { return false; } };

/** The folders so deep below one. */
export function found(folder, depth) {
  if (!depth) return [folder];
  try { return readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()).flatMap((entry) => found(join(folder, entry.name), depth - 1)); } catch { return []; }
}

export const put = (folder, files) => { for (const [path, text] of Object.entries(files ?? {})) { mkdirSync(join(folder, path, ".."), { recursive: true }); writeFileSync(join(folder, path), text); } };
export const sql = (dev, text) => JSON.parse(execFileSync("psql", [dev.env.DATABASE_URL, "-XAtqc", text], { encoding: "utf8" }));

export const rows = (dev, text) => sql(dev, `with r as (${text}) select coalesce(json_agg(r), '[]') from r`);

/** What a worker of a program is given: where the programs are, and as little else as a service gets. */
export const environment = (root, program, home) => ({
  PATH: `${[join(root, program.folder), join(root, "node")].map((f) => join(f, "node_modules/.bin")).join(":")}:/usr/local/bin:/usr/bin:/bin`, LANG: "C.UTF-8", HOME: home,
});

/** `hub dev` without a worker, with its data below `scratch`. `projects`: the folder of each channel. */
export async function startDev(hub, scratch, env = {}) {
  const data = join(scratch, "hub"), log = [];
  const child = spawn(hub, ["dev", "--no-worker", "--data-dir", data, "--port", String(await free()), "--db-port", String(await free())], { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes) => log.push(bytes));
  await until("hub dev", 60_000, () => {
    if (child.exitCode !== null) throw new Error(`hub dev ended: ${Buffer.concat(log)}`);
    return existsSync(join(data, "dev.env"));
  });
  const written = Object.fromEntries(readFileSync(join(data, "dev.env"), "utf8").split("\n").filter((line) => /^\w+=/.test(line)).map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]));
  const dev = { child, env: written, data, log };
  dev.projects = sql(dev, `select json_object_agg(s.name || '/' || c.name, c.project_path) from public.hub_channels c join public.hub_servers s on s.id = c.server_id`);
  dev.cli = (...args) => execFileSync(hub, args, { env: { PATH: process.env.PATH, ...written }, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  // As a person does in the folder of `hub dev`: as the demo operator.
  dev.person = (...args) => execFileSync(hub, [...args, "--data-dir", data], { env: { PATH: process.env.PATH }, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  return dev;
}

/** `hub worker` on folders below `base`; `stop` ends it as a person does. */
export async function startWorker(hub, device, base, projects, env) {
  const log = [];
  const child = spawn(hub, ["worker", "--device", device, "--agents", join(base, "agents.json"), "--projects-root", projects, "--state-dir", join(base, "state"), "--drain-seconds", "1"], { env, stdio: ["ignore", "pipe", "pipe"] });
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes) => log.push(bytes));
  const worker = { child, log: () => Buffer.concat(log).toString(), pid: child.pid };
  worker.stop = async (signal = "SIGTERM") => {
    child.kill(signal);
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  };
  await until("the worker", 20_000, () => {
    if (child.exitCode !== null) throw new Error(`the worker ended: ${worker.log()}`);
    return /worker ready/.test(worker.log());
  });
  return worker;
}
