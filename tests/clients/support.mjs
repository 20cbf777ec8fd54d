// What every test of this folder needs: a client for each person of `hub dev`, and the document's ServerClient.
import { createClient } from "@supabase/supabase-js";
import { subscriptions } from "./subscriptions.mjs";
import WebSocket from "ws"; // Node 20 has none of its own
import { setTimeout as sleep } from "node:timers/promises";

export const need = (name) => process.env[name] ?? assertFail(name);
function assertFail(name) {
  throw new Error(`${name} is not set: run ./run`);
}

export const url = need("SUPABASE_URL");
export const anonKey = need("SUPABASE_ANON_KEY");
const quiet = { auth: { persistSession: false, autoRefreshToken: false }, realtime: { transport: WebSocket } };

export const anon = () => createClient(url, anonKey, quiet);
export const service = () => createClient(url, need("SUPABASE_SERVICE_ROLE_KEY"), quiet);
export const withToken = (variable) =>
  createClient(url, anonKey, { ...quiet, global: { headers: { Authorization: `Bearer ${need(variable)}` } } });

/** Signs a person in with their password, as an app does. */
export async function signIn(person, options = {}) {
  const client = createClient(url, anonKey, { ...quiet, ...options });
  const { error } = await client.auth.signInWithPassword({
    email: need(`HUB_${person}_EMAIL`),
    password: need(`HUB_${person}_PASSWORD`),
  });
  if (error) throw error;
  return client;
}

/** The rows, or the error thrown. */
export function ok({ data, error }) {
  if (error) throw Object.assign(new Error(error.message), error);
  return data;
}

/** The document's ServerClient, method by method. `by`: how it hears, by private "broadcast" or by Postgres "changes". */
export const serverClient = (db, by = "broadcast") => ({
  ...subscriptions(db, by),
  fetchServers: async () => ok(await db.from("hub_servers").select("*").order("name")),
  fetchChannels: async (serverId) => ok(await db.from("hub_channels").select("*").eq("server_id", serverId).order("name")),
  fetchChannelMessages: async (channelId, limit, before) => {
    let query = db.from("hub_channel_messages").select("*").eq("channel_id", channelId).is("task_thread_id", null);
    if (before) query = query.lt("created_at", before);
    return ok(await query.order("created_at", { ascending: false }).limit(limit));
  },
  executeCommand: async (channelId, command) =>
    ok(await db.rpc("hub_execute_command", { p_channel_id: channelId, p_command: command })),
  postChannelMessage: async (message) => ok(await db.from("hub_channel_messages").insert(message).select().single()),
  createMACTask: async (task) => ok(await db.from("mac_tasks").insert(task).select().single()),
  pollTaskProgress: async function* (taskId) {
    let last;
    for (;;) {
      const task = ok(await db.from("mac_tasks").select("*").eq("id", taskId).single());
      if (task.partial_output && task.partial_output !== last) yield (last = task.partial_output);
      if (["complete", "failed", "cancelled"].includes(task.status)) return task;
      await sleep(100);
    }
  },
  fetchTaskThreads: async (channelId) =>
    ok(await db.from("hub_task_threads").select("*").eq("channel_id", channelId).order("created_at", { ascending: false })),
  createTaskThread: async (channelId, taskId) =>
    ok(await db.rpc("hub_create_task_thread", { p_channel_id: channelId, p_task_id: taskId })),
  updateThreadStatus: async (threadId, status) =>
    ok(await db.rpc("hub_update_thread_status", { p_thread_id: threadId, p_status: status })),
  fetchThreadMessages: async (threadId, limit) =>
    ok(await db.from("hub_channel_messages").select("*").eq("task_thread_id", threadId).order("seq").limit(limit)),
});

/** The channel of that name; names are unique over the seeded servers. */
export async function channelNamed(db, name) {
  return ok(await db.from("hub_channels").select("*").eq("name", name).single());
}

/** Drains pollTaskProgress: the notes seen, and the task as it ended. */
export async function watch(client, taskId) {
  const notes = [];
  const poll = client.pollTaskProgress(taskId);
  for (;;) {
    const { value, done } = await poll.next();
    if (done) return { notes, task: value };
    notes.push(value);
  }
}
