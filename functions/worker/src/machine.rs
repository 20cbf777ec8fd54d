//! What this machine says of itself with each heartbeat: free disk, free memory, and which of the projects it was asked about it
//! has. A machine's folders are never listed: only those are looked for that the hub names, because a task of a server that this
//! device serves wants to run there.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use hub::types::{Machine, ProjectKind};
use sysinfo::{MemoryRefreshKind, System};

use crate::{
    project::{self, Refused},
    workspace::Worktrees,
};

/// More than this many projects it does not keep in mind: the hub asks again for what it was told nothing of.
const PROJECTS: usize = 2000;

/// What is known of this machine, and what of that the hub was told.
#[derive(Debug)]
pub(crate) struct Facts {
    root: PathBuf,
    state: PathBuf,
    /// By path: what was there when the hub was last told. None: not told yet.
    projects: Mutex<BTreeMap<String, Option<ProjectKind>>>,
    worktrees: Worktrees,
    stopping: AtomicBool,
    stopping_told: AtomicBool,
}

impl Facts {
    pub(crate) fn new(root: PathBuf, state: PathBuf) -> Self {
        Self {
            worktrees: Worktrees::new(&root),
            root,
            state,
            projects: Mutex::default(),
            stopping: AtomicBool::new(false),
            stopping_told: AtomicBool::new(false),
        }
    }

    /// Looks, off the runtime's threads: a disk that does not answer must hold up no heartbeat of another.
    pub(crate) async fn look(self: &std::sync::Arc<Self>) -> Machine {
        let this = std::sync::Arc::clone(self);
        tokio::task::spawn_blocking(move || this.look_now()).await.unwrap_or_default()
    }

    fn look_now(&self) -> Machine {
        let asked: Vec<(String, Option<ProjectKind>)> =
            self.projects().iter().map(|(path, told)| (path.clone(), *told)).collect();
        let changed = asked.into_iter().filter_map(|(path, told)| {
            let kind = match project::directory(&self.root, Some(&path)) {
                Ok(directory) if self.worktrees.has(&directory) => ProjectKind::Git,
                Ok(_) => ProjectKind::Plain,
                Err(Refused::Here(_)) => ProjectKind::Absent,
                // A name that no machine takes is claimed all the same, and refused: nobody else would say what is wrong with it.
                Err(Refused::Anywhere(_)) => ProjectKind::Present,
            };
            (told != Some(kind)).then_some((path, kind))
        });
        Machine {
            disk_free_bytes: [&self.root, &self.state].into_iter().filter_map(|path| disk_free(path)).min(),
            memory_free_bytes: memory_free(),
            // Also when there is nothing to say: from then on the device is held to what it said.
            projects: Some(changed.collect()),
            // Said once: after that another worker of this device may have said that it takes more.
            stopping: match (self.stopping.load(Ordering::Relaxed), self.stopping_told.load(Ordering::Relaxed)) {
                (true, true) => None,
                (stopping, _) => Some(stopping),
            },
        }
    }

    /// From now on this worker takes nothing more.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// The hub has taken what [`Facts::look`] found.
    pub(crate) fn told(&self, machine: Machine) {
        if machine.stopping == Some(true) {
            self.stopping_told.store(true, Ordering::Relaxed);
        }
        let mut projects = self.projects();
        for (path, kind) in machine.projects.unwrap_or_default() {
            projects.insert(path, Some(kind));
        }
    }

    /// The hub asks about these.
    pub(crate) fn asked(&self, paths: &[String]) {
        let mut projects = self.projects();
        for path in paths {
            // It may have forgotten: what it asks about it was not told.
            projects.insert(path.clone(), None);
            if projects.len() > PROJECTS {
                projects.pop_first();
            }
        }
    }

    /// The hub has lost what it was told (the device's row is new).
    pub(crate) fn forgotten(&self) {
        self.stopping_told.store(false, Ordering::Relaxed);
        self.projects().clear();
    }

    /// A claimed task's project was not there.
    pub(crate) fn missing(&self, path: &str) {
        self.projects().insert(path.to_owned(), Some(ProjectKind::Absent));
    }

