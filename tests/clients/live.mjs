// What tests of Realtime need: what arrives, waited for and never slept for; a network that can be cut; raw frames; tokens.
import { createClient } from "@supabase/supabase-js";
import assert from "node:assert/strict";
import { createHmac, randomUUID } from "node:crypto";
import net from "node:net";
import WebSocket from "ws";
import { anonKey, need, ok, service, signIn, url } from "./support.mjs";

/** For a machine that hangs; nothing is expected to take a fraction of it. */
export const PATIENCE = 30_000;

/** What arrived, in order. Waits for what is still to come. */
export class Inbox {
  constructor(name) {
    this.name = name;
    this.all = [];
    this.read = 0;
    this.waiting = new Set();
  }

  add(item) {
    this.all.push(item);
    for (const look of [...this.waiting]) look();
  }

  /** The first item, whenever it came, that passes. */
  find(passes, what = "what was waited for") {
    return new Promise((resolve, reject) => {
      let from = 0;
      const end = (settle, value) => {
        clearTimeout(timer);
        this.waiting.delete(look);
        settle(value);
      };
      const look = () => {
        for (; from < this.all.length; from++) {
          if (passes(this.all[from])) return end(resolve, this.all[from]);
        }
      };
      const timer = setTimeout(() => {
        const seen = this.all.slice(-20).map((item) => (JSON.stringify(item) ?? String(item)).slice(0, 300)).join("\n  ");
        end(reject, new Error(`${this.name}: ${what} did not come; ${this.all.length} came, at last\n  ${seen}`));
      }, PATIENCE);
      this.waiting.add(look);
      look();
    });
  }

  /** The next item that was not taken yet. */
  async next(what) {
    const at = this.read++;
    await this.find(() => this.all.length > at, what ?? `item ${at + 1}`);
    return this.all[at];
  }

  /** Waits until so many are there, and gives them all. */
  async atLeast(count) {
    if (count > 0) await this.find(() => this.all.length >= count, `${count} of them`);
    return this.all;
  }
}

/** A WebSocket for supabase-js that keeps what it was sent, before the client decides what to show. */
export function recorder(WebSocketClass = WebSocket) {
  const frames = new Inbox("frames");
  class Recorder extends WebSocketClass {
    constructor(...args) {
      super(...args);
      this.on("message", (data, binary) => frames.add(binary ? data.toString("latin1") : data.toString()));
    }
  }
  return { transport: Recorder, frames };
}

