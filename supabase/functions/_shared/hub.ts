// The functions are Rust (functions/edge), compiled to WebAssembly: what a request means, whether its signature is good, which one
// function of the database it comes to, and what the answer is. Here are only the two things it can not do: listen, and reach the
// database, through PostgREST with the caller's token or the service key.
//
//   cargo build --release --target wasm32-unknown-unknown --manifest-path functions/edge/wasm/Cargo.toml
//   cp functions/edge/wasm/target/wasm32-unknown-unknown/release/hub_edge.wasm supabase/functions/_shared/

type Exports = {
  memory: WebAssembly.Memory;
  take(length: number): number;
  give(pointer: number, length: number): void;
  look(asked: number, askedLength: number): bigint;
  plan(asked: number, askedLength: number, body: number, bodyLength: number): bigint;
  answer(id: number, ok: number, said: number, saidLength: number): bigint;
};
type Answer = { status: number; content_type: string; body: string; retry_after?: number | null };
type Call = { id: number; function: string; arguments: string; bearer: string | null };

const file = await Deno.readFile(new URL("./hub_edge.wasm", import.meta.url));
const rust = (await WebAssembly.instantiate(file, {})).instance.exports as Exports;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

// Memory may grow with each call: a view of it is good until the next one.
function put(bytes: Uint8Array): number {
  const pointer = rust.take(bytes.length);
  new Uint8Array(rust.memory.buffer, pointer, bytes.length).set(bytes);
  return pointer;
}

function get<T>(returned: bigint): T {
  const packed = BigInt.asUintN(64, returned);
  const pointer = Number(packed >> 32n);
  const length = Number(packed & 0xffffffffn);
  const text = decoder.decode(new Uint8Array(rust.memory.buffer, pointer, length));
  rust.give(pointer, length);
  return JSON.parse(text);
}

function look(asked: Uint8Array): { answer?: Answer; limit?: number } {
  const a = put(asked);
  try {
    return get(rust.look(a, asked.length));
  } finally {
    rust.give(a, asked.length);
  }
}

function plan(asked: Uint8Array, body: Uint8Array): { answer?: Answer; call?: Call } {
  const [a, b] = [put(asked), put(body)];
  try {
    return get(rust.plan(a, asked.length, b, body.length));
  } finally {
    rust.give(a, asked.length);
    rust.give(b, body.length);
  }
}

function answer(id: number, ok: boolean, text: string): Answer {
  const said = encoder.encode(text);
  const pointer = put(said);
  try {
    return get(rust.answer(id, ok ? 1 : 0, pointer, said.length));
  } finally {
    rust.give(pointer, said.length);
  }
}

const env = (name: string) => Deno.env.get(name) ?? "";
const SECRETS = ["GITHUB_WEBHOOK_SECRET", "DISCORD_PUBLIC_KEY", "TELEGRAM_WEBHOOK_SECRET"];
const CORS = {
  "access-control-allow-origin": "*",
  "access-control-allow-headers": "authorization, x-client-info, apikey, content-type, x-request-id, traceparent",
  "access-control-expose-headers": "x-request-id, retry-after",
};

// A project's newer keys come as a JSON object of names; its older ones may be switched off.
function key(newer: string, older: string): string {
  const keys = env(newer);
  if (keys === "") return env(older);
  const named: Record<string, string> = JSON.parse(keys);
  return named.default ?? Object.values(named)[0] ?? env(older);
}
const SERVICE_KEY = key("SUPABASE_SECRET_KEYS", "SUPABASE_SERVICE_ROLE_KEY");
const PUBLIC_KEY = key("SUPABASE_PUBLISHABLE_KEYS", "SUPABASE_ANON_KEY");

