// The cases, as data: what a program is started with, what is written to it and waited for, and what must be true in the end.
//   mode      what the imitated model says (api.mjs)
//   args      the whole command line, instead of the program's own; more: added to it
//   steps     {send}, {until: pattern, as: name}, {wait: ms}, {signal}, {close: true}, in this order within one step
//   answers   requests of the program that are answered whenever they come
//   before    an earlier run in the same folders, which is not recorded
//   files, home, env   added to the project's folder, the home folder, the environment

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

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

// The hub as a server of the Model Context Protocol (`server.mjs` stands for it), as each program is told of it.
const server = { ".hub/server.mjs": readFileSync(new URL("server.mjs", import.meta.url), "utf8") };
const serverAt = (cwd) => join(cwd, "../.hub/server.mjs");
const claudeServer = ({ cwd }) => JSON.stringify({ mcpServers: { hub: { type: "stdio", command: "node", args: [serverAt(cwd)], env: {}, timeout: 86_400_000 } } });

const claude = {
  way_back: { mode: "way_back", home: server, more: (said) => ["--allowedTools", "mcp__hub", `--mcp-config=${claudeServer(said)}`], steps: ask() },
  way_back_reading: { mode: "way_back", home: server, more: (said) => ["--tools", "Read,Grep", "--strict-mcp-config", "--allowedTools", "mcp__hub", `--mcp-config=${claudeServer(said)}`], steps: ask() },
  way_back_asked: { mode: "way_back", home: server, more: (said) => [`--mcp-config=${claudeServer(said)}`], steps: ask(), answers: [allow] },
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
  plan_enabled: { mode: "plan", env: { CLAUDE_CODE_ENABLE_TASKS: "1", CLAUDE_CODE_ENABLE_TODO_TOOLS: "1" }, steps: ask() },
  agent: { mode: "agent", steps: ask() },
  background_short: { mode: "background_short", more: () => ["--allowedTools", "Bash"], steps: ask() },
  background: { mode: "background", more: () => ["--allowedTools", "Bash"], steps: [...ask(), { wait: 8000 }, { signal: "SIGTERM" }] },
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
const claudeEnv = (port) => ({ ANTHROPIC_BASE_URL: `http://127.0.0.1:${port}`, ANTHROPIC_API_KEY: "sk-ant-x", DISABLE_AUTOUPDATER: "1", CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1" });
const claudeProgram = (folder) => ({ program: "claude", folder, args: claudeArgs, home: {}, env: claudeEnv });

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

const codexServer = ({ cwd }) => ["-c", `mcp_servers.hub={command="node",args=["${serverAt(cwd)}"],tool_timeout_sec=86400}`];
const accept = [{ when: { method: "mcpServer/elicitation/request" }, send: (m) => ({ jsonrpc: "2.0", id: m.id, result: { action: "accept", content: {}, _meta: null } }) }];

const codex = {
  way_back: { mode: "way_back", home: server, more: codexServer, steps: codexAsk({ ...write, approvalPolicy: "on-request" }), answers: accept },
  way_back_classic: { mode: "way_back", home: server, more: codexServer, steps: classic({ ...write, approvalPolicy: "on-request" }), answers: accept },
  account: { steps: [...open().slice(0, 3), { send: rpc(3, "account/read", {}) }, { until: { id: 3 } }, { send: rpc(4, "account/rateLimits/read", {}) }, { until: { id: 4 }, close: true }] },
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
  tool_fails_sandboxed: { mode: "tool_fails", steps: codexAsk(write) },
  outside: { mode: "outside", steps: codexAsk(write) },
  outside_asked: { mode: "outside", steps: codexAsk({ ...write, approvalPolicy: "on-request" }), answers: decide("decline") },
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
  way_back: { mode: "way_back", home: server, args: (port, said, cwd) => ["exec", "--json", "--skip-git-repo-check", ...codexConfig(port), ...codexServer({ cwd }), "-s", "workspace-write", "Say pong"], steps: [{ close: true }] },
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

// ----------------------------------------------------------------------------------------------- Gemini, and others that speak ACP

const acpOpen = ({ fs = false, cwd = true, before = [], then = [] } = {}) => [
  { send: rpc(1, "initialize", { protocolVersion: 1, clientCapabilities: { fs: { readTextFile: fs, writeTextFile: fs }, terminal: false }, clientInfo: { name: "aura-hub", title: "Aura Hub", version: "0.1.0" } }) }, { until: { id: 1 } },
  ...before,
  ...(cwd ? [{ send: (said) => rpc(2, "session/new", { cwd: said.cwd, mcpServers: [] }) }, { until: { id: 2 }, as: "session" }] : []), ...then,
];
const acpPrompt = (words, id = 3) => ({ send: (said) => rpc(id, "session/prompt", { sessionId: said.session.result.sessionId, prompt: text(words) }) });
const acpAsk = (options, words = "Say pong") => [...acpOpen(options), acpPrompt(words), { until: { id: 3 }, close: true }];
const mode = (modeId) => ({ then: [{ send: (said) => rpc(7, "session/set_mode", { sessionId: said.session.result.sessionId, modeId }) }, { until: { id: 7 } }] });
const permit = (kind) => [{
  when: { method: "session/request_permission" },
  send: (m) => ({ jsonrpc: "2.0", id: m.id, result: { outcome: kind ? { outcome: "selected", optionId: m.params.options.find((o) => o.kind === kind).optionId } : { outcome: "cancelled" } } }),
}];
const files = [
  { when: { method: "fs/read_text_file" }, send: (m) => ({ jsonrpc: "2.0", id: m.id, result: { content: existsSync(m.params.path) ? readFileSync(m.params.path, "utf8") : "" } }) },
  { when: { method: "fs/write_text_file" }, send: (m) => { writeFileSync(m.params.path, m.params.content); return { jsonrpc: "2.0", id: m.id, result: {} }; } },
];
const noFiles = [{ when: { method: "fs/read_text_file" }, send: (m) => ({ jsonrpc: "2.0", id: m.id, error: { code: -32002, message: "Resource not found" } }) }];
const cancel = { send: (said) => ({ jsonrpc: "2.0", method: "session/cancel", params: { sessionId: said.session.result.sessionId } }) };
const toolCall = { method: "session/update", params: { update: { sessionUpdate: "tool_call" } } };
const noted = { method: "session/update", params: { update: { sessionUpdate: "agent_message_chunk" } } };

const acpServer = { cwd: false, before: [{ send: (said) => rpc(2, "session/new", { cwd: said.cwd, mcpServers: [{ name: "hub", command: "node", args: [serverAt(said.cwd)], env: [] }] }) }, { until: { id: 2 }, as: "session" }] };

const acp = (free, edits) => ({
  way_back: { mode: "way_back", home: server, steps: acpAsk({ ...acpServer, ...mode(edits) }), answers: permit("allow_once") },
  ok: { steps: acpAsk() },
  thinking: { mode: "thinking", steps: acpAsk() },
  tool: { mode: "tool", steps: acpAsk(mode(free)) },
  tool_fails: { mode: "tool_fails", steps: acpAsk(mode(free)) },
  two_tools: { mode: "two_tools", steps: acpAsk(mode(free)) },
  edit: { mode: "edit", steps: acpAsk(mode(free)), expect: notes },
  edit_by_client: { mode: "edit", steps: acpAsk({ fs: true, ...mode(free) }), answers: files, expect: notes },
  edit_only: { mode: "edit_and_run", steps: acpAsk(mode(edits)), answers: permit("reject_once"), expect: notes },
  change: { mode: "change", steps: acpAsk(mode(free)), expect: changed },
  plan_mode: { mode: "edit", steps: acpAsk(mode("plan")), answers: permit("reject_once"), expect: nothing },
  plan: { mode: "plan", steps: acpAsk(mode(free)) },
  asked_allowed: { mode: "touch", steps: acpAsk(mode("default")), answers: permit("allow_once") },
  asked_denied: { mode: "touch", steps: acpAsk(mode("default")), answers: permit("reject_once") },
  asked_cancelled: { mode: "touch", steps: acpAsk(mode("default")), answers: permit(null) },
  edit_denied: { mode: "edit", steps: acpAsk(mode("default")), answers: permit("reject_once"), expect: nothing },
  cancel: { mode: "slow_tool", steps: [...acpOpen(mode(free)), acpPrompt("Count"), { until: toolCall }, { wait: 1500 }, cancel, { until: { id: 3 }, close: true }] },
  cancel_words: { mode: "slow", steps: [...acpOpen(), acpPrompt("Talk"), { until: noted }, { wait: 500 }, cancel, { until: { id: 3 }, close: true }] },
  sigterm: { mode: "slow_tool", steps: [...acpOpen(mode(free)), acpPrompt("Count"), { until: toolCall }, { wait: 1500 }, { signal: "SIGTERM" }, { wait: 7000, close: true }] },
  closed_early: { mode: "slow_tool", steps: [...acpOpen(mode(free)), acpPrompt("Count"), { until: toolCall }, { wait: 500, close: true }] },
  second_prompt: { mode: "slow_tool", steps: [...acpOpen(mode(free)), acpPrompt("Count"), { until: toolCall }, { wait: 1000 }, acpPrompt("And then stop", 4), { until: { id: 4 }, close: true }] },
  two_turns: { steps: [...acpOpen(), acpPrompt("Say pong"), { until: { id: 3 } }, acpPrompt("Once more", 4), { until: { id: 4 }, close: true }] },
  left_open: { steps: [...acpOpen(), acpPrompt("Say pong"), { until: { id: 3 } }, { wait: 5000, close: true }] },
  unauthorized: { mode: "unauthorized", steps: acpAsk() },
  limit: { mode: "limit", steps: acpAsk() },
  rate: { mode: "rate", steps: [...acpOpen(), acpPrompt("Say pong"), { wait: 8000 }, cancel, { until: { id: 3 }, close: true }] },
  rate_once: { mode: "rate_once", steps: acpAsk() },
  internal: { mode: "internal", steps: [...acpOpen(), acpPrompt("Say pong"), { wait: 8000 }, cancel, { until: { id: 3 }, close: true }] },
  overloaded: { mode: "overloaded", steps: [...acpOpen(), acpPrompt("Say pong"), { wait: 8000 }, cancel, { until: { id: 3 }, close: true }] },
  too_long: { mode: "too_long", steps: acpAsk() },
  bad_model: { mode: "bad_model", steps: acpAsk() },
  refusal: { mode: "refusal", steps: acpAsk() },
  max_tokens: { mode: "max_tokens", steps: acpAsk() },
  cut: { mode: "cut", steps: acpAsk() },
  load: { before: { steps: acpAsk() }, steps: [...acpOpen({ cwd: false }), { send: (said) => rpc(2, "session/load", { sessionId: said.session.result.sessionId, cwd: said.cwd, mcpServers: [] }) }, { until: { id: 2 } }, acpPrompt("Once more"), { until: { id: 3 }, close: true }] },
  resume: { before: { steps: acpAsk() }, steps: [...acpOpen({ cwd: false }), { send: (said) => rpc(2, "session/resume", { sessionId: said.session.result.sessionId, cwd: said.cwd, mcpServers: [] }) }, { until: { id: 2 } }, acpPrompt("Once more"), { until: { id: 3 }, close: true }] },
  load_missing: { steps: [...acpOpen({ cwd: false }), { send: (said) => rpc(2, "session/load", { sessionId: "00000000-0000-4000-8000-000000000000", cwd: said.cwd, mcpServers: [] }) }, { until: { id: 2 }, close: true }] },
  big_prompt: { steps: acpAsk({}, filler(400_000)) },
  not_json: { steps: [{ send: "this is no JSON" }, { wait: 4000, close: true }] },
});

const geminiSettings = { ".gemini/settings.json": JSON.stringify({ security: { auth: { selectedType: "gemini-api-key" } } }) };
const geminiHook = { ".gemini/settings.json": JSON.stringify({ hooks: { SessionStart: [{ hooks: [{ type: "command", command: "touch hook-ran" }] }], BeforeAgent: [{ hooks: [{ type: "command", command: "touch hook-ran" }] }] } }) };
const geminiProgram = { program: "gemini", folder: "gemini-0.61.0", home: geminiSettings, env: (port) => ({ GOOGLE_GEMINI_BASE_URL: `http://127.0.0.1:${port}`, GEMINI_API_KEY: "x", GEMINI_CLI_TRUST_WORKSPACE: "true" }) };
const noHook = ({ file }) => file("hook-ran") === null ? undefined : "the project's hook ran";
const gemini = {
  ...acp("yolo", "autoEdit"),
  // Loading a session in the minute in which it began destroys it: its file is named for the minute and is written anew.
  load: { ...acp("yolo", "autoEdit").load, before: { steps: [...acpAsk(), { wait: 61_000 }] } },
  load_at_once: acp("yolo", "autoEdit").load,
  edit_by_client_missing: { mode: "edit", steps: acpAsk({ fs: true, ...mode("yolo") }), answers: noFiles, expect: nothing },
  authenticate: { home: { ".gemini/settings.json": "{}" }, steps: acpAsk({ before: [{ send: rpc(6, "authenticate", { methodId: "gemini-api-key" }) }, { until: { id: 6 } }] }) },
  no_settings: { home: { ".gemini/settings.json": "{}" }, steps: [...acpOpen().slice(0, 4), { wait: 200, close: true }] },
  by_environment: { home: { ".gemini/settings.json": "{}" }, env: { GEMINI_DEFAULT_AUTH_TYPE: "gemini-api-key" }, steps: acpAsk() },
  no_login: { env: { GEMINI_API_KEY: undefined }, steps: [...acpOpen().slice(0, 4), { wait: 200, close: true }] },
  model: { args: () => ["--acp", "-m", "gemini-2.5-flash"], steps: acpAsk() },
  set_model: { steps: acpAsk({ then: [{ send: (said) => rpc(8, "session/set_model", { sessionId: said.session.result.sessionId, modelId: "gemini-2.5-flash" }) }, { until: { id: 8 } }] }) },
  untrusted: { mode: "edit_and_run", files: geminiHook, env: { GEMINI_CLI_TRUST_WORKSPACE: undefined }, steps: acpAsk(), answers: permit("allow_once"), expect: (end) => noHook(end) ?? notes(end) },
  untrusted_mode: { mode: "edit", env: { GEMINI_CLI_TRUST_WORKSPACE: undefined }, steps: acpAsk(mode("yolo")), answers: permit("allow_once"), expect: notes },
  // What it refuses by itself: a tool that failed, and one that ended well.
  write_outside: { mode: "write_outside", env: { GEMINI_CLI_TRUST_WORKSPACE: undefined }, steps: acpAsk(), answers: permit("allow_once") },
  substitution: { mode: "substitution", env: { GEMINI_CLI_TRUST_WORKSPACE: undefined }, steps: acpAsk(), answers: permit("allow_once"), expect: ({ file }) => file("made.txt") === null ? undefined : "the command ran" },
  project_hook_runs: { files: geminiHook, steps: acpAsk(), expect: ({ file }) => file("hook-ran") === null ? "the project's hook did not run" : undefined },
  yolo_flag: { mode: "edit_and_run", args: () => ["--acp", "--approval-mode", "yolo"], steps: acpAsk(), expect: notes },
};
const headless = (mode, { args = [], ...more } = {}) => ({ mode, args: () => ["-p", "Say pong", "-o", "stream-json", "--skip-trust", ...args], steps: [{ close: true }], ...more });
const geminiHeadless = {
  ok: headless("ok"), tool: headless("tool", { args: ["--approval-mode", "yolo"] }), denied: headless("edit", { expect: nothing }),
  unauthorized: headless("unauthorized"), limit: headless("limit"), untrusted: { env: { GEMINI_CLI_TRUST_WORKSPACE: undefined }, args: () => ["-p", "Say pong", "-o", "stream-json"], steps: [{ close: true }] },
};

export const programs = {
  "claude.2.1.197": { ...claudeProgram("claude-2.1.197"), cases: claude },
  "claude.2.1.332": { ...claudeProgram("claude-2.1.332"), cases: claude },
  "codex.0.171.0": { ...codexProgram, args: (port) => ["app-server", ...codexConfig(port)], cases: codex },
  "codex-exec.0.171.0": { ...codexProgram, cases: codexExec },
  "gemini.0.61.0": { ...geminiProgram, args: () => ["--acp"], cases: gemini },
  "gemini-headless.0.61.0": { ...geminiProgram, cases: geminiHeadless },
  "claude-agent-acp.0.101.0": { ...claudeProgram("claude-agent-acp-0.101.0"), program: "claude-agent-acp", args: () => [], env: (port) => ({ ...claudeEnv(port), IS_SANDBOX: "1", CLAUDE_CODE_MAX_RETRIES: "1" }), cases: acp("bypassPermissions", "acceptEdits") },
};
/** What `run` installs: folder and package. */
export const packages = {
  node: "node@22.23.3",
  "claude-2.1.197": "@anthropic-ai/claude-code@2.1.197",
  "claude-2.1.332": "@anthropic-ai/claude-code@2.1.332",
  "codex-0.171.0": "@openai/codex@0.171.0",
  "gemini-0.61.0": "@google/gemini-cli@0.61.0",
  "claude-agent-acp-0.101.0": "@agentclientprotocol/claude-agent-acp@0.101.0",
};
