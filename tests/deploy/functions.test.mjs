// Linking, functions and secrets by the real Supabase CLI; then what was uploaded, alone in an empty folder, served by the real Deno.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHmac, createPrivateKey, generateKeyPairSync, randomBytes, randomUUID, sign } from "node:crypto";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { management, REF, TOKEN } from "./management.mjs";
import { denoProgram, file, fine, folder, need, project, query, supabase } from "./support.mjs";

const NAMES = ["answer", "github-webhook", "hooks-agent", "koji-discord-bot", "send", "telegram-webhook"];
const api = await management();
after(() => api.close());
const profile = await file("profile.yaml", `name: stub\napi_url: ${api.url}\ndashboard_url: ${api.url}\nproject_host: project.example\n`);
const here = await project();
const cli = (...args) => supabase(here, [...args, "--profile", profile, "--yes"], { SUPABASE_ACCESS_TOKEN: TOKEN });
const onlyNamed = ({ all }, allowed = []) =>
  assert.deepEqual(all.split("\n").filter((line) => /warn|deprecat|unknown|invalid/i.test(line) && !allowed.some((known) => known.test(line))), []);

test("supabase link finds the project", async () => {
  const done = await fine(cli("link", "--project-ref", REF));
  assert.equal(await readFile(join(here, "supabase/.temp/project-ref"), "utf8"), REF);
  onlyNamed(done);
});

function uploadsAreComplete() {
  const { uploads, deployed } = api.kept;
  assert.deepEqual(Object.keys(uploads).sort(), NAMES);
  assert.deepEqual(deployed.map(({ slug, verify_jwt, status }) => [slug, verify_jwt, status]).sort(), NAMES.map((name) => [name, false, "ACTIVE"]));
  for (const name of NAMES) {
    const { metadata, files } = uploads[name];
    assert.deepEqual(metadata, {
      name,
      entrypoint_path: `supabase/functions/${name}/index.ts`,
      import_map_path: "",
      static_patterns: ["supabase/functions/_shared/hub_edge.wasm"],
      verify_jwt: false,
    });
    assert.deepEqual(Object.keys(files).sort(), ["supabase/functions/_shared/hub.ts", "supabase/functions/_shared/hub_edge.wasm", `supabase/functions/${name}/index.ts`]);
  }
}

test("every function folder is listed in config.toml", async () => {
  const there = (await readdir(join(here, "supabase/functions"))).filter((name) => !name.startsWith("_")).sort();
  assert.deepEqual(there, NAMES);
  const config = await readFile(join(here, "supabase/config.toml"), "utf8");
  assert.deepEqual([...config.matchAll(/^\[functions\.([\w-]+)\]/gm)].map(([, name]) => name).sort(), NAMES);
});

// Without Docker the CLI says so and has the API bundle, as --use-api does from the beginning.
for (const more of [[], ["--use-api"]]) {
  test(`functions deploy ${more}`, async () => {
    api.kept.uploads = {};
    api.kept.deployed = [];
    const done = await fine(cli("functions", "deploy", ...more));
    onlyNamed(done, more.length ? [] : [/Docker is not running/]);
    uploadsAreComplete();
    for (const { files } of Object.values(api.kept.uploads)) {
      for (const [path, bytes] of Object.entries(files)) assert.ok(Buffer.from(bytes).equals(await readFile(join(here, path))), path);
    }
  });
}

test("functions deploy without the WebAssembly warns, naming the file that is missing", async () => {
  const bare = await project();
  await rm(join(bare, "supabase/functions/_shared/hub_edge.wasm"));
  const other = await management();
  const profile = await file("other.yaml", `name: other\napi_url: ${other.url}\ndashboard_url: ${other.url}\nproject_host: project.example\n`);
  const done = await supabase(bare, ["functions", "deploy", "--use-api", `--remote=${REF}`, "--profile", profile, "--yes"], { SUPABASE_ACCESS_TOKEN: TOKEN });
  other.close();
  assert.match(done.all, /no files matched pattern: .*hub_edge\.wasm/);
});

test("secrets set --env-file sends names and values, and prints no value", async () => {
  const wanted = { GITHUB_WEBHOOK_SECRET: randomBytes(32).toString("hex"), TELEGRAM_WEBHOOK_SECRET: randomBytes(32).toString("hex"), DISCORD_PUBLIC_KEY: randomBytes(32).toString("hex") };
  const secrets = await file("secrets.env", Object.entries(wanted).map(([name, value]) => `${name}=${value}\n`).join(""));
  const done = await fine(cli("secrets", "set", "--env-file", secrets));
  assert.deepEqual(api.kept.secrets, wanted);
  for (const value of Object.values(wanted)) assert.ok(!done.all.includes(value));
});

test("the CLI called only what the management API has, each time with the token", () => {
  assert.deepEqual(api.kept.refused, []);
  assert.equal(api.kept.unauthorized, 0);
});

// What was uploaded runs ---------------------------------------------------------------------------------------------------------

