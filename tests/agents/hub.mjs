// The way of a task through the hub and a real agent program: sent as a person would, claimed by `hub worker`, run, told in the channel.
//   node hub.mjs HUB PROGRAMS [FILTER…]     HUB: the program `hub`; PROGRAMS: the folder that `run` installs into. Needs a namespace without
//                                           a network: use `run`.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { once } from "node:events";
import { programs } from "./cases.mjs";
import { serve } from "./api.mjs";

const [hub, root, ...filters] = process.argv.slice(2);
const scratch = mkdtempSync("/var/tmp/hub-agents.");       // not below /tmp, where Codex may write whatever its folder is
execFileSync("chmod", ["711", scratch]);           // as root, the database in it belongs to another user
const channel = "buf-barista/quick";

const file = (name) => ({ project }) => existsSync(join(project, name)) ? readFileSync(join(project, name), "utf8") : null;
const written = (world) => file("notes.txt")(world) === "one\ntwo\n" ? undefined : "notes.txt was not written";
const untouched = (world) => file("notes.txt")(world) === null ? undefined : "notes.txt was written";

/** What is in the channel or the record must match. `status`, `reason`: of the task and of its last attempt; `says`: the task's messages. */
const cases = {
  ok: { status: "complete", says: [/✅ \w+ complete \[\w+\/\S+\]\npong/] },
  tool: { mode: "tool", status: "complete", says: [/pong/], check: ({ task }) => task.partial_output === "pong" || /Running echo hi/.test(task.partial_output) ? undefined : `it was last doing ${task.partial_output}` },
  edit: { mode: "edit", status: "complete", says: [/pong\n\nChanged: notes\.txt/], check: written },
  edit_and_run: { mode: "edit_and_run", status: "complete", says: [/pong\n\nChanged: notes\.txt/], check: written },
  figures: { status: "complete", check: ({ attempt }) => attempt.tokens_in > 0 && attempt.tokens_out > 0 && attempt.session_id && attempt.model && attempt.agent_version && (attempt.agent.startsWith("gemini") || attempt.cost_usd > 0) ? undefined
    : `the record lacks figures: ${JSON.stringify(attempt)}` },
  no_change_without_leave: { mode: "edit", policy: "read-only", status: "failed", reason: "denied", says: [/❌ \w+ failed/], check: untouched },
  no_file_outside: { mode: "write_outside", status: "failed", reason: "denied", check: ({ project }) => existsSync(join(project, "../other.txt")) ? "a file was written outside" : undefined },
  no_command_that_was_blocked: { mode: "substitution", not: ["claude", "codex", "claude-agent-acp"], status: "failed", reason: "denied", check: (world) => file("made.txt")(world) === null ? undefined : "the command ran" },
  no_hook_of_a_strange_folder: { not: ["claude-agent-acp"], files: { ".claude/settings.json": JSON.stringify({ hooks: { SessionStart: [{ hooks: [{ type: "command", command: "touch hook-ran" }] }] } }) },
    status: "complete", check: ({ project }) => existsSync(join(project, "hook-ran")) ? "the folder's hook ran" : undefined },
  unauthorized: { mode: "unauthorized", status: "failed", reason: "auth", says: [/log/i],
    after: async ({ device, cli, task }) => {
      const devices = cli("devices");
      if (!/not logged in/i.test(devices)) return `hub devices does not tell: ${devices}`;
      const next = JSON.parse(cli("send", channel, `ask ${task.agent.split("-")[0]} to say pong`, "--json")).task.id;
      await sleep(1500);
      const reasons = cli("task", "explain", next);
      const status = JSON.parse(cli("task", "show", next, "--json")).task.status;
      cli("task", "cancel", next);
      return status !== "pending" ? `the next task followed: ${status}` : /log/i.test(reasons) ? undefined : `explain does not tell: ${reasons}`;
    } },
  limit: { mode: "limit", status: "pending", reason: "limit", check: ({ task, attempt }) => attempt.limited_until ? (task.max_attempts - task.attempt >= 2 ? undefined : "an attempt was used up") : "no time is recorded",
    after: async ({ said }) => said.filter((text) => text.startsWith("⏸️")).length === 1 ? undefined : "it went on under the same login" },
  too_long: { mode: "too_long", status: "failed", reason: "context_full" },
  bad_model: { mode: "bad_model", model: "nothing-1", status: "failed", reason: "bad_config", not: ["gemini"] },
  big_prompt: { prompt: "x".repeat(90_000), status: "complete" },
  cancel: { mode: "slow_tool", during: ({ cli, id }) => cli("task", "cancel", id), status: "cancelled" },
  killed: { mode: "slow_tool", during: ({ pids }) => pids().forEach((pid) => process.kill(pid, "SIGKILL")), status: "pending", reason: /crashed|signal/ },
};

