//! Rows and answers of the contract. Read generously: fields we do not know are ignored, since a hub may be newer than its
//! programs; the same types read Postgres' `to_jsonb` and PostgREST's answers.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;
use uuid::Uuid;

/// Postgres writes `infinity` and `-infinity` where a time has no end or no beginning.
pub(crate) fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    match text.as_str() {
        "infinity" => Ok(Some(DateTime::<Utc>::MAX_UTC)),
        "-infinity" => Ok(Some(DateTime::<Utc>::MIN_UTC)),
        text => DateTime::parse_from_rfc3339(text).map(|time| Some(time.to_utc())).map_err(serde::de::Error::custom),
    }
}

/// Null where a list is meant is an empty list.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Null where a number is meant is none.
fn or_nothing<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A row of `mac_tasks`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// Its id; people see the first four hex digits.
    pub id: Uuid,
    /// The prompt.
    pub content: String,
    /// Where it runs, below the machine's projects root.
    #[serde(default)]
    pub project: Option<String>,
    /// `pending`, `running`, `waiting`, `blocked`, `complete`, `failed` or `cancelled`.
    pub status: String,
    /// `claude`, `codex`, `gemini` or `any`.
    #[serde(default)]
    pub model_preference: Option<String>,
    /// Whether somebody asked for that model: then it waits for it, and no other takes its place.
    #[serde(default)]
    pub model_pinned: bool,
    /// The model that ran it, once known.
    #[serde(default)]
    pub model: Option<String>,
    /// Who runs it.
    #[serde(default)]
    pub agent: Option<String>,
    /// `code`, `fix`, `research` and so on.
    #[serde(default)]
    pub task_type: Option<String>,
    /// `any`, `macos`, `linux` or `windows`.
    #[serde(default)]
    pub platform: Option<String>,
    /// 0 to 9, 9 is most urgent.
    #[serde(default)]
    pub priority: Option<i32>,
    /// The device that has it.
    #[serde(default)]
    pub claimed_by: Option<String>,
    /// The fence: a write with any but the live attempt changes nothing.
    #[serde(default)]
    pub attempt: i32,
    /// How often it is tried.
    #[serde(default)]
    pub max_attempts: Option<i32>,
    /// Until when the device must be heard of again.
    #[serde(default, deserialize_with = "moment")]
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// Not before this.
    #[serde(default, deserialize_with = "moment")]
    pub run_after: Option<DateTime<Utc>>,
    /// The newest progress note.
    #[serde(default)]
    pub partial_output: Option<String>,
    /// How it ended well.
    #[serde(default)]
    pub result: Option<String>,
    /// How it ended badly, or why it is tried again.
    #[serde(default)]
    pub error: Option<String>,
    /// The channel it came from.
    #[serde(default)]
    pub channel_id: Option<Uuid>,
    /// Its thread.
    #[serde(default)]
    pub thread_id: Option<Uuid>,
    /// The message it came from.
    #[serde(default)]
    pub message_id: Option<Uuid>,
    /// The task it waits for, or follows.
    #[serde(default)]
    pub parent_id: Option<Uuid>,
    /// The task that its line of work began with; none: it begins one.
    #[serde(default)]
    pub root_id: Option<Uuid>,
    /// The agent's session, to go on with.
    #[serde(default)]
    pub session_id: Option<String>,
    /// The device that has the session.
    #[serde(default)]
    pub session_device: Option<String>,
    /// Since when it is to be cancelled.
    #[serde(default, deserialize_with = "moment")]
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// A flat map of strings.
    #[serde(default)]
    pub metadata: Option<BTreeMap<String, String>>,
    /// Who made it.
    #[serde(default)]
    pub created_by: Option<Uuid>,
    /// When it was made.
    #[serde(default, deserialize_with = "moment")]
    pub created_at: Option<DateTime<Utc>>,
    /// When the live attempt began.
    #[serde(default, deserialize_with = "moment")]
    pub claimed_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(default, deserialize_with = "moment")]
    pub finished_at: Option<DateTime<Utc>>,
}

impl Task {
    /// The first four hex digits, as conversations name it.
    #[must_use]
    pub fn short(&self) -> String {
        self.id.simple().to_string().chars().take(4).collect()
    }

    /// Whether it has ended. A failed or cancelled task may be queued again, by request only.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self.status.as_str(), "complete" | "failed" | "cancelled")
    }
}

/// A row of `hub_task_attempts`: how one attempt went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The task.
    pub task_id: Uuid,
    /// Which attempt.
    pub attempt: i32,
    /// The device.
    #[serde(default)]
    pub device: Option<String>,
    /// The agent.
    #[serde(default)]
    pub agent: Option<String>,
    /// When it began.
    #[serde(default, deserialize_with = "moment")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(default, deserialize_with = "moment")]
    pub finished_at: Option<DateTime<Utc>>,
    /// `complete`, `failed`, `limited` (its account was at a limit), `parked`, `cancelled` or `lost`; none while it runs.
    #[serde(default)]
    pub outcome: Option<String>,
    /// The model that the task was for, where that was at its limit everywhere and another ran it.
    #[serde(default)]
    pub fallback_from: Option<String>,
    /// Why it did not end well.
    #[serde(default)]
    pub error: Option<String>,
    /// The program's exit code.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// What it cost.
    #[serde(default)]
    pub cost_usd: Option<f64>,
    /// The model that ran it.
    #[serde(default)]
    pub model: Option<String>,
    /// The agent's session.
    #[serde(default)]
    pub session_id: Option<String>,
    /// Why it ended, as [`EndReason`] has it, or what a later hub calls it; none while it runs.
    #[serde(default)]
    pub reason: Option<String>,
    /// The signal that ended the program.
    #[serde(default)]
    pub signal: Option<i32>,
    /// The last lines of its standard error.
    #[serde(default)]
    pub stderr: Option<String>,
    /// How much it wrote.
    #[serde(default)]
    pub output_bytes: Option<u64>,
    /// The most memory that it and what it started held at once.
    #[serde(default)]
    pub peak_memory_bytes: Option<u64>,
    /// When its program began, by the device's clock.
    #[serde(default, deserialize_with = "moment")]
    pub agent_started_at: Option<DateTime<Utc>>,
    /// When its program ended, by the device's clock.
    #[serde(default, deserialize_with = "moment")]
    pub agent_ended_at: Option<DateTime<Utc>>,
    /// Tokens read.
    #[serde(default)]
    pub tokens_in: Option<u64>,
    /// Tokens written.
    #[serde(default)]
    pub tokens_out: Option<u64>,
    /// Of those it read, how many it had read before.
    #[serde(default)]
    pub tokens_cached: Option<u64>,
    /// How often the model was asked.
    #[serde(default)]
    pub turns: Option<u32>,
    /// How often it used a tool.
    #[serde(default)]
    pub tool_calls: Option<u32>,
    /// Whether nobody is billed what it cost.
    #[serde(default)]
    pub cost_notional: Option<bool>,
    /// The edition of the prices that it was reckoned by. None: by none.
    #[serde(default)]
    pub price_version: Option<String>,
    /// The version of its program.
    #[serde(default)]
    pub agent_version: Option<String>,
    /// The limit that it met, or was told of.
    #[serde(default, deserialize_with = "moment")]
    pub limited_until: Option<DateTime<Utc>>,
    /// How that is known: `structured`, `text` or `guess`.
    #[serde(default)]
    pub limit_source: Option<String>,
    /// What it left behind, and whether that was verified: a [`Receipt`], or what another program made of it.
    #[serde(default)]
    pub receipt: Option<Value>,
}