/** A wire to the stack that can be cut: nobody says goodbye, and nobody comes through until it is mended. */
export async function wire() {
  const { hostname, port } = new URL(url);
  const open = new Set();
  let cut = false;
  const proxy = net.createServer((near) => {
    if (cut) return near.destroy();
    const far = net.connect(Number(port), hostname);
    open.add(near);
    for (const [from, to] of [[near, far], [far, near]]) {
      from.on("error", () => to.destroy());
      from.on("close", () => (to.destroy(), open.delete(near)));
      from.pipe(to);
    }
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const here = `127.0.0.1:${proxy.address().port}`;
  class Wired extends WebSocket {
    constructor(address, ...rest) {
      const through = new URL(address);
      through.host = here;
      super(through.href, ...rest);
      this.on("error", () => {}); // supabase-js comes back by itself
    }
  }
  return {
    transport: Wired,
    cut: () => {
      cut = true;
      for (const socket of open) socket.destroy();
    },
    mend: () => (cut = false),
    close: () => proxy.close(),
  };
}

const clients = new Set();
const sockets = new Set();
/** Closes what the tests of a file opened. */
export async function hangUp() {
  for (const socket of sockets) socket.terminate();
  await Promise.all([...clients].map((client) => client.realtime.disconnect()));
}
const kept = (client) => (clients.add(client), client);

/** How supabase-js is set up here: it comes back at once. */
export const realtime = (more = {}) => ({ transport: WebSocket, reconnectAfterMs: () => 50, ...more });

/** Signed in, and Realtime knows it: without this the first join of an app has no token. */
export async function live(person, more = {}) {
  const client = kept(await signIn(person, { realtime: realtime(more) }));
  await client.realtime.setAuth();
  return client;
}

/** With a token that was made elsewhere. */
export async function liveWith(token, more = {}) {
  const headers = { Authorization: `Bearer ${token}` };
  const client = kept(createClient(url, anonKey, { auth: { persistSession: false, autoRefreshToken: false }, global: { headers }, realtime: realtime(more) }));
  await client.realtime.setAuth(token);
  return client;
}

/** Nobody. */
export const liveAnon = (more = {}) => kept(createClient(url, anonKey, { auth: { persistSession: false, autoRefreshToken: false }, realtime: realtime(more) }));

/** A person made by the admin's door, and signed in. */
export async function newPerson(name, more = {}) {
  const email = `${name}-${randomUUID()}@hub.local`;
  const password = randomUUID();
  const { user } = ok(await service().auth.admin.createUser({ email, password, email_confirm: true, user_metadata: { name } }));
  const client = kept(createClient(url, anonKey, { auth: { persistSession: false, autoRefreshToken: false }, realtime: realtime(more) }));
  ok(await client.auth.signInWithPassword({ email, password }));
  await client.realtime.setAuth();
  return Object.assign(client, { id: user.id, email, password });
}

/** A server for members only, with one channel, where the worker of `hub dev` works; nobody else sees it. */
export async function membersServer(members, { threaded = false, ...channelMore } = {}) {
  const admin = service();
  const name = `members-${randomUUID().slice(0, 8)}`;
  const architecture_type = threaded ? "threaded_task_isolation" : "flat_task_pipeline";
  const server = ok(await admin.from("hub_servers").insert({ name, display_name: name, architecture_type, access: "members" }).select().single());
  const path = "Desktop/homelab";
  ok(await admin.from("hub_projects").insert({ server_id: server.id, name: "homelab", path }));
  ok(await admin.from("mesh_device_servers").insert({ device: "dev", server_id: server.id }));
  const channel = ok(await admin.from("hub_channels")
    .insert({ server_id: server.id, name: `room-${name}`, display_name: "#room", project_path: path, ...channelMore }).select().single());
  for (const [person, role] of members) {
    ok(await admin.rpc("hub_set_member", { p_server_id: server.id, p_user_id: person.id, p_role: role }));
  }
  return { server, channel };
}

/**
 * Subscribes and keeps all that comes. `changes` are filters of Postgres Changes; `presence` listens to who is there.
 * `joined()` and `closed()` wait for the state; `flows()` for Postgres Changes to be really open.
 */
export function listen(db, topic, config = {}, { changes = [], presence = false } = {}) {
  const inbox = (what) => new Inbox(`${topic}: ${what}`);
  const [heard, states, system, present] = ["heard", "states", "system", "presence"].map(inbox);
  const channel = db.channel(topic, { config });
  channel.on("broadcast", { event: "*" }, (message) => heard.add(message));
  changes.forEach((filter) => channel.on("postgres_changes", filter, (change) => heard.add(change)));
  if (presence) for (const event of ["sync", "join", "leave"]) channel.on("presence", { event }, (more) => present.add({ ...more, event }));
  channel.on("system", {}, (message) => system.add(message));
  channel.subscribe((state, error) => states.add({ state, error: error?.message }));
  const state = (wanted) => () => states.find(({ state }) => state === wanted, wanted);
  return {
    channel, heard, states, system, present,
    joined: state("SUBSCRIBED"),
    closed: state("CLOSED"),
    refused: state("CHANNEL_ERROR"),
    flows: () => system.find((m) => m.extension === "postgres_changes" && m.status === "ok", "Subscribed to PostgreSQL"),
  };
}

/** A private channel, joined. */
export async function joined(db, topic, config = {}, more = {}) {
  const ear = listen(db, topic, config, more);
  const { state, error } = await ear.states.find(({ state }) => state !== "CLOSED", "the answer to the join");
  assert.equal(state, "SUBSCRIBED", `${topic}: ${error}`);
  if (more.changes?.length) await ear.flows();
  return ear;
}

/** `joined`, private. */
export const joinedPrivate = (db, topic, config = {}, more = {}) => joined(db, topic, { private: true, ...config }, more);

const base64 = (value) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

/** A token of these claims, signed with a key: the stack's own, if none is given. */
export function sign(claims, key = need("SUPABASE_JWT_SECRET"), header = { alg: "HS256", typ: "JWT" }) {
  const text = `${base64(header)}.${base64(claims)}`;
  return `${text}.${header.alg === "none" ? "" : createHmac("sha256", key).update(text).digest("base64url")}`;
}

export const claimsOf = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url"));
export const seconds = () => Math.floor(Date.now() / 1000);

/** A socket of ours that speaks the protocol by hand: what the server really sends. */
export async function rawSocket({ vsn = "2.0.0", apikey = anonKey, query } = {}) {
  const address = new URL("/realtime/v1/websocket", url.replace(/^http/, "ws"));
  for (const [name, value] of Object.entries(query ?? { apikey, vsn })) if (value !== undefined) address.searchParams.set(name, value);
  const socket = new WebSocket(address.href);
  sockets.add(socket);
  const frames = new Inbox("frames");
  const closed = new Inbox("close");
  socket.on("message", (data, binary) => frames.add(binary ? data : data.toString()));
  socket.on("close", (code, reason) => closed.add({ code, reason: reason.toString() }));
  socket.on("error", () => {});
  await new Promise((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("unexpected-response", (_, response) => {
      let body = "";
      response.on("data", (part) => (body += part)).on("end", () => reject(Object.assign(new Error(body), { status: response.statusCode, body })));
    });
    socket.once("error", reject);
  });
  const texts = (passes) => (frame) => typeof frame === "string" && passes(JSON.parse(frame));
  let refs = 0;
  const raw = {
    socket, frames, closed,
    send: (frame) => socket.send(typeof frame === "string" || Buffer.isBuffer(frame) ? frame : JSON.stringify(frame)),
    /** The reply to this reference. */
    reply: async (ref) => JSON.parse(await frames.find(texts((f) => f[1] === ref && f[3] === "phx_reply"), `the reply to ${ref}`)),
    event: async (topic, event, passes = () => true) => JSON.parse(await frames.find(texts((f) => f[2] === topic && f[3] === event && passes(f[4], f)), `${event} of ${topic}`)),
    /** Joins, and gives the payload of the reply. */
    join: async (topic, config = {}, more = {}, ref = `j${++refs}`) => {
      raw.send([ref, ref, topic, "phx_join", { config, ...more }]);
      return (await raw.reply(ref))[4];
    },
    /** The server has read all that was sent before, and everything it answered is here. */
    alive: async () => {
      const ref = `alive${++refs}`;
      raw.send([null, ref, "phoenix", "heartbeat", {}]);
      return raw.reply(ref);
    },
    close: () => socket.terminate(),
  };
  return raw;
}

/** The status and error of a handshake that must not succeed. */
export async function refusedHandshake(how) {
  const refusal = await rawSocket(how).then((raw) => (raw.close(), assert.fail("it was let in")), (error) => error);
  assert.ok(refusal.status, `no HTTP answer: ${refusal.message}`);
  return { status: refusal.status, ...JSON.parse(refusal.body) };
}
