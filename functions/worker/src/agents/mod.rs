//! Agents: what runs a task. A new kind is a module here, a variant of [`Kind`] and a line in [`AgentConfig::build`]; a new program that
//! speaks is a codec of `functions/agents` and an [`Adapter`].

mod chain;
pub mod command;
mod config;
mod home;
pub mod installed;
pub(crate) mod limits;
pub mod login;
mod program;
pub(crate) mod refresh;
pub mod speaking;
pub mod survey;
mod talk;

pub(crate) use config::check;
pub use config::{Adapter, AgentConfig, Kind, Speaks, Step};
use limits::Limits;
use refresh::Leases;

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::DateTime;
use futures_util::future::BoxFuture;
use hub::{
    text::clean,
    types::{EndReason, Meta, Resumed, SessionState, Task},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    host::{self, Exit},
    line::{About, Line},
    output::{RESULT, Tail, ending},
    progress::{self, Progress},
    redact::Redactor,
    spent::{self, Spent},
};

/// The end of standard error that tells why it failed.
pub(crate) const ERRORS: usize = 8 * 1024;
/// As much of it as the run record takes, in characters.
const STDERR: usize = 8000;

/// What an attempt is given.
#[derive(Debug, Clone)]
pub struct Context {
    /// The task, as it was claimed.
    pub task: Task,
    /// What the agent is asked now: in a first turn what the hub says, later what is to be done besides.
    pub prompt: String,
    /// The session to go on with.
    pub session: Option<Resumed>,
    /// Where it works: canonical; the project's folder or a workspace of its own.
    pub directory: PathBuf,
    /// The canonical root of all projects.
    pub root: PathBuf,
    /// The attempt's own folder in the journal.
    pub folder: PathBuf,
    /// Where to say what is being done.
    pub progress: Progress,
    /// Where to say what is used.
    pub(crate) spent: Spent,
    /// Cancelled when the attempt is to stop. An agent stops everything it started, then returns.
    pub cancel: CancellationToken,
    /// Environment for every process the agent starts, besides its own: which task it is for, and the marks by which they are found.
    pub marks: Vec<(OsString, OsString)>,
    /// The program that hosts it: `hub`.
    pub host: PathBuf,
    /// Between TERM and KILL.
    pub grace: Duration,
    /// What people are not to read. What an agent cuts, it blacks out before.
    pub(crate) redactor: Arc<Redactor>,
    /// What people add, and how they are asked.
    pub(crate) line: Line,
    /// What people added before, and is in the prompt.
    pub(crate) carries: Vec<About>,
    /// Whether it has had a turn in this attempt.
    pub(crate) further: bool,
    /// Who is told of the limits of its account. None: nobody.
    pub(crate) limits: Option<Arc<Limits>>,
    /// Who says whose turn it is to refresh a login. None: this machine alone.
    pub(crate) leases: Option<Arc<dyn Leases>>,
}

/// A session after a run, or the one that the run began, with what it has used. None: it can not be gone on with.
pub(crate) fn session_after(before: Option<&Resumed>, run: &Meta) -> Option<Resumed> {
    let id = run.session_id.clone().filter(|_| run.session_state != Some(SessionState::Poisoned))?;
    let before = before.filter(|before| before.id == id).cloned().unwrap_or_default();
    let more =
        |count: u64, run: Option<i64>| count.saturating_add(run.and_then(|run| run.try_into().ok()).unwrap_or(0));
    Some(Resumed {
        id,
        tokens_in: more(before.tokens_in, run.tokens_in),
        tokens_out: more(before.tokens_out, run.tokens_out),
        tokens_cached: more(before.tokens_cached, run.tokens_cached),
        cost_usd: before.cost_usd + run.cost_usd.unwrap_or_default(),
    })
}

