//! The hub over a project's URL: PostgREST at `/rest/v1`, sign-in at `/auth/v1`. What may be done is decided there, by the
//! token; the errors are those of Postgres, read by the same function.

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use postgrest::{Builder, Postgrest};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use url::Url;
use uuid::Uuid;

use crate::{
    config::Credential,
    error::{Error, Refusal, Result},
    realtime::{Realtime, Token, TokenSource},
    types::{
        AgentOffer, Attempt, Bridged, Channel, Classification, Command, Device, Explanation, Heartbeat, Invitation,
        Lead, Member, Message, Meta, Outgoing, Reply, Running, Sent, Server, Sweep, Task, Thread, Undelivered,
    },
};

const WITHIN: Duration = Duration::from_secs(20);
/// A token is renewed this long before it ends.
const RENEW_BEFORE: TimeDelta = TimeDelta::seconds(60);
/// For Realtime, of tokens that end sooner than that.
const RENEW_AT_MOST_EVERY: Duration = Duration::from_secs(5);

/// What a sign-in gives.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// For `Authorization: Bearer`.
    pub access: SecretString,
    /// For the next one.
    pub refresh: SecretString,
    /// When the access token ends, by this machine's clock.
    pub expires_at: DateTime<Utc>,
    /// Whose they are.
    pub user: Option<Uuid>,
}

/// The hub over a project's URL. Cheap to clone; clones share the sign-in.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    base: String,
    key: SecretString,
    credential: Credential,
    rest: Postgrest,
    http: reqwest::Client,
    /// Held while signing in: of many requests with an ended token one renews it and the others wait.
    tokens: Mutex<Option<Tokens>>,
    realtime: OnceLock<Realtime>,
}

/// Realtime's view of the sign-in. Weak: the socket's task ends with the last clone and its subscriptions.
struct SignIn(Weak<Inner>);

impl TokenSource for SignIn {
    fn token(&self, spent: Option<SecretString>) -> BoxFuture<'_, Result<Token>> {
        let inner = self.0.upgrade();
        Box::pin(async move {
            let api = Api(inner.ok_or_else(|| Error::Internal("the hub was closed".into()))?);
            let access = api.bearer(spent.as_ref().map(ExposeSecret::expose_secret)).await?;
            let ends = api.0.tokens.lock().await.as_ref().map(|tokens| tokens.expires_at);
            let renew_in = ends.map(|ends| (ends - RENEW_BEFORE - Utc::now()).to_std().unwrap_or_default());
            Ok(Token { access, renew_in: renew_in.map(|renew_in| renew_in.max(RENEW_AT_MOST_EVERY)) })
        })
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("base", &self.0.base).finish_non_exhaustive()
    }
}

impl Api {
    /// Speaks to the project at `url` with the gateway's `key`, as whoever `token` names; the service key is its own token.
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Config`] if `url` is no URL, or a key can not stand in a header.
    pub fn new(url: &str, key: SecretString, token: SecretString) -> Result<Self> {
        let same = key.expose_secret() == token.expose_secret();
        Self::with_credential(url, key, if same { Credential::ServiceKey } else { Credential::Token(token) })
    }

    /// As [`Api::new`], as whoever `credential` is.
    ///
    /// # Errors
    /// As [`Api::new`].
    pub fn with_credential(url: &str, key: SecretString, credential: Credential) -> Result<Self> {
        let in_header = |secret: &SecretString| secret.expose_secret().chars().all(|c| c.is_ascii_graphic());
        let token_fits = match &credential {
            Credential::Token(token) => in_header(token),
            _ => true,
        };
        if !in_header(&key) || !token_fits {
            return Err(Error::Config("a key or token has blanks or other characters that none has".into()));
        }
        let url = Url::parse(url).map_err(|_| Error::Config("the hub's address is not a URL".into()))?;
        let base = url.as_str().trim_end_matches('/').to_owned();
        let rest = Postgrest::new(format!("{base}/rest/v1")).insert_header("apikey", key.expose_secret());
        let http = reqwest::Client::builder()
            .timeout(WITHIN)
            .build()
            .map_err(|error| Error::Internal(format!("no HTTP client: {}", error.without_url())))?;
        Ok(Self(Arc::new(Inner {
            base,
            key,
            credential,
            rest,
            http,
            tokens: Mutex::new(None),
            realtime: OnceLock::new(),
        })))
    }

    /// The project's Realtime, as the same caller. Clones share one socket. Must be called inside a runtime.
    ///
    /// # Errors
    /// [`Error::Config`] if the address is neither `http://` nor `https://`.
    pub fn realtime(&self) -> Result<&Realtime> {
        if let Some(realtime) = self.0.realtime.get() {
            return Ok(realtime);
        }
        let realtime = Realtime::connect(&self.0.base, &self.0.key, SignIn(Arc::downgrade(&self.0)))?;
        Ok(self.0.realtime.get_or_init(|| realtime))
    }