/// What a device offers: an agent, and the model preferences it takes (`any` stands for all).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentOffer {
    /// The agent's name.
    pub agent: String,
    /// The preferences it takes.
    #[serde(default, deserialize_with = "list")]
    pub models: Vec<String>,
    /// How much memory must be free for it to be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The name of the login it uses, never its secret: a limit of it holds on all machines of the same servers that use it. Only
    /// told, never read back. None: a login of this machine alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Which program it is, without its folder: agents of one program and one account have one login. Only told. None: one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The share of each window of its account that is kept for people, 0 to 0.95. Only told; the most that any machine of the account
    /// says holds. None: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve: Option<f64>,
}

/// What keeps an agent of a device from getting tasks, of `hub_agent_stops`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStop {
    /// The device.
    pub device: String,
    /// The agent.
    pub agent: String,
    /// The model it is about; none: all that it runs.
    #[serde(default)]
    pub model: Option<String>,
    /// `limit` or `login`.
    pub reason: String,
    /// Since when.
    #[serde(default, deserialize_with = "moment")]
    pub since: Option<DateTime<Utc>>,
    /// Until when; none for a login, which somebody has to mend.
    #[serde(default, deserialize_with = "moment")]
    pub until: Option<DateTime<Utc>>,
    /// How a limit is known: `structured`, `text` or `guess`.
    #[serde(default)]
    pub source: Option<String>,
    /// What the limit counts: `five_hour`, `seven_day`, `day` or `minute`.
    #[serde(default)]
    pub window_name: Option<String>,
    /// What the agent said.
    #[serde(default)]
    pub detail: Option<String>,
}

/// What agents of an account draw from, of `hub_limits`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuotaPool {
    /// The account; `device:` and a name is the login of that machine, which did not say whose it is.
    pub account: String,
    /// The program: all agents of the account that are it share the pool.
    pub agent: String,
    /// The model it is of; none: all that it runs.
    #[serde(default)]
    pub model: Option<String>,
    /// What it counts; none: not known.
    #[serde(default)]
    pub window_name: Option<LimitWindow>,
    /// The share that is used, 0 to 1, of a window that has not begun anew since; none: not known.
    #[serde(default)]
    pub used_share: Option<f64>,
    /// Until when it is at its limit; none: it is not.
    #[serde(default, deserialize_with = "moment")]
    pub limited_until: Option<DateTime<Utc>>,
    /// Whether that limit is a reserve: what is left is kept for people.
    #[serde(default)]
    pub kept: bool,
    /// When its window begins anew; none: not known.
    #[serde(default, deserialize_with = "moment")]
    pub resets_at: Option<DateTime<Utc>>,
    /// How the limit is known; none: there is none.
    #[serde(default)]
    pub source: Option<LimitSource>,
    /// What the agent said of the limit.
    #[serde(default)]
    pub reason: Option<String>,
    /// When it was last told of.
    #[serde(default, deserialize_with = "moment")]
    pub reported_at: Option<DateTime<Utc>>,
    /// The devices that draw from it, of those that the caller is told of.
    #[serde(default, deserialize_with = "list")]
    pub devices: Vec<String>,
}

/// The answer to who wants to refresh a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginLease {
    /// Whether the caller may; else another does.
    pub granted: bool,
    /// Until when whoever may, may.
    pub until: DateTime<Utc>,
}

/// A row of `mesh_devices`; `servers`, `running` and `stops` only where a list was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// `macos`, `linux` or `windows`; none until it registered.
    #[serde(default)]
    pub platform: Option<String>,
    /// Labels.
    #[serde(default, deserialize_with = "list")]
    pub labels: Vec<String>,
    /// How many tasks at once.
    #[serde(default)]
    pub capacity: i32,
    /// What it offers.
    #[serde(default, deserialize_with = "list")]
    pub agents: Vec<AgentOffer>,
    /// Whether it serves every server.
    #[serde(default)]
    pub serves_all: bool,
    /// When it was last heard of.
    #[serde(default, deserialize_with = "moment")]
    pub last_heartbeat_at: Option<DateTime<Utc>>,
    /// Since when it gets nothing new.
    #[serde(default, deserialize_with = "moment")]
    pub drained_at: Option<DateTime<Utc>>,
    /// Since when its token is good for nothing.
    #[serde(default, deserialize_with = "moment")]
    pub revoked_at: Option<DateTime<Utc>>,
    /// Since when it has ended, and said so.
    #[serde(default, deserialize_with = "moment")]
    pub signed_off_at: Option<DateTime<Utc>>,
    /// Since when it takes nothing more, because it stops once what it has is done.
    #[serde(default, deserialize_with = "moment")]
    pub stopping_at: Option<DateTime<Utc>>,
    /// How much room its disk has; none if it never said.
    #[serde(default)]
    pub disk_free_bytes: Option<u64>,
    /// How much memory it has left; none if it never said.
    #[serde(default)]
    pub memory_free_bytes: Option<u64>,
    /// Servers it is enrolled for.
    #[serde(default, deserialize_with = "list")]
    pub servers: Vec<Uuid>,
    /// How many tasks it runs now, as far as the caller may see them.
    #[serde(default)]
    pub running: i64,
    /// Which of its agents get no tasks, and why, as far as the caller may know.
    #[serde(default, deserialize_with = "list")]
    pub stops: Vec<AgentStop>,
}

