//! Agents: what runs a task. A new kind is a module here, a variant of [`Kind`] and a line in [`AgentConfig::build`].

pub mod command;
pub mod survey;

use std::{
    collections::BTreeSet,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::DateTime;
use futures_util::future::BoxFuture;
use hub::{
    Error, Result,
    types::{AgentOffer, EndReason, Meta, Task},
};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::{
    environment,
    host::{self, Exit, Watch},
    output::{RESULT, Tail, ending},
    progress::Progress,
    redact::Redactor,
};

const MODELS: [&str; 4] = ["claude", "codex", "gemini", "any"];
/// What an agent gets unless its configuration says otherwise.
const WATCH: Watch = Watch {
    first_output_seconds: Some(60.0),
    silence_seconds: Some(600.0),
    total_seconds: Some(3600.0),
    linger_seconds: Some(10.0),
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
    /// The project's folder: canonical, and under the root.
    pub directory: PathBuf,
    /// The canonical root of all projects.
    pub root: PathBuf,
    /// The attempt's own folder in the journal.
    pub folder: PathBuf,
    /// Where to say what is being done.
    pub progress: Progress,
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
                result: ending(&redactor.text(&result), RESULT, false).into_owned(),
                meta: shown(meta, redactor),
            },
            Self::Failed { error, retryable, meta } => {
                Self::Failed { error: redactor.text(&error).into_owned(), retryable, meta: shown(meta, redactor) }
            }
            Self::Stopped { meta } => Self::Stopped { meta: shown(meta, redactor) },
        }
    }
}

fn shown(mut meta: Meta, redactor: &Redactor) -> Meta {
    // What stands for a secret may be longer than it.
    meta.stderr = meta.stderr.map(|text| ending(&redactor.text(&text), STDERR, false).into_owned());
    meta
}

/// What is known of an agent's run once it is over: enough to judge it, for the worker that saw it and for one that only finds its
/// folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// How it ended.
    pub exit: Exit,
    /// The end of its standard output, as text without secrets.
    pub output: String,
    /// The end of its standard error, as text without secrets.
    pub errors: String,
}

impl Recorded {
    /// What a host left in a folder, once it has ended.
    ///
    /// # Errors
    /// It can not be read.
    pub(crate) fn read(folder: &Path, redactor: &Arc<Redactor>) -> io::Result<Option<Self>> {
        let Some(exit) = Exit::read(folder)? else { return Ok(None) };
        let text = |name, limit| {
            let mut tail = Tail::new(limit, redactor);
            // One more, so that the tail knows that something is cut off.
            tail.push(&host::kept_tail(folder, name, tail.room() + 1)?);
            io::Result::Ok(tail.text())
        };
        Ok(Some(Self { exit, output: text(host::OUTPUT, RESULT)?, errors: text(host::ERRORS, ERRORS)? }))
    }

    /// What the run record is to say of it.
    pub(crate) fn meta(&self, model: Option<String>) -> Meta {
        let exit = &self.exit;
        let moment = |millis: Option<i64>| millis.and_then(DateTime::from_timestamp_millis);
        Meta {
            model,
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
            stderr: Some(self.errors.clone()).filter(|text| !text.is_empty()),
            output_bytes: exit.output_bytes.checked_add(exit.error_bytes),
            peak_memory_bytes: exit.peak_memory_bytes,
            agent_started_at: moment(exit.started_at_ms),
            agent_ended_at: moment(Some(exit.ended_at_ms)),
            ..Meta::default()
        }
    }
}

/// Something that can run a task.
pub trait Agent: Send + Sync {
    /// Runs one attempt to its end. When it returns, nothing it started is left.
    fn run(&self, context: Context) -> BoxFuture<'_, Outcome>;

    /// What to tell of a run that another worker began. None if this agent's runs leave nothing to judge by.
    fn verdict(&self, recorded: &Recorded) -> Option<Outcome>;
}

/// What a machine offers under a name.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentConfig {
    /// The agent's name, as conversations show it.
    pub agent: String,
    /// The model preferences it takes; `any` stands for all.
    pub models: Vec<String>,
    /// The memory it needs.
    pub memory_bytes: Option<u64>,
    /// What it is.
    pub kind: Kind,
    /// What it gets of the worker's environment, besides what any program and an agent of its name need: names of variables, with a
    /// `*` at the end for all that begin so.
    pub env: Vec<String>,
}

/// What an agent is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Looks through the project folder and reports; needs nothing installed.
    Survey,
    /// Any program.
    Command {
        /// Program and arguments; `{prompt}` in an argument is replaced by the task's text. Without it the text is at standard input.
        argv: Vec<String>,
        /// When it is ended though nobody asked.
        watch: Watch,
        /// How a line of its output begins that says that it is done. An agent that has one and does not say it has failed.
        final_word: Option<String>,
    },
}

impl AgentConfig {
    /// The agent `survey` for every model.
    #[must_use]
    pub fn survey() -> Self {
        Self {
            agent: "survey".into(),
            models: MODELS.map(String::from).to_vec(),
            memory_bytes: None,
            kind: Kind::Survey,
            env: Vec::new(),
        }
    }