    /// Whether the service key speaks: then everything is allowed, keeping time too.
    #[must_use]
    pub fn is_service(&self) -> bool {
        matches!(self.0.credential, Credential::ServiceKey)
    }

    /// Signs in with e-mail and password.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] if they are wrong, [`Error::Unreachable`].
    pub async fn sign_in_password(&self, email: &str, password: &SecretString) -> Result<Tokens> {
        self.token("password", &json!({"email": email, "password": password.expose_secret()})).await
    }

    /// Trades a refresh token for new tokens.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] if it was used or ended, [`Error::Unreachable`].
    pub async fn refresh(&self, token: &SecretString) -> Result<Tokens> {
        self.token("refresh_token", &json!({"refresh_token": token.expose_secret()})).await
    }

    async fn token(&self, grant: &str, body: &Value) -> Result<Tokens> {
        #[derive(Deserialize)]
        struct User {
            id: Uuid,
        }
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
            refresh_token: String,
            expires_in: i64,
            user: Option<User>,
        }
        let sent = self
            .0
            .http
            .post(format!("{}/auth/v1/token?grant_type={grant}", self.0.base))
            .header("apikey", self.0.key.expose_secret())
            .json(body)
            .send()
            .await
            .map_err(|error| unreachable(&self.0.base, error.is_timeout()))?;
        let status = sent.status().as_u16();
        let text = sent.text().await.map_err(|error| unreachable(&self.0.base, error.is_timeout()))?;
        if !(200..300).contains(&status) {
            if status == 429 || status >= 500 {
                return Err(Error::Http { status, text: beginning(&text) });
            }
            let said: Value = serde_json::from_str(&text).unwrap_or_default();
            let why = ["msg", "error_description", "message", "error"].iter().find_map(|name| said[name].as_str());
            return Err(Error::Unauthorized(why.map_or_else(|| beginning(&text), str::to_owned)));
        }
        let answer: Answer =
            serde_json::from_str(&text).map_err(|_| Error::Internal("the sign-in's answer can not be read".into()))?;
        Ok(Tokens {
            access: answer.access_token.into(),
            refresh: answer.refresh_token.into(),
            expires_at: Utc::now() + TimeDelta::seconds(answer.expires_in.clamp(0, 31_536_000)),
            user: answer.user.map(|user| user.id),
        })
    }

    /// The token for the next request. `spent` is one that was refused though it seemed to last.
    async fn bearer(&self, spent: Option<&str>) -> Result<SecretString> {
        let (email, password) = match &self.0.credential {
            Credential::ServiceKey => return Ok(self.0.key.clone()),
            Credential::Token(token) => return Ok(token.clone()),
            Credential::Password { email, password } => (email, password),
        };
        let mut held = self.0.tokens.lock().await;
        if let Some(tokens) = held.as_ref() {
            let lasts = tokens.expires_at - RENEW_BEFORE > Utc::now();
            if lasts && spent != Some(tokens.access.expose_secret()) {
                return Ok(tokens.access.clone());
            }
            match self.refresh(&tokens.refresh).await {
                Ok(tokens) => return Ok(held.insert(tokens).access.clone()),
                Err(error) if error.is_transient() => return Err(error),
                // A refresh token can be used up by a clone of this machine: the password still counts.
                Err(_) => {}
            }
        }
        let tokens = self.sign_in_password(email, password).await?;
        Ok(held.insert(tokens).access.clone())
    }

    async fn run<T: DeserializeOwned>(&self, request: impl Fn(&Postgrest) -> Builder) -> Result<T> {
        let token = self.bearer(None).await?;
        match self.once(request(&self.0.rest), &token).await {
            // It ended early, or the clocks differ: once more with a new one.
            Err(Error::Unauthorized(_)) if matches!(self.0.credential, Credential::Password { .. }) => {
                let token = self.bearer(Some(token.expose_secret())).await?;
                self.once(request(&self.0.rest), &token).await
            }
            other => other,
        }
    }

    async fn once<T: DeserializeOwned>(&self, request: Builder, token: &SecretString) -> Result<T> {
        let sent = request
            .auth(token.expose_secret())
            .build()
            .timeout(WITHIN)
            .send()
            .await
            .map_err(|error| unreachable(&self.0.base, error.is_timeout()))?;
        let status = sent.status().as_u16();
        let text = sent.text().await.map_err(|error| unreachable(&self.0.base, error.is_timeout()))?;
        read(status, &text)
    }

    async fn call<T: DeserializeOwned>(&self, function: &str, mut arguments: Value) -> Result<T> {
        // What is null is left out: it is the default everywhere but in `p_role`, where null removes the member, and not every
        // REST layer keeps a null apart from an empty text.
        if let Some(arguments) = arguments.as_object_mut() {
            arguments.retain(|name, value| !value.is_null() || name == "p_role");
        }
        let body = arguments.to_string();
        self.run(|rest| rest.rpc(function, body.clone())).await
    }

    pub(crate) async fn claim(&self, device: &str, limit: i32, lease: Duration) -> Result<Vec<Task>> {
        let lease = format!("{} seconds", lease.as_secs_f64());
        self.call("hub_claim_tasks", json!({"p_device": device, "p_limit": limit, "p_lease": lease})).await
    }

    pub(crate) async fn report_progress(&self, task: Uuid, attempt: i32, note: &str) -> Result<()> {
        let _: Value =
            self.call("hub_report_progress", json!({"p_task_id": task, "p_attempt": attempt, "p_note": note})).await?;
        Ok(())
    }

    pub(crate) async fn complete(&self, task: Uuid, attempt: i32, result: &str, meta: &Meta) -> Result<Task> {
        self.call(
            "hub_complete_task",
            json!({"p_task_id": task, "p_attempt": attempt, "p_result": result, "p_meta": meta}),
        )
        .await
    }

    pub(crate) async fn fail(
        &self,
        task: Uuid,
        attempt: i32,
        error: &str,
        retryable: bool,
        meta: &Meta,
    ) -> Result<Task> {
        let arguments = json!({"p_task_id": task, "p_attempt": attempt, "p_error": error, "p_retryable": retryable, "p_meta": meta});
        self.call("hub_fail_task", arguments).await
    }

    pub(crate) async fn cancel(&self, task: Uuid) -> Result<Task> {
        self.call("hub_cancel_task", json!({"p_task_id": task})).await
    }

    pub(crate) async fn retry(&self, task: Uuid) -> Result<Task> {
        self.call("hub_retry_task", json!({"p_task_id": task})).await
    }

    pub(crate) async fn explain(&self, task: Uuid) -> Result<Vec<Explanation>> {
        self.call("hub_explain_task", json!({"p_task_id": task})).await
    }

    pub(crate) async fn tasks_between(&self, low: Uuid, high: Uuid) -> Result<Vec<Task>> {
        let (low, high) = (low.to_string(), high.to_string());
        self.run(|rest| {
            rest.from("mac_tasks").select("*").gte("id", &low).lte("id", &high).order("created_at.desc").limit(20)
        })
        .await
    }

    pub(crate) async fn recent_tasks(
        &self,
        channel: Option<Uuid>,
        status: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Task>> {
        let limit = usize::try_from(limit).unwrap_or(0);
        self.run(|rest| {
            let mut query = rest.from("mac_tasks").select("*");
            if let Some(channel) = channel {
                query = query.eq("channel_id", channel.to_string());
            }
            if let Some(status) = status {
                query = query.eq("status", status);
            }
            query.order("created_at.desc").limit(limit)
        })
        .await
    }

    pub(crate) async fn attempts(&self, task: Uuid) -> Result<Vec<Attempt>> {
        self.run(|rest| rest.from("hub_task_attempts").select("*").eq("task_id", task.to_string()).order("attempt.asc"))
            .await
    }

    pub(crate) async fn register_device(
        &self,
        name: &str,
        platform: &str,
        agents: &[AgentOffer],
        capacity: i32,
    ) -> Result<Device> {
        let arguments = json!({"p_name": name, "p_platform": platform, "p_agents": agents, "p_capacity": capacity});
        self.call("hub_register_device", arguments).await
    }

    pub(crate) async fn heartbeat(&self, device: &str, running: &[Running]) -> Result<Heartbeat> {
        self.call("hub_heartbeat", json!({"p_device": device, "p_running": running})).await
    }

    pub(crate) async fn drain_device(&self, name: &str, drained: bool) -> Result<Device> {
        self.call("hub_drain_device", json!({"p_name": name, "p_drained": drained})).await
    }

    pub(crate) async fn revoke_device(&self, name: &str, revoked: bool) -> Result<Device> {
        self.call("hub_revoke_device", json!({"p_name": name, "p_revoked": revoked})).await
    }

    pub(crate) async fn enroll_device(&self, name: &str, server: Uuid, enrolled: bool) -> Result<Device> {
        self.call("hub_enroll_device", json!({"p_name": name, "p_server_id": server, "p_enrolled": enrolled})).await
    }

    pub(crate) async fn devices(&self) -> Result<Vec<Device>> {
        #[derive(Deserialize)]
        struct Enrolled {
            device: String,
            server_id: Uuid,
        }
        #[derive(Deserialize)]
        struct Busy {
            claimed_by: Option<String>,
        }
        let mut devices: Vec<Device> = self.run(|rest| rest.from("mesh_devices").select("*").order("name.asc")).await?;
        let enrolled: Vec<Enrolled> =
            self.run(|rest| rest.from("mesh_device_servers").select("device,server_id")).await?;
        let busy: Vec<Busy> =
            self.run(|rest| rest.from("mac_tasks").select("claimed_by").eq("status", "running")).await?;
        for device in &mut devices {
            device.servers = enrolled.iter().filter(|e| e.device == device.name).map(|e| e.server_id).collect();
            let count = busy.iter().filter(|b| b.claimed_by.as_deref() == Some(device.name.as_str())).count();
            device.running = i64::try_from(count).unwrap_or(i64::MAX);
        }
        Ok(devices)
    }

    pub(crate) async fn servers(&self) -> Result<Vec<Server>> {
        self.run(|rest| rest.from("hub_servers").select("*").order("name.asc")).await
    }

    pub(crate) async fn channels(&self, server: Option<Uuid>) -> Result<Vec<Channel>> {
        self.run(|rest| {
            let query = rest.from("hub_channels").select("*").order("server_id.asc,name.asc");
            match server {
                Some(server) => query.eq("server_id", server.to_string()),
                None => query,
            }
        })
        .await
    }

    pub(crate) async fn members(&self, server: Uuid) -> Result<Vec<Member>> {
        self.run(|rest| {
            rest.from("hub_members").select("*").eq("server_id", server.to_string()).order("role.asc,user_id.asc")
        })
        .await
    }

    pub(crate) async fn set_member(&self, server: Uuid, user: Uuid, role: Option<&str>) -> Result<Member> {
        self.call("hub_set_member", json!({"p_server_id": server, "p_user_id": user, "p_role": role})).await
    }

    pub(crate) async fn invite(&self, server: Uuid, user: Uuid, role: Option<&str>) -> Result<Invitation> {
        self.call("hub_invite", json!({"p_server_id": server, "p_user_id": user, "p_role": role})).await
    }

    pub(crate) async fn accept_invitation(&self, server: Uuid) -> Result<Member> {
        self.call("hub_accept_invitation", json!({"p_server_id": server})).await
    }

    pub(crate) async fn leave(&self, server: Uuid) -> Result<()> {
        self.call("hub_leave", json!({"p_server_id": server})).await
    }

    pub(crate) async fn invitations(&self) -> Result<Vec<Invitation>> {
        self.run(|rest| rest.from("hub_invitations").select("*").order("created_at.asc")).await
    }

    /// Through the admin API of the sign-in, which takes the service key. It has no search by address: it is paged through.
    pub(crate) async fn user_by_email(&self, email: &str) -> Result<Option<Uuid>> {
        #[derive(Deserialize)]
        struct User {
            id: Uuid,
            #[serde(default)]
            email: Option<String>,
        }
        #[derive(Deserialize)]
        struct Page {
            users: Vec<User>,
        }
        const PAGE: usize = 200;
        for page in 1..=500 {
            let token = self.bearer(None).await?;
            let sent = self
                .0
                .http
                .get(format!("{}/auth/v1/admin/users?page={page}&per_page={PAGE}", self.0.base))
                .header("apikey", self.0.key.expose_secret())
                .bearer_auth(token.expose_secret())
                .send()
                .await
                .map_err(|error| unreachable(&self.0.base, error.is_timeout()))?;
            let status = sent.status().as_u16();
            let text = sent.text().await.map_err(|error| unreachable(&self.0.base, error.is_timeout()))?;
            if status == 403 {
                return Err(Error::Unauthorized(
                    "looking a person up by address takes SUPABASE_SERVICE_ROLE_KEY".into(),
                ));
            }
            let found: Page = read(status, &text)?;
            let count = found.users.len();
            if let Some(user) = found
                .users
                .into_iter()
                .find(|user| user.email.as_deref().is_some_and(|e| e.eq_ignore_ascii_case(email)))
            {
                return Ok(Some(user.id));
            }
            if count < PAGE {
                break;
            }
        }
        Ok(None)
    }

    pub(crate) async fn send(
        &self,
        channel: Uuid,
        content: &str,
        thread: Option<Uuid>,
        key: Option<&str>,
    ) -> Result<Sent> {
        let arguments =
            json!({"p_channel_id": channel, "p_content": content, "p_thread_id": thread, "p_idempotency_key": key});
        self.call("hub_send", arguments).await
    }

    pub(crate) async fn execute_command(&self, channel: Uuid, command: &str) -> Result<Reply> {
        self.call("hub_execute_command", json!({"p_channel_id": channel, "p_command": command})).await
    }

    pub(crate) async fn post(
        &self,
        channel: Uuid,
        thread: Option<Uuid>,
        content: &str,
        key: Option<&str>,
    ) -> Result<Message> {
        let mut row = json!({"channel_id": channel, "task_thread_id": thread, "content": content});
        if self.is_service() {
            // A person's sender is taken from the token; the service says it is the service.
            row["sender_type"] = "human".into();
            row["sender_id"] = "service_role".into();
            row["sender_label"] = "service_role".into();
        }
        if let Some(key) = key {
            row["idempotency_key"] = key.into();
        }
        let body = row.to_string();
        let posted: Result<Vec<Message>> =
            self.run(|rest| rest.from("hub_channel_messages").insert(body.clone())).await;
        match (posted, key) {
            (Ok(rows), _) => {
                rows.into_iter().next().ok_or_else(|| Error::Internal("the message was posted but not returned".into()))
            }
            // Posted before, with the same content: other content is refused as UH003 before the index sees it.
            (Err(Error::Conflict(refusal)), Some(key)) if refusal.code == "23505" => {
                let found: Vec<Message> = self
                    .run(|rest| {
                        rest.from("hub_channel_messages")
                            .select("*")
                            .eq("channel_id", channel.to_string())
                            .eq("idempotency_key", key)
                            .limit(1)
                    })
                    .await?;
                found.into_iter().find(|message| message.content == content).ok_or(Error::Conflict(refusal))
            }
            (Err(error), _) => Err(error),
        }
    }

    pub(crate) async fn messages_since(
        &self,
        channel: Uuid,
        after: i64,
        thread: Option<Uuid>,
        limit: i32,
    ) -> Result<Vec<Message>> {
        let arguments = json!({"p_channel_id": channel, "p_after": after, "p_thread_id": thread, "p_limit": limit});
        self.call("hub_messages_since", arguments).await
    }

    pub(crate) async fn threads(&self, channel: Option<Uuid>, archived: bool, limit: i64) -> Result<Vec<Thread>> {
        let limit = usize::try_from(limit).unwrap_or(0);
        self.run(|rest| {
            let mut query = rest.from("hub_task_threads").select("*");
            if let Some(channel) = channel {
                query = query.eq("channel_id", channel.to_string());
            }
            if !archived {
                query = query.neq("status", "archived");
            }
            query.order("last_activity_at.desc").limit(limit)
        })
        .await
    }

    pub(crate) async fn thread(&self, thread: Uuid) -> Result<Option<Thread>> {
        let rows: Vec<Thread> =
            self.run(|rest| rest.from("hub_task_threads").select("*").eq("id", thread.to_string())).await?;
        Ok(rows.into_iter().next())
    }

    pub(crate) async fn create_task_thread(&self, channel: Uuid, task: Uuid) -> Result<Thread> {
        self.call("hub_create_task_thread", json!({"p_channel_id": channel, "p_task_id": task})).await
    }

    pub(crate) async fn update_thread_status(&self, thread: Uuid, status: &str) -> Result<Thread> {
        self.call("hub_update_thread_status", json!({"p_thread_id": thread, "p_status": status})).await
    }

    pub(crate) async fn classify(&self, content: &str, channel: Option<Uuid>) -> Result<Classification> {
        let rows: Vec<Classification> =
            self.call("hub_classify", json!({"p_content": content, "p_channel_id": channel})).await?;
        rows.into_iter().next().ok_or_else(|| Error::Internal("hub_classify gave no row".into()))
    }

    pub(crate) async fn decay_threads(&self, limit: i32) -> Result<i32> {
        self.call("hub_decay_threads", json!({"p_limit": limit})).await
    }

    pub(crate) async fn recover(&self, limit: i32) -> Result<i32> {
        self.call("hub_recover", json!({"p_limit": limit})).await
    }

    pub(crate) async fn post_feeds(&self) -> Result<i32> {
        self.call("hub_post_feeds", json!({})).await
    }

    pub(crate) async fn process_webhooks(&self, limit: i32) -> Result<i32> {
        self.call("hub_process_webhooks", json!({"p_limit": limit})).await
    }

    pub(crate) async fn commands(&self) -> Result<Vec<Command>> {
        self.run(|rest| rest.from("koji_commands").select("name,usage,description,writes").order("name.asc")).await
    }

    pub(crate) async fn receive_bridged(&self, message: &Bridged<'_>) -> Result<Value> {
        let body = json!({
            "p_provider": message.provider, "p_target": message.target, "p_external_id": message.external,
            "p_author": message.author, "p_content": message.content, "p_reply_to": message.reply_to,
            "p_interaction": message.interaction, "p_author_id": message.author_id, "p_kind": message.kind,
            "p_elsewhere": message.elsewhere,
        });
        self.call("hub_receive_bridged", body).await
    }

    pub(crate) async fn claim_sweeps(&self, limit: i32, lease: Duration) -> Result<Vec<Sweep>> {
        let lease = format!("{} seconds", lease.as_secs_f64());
        self.call("hub_claim_sweeps", json!({"p_limit": limit, "p_lease": lease})).await
    }

    pub(crate) async fn complete_sweep(&self, sweep: &Sweep, found: &[Lead], source: &str) -> Result<Sweep> {
        let body = json!({"p_sweep_id": sweep.id, "p_attempt": sweep.attempt, "p_found": found, "p_source": source});
        self.call("hub_complete_sweep", body).await
    }

    pub(crate) async fn fail_sweep(&self, sweep: &Sweep, error: &str, retryable: bool) -> Result<Sweep> {
        let body = json!({
            "p_sweep_id": sweep.id, "p_attempt": sweep.attempt, "p_error": error, "p_retryable": retryable,
        });
        self.call("hub_fail_sweep", body).await
    }

    pub(crate) async fn claim_outbox(&self, limit: i32, lease: Duration) -> Result<Vec<Outgoing>> {
        let lease = format!("{} seconds", lease.as_secs_f64());
        self.call("hub_claim_outbox", json!({"p_limit": limit, "p_lease": lease})).await
    }

    pub(crate) async fn complete_outbox(
        &self,
        id: Uuid,
        attempt: i32,
        external_id: Option<&str>,
        parts: Option<&[String]>,
        note: Option<&str>,
    ) -> Result<()> {
        let body = json!({
            "p_id": id, "p_attempt": attempt, "p_external_id": external_id, "p_parts": parts, "p_note": note,
        });
        self.call::<Value>("hub_complete_outbox", body).await.map(drop)
    }

    pub(crate) async fn fail_outbox(
        &self,
        id: Uuid,
        attempt: i32,
        failed: &Undelivered,
    ) -> Result<Option<DateTime<Utc>>> {
        #[derive(Deserialize)]
        struct Row {
            status: String,
            run_after: DateTime<Utc>,
        }
        let after = failed.retry_after.map(|after| format!("{} seconds", after.as_secs_f64()));
        let body = json!({
            "p_id": id, "p_attempt": attempt, "p_error": failed.error, "p_retry_after": after,
            "p_permanent": failed.permanent, "p_parts": failed.parts,
        });
        let row: Row = self.call("hub_fail_outbox", body).await?;
        Ok((row.status == "pending").then_some(row.run_after))
    }

    pub(crate) async fn outbox_due(&self) -> Result<Option<DateTime<Utc>>> {
        self.call("hub_outbox_due", json!({})).await
    }
}