/// How an attempt went.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Well.
    Complete {
        /// What it has to say.
        result: String,
        /// What is known about the run.
        meta: Meta,
    },
    /// Badly.
    Failed {
        /// Why, for people.
        error: String,
        /// Whether trying again makes sense.
        retryable: bool,
        /// What is known about the run.
        meta: Meta,
    },
    /// It was told to stop, and did.
    Stopped {
        /// What is known about the run.
        meta: Meta,
    },
    /// Its worker stops while what the agent did, which is done, is proved or handed out: the next worker goes on there.
    Left {
        /// What is known about the run.
        meta: Meta,
    },
    /// Somebody was asked and has not answered: it goes on with the answer.
    Parked {
        /// What is known about the run.
        meta: Meta,
    },
}

impl Outcome {
    pub(crate) fn failed(error: impl Into<String>, retryable: bool, reason: EndReason) -> Self {
        Self::Failed { error: error.into(), retryable, meta: Meta { reason: Some(reason), ..Meta::default() } }
    }

    pub(crate) fn stopped() -> Self {
        Self::Stopped { meta: Meta::default() }
    }

    /// As people read it: without secrets of this machine, and no longer than a message takes.
    pub(crate) fn shown(self, redactor: &Redactor) -> Self {
        match self {
            Self::Complete { result, meta } => Self::Complete {
                result: ending(&redactor.text(&clean(&result)), RESULT, false).into_owned(),
                meta: shown(meta, redactor),
            },
            Self::Failed { error, retryable, meta } => {
                let error = redactor.text(&clean(&error)).into_owned();
                Self::Failed { error, retryable, meta: shown(meta, redactor) }
            }
            Self::Stopped { meta } => Self::Stopped { meta: shown(meta, redactor) },
            Self::Left { meta } => Self::Left { meta: shown(meta, redactor) },
            Self::Parked { meta } => Self::Parked { meta: shown(meta, redactor) },
        }
    }
}

/// Of what a program says of itself, what no record can have is left out: the hub would refuse the whole end for it.
fn shown(mut meta: Meta, redactor: &Redactor) -> Meta {
    let line = |text: Option<String>, most: usize| {
        let text: String = clean(&text?).split_whitespace().collect::<Vec<_>>().join(" ");
        (!text.is_empty() && text.chars().count() <= most).then_some(text)
    };
    let few = |number: Option<i32>| number.filter(|number| (0..1_000_000_000).contains(number));
    // What stands for a secret may be longer than it.
    meta.stderr = meta.stderr.map(|text| ending(&redactor.text(&clean(&text)), STDERR, false).into_owned());
    meta.model = line(meta.model, 200);
    meta.session_id = line(meta.session_id, 500);
    meta.agent_version = line(meta.agent_version, 200);
    (meta.tokens_in, meta.tokens_out, meta.tokens_cached) =
        (spent::tokens(meta.tokens_in), spent::tokens(meta.tokens_out), spent::tokens(meta.tokens_cached));
    (meta.turns, meta.tool_calls) = (few(meta.turns), few(meta.tool_calls));
    meta.cost_usd = spent::dollars(meta.cost_usd);
    meta.unpriced = spent::unpriced(meta.unpriced);
    if let Some(limit) = &mut meta.limit {
        limit.model = line(limit.model.take(), 200);
    }
    meta
}

/// A stream that a host kept in a folder: its end, as text without secrets, of at most so many characters.
///
/// # Errors
/// It can not be read.
pub(crate) fn kept_text(folder: &Path, name: &str, limit: usize, redactor: &Arc<Redactor>) -> io::Result<String> {
    let mut tail = Tail::new(limit, redactor);
    // One more, so that the tail knows that something is cut off.
    tail.push(&host::kept_tail(folder, name, tail.room() + 1)?);
    Ok(tail.text())
}

