//! The hub, wherever it is: every call of the contract that a worker or the command line makes, one method each.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    api::Api,
    config::{Config, Target},
    db::Db,
    error::{Error, Refusal, Result},
    types::{
        AgentOffer, Attempt, Bridged, Channel, Classification, Command, Device, Explanation, Heartbeat, Invitation,
        Lead, Member, Message, Meta, Outgoing, Reply, Running, Sent, Server, Sweep, Task, Thread, Undelivered,
    },
    wake::Wake,
};

/// The hub over Postgres or over a project's URL. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Hub {
    /// A database.
    Postgres(Db),
    /// A project's URL.
    Api(Api),
}

macro_rules! each {
    ($self:expr, $hub:ident => $call:expr) => {
        match $self {
            Hub::Postgres($hub) => $call.await,
            Hub::Api($hub) => $call.await,
        }
    };
}

impl Hub {
    /// Connects as configured. Over Postgres a first connection is made; over a URL nothing is sent yet.
    ///
    /// # Errors
    /// What [`Db::connect`] and [`Api::new`] say.
    pub async fn connect(config: &Config) -> Result<Self> {
        match &config.target {
            Target::Postgres { url } => Ok(Self::Postgres(Db::connect_as(url, &config.application).await?)),
            Target::Api { url, key, credential } => {
                Ok(Self::Api(Api::with_credential(url.as_str(), key.clone(), credential.clone())?))
            }
        }
    }

    /// Whether this caller may keep time: a database connection, or the service key.
    #[must_use]
    pub fn keeps_time(&self) -> bool {
        match self {
            Self::Postgres(_) => true,
            Self::Api(api) => api.is_service(),
        }
    }

    /// Listens for work for `device`. Returns once it listens, or once it is known that it can not: claim after this.
    pub async fn wake(&self, device: &str) -> Wake {
        Wake::start(self.clone(), device).await
    }

    // Devices ------------------------------------------------------------------------------------------------------

    /// Makes a device known, or says anew what it offers. `platform` is `macos`, `linux` or `windows`.
    ///
    /// # Errors
    /// `BadInput`, `DeviceRevoked`, `Forbidden` (another device's name).
    pub async fn register_device(
        &self,
        name: &str,
        platform: &str,
        agents: &[AgentOffer],
        capacity: i32,
    ) -> Result<Device> {
        each!(self, hub => hub.register_device(name, platform, agents, capacity))
    }

    /// Gives a device nothing new from now on, or lets it work again.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`.
    pub async fn drain_device(&self, name: &str, drained: bool) -> Result<Device> {
        each!(self, hub => hub.drain_device(name, drained))
    }

    /// Makes a device's token good for nothing here, or takes that back.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`.
    pub async fn revoke_device(&self, name: &str, revoked: bool) -> Result<Device> {
        each!(self, hub => hub.revoke_device(name, revoked))
    }

    /// Lets a device take a server's tasks, or no longer.
    ///
    /// # Errors
    /// `BadInput`, `NotFound`, `Forbidden`.
    pub async fn enroll_device(&self, name: &str, server: Uuid, enrolled: bool) -> Result<Device> {
        each!(self, hub => hub.enroll_device(name, server, enrolled))
    }

    /// Machines of the mesh that the caller may see, with what they run.
    ///
    /// # Errors
    /// Only those of any call.
    pub async fn devices(&self) -> Result<Vec<Device>> {
        each!(self, hub => hub.devices())
    }

    // The life of an attempt ------------------------------------------------------------------------------------------

    /// Takes up to `limit` (1 to 1000) tasks for the device, leased for `lease` (1 s to 1 day).
    ///
    /// # Errors
    /// `BadInput`, `DeviceRevoked`, `Forbidden`.
    pub async fn claim(&self, device: &str, limit: i32, lease: Duration) -> Result<Vec<Task>> {
        each!(self, hub => hub.claim(device, limit, lease))
    }

    /// Says that the device lives, and extends the leases of what it runs by 60 s. Answers what to stop.
    ///
    /// # Errors
    /// `BadInput`, `DeviceRevoked`, `Forbidden`.
    pub async fn heartbeat(&self, device: &str, running: &[Running]) -> Result<Heartbeat> {
        each!(self, hub => hub.heartbeat(device, running))
    }