/// A row of `hub_servers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Its id.
    pub id: Uuid,
    /// Its name, as in `server/channel`.
    pub name: String,
    /// What people see.
    #[serde(default)]
    pub display_name: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// `command_dispatch`, `flat_task_pipeline` or `threaded_task_isolation`.
    pub architecture_type: String,
    /// `authenticated` or `members`.
    #[serde(default)]
    pub access: Option<String>,
    /// How many channels it has.
    #[serde(default)]
    pub channel_count: i32,
}

/// A row of `hub_channels`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Its id.
    pub id: Uuid,
    /// Its server.
    pub server_id: Uuid,
    /// Its name, as in `server/channel`.
    pub name: String,
    /// What people see.
    #[serde(default)]
    pub display_name: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// Where its tasks run, below the machine's projects root.
    #[serde(default)]
    pub project_path: Option<String>,
    /// Who should run them.
    #[serde(default)]
    pub model_preference: Option<String>,
    /// A feed takes no messages of people.
    #[serde(default)]
    pub is_read_only: bool,
    /// The number of its newest flat message.
    #[serde(default)]
    pub message_count: i64,
    /// When that was.
    #[serde(default, deserialize_with = "moment")]
    pub last_message_at: Option<DateTime<Utc>>,
}

/// A row of `hub_members`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The server.
    pub server_id: Uuid,
    /// The person.
    pub user_id: Uuid,
    /// `owner`, `operator` or `viewer`.
    pub role: String,
}

/// A row of `hub_invitations`: who may become a member, once they accept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// The server.
    pub server_id: Uuid,
    /// As the server was called then.
    pub server_name: String,
    /// As people saw it then.
    pub server_display_name: String,
    /// The invited.
    pub user_id: Uuid,
    /// `owner`, `operator` or `viewer`.
    pub role: String,
}

/// A row of `hub_chat_identities`: an account of a chat, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatIdentity {
    /// `discord` or `telegram`.
    pub provider: String,
    /// As the provider numbers accounts.
    pub author_id: String,
    /// The person.
    pub user_id: Uuid,
    /// As the account was called when it was linked.
    pub label: String,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

/// A row of `hub_places`: what a server may name outside itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// `project`, `github`, `telegram`, `discord` or `webhook`.
    pub kind: String,
    /// The server's name.
    pub server: String,
    /// A folder, a repository, a chat, a URL; `*` is any.
    pub target: String,
    /// The only device where a project is.
    pub device: Option<String>,
    /// The environment variable of the only secret it may be reached with.
    pub secret_name: Option<String>,
}

/// A row of `hub_task_threads`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Thread {
    /// Its id.
    pub id: Uuid,
    /// The channel it is in.
    pub channel_id: Uuid,
    /// The task it began with.
    #[serde(default)]
    pub task_id: Option<Uuid>,
    /// Eight digits and the text, shortened.
    pub name: String,
    /// `active`, `idle`, `decaying` or `archived`.
    pub status: String,
    /// The number of its newest message.
    #[serde(default)]
    pub message_count: i64,
    /// When something last happened in it.
    #[serde(default, deserialize_with = "moment")]
    pub last_activity_at: Option<DateTime<Utc>>,
    /// Since when it has its status.
    #[serde(default, deserialize_with = "moment")]
    pub state_entered_at: Option<DateTime<Utc>>,
    /// When it was opened.
    #[serde(default, deserialize_with = "moment")]
    pub created_at: Option<DateTime<Utc>>,
}

/// A row of `hub_channel_messages`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// Its id.
    pub id: Uuid,
    /// The channel.
    pub channel_id: Uuid,
    /// The thread, if it is in one.
    #[serde(default)]
    pub task_thread_id: Option<Uuid>,
    /// Its number in its conversation: 1, 2, 3, without gaps.
    pub seq: i64,
    /// The number of its last edit among those of its conversation; none: it was never edited.
    #[serde(default)]
    pub edit_seq: Option<i64>,
    /// `human`, `agent`, `system` or `device`.
    pub sender_type: String,
    /// Who, for programs.
    #[serde(default)]
    pub sender_id: Option<String>,
    /// Who, for people.
    #[serde(default)]
    pub sender_label: Option<String>,
    /// What it says.
    pub content: String,
    /// `text`, `task`, `progress`, `result`, `error` and so on.
    #[serde(default)]
    pub content_type: Option<String>,
    /// What happened, where the hub tells it: a row of `hub_message_events`. None in what somebody wrote.
    #[serde(default)]
    pub event: Option<String>,
    /// Title, color, fields.
    #[serde(default)]
    pub embed_data: Option<Value>,
    /// Whether it is a progress note.
    #[serde(default)]
    pub is_progress: bool,
    /// The task it is about.
    #[serde(default)]
    pub task_id: Option<Uuid>,
    /// The message it answers.
    #[serde(default)]
    pub reply_to: Option<Uuid>,
    /// When it was posted.
    #[serde(default, deserialize_with = "moment")]
    pub created_at: Option<DateTime<Utc>>,
}

/// A message of a bridged chat, as it comes in.
#[derive(Debug, Clone, Copy)]
pub struct Bridged<'a> {
    /// `discord` or `telegram`.
    pub provider: &'a str,
    /// `channel:<id>` or `user:<id>` there.
    pub target: &'a str,
    /// What else that place is, in this order, where no bridge is from `target`: a thread is of a channel.
    pub elsewhere: &'a [String],
    /// Its id there: taken in once.
    pub external: &'a str,
    /// Who wrote it.
    pub author: &'a str,
    /// What.
    pub content: &'a str,
    /// The id of the message it answers.
    pub reply_to: Option<&'a str>,
    /// It is no message there but a command that is answered by who asks, at once.
    pub interaction: bool,
    /// The account that wrote it, as the chat numbers it: what decides whether it may start work.
    pub author_id: Option<&'a str>,
    /// `message`, `note` (a line on what is no words: it starts nothing) or `edit` (the new words of the message of that id).
    pub kind: &'a str,
}

impl Default for Bridged<'_> {
    fn default() -> Self {
        Self {
            provider: "",
            target: "",
            elsewhere: &[],
            external: "",
            author: "",
            content: "",
            reply_to: None,
            interaction: false,
            author_id: None,
            kind: "message",
        }
    }
}

/// An answer of command dispatch; nothing of it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reply {
    /// The whole answer.
    #[serde(default)]
    pub text: String,
    /// The same in pieces that fit a chat message.
    #[serde(default, deserialize_with = "list")]
    pub chunks: Vec<String>,
}

/// What `hub_send` did: what the channel's architecture says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Sent {
    /// The sender's own message.
    #[serde(default)]
    pub message: Option<Message>,
    /// The task that came of it.
    #[serde(default)]
    pub task: Option<Task>,
    /// The thread it is told in.
    #[serde(default)]
    pub thread: Option<Thread>,
    /// The answer, on a server of commands.
    #[serde(default)]
    pub reply: Option<Reply>,
}