/// What the run record is to say of a program's end.
pub(crate) fn meta(exit: &Exit, errors: &str) -> Meta {
    let moment = |millis: Option<i64>| millis.and_then(DateTime::from_timestamp_millis);
    Meta {
        reason: Some(match exit.reason {
            // What it means that it exited is the verdict's to say.
            host::Reason::Exit => EndReason::Exit,
            host::Reason::Signal => EndReason::Signal,
            host::Reason::Stopped => EndReason::WorkerStopped,
            host::Reason::WorkerGone => EndReason::WorkerGone,
            host::Reason::HostGone => EndReason::HostGone,
            host::Reason::NoOutput => EndReason::NoOutput,
            host::Reason::Silent => EndReason::Silent,
            host::Reason::Timeout => EndReason::Timeout,
            host::Reason::Lingered => EndReason::Lingered,
            host::Reason::NotStarted => EndReason::NotStarted,
        }),
        exit_code: exit.code,
        signal: exit.signal.filter(|signal| *signal > 0),
        stderr: Some(errors.to_owned()).filter(|text| !text.is_empty()),
        output_bytes: exit.output_bytes.checked_add(exit.error_bytes),
        peak_memory_bytes: exit.peak_memory_bytes,
        agent_started_at: moment(exit.started_at_ms),
        // A clock that was set back meanwhile tells of an end before the beginning, which the hub refuses.
        agent_ended_at: moment(exit.started_at_ms.max(Some(exit.ended_at_ms))),
        ..Meta::default()
    }
}

/// Something that can run a task.
pub trait Agent: Send + Sync {
    /// Runs one attempt to its end. When it returns, nothing it started is left.
    fn run(&self, context: Context) -> BoxFuture<'_, Outcome>;

    /// Whether it changes what is in its folder, and so works in one of its own where the project can give it one.
    fn changes(&self) -> bool {
        true
    }

    /// Whether it can go on with a session that it had.
    fn resumes(&self) -> bool {
        false
    }

    /// What to tell of a run that another worker began, with this session, and that ended so; the folder has what the agent said. None
    /// if this agent's runs leave nothing to judge by.
    ///
    /// # Errors
    /// The folder can not be read.
    fn verdict(
        &self,
        exit: Exit,
        folder: &Path,
        session: Option<&Resumed>,
        redactor: &Arc<Redactor>,
    ) -> io::Result<Option<Outcome>>;
}

/// The record of several runs: sums, and the last one's end.
pub(crate) fn together(sum: Meta, last: Meta) -> Meta {
    Meta {
        cost_usd: spent::sum(sum.cost_usd, last.cost_usd),
        cost_notional: spent::either(sum.cost_notional, last.cost_notional),
        unpriced: spent::by_model(sum.unpriced, last.unpriced),
        tokens_in: spent::sum(sum.tokens_in, last.tokens_in),
        tokens_out: spent::sum(sum.tokens_out, last.tokens_out),
        tokens_cached: spent::sum(sum.tokens_cached, last.tokens_cached),
        turns: spent::sum(sum.turns, last.turns),
        tool_calls: spent::sum(sum.tool_calls, last.tool_calls),
        output_bytes: spent::sum(sum.output_bytes, last.output_bytes),
        peak_memory_bytes: sum.peak_memory_bytes.max(last.peak_memory_bytes),
        agent_started_at: sum.agent_started_at.or(last.agent_started_at),
        agent_ended_at: last.agent_ended_at.map(|end| sum.agent_started_at.map_or(end, |start| end.max(start))),
        session_id: last.session_id.or(sum.session_id),
        session_state: last.session_state.or(sum.session_state),
        ..last
    }
}