    /// Says what the attempt is doing now, in 1 to 100,000 characters.
    ///
    /// # Errors
    /// `LeaseLost`, `BadInput`, `DeviceRevoked`, `Forbidden`.
    pub async fn report_progress(&self, task: Uuid, attempt: i32, note: &str) -> Result<()> {
        each!(self, hub => hub.report_progress(task, attempt, note))
    }

    /// Ends the attempt well.
    ///
    /// # Errors
    /// `LeaseLost`, `BadInput`, `DeviceRevoked`, `Forbidden`.
    pub async fn complete(&self, task: Uuid, attempt: i32, result: &str, meta: &Meta) -> Result<Task> {
        each!(self, hub => hub.complete(task, attempt, result, meta))
    }

    /// Ends the attempt badly: tried again with a backoff if `retryable` and attempts are left; cancelled if that was asked for.
    ///
    /// # Errors
    /// `LeaseLost`, `BadInput`, `DeviceRevoked`, `Forbidden`.
    pub async fn fail(&self, task: Uuid, attempt: i32, error: &str, retryable: bool, meta: &Meta) -> Result<Task> {
        each!(self, hub => hub.fail(task, attempt, error, retryable, meta))
    }

    // Tasks ------------------------------------------------------------------------------------------------------------

    /// Cancels a task: at once if it is not running, else as soon as its device has stopped it.
    ///
    /// # Errors
    /// `Conflict` (it has ended), `NotFound`, `Forbidden`.
    pub async fn cancel(&self, task: Uuid) -> Result<Task> {
        each!(self, hub => hub.cancel(task))
    }

    /// Queues a failed or cancelled task again.
    ///
    /// # Errors
    /// `Conflict` (another state), `NotFound`, `Forbidden`.
    pub async fn retry(&self, task: Uuid) -> Result<Task> {
        each!(self, hub => hub.retry(task))
    }

