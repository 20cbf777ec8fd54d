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
        AgentOffer, Ask, Asking, AtWork, Attempt, Begun, Bridged, Budget, BudgetState, Channel, ChatIdentity,
        Classification, Command, Costs, Device, Explanation, Fallback, Heartbeat, Invitation, Lead, Limit, LoginLease,
        Machine, Member, Message, Meta, NewBudget, Outgoing, Place, QuotaPool, Reply, Sent, Server, Share, ShareState,
        SteerOutcome, SubtaskResult, Sweep, Task, Thread, Undelivered, Workspace, WorkspaceToClean, moment,
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

    /// What the agents of those machines draw from, and how much of it is used, as far as it was told of in the last 8 days.
    pub fn limits() -> Vec<QuotaPool> {
        postgres { rows "../../sql/queries/devices/limits.sql" () }
        url { hub_limits {} }
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

    /// Says that the device lives, how it is, and what its attempts have used; extends their leases by 60 s. Answers what to stop or to
    /// park, and which projects to look for and tell of with the next one.
    ///
    /// # Errors
    /// `BadInput`, `DeviceRevoked`, `Forbidden`.
    pub fn heartbeat(device: &str, running: &[AtWork], machine: &Machine) -> Heartbeat {
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
    /// and no `until`, only how much is used of a window that begins anew at `resets_at`: where no more is left than is kept for people,
    /// nobody takes from it before that. A limit that is not met is told so, with `used` below 1 whatever is used.
    ///
    /// # Errors
    /// `BadInput`, `DeviceRevoked`, `Forbidden`.
    pub fn report_rate_limit(
        device: &str, agent: &str, limit: &Limit, reason: &str, used: Option<f64>, resets_at: Option<DateTime<Utc>>
    ) -> () {
        postgres {
            done "../../sql/queries/devices/report_rate_limit.sql" (
                device, agent, limit.model.as_deref(), limit.until, reason, as_json(&limit.known())?, as_json(&limit.window)?, used,
                resets_at
            )
        }
        url {
            void hub_report_rate_limit {
                p_device: device, p_agent: agent, p_model: limit.model, p_until: limit.until, p_reason: reason,
                p_source: limit.known(), p_window: limit.window, p_used: used, p_resets_at: resets_at
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

    /// Takes the login of an agent that the device offers, to refresh it, for `seconds` (1 to 300). `holder` is a process of the device;
    /// asked again by the same it is longer.
    ///
    /// # Errors
    /// `BadInput`, `DeviceRevoked`, `Forbidden`.
    pub fn lease_login(device: &str, agent: &str, holder: &str, seconds: i32) -> LoginLease {
        postgres { row "../../sql/queries/devices/lease_login.sql" (device, agent, holder, seconds) }
        url { hub_lease_login { p_device: device, p_agent: agent, p_holder: holder, p_seconds: seconds } }
    }

    /// Gives back the login that [`Hub::lease_login`] gave; nothing happens where that is over.
    ///
    /// # Errors
    /// `BadInput`, `DeviceRevoked`, `Forbidden`.
    pub fn return_login(device: &str, agent: &str, holder: &str) -> () {
        postgres { done "../../sql/queries/devices/return_login.sql" (device, agent, holder) }
        url { void hub_return_login { p_device: device, p_agent: agent, p_holder: holder } }
    }

    /// What the attempt is to be done with: the words for the agent, its session, branch and project. Asked again it gives the same.
    ///
    /// # Errors
    /// `LeaseLost`, `DeviceRevoked`, `Forbidden`.
    pub fn begin_attempt(task: Uuid, attempt: i32) -> Begun {
        postgres { row "../../sql/queries/tasks/begin_attempt.sql" (task, attempt) }
        url { hub_begin_attempt { p_task_id: task, p_attempt: attempt } }
    }

    /// Says where the attempt works.
    ///
    /// # Errors
    /// `LeaseLost`, `BadInput`, `DeviceRevoked`, `Forbidden`.
    pub fn report_workspace(task: Uuid, attempt: i32, workspace: &Workspace) -> () {
        postgres { done "../../sql/queries/tasks/report_workspace.sql" (task, attempt, as_json(workspace)?) }
        url { void hub_report_workspace { p_task_id: task, p_attempt: attempt, p_workspace: workspace } }
    }

    /// Worktrees of the device whose work is over: to be removed, where their commits are safe or bundled first. At most 100.
    ///
    /// # Errors
    /// `DeviceRevoked`, `Forbidden`.
    pub fn workspaces_to_clean(device: &str) -> Vec<WorkspaceToClean> {
        postgres { rows "../../sql/queries/devices/workspaces_to_clean.sql" (device) }
        url { hub_workspaces_to_clean { p_device: device } }
    }

    /// Says that the device has removed the worktree of a line of work; `bundled`: with commits that are only in a bundle there.
    ///
    /// # Errors
    /// `DeviceRevoked`, `Forbidden`.
    pub fn workspace_removed(device: &str, root: Uuid, bundled: bool) -> () {
        postgres { done "../../sql/queries/devices/workspace_removed.sql" (device, root, bundled) }
        url { void hub_workspace_removed { p_device: device, p_root: root, p_bundled: bundled } }
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

    // What an attempt hears and says -----------------------------------------------------------------------------------

    /// Says what became of what a heartbeat gave in `steer`. Those that wait for a further turn are reported again, as taken, once it
    /// has begun: what an attempt that is tried again never took goes with the next one.
    ///
    /// # Errors
    /// `LeaseLost`, `BadInput`, `DeviceRevoked`, `Forbidden`.
    pub fn report_steer(task: Uuid, attempt: i32, steers: &[i64], outcome: SteerOutcome) -> () {
        postgres { done "../../sql/queries/tasks/report_steer.sql" (task, attempt, steers, outcome.as_str()) }
        url {
            void hub_report_steer { p_task_id: task, p_attempt: attempt, p_ids: steers, p_outcome: outcome }
        }
    }

    /// What the agent says in its conversation, at once: 1 to 10,000 characters, some fifty times an attempt.
    ///
    /// # Errors
    /// `LeaseLost`, `BadInput`, `Conflict` (no conversation), `TooMany`, `DeviceRevoked`, `Forbidden`.
    pub fn say(task: Uuid, attempt: i32, text: &str) -> Message {
        postgres { row "../../sql/queries/tasks/say.sql" (task, attempt, text) }
        url { hub_say { p_task_id: task, p_attempt: attempt, p_text: text } }
    }

    /// A task that the agent gives to another; none of `model`, `agent`, `project` is as its own. Its end comes with a heartbeat.
    ///
    /// # Errors
    /// `LeaseLost`, `BadInput`, `Conflict` (it is being cancelled), `TooMany`, `DeviceRevoked`, `Forbidden` (its maker may not any more).
    pub fn subtask(
        task: Uuid, attempt: i32, content: &str, model: Option<&str>, agent: Option<&str>, project: Option<&str>
    ) -> Task {
        postgres { row "../../sql/queries/tasks/subtask.sql" (task, attempt, content, model, agent, project) }
        url {
            hub_subtask {
                p_task_id: task, p_attempt: attempt, p_content: content, p_model: model, p_agent: agent, p_project: project
            }
        }
    }

    /// How a subtask of the task is, or how it ended; after that heartbeats name it no more.
    ///
    /// # Errors
    /// `LeaseLost`, `NotFound`, `DeviceRevoked`, `Forbidden`.
    pub fn subtask_result(task: Uuid, attempt: i32, subtask: Uuid) -> SubtaskResult {
        postgres { row "../../sql/queries/tasks/subtask_result.sql" (task, attempt, subtask) }
        url { hub_subtask_result { p_task_id: task, p_attempt: attempt, p_subtask_id: subtask } }
    }

    /// The newest messages (1 to 200) of the attempt's own conversation, before the number `before` if given, newest last.
    ///
    /// # Errors
    /// `LeaseLost`, `BadInput`, `DeviceRevoked`, `Forbidden`.
    pub fn attempt_thread(task: Uuid, attempt: i32, before: Option<i64>, limit: i32) -> Vec<Message> {
        postgres { rows "../../sql/queries/tasks/attempt_thread.sql" (task, attempt, before, limit) }
        url { hub_attempt_thread { p_task_id: task, p_attempt: attempt, p_before: before, p_limit: limit } }
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

    /// Tells the agent of a running task something. What became of it is told in the conversation.
    ///
    /// # Errors
    /// `BadInput`, `Conflict` (it does not run, or not by a lease), `NotFound`, `TooMany`, `Forbidden`.
    pub fn steer(task: Uuid, text: &str) -> Task {
        postgres { row "../../sql/queries/tasks/steer.sql" (task, text) }
        url { hub_steer_task { p_task_id: task, p_text: text } }
    }

    /// Has a task that does not run wait until another of its server has ended. Where that fails: `fail` or `continue`.
    ///
    /// # Errors
    /// `BadInput`, `Conflict` (another state, another server, a cycle), `NotFound`, `TooMany`, `Forbidden`.
    pub fn need(task: Uuid, needs: Uuid, on_failure: &str) -> () {
        postgres { done "../../sql/queries/tasks/need.sql" (task, needs, on_failure) }
        url { void hub_need_task { p_task_id: task, p_needs: needs, p_on_failure: on_failure } }
    }

    /// Says which agent, model or device a task is for that does not run, `any` is any device; and what kind of work it is, which
    /// the same request is taken for from then on.
    ///
    /// # Errors
    /// `BadInput`, `Conflict` (another state), `NotFound`, `Forbidden`.
    pub fn route(task: Uuid, agent: Option<&str>, model: Option<&str>, device: Option<&str>, kind: Option<&str>) -> Task {
        postgres { row "../../sql/queries/tasks/route.sql" (task, agent, model, device, kind) }
        url { hub_route_task { p_task_id: task, p_agent: agent, p_model: model, p_device: device, p_type: kind } }
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

    // Asking people --------------------------------------------------------------------------------------------------

    /// Asks people. The same reference of an attempt is the same ask; a rule, or what was allowed before, may have answered it already.
    ///
    /// # Errors
    /// `LeaseLost`, `BadInput`, `Conflict` (the reference names another ask), `TooMany`, `DeviceRevoked`, `Forbidden`.
    pub fn ask(task: Uuid, attempt: i32, ask: &Asking) -> Ask {
        postgres {
            row "../../sql/queries/asks/ask.sql" (
                task, attempt, ask.kind, ask.title, ask.body, ask.input, ask.options, ask.reference
            )
        }
        url {
            hub_ask {
                p_task_id: task, p_attempt: attempt, p_kind: ask.kind, p_title: ask.title, p_body: ask.body, p_input: ask.input,
                p_options: ask.options, p_ref: ask.reference
            }
        }
    }

    /// The agent waits for it no more. One that is answered already stays so.
    ///
    /// # Errors
    /// `LeaseLost`, `NotFound`, `DeviceRevoked`, `Forbidden`.
    pub fn withdraw_ask(task: Uuid, attempt: i32, ask: Uuid) -> Ask {
        postgres { row "../../sql/queries/asks/withdraw.sql" (task, attempt, ask) }
        url { hub_withdraw_ask { p_task_id: task, p_attempt: attempt, p_ask_id: ask } }
    }

    /// These answers have reached the agent: heartbeats give them no more.
    ///
    /// # Errors
    /// `LeaseLost`, `DeviceRevoked`, `Forbidden`.
    pub fn take_answers(task: Uuid, attempt: i32, asks: &[Uuid]) -> () {
        postgres { done "../../sql/queries/asks/take.sql" (task, attempt, asks) }
        url { void hub_take_answers { p_task_id: task, p_attempt: attempt, p_ask_ids: asks } }
    }

    /// Ends an attempt that asks, at no cost: its task waits without a slot, or is pending at once if it was answered meanwhile.
    ///
    /// # Errors
    /// `LeaseLost`, `BadInput`, `Conflict` (it asks nothing), `DeviceRevoked`, `Forbidden`.
    pub fn park(task: Uuid, attempt: i32, meta: &Meta) -> Task {
        postgres { row "../../sql/queries/asks/park.sql" (task, attempt, as_json(meta)?) }
        url { hub_park_task { p_task_id: task, p_attempt: attempt, p_meta: meta } }
    }

    /// Answers an ask with the key of one of its options, or a question with a text. `digest` is that of what was shown.
    ///
    /// # Errors
    /// `BadInput`, `Conflict` (closed already, or another digest), `NotFound`, `Forbidden`.
    pub fn answer_ask(ask: Uuid, answer: Option<&str>, text: Option<&str>, digest: Option<&str>) -> Ask {
        postgres { row "../../sql/queries/asks/answer.sql" (ask, answer, text, digest) }
        url { hub_answer_ask { p_ask_id: ask, p_answer: answer, p_text: text, p_digest: digest } }
    }

    /// What attempts that ended from `from` on and before `to` cost, in the servers that the caller operates: a row a day, project, agent,
    /// person or server, as `by` says.
    ///
    /// # Errors
    /// `BadInput`, `Forbidden`.
    pub fn costs(from: DateTime<Utc>, to: DateTime<Utc>, by: &str) -> Vec<Costs> {
        postgres { rows "../../sql/queries/servers/costs.sql" (from, to, by) }
        url { hub_costs { p_from: from, p_to: to, p_by: by } }
    }

    /// How the budgets stand of the servers that the caller operates; of a trusted caller, all.
    ///
    /// # Errors
    /// `Forbidden`.
    pub fn budgets() -> Vec<BudgetState> {
        postgres { rows "../../sql/queries/servers/budgets.sql" () }
        url { hub_budget_state {} }
    }

    /// Makes a budget, or changes that of the same subject, measure and period.
    ///
    /// # Errors
    /// `BadInput`, `NotFound`, `TooMany`, `Forbidden`.
    pub fn set_budget(server: Option<Uuid>, budget: &NewBudget) -> Budget {
        postgres {
            row "../../sql/queries/servers/set_budget.sql" (
                server, &budget.scope, budget.subject.as_deref(), &budget.measure, budget.amount, budget.per.as_deref(),
                budget.on_silence.as_deref(), budget.silence.map(|silence| silence.as_secs_f64()), budget.roles.as_deref(),
                budget.about.as_deref()
            )
        }
        url {
            hub_set_budget {
                p_server_id: server, p_scope: budget.scope, p_subject: budget.subject, p_measure: budget.measure,
                p_amount: budget.amount, p_per: budget.per, p_on_silence: budget.on_silence,
                p_silence: budget.silence.map(interval), p_roles: budget.roles, p_about: budget.about
            }
        }
    }

    /// Takes a budget away: what it held back goes on.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`.
    pub fn remove_budget(id: i64) -> Budget {
        postgres { row "../../sql/queries/servers/remove_budget.sql" (id) }
        url { hub_remove_budget { p_id: id } }
    }

    /// What servers that the caller operates weigh, and their projects, and what each used lately.
    ///
    /// # Errors
    /// `Forbidden`.
    pub fn shares() -> Vec<ShareState> {
        postgres { rows "../../sql/queries/servers/shares.sql" () }
        url { hub_share_state {} }
    }

    /// Gives a project of a server, or the server itself, a weight (0.1 to 100), or takes it away.
    ///
    /// # Errors
    /// `BadInput`, `NotFound`, `TooMany`, `Forbidden`.
    pub fn set_share(server: Uuid, project: Option<&str>, weight: Option<f64>) -> Share {
        postgres { row "../../sql/queries/servers/set_share.sql" (server, project, weight) }
        url { hub_set_share { p_server_id: server, p_project: project, p_weight: weight } }
    }

    /// Which models run what another one can not while it is at its limit, in their order.
    ///
    /// # Errors
    /// Only those of any call.
    pub fn fallbacks() -> Vec<Fallback> {
        postgres { rows "../../sql/queries/servers/fallbacks.sql" () }
        url {
            |api| api.run(|rest| {
                rest.from("hub_model_fallbacks").select("*").order("server_id.asc.nullsfirst,model.asc,position.asc")
            }).await
        }
    }

    /// Sets all of them of a model, in a server or (`None`) where a server has none of its own. No fallback: those hold in that server.
    ///
    /// # Errors
    /// `BadInput`, `NotFound`, `TooMany`, `Forbidden`.
    pub fn set_fallbacks(server: Option<Uuid>, model: &str, fallbacks: &[String]) -> Vec<Fallback> {
        postgres { rows "../../sql/queries/servers/set_fallbacks.sql" (server, model, fallbacks) }
        url { hub_set_fallbacks { p_server_id: server, p_model: model, p_fallbacks: fallbacks } }
    }

    /// What waits for the caller, newest first, asked before `before`, at most `limit` (1 to 1000).
    ///
    /// # Errors
    /// `BadInput`, `Forbidden`.
    pub fn inbox(before: Option<DateTime<Utc>>, limit: i32) -> Vec<Ask> {
        postgres { rows "../../sql/queries/asks/inbox.sql" (before, limit) }
        url { hub_inbox { p_before: before, p_limit: limit } }
    }

    /// What a task has asked, in order.
    ///
    /// # Errors
    /// Only those of any call.
    pub fn asks(task: Uuid) -> Vec<Ask> {
        postgres { rows "../../sql/queries/asks/of_task.sql" (task) }
        url {
            |api| api.run(|rest| {
                rest.from("hub_asks").select("*").eq("task_id", task.to_string()).order("created_at.asc")
            })
            .await
        }
    }

    /// A one-time code with which the caller links an account of a chat to themselves.
    ///
    /// # Errors
    /// `TooMany`, `Forbidden` unless a person.
    pub fn link_code() -> String {
        url { hub_link_code {} }
    }

    /// The accounts of chats that are linked to the caller. With a person's own token: by Postgres itself nobody is anybody.
    ///
    /// # Errors
    /// `Forbidden` over Postgres.
    pub fn chat_identities() -> Vec<ChatIdentity> {
        url { |api| api.run(|rest| rest.from("hub_chat_identities").select("*").order("created_at.asc")).await }
    }

    /// Takes an account of a chat from the caller.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn unlink_chat(provider: &str, author: &str) -> () {
        url { void hub_unlink_chat { p_provider: provider, p_author_id: author } }
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

    /// Answers a message of a task: a follow-up of it, in its conversation, or words to its agent where replies steer.
    ///
    /// # Errors
    /// `BadInput`, `Conflict` (a message of no task, or the key was used), `NotFound`, `TooMany`, `Forbidden`.
    pub fn reply(channel: Uuid, content: &str, to: Uuid, key: Option<&str>) -> Sent {
        postgres { row "../../sql/queries/conversations/reply.sql" (channel, content, to, key) }
        url {
            hub_send { p_channel_id: channel, p_content: content, p_idempotency_key: key, p_reply_to: to }
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

    /// The newest messages of a channel and its threads whose ids are not outside of these.
    pub(crate) fn messages_between(channel: Uuid, low: Uuid, high: Uuid) -> Vec<Message> {
        postgres { rows "../../sql/queries/conversations/messages_between.sql" (channel, low, high) }
        url {
            |api| api.run(|rest| {
                let messages = rest.from("hub_channel_messages").select("*").eq("channel_id", channel.to_string());
                let messages = messages.gte("id", low.to_string()).lte("id", high.to_string());
                messages.order("created_at.desc").limit(20)
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

    /// Links an account of a chat to whoever the code is of: `{linked, text}`.
    ///
    /// # Errors
    /// `BadInput`, `TooMany`, `Forbidden` unless service or database.
    pub fn link_chat(provider: &str, author_id: &str, author: &str, code: &str) -> Value {
        postgres { row "../../sql/queries/asks/link_chat.sql" (provider, author_id, author, code) }
        url {
            hub_link_chat { p_provider: provider, p_author_id: author_id, p_author: author, p_code: code }
        }
    }

    /// A button was pressed in a chat (as a bridge's target): `{outcome, text}`.
    ///
    /// # Errors
    /// `BadInput`, `Forbidden` unless service or database.
    pub fn answer_from_chat(provider: &str, key: &str, author_id: &str, chat: &str) -> Value {
        postgres { row "../../sql/queries/asks/answer_from_chat.sql" (provider, key, author_id, chat) }
        url {
            hub_answer_from_chat { p_provider: provider, p_key: key, p_author_id: author_id, p_chat: chat }
        }
    }

    /// A button of ntfy was pressed: `{outcome, text}`.
    ///
    /// # Errors
    /// `Forbidden` unless service or database.
    pub fn answer_by_token(token: &SecretString, answer: Option<&str>) -> Value {
        postgres { row "../../sql/queries/asks/answer_by_token.sql" (token.expose_secret(), answer) }
        url { hub_answer_by_token { p_token: token.expose_secret(), p_answer: answer } }
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

    /// In how many seconds the next lease of a running task ends, or the next limit; zero or less if it is over or, over Postgres, a lane
    /// is to be weighed; none if there is none.
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