/// One attempt that a device is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Running {
    /// The task.
    pub task: Uuid,
    /// The attempt.
    pub attempt: i32,
}

/// What attempts cost together: a row of [`crate::Hub::costs`]. What is not known counts as nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// Of which day, project, agent, person or server. None: of none.
    #[serde(default)]
    pub name: Option<String>,
    /// How many ended.
    #[serde(default, deserialize_with = "or_nothing")]
    pub attempts: i64,
    /// What is billed, in US dollars.
    #[serde(default, deserialize_with = "or_nothing")]
    pub cost_usd: f64,
    /// What it would have been where nobody is billed, in US dollars; see [`Meta::cost_notional`].
    #[serde(default, deserialize_with = "or_nothing")]
    pub notional_usd: f64,
    /// Tokens read.
    #[serde(default, deserialize_with = "or_nothing")]
    pub tokens_in: i64,
    /// Tokens written.
    #[serde(default, deserialize_with = "or_nothing")]
    pub tokens_out: i64,
    /// How long they ran, all together.
    #[serde(default, deserialize_with = "or_nothing")]
    pub seconds: f64,
}

/// What a budget is to be, for [`crate::Hub::set_budget`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewBudget {
    /// `deployment`, `server`, `project`, `channel`, `agent`, `person` or `task`.
    pub scope: String,
    /// Which: the path or name of a project, the name or id of a channel, the name of an agent, the id of a person or task. None for the
    /// first two.
    pub subject: Option<String>,
    /// `cost`, `notional`, `tokens`, `seconds` or `running`.
    pub measure: String,
    /// How much: US dollars, tokens, seconds, or tasks at once.
    pub amount: f64,
    /// `day`, `week` or `month`; none: in all.
    pub per: Option<String>,
    /// What a task does that nobody answered within `silence`: `wait` (without one), `cancel` or `continue`. None: as it is.
    pub on_silence: Option<String>,
    /// 1 minute to 90 days.
    pub silence: Option<Duration>,
    /// Who may answer: `owner`, `operator`. None: as it is.
    pub roles: Option<Vec<String>>,
    /// What it is for. None: as it is.
    pub about: Option<String>,
}

/// A row of `hub_budgets`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Its number.
    pub id: i64,
    /// None: of the deployment.
    #[serde(default)]
    pub server_id: Option<Uuid>,
    /// As [`NewBudget::scope`].
    pub scope: String,
    /// By its path, name or id.
    pub subject: String,
    /// As [`NewBudget::measure`].
    pub measure: String,
    /// As [`NewBudget::amount`].
    pub amount: f64,
    /// As [`NewBudget::per`].
    #[serde(default)]
    pub per: Option<String>,
}

/// How a budget stands, of `hub_budget_state`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetState {
    /// Its number.
    pub id: i64,
    /// None: of the deployment.
    #[serde(default)]
    pub server_id: Option<Uuid>,
    /// As [`NewBudget::scope`].
    pub scope: String,
    /// By its path, name or id.
    pub subject: String,
    /// As [`NewBudget::measure`].
    pub measure: String,
    /// As [`NewBudget::amount`].
    pub amount: f64,
    /// As [`NewBudget::per`].
    #[serde(default)]
    pub per: Option<String>,
    /// The name of its server. None: of the deployment.
    #[serde(default)]
    pub server_name: Option<String>,
    /// What it is of, as people call it.
    pub name: String,
    /// What may be used in this period: the amount, and what people gave more.
    pub level: f64,
    /// What was used in it.
    pub used: f64,
    /// What is left of it.
    pub remaining: f64,
    /// Whether it is used up.
    pub met: bool,
    /// When the period began; none: it has none.
    #[serde(default, deserialize_with = "moment")]
    pub since: Option<DateTime<Utc>>,
    /// When the next begins.
    #[serde(default, deserialize_with = "moment")]
    pub until: Option<DateTime<Utc>>,
    /// As [`NewBudget::on_silence`].
    pub on_silence: String,
    /// After so many seconds.
    #[serde(default)]
    pub silence_seconds: Option<f64>,
    /// Who may answer.
    #[serde(default, deserialize_with = "list")]
    pub roles: Vec<String>,
    /// What it is for.
    #[serde(default)]
    pub about: Option<String>,
}

/// A row of `hub_shares`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// In which server.
    pub server_id: Uuid,
    /// Which project; none: the server among servers.
    #[serde(default)]
    pub project: Option<String>,
    /// What it weighs.
    pub weight: f64,
}

/// What a server or project weighs and used, of `hub_share_state`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShareState {
    /// In which server.
    pub server_id: Uuid,
    /// Which project; none: the server among servers.
    #[serde(default)]
    pub project: Option<String>,
    /// What it weighs.
    pub weight: f64,
    /// The name of the server.
    pub server_name: String,
    /// How long agents worked for it lately, in seconds: the older, the less it counts.
    pub used_seconds: f64,
    /// How far its tasks stand back for others, in seconds.
    pub stands_back_seconds: f64,
}

/// A row of `hub_model_fallbacks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// In which server; none: where a server has none of its own.
    #[serde(default)]
    pub server_id: Option<Uuid>,
    /// `claude`, `codex` or `gemini`.
    pub model: String,
    /// Its place in the order.
    pub position: i32,
    /// Another of these, or `wait`: nothing else is tried.
    pub fallback: String,
}

/// What was read and written with a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelTokens {
    /// As its program names it, at most 200 characters.
    pub model: String,
    /// Tokens read.
    pub tokens_in: i64,
    /// Of those, how many had been read before.
    pub tokens_cached: i64,
    /// Tokens written.
    pub tokens_out: i64,
}

/// What an attempt has used so far, all of it: never less than was said before. What is not known is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Used {
    /// As [`Meta::cost_usd`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// As [`Meta::cost_notional`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notional: Option<bool>,
    /// Tokens read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_in: Option<i64>,
    /// Tokens written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_out: Option<i64>,
    /// Of the tokens read, how many had been read before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_cached: Option<i64>,
    /// As [`Meta::unpriced`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unpriced: Vec<ModelTokens>,
}

/// One attempt that a device is at, as its heartbeats tell of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AtWork {
    /// Which.
    #[serde(flatten)]
    pub running: Running,
    /// What it has used.
    #[serde(flatten)]
    pub used: Used,
}

impl From<Running> for AtWork {
    fn from(running: Running) -> Self {
        Self { running, used: Used::default() }
    }
}

