//! The HTTP functions without HTTP: a request as bytes goes in, a call of one database function comes out, and what the database
//! said becomes a response. The same code serves axum, AWS Lambda and, as WebAssembly, Supabase Edge Functions; only how bytes
//! arrive and how the database is reached differs.
//!
//! Nothing here waits, opens anything, or knows the time but by its argument.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails"))]

mod answer;
mod call;
mod discord;
mod github;
mod hooks;
mod json;
mod koji;
mod pressed;
mod problem;
mod send;
mod signature;
mod telegram;
#[cfg(test)]
mod tests;

pub use crate::{
    answer::Answer,
    call::{Answers, Call, Caller, Refused},
    hooks::Hook,
    koji::Command,
    problem::Problem,
    send::Outgoing,
};

use secrecy::SecretString;
use serde::Serialize;
use std::{collections::BTreeMap, fmt};

/// What the variables of GitHub's further secrets begin with.
pub const GITHUB_NAMED: &str = "HUB_GITHUB_WEBHOOK_SECRET_";

/// The functions there are, by the last part of their path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// Koji's commands, from Aura and from Discord.
    Koji,
    /// What GitHub reports.
    GitHub,
    /// What Telegram's users write.
    Telegram,
    /// What agents tell each other.
    Hooks,
    /// The plain way in.
    Send,
    /// What somebody answers who was asked on their phone.
    Answer,
}

impl Function {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Koji, Self::GitHub, Self::Telegram, Self::Hooks, Self::Send, Self::Answer];

    /// Its name in the address.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Koji => "koji-discord-bot",
            Self::GitHub => "github-webhook",
            Self::Telegram => "telegram-webhook",
            Self::Hooks => "hooks-agent",
            Self::Send => "send",
            Self::Answer => "answer",
        }
    }

    /// By the path of an address, and what stands behind its name there: `…/github-webhook/acme`.
    #[must_use]
    pub fn addressed(path: &str) -> Option<(Self, Option<&str>)> {
        let mut parts = path.rsplit('/');
        let last = parts.next()?;
        if let Some(function) = Self::named(last) {
            return Some((function, None));
        }
        parts
            .next()
            .and_then(Self::named)
            .filter(|function| *function == Self::GitHub)
            .map(|function| (function, Some(last)))
    }

    /// By its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.name() == name)
    }

    /// The largest body it takes, in bytes: what the provider may send, or what the fields may hold in JSON.
    #[must_use]
    pub const fn body_limit(self) -> usize {
        match self {
            // GitHub sends no more than this.
            Self::GitHub => 25 * 1024 * 1024,
            Self::Telegram | Self::Send | Self::Hooks => 1024 * 1024,
            Self::Koji => 64 * 1024,
            Self::Answer => 4 * 1024,
        }
    }
}

/// The answer to another name.
#[must_use]
pub fn unknown() -> Problem {
    let names: Vec<&str> = Function::ALL.into_iter().map(Function::name).collect();
    Problem::new(404, "there is no function of that name").hint(format!("There are {}.", names.join(", ")))
}

/// A request. Headers are asked for by lower-case names.
pub struct Request<'a> {
    /// `POST`, …
    pub method: &'a str,
    /// What stands in the address behind the function's name: which of several secrets it is signed with.
    pub name: Option<&'a str>,
    /// The value of a header, if there is one and it is text.
    pub header: &'a dyn Fn(&str) -> Option<&'a str>,
    /// The body as it came: signatures are over these bytes.
    pub body: &'a [u8],
    /// Seconds since 1970.
    pub now: i64,
}

/// Secrets of the outside world. A function whose secret is not set refuses everything, and says so.
#[derive(Clone, Default)]
pub struct Secrets {
    /// `GITHUB_WEBHOOK_SECRET`.
    pub github_webhook: Option<SecretString>,
    /// By the name in the address, `HUB_GITHUB_WEBHOOK_SECRET_<NAME>`: each for the repositories whose places name it.
    pub github_named: BTreeMap<String, SecretString>,
    /// `DISCORD_PUBLIC_KEY`, hexadecimal. No secret, but kept with them.
    pub discord_public_key: Option<String>,
    /// `TELEGRAM_WEBHOOK_SECRET`.
    pub telegram_webhook: Option<SecretString>,
}

