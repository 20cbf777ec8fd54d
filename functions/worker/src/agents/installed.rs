//! Which of the known programs this machine has, in which version, and whether somebody is logged in. Asks the programs, never a network.

use std::{ffi::OsString, path::PathBuf};

use hub_agents::{KNOWN, Known, version};

use super::{AgentConfig, Kind, program};
use crate::environment;

/// A known program on this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Installed {
    /// What is known of it.
    pub known: &'static Known,
    /// Where it is.
    pub program: PathBuf,
    /// What it calls its version.
    pub version: Option<[u32; 3]>,
    /// Whether somebody is logged in. None: it does not say.
    pub logged_in: Option<bool>,
}

impl Installed {
    /// Whether its version is one that was tried, or newer.
    #[must_use]
    pub fn is_new_enough(&self) -> bool {
        self.version.is_some_and(|version| self.known.is_new_enough(version))
    }
}

/// The known programs in `PATH`.
pub async fn installed() -> Vec<Installed> {
    let looks = KNOWN.iter().map(|known| async move {
        let config = AgentConfig::known(known);
        look(&config).await.ok().flatten()
    });
    futures_util::future::join_all(looks).await.into_iter().flatten().collect()
}

/// The program of an agent. None if it is not a known one.
///
/// # Errors
/// It is not there; the text says what to do.
pub async fn look(config: &AgentConfig) -> Result<Option<Installed>, String> {
    let Some(written) = config.program() else { return Ok(None) };
    let found = program::find(written);
    let Some(known) = Known::of(written) else { return found.map(|_| None) };
    let program = found.map_err(|error| format!("{error} ({})", known.install))?;
    let environment = environment::for_agent(config, std::env::vars_os());
    let printed = program::answer(&program, &["--version"], &environment).await;
    let version = printed.and_then(|(_, printed)| version(&printed));
    let logged_in = logged_in(known, &program, &environment).await;
    Ok(Some(Installed { known, program, version, logged_in }))
}

async fn logged_in(known: &Known, program: &std::path::Path, environment: &[(OsString, OsString)]) -> Option<bool> {
    let has_key = |name: &&str| environment.iter().any(|(set, value)| set == *name && !value.is_empty());
    if known.keys.iter().any(has_key) {
        return Some(true);
    }
    match known.login {
        Some(arguments) => program::answer(program, arguments, environment).await.map(|(well, _)| well),
        None => None,
    }
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
    fn what_is_shipped_is_a_configuration() {
        for known in &KNOWN {
            let config = AgentConfig::known(known);
            assert!(config.agent == known.name && config.speaks(), "{known:?}");
        }
    }
}
