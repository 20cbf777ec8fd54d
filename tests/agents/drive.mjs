// Runs cases of `cases.mjs` with the real programs against the imitation of their APIs, and writes what was said in both directions.
//   node drive.mjs PROGRAMS OUT [FILTER…]     PROGRAMS: the folder that `run` installs into. Needs a namespace without a network: use `run`.
//   node drive.mjs --packages [FILTER…]       What `run` has to install.
// HUB_AGENTS_REQUESTS=1 writes what the program asked its API, too.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync, existsSync, readFileSync, readdirSync } from "node:fs";
import { constants, hostname } from "node:os";
import { dirname, join } from "node:path";
import { packages, programs } from "./cases.mjs";
import { serve } from "./api.mjs";

const within = 30_000;                            // how long anything may take that is waited for

/** Whether `value` has everything that `pattern` has. */
const like = (pattern, value) => typeof pattern === "function" ? Boolean(pattern(value))
  : pattern && typeof pattern === "object" ? value != null && Object.entries(pattern).every(([key, part]) => like(part, value[key]))
  : pattern === value;

const parsed = (line) => { try { return JSON.parse(line); } catch { return null; } };

/** What else runs in this process namespace: what the program left behind. */
function others() {
  if (process.pid !== 1) return [];
  const found = [];
  for (const pid of readdirSync("/proc")) {
    if (!/^\d+$/.test(pid) || pid === "1") continue;
    try {
      const what = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
      if (what) found.push([Number(pid), what.slice(0, 80)]);
    } catch { /* it has just ended */ }
  }
  return found;
}

/** Starts the program once and goes through `steps`. What was said goes to `transcript`, when to `times`; gives what went wrong. */
async function once(command, { steps, answers = [], env, cwd }, said, transcript, times) {
  const start = Date.now();
  const since = (name) => { times[name] ??= Date.now() - start; };
  const child = spawn(command[0], command.slice(1), { cwd, env, detached: true, stdio: "pipe" });
  const read = [];
  let woken = () => {};
  const write = (value) => {
    const line = typeof value === "string" ? value : JSON.stringify(value);
    transcript.push(`>> ${line}`);
    child.stdin.write(`${line}\n`);
  };
  child.stdin.on("error", () => {});              // it may have ended already; its exit tells
  createInterface({ input: child.stdout, crlfDelay: Infinity }).on("line", (line) => {
    since("first");
    transcript.push(`<< ${line}`);
    const value = parsed(line);
    const answer = answers.find(({ when }) => like(when, value));
    if (answer) write(answer.send(value, said));
    read.push(value);
    woken();
  });
  createInterface({ input: child.stderr }).on("line", (line) => transcript.push(`!! ${line}`));
  let end;
  const closed = new Promise((done) => child.on("close", (code, signal) => { end = { code, signal }; woken(); done(); }));
  child.on("error", (error) => transcript.push(`!! ${error.message}`));

  const bounded = (promise, ms = within) => {
    let timer;
    return Promise.race([promise, new Promise((_, no) => { timer = setTimeout(() => no(new Error(`nothing for ${ms} ms`)), ms); })]).finally(() => clearTimeout(timer));
  };
  let from = 0, problem;
  const arrives = async (pattern) => {
    for (;;) {
      while (from < read.length) if (like(pattern, read[from++])) return read[from - 1];
      if (end) throw new Error("it ended");
      await new Promise((done) => { woken = done; });
    }
  };
  try {
    for (const step of steps) {
      if (step.send) write(typeof step.send === "function" ? step.send(said) : step.send);
      if (step.until) {
        const value = await bounded(arrives(step.until), step.ms);
        since("reached");
        if (step.as) said[step.as] = value;
      }
      if (step.wait) await new Promise((done) => setTimeout(done, step.wait));
      if (step.signal && !end) { times.signal = Date.now() - start; process.kill(child.pid, step.signal); }
      if (step.close) { times.close = Date.now() - start; child.stdin.end(); }
    }
    await bounded(closed, 20_000);
  } catch (error) {
    problem = error.message;
    if (!end) try { process.kill(-child.pid, "SIGKILL"); } catch { /* it has just ended */ }
    await closed;
  }
  times.end = Date.now() - start;
  const left = others();
  if (left.length) times.left = left.map(([, what]) => what).join(" | ");
  for (const [pid] of left) try { process.kill(pid, "SIGKILL"); } catch { /* it has just ended */ }
  transcript.push(end.signal ? `== signal ${constants.signals[end.signal]}` : `== exit ${end.code}`);
  return problem;
}

