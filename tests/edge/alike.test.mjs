// One corpus of requests, asked of the functions in axum (`hub dev`), in Deno (WebAssembly over PostgREST) and on Lambda (in the emulator of cargo
// lambda): the answers are the same, but for ids and times.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHmac, createPrivateKey, randomUUID, sign } from "node:crypto";
import { once } from "node:events";
import { readFileSync, statSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

const axum = `${process.env.SUPABASE_URL}/functions/v1`;
const edge = `${process.env.EDGE_URL}/functions/v1`;
const lambda = `${process.env.LAMBDA_URL}/functions/v1`;
const operator = process.env.HUB_OPERATOR_JWT;
const viewer = process.env.HUB_VIEWER_JWT;
const outsider = process.env.HUB_OUTSIDER_JWT;

const rest = async (path) => {
  const key = process.env.SUPABASE_SERVICE_ROLE_KEY;
  const response = await fetch(`${process.env.SUPABASE_URL}/rest/v1/${path}`, { headers: { apikey: key, authorization: `Bearer ${key}` } });
  return response.json();
};
const channel = async (name) => (await rest(`hub_channels?name=eq.${name}&select=id`))[0].id;
const leads = await channel("leads");
const quick = await channel("quick");

// Deno listens when it has compiled; until then nobody answers.
for (const base of [edge, lambda]) {
  for (let i = 0; ; i++) {
    try {
      await fetch(`${base}/send`, { signal: AbortSignal.timeout(20_000) });
      break;
    } catch (error) {
      if (i === 300) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

const bearer = (token) => ({ authorization: `Bearer ${token}`, "content-type": "application/json" });
const github = (event, body, more = {}, secret = "github-secret") => ({
  "content-type": "application/json",
  "x-github-event": event,
  "x-github-delivery": randomUUID(),
  "x-hub-signature-256": `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`,
  ...more,
});
const telegram = (token) => ({ "content-type": "application/json", "x-telegram-bot-api-secret-token": token });
const key = createPrivateKey({ key: Buffer.from(process.env.DISCORD_PRIVATE_KEY, "hex"), format: "der", type: "pkcs8" });
const discord = (body, at = Math.floor(Date.now() / 1000)) => ({
  "content-type": "application/json",
  "x-signature-timestamp": String(at),
  "x-signature-ed25519": sign(null, Buffer.concat([Buffer.from(String(at)), Buffer.from(body)]), key).toString("hex"),
});
const json = JSON.stringify;
const push = json({ ref: "refs/heads/main", repository: { full_name: "a/b" }, commits: [] });
const discordPress = json({ id: "3", type: 3, channel_id: "9", member: { user: { id: "7", username: "a" } }, message: { content: "May I?" }, data: { component_type: 2, custom_id: `ask:1:${"k".repeat(43)}` } });
const discordLink = json({ id: "4", type: 2, channel_id: "9", user: { id: "7", username: "a" }, data: { name: "link", options: [{ name: "code", type: 3, value: "NOBODYS" }] } });

// name, function, headers (made anew for each side), body (or what makes it), and the status that both must give
const corpus = [
  ["a command", "koji-discord-bot", () => bearer(viewer), json({ channel_id: leads, command: "!stats" }), 200],
  ["an unknown command", "koji-discord-bot", () => bearer(viewer), json({ channel_id: leads, command: "!statz" }), 200],
  ["a long answer", "koji-discord-bot", () => bearer(operator), json({ channel_id: leads, command: "!export brooklyn" }), 200],
  ["a command that writes, by a viewer", "koji-discord-bot", () => bearer(viewer), json({ channel_id: leads, command: "!send-samples 2" }), 403],
  ["a command in a channel of tasks", "koji-discord-bot", () => bearer(viewer), json({ channel_id: quick, command: "!stats" }), 409],
  ["a command in an unknown channel", "koji-discord-bot", () => bearer(viewer), json({ channel_id: randomUUID(), command: "!stats" }), 404],
  ["no token", "koji-discord-bot", () => ({ "content-type": "application/json" }), json({ channel_id: leads, command: "!stats" }), 401],
  ["a body that is not JSON", "koji-discord-bot", () => bearer(viewer), "{", 400],
  ["a field of the wrong type", "koji-discord-bot", () => bearer(viewer), json({ channel_id: leads, command: 5 }), 400],
  ["a body of another media type", "koji-discord-bot", () => ({ ...bearer(viewer), "content-type": "text/plain" }), "!stats", 415],
  ["a body too large", "koji-discord-bot", () => bearer(viewer), json({ channel_id: leads, command: "x".repeat(70_000) }), 413],
  ["quotes, unicode and a zero character", "koji-discord-bot", () => bearer(viewer), json({ channel_id: leads, command: '!lead "caf\u00e9 \u{1f9a5}\u0000"' }), 200],
  ["a message", "send", () => bearer(operator), json({ channel: "buf-barista/quick", content: "What is here?" }), 200],
  ["a message by id", "send", () => bearer(operator), () => json({ channel: quick, content: "What is here?", idempotency_key: randomUUID() }), 200],
  ["a message to an unknown channel", "send", () => bearer(operator), json({ channel: "buf-barista/nowhere", content: "x" }), 404],
  ["a message of somebody who may only read", "send", () => bearer(outsider), json({ channel: quick, content: "x" }), 403],
  ["an empty message", "send", () => bearer(operator), json({ channel: quick, content: "" }), 400],
  ["a push", "github-webhook", () => github("push", push), push, 202],
  ["a ping", "github-webhook", () => github("ping", push), push, 202],
  ["a push with a bad signature", "github-webhook", () => github("push", push, { "x-hub-signature-256": "sha256=00" }), push, 401],
  ["a push signed with the secret of its address", "github-webhook/acme-apps", () => github("push", push, {}, "acme-secret"), push, 202],
  ["a push signed with the secret of another address", "github-webhook/acme-apps", () => github("push", push), push, 401],
  ["a push to an address without a secret", "github-webhook/other", () => github("push", push), push, 401],
  ["a push without a delivery id", "github-webhook", () => github("push", push, { "x-github-delivery": "" }), push, 400],
  ["a delivery that is not a JSON object", "github-webhook", () => github("push", "[]"), "[]", 400],
  ["a delivery of a megabyte", "github-webhook", () => github("push", json({ long: "x".repeat(1_000_000) })), json({ long: "x".repeat(1_000_000) }), 202],
  ["a message of a chat without a bridge", "telegram-webhook", () => telegram("telegram-secret"), json({ update_id: 1, message: { message_id: 1, chat: { id: 5 }, from: { first_name: "A" }, text: "hello" } }), 200],
  ["an update that is not a message", "telegram-webhook", () => telegram("telegram-secret"), json({ update_id: 1, poll: {} }), 200],
  ["a picture", "telegram-webhook", () => telegram("telegram-secret"), json({ update_id: 2, message: { message_id: 2, chat: { id: 5 }, from: { first_name: "A" }, photo: [{ width: 1, height: 1 }] } }), 200],
  ["a post of a channel", "telegram-webhook", () => telegram("telegram-secret"), json({ update_id: 3, channel_post: { message_id: 3, chat: { id: -5, type: "channel", title: "News" }, text: "x" } }), 200],
  ["an edited message", "telegram-webhook", () => telegram("telegram-secret"), json({ update_id: 4, edited_message: { message_id: 1, chat: { id: 5 }, from: { first_name: "A" }, text: "hullo" } }), 200],
  ["half of a surrogate pair", "telegram-webhook", () => telegram("telegram-secret"), '{"update_id": 5, "message": {"message_id": 4, "chat": {"id": 5}, "text": "\\ud83d"}}', 200],
  ["an update with a wrong secret token", "telegram-webhook", () => telegram("wrong"), json({ update_id: 1 }), 401],
  ["a press of a button that nobody made", "telegram-webhook", () => telegram("telegram-secret"), json({ update_id: 6, callback_query: { id: "1", from: { id: 7, is_bot: false, first_name: "A" }, message: { message_id: 1, date: 0, chat: { id: 7, type: "private" } }, data: "k".repeat(43) } }), 200],
  ["a press of something else", "telegram-webhook", () => telegram("telegram-secret"), json({ update_id: 7, callback_query: { id: "2", from: { id: 7, is_bot: false, first_name: "A" }, data: "k".repeat(65) } }), 200],
  ["a code that nobody was given", "telegram-webhook", () => telegram("telegram-secret"), json({ update_id: 8, message: { message_id: 8, chat: { id: 7, type: "private" }, from: { id: 7, is_bot: false, first_name: "A" }, text: "/link NOBODYS" } }), 200],
  ["a code that others see", "telegram-webhook", () => telegram("telegram-secret"), json({ update_id: 9, message: { message_id: 9, chat: { id: -7, type: "group" }, from: { id: 7, is_bot: false, first_name: "A" }, text: "/link NOBODYS" } }), 200],
  ["an answer by a token that nobody was given", "answer", () => ({ "content-type": "text/plain" }), json({ token: "0".repeat(64), answer: "allow" }), 401],
  ["an answer without a token", "answer", () => ({}), json({ answer: "allow" }), 400],
  ["an answer too large", "answer", () => ({}), json({ token: "x".repeat(5_000), answer: "allow" }), 413],
  ["a ping of Discord", "koji-discord-bot", () => discord(json({ id: "1", type: 1 })), json({ id: "1", type: 1 }), 200],
  ["an old ping of Discord", "koji-discord-bot", () => discord(json({ id: "1", type: 1 }), 1_700_000_000), json({ id: "1", type: 1 }), 401],
  ["a forged ping of Discord", "koji-discord-bot", () => discord("{}"), json({ id: "1", type: 1 }), 401],
  ["a slash command in a channel without a bridge", "koji-discord-bot", () => discord(json({ id: "2", type: 2, channel_id: "9", user: { username: "a" }, data: { name: "stats" } })),
    json({ id: "2", type: 2, channel_id: "9", user: { username: "a" }, data: { name: "stats" } }), 200],
  ["a press of a button in Discord that nobody made", "koji-discord-bot", () => discord(discordPress), discordPress, 200],
  ["a forged press in Discord", "koji-discord-bot", () => discord("{}"), discordPress, 401],
  ["a code in Discord that nobody was given", "koji-discord-bot", () => discord(discordLink), discordLink, 200],
  ["an agent with an unknown token", "hooks-agent", () => bearer(`hubhook_${"0".repeat(64)}`), json({ message: "x", channel: `channel:${quick}` }), 401],
  ["an agent with a channel id without its prefix", "hooks-agent", () => bearer(`hubhook_${"0".repeat(64)}`), json({ message: "x", channel: quick }), 400],
  ["an unknown function", "nothing", () => ({}), "{}", 404],
  ["another method", "send", () => ({}), undefined, 405, "GET"],
];

// Ids and times differ, and nothing else.
function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
  if (typeof value !== "string") return typeof value === "number" ? "number" : value;
  return value
    .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "<id>")
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+(\+00:00|Z)/g, "<time>")
    .replace(/Task [0-9a-f]{4}/g, "Task <id>");
}

async function ask(base, [, name, headers, body, , method = "POST"]) {
  const response = await fetch(`${base}/${name}`, { method, headers: headers(), body: typeof body === "function" ? body() : body });
  const text = await response.text();
  return {
    status: response.status,
    type: response.headers.get("content-type"),
    store: response.headers.get("cache-control"),
    allow: response.headers.get("allow"),
    credentials: response.headers.get("www-authenticate"),
    id: /^[\w.-]{1,64}$/.test(response.headers.get("x-request-id") ?? ""),
    body: plain(text.startsWith("{") ? JSON.parse(text) : text),
  };
}

for (const request of corpus) {
  test(`${request[1]}: ${request[0]}`, async () => {
    const here = await ask(axum, request);
    assert.equal(here.status, request[4], json(here.body));
    assert.deepEqual(await ask(edge, request), here, "Deno answers as axum does");
    assert.deepEqual(await ask(lambda, request), here, "Lambda answers as axum does");
  });
}

test("a repeated delivery is a duplicate, wherever it arrives", async () => {
  const headers = github("push", push);
  const ids = [];
  for (const base of [axum, edge, lambda, axum]) {
    const response = await fetch(`${base}/github-webhook`, { method: "POST", headers, body: push });
    ids.push([response.status, await response.json()]);
  }
  assert.deepEqual(ids.map(([status, { duplicate }]) => [status, duplicate]), [[202, false], [200, true], [200, true], [200, true]]);
  assert.equal(new Set(ids.map(([, { delivery }]) => delivery)).size, 1);
});

test("CORS allows browsers, and the request's id is kept", async () => {
  for (const base of [axum, edge, lambda]) {
    const options = await fetch(`${base}/send`, { method: "OPTIONS", headers: { origin: "https://example.com", "access-control-request-method": "POST" } });
    assert.equal(options.status, 200);
    assert.equal(options.headers.get("access-control-allow-origin"), "*");
    const response = await fetch(`${base}/send`, { method: "POST", headers: { "x-request-id": "mine-1" }, body: "{}" });
    assert.equal(response.headers.get("x-request-id"), "mine-1");
  }
});

test("the deployed files are under 20 MB for Lambda and under 1 MB gzipped for the edge", () => {
  assert.ok(statSync(process.env.LAMBDA_PROGRAM).size < 20_000_000);
  assert.ok(gzipSync(readFileSync(new URL("../../supabase/functions/_shared/hub_edge.wasm", import.meta.url))).length < 1_000_000);
});

// Cold: a process that answers nothing yet, and one connection to Postgres that is not there yet. Warm: the same process again.
test("each function answers from a cold start, and again", async () => {
  const calls = [
    ["koji-discord-bot", () => bearer(viewer), json({ channel_id: leads, command: "!stats" }), 200],
    ["github-webhook", () => github("push", push), push, 202],
    ["telegram-webhook", () => telegram("telegram-secret"), json({ update_id: 1, poll: {} }), 200],
    ["hooks-agent", () => bearer(`hubhook_${"0".repeat(64)}`), json({ message: "x", channel: `channel:${quick}` }), 401],
    ["send", () => bearer(operator), json({ channel: "koji-pipeline/leads", content: "!stats" }), 200],
    ["answer", () => ({}), json({ token: "0".repeat(64), answer: "allow" }), 401],
  ];
  for (const [name, headers, body, status] of calls) {
    const asked = () => fetch(`${process.env.COLD_URL}/functions/v1/${name}`, { method: "POST", headers: headers(), body });
    const first = asked();
    const begun = performance.now();
    const process_ = spawn(process.env.LAMBDA_PROGRAM, {
      env: { ...process.env, AWS_LAMBDA_RUNTIME_API: `${process.env.COLD_URL.replace(/\/lambda-url.*/, "")}/.rt` },
      stdio: "ignore",
    });
    try {
      assert.equal((await first).status, status);
      const cold = performance.now() - begun;
      assert.equal((await asked()).status, status);
      console.log(`# ${name}: ${cold.toFixed(0)} ms from nothing to the answer`);
    } finally {
      process_.kill();
      await once(process_, "exit");
    }
  }
});

test("a request continues the trace that it came with", async () => {
  const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
  const headers = { ...bearer(viewer), traceparent: `00-${trace}-00f067aa0ba902b7-01`, "x-request-id": "traced-1" };
  for (const base of [axum, lambda]) {
    const response = await fetch(`${base}/koji-discord-bot`, { method: "POST", headers, body: json({ channel_id: leads, command: "!stats" }) });
    assert.equal(response.status, 200);
  }
  // The exporter sends by itself; the collector answers when it has what was asked for, or not at all.
  const spans = await (await fetch(`${process.env.COLLECTOR_URL}/wait?trace=${trace}&services=hub,hub-functions`)).json();
  for (const service of ["hub", "hub-functions"]) {
    const ours = spans.filter((span) => span.service === service && span.traceId === trace);
    const request = ours.find((span) => span.parentSpanId === "00f067aa0ba902b7");
    assert.equal(request?.name, "request", json(ours));
    assert.equal(request.attributes["http.response.status_code"], "200");
    assert.ok(ours.some((span) => span.name === "hub_execute_command" && span.parentSpanId === request.spanId), json(ours));
    assert.ok(!json(ours).includes(viewer), "no token in a span");
  }
});
