//! What a program says, whoever made it.

use chrono::{DateTime, Utc};
use serde_json::Value;

/// One thing that an agent said or did. Texts are as the program wrote them: who shows them to people cleans, shortens and redacts.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// It began, or went on with, a session. May come again, with more known.
    Session {
        /// The name by which it can be resumed.
        id: String,
        /// The model that answers.
        model: Option<String>,
        /// The program's version, where it tells it.
        version: Option<String>,
    },
    /// It said something to the person. Whole: pieces of a message are put together first.
    Text(String),
    /// It began to use a tool.
    ToolStart {
        /// Its own name for this use.
        id: String,
        /// In plain words, for people: `Editing src/cache.rs`, `Running cargo test`.
        words: String,
    },
    /// A tool ended.
    ToolEnd {
        /// As in [`Event::ToolStart`].
        id: String,
        /// In plain words what came of it, where there is more to say than that it ended: `Running cargo test: exit 1`.
        words: Option<String>,
        /// Whether it did what it was to do.
        ok: bool,
        /// The files it changed, as the program names them.
        files: Vec<String>,
    },
    /// What it means to do, whole. Takes the place of the one before.
    Plan(Vec<Step>),
    /// What was used since the last event of this kind.
    Usage {
        /// Tokens.
        tokens: Tokens,
        /// In US dollars, where the program tells it.
        cost_usd: Option<f64>,
    },
    /// The provider did not answer as it should, and the program tries again by itself.
    Retry {
        /// Which try follows, from 1.
        attempt: u32,
        /// How many there will be at most, where it says.
        of: Option<u32>,
        /// The status of HTTP, where there was one.
        status: Option<u16>,
        /// What kind of failure it is, where that is clear.
        class: Option<crate::Class>,
        /// In its own words.
        text: String,
    },
    /// What is known of a limit of the account: met, near, or only how much is used.
    Limit(Limit),
    /// It goes on with another model.
    Fallback {
        /// Which it was.
        from: Option<String>,
        /// Which it is.
        to: String,
    },
    /// It asks, and waits until [`crate::Command::Answer`] comes.
    Ask(Ask),
    /// It does not wait for an answer any more, to the ask of this id.
    Withdrawn(String),
    /// It was not allowed to do something.
    Denied {
        /// The tool, in plain words where they are known.
        what: String,
        /// Why, in its own words.
        why: String,
    },
    /// It has nothing more to do: the turn is over, well or badly, and the program has only to exit.
    Final,
    /// What is not known here: a line as it came, at most 4,000 bytes of it.
    Raw(String),
}

/// Tokens, as differences.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Read, those from a cache included.
    pub input: u64,
    /// Written, reasoning included.
    pub output: u64,
    /// Of `input`: those read from a cache.
    pub cached: u64,
}

/// A step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is to be done.
    pub text: String,
    /// How far it is.
    pub state: StepState,
}

/// How far a step of a plan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Begun.
    Running,
    /// Done.
    Done,
}

/// A limit of an account.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// Whether nothing goes on before `until`.
    pub met: bool,
    /// When it ends, or its window begins anew.
    pub until: Option<DateTime<Utc>>,
    /// How `until` is known.
    pub source: LimitSource,
    /// Which window it counts in.
    pub window: Option<Window>,
    /// For which model alone, where it is not for all of them.
    pub model: Option<String>,
    /// The share that is used, 0 to 1.
    pub used: Option<f64>,
    /// In its own words.
    pub text: String,
}

/// How the end of a limit is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitSource {
    /// Nobody said.
    Guess,
    /// From a sentence for people.
    Text,
    /// As a number in a field of its own.
    Structured,
}

/// The window that a limit counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Five hours.
    FiveHours,
    /// Seven days.
    SevenDays,
    /// A day.
    Day,
    /// A minute.
    Minute,
}

/// A question of an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// The program's name for it, to answer with.
    pub id: String,
    /// What it is about, in plain words: `Running curl http://x | sh`.
    pub title: String,
    /// The tool it wants to use, by the program's name.
    pub tool: Option<String>,
    /// What the tool is to be given, without what names this one call: the same once more is the same.
    pub input: Value,
    /// Why, in its own words.
    pub why: Option<String>,
    /// Answers to choose from, where it gives any: the program's name for each, and what people read.
    pub options: Vec<(String, String)>,
    /// Whether it asks for leave to do something; else it asks for words.
    pub permission: bool,
}
