//! How a run went.

use crate::{Limit, Tokens};

/// How a program ended, as the host saw it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct How<'a> {
    /// What ended it.
    pub end: End,
    /// The end of standard error.
    pub errors: &'a str,
}

/// What ended a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It exited by itself, with this code.
    Exit(i32),
    /// A signal from elsewhere.
    Signal(i32),
    /// It stayed on after its final word and was ended by us. That is no failure of its own.
    Lingered,
    /// We stopped it, or it died with its worker or host: whatever it said, it was cut off, unless its final word came before.
    Cut,
}

/// Why a run was no success. A closed set: the reasons of `hub_task_attempts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The provider does not know this login.
    Auth,
    /// A limit of the account is met.
    Limit,
    /// The provider can not keep up, or fails.
    Overloaded,
    /// The conversation has no room left in the model.
    ContextFull,
    /// It was not allowed to do something.
    Denied,
    /// The model would not do it.
    Refused,
    /// The program failed.
    Crashed,
    /// It ended without a final word.
    Silent,
    /// It was called with something that it does not take.
    BadConfig,
    /// The session to go on with is not there, or can not be gone on with.
    SessionLost,
}

impl Class {
    /// By the name in the record.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Limit => "limit",
            Self::Overloaded => "overloaded",
            Self::ContextFull => "context_full",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::Crashed => "crashed",
            Self::Silent => "silent",
            Self::BadConfig => "bad_config",
            Self::SessionLost => "session_lost",
        }
    }

    /// Whether trying again makes sense, of itself.
    #[must_use]
    pub fn passes(self) -> bool {
        matches!(self, Self::Limit | Self::Overloaded | Self::Crashed | Self::Silent | Self::SessionLost)
    }
}

/// How a run went. Success is what has no class: exit 0, a final word, no error in it, nothing denied.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Why it was no success.
    pub class: Option<Class>,
    /// Its last words to the person where it is one; else what went wrong, in one sentence.
    pub text: String,
    /// What a person can do about it, in one sentence.
    pub remedy: Option<String>,
    /// Whether trying again makes sense.
    pub retry: bool,
    /// The limit that was met.
    pub limit: Option<Limit>,
    /// Whether the session can be gone on with.
    pub resumable: bool,
    /// What it used and did.
    pub figures: Figures,
}

/// What a run used and did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// The session.
    pub session: Option<String>,
    /// The model that answered last.
    pub model: Option<String>,
    /// The program's version.
    pub version: Option<String>,
    /// What this run used.
    pub tokens: Tokens,
    /// What it cost in US dollars, where the program tells it.
    pub cost_usd: Option<f64>,
    /// Of the tokens, by the model: those whose cost the program is yet to tell, at the end of its turn. Empty where it tells no costs.
    pub untold: Vec<(String, Tokens)>,
    /// The cost is what it would have been, not what is billed: a subscription pays.
    pub notional: bool,
    /// How often the model was asked.
    pub turns: u32,
    /// How many tools it used.
    pub tool_calls: u32,
    /// The files it changed, each once, in the order of the first change, as people read them.
    pub files: Vec<String>,
}