async function ask(call: Call): Promise<Answer> {
  const key = call.bearer === null ? SERVICE_KEY : PUBLIC_KEY;
  try {
    const response = await fetch(`${env("SUPABASE_URL")}/rest/v1/rpc/${call.function}`, {
      method: "POST",
      headers: { apikey: key, authorization: `Bearer ${call.bearer ?? key}`, "content-type": "application/json" },
      body: call.arguments,
      signal: AbortSignal.timeout(10_000),
    });
    const text = await response.text();
    if (response.status >= 500) console.error(`${call.function} answered ${response.status}`);
    return answer(call.id, response.ok, text);
  } catch (error) {
    // The name says what kind of fault it is, and nothing of what was asked.
    console.error(`${call.function} was not reached: ${(error as Error).name}`);
    return answer(call.id, false, '{"code":"08006"}');
  }
}

const BODY_WITHIN_MS = 10_000;
const problem = (status: number, title: string, detail: string): Answer => ({
  status,
  content_type: "application/problem+json",
  body: JSON.stringify({ status, title, detail }),
});

// One byte more than the limit tells the functions that it is too large; the rest is not kept, and who sends too slowly is told so.
async function read(request: Request, limit: number): Promise<Uint8Array | Answer> {
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = request.body?.getReader();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    reader?.cancel();
  }, BODY_WITHIN_MS);
  try {
    for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
      if (length <= limit) parts.push(part.value.subarray(0, limit + 1 - length));
      length += part.value.length;
    }
  } catch {
    return problem(400, "Bad Request", "the body ended before its end");
  } finally {
    clearTimeout(timer);
  }
  if (late) return problem(408, "Request Timeout", `the body did not arrive within ${BODY_WITHIN_MS / 1000} s`);
  const body = new Uint8Array(Math.min(length, limit + 1));
  let at = 0;
  for (const part of parts) {
    body.set(part, at);
    at += part.length;
  }
  return body;
}

async function answered(asked: Uint8Array, request: Request): Promise<Answer> {
  const looked = look(asked);
  if (looked.answer) {
    // Who was refused may still be sending, and reads the answer only when it is done.
    await read(request, 0);
    return looked.answer;
  }
  const body = await read(request, looked.limit!);
  if (!(body instanceof Uint8Array)) return body;
  const planned = plan(asked, body);
  return planned.answer ?? (await ask(planned.call!));
}

// What stands behind the function's name in the address, and the secret that it names: …/github-webhook/acme.
function named(name: string, request: Request): { name?: string; secrets: string[] } {
  const [before, last] = new URL(request.url).pathname.split("/").slice(-2);
  if (name !== "github-webhook" || before !== name || last === "") return { secrets: SECRETS };
  return { name: last, secrets: [...SECRETS, `HUB_GITHUB_WEBHOOK_SECRET_${last.replaceAll("-", "_").toUpperCase()}`] };
}

/** Serves one function. */
export async function handle(name: string, request: Request): Promise<Response> {
  if (request.method === "OPTIONS") return new Response("ok", { headers: CORS });
  const given = request.headers.get("x-request-id") ?? "";
  const id = /^[\w.-]{1,64}$/.test(given) ? given : crypto.randomUUID();
  const { name: part, secrets } = named(name, request);
  const asked = {
    function: name,
    name: part,
    method: request.method,
    headers: Object.fromEntries(request.headers),
    now: Math.floor(Date.now() / 1000),
    secrets: Object.fromEntries(secrets.map((secret) => [secret, env(secret)])),
  };
  const { status, content_type, body, retry_after } = await answered(encoder.encode(JSON.stringify(asked)), request);
  console.info(JSON.stringify({ request_id: id, function: name, method: request.method, status }));
  const headers: Record<string, string> = { ...CORS, "content-type": content_type, "cache-control": "no-store", "x-request-id": id };
  if (retry_after != null || status === 503) headers["retry-after"] = String(retry_after ?? 2);
  if (status === 405) headers.allow = "POST";
  if (status === 401) headers["www-authenticate"] = "Bearer";
  return new Response(body, { status, headers });
}
