// How the tables of this folder are read and asked: README.md.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import http from "node:http";
import { anonKey, need, url } from "../support.mjs";

export const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const HEADER = /^([A-Za-z][A-Za-z-]*): (.*)$/;

/** The sections of a table. */
export function sections(table) {
  return table.split(/^## /m).slice(1).map((section) => {
    const [head, ...cases] = section.trimEnd().split(/\n\n+/);
    const [title, ...lines] = head.split("\n");
    const after = (mark) => lines.filter((line) => line.startsWith(mark)).map((line) => line.slice(2));
    return { title, page: after("@ ")[0], settings: after("! "), cases: cases.map(request) };
  });
}

function request(paragraph) {
  const lines = paragraph.split("\n").filter((line) => !line.startsWith("#"));
  const [method, target] = lines[0].split(/ (.*)/);
  const one = { name: lines[0], method, target, headers: {}, body: [], status: 0, expected: [], answer: [], exact: false };
  for (const line of lines.slice(1)) {
    if (!one.status && /^\d{3}$/.test(line)) one.status = Number(line);
    else if (!one.status && line.startsWith("> ")) one.body.push(line.slice(2));
    else if (!one.status) one.headers[line.match(HEADER)[1]] = line.match(HEADER)[2];
    else if (line.startsWith("| ")) (one.exact = true), one.answer.push(line.slice(2));
    else if (!one.answer.length && HEADER.test(line)) one.expected.push(line.match(HEADER).slice(1));
    else one.answer.push(line);
  }
  assert.ok(one.status, `no status: ${paragraph}`);
  return one;
}

const base64url = (value) => Buffer.from(value).toString("base64url");
export function token(role, times = "") {
  const now = Math.floor(Date.now() / 1000);
  const claims = { role, exp: now + 3600 };
  for (const [, name, seconds] of times.matchAll(/(\w+)=(-?\d+)/g)) claims[name] = now + Number(seconds);
  const signed = `${base64url('{"alg":"HS256","typ":"JWT"}')}.${base64url(JSON.stringify(claims))}`;
  return `${signed}.${createHmac("sha256", need("SUPABASE_JWT_SECRET")).update(signed).digest("base64url")}`;
}

const keys = {
  service: () => ({ apikey: need("SUPABASE_SERVICE_ROLE_KEY") }),
  operator: () => ({ apikey: anonKey, Authorization: `Bearer ${need("HUB_OPERATOR_JWT")}` }),
  viewer: () => ({ apikey: anonKey, Authorization: `Bearer ${need("HUB_VIEWER_JWT")}` }),
};

/** Sends it with node:http: fetch has no TRACE and sets headers of its own. */
export function ask({ method, target, headers, body }) {
  const { As, ...others } = headers;
  if (others.Authorization) others.Authorization = others.Authorization.replace(/<(\w+)([^>]*)>/, (_, role, times) => token(role, times));
  const sent = { ...(As ? keys[As]() : { apikey: anonKey }), ...others };
  if (body.length && !sent["Content-Type"]) sent["Content-Type"] = "application/json";
  const bytes = Buffer.from(body.join("\n"));
  if (body.length || ["POST", "PATCH", "PUT"].includes(method)) sent["Content-Length"] = bytes.length;
  const { hostname, port } = new URL(url);
  const path = `/rest/v1${encodeURI(target).replaceAll("%25", "%").replaceAll("#", "%23")}`;
  return new Promise((resolve, reject) => {
    const going = http.request({ agent, hostname, port, method, path, headers: sent }, (answer) => {
      let said = "";
      answer.setEncoding("utf8");
      answer.on("data", (chunk) => (said += chunk));
      answer.on("end", () => resolve({ status: answer.statusCode, headers: answer.headers, body: said }));
      answer.on("error", reject);
    });
    going.on("error", reject);
    going.end(body.length ? bytes : undefined);
  });
}

/** The value with "…" where the expected one has it. */
function alike(value, expected) {
  if (expected === "…") return "…";
  if (Array.isArray(expected) && Array.isArray(value)) return value.map((item, i) => alike(item, expected[i]));
  if (expected && value && typeof expected === "object" && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, alike(item, expected[key])]));
  }
  return value;
}

export function judge(one, got) {
  const said = `${got.status} ${got.body.slice(0, 2000)}`;
  assert.equal(got.status, one.status, said);
  for (const [name, wanted] of one.expected) {
    const value = got.headers[name.toLowerCase()];
    if (wanted === "-") assert.equal(value, undefined, name);
    else if (/^\/.*\/$/.test(wanted)) assert.match(value ?? "", new RegExp(wanted.slice(1, -1)), name);
    else assert.equal(value, wanted, `${name}; ${said}`);
  }
  if (one.exact) return assert.equal(got.body.trimEnd(), one.answer.join("\n"));
  const answer = one.answer.join("\n");
  if (answer === "...") return undefined;
  if (!answer) return assert.equal(got.body, "");
  const expected = JSON.parse(answer);
  let value;
  try {
    value = JSON.parse(got.body);
  } catch {
    assert.fail(`no JSON: ${said}`);
  }
  assert.deepEqual(alike(value, expected), expected);
}