/// An attempt whose budget is used up: it is to make room, and goes on when somebody has answered. Told with each heartbeat until then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverBudget {
    /// The task.
    pub task: Uuid,
    /// The attempt.
    pub attempt: i32,
    /// Where it is asked for more.
    pub ask: Uuid,
}

/// A text for a task that runs: given with each heartbeat until it is reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steer {
    /// The task.
    pub task: Uuid,
    /// The attempt that it is for.
    pub attempt: i32,
    /// What it is reported by.
    pub id: i64,
    /// The text.
    pub text: String,
    /// Who said it, as people read it.
    pub by: String,
}

/// What became of a [`Steer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SteerOutcome {
    /// The agent was told: in its turn, at its next tool, or with a further turn that has begun.
    Taken,
    /// The agent is told in a further turn of this attempt.
    NextTurn,
}

impl SteerOutcome {
    /// As the contract names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::NextTurn => "next_turn",
        }
    }
}

/// A subtask that has ended and whose result its parent has not asked for: told with each heartbeat until it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubtaskEnd {
    /// The parent.
    pub task: Uuid,
    /// The parent's live attempt.
    pub attempt: i32,
    /// The subtask.
    pub subtask: Uuid,
    /// `complete`, `failed` or `cancelled`.
    pub status: String,
}

/// How a subtask is, or how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubtaskResult {
    /// The subtask.
    pub id: Uuid,
    /// As of a [`Task`].
    pub status: String,
    /// How it ended well.
    #[serde(default)]
    pub result: Option<String>,
    /// How it ended badly.
    #[serde(default)]
    pub error: Option<String>,
}

/// What an attempt asks, the arguments of `hub_ask`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Asking {
    /// `approval`, `question` or `stop`.
    pub kind: String,
    /// One line of 1 to 500 characters.
    pub title: String,
    /// What the agent says of it.
    #[serde(default)]
    pub body: Option<String>,
    /// Of an approval `{"tool", "input"}`.
    #[serde(default)]
    pub input: Option<Value>,
    /// Of a question: a list of texts, or of `{"key", "label"}`. None: any text is an answer.
    #[serde(default)]
    pub options: Option<Value>,
    /// Its name within the attempt: asking again with it is not asking twice.
    #[serde(default, rename = "ref")]
    pub reference: Option<String>,
}

/// What may be answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The answer.
    pub key: String,
    /// What people read.
    pub label: String,
}

/// A row of `hub_asks`: what people were asked, and what was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// Its id.
    pub id: Uuid,
    /// The task that asks.
    pub task_id: Uuid,
    /// Its attempt.
    pub attempt: i32,
    /// Its name within the attempt.
    #[serde(default, rename = "ref")]
    pub reference: Option<String>,
    /// Who asks: `claude/mac1`.
    #[serde(default)]
    pub asked_by: String,
    /// `approval`, `question` or `stop`.
    pub kind: String,
    /// In one line.
    pub title: String,
    /// What the agent says of it.
    #[serde(default)]
    pub body: Option<String>,
    /// The tool that is to be allowed.
    #[serde(default)]
    pub tool: Option<String>,
    /// What it is to be given, whole.
    #[serde(default)]
    pub input: Option<Value>,
    /// Names what was shown.
    pub digest: String,
    /// What may be answered; empty: any text.
    #[serde(default, deserialize_with = "list")]
    pub options: Vec<Choice>,
    /// `open`, `answered`, `expired` or `withdrawn`.
    pub state: String,
    /// The key of what was answered.
    #[serde(default)]
    pub answer: Option<String>,
    /// What was answered in words.
    #[serde(default)]
    pub answer_text: Option<String>,
    /// By whom, as people read it.
    #[serde(default)]
    pub answered_label: Option<String>,
    /// `hub`, `thread`, `discord`, `telegram`, `ntfy`, `rule`, `grant`, `time`, `end` or `agent`.
    #[serde(default)]
    pub answered_door: Option<String>,
    /// When it was closed.
    #[serde(default, deserialize_with = "moment")]
    pub answered_at: Option<DateTime<Utc>>,
    /// When it was asked.
    #[serde(default, deserialize_with = "moment")]
    pub created_at: Option<DateTime<Utc>>,
    /// Until when it can be answered; none: it waits.
    #[serde(default, deserialize_with = "moment")]
    pub expires_at: Option<DateTime<Utc>>,
    /// What happens then: `deny`, `cancel` or `remind`.
    #[serde(default)]
    pub on_expiry: Option<String>,
}

impl Ask {
    /// Whether nobody has answered yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == "open"
    }
}

/// What became of an ask, as its attempt is told: with heartbeats, and when it begins. Silence is `expired`, never a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The ask.
    pub ask: Uuid,
    /// Its task; only with heartbeats.
    #[serde(default)]
    pub task: Option<Uuid>,
    /// Its attempt; only with heartbeats.
    #[serde(default)]
    pub attempt: Option<i32>,
    /// Its name within the attempt that asked.
    #[serde(default, rename = "ref")]
    pub reference: Option<String>,
    /// `approval`, `question` or `stop`.
    pub kind: String,
    /// What was asked, in one line.
    #[serde(default)]
    pub title: String,
    /// The tool that was to be allowed.
    #[serde(default)]
    pub tool: Option<String>,
    /// Names what was shown.
    pub digest: String,
    /// The key of what was answered.
    #[serde(default)]
    pub answer: Option<String>,
    /// What was answered in words.
    #[serde(default)]
    pub text: Option<String>,
    /// By whom, as people read it.
    #[serde(default)]
    pub by: Option<String>,
    /// `answered`, `expired` or `withdrawn`.
    pub state: String,
}

/// What a device says of itself, `p_machine` of the contract. What it does not know it does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// How much room the disk has where its work is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_free_bytes: Option<u64>,
    /// How much memory can be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_free_bytes: Option<u64>,
    /// Whether it has the projects that it was asked for ([`Heartbeat::projects`]), by path, and what they are. With an empty map it
    /// says that it will answer such questions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projects: Option<BTreeMap<String, ProjectKind>>,
    /// Whether it takes nothing more, because it stops. None leaves it as it was: one of two workers of a device may stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping: Option<bool>,
}

/// What a device has of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProjectKind {
    /// It is not there.
    Absent,
    /// It is there.
    Present,
    /// It is a git repository, or in one: each line of work gets a worktree.
    Git,
    /// It is a folder and no more: it is worked in in place, one task at a time.
    Plain,
}