const GITHUB = "github-secret";
const TELEGRAM = "telegram-secret";
const discord = generateKeyPairSync("ed25519");
const environment = {
  SUPABASE_URL: need("SUPABASE_URL"),
  // As projects have them since 2025; tests/edge serves with the older names.
  SUPABASE_SECRET_KEYS: JSON.stringify({ default: need("SUPABASE_SERVICE_ROLE_KEY") }),
  SUPABASE_PUBLISHABLE_KEYS: JSON.stringify({ default: need("SUPABASE_ANON_KEY") }),
  GITHUB_WEBHOOK_SECRET: GITHUB,
  TELEGRAM_WEBHOOK_SECRET: TELEGRAM,
  DISCORD_PUBLIC_KEY: discord.publicKey.export({ type: "spki", format: "der" }).subarray(-32).toString("hex"),
};

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

const children = [];
after(() => children.forEach((child) => child.kill()));

/** Serves one upload alone: it may read nothing but its own folder, and fetch no code. */
async function serve(name) {
  const root = await folder(`uploaded/${name}`);
  for (const [path, bytes] of Object.entries(api.kept.uploads[name].files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), bytes);
  }
  const port = await freePort();
  const child = spawn(
    denoProgram,
    ["run", "--no-prompt", "--no-remote", "--no-npm", "--no-config", "--allow-net", "--allow-env", `--allow-read=${root}`, api.kept.uploads[name].metadata.entrypoint_path],
    { cwd: root, env: { PATH: process.env.PATH, HOME: root, NO_COLOR: "1", DENO_SERVE_ADDRESS: `tcp:127.0.0.1:${port}`, ...environment }, stdio: ["ignore", "pipe", "pipe"] },
  );
  children.push(child);
  let said = "";
  const ready = new Promise((resolve, reject) => {
    const hear = (data) => {
      said += data;
      if (/Listening on/.test(said)) resolve();
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
    child.on("exit", (code) => reject(new Error(`deno ended with ${code}: ${said}`)));
  });
  await ready;
  return { url: `http://127.0.0.1:${port}/${name}`, said: () => said };
}

const json = { "content-type": "application/json" };
const channel = async (name) => (await query(need("DATABASE_URL"), "select id from public.hub_channels where name = $1", [name]))[0].id;
const asked = {
  answer: async () => ({ headers: json, body: JSON.stringify({ token: "0".repeat(64), answer: "allow" }), status: 401 }),
  "github-webhook": async () => {
    const body = JSON.stringify({ zen: "Keep it logically awesome.", repository: { full_name: "a/b" } });
    const signature = createHmac("sha256", GITHUB).update(body).digest("hex");
    return { headers: { ...json, "x-github-event": "ping", "x-github-delivery": randomUUID(), "x-hub-signature-256": `sha256=${signature}` }, body, status: 202 };
  },
  "telegram-webhook": async () => ({ headers: { ...json, "x-telegram-bot-api-secret-token": TELEGRAM }, body: JSON.stringify({ update_id: 77, poll: {} }), status: 200 }),
  "koji-discord-bot": async () => {
    const [body, at] = [JSON.stringify({ id: "1", type: 1 }), String(Math.floor(Date.now() / 1000))];
    const key = createPrivateKey(discord.privateKey.export({ type: "pkcs8", format: "pem" }));
    return { headers: { ...json, "x-signature-timestamp": at, "x-signature-ed25519": sign(null, Buffer.from(at + body), key).toString("hex") }, body, status: 200, says: /"type":1/ };
  },
  "hooks-agent": async () => {
    const id = await channel("quick");
    const [{ made }] = await query(need("DATABASE_URL"), "select public.hub_create_hook_token('deploy-test', array['channel:' || $1::text]) as made", [id]);
    const { token } = made;
    return { headers: { ...json, authorization: `Bearer ${token}` }, body: JSON.stringify({ message: "deployed", channel: `channel:${id}` }), status: 200, says: /deployed/ };
  },
  send: async () => ({
    headers: { ...json, authorization: `Bearer ${need("HUB_OPERATOR_JWT")}` },
    body: JSON.stringify({ channel: "buf-barista/quick", content: "What is here?" }),
    status: 200,
    says: /"task":\{/,
  }),
};

for (const name of NAMES) {
  test(`the uploaded function ${name} runs alone`, async () => {
    const served = await serve(name);
    const get = await fetch(served.url);
    assert.deepEqual([get.status, get.headers.get("content-type")], [405, "application/problem+json"]);
    const unsigned = await fetch(served.url, { method: "POST", headers: json, body: JSON.stringify({ channel: "buf-barista/quick", content: "x", update_id: 1 }) });
    // Whoever answers shows a token in the body.
    assert.equal(unsigned.status, name === "answer" ? 400 : 401, await unsigned.text());
    const { status, says = /./, ...request } = await asked[name]();
    const answer = await fetch(served.url, { method: "POST", ...request });
    const text = await answer.text();
    assert.equal(answer.status, status, `${text}\n${served.said()}`);
    assert.match(text, says);
  });
}
