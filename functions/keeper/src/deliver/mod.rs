//! What is said here is said elsewhere: rows of `hub_outbox`, delivered to Discord, Telegram, GitHub, ntfy and signed webhooks.
//!
//! ```text
//!   NOTIFY outbox ─┐                     ┌ deliver ─ one task a row, of one target only one row ──────────────────────┐
//!   hub_outbox_due ┼─► claim ─► Outgoing ┤   secret ─► provider ─► HTTP (20 s) ─► sent: complete(external id, parts)  ├─► look again
//!   one ended ─────┘   (as many as slots │                          └► 429, soon: wait on the spot, ask again         │
//!                       are free)        └──────────────────────────── failed: fail(why, when again, what arrived) ───┘
//! ```
//!
//! Which row, in which order, and when again is the database's to say; several workers may run. Nothing is locked while a request is
//! under way: a row is leased for longer than its delivery may take. What is sent and not said to be (a worker killed in between) is
//! sent again when the lease ran out. Where that is seen by nobody, and where it is seen:
//!
//! | to | once by |
//! |---|---|
//! | Discord, as a bot | the row's nonce, for the minutes that Discord remembers it; part n of a text has its own |
//! | GitHub | a mark of the row in the comment, looked for before every attempt but the first |
//! | webhooks | `webhook-id`, for receivers that look at it |
//! | ntfy, for what is asked | the ask's id, by which a notification replaces the one before |
//! | Telegram, Discord's webhooks | at least once |
//!
//! A long text is several messages. The first is its external id: that is where a reply belongs, and where an answer's reader begins.
//! All ids are told to the database, so that each is known when it comes back and when somebody replies to it. Those that arrived
//! before a failure are told with it, and are not sent again. Progress is one message that is edited, so it is never split but cut;
//! so is the list of a team's parts.
//!
//! What a task asks has buttons where its message shows all that it asks about, and only while it is open ([`ask`]).

mod address;
mod ask;
mod discord;
mod github;
mod http;
mod ntfy;
mod telegram;
mod text;
mod webhook;

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use chrono::Utc;
use futures_util::future::BoxFuture;
use hub::{
    Error, Hub, Result,
    config::Lookup,
    types::{Outgoing, Undelivered},
    wake::Errands,
};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    Keeper,
    errand::{AGAIN, Ends, Errand, MENDED},
};

/// What a claim asks for; longer than [`WORK_WITHIN`], a request's time and the word to the database.
const LEASE: Duration = Duration::from_secs(120);
/// No request is begun later than this after the claim; a text whose parts take longer goes on with the next attempt.
const WORK_WITHIN: Duration = Duration::from_secs(45);
/// A task waiting for a slow receiver costs little, and slots are what keeps fast ones from waiting behind it.
const AT_ONCE: usize = 128;
/// At most what `hub_claim_outbox` takes.
const BATCH: usize = 50;
/// Due, and not to be had: another worker has that target just now.
const CONTENDED: Duration = Duration::from_secs(1);
/// Between our clock and the database's.
const AFTER: Duration = Duration::from_millis(20);
const CALL_WITHIN: Duration = Duration::from_secs(20);
/// A claim on its way when the worker stops has this long: dropped, its rows would wait for their leases to run out.
const LAST_CLAIM: Duration = Duration::from_secs(1);
/// For giving back what did not get through in time.
const HAND_BACK: Duration = Duration::from_secs(5);
/// For topics of ntfy that want one.
const NTFY_TOKEN: &str = "HUB_BRIDGE_NTFY";

/// Where and as whom a keeper delivers.
#[derive(Clone)]
pub struct Delivery {
    discord: Url,
    telegram: Url,
    github: Url,
    /// Where somebody answers who was asked by a notification.
    answers: Option<Url>,
    allow_private: bool,
    secrets: fn(&str) -> Option<String>,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("allow_private", &self.allow_private).finish_non_exhaustive()
    }
}

