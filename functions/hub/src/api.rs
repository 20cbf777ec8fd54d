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
    types::{AgentStop, Device, Message},
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
        let tokens = self.sign_in_password(email, password).await.map_err(|error| self.0.credential.refused(error))?;
        Ok(held.insert(tokens).access.clone())
    }

    /// What a request to a table answers.
    pub(crate) async fn run<T: DeserializeOwned>(&self, request: impl Fn(&Postgrest) -> Builder) -> Result<T> {
        let token = self.bearer(None).await?;
        let outcome = match self.once(request(&self.0.rest), &token).await {
            // It ended early, or the clocks differ: once more with a new one.
            Err(Error::Unauthorized(_)) if matches!(self.0.credential, Credential::Password { .. }) => {
                let token = self.bearer(Some(token.expose_secret())).await?;
                self.once(request(&self.0.rest), &token).await
            }
            other => other,
        };
        outcome.map_err(|error| self.0.credential.refused(error))
    }

    /// The crate postgrest writes the request; it is sent by our own client, since its own is an older one whose TLS gets no more fixes.
    async fn once<T: DeserializeOwned>(&self, request: Builder, token: &SecretString) -> Result<T> {
        let written = request
            .auth(token.expose_secret())
            .build()
            .build()
            .map_err(|_| Error::Internal("a request to the hub could not be written".into()))?;
        let method = reqwest::Method::from_bytes(written.method().as_str().as_bytes())
            .map_err(|_| Error::Internal("a request to the hub has no method".into()))?;
        let mut sending = self.0.http.request(method, written.url().as_str());
        for (name, value) in written.headers() {
            sending = sending.header(name.as_str(), value.as_bytes());
        }
        if let Some(body) = written.body().and_then(|body| body.as_bytes()) {
            sending = sending.body(body.to_vec());
        }
        let sent = sending.send().await.map_err(|error| unreachable(&self.0.base, error.is_timeout()))?;
        let status = sent.status().as_u16();
        let text = sent.text().await.map_err(|error| unreachable(&self.0.base, error.is_timeout()))?;
        read(status, &text)
    }

    /// What a function answers.
    pub(crate) async fn call<T: DeserializeOwned>(&self, function: &str, mut arguments: Value) -> Result<T> {
        // What is null is left out: it is the default everywhere but in `p_role`, where null removes the member, and not every
        // REST layer keeps a null apart from an empty text.
        if let Some(arguments) = arguments.as_object_mut() {
            arguments.retain(|name, value| !value.is_null() || name == "p_role");
        }
        let body = arguments.to_string();
        self.run(|rest| rest.rpc(function, body.clone())).await
    }

    /// Devices, with where they serve, what they run, and what keeps their agents from it: three tables and a function.
    pub(crate) async fn devices_with_work(&self) -> Result<Vec<Device>> {
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
        // As hub_internal.held_count: one without a lease, of an executor of the older kind, takes no place of its capacity.
        let busy: Vec<Busy> = self
            .run(|rest| {
                rest.from("mac_tasks").select("claimed_by").eq("status", "running").not(
                    "is",
                    "lease_expires_at",
                    "null",
                )
            })
            .await?;
        let stops: Vec<AgentStop> = self.call("hub_agent_stops", json!({})).await?;
        for device in &mut devices {
            device.servers = enrolled.iter().filter(|e| e.device == device.name).map(|e| e.server_id).collect();
            let count = busy.iter().filter(|b| b.claimed_by.as_deref() == Some(device.name.as_str())).count();
            device.running = i64::try_from(count).unwrap_or(i64::MAX);
            device.stops = stops.iter().filter(|stop| stop.device == device.name).cloned().collect();
        }
        Ok(devices)
    }

    /// Through the admin API of the sign-in, which takes the service key. It has no search by address: it is paged through.
    pub(crate) async fn user_with_email(&self, email: &str) -> Result<Option<Uuid>> {
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

    /// A row of messages, or the one that this key made before.
    pub(crate) async fn insert_message(
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