    /// Why a task is, or is not, running.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn explain(&self, task: Uuid) -> Result<Vec<Explanation>> {
        each!(self, hub => hub.explain(task))
    }

    /// A task by its id or the first hex digits of it, as people see them (`a1b2`).
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if several begin so, naming them; `BadInput` if these are no hex digits.
    pub async fn task(&self, id: &str) -> Result<Task> {
        let (low, high) = id_range(id).ok_or_else(|| {
            Error::bad_input(
                format!("{id:?} is no task id"),
                "Give the id, or its first digits as a conversation shows them.",
            )
        })?;
        let mut found = each!(self, hub => hub.tasks_between(low, high))?;
        match found.len() {
            0 => Err(Error::not_found(format!("task {id}"), "Check the id, and that you may read its server.")),
            1 => Ok(found.remove(0)),
            _ => {
                let ids: Vec<String> = found.iter().map(|task| task.id.to_string()).collect();
                Err(Error::Conflict(Refusal {
                    code: "UH003".into(),
                    message: "conflict".into(),
                    detail: Some(format!("{} tasks begin with {id}: {}", ids.len(), ids.join(", "))),
                    hint: Some("Give more digits.".into()),
                }))
            }
        }
    }

    /// The newest tasks: of one channel, in one status, at most `limit`.
    ///
    /// # Errors
    /// Only those of any call.
    pub async fn recent_tasks(&self, channel: Option<Uuid>, status: Option<&str>, limit: i64) -> Result<Vec<Task>> {
        each!(self, hub => hub.recent_tasks(channel, status, limit))
    }

    /// How each attempt of a task went, in order.
    ///
    /// # Errors
    /// Only those of any call.
    pub async fn attempts(&self, task: Uuid) -> Result<Vec<Attempt>> {
        each!(self, hub => hub.attempts(task))
    }

    // Servers and channels --------------------------------------------------------------------------------------------

    /// Servers that the caller may see, by name.
    ///
    /// # Errors
    /// Only those of any call.
    pub async fn servers(&self) -> Result<Vec<Server>> {
        each!(self, hub => hub.servers())
    }

    /// Channels of a server, or of all.
    ///
    /// # Errors
    /// Only those of any call.
    pub async fn channels(&self, server: Option<Uuid>) -> Result<Vec<Channel>> {
        each!(self, hub => hub.channels(server))
    }

    /// A server by its name.
    ///
    /// # Errors
    /// `NotFound`, naming those there are.
    pub async fn server_named(&self, name: &str) -> Result<Server> {
        let mut servers = self.servers().await?;
        match servers.iter().position(|server| server.name == name) {
            Some(at) => Ok(servers.swap_remove(at)),
            None => {
                let names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
                Err(Error::not_found(format!("server {name}"), there_are(&names)))
            }
        }
    }

    /// A channel by `server/channel`.
    ///
    /// # Errors
    /// `BadInput` if there is no slash; `NotFound`, naming those there are.
    pub async fn channel_named(&self, path: &str) -> Result<(Server, Channel)> {
        let (server, name) = path.split_once('/').ok_or_else(|| {
            Error::bad_input(format!("channel {path:?}"), "Write it as SERVER/CHANNEL, for example buf-barista/quick.")
        })?;
        let server = self.server_named(server).await?;
        let name = name.trim_start_matches('#');
        let mut channels = self.channels(Some(server.id)).await?;
        match channels.iter().position(|channel| channel.name == name) {
            Some(at) => Ok((server, channels.swap_remove(at))),
            None => {
                let names: Vec<&str> = channels.iter().map(|channel| channel.name.as_str()).collect();
                Err(Error::not_found(format!("channel {name} in {}", server.name), there_are(&names)))
            }
        }
    }

    /// Who belongs to a server.
    ///
    /// # Errors
    /// Only those of any call.
    pub async fn members(&self, server: Uuid) -> Result<Vec<Member>> {
        each!(self, hub => hub.members(server))
    }

    /// Lets a person into a server as `owner`, `operator` or `viewer`; no role removes them. Returns the member (or who was).
    ///
    /// # Errors
    /// `BadInput`, `Conflict` (the last owner), `NotFound`, `Forbidden`.
    pub async fn set_member(&self, server: Uuid, user: Uuid, role: Option<&str>) -> Result<Member> {
        each!(self, hub => hub.set_member(server, user, role))
    }

    /// Lets a person become a member, once they accept; no role withdraws it.
    ///
    /// # Errors
    /// `BadInput`, `Conflict` (a member already), `NotFound`, `TooMany`, `Forbidden`.
    pub async fn invite(&self, server: Uuid, user: Uuid, role: Option<&str>) -> Result<Invitation> {
        each!(self, hub => hub.invite(server, user, role))
    }

    /// The invitations that a person has, or their servers sent. With a person's own token: by Postgres itself nobody is anybody.
    ///
    /// # Errors
    /// `Forbidden` over Postgres.
    pub async fn invitations(&self) -> Result<Vec<Invitation>> {
        self.as_a_person()?.invitations().await
    }

    /// Becomes a member, as what the invitation says.
    ///
    /// # Errors
    /// `NotFound` (not invited), `Forbidden`.
    pub async fn accept_invitation(&self, server: Uuid) -> Result<Member> {
        self.as_a_person()?.accept_invitation(server).await
    }

    /// Ends one's own membership, or declines an invitation.
    ///
    /// # Errors
    /// `Conflict` (the last owner), `NotFound`, `Forbidden`.
    pub async fn leave(&self, server: Uuid) -> Result<()> {
        self.as_a_person()?.leave(server).await
    }

    fn as_a_person(&self) -> Result<&Api> {
        match self {
            Self::Api(api) => Ok(api),
            Self::Postgres(_) => Err(Error::refused(Refusal {
                code: "42501".into(),
                message: "permission denied".into(),
                detail: Some("only a person does this".into()),
                hint: Some(
                    "Give the project's URL and your own token: SUPABASE_URL, SUPABASE_ANON_KEY, HUB_TOKEN.".into(),
                ),
            })),
        }
    }

    /// A person by the address they sign in with. Over a URL it takes the service key.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`.
    pub async fn user_by_email(&self, email: &str) -> Result<Uuid> {
        let found = each!(self, hub => hub.user_by_email(email))?;
        found.ok_or_else(|| {
            Error::not_found(format!("person {email}"), "They sign in once first; then their account is there.")
        })
    }

    // Conversations ----------------------------------------------------------------------------------------------------

    /// Sends a message and does what the channel's architecture says. The same key with the same content gives the first answer.
    ///
    /// # Errors
    /// `BadInput`, `Conflict` (the key was used), `NotFound`, `Forbidden`.
    pub async fn send(&self, channel: Uuid, content: &str, thread: Option<Uuid>, key: Option<&str>) -> Result<Sent> {
        each!(self, hub => hub.send(channel, content, thread, key))
    }

    /// Answers a command; nothing is kept.
    ///
    /// # Errors
    /// `BadInput`, `NotFound`, `Forbidden`.
    pub async fn execute_command(&self, channel: Uuid, command: &str) -> Result<Reply> {
        each!(self, hub => hub.execute_command(channel, command))
    }

    /// Posts a message as oneself; no task comes of it.
    ///
    /// # Errors
    /// `BadInput`, `Conflict` (the key was used), `NotFound`, `Forbidden`.
    pub async fn post(&self, channel: Uuid, thread: Option<Uuid>, content: &str, key: Option<&str>) -> Result<Message> {
        each!(self, hub => hub.post(channel, thread, content, key))
    }

    /// Messages of one conversation (no thread: the flat one) numbered after `after`, in order, at most `limit` (1 to 1000).
    ///
    /// # Errors
    /// `BadInput`, `NotFound`.
    pub async fn messages_since(
        &self,
        channel: Uuid,
        after: i64,
        thread: Option<Uuid>,
        limit: i32,
    ) -> Result<Vec<Message>> {
        each!(self, hub => hub.messages_since(channel, after, thread, limit))
    }

    /// The newest threads, at most `limit`: of one channel, with archived ones or without.
    ///
    /// # Errors
    /// Only those of any call.
    pub async fn threads(&self, channel: Option<Uuid>, archived: bool, limit: i64) -> Result<Vec<Thread>> {
        each!(self, hub => hub.threads(channel, archived, limit))
    }

    /// A thread by its id.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn thread(&self, thread: Uuid) -> Result<Thread> {
        let found = each!(self, hub => hub.thread(thread))?;
        found.ok_or_else(|| {
            Error::not_found(format!("thread {thread}"), "Check the id, and that you may read its server.")
        })
    }

    /// The task's thread in a channel, opened if there is none.
    ///
    /// # Errors
    /// `Conflict` (the channel has no threads), `NotFound`, `Forbidden`.
    pub async fn create_task_thread(&self, channel: Uuid, task: Uuid) -> Result<Thread> {
        each!(self, hub => hub.create_task_thread(channel, task))
    }

    /// Sets a thread `active`, `idle`, `decaying` or `archived` by hand.
    ///
    /// # Errors
    /// `BadInput`, `NotFound`, `Forbidden`.
    pub async fn update_thread_status(&self, thread: Uuid, status: &str) -> Result<Thread> {
        each!(self, hub => hub.update_thread_status(thread, status))
    }

    /// What kind of task a text is, and for whom.
    ///
    /// # Errors
    /// `NotFound` (the channel).
    pub async fn classify(&self, content: &str, channel: Option<Uuid>) -> Result<Classification> {
        each!(self, hub => hub.classify(content, channel))
    }

    // Time ---------------------------------------------------------------------------------------------------------------

    /// Takes threads that are due one step on. Returns how many; call again while it returns `limit`.
    ///
    /// # Errors
    /// `Forbidden` unless service or database.
    pub async fn decay_threads(&self, limit: i32) -> Result<i32> {
        each!(self, hub => hub.decay_threads(limit))
    }

    /// Takes back expired leases and tells what was never told. Returns how many; call again while it returns `limit`.
    ///
    /// # Errors
    /// `Forbidden` unless service or database.
    pub async fn recover(&self, limit: i32) -> Result<i32> {
        each!(self, hub => hub.recover(limit))
    }

    /// `hub_post_feeds`.
    ///
    /// # Errors
    /// `Forbidden` unless service or database.
    pub async fn post_feeds(&self) -> Result<i32> {
        each!(self, hub => hub.post_feeds())
    }

    /// `hub_process_webhooks`: how many deliveries were looked at.
    ///
    /// # Errors
    /// `Forbidden` unless service or database.
    pub async fn process_webhooks(&self, limit: i32) -> Result<i32> {
        each!(self, hub => hub.process_webhooks(limit))
    }

    // Chats --------------------------------------------------------------------------------------------------------------

    /// The registry of commands, by name.
    ///
    /// # Errors
    /// Only those of any call.
    pub async fn commands(&self) -> Result<Vec<Command>> {
        each!(self, hub => hub.commands())
    }

    /// Takes in a message of a bridged chat, once for its id there: `{duplicate, echo, bridge, message, task, thread, reply, outgoing}`.
    ///
    /// # Errors
    /// `NotFound` (no such bridge), `BadInput`, `Forbidden` unless service or database.
    pub async fn receive_bridged(&self, message: &Bridged<'_>) -> Result<Value> {
        each!(self, hub => hub.receive_bridged(message))
    }

    // Errands ------------------------------------------------------------------------------------------------------------

    /// Takes sweeps that are due; they are running now.
    ///
    /// # Errors
    /// `Forbidden` unless service or database.
    pub async fn claim_sweeps(&self, limit: i32, lease: Duration) -> Result<Vec<Sweep>> {
        each!(self, hub => hub.claim_sweeps(limit, lease))
    }

    /// Ends a sweep with what `source` named.
    ///
    /// # Errors
    /// `LeaseLost`, `BadInput`, `Forbidden`.
    pub async fn complete_sweep(&self, sweep: &Sweep, found: &[Lead], source: &str) -> Result<Sweep> {
        each!(self, hub => hub.complete_sweep(sweep, found, source))
    }

    /// Says why a sweep came to nothing.
    ///
    /// # Errors
    /// `LeaseLost`, `Forbidden`.
    pub async fn fail_sweep(&self, sweep: &Sweep, error: &str, retryable: bool) -> Result<Sweep> {
        each!(self, hub => hub.fail_sweep(sweep, error, retryable))
    }

    /// Takes what is to be said elsewhere, at most one row of a target; they are in flight now, for `lease` (1 s to 1 hour).
    ///
    /// # Errors
    /// `BadInput`, `Forbidden` unless service or database.
    pub async fn claim_outbox(&self, limit: i32, lease: Duration) -> Result<Vec<Outgoing>> {
        each!(self, hub => hub.claim_outbox(limit, lease))
    }

    /// Says that a row was delivered, and which id it has there; `parts` are the ids of all its messages if it took several.
    ///
    /// # Errors
    /// `LeaseLost`, `BadInput`, `Forbidden`.
    pub async fn complete_outbox(
        &self,
        id: Uuid,
        attempt: i32,
        external_id: Option<&str>,
        parts: Option<&[String]>,
        note: Option<&str>,
    ) -> Result<()> {
        each!(self, hub => hub.complete_outbox(id, attempt, external_id, parts, note))
    }

    /// Says why a row was not delivered. When it is tried again; none if it is a dead letter now.
    ///
    /// # Errors
    /// `LeaseLost`, `BadInput`, `Forbidden`.
    pub async fn fail_outbox(&self, id: Uuid, attempt: i32, failed: &Undelivered) -> Result<Option<DateTime<Utc>>> {
        each!(self, hub => hub.fail_outbox(id, attempt, failed))
    }

    /// When `claim_outbox` has something next; none if nothing waits but what is in flight.
    ///
    /// # Errors
    /// `Forbidden` unless service or database.
    pub async fn outbox_due(&self) -> Result<Option<DateTime<Utc>>> {
        each!(self, hub => hub.outbox_due())
    }
}