impl Delivery {
    /// Reads `HUB_DISCORD_API_URL`, `HUB_TELEGRAM_API_URL`, `HUB_GITHUB_API_URL` (for proxies, and GitHub's enterprise servers),
    /// `HUB_ANSWER_URL` (without it `SUPABASE_URL` says where the functions are) and `HUB_OUTBOX_ALLOW_PRIVATE_ADDRESSES`. Tokens are read from the environment, or from the files it names, when they are needed.
    ///
    /// # Errors
    /// [`Error::Config`] with every problem.
    pub fn read(lookup: Lookup<'_>) -> Result<Self> {
        let mut problems = Vec::new();
        let fit = |text: &str| {
            Url::parse(text).ok().filter(|url| {
                let here = url.host_str().is_some_and(|host| {
                    host == "localhost"
                        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
                });
                (url.scheme() == "https" || (url.scheme() == "http" && here))
                    && url.query().is_none()
                    && url.fragment().is_none()
            })
        };
        let mut base = |name: &str, text: &str, example: &str| {
            let url = fit(text);
            if url.is_none() {
                problems.push(format!("{name} must be an address such as {example}; http only on this machine"));
            }
            url
        };
        let mut of = |name: &str, default: &str| base(name, lookup(name).as_deref().unwrap_or(default), default);
        let discord = of("HUB_DISCORD_API_URL", "https://discord.com").map(|url| discord::below(&url, &["api", "v10"]));
        let telegram = of("HUB_TELEGRAM_API_URL", "https://api.telegram.org");
        let github = of("HUB_GITHUB_API_URL", "https://api.github.com");
        let answers = match (lookup("HUB_ANSWER_URL"), lookup("SUPABASE_URL")) {
            (Some(text), _) => base("HUB_ANSWER_URL", &text, "https://abc.supabase.co/functions/v1/answer"),
            // Given for other things, too: one that no phone may be sent to is no mistake.
            (None, Some(text)) => fit(&text).map(|url| discord::below(&url, &["functions", "v1", "answer"])),
            (None, None) => None,
        };
        let allow_private = match lookup("HUB_OUTBOX_ALLOW_PRIVATE_ADDRESSES").as_deref() {
            None | Some("0" | "false") => false,
            Some("1" | "true") => true,
            Some(_) => {
                problems.push("HUB_OUTBOX_ALLOW_PRIVATE_ADDRESSES must be 0 or 1".into());
                false
            }
        };
        match (discord, telegram, github) {
            (Some(discord), Some(telegram), Some(github)) if problems.is_empty() => {
                Ok(Self { discord, telegram, github, answers, allow_private, secrets: hub::config::environment })
            }
            _ => Err(Error::Config(problems.join("\n"))),
        }
    }

    /// The secret that a row names: its provider's own, or one of a bridge.
    fn secret(&self, row: &Outgoing) -> Result<SecretString, Failure> {
        let name = row.secret_name.as_str();
        // The database checks the name, too. Here it is what stands between a row and whatever else the environment holds.
        let own = match row.provider.as_str() {
            "discord" => Some("DISCORD_BOT_TOKEN"),
            "telegram" => Some("TELEGRAM_BOT_TOKEN"),
            "github" => Some("HUB_GITHUB_TOKEN"),
            _ => None,
        };
        if Some(name) != own && !name.starts_with("HUB_BRIDGE_") {
            let own = own.map(|own| format!(", or {own}")).unwrap_or_default();
            return Err(Failure::for_good(format!(
                "the bridge names a secret that {} may not use: use HUB_BRIDGE_<NAME>{own}",
                row.provider
            )));
        }
        (self.secrets)(name)
            .map(|value| SecretString::from(value.trim().to_owned()))
            .ok_or_else(|| Failure::for_now(format!("{name} is not set for the workers that deliver")))
    }
}

/// What was delivered: its id there, and what was odd about it, which is said once in the channel.
#[derive(Debug, Default)]
struct Arrived {
    id: Option<String>,
    note: Option<String>,
}