/// Reads PostgREST's answer: rows, or `{code, message, details, hint}`.
fn read<T: DeserializeOwned>(status: u16, text: &str) -> Result<T> {
    if (200..300).contains(&status) {
        let text = if text.trim().is_empty() { "null" } else { text };
        return serde_json::from_str(text)
            .map_err(|error| Error::Internal(format!("the hub's answer can not be read: {error}")));
    }
    #[derive(Deserialize)]
    struct Problem {
        code: String,
        message: String,
        details: Option<Value>,
        hint: Option<String>,
    }
    match serde_json::from_str::<Problem>(text) {
        Ok(problem) => Err(Error::refused(Refusal {
            code: problem.code,
            message: problem.message,
            detail: problem.details.and_then(|value| match value {
                Value::String(text) => Some(text),
                Value::Null => None,
                other => Some(other.to_string()),
            }),
            hint: problem.hint,
        })),
        Err(_) if status == 401 => Err(Error::Unauthorized("the key or token was refused".into())),
        Err(_) => Err(Error::Http { status, text: beginning(text) }),
    }
}

fn beginning(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn unreachable(base: &str, timeout: bool) -> Error {
    Error::Unreachable(if timeout {
        format!("{base} does not answer within {} s", WITHIN.as_secs())
    } else {
        format!("{base} can not be reached: check the URL and the network; `hub dev` runs a hub on this machine")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgrest_errors_become_the_same_variants_as_postgres_errors() {
        let lost = r#"{"code":"UH002","message":"lease lost","details":"task x","hint":"Discard."}"#;
        assert!(
            matches!(read::<Value>(400, lost), Err(Error::LeaseLost(refusal)) if refusal.detail.as_deref() == Some("task x"))
        );
        let forbidden = r#"{"code":"42501","message":"permission denied","details":null,"hint":null}"#;
        assert!(matches!(read::<Value>(403, forbidden), Err(Error::Forbidden(_))));
        let expired = r#"{"code":"PGRST303","message":"JWT expired","details":null,"hint":null}"#;
        assert!(matches!(read::<Value>(401, expired), Err(Error::Unauthorized(_))));
        assert!(matches!(read::<Value>(502, "<html>bad gateway</html>"), Err(Error::Http { status: 502, .. })));
        assert!(matches!(
            read::<Value>(401, r#"{"message":"No API key found in request"}"#),
            Err(Error::Unauthorized(_))
        ));
    }

    #[test]
    fn an_empty_answer_reads_as_null() {
        assert_eq!(read::<Value>(204, "").unwrap(), Value::Null);
    }

    #[test]
    fn a_key_does_not_print() {
        let api = Api::new("https://x.example/", "hush".into(), "hush".into()).unwrap();
        assert!(!format!("{api:?}").contains("hush"));
        assert!(Api::new("https://x.example/", "a\nb".into(), "x".into()).is_err());
    }
}