impl Serialize for ProjectKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => serializer.serialize_bool(false),
            Self::Present => serializer.serialize_bool(true),
            Self::Git => serializer.serialize_str("git"),
            Self::Plain => serializer.serialize_str("plain"),
        }
    }
}

impl<'de> Deserialize<'de> for ProjectKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Bool(false) => Ok(Self::Absent),
            Value::Bool(true) => Ok(Self::Present),
            Value::String(kind) if kind == "git" => Ok(Self::Git),
            Value::String(kind) if kind == "plain" => Ok(Self::Plain),
            _ => Err(serde::de::Error::custom("true, false, \"git\" or \"plain\"")),
        }
    }
}

/// What a heartbeat answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Tasks to stop on request.
    #[serde(default, deserialize_with = "list")]
    pub cancel: Vec<Uuid>,
    /// Texts for running tasks.
    #[serde(default, deserialize_with = "list")]
    pub steer: Vec<Steer>,
    /// Subtasks of running tasks that have ended.
    #[serde(default, deserialize_with = "list")]
    pub subtasks: Vec<SubtaskEnd>,
    /// Tasks that are no longer this device's at the attempt it named.
    #[serde(default, deserialize_with = "list")]
    pub lost: Vec<Uuid>,
    /// What became of what its attempts asked; again and again until `take_answers`.
    #[serde(default, deserialize_with = "list")]
    pub answers: Vec<Answer>,
    /// Attempts that are to be parked: more of a budget is asked for.
    #[serde(default, deserialize_with = "list")]
    pub budget: Vec<OverBudget>,
    /// Projects that work asks for, and of which the device has not said whether it has them; at most 200.
    #[serde(default, deserialize_with = "list")]
    pub projects: Vec<String>,
    /// Which hub answers, whatever its address: a hub keeps it for good, and has it to itself.
    pub hub: Uuid,
}

/// Why an attempt ended: a closed set, which the database checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The agent said that it is done.
    Complete,
    /// The agent said that it could not do it.
    Failed,
    /// Somebody asked to stop it.
    Cancelled,
    /// Its program ended by itself, and not well.
    Exit,
    /// A signal from elsewhere ended its program.
    Signal,
    /// It ran longer than it may.
    Timeout,
    /// It never said anything.
    NoOutput,
    /// It said nothing for too long.
    Silent,
    /// Its program did not end after its last word.
    Lingered,
    /// The machine had no memory left.
    OutOfMemory,
    /// Its program could not be started.
    NotStarted,
    /// The machine has no such project.
    NoProject,
    /// The worker was told to stop.
    WorkerStopped,
    /// The worker died.
    WorkerGone,
    /// The host of the attempt died.
    HostGone,
    /// The device was not heard of in time.
    LeaseLost,
    /// The device was revoked.
    Revoked,
    /// The hub would not store its result.
    NotStored,
    /// The agent is not logged in there. The task goes to who can take it now, or has failed; other tasks do not follow.
    Auth,
    /// The agent's account is at a limit. The task waits for it, or for another agent, at no cost of attempts.
    Limit,
    /// The service behind the agent was overloaded.
    Overloaded,
    /// The task needs more context than the model has.
    ContextFull,
    /// The agent was not permitted to do something that it needed to do.
    Denied,
    /// The model would not do it.
    Refused,
    /// The agent's program failed in itself.
    Crashed,
    /// The agent's configuration does not work.
    BadConfig,
    /// The session that it was to go on with could not be resumed. The task begins a new one, at no cost of attempts.
    SessionLost,
    /// What it did was not verified. It is not tried again by itself.
    Verify,
    /// It waits for an answer, without a program.
    Parked,
    /// The machine has no room for its worktree.
    NoRoom,
    /// Its worktree could not be made or set up.
    NoWorkspace,
}

/// Whether a session can be gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// It can.
    Ok,
    /// It can not: too long a prompt, a refused resume. Its id is never used again, nor one that came of trying.
    Poisoned,
}

/// How a limit is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitSource {
    /// The agent reports it.
    Structured,
    /// Its message says so.
    Text,
    /// Nobody says until when.
    Guess,
}

/// The time in which a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitWindow {
    /// Five hours.
    FiveHour,
    /// Seven days.
    SevenDay,
    /// A day.
    Day,
    /// A minute.
    Minute,
}

/// A limit of an account that an agent met, or was told of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Until when; none: nobody says, and the hub guesses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// How that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<LimitSource>,
    /// The model it is of; none: all that the agent runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<LimitWindow>,
}

impl Limit {
    /// How it is known, where nothing was said of that.
    #[must_use]
    pub fn known(&self) -> LimitSource {
        self.source.unwrap_or(if self.until.is_some() { LimitSource::Text } else { LimitSource::Guess })
    }
}

/// What is known about a run, `p_meta` of the contract. What is not known is not sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// The model that ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The agent's session, to go on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// What it cost in US dollars, as far as its program or its own prices say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// Tokens read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_in: Option<i64>,
    /// Tokens written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_out: Option<i64>,
    /// The program's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// What the agent said until it waits for an answer, at most 100,000 characters: of an attempt that is parked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
    /// Proof of what was done: a [`Receipt`] as JSON, or another program's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Value>,
    /// Whether the session can be gone on with. Without it, only one that ended well or was cancelled is believed to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_state: Option<SessionState>,
    /// Why it ended. Without it the outcome decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<EndReason>,
    /// The signal that ended the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The last lines of standard error, at most 8,000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
    /// How much the program wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// The most memory that the program and what it started held at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// When the program began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_started_at: Option<DateTime<Utc>>,
    /// When the program ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_ended_at: Option<DateTime<Utc>>,
    /// Of the tokens read, how many had been read before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_cached: Option<i64>,
    /// How often the model was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<i32>,
    /// How often it used a tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<i32>,
    /// Whether nobody is billed what it cost: a subscription pays, or the program tells no cost and it is reckoned by prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_notional: Option<bool>,
    /// Of the tokens, those whose cost is not in `cost_usd`, at most 50 models: the hub reckons them by its `hub_prices`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unpriced: Vec<ModelTokens>,
    /// The version of its program, at most 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    /// The limit that it met, or was told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
}

/// Where work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceKind {
    /// In a worktree of its own, on a branch of its own.
    Git,
    /// In the project's folder.
    InPlace,
}