impl Arrived {
    fn as_id(id: impl Into<Option<String>>) -> Self {
        Self { id: id.into(), note: None }
    }
}

/// Why a delivery came to nothing: a short sentence without a secret.
#[derive(Debug)]
struct Failure {
    error: String,
    retry_after: Option<Duration>,
    permanent: bool,
}

impl Failure {
    fn for_good(error: impl Into<String>) -> Self {
        Self { error: error.into(), retry_after: None, permanent: true }
    }

    fn for_now(error: impl Into<String>) -> Self {
        Self { error: error.into(), retry_after: None, permanent: false }
    }

    fn later(error: impl Into<String>, after: Duration) -> Self {
        Self { error: error.into(), retry_after: Some(after), permanent: false }
    }
}

/// The `body` of a row for a chat.
#[derive(Debug, Deserialize)]
struct Chat {
    #[serde(default)]
    text: String,
    #[serde(default)]
    sender: Option<String>,
    #[serde(default)]
    sender_type: Option<String>,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    embed: Value,
    /// It is edited later, and so one message, however long.
    #[serde(default)]
    in_place: bool,
    /// What it asks, if it asks something.
    #[serde(default)]
    ask: Option<ask::Ask>,
}

impl Chat {
    fn of(row: &Outgoing) -> Result<Self, Failure> {
        serde_json::from_str(row.body.get())
            .map_err(|_| Failure::for_good("the row's body is not of its provider's form"))
    }

    /// Who said it: of what people and other agents write. What the hub tells of tasks says in its text who did what.
    fn speaker(&self) -> Option<&str> {
        let written = matches!(self.content_type.as_deref(), Some("text" | "command"))
            && self.sender_type.as_deref() != Some("system");
        self.sender.as_deref().filter(|_| written).map(str::trim).filter(|name| !name.is_empty())
    }
}

/// `channel:<id>` or `user:<id>`, with `/<topic>`.
#[derive(Debug, PartialEq, Eq)]
struct Target<'a> {
    user: bool,
    id: &'a str,
    topic: Option<&'a str>,
}

impl<'a> Target<'a> {
    fn parse(text: &'a str) -> Result<Self, Failure> {
        let (user, rest) = match (text.strip_prefix("channel:"), text.strip_prefix("user:")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(Failure::for_good("a target is written channel:<id> or user:<id>")),
        };
        let (id, topic) = rest.split_once('/').map_or((rest, None), |(id, topic)| (id, Some(topic)));
        Ok(Self { user, id, topic })
    }
}

