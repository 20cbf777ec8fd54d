//! Which of the known programs this machine has, in which version, and whether somebody is logged in. Asks the programs, never a network.

use std::{ffi::OsString, io, path::PathBuf, time::Duration};

use hub_agents::{KNOWN, Known, version};

use super::{AgentConfig, Kind, program};
use crate::environment;

/// What a program is to answer a person within, who waits for it.
const ANSWER: Duration = Duration::from_secs(4);
/// As much as is shown of what a program printed instead of its version, in characters.
const SHOWN: usize = 60;

/// A known program on this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Installed {
    /// What is known of it.
    pub known: &'static Known,
    /// Where it is.
    pub program: PathBuf,
    /// What it calls its version; else what came instead, as the end of a sentence: `does not answer within 4 s`.
    pub version: Result<[u32; 3], String>,
    /// Whether somebody is logged in. None: it does not say.
    pub logged_in: Option<bool>,
}

impl Installed {
    /// Whether its version is one that was tried, or newer.
    #[must_use]
    pub fn is_new_enough(&self) -> bool {
        self.version.as_ref().is_ok_and(|version| self.known.is_new_enough(*version))
    }
}

/// The known programs in `PATH`.
pub async fn installed() -> Vec<Installed> {
    let configs: Vec<AgentConfig> = KNOWN.iter().map(AgentConfig::known).collect();
    look_all(&configs).await.into_iter().filter_map(Result::ok).flatten().collect()
}

/// [`look`] for several at once: each may take seconds to answer.
pub async fn look_all(configs: &[AgentConfig]) -> Vec<Result<Option<Installed>, String>> {
    futures_util::future::join_all(configs.iter().map(look)).await
}

/// The program of an agent. None if it is not a known one.
///
/// # Errors
/// It is not there; the text says what to do.
pub async fn look(config: &AgentConfig) -> Result<Option<Installed>, String> {
    let Some(written) = config.program() else { return Ok(None) };
    if let Some(problem) = lacks_program(config) {
        return Err(problem);
    }
    let Some(known) = Known::of(written) else { return Ok(None) };
    let program = program::find(written)?;
    let environment = environment::for_agent(config, std::env::vars_os());
    let (printed, logged_in) = tokio::join!(
        program::answer(&program, &["--version"], &environment, ANSWER),
        logged_in(known, &program, &environment),
    );
    Ok(Some(Installed { known, program, version: told(printed), logged_in }))
}

/// Those of a list whose programs are here; and of each other one a sentence that names it and says what to do. A chain needs the
/// programs of all its steps.
#[must_use]
pub fn present(list: &[AgentConfig]) -> (Vec<AgentConfig>, Vec<String>) {
    let (mut here, mut missing) = (Vec::new(), Vec::new());
    for config in list {
        match lacks(config, list) {
            None => here.push(config.clone()),
            Some(problem) => missing.push(format!("the agent {} is left out: {problem}", config.agent)),
        }
    }
    (here, missing)
}

fn lacks(config: &AgentConfig, list: &[AgentConfig]) -> Option<String> {
    if let Kind::Chain(steps) = &config.kind {
        let is_step = |one: &&AgentConfig| steps.iter().any(|step| step.agent == one.agent);
        return list.iter().filter(is_step).find_map(lacks_program);
    }
    lacks_program(config)
}

fn lacks_program(config: &AgentConfig) -> Option<String> {
    let written = config.program()?;
    let error = program::find(written).err()?;
    Some(match Known::of(written) {
        Some(known) => format!("{error} ({})", known.install),
        None => error,
    })
}

fn told(answer: io::Result<(bool, String)>) -> Result<[u32; 3], String> {
    match answer {
        Ok((_, printed)) => version(&printed).ok_or_else(|| {
            let words: String = printed.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(SHOWN).collect();
            if words.is_empty() { "prints no version".into() } else { format!("prints no version, but: {words}") }
        }),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Err(format!("does not answer within {} s", ANSWER.as_secs()))
        }
        Err(error) => Err(format!("can not be run: {}", error.kind())),
    }
}

async fn logged_in(known: &Known, program: &std::path::Path, environment: &[(OsString, OsString)]) -> Option<bool> {
    let has_key = |name: &&str| environment.iter().any(|(set, value)| set == *name && !value.is_empty());
    if known.keys.iter().any(has_key) {
        return Some(true);
    }
    let answer = program::answer(program, known.login?, environment, ANSWER).await;
    answer.ok().map(|(well, _)| well)
}

impl AgentConfig {
    /// A known program as it is shipped: under its own name, for its own model, with the policy `edit`.
    #[must_use]
    pub fn known(known: &Known) -> Self {
        let text = format!(
            r#"[{{"agent": "{name}", "models": ["{name}"], "kind": "{kind}", "program": "{name}"}}]"#,
            name = known.name,
            kind = known.dialect.adapter(),
        );
        // What is written here is what a person would write, and read by the same code; the test below reads each.
        Self::parse(&text).ok().and_then(|mut agents| agents.pop()).unwrap_or_else(Self::survey)
    }

    /// Whether its program speaks, so that it can be tried out.
    #[must_use]
    pub fn speaks(&self) -> bool {
        matches!(self.kind, Kind::Speaks(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_is_not_here_is_left_out_with_the_chains_that_need_it() {
        let list = AgentConfig::parse(
            r#"[{"agent": "mine", "models": ["any"], "kind": "command", "argv": ["sh"]},
                {"agent": "claude", "models": ["claude"], "kind": "claude", "program": "/nowhere/claude"},
                {"agent": "both", "models": ["any"], "kind": "chain", "steps": [{"agent": "mine"}, {"agent": "claude"}]},
                {"agent": "survey", "models": ["any"], "kind": "survey"}]"#,
        )
        .unwrap();
        let (here, missing) = present(&list);
        assert_eq!(here.iter().map(|one| one.agent.as_str()).collect::<Vec<_>>(), ["mine", "survey"]);
        assert_eq!(missing.len(), 2);
        assert!(missing[0].starts_with("the agent claude is left out: /nowhere/claude is not there"), "{missing:?}");
        assert!(missing[0].contains(Known::of("claude").unwrap().install), "{missing:?}");
        assert!(missing[1].starts_with("the agent both is left out: /nowhere/claude"), "{missing:?}");
    }

    #[test]
    fn what_is_shipped_is_a_configuration() {
        for known in &KNOWN {
            let config = AgentConfig::known(known);
            assert!(config.agent == known.name && config.speaks(), "{known:?}");
        }
    }

    #[tokio::test]
    async fn a_program_that_does_not_tell_its_version_is_told_apart_in_time() {
        for (script, version) in [
            ("echo '2.1.332 (Claude Code)'", Ok([2, 1, 332])),
            ("echo broken; exit 1", Err("prints no version, but: broken")),
            ("exit 3", Err("prints no version")),
            ("exec sleep 60", Err("does not answer within 4 s")),
        ] {
            let place = tempfile::tempdir().unwrap();
            let program = place.path().join("claude");
            crate::process::tests::write_program(&program, &format!("#!/bin/sh\n{script}\n"));
            let list =
                serde_json::json!([{"agent": "claude", "models": ["claude"], "kind": "claude", "program": program}]);
            let config = AgentConfig::parse(&list.to_string()).unwrap().pop().unwrap();
            let begun = std::time::Instant::now();
            let found = look(&config).await.unwrap().unwrap();
            assert_eq!(found.version, version.map_err(str::to_owned), "{script}");
            assert!(begun.elapsed() < Duration::from_secs(30), "{script}: {:?}", begun.elapsed());
        }
    }
}
