//! The contract as Rust has it: one table, a row a call. Over Postgres a call is a statement of `sql/queries`; over a project's URL it
//! is a function at `/rest/v1/rpc`, or a request that a table answers. From each row come the methods of [`Db`], of [`Api`] and, where a
//! call goes both ways, of [`Hub`], so what is asked for does not depend on where the hub is.
//!
//! ```text
//! /// What it does, and its errors.
//! pub fn claim(device: &str, limit: i32, lease: Duration) -> Vec<Task> {
//!     postgres { rows "../../sql/queries/tasks/claim.sql" (device, limit, lease.as_secs_f64()) }
//!     url { hub_claim_tasks { p_device: device, p_limit: limit, p_lease: interval(lease) } }
//! }
//! ```
//!
//! | `postgres` | gives |
//! |---|---|
//! | `rows`, `row`, `found` | all, one, or at most one row that is a JSON value |
//! | `value`, `perhaps` | one value of its own type, or at most one |
//! | `done` | nothing |
//! | `… in KeeperSession` | the same in the session that keeps time, too |
//!
//! | `url` | gives |
//! |---|---|
//! | `name { … }`, `void name { … }` | what the function returns, or nothing |
//!
//! Where a name is not enough, either is `|db| …` or `|api| …`, an expression. Without `url` a call is the database owner's; without
//! `postgres` it is a person's, whom only a token names.

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use sqlx::{query_file, query_file_scalar, types::Json};
use uuid::Uuid;

use crate::{
    api::Api,
    db::{Db, KeeperSession, as_json, fetch},
    error::{Error, Result},
    hub::Hub,
    types::{
        AgentOffer, Attempt, Bridged, Channel, Classification, Command, Device, Explanation, Heartbeat, Invitation,
        Lead, Limit, Machine, Member, Message, Meta, Outgoing, Place, Reply, Running, Sent, Server, Sweep, Task,
        Thread, Undelivered, moment,
    },
};

