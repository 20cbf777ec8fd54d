// The way of a task through the hub and a real agent program: sent as a person would, claimed by `hub worker`, run, told in the channel.
//   node hub.mjs HUB PROGRAMS [FILTER…]     HUB: the program `hub`; PROGRAMS: the folder that `run` installs into. Needs a namespace without
//                                           a network: use `run`.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { once } from "node:events";
import { programs } from "./cases.mjs";
import { conversation, serve } from "./api.mjs";
import { descendants, environment, found, isAgent, put, rows, sleep, sql, startDev, startWorker, until } from "./stage.mjs";

const [hub, root, ...filters] = process.argv.slice(2);
const scratch = mkdtempSync("/var/tmp/hub-agents.");       // not below /tmp, where Codex may write whatever its folder is
execFileSync("chmod", ["711", scratch]);           // as root, the database in it belongs to another user
const channel = "buf-barista/quick";

const file = (name) => ({ project }) => existsSync(join(project, name)) ? readFileSync(join(project, name), "utf8") : null;
const written = (world) => file("notes.txt")(world) === "one\ntwo\n" ? undefined : "notes.txt was not written";
const untouched = (world) => file("notes.txt")(world) === null ? undefined : "notes.txt was written";

const threaded = "cloud-hub/infrastructure";
const committed = (project, branch, name) => { try { return execFileSync("git", ["-C", project, "show", `${branch}:${name}`], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }); } catch { return null; } };
/** Who refuses by itself what is outside its folder is asked to write where it may only read. */
const reads = ["gemini", "claude-agent-acp"];
/** An agent that has to ask: it writes beside its folder, or where it may only read. */
const beyond = {
  mode: "write_outside", git: true, per: (agent) => reads.includes(agent) ? { mode: "edit", policy: "read-only" } : {},
  made: ({ workspace, task, project }) => [join(workspace() ?? project, "../other.txt"), join(workspace() ?? project, "notes.txt")].some(existsSync) || committed(project, `hub/${task.id.slice(0, 8)}`, "notes.txt") !== null,
  done: (world) => beyond.made(world) ? undefined : "the file was not written",
  undone: (world) => beyond.made(world) ? "the file was written" : undefined,
};

