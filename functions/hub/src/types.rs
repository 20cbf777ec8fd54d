//! Rows and answers of the contract. Read generously: fields we do not know are ignored, since a hub may be newer than its
//! programs; the same types read Postgres' `to_jsonb` and PostgREST's answers.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;
use uuid::Uuid;

/// Postgres writes `infinity` where there is no end, and `-infinity` where a revoked device held a lease.
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
    /// `complete`, `failed`, `cancelled` or `lost`; none while it runs.
    #[serde(default)]
    pub outcome: Option<String>,
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
    /// The version of its program.
    #[serde(default)]
    pub agent_version: Option<String>,
    /// The limit that it met, or was told of.
    #[serde(default, deserialize_with = "moment")]
    pub limited_until: Option<DateTime<Utc>>,
    /// How that is known: `structured`, `text` or `guess`.
    #[serde(default)]
    pub limit_source: Option<String>,
}

/// What a device offers: an agent, and the model preferences it takes (`any` stands for all).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// A text for a task that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steer {
    /// The task.
    pub task: Uuid,
    /// The text.
    pub text: String,
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
    /// Whether it has the projects that it was asked for ([`Heartbeat::projects`]), by path. With an empty map it says that it will
    /// answer such questions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projects: Option<BTreeMap<String, bool>>,
    /// Whether it takes nothing more, because it stops. None leaves it as it was: one of two workers of a device may stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping: Option<bool>,
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
    /// Tasks that are no longer this device's at the attempt it named.
    #[serde(default, deserialize_with = "list")]
    pub lost: Vec<Uuid>,
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
    /// What it cost.
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
    /// Proof of what was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Value>,
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
    /// Whether nobody is billed `cost_usd`: a subscription pays, or it is reckoned from a price table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_notional: Option<bool>,
    /// The version of its program, at most 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    /// The limit that it met, or was told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
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
    fn unset_fields_of_a_run_are_not_sent() {
        let meta = Meta { exit_code: Some(0), ..Meta::default() };
        assert_eq!(serde_json::to_string(&meta).unwrap(), r#"{"exit_code":0}"#);
        assert_eq!(serde_json::to_string(&Machine::default()).unwrap(), "{}");
        let offer = AgentOffer { agent: "a".into(), models: vec![], memory_bytes: None, account: None, program: None };
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
