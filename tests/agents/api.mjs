// Imitates the APIs of Anthropic (messages), OpenAI (responses) and Google (generateContent), as far as the agent programs use them.
// A mode is a list of turns: what the model says to the first request, to the second, and so on; the last one is repeated.
// A turn is a list of blocks (what is said), or a failure {fail}. `times` repeats a failure only so often.
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";

const resets = 1893456000;                        // 2030-01-01, far from every test
const pong = [{ text: "pong" }];
const long = "x".repeat(4000);

export const modes = {
  ok: [pong],
  thinking: [[{ think: "I should answer." }, { text: "pong" }]],
  tool: [[{ shell: "echo hi" }], pong],
  touch: [[{ shell: "touch made.txt" }], pong],
  tool_fails: [[{ shell: "echo broken >&2; exit 3" }], pong],
  tool_big: [[{ shell: "seq 1 20000" }], pong],
  slow_tool: [[{ shell: "for i in 1 2 3 4 5 6; do echo $i; sleep 1; done" }], pong],
  outside: [[{ shell: "echo hi > ../outside.txt" }], pong],
  write_outside: [[{ write: "../other.txt", content: "x\n" }], pong],
  substitution: [[{ shell: "echo $(date) > made.txt" }], pong],
  edit: [[{ write: "notes.txt", content: "one\ntwo\n" }], pong],
  edit_and_run: [[{ write: "notes.txt", content: "one\ntwo\n" }], [{ shell: "cat notes.txt" }], pong],
  change: [[{ read: "README.md" }], [{ replace: "README.md", old: "hello", new: "goodbye" }], pong],
  read: [[{ read: "README.md" }], pong],
  web: [[{ web: "http://127.0.0.1:9/page" }], pong],
  two_tools: [[{ text: "Both at once." }, { shell: "echo one" }, { shell: "echo two" }], pong],
  plan: [[{ plan: ["Look", "Change"], done: 0 }], [{ plan: ["Look", "Change"], done: 1 }], [{ plan: ["Look", "Change"], done: 2 }], pong],
  agent: [[{ agent: "Say hi" }], pong],
  way_back_asks: [[{ hub: "subtask", args: { text: "Count the files", agent: "survey" } }], [{ hub: "ask", args: { title: "Which database?", options: ["Postgres", "SQLite"] } }], pong],
  way_back: [[{ hub: "say", args: { text: "half way" } }], [{ hub: "thread", args: {} }], pong],
  background_short: [[{ background: "sleep 8" }], pong],
  background: [[{ background: "sleep 30" }], pong],
  loop: [[{ shell: "echo again" }]],
  slow: [[{ text: Array(100).fill("word "), every: 100 }], pong],
  stops: [[{ text: ["half a ", "sentence"], stop: "hang" }]],
  cut: [[{ text: ["half a ", "sentence"], stop: "cut" }]],
  cut_once: [[{ text: ["half a ", "sentence"], stop: "cut" }], pong],
  silent: [[{ text: [], stop: "hang" }]],
  refusal: [[{ text: "" , refuse: true }]],
  max_tokens: [[{ text: long, full: true }]],
  unauthorized: [{ fail: "unauthorized" }],
  forbidden: [{ fail: "forbidden" }],
  limit: [{ fail: "limit" }],
  rate: [{ fail: "rate" }],
  rate_once: [{ fail: "rate", times: 1 }, pong],
  internal: [{ fail: "internal" }],
  overloaded: [{ fail: "overloaded" }],
  overloaded_once: [{ fail: "overloaded", times: 1 }, pong],
  too_long: [{ fail: "too_long" }],
  bad_request: [{ fail: "bad_request" }],
  bad_image: [{ fail: "bad_image" }],
  failed: [{ fail: "in_stream" }],
  no_money: [{ fail: "no_money" }],
  bad_model: [{ fail: "bad_model" }],
};

