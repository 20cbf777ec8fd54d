// The cases, as data: what a program is started with, what is written to it and waited for, and what must be true in the end.
//   mode      what the imitated model says (api.mjs)
//   args      the whole command line, instead of the program's own; more: added to it
//   steps     {send}, {until: pattern, as: name}, {wait: ms}, {signal}, {close: true}, in this order within one step
//   answers   requests of the program that are answered whenever they come
//   before    an earlier run in the same folders, which is not recorded
//   files, home, env   added to the project's folder, the home folder, the environment

const filler = (bytes) => "x".repeat(bytes);

// ------------------------------------------------------------------------------------------------------------------- Claude

const user = (content) => ({ type: "user", message: { role: "user", content } });
const result = { type: "result" };
const ask = (text = "Say pong") => [{ send: user(text) }, { until: result, as: "result", close: true }];
const allow = { when: { request: { subtype: "can_use_tool" } }, send: (m) => control(m, { behavior: "allow", updatedInput: m.request.input }) };
const deny = { when: { request: { subtype: "can_use_tool" } }, send: (m) => control(m, { behavior: "deny", message: "A person said no." }) };
const control = (m, response) => ({ type: "control_response", response: { subtype: "success", request_id: m.request_id, response } });
const streams = ["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose", "--setting-sources", "user"];
const prompts = ["--permission-prompt-tool", "stdio"];
const claudeArgs = () => [...streams, ...prompts];
const toolUse = { type: "assistant", message: { content: (c) => c?.some((b) => b.type === "tool_use") } };
const subscription = { ANTHROPIC_API_KEY: undefined, CLAUDE_CODE_OAUTH_TOKEN: "sk-ant-oat01-x" };
const notes = ({ file }) => file("notes.txt") === "one\ntwo\n" ? undefined : "the file was not written";
const changed = ({ file }) => file("README.md") === "goodbye\n" ? undefined : "the file was not changed";
const nothing = ({ file }) => file("notes.txt") === null ? undefined : "the file was written";
const hook = JSON.stringify({ hooks: { SessionStart: [{ hooks: [{ type: "command", command: "touch hook-ran" }] }] } });
const png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

