//! Agents are configuration: which there are, what program each is, what it may do. Read from JSON, checked as a whole.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use hub::{Error, Result, types::AgentOffer};
use hub_agents::{Policy, Prices};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Agent, chain, command, program, speaking, survey};
use crate::{environment, host::Watch};

const MODELS: [&str; 4] = ["claude", "codex", "gemini", "any"];
/// A petabyte; more the hub does not take.
const MEMORY: u64 = 1_000_000_000_000_000;
/// Something is left for tasks.
const MOST_RESERVED: f64 = 0.95;
/// What an agent gets unless its configuration says otherwise.
const WATCH: Watch = Watch {
    first_output_seconds: Some(60.0),
    silence_seconds: Some(600.0),
    total_seconds: Some(3600.0),
    linger_seconds: Some(10.0),
};

/// What a machine offers under a name.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentConfig {
    /// The agent's name, as conversations show it.
    pub agent: String,
    /// The model preferences it takes; `any` stands for all.
    pub models: Vec<String>,
    /// Under which login it works: machines that say the same share its limits. No secret.
    pub account: Option<String>,
    /// The share of that login, 0 to 0.95, which is left for people's own use: with more used, it gets no new task.
    pub reserve: Option<f64>,
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
    /// A program whose language is known.
    Speaks(Box<Speaks>),
    /// Agents of the same list, one after the other: the first does it, the others look through what was done.
    Chain(Vec<Step>),
}

/// One agent of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name in the list.
    pub agent: String,
    /// What it is asked: `{prompt}` is what the person wants, `{result}` what the step before said. Without it the first gets what the
    /// person wants, and the others are asked for a review.
    #[serde(default)]
    pub prompt: Option<String>,
}

/// A program whose language is known: it tells what it does, and how it went.
#[derive(Debug, Clone, PartialEq)]
pub struct Speaks {
    /// Its language.
    pub adapter: Adapter,
    /// A full path, or a name in `PATH`.
    pub program: String,
    /// Arguments, besides what the adapter gives it.
    pub args: Vec<String>,
    /// The model to ask for. None is the program's own choice.
    pub model: Option<String>,
    /// What it may do without asking.
    pub policy: Policy,
    /// Projects whose own settings and hooks of this program may run, as tasks name them; `app/*` is all below, `*` is all.
    pub trusted: Vec<String>,
    /// What its tokens cost, where that is not what is known of its model.
    pub prices: Option<Prices>,
    /// Whether people are asked for what its policy does not cover. Else it is refused.
    pub ask: bool,
    /// When it is ended though nobody asked.
    pub watch: Watch,
}

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adapter {
    /// Claude Code's lines of JSON, in both directions.
    Claude,
    /// Codex's app server; `codex exec` where it has none.
    Codex,
    /// The Agent Client Protocol: Gemini's, and of many others.
    Acp,
}

impl Adapter {
    /// All, by the names in a configuration.
    pub const ALL: [(&'static str, Self); 3] = [("claude", Self::Claude), ("codex", Self::Codex), ("acp", Self::Acp)];

    /// Its name in a configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, adapter)| *adapter == self).map_or("", |(name, _)| name)
    }
}

/// An agent as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    agent: String,
    models: Vec<String>,
    #[serde(alias = "adapter")]
    kind: String,
    #[serde(default)]
    argv: Option<Vec<String>>,
    #[serde(default)]
    steps: Option<Vec<Step>>,
    #[serde(default)]
    program: Option<String>,
    #[serde(default)]
    args: Option<Vec<String>>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    policy: Option<Policy>,
    #[serde(default)]
    trusted: Option<Vec<String>>,
    #[serde(default)]
    prices: Option<Prices>,
    #[serde(default)]
    ask: Option<bool>,
    #[serde(default)]
    account: Option<String>,
    #[serde(default)]
    reserve: Option<f64>,
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

impl Written {
    fn watch(&self) -> Watch {
        // 0 is written for "never".
        let limit = |written: Option<f64>, otherwise: Option<f64>| written.or(otherwise).filter(|limit| *limit != 0.0);
        Watch {
            first_output_seconds: limit(self.first_output_seconds, WATCH.first_output_seconds),
            silence_seconds: limit(self.silence_seconds, WATCH.silence_seconds),
            // Never ending is not to be had: `check` refuses it.
            total_seconds: self.timeout_seconds.or(WATCH.total_seconds),
            linger_seconds: limit(self.linger_seconds, WATCH.linger_seconds),
        }
    }