macro_rules! contract {
    ($( $(#[$doc:meta])* $vis:vis fn $name:ident $arguments:tt -> $answer:ty { $($ways:tt)* } )*) => {
        $( call! { [$(#[$doc])*] [$vis] $name $arguments [$answer] $($ways)* } )*
    };
}

macro_rules! call {
    ($about:tt $vis:tt $name:ident $arguments:tt $answer:tt postgres $postgres:tt url $url:tt) => {
        call! { @postgres $about $vis $name $arguments $answer $postgres }
        call! { @url $about $vis $name $arguments $answer $url }
        call! { @either $about $vis $name $arguments $answer }
    };
    ($about:tt $vis:tt $name:ident $arguments:tt $answer:tt postgres $postgres:tt) => {
        call! { @postgres $about $vis $name $arguments $answer $postgres }
    };
    ($about:tt $vis:tt $name:ident $arguments:tt $answer:tt url $url:tt) => {
        call! { @url $about $vis $name $arguments $answer $url }
        call! { @person $about $vis $name $arguments $answer }
    };

    (@postgres [$(#[$doc:meta])*] [$vis:vis] $name:ident ($($argument:ident: $type:ty),*) [$answer:ty]
     { |$db:ident| $body:expr }) => {
        impl Db {
            $(#[$doc])*
            $vis async fn $name(&self, $($argument: $type),*) -> Result<$answer> {
                let $db = self;
                $body
            }
        }
    };
    (@postgres [$(#[$doc:meta])*] [$vis:vis] $name:ident ($($argument:ident: $type:ty),*) [$answer:ty]
     { $how:ident $file:tt ($($bound:expr),*) }) => {
        impl Db {
            $(#[$doc])*
            $vis async fn $name(&self, $($argument: $type),*) -> Result<$answer> {
                statement!(self, $how, $file, $($bound),*)
            }
        }
    };
    (@postgres [$(#[$doc:meta])*] [$vis:vis] $name:ident ($($argument:ident: $type:ty),*) [$answer:ty]
     { value $file:tt ($($bound:expr),*) in KeeperSession }) => {
        call! { @postgres [$(#[$doc])*] [$vis] $name ($($argument: $type),*) [$answer] { value $file ($($bound),*) } }
        impl KeeperSession {
            $(#[$doc])*
            $vis async fn $name(&mut self, $($argument: $type),*) -> Result<$answer> {
                Ok(query_file_scalar!($file, $($bound),*).fetch_one(&mut self.connection).await?)
            }
        }
    };

    (@url [$(#[$doc:meta])*] [$vis:vis] $name:ident ($($argument:ident: $type:ty),*) [$answer:ty]
     { |$api:ident| $body:expr }) => {
        impl Api {
            $(#[$doc])*
            $vis async fn $name(&self, $($argument: $type),*) -> Result<$answer> {
                let $api = self;
                $body
            }
        }
    };
    (@url [$(#[$doc:meta])*] [$vis:vis] $name:ident ($($argument:ident: $type:ty),*) [$answer:ty]
     { void $function:ident { $($key:ident: $value:expr),* } }) => {
        impl Api {
            $(#[$doc])*
            $vis async fn $name(&self, $($argument: $type),*) -> Result<$answer> {
                let arguments = json!({ $((stringify!($key)): $value),* });
                self.call::<Value>(stringify!($function), arguments).await.map(drop)
            }
        }
    };
    (@url [$(#[$doc:meta])*] [$vis:vis] $name:ident ($($argument:ident: $type:ty),*) [$answer:ty]
     { $function:ident { $($key:ident: $value:expr),* } }) => {
        impl Api {
            $(#[$doc])*
            $vis async fn $name(&self, $($argument: $type),*) -> Result<$answer> {
                let arguments = json!({ $((stringify!($key)): $value),* });
                self.call(stringify!($function), arguments).await
            }
        }
    };

    (@either [$(#[$doc:meta])*] [$vis:vis] $name:ident ($($argument:ident: $type:ty),*) [$answer:ty]) => {
        impl Hub {
            $(#[$doc])*
            $vis async fn $name(&self, $($argument: $type),*) -> Result<$answer> {
                match self {
                    Self::Postgres(hub) => hub.$name($($argument),*).await,
                    Self::Api(hub) => hub.$name($($argument),*).await,
                }
            }
        }
    };
    (@person [$(#[$doc:meta])*] [$vis:vis] $name:ident ($($argument:ident: $type:ty),*) [$answer:ty]) => {
        impl Hub {
            $(#[$doc])*
            $vis async fn $name(&self, $($argument: $type),*) -> Result<$answer> {
                self.as_a_person()?.$name($($argument),*).await
            }
        }
    };
}

macro_rules! statement {
    ($db:expr, rows, $file:tt, $($bound:expr),*) => {
        Ok(fetch!($db, fetch_all, query_file_scalar!($file, $($bound),*)).into_iter().map(|Json(row)| row).collect())
    };
    ($db:expr, row, $file:tt, $($bound:expr),*) => {{
        let Json(row) = fetch!($db, fetch_one, query_file_scalar!($file, $($bound),*));
        Ok(row)
    }};
    ($db:expr, found, $file:tt, $($bound:expr),*) => {
        Ok(fetch!($db, fetch_optional, query_file_scalar!($file, $($bound),*)).map(|Json(row)| row))
    };
    ($db:expr, value, $file:tt, $($bound:expr),*) => {
        Ok(fetch!($db, fetch_one, query_file_scalar!($file, $($bound),*)))
    };
    ($db:expr, perhaps, $file:tt, $($bound:expr),*) => {
        Ok(fetch!($db, fetch_optional, query_file_scalar!($file, $($bound),*)))
    };
    ($db:expr, done, $file:tt, $($bound:expr),*) => {{
        fetch!($db, execute, query_file!($file, $($bound),*));
        Ok(())
    }};
}

/// As Postgres reads an interval.
fn interval(duration: Duration) -> String {
    format!("{} seconds", duration.as_secs_f64())
}

fn length(limit: i64) -> usize {
    usize::try_from(limit).unwrap_or(0)
}

contract! {
    // Devices --------------------------------------------------------------------------------------------------------

    /// Makes a device known, or says anew what it offers. `platform` is `macos`, `linux` or `windows`.
    ///
    /// # Errors
    /// `BadInput`, `DeviceRevoked`, `Forbidden` (another device's name).
    pub fn register_device(name: &str, platform: &str, agents: &[AgentOffer], capacity: i32) -> Device {
        postgres { row "../../sql/queries/devices/register.sql" (name, platform, as_json(agents)?, capacity) }
        url { hub_register_device { p_name: name, p_platform: platform, p_agents: agents, p_capacity: capacity } }
    }

    /// Gives a device nothing new from now on, or lets it work again.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`.
    pub fn drain_device(name: &str, drained: bool) -> Device {
        postgres { row "../../sql/queries/devices/drain.sql" (name, drained) }
        url { hub_drain_device { p_name: name, p_drained: drained } }
    }

    /// Makes a device's token good for nothing here, or takes that back.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`.
    pub fn revoke_device(name: &str, revoked: bool) -> Device {
        postgres { row "../../sql/queries/devices/revoke.sql" (name, revoked) }
        url { hub_revoke_device { p_name: name, p_revoked: revoked } }
    }

    /// Lets a device take a server's tasks, or no longer.
    ///
    /// # Errors
    /// `BadInput`, `NotFound`, `Forbidden`.
    pub fn enroll_device(name: &str, server: Uuid, enrolled: bool) -> Device {
        postgres { row "../../sql/queries/devices/enroll.sql" (name, server, enrolled) }
        url { hub_enroll_device { p_name: name, p_server_id: server, p_enrolled: enrolled } }
    }

    /// Machines of the mesh that the caller may see, with what they run.
    ///
    /// # Errors
    /// Only those of any call.
    pub fn devices() -> Vec<Device> {
        postgres { rows "../../sql/queries/devices/list.sql" () }
        url { |api| api.devices_with_work().await }
    }

    // The life of an attempt -----------------------------------------------------------------------------------------

    /// Takes up to `limit` (1 to 1000) tasks for the device, leased for `lease` (1 s to 1 day).
    ///
    /// # Errors
    /// `BadInput`, `DeviceRevoked`, `Forbidden`.
    pub fn claim(device: &str, limit: i32, lease: Duration) -> Vec<Task> {
        postgres { rows "../../sql/queries/tasks/claim.sql" (device, limit, lease.as_secs_f64()) }
        url { hub_claim_tasks { p_device: device, p_limit: limit, p_lease: interval(lease) } }
    }

    /// Says that the device lives, how it is, and extends the leases of what it runs by 60 s. Answers what to stop, and which projects
    /// to look for and tell of with the next one.
    ///
    /// # Errors
    /// `BadInput`, `DeviceRevoked`, `Forbidden`.
    pub fn heartbeat(device: &str, running: &[Running], machine: &Machine) -> Heartbeat {
        postgres {
            row "../../sql/queries/devices/heartbeat.sql" (device, as_json(running)?, as_json(machine)?)
        }
        url { hub_heartbeat { p_device: device, p_running: running, p_machine: machine } }
    }

    /// Says that the device ends: it is offline from now on, until it is heard of again.
    ///
    /// # Errors
    /// `DeviceRevoked`, `Forbidden`.
    pub fn sign_off(device: &str) -> () {
        postgres { done "../../sql/queries/devices/sign_off.sql" (device) }
        url { void hub_sign_off { p_device: device } }
    }

    /// Says that the account of an agent that the device offers is at a limit, for nobody to take from it before; or, with `used` below 1
    /// and no `until`, only how much of it is used.
    ///
    /// # Errors
    /// `BadInput`, `DeviceRevoked`, `Forbidden`.
    pub fn report_rate_limit(device: &str, agent: &str, limit: &Limit, reason: &str, used: Option<f64>) -> () {
        postgres {
            done "../../sql/queries/devices/report_rate_limit.sql" (
                device, agent, limit.model.as_deref(), limit.until, reason, as_json(&limit.known())?, as_json(&limit.window)?, used
            )
        }
        url {
            void hub_report_rate_limit {
                p_device: device, p_agent: agent, p_model: limit.model, p_until: limit.until, p_reason: reason,
                p_source: limit.known(), p_window: limit.window, p_used: used
            }
        }
    }

    /// Says whether an agent that the device offers is logged in there: one that is not gets no tasks until it is.
    ///
    /// # Errors
    /// `BadInput`, `DeviceRevoked`, `Forbidden`.
    pub fn report_login(device: &str, agent: &str, ok: bool, reason: Option<&str>) -> () {
        postgres { done "../../sql/queries/devices/report_login.sql" (device, agent, ok, reason) }
        url { void hub_report_login { p_device: device, p_agent: agent, p_ok: ok, p_reason: reason } }
    }

    /// Says what the attempt is doing now, in 1 to 100,000 characters. `quiet`: in the task's row alone, without a message.
    ///
    /// # Errors
    /// `LeaseLost`, `BadInput`, `DeviceRevoked`, `Forbidden`.
    pub fn report_progress(task: Uuid, attempt: i32, note: &str, quiet: bool) -> () {
        postgres { done "../../sql/queries/tasks/report_progress.sql" (task, attempt, note, quiet) }
        url {
            void hub_report_progress { p_task_id: task, p_attempt: attempt, p_note: note, p_quiet: quiet }
        }
    }

    /// Ends the attempt well.
    ///
    /// # Errors
    /// `LeaseLost`, `BadInput`, `DeviceRevoked`, `Forbidden`.
    pub fn complete(task: Uuid, attempt: i32, result: &str, meta: &Meta) -> Task {
        postgres { row "../../sql/queries/tasks/complete.sql" (task, attempt, result, as_json(meta)?) }
        url { hub_complete_task { p_task_id: task, p_attempt: attempt, p_result: result, p_meta: meta } }
    }

    /// Ends the attempt badly: tried again with a backoff if `retryable` and attempts are left; cancelled if that was asked for.
    ///
    /// # Errors
    /// `LeaseLost`, `BadInput`, `DeviceRevoked`, `Forbidden`.
    pub fn fail(task: Uuid, attempt: i32, error: &str, retryable: bool, meta: &Meta) -> Task {
        postgres { row "../../sql/queries/tasks/fail.sql" (task, attempt, error, retryable, as_json(meta)?) }
        url {
            hub_fail_task {
                p_task_id: task, p_attempt: attempt, p_error: error, p_retryable: retryable, p_meta: meta
            }
        }
    }

    // Tasks ----------------------------------------------------------------------------------------------------------

    /// Cancels a task: at once if it is not running, else as soon as its device has stopped it.
    ///
    /// # Errors
    /// `Conflict` (it has ended), `NotFound`, `Forbidden`.
    pub fn cancel(task: Uuid) -> Task {
        postgres { row "../../sql/queries/tasks/cancel.sql" (task) }
        url { hub_cancel_task { p_task_id: task } }
    }

    /// Queues a failed or cancelled task again.
    ///
    /// # Errors
    /// `Conflict` (another state), `NotFound`, `Forbidden`.
    pub fn retry(task: Uuid) -> Task {
        postgres { row "../../sql/queries/tasks/retry.sql" (task) }
        url { hub_retry_task { p_task_id: task } }
    }

    /// Why a task is, or is not, running.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn explain(task: Uuid) -> Vec<Explanation> {
        postgres { rows "../../sql/queries/tasks/explain.sql" (task) }
        url { hub_explain_task { p_task_id: task } }
    }

    /// The newest tasks whose ids are not outside of these.
    pub(crate) fn tasks_between(low: Uuid, high: Uuid) -> Vec<Task> {
        postgres { rows "../../sql/queries/tasks/between.sql" (low, high) }
        url {
            |api| api.run(|rest| {
                let tasks = rest.from("mac_tasks").select("*").gte("id", low.to_string()).lte("id", high.to_string());
                tasks.order("created_at.desc").limit(20)
            })
            .await
        }
    }

    /// The newest tasks: of one channel, in one status, at most `limit`.
    ///
    /// # Errors
    /// Only those of any call.
    pub fn recent_tasks(channel: Option<Uuid>, status: Option<&str>, limit: i64) -> Vec<Task> {
        postgres { rows "../../sql/queries/tasks/recent.sql" (channel, status, limit) }
        url {
            |api| api.run(|rest| {
                let mut tasks = rest.from("mac_tasks").select("*");
                if let Some(channel) = channel {
                    tasks = tasks.eq("channel_id", channel.to_string());
                }
                if let Some(status) = status {
                    tasks = tasks.eq("status", status);
                }
                tasks.order("created_at.desc").limit(length(limit))
            })
            .await
        }
    }

    /// How each attempt of a task went, in order.
    ///
    /// # Errors
    /// Only those of any call.
    pub fn attempts(task: Uuid) -> Vec<Attempt> {
        postgres { rows "../../sql/queries/tasks/attempts.sql" (task) }
        url {
            |api| api.run(|rest| {
                rest.from("hub_task_attempts").select("*").eq("task_id", task.to_string()).order("attempt.asc")
            })
            .await
        }
    }

    // Servers and channels -------------------------------------------------------------------------------------------

    /// Servers that the caller may see, by name.
    ///
    /// # Errors
    /// Only those of any call.
    pub fn servers() -> Vec<Server> {
        postgres { rows "../../sql/queries/servers/list.sql" () }
        url { |api| api.run(|rest| rest.from("hub_servers").select("*").order("name.asc")).await }
    }

    /// Channels of a server, or of all.
    ///
    /// # Errors
    /// Only those of any call.
    pub fn channels(server: Option<Uuid>) -> Vec<Channel> {
        postgres { rows "../../sql/queries/servers/channels.sql" (server) }
        url {
            |api| api.run(|rest| {
                let channels = rest.from("hub_channels").select("*").order("server_id.asc,name.asc");
                match server {
                    Some(server) => channels.eq("server_id", server.to_string()),
                    None => channels,
                }
            })
            .await
        }
    }

    /// Who belongs to a server.
    ///
    /// # Errors
    /// Only those of any call.
    pub fn members(server: Uuid) -> Vec<Member> {
        postgres { rows "../../sql/queries/servers/members.sql" (server) }
        url {
            |api| api.run(|rest| {
                let members = rest.from("hub_members").select("*").eq("server_id", server.to_string());
                members.order("role.asc,user_id.asc")
            })
            .await
        }
    }

    /// Lets a person into a server as `owner`, `operator` or `viewer`; no role removes them. Returns the member (or who was).
    ///
    /// # Errors
    /// `BadInput`, `Conflict` (the last owner), `NotFound`, `Forbidden`.
    pub fn set_member(server: Uuid, user: Uuid, role: Option<&str>) -> Member {
        postgres { row "../../sql/queries/servers/set_member.sql" (server, user, role) }
        url { hub_set_member { p_server_id: server, p_user_id: user, p_role: role } }
    }

    /// Lets a person become a member, once they accept; no role withdraws it.
    ///
    /// # Errors
    /// `BadInput`, `Conflict` (a member already), `NotFound`, `TooMany`, `Forbidden`.
    pub fn invite(server: Uuid, user: Uuid, role: Option<&str>) -> Invitation {
        postgres { row "../../sql/queries/servers/invite.sql" (server, user, role) }
        url { hub_invite { p_server_id: server, p_user_id: user, p_role: role } }
    }

    /// The invitations that a person has, or their servers sent. With a person's own token: by Postgres itself nobody is anybody.
    ///
    /// # Errors
    /// `Forbidden` over Postgres.
    pub fn invitations() -> Vec<Invitation> {
        url { |api| api.run(|rest| rest.from("hub_invitations").select("*").order("created_at.asc")).await }
    }

    /// Becomes a member, as what the invitation says.
    ///
    /// # Errors
    /// `NotFound` (not invited), `Forbidden`.
    pub fn accept_invitation(server: Uuid) -> Member {
        url { hub_accept_invitation { p_server_id: server } }
    }

    /// Ends one's own membership, or declines an invitation.
    ///
    /// # Errors
    /// `Conflict` (the last owner), `NotFound`, `Forbidden`.
    pub fn leave(server: Uuid) -> () {
        url { void hub_leave { p_server_id: server } }
    }

    /// A person by the address they sign in with, if there is one.
    pub(crate) fn find_user(email: &str) -> Option<Uuid> {
        postgres { perhaps "../../sql/queries/servers/user_by_email.sql" (email) }
        url { |api| api.user_with_email(email).await }
    }

    /// What servers may name outside themselves. Written by `postgres` alone, so only here.
    ///
    /// # Errors
    /// None of its own.
    pub fn places() -> Vec<Place> {
        postgres { rows "../../sql/queries/servers/places.sql" () }
    }

    /// Lets a server name something outside itself.
    ///
    /// # Errors
    /// `BadInput`: no such kind, or no target of that kind.
    pub fn add_place(kind: &str, server: Uuid, target: &str, device: Option<&str>, secret: Option<&str>) -> Place {
        postgres { row "../../sql/queries/servers/add_place.sql" (kind, server, target, device, secret) }
    }

    /// Takes places away; gives how many there were.
    ///
    /// # Errors
    /// None of its own.
    pub fn remove_place(kind: &str, server: Uuid, target: &str) -> i64 {
        postgres { value "../../sql/queries/servers/remove_place.sql" (kind, server, target) }
    }

    // Conversations --------------------------------------------------------------------------------------------------

    /// Sends a message and does what the channel's architecture says. The same key with the same content gives the first answer.
    ///
    /// # Errors
    /// `BadInput`, `Conflict` (the key was used), `NotFound`, `Forbidden`.
    pub fn send(channel: Uuid, content: &str, thread: Option<Uuid>, key: Option<&str>) -> Sent {
        postgres { row "../../sql/queries/conversations/send.sql" (channel, content, thread, key) }
        url {
            hub_send { p_channel_id: channel, p_content: content, p_thread_id: thread, p_idempotency_key: key }
        }
    }

    /// A message in the name of the bearer of `claims`, which the caller has verified: what `hub_send` returns.
    ///
    /// # Errors
    /// As `hub_send`.
    pub fn send_to_as(claims: &Value, channel: &str, content: &str, key: Option<&str>) -> Value {
        postgres { row "../../sql/queries/edges/send_to_as.sql" (claims, channel, content, key) }
    }

    /// Answers a command; nothing is kept.
    ///
    /// # Errors
    /// `BadInput`, `NotFound`, `Forbidden`.
    pub fn execute_command(channel: Uuid, command: &str) -> Reply {
        postgres { row "../../sql/queries/conversations/execute_command.sql" (channel, command) }
        url { hub_execute_command { p_channel_id: channel, p_command: command } }
    }

    /// A command in the name of the bearer of `claims`, which the caller has verified: one exchange with the database.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`, `Conflict` (a channel that takes no commands).
    pub fn execute_command_as(claims: &Value, channel: Uuid, command: &str) -> Reply {
        postgres { row "../../sql/queries/koji/execute_command_as.sql" (claims, channel, command) }
    }

    /// Posts a message as oneself; no task comes of it.
    ///
    /// # Errors
    /// `BadInput`, `Conflict` (the key was used), `NotFound`, `Forbidden`.
    pub fn post(channel: Uuid, thread: Option<Uuid>, content: &str, key: Option<&str>) -> Message {
        postgres {
            |db| {
                // Twice: of two senders of one key the second may not see the first one's row in its snapshot yet.
                for _ in 0..2 {
                    let posted: Result<Option<Message>> = statement!(
                        db, found, "../../sql/queries/conversations/post.sql", channel, thread, content, key
                    );
                    if let Some(message) = posted? {
                        return Ok(message);
                    }
                }
                Err(Error::Internal("the message was neither posted nor found".into()))
            }
        }
        url { |api| api.insert_message(channel, thread, content, key).await }
    }

    /// Messages of one conversation (no thread: the flat one) numbered after `after`, in order, at most `limit` (1 to 1000).
    ///
    /// # Errors
    /// `BadInput`, `NotFound`.
    pub fn messages_since(channel: Uuid, after: i64, thread: Option<Uuid>, limit: i32) -> Vec<Message> {
        postgres { rows "../../sql/queries/conversations/messages_since.sql" (channel, after, thread, limit) }
        url { hub_messages_since { p_channel_id: channel, p_after: after, p_thread_id: thread, p_limit: limit } }
    }

    /// The newest threads, at most `limit`: of one channel, with archived ones or without.
    ///
    /// # Errors
    /// Only those of any call.
    pub fn threads(channel: Option<Uuid>, archived: bool, limit: i64) -> Vec<Thread> {
        postgres { rows "../../sql/queries/conversations/threads.sql" (channel, archived, limit) }
        url {
            |api| api.run(|rest| {
                let mut threads = rest.from("hub_task_threads").select("*");
                if let Some(channel) = channel {
                    threads = threads.eq("channel_id", channel.to_string());
                }
                if !archived {
                    threads = threads.neq("status", "archived");
                }
                threads.order("last_activity_at.desc").limit(length(limit))
            })
            .await
        }
    }

    /// The newest threads of a channel whose ids are not outside of these.
    pub(crate) fn threads_between(channel: Uuid, low: Uuid, high: Uuid) -> Vec<Thread> {
        postgres { rows "../../sql/queries/conversations/threads_between.sql" (channel, low, high) }
        url {
            |api| api.run(|rest| {
                let threads = rest.from("hub_task_threads").select("*").eq("channel_id", channel.to_string());
                let threads = threads.gte("id", low.to_string()).lte("id", high.to_string());
                threads.order("last_activity_at.desc").limit(20)
            })
            .await
        }
    }

    /// The task's thread in a channel, opened if there is none.
    ///
    /// # Errors
    /// `Conflict` (the channel has no threads), `NotFound`, `Forbidden`.
    pub fn create_task_thread(channel: Uuid, task: Uuid) -> Thread {
        postgres { row "../../sql/queries/conversations/create_task_thread.sql" (channel, task) }
        url { hub_create_task_thread { p_channel_id: channel, p_task_id: task } }
    }

    /// Sets a thread `active`, `idle`, `decaying` or `archived` by hand.
    ///
    /// # Errors
    /// `BadInput`, `NotFound`, `Forbidden`.
    pub fn update_thread_status(thread: Uuid, status: &str) -> Thread {
        postgres { row "../../sql/queries/conversations/update_thread_status.sql" (thread, status) }
        url { hub_update_thread_status { p_thread_id: thread, p_status: status } }
    }

    /// What kind of task a text is, and for whom.
    ///
    /// # Errors
    /// `NotFound` (the channel).
    pub fn classify(content: &str, channel: Option<Uuid>) -> Classification {
        postgres { row "../../sql/queries/conversations/classify.sql" (content, channel) }
        url {
            |api| {
                let arguments = json!({"p_content": content, "p_channel_id": channel});
                let rows: Vec<Classification> = api.call("hub_classify", arguments).await?;
                rows.into_iter().next().ok_or_else(|| Error::Internal("hub_classify gave no row".into()))
            }
        }
    }

    /// The registry of commands, by name.
    ///
    /// # Errors
    /// Only those of any call.
    pub fn commands() -> Vec<Command> {
        postgres { rows "../../sql/queries/koji/commands.sql" () }
        url {
            |api| api.run(|rest| {
                rest.from("koji_commands").select("name,usage,description,writes").order("name.asc")
            })
            .await
        }
    }

    // Doors ----------------------------------------------------------------------------------------------------------

    /// Takes in a message of a bridged chat, once for its id there: `{duplicate, echo, bridge, message, task, thread, reply, outgoing}`.
    ///
    /// # Errors
    /// `NotFound` (no such bridge), `BadInput`, `Forbidden` unless service or database.
    pub fn receive_bridged(message: &Bridged<'_>) -> Value {
        postgres {
            row "../../sql/queries/edges/receive_bridged.sql" (
                message.provider, message.target, message.external, message.author, message.content, message.reply_to,
                message.interaction, message.author_id, message.kind, message.elsewhere
            )
        }
        url {
            hub_receive_bridged {
                p_provider: message.provider, p_target: message.target, p_external_id: message.external,
                p_author: message.author, p_content: message.content, p_reply_to: message.reply_to,
                p_interaction: message.interaction, p_author_id: message.author_id, p_kind: message.kind,
                p_elsewhere: message.elsewhere
            }
        }
    }

    /// Stores a delivery whose signature the caller has checked: `{delivery, duplicate}`. The payload goes as it is, to the digit.
    ///
    /// # Errors
    /// `BadInput`.
    pub fn receive_webhook(provider: &str, delivery: &str, event: &str, payload: &RawValue, secret: &str) -> Value {
        postgres {
            row "../../sql/queries/edges/receive_webhook.sql" (provider, delivery, event, Json(payload) as _, secret)
        }
    }

    /// Takes in an agent's message.
    ///
    /// # Errors
    /// `Forbidden`, `BadInput`, `Conflict`, `NotFound`.
    pub fn receive_hook(token: &SecretString, message: &str, target: &str, deliver: bool, key: Option<&str>) -> Value {
        postgres {
            row "../../sql/queries/edges/receive_hook.sql" (token.expose_secret(), message, target, deliver, key)
        }
    }

    // Time -----------------------------------------------------------------------------------------------------------

    /// Takes threads that are due one step on. Returns how many; call again while it returns `limit`.
    ///
    /// # Errors
    /// `Forbidden` unless service or database.
    pub fn decay_threads(limit: i32) -> i32 {
        postgres { value "../../sql/queries/keeper/decay_threads.sql" (limit) in KeeperSession }
        url { hub_decay_threads { p_limit: limit } }
    }

    /// Takes back expired leases and tells what was never told. Returns how many; call again while it returns `limit`.
    ///
    /// # Errors
    /// `Forbidden` unless service or database.
    pub fn recover(limit: i32) -> i32 {
        postgres { value "../../sql/queries/keeper/recover.sql" (limit) in KeeperSession }
        url { hub_recover { p_limit: limit } }
    }

    /// In how many seconds the next lease of a running task ends, or the next limit; zero or less if it is over, none if there is none.
    ///
    /// # Errors
    /// Only those of any call.
    pub fn next_due() -> Option<f64> {
        postgres { value "../../sql/queries/keeper/next_due.sql" () in KeeperSession }
        url {
            |api| {
                #[derive(Deserialize)]
                struct Row {
                    #[serde(deserialize_with = "moment")]
                    lease_expires_at: Option<DateTime<Utc>>,
                }
                // Those without a lease come last.
                let rows: Vec<Row> = api.run(|rest| {
                    let running = rest.from("mac_tasks").select("lease_expires_at").eq("status", "running");
                    running.order("lease_expires_at.asc").limit(1)
                })
                .await?;
                #[derive(Deserialize)]
                struct Pool {
                    #[serde(deserialize_with = "moment")]
                    limited_until: Option<DateTime<Utc>>,
                }
                let pools: Vec<Pool> = api.run(|rest| {
                    let limited = rest.from("mesh_quota_pools").select("limited_until").is("lifted_at", "null");
                    limited.order("limited_until.asc").limit(1)
                })
                .await?;
                let lease = rows.first().and_then(|row| row.lease_expires_at);
                let limit = pools.first().and_then(|pool| pool.limited_until);
                let due = [lease, limit].into_iter().flatten().min();
                Ok(due.map(|due| (due - Utc::now()).as_seconds_f64()))
            }
        }
    }

    /// Posts what feeds have to say. Returns how many messages.
    ///
    /// # Errors
    /// `Forbidden` unless service or database.
    pub fn post_feeds() -> i32 {
        postgres { value "../../sql/queries/keeper/post_feeds.sql" () in KeeperSession }
        url { hub_post_feeds {} }
    }

    // Errands --------------------------------------------------------------------------------------------------------

    /// Looks at stored deliveries. Returns at how many; call again while it returns `limit`.
    ///
    /// # Errors
    /// `Forbidden` unless service or database.
    pub fn process_webhooks(limit: i32) -> i32 {
        postgres { value "../../sql/queries/keeper/process_webhooks.sql" (limit) }
        url { hub_process_webhooks { p_limit: limit } }
    }

    /// Takes sweeps that are due; they are running now.
    ///
    /// # Errors
    /// `Forbidden` unless service or database.
    pub fn claim_sweeps(limit: i32, lease: Duration) -> Vec<Sweep> {
        postgres { rows "../../sql/queries/koji/claim_sweeps.sql" (limit, lease.as_secs_f64()) }
        url { hub_claim_sweeps { p_limit: limit, p_lease: interval(lease) } }
    }

    /// Ends a sweep with what `source` named.
    ///
    /// # Errors
    /// `LeaseLost`, `BadInput`, `Forbidden`.
    pub fn complete_sweep(sweep: &Sweep, found: &[Lead], source: &str) -> Sweep {
        postgres { row "../../sql/queries/koji/complete_sweep.sql" (sweep.id, sweep.attempt, as_json(found)?, source) }
        url {
            hub_complete_sweep { p_sweep_id: sweep.id, p_attempt: sweep.attempt, p_found: found, p_source: source }
        }
    }

    /// Says why a sweep came to nothing.
    ///
    /// # Errors
    /// `LeaseLost`, `Forbidden`.
    pub fn fail_sweep(sweep: &Sweep, error: &str, retryable: bool) -> Sweep {
        postgres { row "../../sql/queries/koji/fail_sweep.sql" (sweep.id, sweep.attempt, error, retryable) }
        url {
            hub_fail_sweep { p_sweep_id: sweep.id, p_attempt: sweep.attempt, p_error: error, p_retryable: retryable }
        }
    }

    /// Takes what is to be said elsewhere, at most one row of a target; they are in flight now, for `lease` (1 s to 1 hour).
    ///
    /// # Errors
    /// `BadInput`, `Forbidden` unless service or database.
    pub fn claim_outbox(limit: i32, lease: Duration) -> Vec<Outgoing> {
        postgres { rows "../../sql/queries/outbox/claim.sql" (limit, lease.as_secs_f64()) }
        url { hub_claim_outbox { p_limit: limit, p_lease: interval(lease) } }
    }

    /// Says that a row was delivered, and which id it has there; `parts` are the ids of all its messages if it took several.
    ///
    /// # Errors
    /// `LeaseLost`, `BadInput`, `Forbidden`.
    pub fn complete_outbox(
        id: Uuid, attempt: i32, external_id: Option<&str>, parts: Option<&[String]>, note: Option<&str>
    ) -> () {
        postgres { done "../../sql/queries/outbox/complete.sql" (id, attempt, external_id, parts, note) }
        url {
            void hub_complete_outbox {
                p_id: id, p_attempt: attempt, p_external_id: external_id, p_parts: parts, p_note: note
            }
        }
    }

    /// Says why a row was not delivered. When it is tried again; none if it is a dead letter now.
    ///
    /// # Errors
    /// `LeaseLost`, `BadInput`, `Forbidden`.
    pub fn fail_outbox(id: Uuid, attempt: i32, failed: &Undelivered) -> Option<DateTime<Utc>> {
        postgres {
            value "../../sql/queries/outbox/fail.sql" (
                id, attempt, failed.error, failed.retry_after.map(|after| after.as_secs_f64()), failed.permanent,
                failed.parts.as_deref()
            )
        }
        url {
            |api| {
                #[derive(Deserialize)]
                struct Row {
                    status: String,
                    run_after: DateTime<Utc>,
                }
                let arguments = json!({
                    "p_id": id, "p_attempt": attempt, "p_error": failed.error,
                    "p_retry_after": failed.retry_after.map(interval), "p_permanent": failed.permanent,
                    "p_parts": failed.parts,
                });
                let row: Row = api.call("hub_fail_outbox", arguments).await?;
                Ok((row.status == "pending").then_some(row.run_after))
            }
        }
    }

    /// When `claim_outbox` has something next; none if nothing waits but what is in flight.
    ///
    /// # Errors
    /// `Forbidden` unless service or database.
    pub fn outbox_due() -> Option<DateTime<Utc>> {
        postgres { value "../../sql/queries/outbox/due.sql" () }
        url { hub_outbox_due {} }
    }

    /// Notifies whoever listens for devices.
    pub(crate) fn probe(payload: &str) -> () {
        postgres { done "../../sql/queries/wake/probe.sql" (payload) }
    }
}
