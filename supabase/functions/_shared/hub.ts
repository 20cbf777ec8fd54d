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
  plan(asked: number, askedLength: number, body: number, bodyLength: number): bigint;
  answer(id: number, ok: number, said: number, saidLength: number): bigint;
};
type Answer = { status: number; content_type: string; body: string };
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
  "access-control-allow-headers": "authorization, x-client-info, apikey, content-type, x-request-id",
  "access-control-expose-headers": "x-request-id",
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

/** Serves one function. */
export async function handle(name: string, request: Request): Promise<Response> {
  if (request.method === "OPTIONS") return new Response("ok", { headers: CORS });
  const given = request.headers.get("x-request-id") ?? "";
  const id = /^[\w.-]{1,64}$/.test(given) ? given : crypto.randomUUID();
  const asked = {
    function: name,
    method: request.method,
    headers: Object.fromEntries(request.headers),
    now: Math.floor(Date.now() / 1000),
    secrets: Object.fromEntries(SECRETS.map((secret) => [secret, env(secret)])),
  };
  const planned = plan(encoder.encode(JSON.stringify(asked)), new Uint8Array(await request.arrayBuffer()));
  const { status, content_type, body } = planned.answer ?? (await ask(planned.call!));
  console.info(JSON.stringify({ request_id: id, function: name, method: request.method, status }));
  const headers: Record<string, string> = { ...CORS, "content-type": content_type, "cache-control": "no-store", "x-request-id": id };
  if (status === 503) headers["retry-after"] = "2";
  if (status === 401) headers["www-authenticate"] = "Bearer";
  return new Response(body, { status, headers });
}