/** What is in the channel or the record must match. `status`, `reason`: of the task and of its last attempt; `says`: the task's messages. */
const cases = {
  ok: { status: "complete", says: [/✅ \w+ complete \[\w+\/\S+\]\npong/] },
  tool: { mode: "tool", status: "complete", says: [/pong/], check: ({ task }) => task.partial_output === "pong" || /Running echo hi/.test(task.partial_output) ? undefined : `it was last doing ${task.partial_output}` },
  edit: { mode: "edit", status: "complete", says: [/pong\n\nChanged: notes\.txt/], check: written },
  edit_and_run: { mode: "edit_and_run", status: "complete", says: [/pong\n\nChanged: notes\.txt/], check: written },
  figures: { status: "complete", check: ({ attempt }) => attempt.tokens_in > 0 && attempt.tokens_out > 0 && attempt.session_id && attempt.model && attempt.agent_version && (attempt.agent.startsWith("gemini") || attempt.cost_usd > 0) ? undefined
    : `the record lacks figures: ${JSON.stringify(attempt)}` },
  no_change_without_leave: { ask: false, mode: "edit", policy: "read-only", status: "failed", reason: "denied", says: [/❌ \w+ failed/], check: untouched },
  no_file_outside: { ask: false, mode: "write_outside", status: "failed", reason: "denied", check: ({ project }) => existsSync(join(project, "../other.txt")) ? "a file was written outside" : undefined },
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
  // By the tools of `hub mcp`, which the worker tells it of: it says something, and reads the conversation.
  way_back: { mode: "way_back", not: ["codex-exec"], status: "complete", says: [/half way/, /pong/], check: ({ heard }) => /\[\d+\] [^"]*half way/.test(heard) ? undefined : "the agent did not read its conversation" },
  // Nobody here offers what the subtask is for: that it was made is enough, and it is cancelled at the end of the case.
  way_back_asks: { mode: "way_back_asks", status: "complete", during: async ({ ask, answer }) => { await ask(); answer("SQLite"); },
    check: ({ heard }) => !/Subtask [0-9a-f-]{36} is pending/.test(heard) ? "no subtask was made" : /Answered by [^"]*SQLite/.test(heard) ? undefined : "the agent did not hear the answer" },
  // A policy that only reads has the tools, too.
  way_back_reads: { mode: "way_back", policy: "read-only", not: ["gemini"], status: "complete", says: [/half way/] },
  cancel: { mode: "slow_tool", during: ({ cli, id }) => cli("task", "cancel", id), status: "cancelled" },
  // ----------------------------------------------------------------------------------- a line of work: sessions, steering, asking, workspaces
  resumes: { channel: threaded, git: true, prompt: "say the first-word", status: "complete",
    after: async ({ cli, end, task, attempt, api, pause }) => {
      await pause();
      const next = await end(JSON.parse(cli("send", threaded, "and the second-word", "--thread", task.thread_id, "--json")).task.id);
      const last = api.requests.map(conversation).findLast((told) => told.some(({ text }) => text.includes("second-word")));
      const at = last?.findIndex(({ who, text }) => who === "person" && text.includes("first-word"));
      return next.task.status !== "complete" ? `the reply is ${next.task.status}: ${next.task.error}`
        : next.attempts.at(-1).session_id !== attempt.session_id ? `another session: ${attempt.session_id}, then ${next.attempts.at(-1).session_id}`
        : !last.slice(at + 1).some(({ who, text }) => who === "model" && text.includes("pong")) ? `the model was not told what it had said: ${JSON.stringify(last)}` : undefined;
    } },
  steers: { mode: "slow_tool", git: true, status: "complete",
    during: ({ cli, id }) => cli("task", "steer", id, "and say the second-word"),
    check: ({ api }) => api.requests.map(conversation).some((told) => told.some(({ who, text }) => who === "person" && text.includes("second-word"))) ? undefined : "the word did not arrive",
    after: async ({ task }) => rows(dev, `select outcome from hub_internal.steers where task_id = '${task.id}'`)[0]?.outcome?.match(/^(taken|next_turn)$/) ? undefined : "it was not told that it was heard" },
  asks: { ...beyond, during: async ({ ask, answer }) => { await ask(); answer("allow"); }, status: "complete", check: beyond.done, says: [/pong/] },
  asks_denied: { ...beyond, during: async ({ ask, answer }) => { await ask(); answer("deny"); }, status: "complete", check: beyond.undone },
  parks: { ...beyond, hold: "2 seconds", per: (agent) => ({ ...beyond.per(agent), goal: reads.includes(agent) ? "notes.txt" : "../other.txt" }),
    during: async ({ ask, answer, show, pids, pause }) => {
      await ask();
      await until("waiting", 60_000, () => show().task.status === "waiting");
      await until("the end of its program", 10_000, () => !pids().length);
      await pause();
      answer("allow");
    },
    status: "complete", check: beyond.done,
    after: async ({ task, shown }) => {
      const sessions = new Set(shown.attempts.map((attempt) => attempt.session_id));
      return shown.attempts.length < 2 ? "it was not begun again" : sessions.size > 1 ? `several sessions: ${[...sessions]}` : task.attempt > 2 ? "an attempt was used up" : undefined;
    } },
  worktrees: { mode: "edit", git: true, apart: true, twice: true, status: "complete",
    after: async ({ cli, project, task, end, other }) => {
      const next = await end(other);
      const branches = [task.id, other].map((id) => `hub/${id.slice(0, 8)}`);
      const missing = branches.filter((branch) => committed(project, branch, "notes.txt") !== "one\ntwo\n");
      return next.task.status !== "complete" ? `the other is ${next.task.status}: ${next.task.error}`
        : missing.length ? `notes.txt is not on ${missing}` : existsSync(join(project, "notes.txt")) ? "the person's own folder was changed" : undefined;
    } },
  killed: { mode: "slow_tool", during: ({ pids }) => pids().forEach((pid) => process.kill(pid, "SIGKILL")), status: "pending", reason: /crashed|signal/ },
};

const agents = {
  "claude.2.1.197": () => ({ kind: "claude", program: "claude" }),
  "claude.2.1.332": () => ({ kind: "claude", program: "claude" }),
  "codex.0.171.0": (port) => ({ kind: "codex", program: "codex", args: programs["codex.0.171.0"].args(port).slice(1) }),
  "gemini.0.61.0": () => ({ kind: "acp", program: "gemini" }),
  "claude-agent-acp.0.101.0": () => ({ kind: "acp", program: "claude-agent-acp", env: ["IS_SANDBOX"] }),
};

async function run(dev, programName, name) {
  const program = programs[programName], agent = programName.split(".")[0], model = agent.split("-")[0];
  const test = { prompt: "say pong", policy: "edit", channel, ...cases[name], ...cases[name].per?.(agent) };
  const base = join(scratch, `${programName}-${name}`), home = join(base, "home"), projects = join(base, "projects");
  const project = join(projects, dev.projects[test.channel]);
  mkdirSync(project, { recursive: true });
  put(project, { "README.md": "hello\n", ...test.files });
  // Without a commit there is nothing that a branch could begin with: it works in the folder itself.
  execFileSync("git", ["-C", project, "init", "-q"]);
  if (test.git) for (const args of [["add", "."], ["-c", "user.name=dev", "-c", "user.email=dev@example.com", "commit", "-qm", "begin"]]) execFileSync("git", ["-C", project, ...args]);
  put(home, program.home);
  const state = join(base, "state"), folders = () => found(join(state, "workspaces"), 3);
  const api = await serve(test.mode ?? "ok", { apart: test.apart, goal: test.goal, dir: (request) => folders().find((folder) => request.includes(folder)) ?? project });
  if (test.hold) rows(dev, `update hub_internal.settings set value = '${test.hold}' where name = 'ask_hold' returning name`);
  const device = `d${Math.random().toString(16).slice(2, 8)}`;
  const config = { agent, models: [model], policy: test.policy, ...(test.ask === false && { ask: false }), ...(test.model && { model: test.model }), ...agents[programName](api.port) };
  writeFileSync(join(base, "agents.json"), JSON.stringify([config, { ...config, agent: `${agent}-review`, policy: "read-only" }]))   // the same login, and no way out of its limit;
  const env = { ...environment(root, program, home), ...program.env(api.port, project), DATABASE_URL: dev.env.DATABASE_URL };
  const { cli } = dev;
  const worker = await startWorker(hub, device, base, projects, env);
  try {
    const send = () => JSON.parse(cli("send", test.channel, `ask ${model} to ${test.prompt}`, "--json")).task.id;
    const id = send(), other = test.twice && send();
    const show = (of = id) => JSON.parse(cli("task", "show", of, "--json"));
    // Over, or waiting again after an attempt.
    const end = (of = id) => until("the end", 60_000, () => { const s = show(of); return !["pending", "running", "waiting"].includes(s.task.status) || s.task.status === "pending" && s.attempts?.at(-1)?.outcome && !s.attempts.some((a) => a.reason === "parked") ? s : null; });
    const ask = () => until("an ask", 60_000, () => rows(dev, `select id, title, kind from public.hub_asks where task_id = '${id}' and state = 'open'`)[0]);
    const answer = (words) => cli("task", "answer", id, words);
    // Gemini's session is lost if it is gone on with in the minute in which it began: its file is named for the minute and written anew.
    const pause = () => sleep(agent === "gemini" ? 61_000 : 0);
    const workspace = () => folders().find((folder) => folder.endsWith(id.slice(0, 8)));
    const pids = () => descendants(worker.pid).filter(isAgent);
    if (test.during) {
      await until("the tool", 40_000, () => api.turn > 0);
      await sleep(500);
      await test.during({ cli, id, pids, show, ask, answer, pause });
    }
    const shown = await end();
    const task = shown.task, attempt = shown.attempts.at(-1), world = { project, task, attempt, shown, device, cli, api, end, other, workspace, pause, heard: JSON.stringify(api.requests.map(({ body }) => body)) };
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
    return { wrong, said, times: { note: ms(first), end: ms(messages.at(-1)) }, log: wrong.length ? worker.log() : "" };
  } finally {
    // What waits for its limit, or to be tried again, is no work for the next case.
    sql(dev, `select coalesce(json_agg(public.hub_cancel_task(id)), '[]') from public.mac_tasks where status = 'pending'`);
    if (test.hold) rows(dev, "update hub_internal.settings set value = '10 minutes' where name = 'ask_hold' returning name");
    await worker.stop();
    api.close();
  }
}

const dev = await startDev(hub, scratch);
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