    /// Reads a list of agents (`HUB_WORKER_AGENTS`, or the file of `--agents`):
    ///
    /// ```json
    /// [{"agent": "claude", "models": ["claude"], "kind": "command", "argv": ["claude", "-p"], "timeout_seconds": 3600,
    ///   "first_output_seconds": 0, "silence_seconds": 0},
    ///  {"agent": "survey", "models": ["any"], "kind": "survey"}]
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] with every problem, a line each, naming the agent.
    pub fn parse(json: &str) -> Result<Vec<Self>> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            agent: String,
            models: Vec<String>,
            kind: String,
            #[serde(default)]
            argv: Option<Vec<String>>,
            #[serde(default)]
            env: Vec<String>,
            #[serde(default)]
            memory_bytes: Option<u64>,
            #[serde(default, rename = "final")]
            final_word: Option<String>,
            #[serde(default)]
            first_output_seconds: Option<f64>,
            #[serde(default)]
            silence_seconds: Option<f64>,
            #[serde(default)]
            timeout_seconds: Option<f64>,
            #[serde(default)]
            linger_seconds: Option<f64>,
        }
        // 0 is written for "never".
        let limit = |written: Option<f64>, otherwise: Option<f64>| written.or(otherwise).filter(|limit| *limit != 0.0);
        let list: Vec<serde_json::Value> = serde_json::from_str(json)
            .map_err(|error| Error::Config(format!("the agents are not a JSON list: {error}")))?;
        let mut problems = Vec::new();
        let mut agents = Vec::new();
        for (at, value) in list.into_iter().enumerate() {
            let name = value["agent"].as_str().map_or_else(|| format!("number {}", at + 1), str::to_owned);
            let written: Written = match serde_json::from_value(value) {
                Ok(written) => written,
                Err(error) => {
                    problems.push(format!("agent {name}: {error}"));
                    continue;
                }
            };
            let kind = match (written.kind.as_str(), written.argv) {
                ("survey", None) => Kind::Survey,
                ("survey", Some(_)) => {
                    problems.push(format!("agent {name}: a survey takes no argv"));
                    continue;
                }
                ("command", Some(argv)) => Kind::Command {
                    argv,
                    watch: Watch {
                        first_output_seconds: limit(written.first_output_seconds, WATCH.first_output_seconds),
                        silence_seconds: limit(written.silence_seconds, WATCH.silence_seconds),
                        // Never ending is not to be had: `check` refuses it.
                        total_seconds: written.timeout_seconds.or(WATCH.total_seconds),
                        linger_seconds: limit(written.linger_seconds, WATCH.linger_seconds),
                    },
                    final_word: written.final_word,
                },
                ("command", None) => {
                    problems.push(format!("agent {name}: a command needs argv, a list of program and arguments"));
                    continue;
                }
                (kind, _) => {
                    problems.push(format!("agent {name}: kind {kind:?} is neither \"command\" nor \"survey\""));
                    continue;
                }
            };
            agents.push(Self {
                agent: written.agent,
                models: written.models,
                memory_bytes: written.memory_bytes,
                kind,
                env: written.env,
            });
        }
        problems.extend(check(&agents));
        if problems.is_empty() { Ok(agents) } else { Err(Error::Config(problems.join("\n"))) }
    }

    /// What the device registers.
    #[must_use]
    pub fn offer(&self) -> AgentOffer {
        AgentOffer { agent: self.agent.clone(), models: self.models.clone(), memory_bytes: self.memory_bytes }
    }

    /// Makes it ready to run.
    pub(crate) fn build(&self) -> Result<Arc<dyn Agent>, String> {
        Ok(match &self.kind {
            Kind::Survey => Arc::new(survey::Survey),
            Kind::Command { argv, watch, final_word } => {
                let environment = environment::for_agent(self, std::env::vars_os());
                let model = self.only_model();
                Arc::new(command::Command::new(argv, *watch, final_word.clone(), model, environment)?)
            }
        })
    }

    /// The model that surely ran, if the agent has just one.
    fn only_model(&self) -> Option<String> {
        match self.models.as_slice() {
            [model] if model != "any" => Some(model.clone()),
            _ => None,
        }
    }
}

