// The whole way with the real Claude: asked in a channel, a permission beyond its policy asked on Telegram, the process parked, the worker
// killed and started anew, answered by a button there, resumed, done, verified, pushed, a pull request opened.
//   node way.mjs HUB PROGRAMS [FILTER…]     as hub.mjs; needs a namespace without a network: use `run`.
// Telegram and GitHub are local servers that speak as much of their APIs as is used; the push goes to a bare repository.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { once } from "node:events";
import { join } from "node:path";
import { programs } from "./cases.mjs";
import { modes, serve } from "./api.mjs";
import { descendants, environment, found, put, sql, startDev, startWorker, until } from "./stage.mjs";

const [hub, root, ...filters] = process.argv.slice(2);
const program = "claude.2.1.332";
if (filters.length && !filters.some((filter) => `${program}.way`.includes(filter))) process.exit();
const scratch = mkdtempSync("/var/tmp/hub-way.");
execFileSync("chmod", ["711", scratch]);
const channel = "buf-barista/quick", chat = -1001234567890, ada = 4711, secret = "hook-secret-of-the-test";
const passed = [], failed = [];
const check = (what, ok, seen) => { console.log(`${ok ? "ok" : "not ok"} - way ${program}.${what}`); (ok ? passed : failed).push(what); if (!ok && seen !== undefined) console.log(`    ${typeof seen === "string" ? seen : JSON.stringify(seen)}`.slice(0, 4000)); return ok; };