const menus = new Set(["availableCommands", "configOptions", "availableModels", "slash_commands", "skills", "capabilities"]);
const cut = (line) => {
  const value = line.startsWith("<< ") && line.length > 2000 && parsed(line.slice(3));
  return value ? `<< ${JSON.stringify(value, (key, part) => menus.has(key) && Array.isArray(part) ? part.slice(0, 2) : part)}` : line;
};

async function run(programName, caseName, root, scratch) {
  const program = programs[programName], test = { files: {}, ...program.cases[caseName] };
  const base = mkdtempSync(join(scratch, "case."));
  const home = join(base, "home/dev"), cwd = join(home, "project");
  const put = (folder, files) => {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), text);
    }
  };
  const file = (name) => existsSync(join(cwd, name)) ? readFileSync(join(cwd, name), "utf8") : null;
  mkdirSync(cwd, { recursive: true });
  put(cwd, { "README.md": "hello\n", ".git/HEAD": "ref: refs/heads/main\n", ".git/config": "", ".git/refs/heads/.keep": "", ".git/objects/.keep": "", ...test.files });
  put(home, { ...program.home, ...test.home });
  const api = await serve(test.mode ?? "ok", { dir: cwd, fallback: test.fallback });
  const folder = join(root, program.folder);
  mkdirSync(join(base, "tmp"));
  const env = {
    HOME: home, TMPDIR: join(base, "tmp"), LANG: "C.UTF-8", TZ: "UTC",
    PATH: `${[folder, join(root, "node")].map((f) => join(f, "node_modules/.bin")).join(":")}:/usr/local/bin:/usr/bin:/bin`,
    ...program.env(api.port, cwd), ...test.env,
  };
  for (const [name, value] of Object.entries(env)) if (value === undefined) delete env[name];
  const said = { cwd }, transcript = [], times = {};
  const command = (part) => [program.program, ...(part.args ?? program.args)(api.port, said, cwd), ...(part.more?.(said) ?? [])];
  const earlier = test.before && await once(command(test.before), { ...test.before, env, cwd }, said, [], {});
  const problem = earlier ?? await once(command(test), { ...test, env, cwd }, said, transcript, times);
  const wrong = problem ?? test.expect?.({ file });
  api.close();
  // Nothing of this machine: its folders, its name, its ports. Lists that only tell what could be called are cut.
  const dashed = (text) => text.replaceAll("/", "-").replaceAll(".", "-");
  const clean = (line) => line.replaceAll(base, "").replaceAll(dashed(base), "").replaceAll(folder, "/opt/agents").replaceAll(root, "/opt")
    .replaceAll(`127.0.0.1:${api.port}`, "127.0.0.1:8080").replaceAll(`"${hostname()}"`, '"devbox"')
    .replace(/x{1000,}/g, (x) => `{${x.length} times x}`);
  rmSync(base, { recursive: true, force: true, maxRetries: 3 });
  return { lines: transcript.map(clean).map(cut), times, wrong, requests: api.requests };
}

const wanted = (filters) => Object.entries(programs).flatMap(([name, program]) => Object.keys(program.cases)
  .filter((test) => !filters.length || filters.some((f) => `${name}.${test}`.includes(f))).map((test) => [name, test]));

if (process.argv[2] === "--packages") {
  const folders = new Set(["node", ...wanted(process.argv.slice(3)).map(([name]) => programs[name].folder)]);
  for (const folder of folders) console.log(folder, packages[folder]);
  process.exit(0);
}
const [root, out, ...filters] = process.argv.slice(2);
const scratch = mkdtempSync(join(root, "scratch."));
mkdirSync(out, { recursive: true });
let failed = 0;
for (const [name, test] of wanted(filters)) {
  const title = `${name}.${test}`;
  const { lines, times, wrong, requests } = await run(name, test, realpathSync(root), scratch)
    .catch((e) => ({ lines: [`!! ${e.stack}`], times: {}, wrong: e.message, requests: [] }));
  writeFileSync(join(out, `${title}.transcript`), `${lines.join("\n")}\n`);
  if (process.env.HUB_AGENTS_REQUESTS) writeFileSync(join(out, `${title}.requests`), JSON.stringify(requests, null, 1));
  const spent = Object.entries(times).map(([k, v]) => `${k} ${v}`).join(", ");
  console.log(`${wrong ? "not ok" : "ok"} - ${title} (${lines.at(-1)}; ms: ${spent})${wrong ? `: ${wrong}` : ""}`);
  if (wrong) failed++;
}
rmSync(scratch, { recursive: true, force: true, maxRetries: 3 });
process.exit(failed ? 1 : 0);