    /// The keys that are there, of those that not every kind has.
    fn given(&self) -> Vec<&'static str> {
        let times = [&self.first_output_seconds, &self.silence_seconds, &self.timeout_seconds, &self.linger_seconds];
        [
            ("argv", self.argv.is_some()),
            ("final", self.final_word.is_some()),
            ("steps", self.steps.is_some()),
            ("program", self.program.is_some()),
            ("args", self.args.is_some()),
            ("model", self.model.is_some()),
            ("policy", self.policy.is_some()),
            ("trusted", self.trusted.is_some()),
            ("prices", self.prices.is_some()),
            ("ask", self.ask.is_some()),
            ("account", self.account.is_some()),
            ("reserve", self.reserve.is_some()),
            ("env", !self.env.is_empty()),
            ("…_seconds", times.iter().any(|limit| limit.is_some())),
        ]
        .into_iter()
        .filter_map(|(key, given)| given.then_some(key))
        .collect()
    }

    /// What it is; else what is wrong.
    fn kind(&mut self) -> std::result::Result<Kind, String> {
        let (kind, takes): (&str, &[&str]) = match self.kind.as_str() {
            "survey" => ("a survey", &[]),
            "chain" => ("a chain", &["steps"]),
            "command" => ("a command", &["argv", "final", "env", "account", "reserve", "…_seconds"]),
            name if Adapter::ALL.iter().any(|(adapter, _)| *adapter == name) => (
                "it",
                &[
                    "program",
                    "args",
                    "model",
                    "policy",
                    "trusted",
                    "prices",
                    "ask",
                    "account",
                    "reserve",
                    "env",
                    "…_seconds",
                ],
            ),
            other => {
                let known: Vec<_> = Adapter::ALL.iter().map(|(name, _)| *name).collect();
                return Err(format!("kind {other:?} is none of {}, command, chain, survey", known.join(", ")));
            }
        };
        if let Some(key) = self.given().into_iter().find(|key| !takes.contains(key)) {
            return Err(format!("{kind} takes no {key}"));
        }
        let watch = self.watch();
        if self.kind == "survey" {
            return Ok(Kind::Survey);
        }
        if self.kind == "chain" {
            return Ok(Kind::Chain(
                self.steps.take().ok_or("a chain needs steps, a list such as [{\"agent\": \"claude\"}]")?,
            ));
        }
        if self.kind == "command" {
            let argv = self.argv.take().ok_or("a command needs argv, a list of program and arguments")?;
            return Ok(Kind::Command { argv, watch, final_word: self.final_word.take() });
        }
        let Some((name, adapter)) = Adapter::ALL.into_iter().find(|(name, _)| *name == self.kind) else {
            return Err("kind is not known".into());
        };
        let program = match (self.program.take(), adapter) {
            (Some(program), _) => program,
            // Gemini's language is that of many: its name says which program.
            (None, Adapter::Acp) if self.agent.split(['-', '_', '.']).next() == Some("gemini") => "gemini".into(),
            (None, Adapter::Acp) => return Err("an agent of kind acp needs program, and args if it has any".into()),
            (None, _) => name.to_owned(),
        };
        Ok(Kind::Speaks(Box::new(Speaks {
            adapter,
            program,
            args: self.args.take().unwrap_or_default(),
            model: self.model.take(),
            policy: self.policy.unwrap_or_default(),
            trusted: self.trusted.take().unwrap_or_default(),
            prices: self.prices.take(),
            ask: self.ask.unwrap_or(true),
            watch,
        })))
    }
}

impl AgentConfig {
    /// The agent `survey` for every model.
    #[must_use]
    pub fn survey() -> Self {
        Self {
            agent: "survey".into(),
            models: MODELS.map(String::from).to_vec(),
            account: None,
            reserve: None,
            memory_bytes: None,
            kind: Kind::Survey,
            env: Vec::new(),
        }
    }