impl Secrets {
    /// As the environment, or whatever else, has them.
    #[must_use]
    pub fn from(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        Self {
            github_webhook: set("GITHUB_WEBHOOK_SECRET").map(SecretString::from),
            github_named: BTreeMap::new(),
            discord_public_key: set("DISCORD_PUBLIC_KEY"),
            telegram_webhook: set("TELEGRAM_WEBHOOK_SECRET").map(SecretString::from),
        }
    }

    /// The same, with those secrets of GitHub whose variables are among `names`: only a host knows what variables there are.
    #[must_use]
    pub fn named<'n>(
        mut self,
        names: impl IntoIterator<Item = &'n str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Self {
        for name in names {
            let value = variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
            if let (true, Some(value)) = (name.starts_with(GITHUB_NAMED), value) {
                self.github_named.insert(name.to_owned(), value.into());
            }
        }
        self
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

/// A token in the clear, for whoever passes it on.
#[must_use]
pub fn expose(token: &SecretString) -> &str {
    secrecy::ExposeSecret::expose_secret(token)
}

/// What to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Its media type.
    pub content_type: &'static str,
    /// JSON.
    pub body: String,
    /// Seconds for the header `Retry-After`.
    pub retry_after: Option<u32>,
}

impl Response {
    fn json(status: u16, body: &impl Serialize) -> Self {
        let body = serde_json::to_string(body).unwrap_or_else(|_| "{}".into());
        Self { status, content_type: "application/json", body, retry_after: None }
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        Self {
            content_type: "application/problem+json",
            retry_after: problem.retry_after,
            ..Self::json(problem.status, &problem)
        }
    }
}

/// What a request comes to.
#[derive(Debug)]
pub enum Step {
    /// The answer is known.
    Answer(Response),
    /// The database knows; and how what it says is answered.
    Call(Call, Answers),
}

/// The project's token that a request shows, if its function takes one: a host that can verify it does so before anything is read.
#[must_use]
pub fn token(function: Function, request: &Request<'_>) -> Option<SecretString> {
    match function {
        Function::Koji if discord::is_interaction(request) => None,
        Function::Koji | Function::Send => send::bearer(request).ok(),
        Function::GitHub | Function::Telegram | Function::Hooks | Function::Answer => None,
    }
}

/// The answer to a body that is larger than the function takes.
#[must_use]
pub fn too_large(function: Function) -> Problem {
    Problem::new(413, format!("the body is larger than {} KB", function.body_limit() / 1024))
}

/// Looks at a request's method and headers: a host asks before it reads a body, so that who shows no credentials sends none.
///
/// # Errors
/// What to answer.
pub fn look(function: Function, request: &Request<'_>, secrets: &Secrets) -> Result<(), Problem> {
    if request.method != "POST" {
        return Err(Problem::new(405, "this function takes POST"));
    }
    match function {
        Function::Koji if discord::is_interaction(request) => discord::signed(request, secrets).map(drop),
        Function::GitHub => github::signed(request, secrets).map(drop),
        Function::Telegram => telegram::known(request, secrets),
        // Its token is in the body, and whoever sends it is a notification, which gives its body any type.
        Function::Answer => Ok(()),
        Function::Koji | Function::Hooks | Function::Send => {
            json::only_json(request)?;
            send::bearer(request).map(drop)
        }
    }
}

/// Reads a request to a function.
#[must_use]
pub fn plan(function: Function, request: &Request<'_>, secrets: &Secrets) -> Step {
    let planned = look(function, request, secrets).and_then(|()| {
        if request.body.len() > function.body_limit() {
            return Err(too_large(function));
        }
        match function {
            Function::Koji if discord::is_interaction(request) => discord::plan(request, secrets),
            Function::Koji => koji::plan(request),
            Function::GitHub => github::plan(request, secrets),
            Function::Telegram => telegram::plan(request),
            Function::Hooks => hooks::plan(request),
            Function::Send => send::plan(request),
            Function::Answer => answer::plan(request),
        }
    });
    planned.unwrap_or_else(|problem| Step::Answer(problem.into()))
}
