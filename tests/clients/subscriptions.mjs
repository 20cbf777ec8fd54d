// The document's subscriptions, as an app should make them. Each is an async iterator: leaving the loop unsubscribes.
//
// Messages: a conversation is numbered, so nothing is shown twice and a hole is seen. Each time the connection is made, the client asks
// hub_messages_since from the last number it showed; what arrives meanwhile waits its turn.
// Threads: a status and counts; the newest row is all there is to know, so what was missed is fetched as a whole.
import { isDeepStrictEqual } from "node:util";

/** An async iterator that is fed. */
function stream(close) {
  const values = [];
  let wake = () => {};
  let ended = false;
  const end = (error) => ((ended = error ?? true), wake());
  const iterator = {
    async next() {
      while (!values.length && !ended) await new Promise((resolve) => (wake = resolve));
      if (values.length) return { value: values.shift(), done: false };
      if (ended instanceof Error) throw ended;
      return { value: undefined, done: true };
    },
    async return() {
      end();
      await close();
      return { value: undefined, done: true };
    },
    [Symbol.asyncIterator]: () => iterator,
  };
  return { iterator, give: (value) => (values.push(value), wake()), end };
}

/** A time as a text that sorts: one writes zeros at the end of a fraction, another leaves them out, and Date knows no microseconds. */
const moment = (time) => {
  const [, seconds, fraction = ""] = /^([^.+Z]+)(?:\.(\d+))?/.exec(time);
  return `${seconds}.${fraction.padEnd(6, "0")}`;
};

const rows = ({ data, error }) => {
  if (error) throw Object.assign(new Error(error.message), error);
  return data;
};

export function subscriptions(db, by) {
  const open = new Map();

  /**
   * `event` gets each row or reference; `ready` is called each time that what is committed from now on will be heard; `lost` when it is
   * over. A topic has one channel in a client, however many listen to it.
   */
  function hear({ topic, name, table, filter }, listener) {
    const changes = by === "changes";
    const key = changes ? `${table}:${filter}` : topic;
    let shared = open.get(key);
    if (!shared) {
      const channel = db.channel(key, { config: { private: !changes } });
      open.set(key, (shared = { channel, listeners: new Set(), ready: false }));
      const all = (what, ...more) => shared.listeners.forEach((listener) => listener[what](...more));
      const ready = () => ((shared.ready = true), all("ready"));
      if (changes) {
        channel.on("postgres_changes", { event: "*", schema: "public", table, filter }, (change) => all("event", change.new));
        // SUBSCRIBED comes earlier than the changes do.
        channel.on("system", {}, (m) => m.extension === "postgres_changes" && (m.status === "ok" ? ready() : all("lost", new Error(m.message))));
      } else {
        channel.on("broadcast", { event: "*" }, ({ event, payload }) => all("event", payload, event));
      }
      channel.subscribe((state, error) => {
        if (state === "SUBSCRIBED") return changes || ready();
        shared.ready = false;
        // A refusal has a code of the server; a lost connection has none, and supabase-js comes back by itself.
        if (state === "CLOSED" || (state === "CHANNEL_ERROR" && /^[A-Z][A-Za-z]+: /.test(error?.message ?? ""))) all("lost", error);
      });
    }
    const mine = { ...listener, event: (row, event) => (changes || event === name) && listener.event(row) };
    shared.listeners.add(mine);
    if (shared.ready) mine.ready();
    return async () => {
      shared.listeners.delete(mine);
      if (shared.listeners.size || open.get(key) !== shared) return;
      open.delete(key);
      await db.removeChannel(shared.channel);
    };
  }

  /** One after the other, in the order they were asked for. */
  function inTurn(failed) {
    let last = Promise.resolve();
    return (work) => (last = last.then(work).catch(failed));
  }

  function messages(channelId, threadId, after) {
    let seen = after;
    const out = stream(() => leave());
    const turn = inTurn(out.end);
    const show = (message) => {
      seen = message.seq;
      out.give(message);
    };
    const catchUp = async () => {
      const args = { p_channel_id: channelId, p_thread_id: threadId };
      for (let page; (page = rows(await db.rpc("hub_messages_since", { ...args, p_after: seen }))).length; ) page.forEach(show);
    };
    const leave = hear(
      {
        topic: threadId ? `thread:${threadId}` : `channel:${channelId}`,
        name: "message",
        table: "hub_channel_messages",
        filter: threadId ? `task_thread_id=eq.${threadId}` : `channel_id=eq.${channelId},task_thread_id=is.null`,
      },
      {
        ready: () => turn(catchUp),
        event: (message) =>
          turn(async () => {
            if (message.seq <= seen) return;
            if (message.seq === seen + 1 && message.content !== undefined) show(message);
            else await catchUp(); // a hole, or only a reference
          }),
        lost: out.end,
      },
    );
    return out.iterator;
  }

  return {
    subscribeToChannelMessages: (channelId, after = 0) => messages(channelId, null, after),
    subscribeToThreadMessages: (channelId, threadId, after = 0) => messages(channelId, threadId, after),
    subscribeToTaskThreadUpdates: (channelId) => {
      const shown = new Map();
      const out = stream(() => leave());
      const turn = inTurn(out.end);
      const show = ({ seq, ...thread }) => {
        const known = shown.get(thread.id);
        // What was fetched may be ahead of what waited.
        const older = known && (thread.message_count < known.message_count || moment(thread.state_entered_at) < moment(known.state_entered_at));
        if (older || isDeepStrictEqual(thread, known)) return;
        shown.set(thread.id, thread);
        out.give(thread);
      };
      const catchUp = async () =>
        rows(await db.from("hub_task_threads").select("*").eq("channel_id", channelId).order("created_at")).forEach(show);
      const leave = hear(
        { topic: `channel:${channelId}`, name: "thread", table: "hub_task_threads", filter: `channel_id=eq.${channelId}` },
        {
          ready: () => turn(catchUp),
          event: (thread) => turn(async () => (thread.refetch || thread.truncated ? catchUp() : show(thread))),
          lost: out.end,
        },
      );
      return out.iterator;
    },
  };
}