    /// Reads a list of agents (`HUB_WORKER_AGENTS`, or the file of `--agents`):
    ///
    /// ```json
    /// [{"agent": "claude", "models": ["claude"], "kind": "claude", "policy": "edit"},
    ///  {"agent": "gemini", "models": ["gemini"], "kind": "acp", "program": "gemini"},
    ///  {"agent": "mine", "models": ["any"], "kind": "command", "argv": ["mine", "--quiet"], "timeout_seconds": 600},
    ///  {"agent": "survey", "models": ["any"], "kind": "survey"}]
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] with every problem, a line each, naming the agent.
    pub fn parse(json: &str) -> Result<Vec<Self>> {
        // Some editors write a mark of byte order.
        let json = json.strip_prefix('\u{feff}').unwrap_or(json);
        let list: Vec<&RawValue> = serde_json::from_str(json)
            .map_err(|error| Error::Config(format!("the agents are not a JSON list: {error}")))?;
        let mut problems = Vec::new();
        let mut agents = Vec::new();
        for (at, text) in list.into_iter().map(RawValue::get).enumerate() {
            match read(text).and_then(|mut written| Ok((written.kind()?, written))) {
                Ok((kind, written)) => agents.push(Self {
                    agent: written.agent,
                    models: written.models,
                    account: written.account,
                    reserve: written.reserve,
                    memory_bytes: written.memory_bytes,
                    kind,
                    env: written.env,
                }),
                Err(problem) => problems.push(format!("agent {}: {problem}", name(text, at))),
            }
        }
        // Of none of them left it says nothing more: each has its line.
        if problems.is_empty() || !agents.is_empty() {
            problems.extend(check(&agents));
        }
        if problems.is_empty() { Ok(agents) } else { Err(Error::Config(problems.join("\n"))) }
    }

    /// What the device registers. `list` has the agents of its steps.
    #[must_use]
    pub fn offer(&self, list: &[Self]) -> AgentOffer {
        let (program, account) = self.login(list);
        AgentOffer {
            agent: self.agent.clone(),
            models: self.models.clone(),
            memory_bytes: self.memory_bytes,
            account: account.map(str::to_owned),
            program: program.map(str::to_owned),
            reserve: self.reserve,
        }
    }

    /// Makes it ready to run. `list` has the agents of its steps.
    pub(crate) async fn build(&self, list: &[Self]) -> std::result::Result<Arc<dyn Agent>, String> {
        let environment = || environment::for_agent(self, std::env::vars_os());
        Ok(match &self.kind {
            Kind::Survey => Arc::new(survey::Survey),
            Kind::Command { argv, watch, final_word } => {
                let model = self.only_model();
                Arc::new(command::Command::new(argv, *watch, final_word.clone(), model, environment())?)
            }
            Kind::Chain(steps) => {
                let mut links = Vec::new();
                for Step { agent: name, prompt } in steps {
                    // Which is no chain, and there: `check` looked.
                    let config =
                        list.iter().find(|config| config.agent == *name && !matches!(config.kind, Kind::Chain(_)));
                    let config = config.ok_or_else(|| format!("there is no agent {name} for its steps"))?;
                    let agent = Box::pin(config.build(list)).await?;
                    links.push(chain::Link { name: name.clone(), agent, prompt: prompt.clone() });
                }
                Arc::new(chain::Chain { links })
            }
            Kind::Speaks(speaks) => Arc::new(speaking::Speaking::new(self.agent.clone(), speaks, environment()).await?),
        })
    }

    /// The program it runs, as it is written.
    #[must_use]
    pub fn program(&self) -> Option<&str> {
        match &self.kind {
            Kind::Survey | Kind::Chain(_) => None,
            Kind::Command { argv, .. } => argv.first().map(String::as_str),
            Kind::Speaks(speaks) => Some(&speaks.program),
        }
    }

    /// Which program it is, without its folder: agents that are one, under one account, share its login and its limits. A chain is what
    /// it begins with. None: nothing is known of it but its name.
    fn login<'a>(&'a self, list: &'a [Self]) -> (Option<&'a str>, Option<&'a str>) {
        let named = |one: &'a Self| match &one.kind {
            Kind::Speaks(speaks) => Path::new(&speaks.program).file_name().and_then(|name| name.to_str()),
            _ => None,
        };
        let first = match &self.kind {
            Kind::Chain(steps) => steps.first().and_then(|step| list.iter().find(|one| one.agent == step.agent)),
            _ => None,
        };
        let one = first.unwrap_or(self);
        (named(one).filter(|name| hub::config::is_device_name(name)), one.account.as_deref())
    }

    /// The model that surely ran, if the agent has just one.
    fn only_model(&self) -> Option<String> {
        match self.models.as_slice() {
            [model] if model != "any" => Some(model.clone()),
            _ => None,
        }
    }
}

/// An agent; else what is wrong, with its key.
fn read(text: &str) -> std::result::Result<Written, String> {
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| match error.path().to_string().as_str() {
        "." => said(error.inner()),
        path => format!("{path}: {}", said(error.inner())),
    })
}