/// What an attempt leaves behind, `receipt` of [`Meta`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Where it was done.
    pub kind: WorkspaceKind,
    /// The branch it is on.
    #[serde(default)]
    pub branch: Option<String>,
    /// The commit it began at.
    #[serde(default)]
    pub base: Option<String>,
    /// The commit it ended with.
    #[serde(default)]
    pub commit: Option<String>,
    /// That commit's tree.
    #[serde(default)]
    pub tree: Option<String>,
    /// Whether there are changes that are not committed: verify made them.
    #[serde(default)]
    pub dirty: bool,
    /// How many files differ from base.
    #[serde(default)]
    pub files: u64,
    /// Lines added.
    #[serde(default)]
    pub insertions: u64,
    /// Lines removed.
    #[serde(default)]
    pub deletions: u64,
    /// Paths of files that differ, at most 20.
    #[serde(default, deserialize_with = "list")]
    pub changed: Vec<String>,
    /// Whether the branch is at the remote.
    #[serde(default)]
    pub pushed: bool,
    /// The address of the pull request.
    #[serde(default)]
    pub pull_request: Option<String>,
    /// How much the worktree takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// How verify went; none: it was not run.
    #[serde(default)]
    pub verify: Option<Verified>,
}

/// How a project's verify command went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// SHA-256 of the command, in hexadecimal digits.
    pub command_sha256: String,
    /// Its exit code; none: it was ended.
    #[serde(default)]
    pub exit: Option<i32>,
    /// How long it took.
    #[serde(default)]
    pub seconds: f64,
    /// The end of what it wrote, at most 4,000 characters.
    #[serde(default)]
    pub tail: String,
    /// SHA-256 of all that it wrote.
    #[serde(default)]
    pub log_sha256: String,
    /// Whether it passed.
    pub passed: bool,
    /// How often it was run.
    #[serde(default)]
    pub rounds: u32,
}

/// The session that an attempt goes on with, and what it has used so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Resumed {
    /// As the agent's program names it.
    pub id: String,
    /// Tokens read.
    #[serde(default)]
    pub tokens_in: u64,
    /// Tokens written.
    #[serde(default)]
    pub tokens_out: u64,
    /// Of those it read, how many it had read before.
    #[serde(default)]
    pub tokens_cached: u64,
    /// What it cost.
    #[serde(default)]
    pub cost_usd: f64,
}

/// Whether a pull request is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullRequest {
    /// None.
    #[default]
    Off,
    /// A draft.
    Draft,
    /// One that is ready for review.
    Ready,
}

/// How a project wants work in it to be set up, proved and handed out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectPlan {
    /// Run by `sh` in each new worktree.
    #[serde(default)]
    pub setup: Option<String>,
    /// Files of the project on which its outcome depends.
    #[serde(default, deserialize_with = "list")]
    pub setup_inputs: Vec<String>,
    /// Run by `sh` on what the agent left.
    #[serde(default)]
    pub verify: Option<String>,
    /// How long it may take.
    #[serde(default)]
    pub verify_seconds: u64,
    /// How often the agent is sent back with its failure.
    #[serde(default)]
    pub verify_rounds: u32,
    /// Whether the branch is pushed.
    #[serde(default)]
    pub push: bool,
    /// Whether a pull request is opened.
    #[serde(default)]
    pub pull_request: PullRequest,
    /// `owner/name` at GitHub.
    #[serde(default)]
    pub repository: Option<String>,
    /// The environment variable with the token for it; none: `HUB_GITHUB_TOKEN`.
    #[serde(default)]
    pub secret_name: Option<String>,
}

/// What an attempt is to be done with, of `hub_begin_attempt`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    /// What to say to the agent.
    pub prompt: String,
    /// The session to go on with.
    #[serde(default)]
    pub session: Option<Resumed>,
    /// The line of work.
    pub root: Uuid,
    /// Its name, eight hexadecimal digits: of its folder.
    pub name: String,
    /// Its branch.
    pub branch: String,
    /// The commit to begin at, where this device lacks the worktree: what another has pushed.
    #[serde(default)]
    pub start: Option<String>,
    /// The branch to begin at; none: what the project's folder has checked out.
    #[serde(default)]
    pub base: Option<String>,
    /// What the project asks for.
    #[serde(default)]
    pub project: Option<ProjectPlan>,
    /// What was answered meanwhile.
    #[serde(default, deserialize_with = "list")]
    pub answers: Vec<Answer>,
    /// How long a program may wait for an answer.
    #[serde(default)]
    pub ask_hold_seconds: u64,
    /// The team it is of.
    #[serde(default)]
    pub team: Option<Team>,
}

/// The parts of a request that was split, in the order in which they are to be merged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Team {
    /// Which of them the task is, from 1; none: it is the whole.
    #[serde(default)]
    pub position: Option<usize>,
    /// All of them.
    #[serde(default, deserialize_with = "list")]
    pub parts: Vec<TeamPart>,
}

/// A part of a team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeamPart {
    /// What it is about.
    #[serde(default)]
    pub title: Option<String>,
    /// Its branch, once it has one.
    #[serde(default)]
    pub branch: Option<String>,
    /// The address of its pull request, once it has one.
    #[serde(default)]
    pub pull_request: Option<String>,
}

/// Where an attempt works, `p_workspace` of the contract. What is not said stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// In a worktree, or in place.
    pub kind: WorkspaceKind,
    /// The commit it began at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The commit it is at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// How much room it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Whether `head` is at the remote.
    #[serde(default)]
    pub pushed: bool,
    /// The address of its pull request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<String>,
    /// Whether a bundle holds its commits.
    #[serde(default)]
    pub bundled: bool,
}

/// A worktree whose work is over, of `hub_workspaces_to_clean`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceToClean {
    /// The line of work.
    pub root: Uuid,
    /// Its name.
    pub name: String,
    /// Its branch.
    pub branch: String,
    /// Its project.
    #[serde(default)]
    pub project: Option<String>,
    /// Whether GitHub says that its pull request was merged.
    pub merged: bool,
}

/// One reason why a task is, or is not, running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// In a few words.
    pub reason: String,
    /// The values, and what to do.
    #[serde(default)]
    pub detail: Option<String>,
    /// Until when, where that is known.
    #[serde(default, deserialize_with = "moment")]
    pub until: Option<DateTime<Utc>>,
}

/// A command of command dispatch servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// What is typed behind the `!`.
    pub name: String,
    /// With its arguments: `!hot [market]`, `!lead <id>`.
    pub usage: String,
    /// A line for people.
    pub description: String,
    /// Whether it changes anything.
    pub writes: bool,
}

/// A search of a city for leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// The sweep.
    pub id: Uuid,
    /// As it was typed; the market of what is found.
    pub city: String,
    /// `queued`, `running`, `complete` or `failed`.
    pub status: String,
    /// The fence of what is written for it.
    pub attempt: i32,
    /// How many leads were new.
    #[serde(default)]
    pub added: Option<i32>,
    /// Why it came to nothing.
    #[serde(default)]
    pub error: Option<String>,
}