const agents = {
  "claude.2.1.197": () => ({ kind: "claude", program: "claude" }),
  "claude.2.1.332": () => ({ kind: "claude", program: "claude" }),
  "codex.0.171.0": (port) => ({ kind: "codex", program: "codex", args: programs["codex.0.171.0"].args(port).slice(1) }),
  "gemini.0.61.0": () => ({ kind: "acp", program: "gemini" }),
  "claude-agent-acp.0.101.0": () => ({ kind: "acp", program: "claude-agent-acp", env: ["IS_SANDBOX"] }),
};

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const free = () => new Promise((done) => { const s = createServer().listen(0, "127.0.0.1", () => { const { port } = s.address(); s.close(() => done(port)); }); });

async function until(what, ms, look) {
  const end = Date.now() + ms;
  for (;;) {
    const seen = look();
    if (seen) return seen;
    if (Date.now() > end) throw new Error(`${what}: not within ${ms} ms`);
    await sleep(100);
  }
}

function descendants(pid) {
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

const isAgent = (pid) => { try { return !/agent-host/.test(readFileSync(`/proc/${pid}/cmdline`, "utf8")); } catch { return false; } };

async function run(dev, programName, name) {
  const test = { prompt: "say pong", policy: "edit", ...cases[name] };
  const program = programs[programName], agent = programName.split(".")[0], model = agent.split("-")[0];
  const base = join(scratch, `${programName}-${name}`), home = join(base, "home"), projects = join(base, "projects");
  const project = join(projects, dev.project);
  const put = (folder, files) => { for (const [path, text] of Object.entries(files ?? {})) { mkdirSync(join(folder, path, ".."), { recursive: true }); writeFileSync(join(folder, path), text); } };
  mkdirSync(project, { recursive: true });
  put(project, { "README.md": "hello\n", ...test.files });
  execFileSync("git", ["-C", project, "init", "-q"]);
  put(home, program.home);
  const api = await serve(test.mode ?? "ok", { dir: project });
  const device = `d${Math.random().toString(16).slice(2, 8)}`;
  const config = { agent, models: [model], policy: test.policy, ...(test.model && { model: test.model }), ...agents[programName](api.port) };
  writeFileSync(join(base, "agents.json"), JSON.stringify([config, { ...config, agent: `${agent}-review`, policy: "read-only" }]))   // the same login, and no way out of its limit;
  const env = {
    PATH: `${[join(root, program.folder), join(root, "node")].map((f) => join(f, "node_modules/.bin")).join(":")}:/usr/local/bin:/usr/bin:/bin`, LANG: "C.UTF-8", HOME: home,
    ...program.env(api.port, project), DATABASE_URL: dev.env.DATABASE_URL,
  };
  const cli = (...args) => execFileSync(hub, args, { env: { PATH: process.env.PATH, ...dev.env }, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const log = [];
  const worker = spawn(hub, ["worker", "--device", device, "--agents", join(base, "agents.json"), "--projects-root", projects, "--state-dir", join(base, "state"), "--drain-seconds", "1"], { env, stdio: ["ignore", "pipe", "pipe"] });
  for (const stream of [worker.stdout, worker.stderr]) stream.on("data", (bytes) => log.push(bytes));
  try {
    await until("the worker", 20_000, () => /worker ready/.test(Buffer.concat(log).toString()));
    const id = JSON.parse(cli("send", channel, `ask ${model} to ${test.prompt}`, "--json")).task.id;
    const show = () => JSON.parse(cli("task", "show", id, "--json"));
    const pids = () => descendants(worker.pid).filter(isAgent);
    if (test.during) {
      await until("the tool", 40_000, () => api.turn > 0);
      await sleep(500);
      await test.during({ cli, id, pids });
    }
    // Over, or waiting again after an attempt.
    const shown = await until("the end", 60_000, () => { const s = show(); return !["pending", "running"].includes(s.task.status) || s.task.status === "pending" && s.attempts?.at(-1)?.outcome ? s : null; });
    const task = shown.task, attempt = shown.attempts.at(-1), world = { project, task, attempt, device, cli };
    const messages = sql(dev, `select coalesce(json_agg(json_build_object('at', created_at, 'content', content) order by seq), '[]') from public.hub_channel_messages where task_id = '${id}'`);
    const said = messages.map(({ content }) => content);
    const wrong = [
      task.status !== test.status && `it is ${task.status}, not ${test.status}`,
      test.reason && !(test.reason instanceof RegExp ? test.reason.test(attempt?.reason) : attempt?.reason === test.reason) && `the reason is ${attempt?.reason}, not ${test.reason}`,
      ...(test.says ?? []).map((words) => !said.some((text) => words.test(text)) && `nobody said ${words}`),
      test.check?.(world),
      await test.after?.({ ...world, said }),
      pids().length && `processes are left: ${pids()}`,
    ].filter(Boolean);
    const began = messages.find(({ content }) => content.startsWith("▶️")), first = messages.find(({ content }) => content.startsWith("📋"));
    const ms = (message) => message && began ? new Date(message.at) - new Date(began.at) : null;
    return { wrong, said, times: { note: ms(first), end: ms(messages.at(-1)) }, log: wrong.length ? Buffer.concat(log).toString() : "" };
  } finally {
    // What waits for its limit, or to be tried again, is no work for the next case.
    sql(dev, `select coalesce(json_agg(public.hub_cancel_task(id)), '[]') from public.mac_tasks where status = 'pending'`);
    worker.kill("SIGTERM");
    if (worker.exitCode === null && worker.signalCode === null) await once(worker, "exit");
    api.close();
  }
}

const sql = (dev, text) => JSON.parse(execFileSync("psql", [dev.env.DATABASE_URL, "-XAtqc", text], { encoding: "utf8" }));

async function startDev() {
  const data = join(scratch, "hub"), log = [];
  const child = spawn(hub, ["dev", "--no-worker", "--data-dir", data, "--port", String(await free()), "--db-port", String(await free())], { stdio: ["ignore", "pipe", "pipe"] });
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes) => log.push(bytes));
  await until("hub dev", 60_000, () => {
    if (child.exitCode !== null) throw new Error(`hub dev ended: ${Buffer.concat(log)}`);
    return existsSync(join(data, "dev.env"));
  });
  const env = Object.fromEntries(readFileSync(join(data, "dev.env"), "utf8").split("\n").filter((line) => /^\w+=/.test(line)).map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]));
  const dev = { child, env };
  dev.project = sql(dev, `select to_json(project_path) from public.hub_channels where name = '${channel.split("/")[1]}'`);
  return dev;
}

const dev = await startDev();
let failed = 0, passed = 0;
try {
  for (const program of Object.keys(agents).filter((name) => programs[name])) {
    for (const name of Object.keys(cases)) {
      const title = `${program}.${name}`;
      if (filters.length && !filters.some((filter) => title.includes(filter))) continue;
      if (cases[name].not?.includes(program.split(".")[0])) continue;
      const { wrong, said = [], times = {}, log = "" } = await run(dev, program, name).catch((error) => ({ wrong: [error.stack] }));
      console.log(`${wrong.length ? "not ok" : "ok"} - hub ${title} (first note after ${times.note} ms, end after ${times.end} ms)`);
      if (wrong.length) console.log([...wrong, "-- said", ...said, "-- worker", log].join("\n").replace(/^/gm, "    "));
      wrong.length ? failed++ : passed++;
    }
  }
} finally {
  dev.child.kill("SIGTERM");
  await once(dev.child, "exit");
  rmSync(scratch, { recursive: true, force: true, maxRetries: 3 });
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