/// Without its place, which is one in the agent's own text.
fn said(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split_once(" at line ").map_or(text.clone(), |(text, _)| text.to_owned())
}

/// What an agent is called that can not be read.
fn name(text: &str, at: usize) -> String {
    let name =
        serde_json::from_str(text).ok().and_then(|value: serde_json::Value| value["agent"].as_str().map(str::to_owned));
    name.unwrap_or_else(|| format!("number {}", at + 1))
}

/// Every problem of a list of agents, by name.
pub(crate) fn check(agents: &[AgentConfig]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut names = BTreeSet::new();
    if agents.is_empty() {
        problems.push("there is no agent: a worker without one has nothing to offer".into());
    }
    for config in agents {
        if !names.insert(&config.agent) {
            problems.push(format!("agent {}: the name is there twice", config.agent));
        }
        if let Kind::Chain(steps) = &config.kind {
            problems.extend(
                chain_problems(steps, agents).into_iter().map(|problem| format!("agent {}: {problem}", config.agent)),
            );
        }
        problems.extend(config.problems().into_iter().map(|problem| format!("agent {}: {problem}", config.agent)));
    }
    problems
}

impl AgentConfig {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let plain = |text: &str| !text.trim().is_empty() && !text.contains(char::is_control);
        if !hub::config::is_device_name(&self.agent) {
            problems.push("a name has 1 to 63 letters, digits, dots, dashes and underscores".into());
        }
        if self.models.is_empty() {
            problems.push("models is empty; say [\"any\"] if it takes every task".into());
        }
        for model in self.models.iter().filter(|model| !MODELS.contains(&model.as_str())) {
            problems.push(format!("model {model:?} is none of claude, codex, gemini, any"));
        }
        problems.extend(self.env.iter().filter_map(|env| environment::problem(env)));
        match self.memory_bytes {
            Some(0) => problems.push("memory_bytes is 0; leave it out if it needs none to speak of".into()),
            Some(bytes) if bytes > MEMORY => {
                problems.push(format!("memory_bytes is {bytes}, and no machine has that much"))
            }
            _ => {}
        }
        if self.account.as_ref().is_some_and(|account| !plain(account) || account.chars().count() > 200) {
            problems.push("account is a name for its login, of 1 to 200 characters".into());
        }
        if self.reserve.is_some_and(|share| !(0.0..=MOST_RESERVED).contains(&share)) {
            problems
                .push(format!("reserve is a share of its login, 0 to {MOST_RESERVED}: 0.2 leaves a fifth to people"));
        }
        match &self.kind {
            Kind::Survey | Kind::Chain(_) => {}
            Kind::Command { argv, watch, final_word } => {
                problems.extend(program::problems("argv", argv.first().map_or("", String::as_str), argv));
                problems.extend(watch_problems(watch));
                if final_word.as_ref().is_some_and(|text| text.trim().is_empty() || text.contains(['\n', '\r'])) {
                    problems.push("final is how a line begins, so it has text and no line break".into());
                }
            }
            Kind::Speaks(speaks) => {
                problems.extend(program::problems("program", &speaks.program, &speaks.args));
                problems.extend(watch_problems(&speaks.watch));
                if speaks.model.as_ref().is_some_and(|model| !plain(model) || model.starts_with('-')) {
                    problems.push("model is the name of a model, as its program takes it".into());
                }
                if let Some(wrong) = speaks.trusted.iter().find(|project| !is_pattern(project)) {
                    problems.push(format!(
                        "trusted has {wrong:?}, which is no project: name one as tasks do, such as \"app\", or \"team/*\" or \"*\""
                    ));
                }
            }
        }
        problems
    }
}

fn chain_problems(steps: &[Step], list: &[AgentConfig]) -> Vec<String> {
    let mut problems = Vec::new();
    if !(2..=5).contains(&steps.len()) {
        problems.push("steps has 2 to 5 agents".into());
    }
    for Step { agent, prompt } in steps {
        match list.iter().find(|config| config.agent == *agent) {
            None => problems.push(format!("steps has {agent:?}, which is no agent of this list")),
            Some(AgentConfig { kind: Kind::Chain(_), .. }) => {
                problems.push(format!("steps has {agent:?}, which is a chain itself; name its agents"));
            }
            Some(_) => {}
        }
        if prompt.as_ref().is_some_and(|prompt| prompt.trim().is_empty()) {
            problems.push(format!("the prompt of its step {agent} is empty; leave it out for the usual one"));
        }
    }
    problems
}