fn there_are(names: &[&str]) -> String {
    if names.is_empty() { "You can see none.".into() } else { format!("There are: {}.", names.join(", ")) }
}

/// The ids that begin with these hex digits.
fn id_range(text: &str) -> Option<(Uuid, Uuid)> {
    let digits: String = text.trim().trim_start_matches('#').chars().filter(|c| *c != '-').collect();
    if digits.is_empty() || digits.len() > 32 || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    let low = u128::from_str_radix(&format!("{digits:0<32}"), 16).ok()?;
    let high = u128::from_str_radix(&format!("{digits:f<32}"), 16).ok()?;
    Some((Uuid::from_u128(low), Uuid::from_u128(high)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_prefix_is_a_range_of_ids() {
        let (low, high) = id_range("a1b2").unwrap();
        assert_eq!(low.to_string(), "a1b20000-0000-0000-0000-000000000000");
        assert_eq!(high.to_string(), "a1b2ffff-ffff-ffff-ffff-ffffffffffff");
        let whole = "a1b2c3d4-0000-4000-8000-00000000000f";
        assert_eq!(id_range(whole).unwrap(), (whole.parse().unwrap(), whole.parse().unwrap()));
        for bad in ["", "xyz", "a1b2%", &"a".repeat(33)] {
            assert!(id_range(bad).is_none(), "{bad}");
        }
    }
}