/// What a run that is over left in the attempt's folder, so that the next finds it empty. The lock stays.
pub(crate) fn put_aside(folder: &Path, name: &str) -> io::Result<()> {
    let place = folder.join(name);
    fs::create_dir(&place)?;
    for name in host::ALL_FILES {
        match fs::rename(folder.join(name), place.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Has an agent of a list do one thing in a folder of its own, and asks no hub.
///
/// # Errors
/// It can not be run here; the text says why.
pub async fn try_out(config: &AgentConfig, list: &[AgentConfig], prompt: &str) -> Result<Outcome, String> {
    let agent = config.build(list).await?;
    let redactor = Redactor::new(std::env::vars_os(), &[]);
    let redactor = Arc::new(redactor.map_err(|error| format!("the secrets of this machine: {error}"))?);
    let no_place = |error: io::Error| format!("no folder for it can be made: {error}");
    let place = tempfile::tempdir().map_err(no_place)?;
    let root = place.path().canonicalize().map_err(no_place)?;
    let (directory, folder) = (root.join("project"), root.join("attempt"));
    [&directory, &folder].into_iter().try_for_each(std::fs::create_dir).map_err(no_place)?;
    let task = json!({"id": Uuid::new_v4(), "content": prompt, "status": "running", "attempt": 1});
    let task: Task = serde_json::from_value(task).map_err(|error| error.to_string())?;
    let (progress, reporter) = progress::channel();
    // Nobody is told of its notes.
    drop(reporter);
    let context = Context {
        prompt: task.content.clone(),
        session: None,
        task,
        root,
        directory,
        folder,
        progress,
        spent: Spent::default(),
        cancel: CancellationToken::new(),
        marks: Vec::new(),
        host: host::own_program(),
        redactor: Arc::clone(&redactor),
        grace: Duration::from_secs(2),
        line: Line::dead(),
        carries: Vec::new(),
        further: false,
        limits: None,
        leases: None,
    };
    let redactor =
        Redactor::new(std::env::vars_os(), &[]).map_err(|error| format!("the secrets of this machine: {error}"))?;
    Ok(agent.run(context).await.shown(&redactor))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An attempt in a folder that is there, with nobody to tell.
    pub(crate) fn context(prompt: &str, place: &Path) -> Context {
        let task = json!({"id": Uuid::new_v4(), "content": prompt, "status": "running", "attempt": 1});
        let (progress, reporter) = progress::channel();
        drop(reporter);
        let (directory, folder) = (place.join("project"), place.join("attempt"));
        [&directory, &folder].into_iter().try_for_each(std::fs::create_dir_all).unwrap();
        Context {
            task: serde_json::from_value(task).unwrap(),
            prompt: prompt.to_owned(),
            session: None,
            directory: directory.canonicalize().unwrap(),
            root: directory.canonicalize().unwrap(),
            folder,
            progress,
            spent: Spent::default(),
            cancel: CancellationToken::new(),
            marks: Vec::new(),
            host: host::tests::program(),
            redactor: Arc::new(Redactor::new(std::iter::empty(), &[]).unwrap()),
            grace: Duration::from_millis(500),
            line: Line::dead(),
            carries: Vec::new(),
            further: false,
            limits: None,
            leases: None,
        }
    }

    #[test]
    fn what_a_program_says_of_itself_never_costs_the_end() {
        let redactor = Redactor::new(std::iter::empty(), &[]).unwrap();
        let meta = Meta {
            model: Some("m".repeat(201)),
            session_id: Some("a\u{0}\n b".into()),
            cost_usd: Some(1e9),
            tokens_in: Some(i64::MAX),
            tokens_out: Some(7),
            turns: Some(-1),
            limit: Some(hub::types::Limit { model: Some("m".repeat(201)), ..Default::default() }),
            ..Meta::default()
        };
        let outcome = Outcome::Complete { result: "a\u{0}b \u{202e}".into(), meta }.shown(&redactor);
        let Outcome::Complete { result, meta } = outcome else { panic!() };
        assert_eq!(result, "ab ‹U+202E›");
        let left = Meta {
            session_id: Some("a b".into()),
            tokens_out: Some(7),
            limit: Some(hub::types::Limit::default()),
            ..Meta::default()
        };
        assert_eq!(meta, left);
    }

    #[test]
    fn what_people_read_has_no_secret_and_fits_a_message() {
        let redactor = Redactor::new([("A_KEY".into(), "abcd-efgh".into())].into_iter(), &[]).unwrap();
        let meta = Meta::default();
        let complete = Outcome::Complete { result: "abcd-efgh ".repeat(10_000), meta: meta.clone() }.shown(&redactor);
        let Outcome::Complete { result, .. } = complete else { panic!() };
        assert!(!result.contains("abcd") && result.chars().count() <= RESULT && result.starts_with("(The beginning"));
        let failed = Outcome::failed("exit code 1\nabcd-efgh", true, EndReason::Exit).shown(&redactor);
        let meta = Meta { reason: Some(EndReason::Exit), ..meta };
        assert_eq!(failed, Outcome::Failed { error: "exit code 1\n[redacted]".into(), retryable: true, meta });
    }
}
