// koji-discord-bot as one would write it in TypeScript for Deno: the same checks in the same order, the same call of the database in the caller's
// name, the same answer, a log line each. What `edge-koji` measures ours against; it runs nowhere else.
//   DATABASE_URL SUPABASE_JWT_SECRET PORT CONNECTIONS
import postgres from "postgres";

const sql = postgres(Deno.env.get("DATABASE_URL")!, { max: Number(Deno.env.get("CONNECTIONS")), onnotice: () => {} });
const encoder = new TextEncoder();
const decoder = new TextDecoder();
const secret = await crypto.subtle.importKey("raw", encoder.encode(Deno.env.get("SUPABASE_JWT_SECRET")), { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
const LIMIT = 64 * 1024;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

class Problem extends Error {
  constructor(readonly status: number, detail: string) {
    super(detail);
  }
}

const bytes = (text: string) => Uint8Array.fromBase64(text, { alphabet: "base64url" });

type Claims = { role: string; exp: number };

async function verified(header: string | null): Promise<Claims> {
  const parts = /^bearer (.+)$/i.exec(header ?? "")?.[1].trim().split(".") ?? [];
  if (parts.length !== 3) throw new Problem(401, "the header Authorization is not of the form `Bearer <token>`");
  let claims: Claims;
  try {
    const { alg } = JSON.parse(decoder.decode(bytes(parts[0])));
    const good = alg === "HS256" && (await crypto.subtle.verify("HMAC", secret, bytes(parts[2]), encoder.encode(`${parts[0]}.${parts[1]}`)));
    if (!good) throw new Error();
    claims = JSON.parse(decoder.decode(bytes(parts[1])));
  } catch {
    throw new Problem(401, "the token is not one of this project");
  }
  if (!(claims.exp > Date.now() / 1000)) throw new Problem(401, "the token has expired");
  if (!["anon", "authenticated", "service_role"].includes(claims.role)) throw new Problem(401, "the token says no role of this project");
  return claims;
}

const STATUS: Record<string, number> = { UH001: 400, "42501": 403, UH004: 404, UH003: 409 };

async function answered(request: Request): Promise<unknown> {
  if (request.method !== "POST") throw new Problem(405, "this function takes POST");
  if (!(request.headers.get("content-type") ?? "application/json").startsWith("application/json")) throw new Problem(415, "the body must be application/json");
  const claims = await verified(request.headers.get("authorization"));
  if (Number(request.headers.get("content-length") ?? 0) > LIMIT) throw new Problem(413, "the body is larger than 64 KB");
  const text = await request.text();
  if (text.length > LIMIT) throw new Problem(413, "the body is larger than 64 KB");
  let body: { channel_id?: unknown; command?: unknown };
  try {
    body = JSON.parse(text);
  } catch {
    throw new Problem(400, "the body is not JSON");
  }
  const { channel_id: channel, command } = body;
  if (typeof channel !== "string" || !UUID.test(channel)) throw new Problem(400, "channel_id is not a UUID");
  if (typeof command !== "string") throw new Problem(400, "command must be a string");
  try {
    const [row] = await sql`select hub_internal.execute_command_as(${sql.json(claims)}, ${channel}, ${command.replaceAll("\0", " ")}) as reply`;
    return row.reply;
  } catch (error) {
    const { code = "", message, detail } = error as { code?: string; message: string; detail?: string };
    const status = STATUS[code] ?? 500;
    throw new Problem(status, status === 500 ? "the hub could not do this; its log says why" : `${message}: ${detail}`);
  }
}

Deno.serve({ port: Number(Deno.env.get("PORT")), hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
  const begun = performance.now();
  const id = request.headers.get("x-request-id") ?? crypto.randomUUID();
  let status = 200;
  let type = "application/json";
  let body: unknown;
  try {
    body = await answered(request);
  } catch (error) {
    status = error instanceof Problem ? error.status : 500;
    type = "application/problem+json";
    body = { status, detail: error instanceof Problem ? error.message : "the hub could not do this; its log says why" };
  }
  console.info(JSON.stringify({ request_id: id, method: request.method, path: new URL(request.url).pathname, status, duration_ms: performance.now() - begun }));
  return new Response(JSON.stringify(body), { status, headers: { "content-type": type, "cache-control": "no-store", "x-request-id": id } });
});
