// A stand-in of the management API: as much of it as `supabase link`, `functions deploy` and `secrets set` ask, keeping what they send.
// What it answers has the shape of api.supabase.com's OpenAPI document. Anything else is refused, so that a new request is noticed.
import { createServer } from "node:http";
import { once } from "node:events";

export const REF = "abcdefghijklmnopqrst";
export const TOKEN = `sbp_${"0123456789abcdef".repeat(3).slice(0, 40)}`;

const PROJECT = {
  id: REF,
  ref: REF,
  organization_id: "organization",
  organization_slug: "organization",
  name: "hub",
  region: "eu-central-1",
  created_at: "2026-11-20T00:00:00Z",
  status: "ACTIVE_HEALTHY",
  database: { host: `db.${REF}.supabase.co`, version: "17.4.1.1", postgres_engine: "17", release_channel: "ga" },
};
const POOLER = {
  identifier: REF,
  database_type: "PRIMARY",
  is_using_scram_auth: true,
  db_user: `postgres.${REF}`,
  db_host: "aws-0-eu-central-1.pooler.supabase.com",
  db_port: 6543,
  db_name: "postgres",
  connection_string: `postgresql://postgres.${REF}:[YOUR-PASSWORD]@aws-0-eu-central-1.pooler.supabase.com:6543/postgres`,
  connectionString: `postgresql://postgres.${REF}:[YOUR-PASSWORD]@aws-0-eu-central-1.pooler.supabase.com:6543/postgres`,
  default_pool_size: 15,
  max_client_conn: 200,
  pool_mode: "transaction",
};
const KEYS = ["anon", "service_role"].map((name) => ({ name, id: name, type: "legacy", api_key: `${name}-key` }));

/** Listens; in `kept`, `uploads` has, by slug, `{metadata, files: {path: Uint8Array}}`, and `deployed` what was activated. */
export async function management() {
  const kept = { uploads: {}, deployed: [], secrets: {}, refused: [], unauthorized: 0 };
  const server = createServer(async (request, response) => {
    const say = (status, body) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    const url = new URL(request.url, "http://stub");
    const body = Buffer.concat(await request.toArray());
    if (request.headers.authorization !== `Bearer ${TOKEN}`) {
      kept.unauthorized++;
      return say(401, { message: "Unauthorized" });
    }
    const path = url.pathname.replace(`/v1/projects/${REF}`, "");
    switch (`${request.method} ${path}`) {
      case "GET ":
        return say(200, PROJECT);
      case "GET /api-keys":
        return say(200, KEYS);
      case "GET /config/database/pooler":
        return say(200, [POOLER]);
      case "GET /config/storage":
        return say(200, { fileSizeLimit: 52428800, features: { imageTransformation: { enabled: false }, s3Protocol: { enabled: false } } });
      case "GET /functions":
        return say(200, kept.deployed);
      case "POST /functions/deploy": {
        const form = await new Response(body, { headers: { "content-type": request.headers["content-type"] } }).formData();
        const metadata = JSON.parse(await readText(form.get("metadata")));
        const files = {};
        for (const part of form.getAll("file")) files[part.name] = new Uint8Array(await part.arrayBuffer());
        const slug = url.searchParams.get("slug");
        kept.uploads[slug] = { metadata, files };
        return say(201, { ...activated(slug, metadata), created_at: Date.now(), updated_at: Date.now() });
      }
      case "PUT /functions":
        kept.deployed = JSON.parse(body);
        return say(200, { functions: kept.deployed });
      case "POST /secrets":
        for (const { name, value } of JSON.parse(body)) kept.secrets[name] = value;
        return response.writeHead(201).end();
      default:
        kept.refused.push(`${request.method} ${url.pathname}`);
        return say(404, { message: "not in this stand-in" });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { kept, url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

const readText = async (part) => (typeof part === "string" ? part : part.text());
const activated = (slug, { name, verify_jwt, entrypoint_path }) => ({ id: `id-${slug}`, slug, name, verify_jwt, entrypoint_path, status: "ACTIVE", version: 1 });