/// Whether it can be an id of theirs, and nothing that means something in a path.
fn is_number(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Carries rows to their providers.
struct Carrier {
    settings: Delivery,
    /// For the providers' own addresses: proxies of the environment are used.
    trusted: reqwest::Client,
    /// For addresses that owners of servers gave: no proxy, which would connect where we may not.
    guarded: reqwest::Client,
    holds: http::Holds,
    direct_messages: discord::DirectMessages,
}

impl Carrier {
    fn new(settings: Delivery) -> Result<Self> {
        let client = || {
            reqwest::Client::builder()
                .user_agent(concat!("aura-hub/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(http::CONNECT_WITHIN)
                .timeout(http::WITHIN)
        };
        let guarded = client()
            .no_proxy()
            .https_only(!settings.allow_private)
            .dns_resolver(Arc::new(address::Guarded { allow_private: settings.allow_private }))
            .pool_max_idle_per_host(1)
            .build();
        match (client().build(), guarded) {
            (Ok(trusted), Ok(guarded)) => Ok(Self {
                settings,
                trusted,
                guarded,
                holds: http::Holds::default(),
                direct_messages: discord::DirectMessages::default(),
            }),
            _ => Err(Error::Internal("no HTTP client can be made".into())),
        }
    }

    /// Sends it. `parts` are the ids of a split text's messages, those of earlier attempts among them.
    async fn deliver(&self, row: &Outgoing, parts: &mut Vec<String>, until: Instant) -> Result<Arrived, Failure> {
        if row.provider == "ntfy" {
            let secret = match self.settings.secret(row) {
                // Topics are open to who knows their names, unless their server says otherwise.
                Err(failure) if !failure.permanent && row.secret_name == NTFY_TOKEN => None,
                secret => Some(secret?),
            };
            return ntfy::deliver(self, row, secret.as_ref(), until).await;
        }
        let secret = self.settings.secret(row)?;
        match row.provider.as_str() {
            "discord" => discord::deliver(self, row, &secret, parts, until).await,
            "telegram" => telegram::deliver(self, row, &secret, parts, until).await,
            "github" => github::deliver(self, row, &secret, until).await,
            "webhook" => webhook::deliver(self, row, &secret).await.map(|()| Arrived::default()),
            _ => Err(Failure::for_good("this worker does not know the provider")),
        }
    }
}

pub(crate) fn errand(keeper: &Keeper) -> Option<Box<dyn Errand>> {
    let settings = keeper.delivery.clone()?;
    Some(Box::new(Deliveries { hub: keeper.hub.clone(), settings, drain: keeper.drain }))
}

struct Deliveries {
    hub: Hub,
    settings: Delivery,
    drain: Duration,
}

impl Errand for Deliveries {
    fn run(self: Box<Self>, told: Errands, ends: Ends) -> BoxFuture<'static, ()> {
        Box::pin(deliver(self.hub, self.settings, told, ends.begin, self.drain))
    }
}

/// Delivers until `shutdown`; what is under way then has `drain` to get through, and is given back after that.
async fn deliver(hub: Hub, settings: Delivery, told: Errands, shutdown: CancellationToken, drain: Duration) {
    if settings.allow_private {
        tracing::warn!("webhooks may go to private addresses, and by http: HUB_OUTBOX_ALLOW_PRIVATE_ADDRESSES is set");
    }
    let carrier = match Carrier::new(settings) {
        Ok(carrier) => Arc::new(carrier),
        Err(error) => return tracing::error!(error = %error, "this worker can not deliver what goes out"),
    };
    let abandon = CancellationToken::new();
    let mut flying = JoinSet::new();
    let mut look = true;
    let mut due: Option<Instant> = None;
    let mut not_before = Instant::now();
    loop {
        let free = AT_ONCE.saturating_sub(flying.len()).min(BATCH);
        if look && free > 0 && Instant::now() >= not_before {
            match claim(&hub, free, &shutdown).await {
                Ok((rows, next)) => {
                    // A full batch: there may be more. A short one came with when there is more.
                    look = rows.len() == free;
                    due = next;
                    for row in rows {
                        flying.spawn(fly(hub.clone(), Arc::clone(&carrier), row, abandon.clone()));
                    }
                }
                Err(error @ Error::Forbidden(_)) => {
                    tracing::error!(error = %error, "this worker may not deliver what goes out");
                    break;
                }
                // Whatever it is, it may be mended while we run: a full disk, a key that is being changed.
                Err(error) => {
                    let transient = error.is_transient();
                    if !transient {
                        tracing::error!(error = %error, "what goes out can not be read from the database now");
                    }
                    look = true;
                    not_before = Instant::now() + if transient { AGAIN } else { MENDED };
                }
            }
            continue;
        }
        let wait_to_look = look && free > 0;
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            () = told.next() => look = true,
            Some(_) = flying.join_next(), if !flying.is_empty() => {
                // Those that ended meanwhile, too: one look for all of them.
                while flying.try_join_next().is_some() {}
                look = true;
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                due = None;
                look = true;
            }
            () = sleep_until(not_before), if wait_to_look => {}
        }
    }
    let all = async |flying: &mut JoinSet<()>| while flying.join_next().await.is_some() {};
    if timeout(drain, all(&mut flying)).await.is_err() {
        abandon.cancel();
        timeout(HAND_BACK, all(&mut flying)).await.ok();
    }
}

/// What may be delivered now, and when there is more.
async fn claim(hub: &Hub, free: usize, shutdown: &CancellationToken) -> Result<(Vec<Outgoing>, Option<Instant>)> {
    let claim = bounded(hub.claim_outbox(i32::try_from(free).unwrap_or(1), LEASE));
    let rows = tokio::select! {
        biased;
        rows = claim => rows?,
        () = async { shutdown.cancelled().await; sleep(LAST_CLAIM).await } => return Ok((vec![], None)),
    };
    if rows.len() == free {
        return Ok((rows, None));
    }
    // What was claimed is delivered whatever this says; the net finds what it would have.
    let due = bounded(hub.outbox_due()).await.unwrap_or_else(|error| {
        tracing::warn!(error = %error, "when there is more to deliver is not known");
        None
    });
    let due = due.map(|at| Instant::now() + (at - Utc::now()).to_std().map_or(CONTENDED, |left| left + AFTER));
    Ok((rows, due))
}

/// One row, from its claim to the word about it.
async fn fly(hub: Hub, carrier: Arc<Carrier>, row: Outgoing, abandon: CancellationToken) {
    let mut parts = row.parts.clone();
    let until = Instant::now() + WORK_WITHIN;
    let outcome = tokio::select! {
        biased;
        outcome = timeout(WORK_WITHIN + http::WITHIN, carrier.deliver(&row, &mut parts, until)) =>
            outcome.unwrap_or_else(|_| Err(Failure::for_now("it took too long"))),
        () = abandon.cancelled() => Err(Failure::later("the worker stopped while it was sent", Duration::ZERO)),
    };
    let parts = (!parts.is_empty()).then_some(parts);
    match outcome {
        Ok(Arrived { id, note }) => {
            let told = || hub.complete_outbox(row.id, row.attempt, id.as_deref(), parts.as_deref(), note.as_deref());
            settle(&row, told).await;
            tracing::debug!(outbox.id = %row.id, outbox.provider = %row.provider, outbox.attempt = row.attempt, "delivered");
        }
        Err(Failure { error, retry_after, permanent }) => {
            let failed = Undelivered { error, retry_after, permanent, parts };
            let again = settle(&row, || hub.fail_outbox(row.id, row.attempt, &failed)).await;
            match again {
                Some(None) => tracing::warn!(
                    outbox.id = %row.id, outbox.provider = %row.provider, outbox.attempt = row.attempt, error = %failed.error,
                    "a dead letter"
                ),
                Some(Some(_)) => tracing::info!(
                    outbox.id = %row.id, outbox.provider = %row.provider, outbox.attempt = row.attempt, error = %failed.error,
                    "not delivered; tried again"
                ),
                None => {}
            }
        }
    }
}

/// Tells the database, for as long as it takes: what was sent and not told would be sent again.
async fn settle<T, F: Future<Output = Result<T>>>(row: &Outgoing, tell: impl Fn() -> F) -> Option<T> {
    let mut pause = Duration::from_millis(250);
    loop {
        match bounded(tell()).await {
            Ok(told) => return Some(told),
            // It is another's by now, or was given up.
            Err(Error::LeaseLost(_)) => return None,
            Err(error @ (Error::BadInput(_) | Error::Forbidden(_) | Error::NotFound(_))) => {
                tracing::error!(outbox.id = %row.id, error = %error, "how a delivery went can not be told");
                return None;
            }
            Err(error) => {
                if !error.is_transient() {
                    tracing::error!(outbox.id = %row.id, error = %error, "how a delivery went can not be told yet");
                }
                sleep(pause).await;
                pause = (pause * 2).min(AGAIN);
            }
        }
    }
}

async fn bounded<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(CALL_WITHIN, call).await.unwrap_or_else(|_| Err(Error::Unreachable("the hub does not answer".into())))
}

#[cfg(test)]
mod tests;
