// What an app does with the generated types; it is type-checked and not run.
import { createClient } from "@supabase/supabase-js";
import type { Database, Tables } from "../../supabase/types/database.ts";

const db = createClient<Database>("https://project.example", "key");

export async function ask(text: string): Promise<Tables<"hub_channel_messages">[]> {
  const { data: channel, error } = await db.from("hub_channels").select("id, name, message_count").eq("name", "quick").single();
  if (error) throw error;
  const before: number = channel.message_count;
  const sent = await db.rpc("hub_send", { p_channel_id: channel.id, p_content: text, p_idempotency_key: crypto.randomUUID() });
  if (sent.error) throw sent.error;
  // @ts-expect-error the argument is called p_channel_id
  await db.rpc("hub_send", { p_channel: channel.id, p_content: text });
  // @ts-expect-error there is no such function
  await db.rpc("hub_shout", {});
  const { data: messages } = await db.rpc("hub_messages_since", { p_channel_id: channel.id, p_after: before });
  return messages ?? [];
}

export async function follow(id: string): Promise<string | null> {
  const { data: task } = await db.from("mac_tasks").select("status, attempt, result").eq("id", id).maybeSingle();
  const { data: why } = await db.rpc("hub_explain_task", { p_task_id: id });
  const reasons: string[] = (why ?? []).map((row) => row.reason);
  // @ts-expect-error a task has no such column
  task?.outcome;
  return task?.result ?? reasons.join(", ");
}