const claude = {
  ok: { steps: ask() },
  thinking: { mode: "thinking", steps: ask() },
  partial: { mode: "thinking", more: () => ["--include-partial-messages"], steps: ask() },
  tool: { mode: "tool", more: () => ["--allowedTools", "Bash"], steps: ask() },
  tool_fails: { mode: "tool_fails", more: () => ["--allowedTools", "Bash"], steps: ask() },
  tool_big: { mode: "tool_big", more: () => ["--allowedTools", "Bash"], steps: ask() },
  two_tools: { mode: "two_tools", more: () => ["--allowedTools", "Bash"], steps: ask() },
  edit: { mode: "edit", more: () => ["--permission-mode", "acceptEdits"], steps: ask(), expect: notes },
  change: { mode: "change", more: () => ["--permission-mode", "acceptEdits"], steps: ask(), expect: changed },
  edit_and_run: { mode: "edit_and_run", args: () => [...streams, "--permission-mode", "acceptEdits", "--allowedTools", "Bash"], steps: ask(), expect: notes },
  bypass: { mode: "edit_and_run", env: { IS_SANDBOX: "1" }, more: () => ["--permission-mode", "bypassPermissions"], steps: ask(), expect: notes },
  bypass_as_root: { mode: "edit", more: () => ["--permission-mode", "bypassPermissions"], steps: [{ send: user("Say pong") }] },
  plan_mode: { mode: "edit", more: () => ["--permission-mode", "plan"], steps: ask(), answers: [deny], expect: nothing },
  asked_allowed: { mode: "touch", steps: ask(), answers: [allow] },
  asked_denied: { mode: "touch", steps: ask(), answers: [deny] },
  edit_denied: { mode: "edit", steps: ask(), answers: [deny], expect: nothing },
  denied: { mode: "edit", args: () => streams, steps: ask(), expect: nothing },
  read_refused: { mode: "read", more: () => ["--disallowedTools", "Read(./README.md)"], steps: ask() },
  web: { mode: "web", more: () => ["--allowedTools", "WebFetch"], steps: ask() },
  plan: { mode: "plan", steps: ask() },
  agent: { mode: "agent", steps: ask() },
  background: { mode: "background", more: () => ["--allowedTools", "Bash"], steps: ask() },
  steer: { mode: "slow_tool", more: () => ["--allowedTools", "Bash", "--replay-user-messages"],
    steps: [{ send: user("Count") }, { until: toolUse }, { wait: 500, send: user("And then stop") }, { until: result, close: true }] },
  interrupt: { mode: "slow_tool", more: () => ["--allowedTools", "Bash"],
    steps: [{ send: user("Count") }, { until: toolUse }, { wait: 1000 }, { send: { type: "control_request", request_id: "r1", request: { subtype: "interrupt" } } }, { until: result, close: true }] },
  interrupt_words: { mode: "slow",
    steps: [{ send: user("Talk") }, { until: { type: "system", subtype: "init" } }, { wait: 2000 }, { send: { type: "control_request", request_id: "r1", request: { subtype: "interrupt" } } }, { until: result, close: true }] },
  sigterm: { mode: "slow_tool", more: () => ["--allowedTools", "Bash"], steps: [{ send: user("Count") }, { until: toolUse }, { wait: 1000 }, { signal: "SIGTERM" }] },
  sigint: { mode: "slow_tool", more: () => ["--allowedTools", "Bash"], steps: [{ send: user("Count") }, { until: toolUse }, { wait: 1000 }, { signal: "SIGINT" }] },
  sigkill: { mode: "slow_tool", more: () => ["--allowedTools", "Bash"], steps: [{ send: user("Count") }, { until: toolUse }, { wait: 1000 }, { signal: "SIGKILL" }] },
  two_turns: { steps: [{ send: user("Say pong") }, { until: result }, { send: user("Once more") }, { until: result, close: true }] },
  closed_early: { mode: "tool", more: () => ["--allowedTools", "Bash"], steps: [{ send: user("Say pong"), close: true }] },
  left_open: { steps: [{ send: user("Say pong") }, { until: result }, { wait: 5000, close: true }] },
  unauthorized: { mode: "unauthorized", env: { CLAUDE_CODE_MAX_RETRIES: "1" }, steps: ask() },
  unauthorized_retries: { mode: "unauthorized", steps: [{ send: user("Say pong") }, { until: { subtype: "api_retry", attempt: 2 } }, { signal: "SIGTERM" }] },
  unauthorized_login: { mode: "unauthorized", env: { ...subscription, CLAUDE_CODE_MAX_RETRIES: "1" }, steps: ask() },
  no_login: { env: { ANTHROPIC_API_KEY: undefined }, steps: ask() },
  forbidden: { mode: "forbidden", env: { CLAUDE_CODE_MAX_RETRIES: "1" }, steps: ask() },
  limit: { mode: "limit", env: { CLAUDE_CODE_MAX_RETRIES: "1" }, steps: ask() },
  limit_login: { mode: "limit", env: { ...subscription, CLAUDE_CODE_MAX_RETRIES: "1" }, steps: ask() },
  rate: { mode: "rate", env: { CLAUDE_CODE_MAX_RETRIES: "1" }, steps: ask() },
  rate_once: { mode: "rate_once", steps: ask() },
  overloaded: { mode: "overloaded", env: { CLAUDE_CODE_MAX_RETRIES: "1" }, steps: ask() },
  overloaded_fallback: { mode: "overloaded", fallback: "claude-haiku-4-5", env: { CLAUDE_CODE_MAX_RETRIES: "4" }, more: () => ["--model", "claude-sonnet-5", "--fallback-model", "claude-haiku-4-5"], steps: ask() },
  internal: { mode: "internal", env: { CLAUDE_CODE_MAX_RETRIES: "1" }, steps: ask() },
  failed: { mode: "failed", env: { CLAUDE_CODE_MAX_RETRIES: "1" }, steps: ask() },
  too_long: { mode: "too_long", steps: ask() },
  bad_request: { mode: "bad_request", steps: ask() },
  bad_image: { mode: "bad_image", steps: ask([{ type: "text", text: "Look" }, { type: "image", source: { type: "base64", media_type: "image/png", data: png } }]) },
  no_money: { mode: "no_money", steps: ask() },
  bad_model: { mode: "bad_model", more: () => ["--model", "claude-nothing-1"], steps: ask() },
  refusal: { mode: "refusal", steps: ask() },
  max_tokens: { mode: "max_tokens", env: { CLAUDE_CODE_MAX_RETRIES: "1" }, steps: ask() },
  stops: { mode: "stops", steps: [{ send: user("Say pong") }, { until: { type: "system", subtype: "init" } }, { wait: 8000 }, { signal: "SIGTERM" }] },
  cut: { mode: "cut", env: { CLAUDE_CODE_MAX_RETRIES: "1" }, steps: ask() },
  cut_once: { mode: "cut_once", steps: ask() },
  max_turns: { mode: "loop", more: () => ["--allowedTools", "Bash", "--max-turns", "2"], steps: ask() },
  max_budget: { mode: "loop", more: () => ["--allowedTools", "Bash", "--max-budget-usd", "0.0001"], steps: ask() },
  resume: { before: { steps: ask() }, more: (said) => ["--resume", said.result.session_id], steps: ask("Once more") },
  resume_missing: { more: () => ["--resume", "00000000-0000-4000-8000-000000000000"], steps: [{ send: user("Say pong") }] },
  session_reused: { before: { steps: ask() }, more: (said) => ["--session-id", said.result.session_id], steps: [{ send: user("Say pong") }] },
  big_prompt: { steps: ask(filler(400_000)) },
  project_hook: { files: { ".claude/settings.json": hook }, steps: ask(), expect: ({ file }) => file("hook-ran") === null ? undefined : "the project's hook ran" },
  project_hook_runs: { files: { ".claude/settings.json": hook }, args: () => [...streams.slice(0, -2), ...prompts], steps: ask(), expect: ({ file }) => file("hook-ran") === null ? "the project's hook did not run" : undefined },
  not_json: { steps: [{ send: "this is no JSON" }] },
};
const claudeProgram = (folder) => ({
  program: "claude", folder, args: claudeArgs, home: {},
  env: (port) => ({ ANTHROPIC_BASE_URL: `http://127.0.0.1:${port}`, ANTHROPIC_API_KEY: "sk-ant-x", DISABLE_AUTOUPDATER: "1", CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1" }),
});

// -------------------------------------------------------------------------------------------------------------------- Codex

const codexConfig = (port) => ["-c", 'model_provider="mock"', "-c", `model_providers.mock={name="mock",base_url="http://127.0.0.1:${port}/v1",env_key="OPENAI_API_KEY",wire_api="responses"}`];
const rpc = (id, method, params) => ({ jsonrpc: "2.0", id, method, params });
const text = (words) => [{ type: "text", text: words }];
const thread = (said, params) => rpc(2, "thread/start", { cwd: said.cwd, approvalPolicy: "never", sandbox: "danger-full-access", ...params });
const open = (params = {}) => [
  { send: rpc(1, "initialize", { clientInfo: { name: "aura_hub", title: "Aura Hub", version: "0.1.0" } }) }, { until: { id: 1 } },
  { send: { jsonrpc: "2.0", method: "initialized" } },
  { send: (said) => thread(said, params) }, { until: { id: 2 }, as: "thread" },
];
const turn = (words, id = 3) => ({ send: (said) => rpc(id, "turn/start", { threadId: said.thread.result.thread.id, input: text(words) }) });
const ended = { method: "turn/completed" };
const codexAsk = (params, words = "Say pong") => [...open(params), turn(words), { until: ended, close: true }];
const running = { method: "item/started", params: { item: { type: "commandExecution" } } };
const decide = (decision) => [
  { when: { method: "item/commandExecution/requestApproval" }, send: (m) => ({ jsonrpc: "2.0", id: m.id, result: { decision } }) },
  { when: { method: "item/fileChange/requestApproval" }, send: (m) => ({ jsonrpc: "2.0", id: m.id, result: { decision } }) },
];
const write = { sandbox: "workspace-write" };
const onRequest = { approvalPolicy: "on-request", sandbox: "read-only" };
const untrusted = { approvalPolicy: "untrusted", sandbox: "read-only" };

const classic = (params) => codexAsk({ model: "gpt-5.2", ...params });

const codex = {
  models: { steps: [...open().slice(0, 3), { send: rpc(2, "model/list", {}) }, { until: { id: 2 } }, { send: rpc(3, "account/read", {}) }, { until: { id: 3 } }, { send: rpc(4, "account/rateLimits/read", {}) }, { until: { id: 4 }, close: true }] },
  classic_tool: { mode: "tool", steps: classic() },
  classic_edit: { mode: "edit", steps: classic(), expect: notes },
  classic_plan: { mode: "plan", steps: classic() },
  ok: { steps: codexAsk() },
  thinking: { mode: "thinking", steps: codexAsk() },
  tool: { mode: "tool", steps: codexAsk() },
  tool_fails: { mode: "tool_fails", steps: codexAsk() },
  tool_big: { mode: "tool_big", steps: codexAsk() },
  two_tools: { mode: "two_tools", steps: codexAsk() },
  edit: { mode: "edit", steps: codexAsk(), expect: notes },
  edit_sandboxed: { mode: "edit_and_run", steps: codexAsk(write), expect: notes },
  change: { mode: "change", steps: codexAsk(), expect: changed },
  plan: { mode: "plan", steps: codexAsk() },
  tool_sandboxed: { mode: "tool", steps: codexAsk(write) },
  outside: { mode: "outside", steps: codexAsk(write) },
  read_only: { mode: "edit", steps: codexAsk({ sandbox: "read-only" }), expect: nothing },
  read_only_tool: { mode: "outside", steps: codexAsk({ sandbox: "read-only" }) },
  asked_allowed: { mode: "touch", steps: codexAsk(untrusted), answers: decide("accept") },
  asked_denied: { mode: "touch", steps: codexAsk(untrusted), answers: decide("decline") },
  asked_cancelled: { mode: "touch", steps: codexAsk(untrusted), answers: decide("cancel") },
  edit_allowed: { mode: "edit", steps: codexAsk(onRequest), answers: decide("accept"), expect: notes },
  edit_denied: { mode: "edit", steps: codexAsk(onRequest), answers: decide("decline"), expect: nothing },
  steer: { mode: "slow_tool", steps: [...open(), turn("Count"), { until: { method: "turn/started" }, as: "turn" }, { until: running }, { wait: 500 },
    { send: (said) => rpc(4, "turn/steer", { threadId: said.thread.result.thread.id, expectedTurnId: said.turn.params.turn.id, input: text("And then stop") }) }, { until: ended, close: true }] },
  interrupt: { mode: "slow_tool", steps: [...open(), turn("Count"), { until: { method: "turn/started" }, as: "turn" }, { until: running }, { wait: 1000 },
    { send: (said) => rpc(4, "turn/interrupt", { threadId: said.thread.result.thread.id, turnId: said.turn.params.turn.id }) }, { until: ended, close: true }] },
  sigterm: { mode: "slow_tool", steps: [...open(), turn("Count"), { until: running }, { wait: 1000 }, { signal: "SIGTERM" }] },
  sigint: { mode: "slow_tool", steps: [...open(), turn("Count"), { until: running }, { wait: 1000 }, { signal: "SIGINT" }] },
  closed_early: { mode: "slow_tool", steps: [...open(), turn("Count"), { until: running, close: true }] },
  closed_at_once: { steps: [{ close: true }] },
  left_open: { steps: [...open(), turn("Say pong"), { until: ended }, { wait: 5000, close: true }] },
  two_turns: { steps: [...open(), turn("Say pong"), { until: ended }, turn("Once more", 4), { until: ended, close: true }] },
  unauthorized: { mode: "unauthorized", steps: codexAsk() },
  forbidden: { mode: "forbidden", steps: codexAsk() },
  no_login: { env: { OPENAI_API_KEY: undefined }, steps: codexAsk() },
  limit: { mode: "limit", steps: codexAsk() },
  rate: { mode: "rate", steps: codexAsk() },
  rate_once: { mode: "rate_once", steps: codexAsk() },
  overloaded: { mode: "overloaded", steps: codexAsk() },
  internal: { mode: "internal", steps: codexAsk() },
  failed: { mode: "failed", steps: codexAsk() },
  too_long: { mode: "too_long", steps: codexAsk() },
  bad_request: { mode: "bad_request", steps: codexAsk() },
  no_money: { mode: "no_money", steps: codexAsk() },
  bad_model: { mode: "bad_model", steps: codexAsk({ model: "gpt-nothing" }) },
  refusal: { mode: "refusal", steps: codexAsk() },
  max_tokens: { mode: "max_tokens", steps: codexAsk() },
  stops: { mode: "stops", steps: [...open(), turn("Say pong"), { until: { method: "item/agentMessage/delta" } }, { wait: 8000 }, { signal: "SIGTERM" }] },
  cut: { mode: "cut", steps: codexAsk() },
  cut_once: { mode: "cut_once", steps: codexAsk() },
  resume: { before: { steps: codexAsk() }, steps: [...open().slice(0, 3), { send: (said) => rpc(2, "thread/resume", { threadId: said.thread.result.thread.id, cwd: said.cwd }) }, { until: { id: 2 } }, turn("Once more"), { until: ended, close: true }] },
  resume_missing: { steps: [...open().slice(0, 3), { send: rpc(2, "thread/resume", { threadId: "00000000-0000-4000-8000-000000000000" }) }, { until: { id: 2 }, close: true }] },
  resume_bad_id: { steps: [...open().slice(0, 3), { send: rpc(2, "thread/resume", { threadId: "nothing" }) }, { until: { id: 2 }, close: true }] },
  big_prompt: { steps: codexAsk({}, filler(400_000)) },
  unknown_method: { steps: [...open().slice(0, 3), { send: rpc(9, "nothing/here", {}) }, { until: { id: 9 } }, { send: "this is no JSON" }, { wait: 500, close: true }] },
  not_initialized: { steps: [{ send: (said) => thread(said, {}) }, { until: { id: 2 }, close: true }] },
};

const exec = (words, { options = ["-s", "workspace-write"], after = [] } = {}) => ({ args: (port, said, cwd) => ["exec", "--json", "--skip-git-repo-check", ...codexConfig(port), ...options, ...after, words], steps: [{ close: true }] });
const free = { options: ["--dangerously-bypass-approvals-and-sandbox"] };
const codexExec = {
  ok: exec("Say pong"),
  stdin: { ...exec("-"), steps: [{ send: "Say pong", close: true }] },
  big_prompt: { ...exec("-"), steps: [{ send: filler(400_000), close: true }] },
  thinking: { mode: "thinking", ...exec("Say pong") },
  tool: { mode: "tool", ...exec("Say pong", free) },
  tool_fails: { mode: "tool_fails", ...exec("Say pong", free) },
  tool_sandboxed: { mode: "tool", ...exec("Say pong") },
  edit: { mode: "edit", ...exec("Write", free), expect: notes },
  edit_sandboxed: { mode: "edit_and_run", ...exec("Write"), expect: notes },
  plan: { mode: "plan", ...exec("Plan", free) },
  read_only: { mode: "edit", ...exec("Write", { options: [] }), expect: nothing },
  unauthorized: { mode: "unauthorized", ...exec("Say pong") },
  limit: { mode: "limit", ...exec("Say pong") },
  rate: { mode: "rate", ...exec("Say pong") },
  failed: { mode: "failed", ...exec("Say pong") },
  too_long: { mode: "too_long", ...exec("Say pong") },
  cut: { mode: "cut", ...exec("Say pong") },
  resume: { before: { ...exec("Say pong"), steps: [{ close: true }, { until: { type: "thread.started" }, as: "begun" }] },
    args: (port, said) => ["exec", "--json", "--skip-git-repo-check", ...codexConfig(port), "resume", said.begun.thread_id, "Once more"], steps: [{ close: true }] },
  resume_missing: { args: (port) => ["exec", "--json", "--skip-git-repo-check", ...codexConfig(port), "resume", "00000000-0000-4000-8000-000000000000", "Once more"], steps: [{ close: true }] },
  sigterm: { mode: "slow_tool", ...exec("Count", free), steps: [{ close: true }, { until: { type: "item.started" } }, { wait: 1000 }, { signal: "SIGTERM" }] },
};
const codexProgram = { program: "codex", folder: "codex-0.171.0", home: {}, env: () => ({ OPENAI_API_KEY: "sk-x" }) };

export const programs = {
  "claude.2.1.197": { ...claudeProgram("claude-2.1.197"), cases: claude },
  "claude.2.1.332": { ...claudeProgram("claude-2.1.332"), cases: claude },
  "codex.0.171.0": { ...codexProgram, args: (port) => ["app-server", ...codexConfig(port)], cases: codex },
  "codex-exec.0.171.0": { ...codexProgram, cases: codexExec },
};
export const cases = Object.entries(programs).flatMap(([program, { cases }]) => Object.keys(cases).map((name) => `${program}.${name}`));