    fn projects(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Option<ProjectKind>>> {
        self.projects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that a user who is not root may still write where `path` is.
pub(crate) fn disk_free(path: &Path) -> Option<u64> {
    let found = nix::sys::statvfs::statvfs(path).ok()?;
    // The types differ between systems.
    #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions)]
    let (blocks, size) = (u64::try_from(found.blocks_available()).ok()?, u64::try_from(found.fragment_size()).ok()?);
    blocks.checked_mul(size)
}

/// Bytes a program could still get without swapping: of the machine, or of the container if that has less.
fn memory_free() -> Option<u64> {
    let mut system = System::new();
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let machine = Some(system.available_memory()).filter(|bytes| *bytes > 0);
    let container = system.cgroup_limits().map(|limits| limits.free_memory);
    [machine, container].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ProjectKind::{Absent, Git, Plain};
    use std::sync::Arc;

    fn facts(root: &Path) -> Arc<Facts> {
        Arc::new(Facts::new(root.canonicalize().unwrap(), root.to_path_buf()))
    }

    fn projects(machine: &Machine) -> Vec<(&str, ProjectKind)> {
        machine.projects.iter().flatten().map(|(path, kind)| (path.as_str(), *kind)).collect()
    }

    #[tokio::test]
    async fn free_disk_and_memory_are_known_here() {
        let root = tempfile::tempdir().unwrap();
        let machine = facts(root.path()).look().await;
        assert!(machine.disk_free_bytes.unwrap() > 0);
        assert!(machine.memory_free_bytes.unwrap() > 0);
    }

    #[tokio::test]
    async fn only_projects_that_were_asked_about_are_told_and_only_when_that_changed() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("there")).unwrap();
        std::fs::create_dir(root.path().join("secret")).unwrap();
        let facts = facts(root.path());
        assert_eq!(projects(&facts.look().await), []);

        facts.asked(&["there".into(), "away".into(), "gone/etc".into()]);
        let machine = facts.look().await;
        assert_eq!(projects(&machine), [("away", Absent), ("gone/etc", Absent), ("there", Plain)]);
        // Until the hub has taken it, it is said again.
        assert_eq!(projects(&facts.look().await).len(), 3);
        facts.told(machine);
        assert_eq!(projects(&facts.look().await), []);

        std::fs::create_dir(root.path().join("away")).unwrap();
        std::fs::remove_dir(root.path().join("there")).unwrap();
        assert_eq!(projects(&facts.look().await), [("away", Plain), ("there", Absent)]);
    }

    #[tokio::test]
    async fn a_folder_in_a_repository_is_git_and_one_that_becomes_it_is_told_anew() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("repo/part")).unwrap();
        std::fs::create_dir_all(root.path().join("plain")).unwrap();
        let git = |arguments: &[&str]| {
            let identity = ["-c", "user.name=A", "-c", "user.email=a@localhost", "-C"];
            let mut command = std::process::Command::new("git");
            assert!(
                command.args(identity).arg(root.path()).args(arguments).status().unwrap().success(),
                "{arguments:?}"
            );
        };
        let commit = ["commit", "--quiet", "--allow-empty", "--message", "one"];
        std::fs::write(root.path().join("repo/part/file"), "").unwrap();
        git(&["init", "--quiet", "repo"]);
        git(&["-C", "repo", "add", "part"]);
        git(&[&["-C", "repo"], &commit[..]].concat());
        let facts = facts(root.path());
        facts.asked(&["plain".into(), "repo".into(), "repo/part".into()]);
        let machine = facts.look().await;
        assert_eq!(projects(&machine), [("plain", Plain), ("repo", Git), ("repo/part", Git)]);
        facts.told(machine);
        git(&["init", "--quiet", "plain"]);
        git(&[&["-C", "plain"], &commit[..]].concat());
        assert_eq!(projects(&facts.look().await), [("plain", Git)]);
    }

    #[tokio::test]
    async fn a_hub_that_asks_again_is_told_again() {
        let root = tempfile::tempdir().unwrap();
        let facts = facts(root.path());
        facts.asked(&["a".into()]);
        facts.told(facts.look().await);
        assert_eq!(projects(&facts.look().await), []);
        facts.asked(&["a".into()]);
        assert_eq!(projects(&facts.look().await), [("a", Absent)]);
    }

    #[tokio::test]
    async fn that_it_stops_is_said_until_the_hub_has_taken_it() {
        let root = tempfile::tempdir().unwrap();
        let facts = facts(root.path());
        assert_eq!(facts.look().await.stopping, Some(false));
        facts.stop();
        assert_eq!(facts.look().await.stopping, Some(true));
        facts.told(facts.look().await);
        assert_eq!(facts.look().await.stopping, None);
        facts.forgotten();
        assert_eq!(facts.look().await.stopping, Some(true));
    }
}