/** A server that keeps what it was asked and answers by `answer(method, path, body)`: [status, value]. */
async function imitate(answer) {
  const calls = [];
  const server = createServer(async (req, res) => {
    const chunks = [];
    for await (const chunk of req) chunks.push(chunk);
    const body = chunks.length ? JSON.parse(Buffer.concat(chunks)) : {};
    calls.push({ method: req.method, path: req.url, body });
    const [status, value] = answer(req.method, req.url, body, calls.length);
    res.writeHead(status, { "content-type": "application/json" });
    res.end(JSON.stringify(value));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return { calls, url: `http://127.0.0.1:${server.address().port}`, close: () => { server.closeAllConnections(); server.close(); } };
}

const telegram = await imitate((method, path, body, count) => path.endsWith("/sendMessage") ? [200, { ok: true, result: { message_id: 100 + count, chat: { id: chat } } }] : [200, { ok: true, result: true }]);
const opened = [];
const github = await imitate((method, path, body) => {
  if (method === "POST" && /\/pulls$/.test(path)) { opened.push(body); return [201, pull(opened.length, body)]; }
  if (method === "PATCH" && /\/pulls\/\d+$/.test(path)) return [200, pull(1, body)];
  if (method === "GET" && /\/pulls(\?|$)/.test(path)) return [200, opened.map((body, i) => pull(i + 1, body))];
  return [404, { message: "Not Found" }];
});
const pull = (number, body) => ({ id: number, number, url: `${github.url}/repos/acme/app/pulls/${number}`, html_url: `https://github.com/acme/app/pull/${number}`, state: "open", title: body.title ?? "", body: body.body ?? "", draft: body.draft ?? false,
  head: { label: "acme:x", ref: body.head ?? "x", sha: "0".repeat(40) }, base: { label: "acme:main", ref: body.base ?? "main", sha: "0".repeat(40) } });

modes.way = [[{ write: "../other.txt", content: "x\n" }], [{ write: "../other.txt", content: "x\n" }], [{ write: "notes.txt", content: "one\ntwo\n" }], [{ text: "pong" }]];

const dev = await startDev(hub, scratch, { TELEGRAM_WEBHOOK_SECRET: secret });
const base = join(scratch, "machine"), home = join(base, "home"), projects = join(base, "projects"), project = join(projects, dev.projects[channel]), remote = join(base, "remote.git");
const git = (...args) => execFileSync("git", ["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "init.defaultBranch=main", ...args], { encoding: "utf8" });
mkdirSync(project, { recursive: true });
put(project, { "README.md": "hello\n" });
git("-C", project, "init", "-q", "-b", "main");
git("-C", project, "add", "-A");
git("-C", project, "commit", "-qm", "begin");
git("init", "-q", "--bare", remote);
git("-C", project, "remote", "add", "origin", remote);
git("-C", project, "push", "-q", "origin", "main");
put(home, programs[program].home);
const folders = () => found(join(base, "state/workspaces"), 3);
const api = await serve("way", { dir: (request) => folders().find((folder) => request.includes(folder)) ?? project });
writeFileSync(join(base, "agents.json"), JSON.stringify([{ agent: "claude", models: ["claude"], kind: "claude", program: "claude", policy: "edit" }]));
const env = {
  ...environment(root, programs[program], home), ...programs[program].env(api.port, project), DATABASE_URL: dev.env.DATABASE_URL,
  TELEGRAM_BOT_TOKEN: "123456:a-token", HUB_TELEGRAM_API_URL: telegram.url, HUB_GITHUB_API_URL: github.url, HUB_GITHUB_TOKEN: "a-token-of-github",
};
const update = async (body) => {
  const answer = await fetch(`${dev.env.SUPABASE_URL}/functions/v1/telegram-webhook`, { method: "POST", headers: { "content-type": "application/json", "x-telegram-bot-api-secret-token": secret }, body: JSON.stringify({ update_id: Math.floor(Math.random() * 1e9), ...body }) });
  return { status: answer.status, body: await answer.json().catch(() => null) };
};
const from = { id: ada, is_bot: false, first_name: "Ada" };
let worker;
try {
  const server = sql(dev, `select to_json(id) from public.hub_servers where name = 'buf-barista'`);
  sql(dev, `insert into public.hub_projects (server_id, name, path, verify, push, pull_request, repository, base_branch)
    values ('${server}', 'way', '${dev.projects[channel]}', 'test -f notes.txt', true, 'ready', 'acme/app', 'main') returning to_json(id)`);
  sql(dev, `with place as (insert into public.hub_places (kind, server_id, target) values ('github', '${server}', 'acme/app') on conflict do nothing) select 'true'::json`);
  sql(dev, `insert into public.hub_bridges (server_id, channel_id, provider, target) select '${server}', id, 'telegram', 'channel:${chat}' from public.hub_channels where name = 'quick' returning to_json(id)`);
  sql(dev, `update hub_internal.settings set value = '1 second' where name = 'ask_hold' returning 'true'::json`);

  // Ada's account on Telegram is hers by a code that works once.
  const code = dev.person("link").match(/\/link (\S+)/)?.[1];
  const linked = await update({ message: { message_id: 1, date: 1, chat: { id: ada, type: "private" }, from, text: `/link ${code}` } });
  check("an account of a chat is linked by a code", linked.status === 200 && sql(dev, `select to_json(count(*)) from public.hub_chat_identities where author_id = '${ada}'`) === 1, linked);

  worker = await startWorker(hub, "mac1", base, projects, env);
  const id = JSON.parse(dev.person("send", channel, "ask claude to write the notes", "--json")).task.id;
  const show = () => JSON.parse(dev.cli("task", "show", id, "--json"));
  const asked = () => telegram.calls.find((call) => call.path.endsWith("/sendMessage") && call.body.reply_markup);
  await until("the question on Telegram", 60_000, asked);
  check("the question has buttons", asked().body.reply_markup.inline_keyboard.flat().every((button) => Buffer.byteLength(button.callback_data) <= 64), asked().body);
  await until("the task waits", 60_000, () => show().task.status === "waiting");
  await until("its process has ended", 20_000, () => descendants(worker.pid).length === 0);
  check("a waiting task holds no slot and no process", sql(dev, `select to_json(hub_internal.held_count('mac1'))`) === 0);
  check("waiting is told", show().task.status === "waiting" && /allow|answer|wait/i.test(dev.person("inbox")), dev.person("inbox"));

  await worker.stop("SIGKILL");
  worker = await startWorker(hub, "mac1", base, projects, env);
  const button = asked().body.reply_markup.inline_keyboard.flat().find((button) => /allow|yes/i.test(button.text));
  const press = (id) => update({ callback_query: { id, from, data: button.callback_data, chat_instance: "1", message: { message_id: 101, date: 1, chat: { id: chat, type: "supergroup", title: "team" }, text: "x" } } });
  const stranger = await update({ callback_query: { id: "q0", from: { ...from, id: 12 }, data: button.callback_data, chat_instance: "1", message: { message_id: 101, date: 1, chat: { id: chat, type: "supergroup" } } } });
  check("a stranger's press decides nothing", stranger.status === 200 && show().task.status === "waiting", stranger);
  const pressed = await press("q1");
  check("the press is acknowledged once", pressed.body?.method === "answerCallbackQuery" && pressed.body.callback_query_id === "q1", pressed);
  const again = await press("q2");
  check("the second press learns that it is answered", /already|answered/i.test(again.body?.text ?? ""), again);

  const end = await until("the end", 90_000, () => { const s = show(); return ["complete", "failed", "cancelled"].includes(s.task.status) ? s : null; });
  check("it is complete", end.task.status === "complete", end);
  check("what was allowed was done", folders().some((folder) => existsSync(join(folder, "../other.txt"))));
  check("the session was resumed", api.requests.filter((r) => r.path.includes("messages") && r.body.tools?.length > 1).at(-1).body.messages.length > 3);
  const branch = `hub/${id.slice(0, 8)}`;
  check("its branch is pushed with its work", git("-C", remote, "show", `${branch}:notes.txt`) === "one\ntwo\n");
  check("the project's own folder is as it was", !existsSync(join(project, "notes.txt")));
  check("one pull request was opened", opened.length === 1 && opened[0].head === branch && opened[0].base === "main", opened);
  check("the result has its link", /pull\/1/.test(end.task.result) || sql(dev, `select to_json(bool_or(content like '%/pull/1%')) from public.hub_channel_messages where task_id = '${id}'`), end.task.result);
  check("the receipt is kept", end.attempts.at(-1).receipt?.verify?.passed === true, end.attempts.at(-1));
  await until("the keyboard is gone", 20_000, () => telegram.calls.some((call) => /edit/.test(call.path) && !call.body.reply_markup?.inline_keyboard?.length));
  check("no attempt was lost by waiting", end.task.max_attempts - end.task.attempt >= 2, end.task);
} catch (error) {
  check("to its end", false, `${error.stack}\n${worker?.log() ?? ""}`);
} finally {
  await worker?.stop();
  dev.child.kill("SIGTERM");
  await once(dev.child, "exit");
  for (const server of [api, telegram, github]) server.close();
  rmSync(scratch, { recursive: true, force: true, maxRetries: 3 });
}
console.log(`${passed.length} passed, ${failed.length} failed`);
process.exit(failed.length ? 1 : 0);