fn watch_problems(watch: &Watch) -> Vec<String> {
    let mut problems = Vec::new();
    if watch.total_seconds.is_none_or(|limit| limit == 0.0) {
        problems.push("timeout_seconds is 0; say how long it may run at most".into());
    }
    for (key, limit) in [
        ("first_output_seconds", watch.first_output_seconds),
        ("silence_seconds", watch.silence_seconds),
        ("timeout_seconds", watch.total_seconds),
        ("linger_seconds", watch.linger_seconds),
    ] {
        if limit.is_some_and(|limit| !limit.is_finite() || limit < 0.0) {
            problems.push(format!("{key} is no time; give seconds, 0.5 or 60"));
        }
    }
    problems
}

/// A project as tasks name it, or all below one, or all.
fn is_pattern(written: &str) -> bool {
    let project = written.strip_suffix("/*").unwrap_or(written);
    written == "*" || !project.is_empty() && !project.starts_with('/') && !project.contains(['*', '\0'])
}

impl Speaks {
    /// Whether a project's own settings and hooks may run.
    pub(crate) fn trusts(&self, project: Option<&str>) -> bool {
        self.trusted.iter().any(|pattern| match (pattern.strip_suffix('*'), project) {
            (Some(""), _) => true,
            (Some(folder), Some(project)) => project.starts_with(folder),
            (None, Some(project)) => pattern == project,
            (_, None) => false,
        })
    }
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
    fn an_offer_says_whose_login_and_which_program_it_is() {
        let agents = AgentConfig::parse(
            r#"[{"agent":"claude","models":["claude"],"kind":"claude","program":"claude"},
                {"agent":"review","models":["claude"],"kind":"claude","program":"/bin/claude","account":"team","reserve":0.2},
                {"agent":"dual","models":["claude"],"kind":"chain","steps":[{"agent":"review"},{"agent":"claude"}]},
                {"agent":"mine","models":["any"],"kind":"command","argv":["claude"]},
                {"agent":"survey","models":["any"],"kind":"survey"}]"#,
        )
        .unwrap();
        let offer = |name: &str| agents.iter().find(|one| one.agent == name).unwrap().offer(&agents);
        let login = |name: &str| (offer(name).program.unwrap_or_default(), offer(name).account.unwrap_or_default());
        let of = |program: &str, account: &str| (program.to_owned(), account.to_owned());
        assert_eq!((offer("claude").reserve, offer("review").reserve), (None, Some(0.2)));
        assert_eq!(login("claude"), of("claude", ""));
        assert_eq!(login("review"), of("claude", "team"));
        assert_eq!(login("dual"), of("claude", "team"));
        assert_eq!(login("mine"), of("", ""));
        assert_eq!(login("survey"), of("", ""));
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
            (r#","reserve":0.96"#, "reserve is a share of its login"),
            (r#","reserve":-0.1"#, "reserve is a share of its login"),
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
            "agent d: shell: unknown field",
        ] {
            assert!(error.contains(part), "{part} is missing in:\n{error}");
        }
        for (wrong, told) in [
            (r#""argv":"claude -p""#, "agent a: argv: invalid type: string \"claude -p\", expected a sequence"),
            (
                r#""argv":["a"],"timeout_seconds":"5""#,
                "agent a: timeout_seconds: invalid type: string \"5\", expected f64",
            ),
            (r#""argv":["a"],"memory_bytes":1e18"#, "agent a: memory_bytes: "),
            (r#""argv":["a"],"memory_bytes":9223372036854775807"#, "agent a: memory_bytes is 9223372036854775807"),
            (r#""argv":["a"],"argv":["b"]"#, "agent a: duplicate field `argv`"),
        ] {
            let error = AgentConfig::parse(&format!(r#"[{{"agent":"a","models":["any"],"kind":"command",{wrong}}}]"#));
            let error = error.unwrap_err().to_string();
            assert!(error.contains(told) && !error.contains("there is no agent"), "{error}");
        }
        assert_eq!(
            AgentConfig::parse("\u{feff}[{\"agent\":\"s\",\"models\":[\"any\"],\"kind\":\"survey\"}]").unwrap().len(),
            1
        );
        assert!(AgentConfig::parse("{}").is_err());
        assert!(AgentConfig::parse("[]").unwrap_err().to_string().contains("no agent"));
    }
}