/// Every problem of a list of agents, by name.
pub(crate) fn check(agents: &[AgentConfig]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut names = BTreeSet::new();
    if agents.is_empty() {
        problems.push("there is no agent: a worker without one has nothing to offer".into());
    }
    for config in agents {
        let name = &config.agent;
        if name.is_empty()
            || name.len() > 63
            || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        {
            problems.push(format!("agent {name:?}: a name has 1 to 63 letters, digits, dots, dashes and underscores"));
        }
        if !names.insert(name) {
            problems.push(format!("agent {name}: the name is there twice"));
        }
        if config.models.is_empty() {
            problems.push(format!("agent {name}: models is empty; say [\"any\"] if it takes every task"));
        }
        for model in config.models.iter().filter(|model| !MODELS.contains(&model.as_str())) {
            problems.push(format!("agent {name}: model {model:?} is none of claude, codex, gemini, any"));
        }
        if config.kind == Kind::Survey && !config.env.is_empty() {
            problems.push(format!("agent {name}: a survey takes no env"));
        }
        problems
            .extend(config.env.iter().filter_map(|env| Some(format!("agent {name}: {}", environment::problem(env)?))));
        if config.memory_bytes == Some(0) {
            problems.push(format!("agent {name}: memory_bytes is 0; leave it out if it needs none to speak of"));
        }
        if let Kind::Command { argv, watch, final_word } = &config.kind {
            if argv.first().is_none_or(|program| program.is_empty()) {
                problems.push(format!("agent {name}: argv is empty"));
            }
            if argv.first().is_some_and(|program| program.contains(command::PROMPT)) {
                problems.push(format!("agent {name}: the program itself can not come from the prompt"));
            }
            if argv.iter().any(|argument| argument.contains('\0')) {
                problems.push(format!("agent {name}: argv has a NUL character"));
            }
            if watch.total_seconds.is_none_or(|limit| limit == 0.0) {
                problems.push(format!("agent {name}: timeout_seconds is 0; say how long it may run at most"));
            }
            for (key, limit) in [
                ("first_output_seconds", watch.first_output_seconds),
                ("silence_seconds", watch.silence_seconds),
                ("timeout_seconds", watch.total_seconds),
                ("linger_seconds", watch.linger_seconds),
            ] {
                if limit.is_some_and(|limit| !limit.is_finite() || limit < 0.0) {
                    problems.push(format!("agent {name}: {key} is no time; give seconds, 0.5 or 60"));
                }
            }
            if final_word.as_ref().is_some_and(|text| text.trim().is_empty() || text.contains(['\n', '\r'])) {
                problems.push(format!("agent {name}: final is how a line begins, so it has text and no line break"));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readmes_agents_list_is_read() {
        let agents = AgentConfig::parse(
            r#"[{"agent":"claude","models":["claude"],"kind":"command","argv":["claude","-p","{prompt}"],"timeout_seconds":60},
                {"agent":"survey","models":["claude","codex","gemini","any"],"kind":"survey"}]"#,
        )
        .unwrap();
        assert_eq!(agents[1], AgentConfig::survey());
        assert!(
            matches!(&agents[0].kind, Kind::Command { argv, watch, .. } if argv.len() == 3 && watch.total_seconds == Some(60.0))
        );
        assert_eq!(agents[0].only_model().as_deref(), Some("claude"));
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

    #[test]
    fn watchdogs_are_there_unless_they_are_set_to_0() {
        let of = |more: &str| {
            let list = format!(r#"[{{"agent":"a","models":["any"],"kind":"command","argv":["true"]{more}}}]"#);
            AgentConfig::parse(&list).map(|mut agents| agents.remove(0))
        };
        let Kind::Command { watch, final_word, .. } = of("").unwrap().kind else { panic!() };
        assert_eq!((watch, final_word), (WATCH, None));
        let config =
            of(r#","first_output_seconds":0,"silence_seconds":0.5,"final":"DONE","memory_bytes":1000"#).unwrap();
        assert_eq!(config.memory_bytes, Some(1000));
        let Kind::Command { watch, final_word, .. } = config.kind else { panic!() };
        assert_eq!((watch.first_output_seconds, watch.silence_seconds), (None, Some(0.5)));
        assert_eq!(final_word.as_deref(), Some("DONE"));
        for (wrong, key) in [
            (r#","timeout_seconds":0"#, "timeout_seconds is 0"),
            (r#","linger_seconds":-1"#, "linger_seconds is no time"),
            (r#","final":" ""#, "final is how a line begins"),
            (r#","memory_bytes":0"#, "memory_bytes is 0"),
        ] {
            let error = of(wrong).unwrap_err().to_string();
            assert!(error.contains("agent a") && error.contains(key), "{error}");
        }
    }

    #[test]
    fn all_problems_are_reported_at_once_by_name() {
        let error = AgentConfig::parse(
            r#"[{"agent":"a","models":[],"kind":"command","argv":["{prompt}"]},
                {"agent":"a","models":["gpt"],"kind":"survey"},
                {"agent":"b","models":["any"],"kind":"magic"},
                {"agent":"c","models":["any"],"kind":"command"},
                {"agent":"d","models":["any"],"kind":"survey","shell":"rm"}]"#,
        )
        .unwrap_err()
        .to_string();
        for part in [
            "agent a: models is empty",
            "the program itself",
            "the name is there twice",
            "\"gpt\"",
            "agent b: kind",
            "agent c: a command needs argv",
            "agent d: unknown field",
        ] {
            assert!(error.contains(part), "{part} is missing in:\n{error}");
        }
        assert!(AgentConfig::parse("{}").is_err());
        assert!(AgentConfig::parse("[]").unwrap_err().to_string().contains("no agent"));
    }
}