/** What the model is told and has said, oldest first: {who: "person" | "model", text}. Whatever else a request has, `text` is its JSON. */
export function conversation({ body, path }) {
  const all = [].concat(vendors.find((v) => v.path.test(path))?.told(body) ?? []);
  return all.map((part) => ({ who: ["assistant", "model"].includes(part.role) ? "model" : "person", text: JSON.stringify(part) }));
}

/** Serves `mode` on a free port of 127.0.0.1. `dir` is the folder that the agent works in, or says it for a request. `apart`: several conversations
 *  at once, each with the turns from the first on. `goal`: it goes on with the first turn until this file is there. */
export async function serve(mode, { dir, fallback, apart, goal } = {}) {
  const turns = modes[mode];
  if (!turns) throw new Error(`no mode ${mode}`);
  const api = { requests: [], turn: 0, used: 0 };
  const next = (model, told, folder) => {
    if (fallback && model === fallback) return pong;
    if (goal) return api.turn++, existsSync(join(folder, goal)) ? pong : turns[0];
    if (apart) return turns[Math.min(told.filter(isCalled).length, turns.length - 1)];
    const turn = turns[Math.min(api.turn, turns.length - 1)];
    if (!turn.fail) api.turn++;
    else if (turn.times && ++api.used >= turn.times) api.turn++;
    return turn;
  };
  count = 0;
  const server = createServer(async (req, res) => {
    const chunks = [];
    for await (const chunk of req) chunks.push(chunk);
    const raw = Buffer.concat(chunks);
    const path = req.url.split("?")[0];
    let body = {};
    try { body = JSON.parse(raw); } catch { /* a GET, or telemetry */ }
    api.requests.push({ method: req.method, path, bytes: raw.length, body });
    const vendor = vendors.find((v) => v.path.test(path));
    if (req.method !== "POST" || !vendor) return json(res, path.endsWith("/models") ? 200 : 404, { models: [], data: [] });
    const aside = vendor.aside(body, path);       // a title, a classification, a count: no part of the conversation
    if (aside) return vendor.send(res, aside === true ? pong : aside, body, path);
    const folder = typeof dir === "function" ? dir(String(raw)) : dir;
    const turn = next(vendor.model(body, path), vendor.told(body), folder);
    if (turn.fail) return vendor.fail(res, turn.fail, body);
    return vendor.send(res, turn.map((block) => vendor.tool(block, body, folder) ?? block), body, path);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return Object.assign(api, {
    port: server.address().port,
    close: () => { server.closeAllConnections(); server.close(); },
  });
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const isCalled = (part) => /"tool_use"|"(custom_tool|function)_call"|"functionCall"/.test(JSON.stringify(part));

function json(res, status, value, headers = {}) {
  res.writeHead(status, { "content-type": "application/json", ...headers });
  res.end(JSON.stringify(value));
}

/** Writes events as they come from a generator: {event}, or {wait: ms}, or {stop: "hang" | "cut"}. */
async function stream(res, events, named) {
  res.writeHead(200, { "content-type": "text/event-stream", "request-id": "req_1" });
  for (const e of events) {
    if (e.wait) await sleep(e.wait);
    else if (e.stop === "cut") return res.destroy();
    else if (e.stop === "hang") return;
    else res.write(`${named ? `event: ${e.type}\n` : ""}data: ${JSON.stringify(e)}\n\n`);
    if (res.destroyed) return;
  }
  res.end();
}

/** What was written shall arrive before the stream is cut. */
function* ending(block) {
  yield { wait: 100 };
  yield { stop: block.stop };
}

const words = (block) => [block.text].flat();
const named = (body) => new Set(flat([...(body.tools ?? []), ...(Array.isArray(body.input) ? body.input : []).filter((i) => i.type === "additional_tools")]).map((t) => t.name ?? t.type));
const flat = (tools) => tools.flatMap((t) => t.functionDeclarations ?? (t.tools ? flat(t.tools) : t));

// ---------------------------------------------------------------------------------------------------------------- Anthropic

const anthropic = {
  path: /\/messages(\/count_tokens)?$/,
  told: (body) => body.messages ?? [],
  model: (body) => body.model,
  aside: (body, path) => path.endsWith("count_tokens") || !(body.tools?.length > 1),
  tool(block, body, dir) {
    const has = named(body);
    if (block.shell) return { name: "Bash", input: { command: block.shell, description: "Run a command" } };
    if (block.background) return { name: "Bash", input: { command: block.background, description: "Wait", run_in_background: true } };
    if (block.write) return { name: "Write", input: { file_path: `${dir}/${block.write}`, content: block.content } };
    if (block.replace) return { name: "Edit", input: { file_path: `${dir}/${block.replace}`, old_string: block.old, new_string: block.new } };
    if (block.read) return { name: "Read", input: { file_path: `${dir}/${block.read}` } };
    if (block.web) return { name: "WebFetch", input: { url: block.web, prompt: "What is there?" } };
    if (block.hub) return { name: `mcp__hub__${block.hub}`, input: block.args };
    if (block.agent) return { name: has.has("Task") ? "Task" : "Agent", input: { description: "A part", prompt: block.agent, subagent_type: "general-purpose" } };
    if (block.plan && has.has("TodoWrite"))
      return { name: "TodoWrite", input: { todos: block.plan.map((content, i) => ({ content, activeForm: content, status: i < block.done ? "completed" : i === block.done ? "in_progress" : "pending" })) } };
    if (block.plan && block.done === 0) return block.plan.map((subject) => ({ name: "TaskCreate", input: { subject, description: subject, activeForm: subject } }));
    if (block.plan) return { name: "TaskUpdate", input: { taskId: String(block.done), status: "completed" } };
  },
  send(res, blocks, body) {
    const usage = { input_tokens: 100, cache_creation_input_tokens: 10, cache_read_input_tokens: 20, output_tokens: 1 };
    const message = { id: id("msg"), type: "message", role: "assistant", model: body.model, content: [], stop_reason: null, stop_sequence: null, usage };
    const broken = blocks.flat().find((b) => b.stop);
    if (!body.stream && broken) return broken.stop === "cut" ? res.destroy() : undefined;
    if (!body.stream) return json(res, 200, { ...message, content: [{ type: "text", text: "pong" }], stop_reason: "end_turn", input_tokens: 10 });
    function* events() {
      yield { type: "message_start", message };
      let index = 0, reason = "end_turn";
      for (const block of blocks.flat()) {
        if (block.refuse) { reason = "refusal"; continue; }
        if (block.full) reason = "max_tokens";
        if (block.name) {
          reason = "tool_use";
          yield { type: "content_block_start", index, content_block: { type: "tool_use", id: id("toolu"), name: block.name, input: {} } };
          yield { type: "content_block_delta", index, delta: { type: "input_json_delta", partial_json: JSON.stringify(block.input) } };
        } else if (block.think) {
          yield { type: "content_block_start", index, content_block: { type: "thinking", thinking: "", signature: "" } };
          yield { type: "content_block_delta", index, delta: { type: "thinking_delta", thinking: block.think } };
          yield { type: "content_block_delta", index, delta: { type: "signature_delta", signature: "c2ln" } };
        } else {
          yield { type: "content_block_start", index, content_block: { type: "text", text: "" } };
          for (const text of words(block)) {
            if (block.every) yield { wait: block.every };
            yield { type: "content_block_delta", index, delta: { type: "text_delta", text } };
          }
          if (block.stop) return void (yield* ending(block));
        }
        yield { type: "content_block_stop", index: index++ };
      }
      yield { type: "message_delta", delta: { stop_reason: reason, stop_sequence: null }, usage: { output_tokens: 30 } };
      yield { type: "message_stop" };
    }
    return stream(res, events(), true);
  },
  fail(res, why, body) {
    const error = (status, type, message, headers) => json(res, status, { type: "error", error: { type, message }, request_id: "req_1" }, headers);
    switch (why) {
      case "unauthorized": return error(401, "authentication_error", "invalid x-api-key");
      case "forbidden": return error(403, "permission_error", "Your organization has disabled access to Claude.");
      case "limit": return error(429, "rate_limit_error", "This request would exceed your account's rate limit. Please try again later.", {
        "retry-after": "3600", "x-should-retry": "false", "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-reset": String(resets), "anthropic-ratelimit-unified-representative-claim": "five_hour",
        "anthropic-ratelimit-unified-5h-status": "rejected", "anthropic-ratelimit-unified-5h-reset": String(resets), "anthropic-ratelimit-unified-5h-utilization": "1.0" });
      case "rate": return error(429, "rate_limit_error", "Number of request tokens has exceeded your per-minute rate limit", { "retry-after": "1" });
      case "internal": return error(500, "api_error", "Internal server error");
      case "overloaded": return error(529, "overloaded_error", "Overloaded");
      case "too_long": return error(400, "invalid_request_error", "prompt is too long: 250000 tokens > 200000 maximum");
      case "bad_image": return error(400, "invalid_request_error", "messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 6000000 bytes > 5242880 bytes");
      case "no_money": return error(400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.");
      case "bad_model": return error(404, "not_found_error", `model: ${body.model}`);
      case "in_stream": return !body.stream ? this.fail(res, "overloaded", body) : stream(res, [{ type: "error", error: { type: "overloaded_error", message: "Overloaded" } }], true);
      default: return error(400, "invalid_request_error", "messages.0: something is wrong with it");
    }
  },
};

// ------------------------------------------------------------------------------------------------------------------- OpenAI

const openai = {
  path: /\/responses(\/compact)?$/,
  told: (body) => Array.isArray(body.input) ? body.input : [],
  model: (body) => body.model,
  aside: (body) => named(body).size === 0,
  tool(block, body, dir) {
    const has = named(body);
    const call = (name, args) => ({ type: "function_call", id: id("fc"), call_id: id("call"), name, arguments: JSON.stringify(args) });
    const custom = (name, input) => ({ type: "custom_tool_call", id: id("ctc"), call_id: id("call"), name, input });
    // Newer models do not call the tools, they write JavaScript that calls them.
    const script = (name, args) => custom("exec", `text(await tools.${name}(${JSON.stringify(args)}));`);
    const shell = (command) => has.has("exec") ? script("exec_command", { cmd: command })
      : has.has("exec_command") ? call("exec_command", { cmd: command })
      : has.has("shell_command") ? call("shell_command", { command }) : call("shell", { command: ["bash", "-lc", command] });
    const patch = (change) => {
      const text = `*** Begin Patch\n${change}\n*** End Patch\n`;
      return has.has("exec") ? script("apply_patch", text) : has.has("apply_patch") ? custom("apply_patch", text) : shell(`apply_patch <<'EOF'\n${text}EOF`);
    };
    if (block.hub) return has.has("exec") ? script(`mcp__hub__${block.hub}`, block.args) : { ...call(block.hub, block.args), namespace: "mcp__hub" };
    if (block.shell) return shell(block.shell);
    if (block.background) return has.has("exec") ? script("exec_command", { cmd: block.background, yield_time_ms: 250 }) : call("exec_command", { cmd: block.background, yield_time_ms: 250 });
    if (block.write) return patch(`*** Add File: ${block.write}\n${block.content.trimEnd().split("\n").map((l) => `+${l}`).join("\n")}`);
    if (block.replace) return patch(`*** Update File: ${block.replace}\n@@\n-${block.old}\n+${block.new}`);
    if (block.read) return shell(`cat ${block.read}`);
    if (block.web) return shell(`curl -sS ${block.web}`);
    const plan = block.plan && { plan: block.plan.map((step, i) => ({ step, status: i < block.done ? "completed" : i === block.done ? "in_progress" : "pending" })) };
    if (plan) return has.has("exec") ? script("update_plan", plan) : call("update_plan", plan);
  },
  send(res, blocks, body) {
    const response = { id: id("resp") };
    function* events() {
      yield { type: "response.created", response };
      for (const block of blocks.flat()) {
        if (block.call_id) yield { type: "response.output_item.done", item: block };
        else if (block.think) yield { type: "response.output_item.done", item: { type: "reasoning", id: id("rs"), summary: [{ type: "summary_text", text: `**Thinking** ${block.think}` }], content: null, encrypted_content: null } };
        else {
          const item = { type: "message", id: id("msg"), role: "assistant", content: [] };
          yield { type: "response.output_item.added", item };
          for (const delta of words(block)) {
            if (block.every) yield { wait: block.every };
            yield { type: "response.output_text.delta", item_id: item.id, delta };
          }
          if (block.stop) return void (yield* ending(block));
          item.content.push(block.refuse ? { type: "refusal", refusal: "I can not help with that." } : { type: "output_text", text: words(block).join("") });
          yield { type: "response.output_item.done", item };
        }
        if (block.full) return void (yield { type: "response.incomplete", response: { ...response, incomplete_details: { reason: "max_output_tokens" } } });
      }
      yield { type: "response.completed", response: { ...response, usage: { input_tokens: 100, input_tokens_details: { cached_tokens: 20 }, output_tokens: 5, output_tokens_details: { reasoning_tokens: 2 }, total_tokens: 105 } } };
    }
    return stream(res, events(), true);
  },
  fail(res, why, body) {
    const error = (status, value, headers) => json(res, status, { error: value }, headers);
    const limits = { "x-codex-primary-used-percent": "100", "x-codex-primary-window-minutes": "300", "x-codex-primary-reset-at": String(resets) };
    const failed = (code, message) => stream(res, [{ type: "response.created", response: { id: "resp_1" } }, { type: "response.failed", response: { id: "resp_1", error: { code, message } } }], true);
    switch (why) {
      case "unauthorized": return error(401, { message: "Incorrect API key provided: sk-x", type: "invalid_request_error", code: "invalid_api_key" });
      case "forbidden": return error(403, { message: "Country, region, or territory not supported", type: "request_forbidden", code: "unsupported_country_region_territory" });
      case "limit": return error(429, { type: "usage_limit_reached", message: "The usage limit has been reached", plan_type: "pro", resets_at: resets, resets_in_seconds: 3600 }, limits);
      case "rate": return error(429, { type: "tokens", code: "rate_limit_exceeded", message: "Rate limit reached for gpt-5 in organization org-1 on tokens per min (TPM): Limit 30000, Used 30000. Please try again in 1.2s." });
      case "internal": return error(500, { message: "The server had an error", type: "server_error" });
      case "overloaded": return error(503, { message: "Our servers are currently overloaded. Please try again later.", type: "server_error", code: "server_is_overloaded" });
      case "too_long": return failed("context_length_exceeded", "Your input exceeds the context window of this model. Please adjust your input and try again.");
      case "no_money": return failed("insufficient_quota", "You exceeded your current quota, please check your plan and billing details.");
      case "bad_model": return error(404, { message: `The model '${body.model}' does not exist or you do not have access to it.`, type: "invalid_request_error", code: "model_not_found" });
      case "in_stream": return failed("rate_limit_exceeded", "Rate limit reached. Please try again in 1.2s.");
      default: return error(400, { message: "Invalid value: 'input'.", type: "invalid_request_error", param: "input", code: "invalid_value" });
    }
  },
};

// ------------------------------------------------------------------------------------------------------------------- Google

const google = {
  path: /:(streamGenerateContent|generateContent|countTokens)$/,
  told: (body) => body.contents ?? [],
  model: (body, path) => path.match(/models\/([^:]+)/)?.[1],
  aside(body, path) {
    if (path.endsWith("countTokens") || body.tools?.length > 0) return path.endsWith("countTokens");
    const asks = JSON.stringify(body.generationConfig ?? {});
    return asks.includes("next_speaker") ? [{ text: JSON.stringify({ reasoning: "done", next_speaker: "user" }) }]
      : asks.includes("complexity") || asks.includes("model_choice") ? [{ text: JSON.stringify({ complexity_reasoning: "easy", complexity_score: 10, reasoning: "easy", model_choice: "flash" }) }] : true;
  },
  tool(block, body, dir) {
    const call = (name, args) => ({ functionCall: { name, args } });
    if (block.hub) return call(`mcp_hub_${block.hub}`, block.args);
    if (block.shell) return call("run_shell_command", { command: block.shell, description: "Run a command" });
    if (block.background) return call("run_shell_command", { command: block.background, description: "Wait", is_background: true });
    if (block.write) return call("write_file", { file_path: `${dir}/${block.write}`, content: block.content });
    if (block.replace) return call("replace", { file_path: `${dir}/${block.replace}`, instruction: "Change the greeting", old_string: block.old, new_string: block.new });
    if (block.read) return call("read_file", { file_path: `${dir}/${block.read}` });
    if (block.web) return call("web_fetch", { prompt: `What is at ${block.web}?` });
    if (block.plan) return call("write_todos", { todos: block.plan.map((description, i) => ({ description, status: i < block.done ? "completed" : i === block.done ? "in_progress" : "pending" })) });
  },
  send(res, blocks, body, path) {
    if (path.endsWith("countTokens")) return json(res, 200, { totalTokens: 10 });
    const usageMetadata = { promptTokenCount: 100, candidatesTokenCount: 5, totalTokenCount: 105, cachedContentTokenCount: 20 };
    const model = path.match(/models\/([^:]+)/)?.[1];
    const chunk = (parts, finishReason) => ({ candidates: [{ content: { role: "model", parts }, finishReason, index: 0 }], usageMetadata, modelVersion: model });
    if (!path.endsWith("streamGenerateContent")) return json(res, 200, chunk(blocks.flat().map((b) => ({ text: words(b).join("") })), "STOP"));
    function* events() {
      const calls = [];
      for (const block of blocks.flat()) {
        if (block.functionCall) calls.push(block);
        else if (block.think) yield chunk([{ text: `**Thinking** ${block.think}`, thought: true }]);
        else if (block.refuse) return void (yield { promptFeedback: { blockReason: "PROHIBITED_CONTENT" }, usageMetadata, modelVersion: model });
        else {
          for (const text of words(block)) {
            if (block.every) yield { wait: block.every };
            yield chunk([{ text }]);
          }
          if (block.stop) return void (yield* ending(block));
        }
        if (block.full) return void (yield chunk([], "MAX_TOKENS"));
      }
      yield chunk(calls, "STOP");
    }
    return stream(res, events(), false);
  },
  fail(res, why) {
    const error = (code, status, message, details = []) => json(res, code, { error: { code, message, status, details } });
    const quota = (quotaId, quotaValue, retryDelay) => [
      { "@type": "type.googleapis.com/google.rpc.QuotaFailure", violations: [{ quotaMetric: "generativelanguage.googleapis.com/generate_content_requests", quotaId, quotaDimensions: { model: "gemini-2.5-pro" }, quotaValue }] },
      { "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay }];
    const exceeded = "You exceeded your current quota, please check your plan and billing details.";
    switch (why) {
      case "unauthorized": return error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", [{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason: "API_KEY_INVALID", domain: "googleapis.com" }]);
      case "forbidden": return error(403, "PERMISSION_DENIED", "Your project has been denied access.");
      case "limit": return error(429, "RESOURCE_EXHAUSTED", exceeded, quota("GenerateRequestsPerDayPerProjectPerModel", "50", "3600s"));
      case "rate": return error(429, "RESOURCE_EXHAUSTED", exceeded, quota("GenerateRequestsPerMinutePerProjectPerModel", "5", "1s"));
      case "overloaded": return error(503, "UNAVAILABLE", "The model is overloaded. Please try again later.");
      case "too_long": return error(400, "INVALID_ARGUMENT", "The input token count (1250000) exceeds the maximum number of tokens allowed (1048576).");
      case "bad_model": return error(404, "NOT_FOUND", "models/nothing is not found for API version v1beta");
      case "bad_request": return error(400, "INVALID_ARGUMENT", "Request contains an invalid argument.");
      default: return error(500, "INTERNAL", "An internal error has occurred.");
    }
  },
};

const vendors = [anthropic, openai, google];
let count = 0;
const id = (kind) => `${kind}_${++count}`;
