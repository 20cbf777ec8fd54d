//! Logins of agents that turned out not to be accepted, and how this machine learns that somebody mended one: the files that hold it
//! change, or `hub agents check` went well. Then the hub is told; until then it gives this device no work for that agent.

use std::{
    collections::HashMap,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use hub_agents::Known;

use super::AgentConfig;

/// When the files of a login were last written. None where there is none.
type Stamps = Vec<Option<SystemTime>>;

/// The logins of a worker's agents.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    files: HashMap<String, Vec<PathBuf>>,
    /// Of those that are broken: as the files were when the agent began.
    broken: Mutex<HashMap<String, Stamps>>,
}

impl Logins {
    pub(crate) fn of(agents: &[AgentConfig]) -> Self {
        let files = agents.iter().map(|config| (config.agent.clone(), files(config))).collect();
        Self { files, broken: Mutex::default() }
    }

    /// How the login of an agent is now: to be taken before it runs.
    pub(crate) fn stamps(&self, agent: &str) -> Stamps {
        let modified = |path: &PathBuf| path.metadata().and_then(|meta| meta.modified()).ok();
        self.files.get(agent).into_iter().flatten().map(modified).collect()
    }

    /// It was not accepted.
    pub(crate) fn broke(&self, agent: &str, stamps: Stamps) {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).insert(agent.to_owned(), stamps);
    }

    /// Which of the broken ones changed since.
    pub(crate) fn changed(&self) -> Vec<String> {
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone();
        broken.into_iter().filter(|(agent, stamps)| self.stamps(agent) != *stamps).map(|(agent, _)| agent).collect()
    }

    /// The hub knows that it is to be tried again.
    pub(crate) fn told(&self, agent: &str) {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).remove(agent);
    }
}

fn files(config: &AgentConfig) -> Vec<PathBuf> {
    let known = config.program().and_then(Known::of);
    let folder = known.and_then(|known| settings(known, |name| std::env::var_os(name)));
    let credentials = known.into_iter().flat_map(|known| known.credentials);
    let mut files: Vec<PathBuf> =
        folder.into_iter().flat_map(|folder| credentials.clone().map(move |file| folder.join(file))).collect();
    files.extend(checked(config));
    files
}

/// The folder of a program's settings, as an environment says.
pub(super) fn settings(known: &Known, value: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name: &str| value(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let (folder, variable) = known.settings;
    absolute(variable).or_else(|| Some(absolute("HOME")?.join(folder)))
}

/// The file that `hub agents check` touches when an agent's program did its work: all workers of this user look at it. One program has one
/// login, whatever its agents are called.
#[must_use]
pub fn checked(config: &AgentConfig) -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    let program = Path::new(config.program()?).file_name()?;
    Some(state.join("aura-hub/checked").join(program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_login_is_mended_when_its_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("auth.json");
        let logins = Logins { files: [("codex".into(), vec![file.clone()])].into(), broken: Mutex::default() };
        logins.broke("codex", logins.stamps("codex"));
        assert!(logins.changed().is_empty());
        std::fs::write(&file, "{}").unwrap();
        assert_eq!(logins.changed(), ["codex"]);
        logins.told("codex");
        assert!(logins.changed().is_empty());
        // It changed while the agent ran, so what the agent was told may be about the login before it.
        let before = logins.stamps("codex");
        std::fs::remove_file(&file).unwrap();
        logins.broke("codex", before);
        assert_eq!(logins.changed(), ["codex"]);
    }
}