/// A claimed row of `hub_outbox`: something to say elsewhere. The migration's head has the shapes of `body`.
#[derive(Debug, Clone, Deserialize)]
pub struct Outgoing {
    /// The same at each attempt; also its `webhook-id`.
    pub id: Uuid,
    /// `discord`, `telegram`, `github` or `webhook`.
    pub provider: String,
    /// `channel:<id>`, `user:<id>`, `channel:<owner>/<name>#<number>`, or an https URL.
    pub target: String,
    /// The name of the worker's environment variable, never its value.
    pub secret_name: String,
    /// `post`, `edit`, `reply`, `webhook` or `github_comment`.
    pub kind: String,
    /// As Postgres wrote it, to the digit: a webhook's receiver gets these bytes.
    pub body: Box<RawValue>,
    /// 25 characters, the same at each attempt.
    pub nonce: String,
    /// The fence of what is written for it, and which attempt this is.
    pub attempt: i32,
    /// Ids of its messages that arrived at an earlier attempt, in order.
    #[serde(default, deserialize_with = "list")]
    pub parts: Vec<String>,
    /// The external id to edit.
    #[serde(default)]
    pub edit_of: Option<String>,
    /// The external id to reply to.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// Of a task's progress: one message there, edited by what comes later.
    #[serde(default)]
    pub is_progress: bool,
    /// When it was to be said first.
    pub created_at: DateTime<Utc>,
}

/// How a delivery came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// Short, for people, without a secret.
    pub error: String,
    /// Not before this; without it a backoff.
    pub retry_after: Option<Duration>,
    /// Whether trying again makes no sense.
    pub permanent: bool,
    /// Ids of its messages that arrived nevertheless, in order; none: as before.
    pub parts: Option<Vec<String>>,
}

/// What a sweep found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lead {
    /// The one thing that must be there.
    pub name: String,
    /// Street and number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Telephone, mail or web address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// 0 to 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rating: Option<f64>,
    /// Anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
}

/// What kind of task a text is, and for whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Classification {
    /// `code`, `fix`, `research` and so on.
    pub task_type: String,
    /// `claude`, `codex`, `gemini` or `any`.
    pub model: String,
    /// `any`, `macos`, `linux` or `windows`.
    pub platform: String,
    /// 0 to 1.
    #[serde(default)]
    pub confidence: Option<f64>,
    /// Why.
    #[serde(default, deserialize_with = "list")]
    pub reasons: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_with_unknown_or_missing_columns_is_read() {
        let task: Task = serde_json::from_value(serde_json::json!({
            "id": "a1b2c3d4-0000-4000-8000-000000000000", "content": "x", "status": "running", "attempt": 2,
            "lease_expires_at": "-infinity", "created_at": "2026-11-20T23:48:06.123456+00:00",
            "of_a_later_version": {"a": 1}, "metadata": null,
        }))
        .unwrap();
        assert_eq!(task.short(), "a1b2");
        assert_eq!(task.lease_expires_at, Some(DateTime::<Utc>::MIN_UTC));
        assert!(!task.is_final());
        let beat: Heartbeat =
            serde_json::from_str(r#"{"cancel": null, "lost": [], "hub": "00000000-0000-0000-0000-000000000000"}"#)
                .unwrap();
        assert_eq!(beat, Heartbeat::default());
    }

    #[test]
    fn a_heartbeat_tells_what_is_known_of_an_attempts_use_and_learns_of_its_budget() {
        let running = Running { task: Uuid::nil(), attempt: 2 };
        let nil = "00000000-0000-0000-0000-000000000000";
        assert_eq!(
            serde_json::to_value(AtWork::from(running)).unwrap(),
            serde_json::json!({"task": nil, "attempt": 2})
        );
        let used = Used {
            cost_usd: Some(0.5),
            notional: Some(false),
            tokens_in: Some(7),
            tokens_out: Some(1),
            unpriced: vec![ModelTokens { model: "m".into(), tokens_in: 2, tokens_cached: 0, tokens_out: 1 }],
            ..Used::default()
        };
        assert_eq!(
            serde_json::to_value(AtWork { running, used }).unwrap(),
            serde_json::json!({
                "task": nil, "attempt": 2, "cost_usd": 0.5, "notional": false, "tokens_in": 7, "tokens_out": 1,
                "unpriced": [{"model": "m", "tokens_in": 2, "tokens_cached": 0, "tokens_out": 1}],
            })
        );
        let answer = serde_json::json!({"hub": nil, "budget": [{"task": nil, "attempt": 2, "ask": nil}]});
        let beat: Heartbeat = serde_json::from_value(answer).unwrap();
        assert_eq!(beat.budget, [OverBudget { task: Uuid::nil(), attempt: 2, ask: Uuid::nil() }]);
    }

    #[test]
    fn unset_fields_of_a_run_are_not_sent() {
        let meta = Meta { exit_code: Some(0), ..Meta::default() };
        assert_eq!(serde_json::to_string(&meta).unwrap(), r#"{"exit_code":0}"#);
        assert_eq!(serde_json::to_string(&Machine::default()).unwrap(), "{}");
        let kinds = [ProjectKind::Absent, ProjectKind::Present, ProjectKind::Git, ProjectKind::Plain];
        let json = serde_json::to_string(&kinds).unwrap();
        assert_eq!(json, r#"[false,true,"git","plain"]"#);
        assert_eq!(serde_json::from_str::<[ProjectKind; 4]>(&json).unwrap(), kinds);
        let offer = AgentOffer {
            agent: "a".into(),
            models: vec![],
            memory_bytes: None,
            account: None,
            program: None,
            reserve: None,
        };
        assert_eq!(serde_json::to_string(&offer).unwrap(), r#"{"agent":"a","models":[]}"#);
    }

    #[test]
    fn reasons_are_written_as_the_database_checks_them() {
        let meta = Meta { reason: Some(EndReason::OutOfMemory), signal: Some(9), ..Meta::default() };
        assert_eq!(serde_json::to_string(&meta).unwrap(), r#"{"reason":"out_of_memory","signal":9}"#);
        let limit = Limit { source: Some(LimitSource::Text), window: Some(LimitWindow::FiveHour), ..Limit::default() };
        let meta = Meta { reason: Some(EndReason::Limit), limit: Some(limit), ..Meta::default() };
        assert_eq!(
            serde_json::to_string(&meta).unwrap(),
            r#"{"reason":"limit","limit":{"source":"text","window":"five_hour"}}"#
        );
    }
}
