//! All processes below this one, however they came there. On Linux this process is a subreaper: whoever loses its parent becomes its
//! child, with a session of its own and an empty environment too. Elsewhere they are found as far as `process` can.

#[cfg(target_os = "linux")]
use std::collections::HashSet;

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};

/// The number of a process.
pub(super) type Id = i32;

/// Looks at most so often for who appeared while the others were being stopped.
#[cfg(target_os = "linux")]
const PASSES: usize = 20;

/// The processes that an attempt started.
#[derive(Debug)]
pub(super) struct Family {
    leader: Option<Id>,
    #[cfg(target_os = "linux")]
    group: Option<super::cgroup::Cgroup>,
    #[cfg(not(target_os = "linux"))]
    tree: crate::process::Tree,
}

#[cfg(target_os = "linux")]
impl Family {
    /// The agent that was just started, and all that will come of it.
    pub(super) fn of(agent: Id, name: &std::ffi::OsStr) -> Self {
        Self { leader: Some(agent), group: super::cgroup::Cgroup::around(agent, name) }
    }

    /// What a host that is gone left behind.
    pub(super) fn left(name: &std::ffi::OsStr) -> Self {
        Self { leader: None, group: super::cgroup::Cgroup::left(name) }
    }

    fn look(&self) -> Vec<Id> {
        descendants()
    }

    /// KILL to all. They are stopped first: nobody forks then, and no parent takes leave of a child whose number would be another's.
    pub(super) fn kill(&mut self) {
        if let Some(group) = &self.group {
            group.kill();
        }
        let mut stopped = Vec::new();
        let mut known = HashSet::new();
        for _ in 0..PASSES {
            let new: Vec<Id> = descendants().into_iter().filter(|pid| known.insert(*pid)).collect();
            if new.is_empty() {
                break;
            }
            signal(&new, Signal::SIGSTOP);
            stopped.extend(new);
        }
        signal(&stopped, Signal::SIGKILL);
        self.signal_group(Signal::SIGKILL);
    }

    /// The most memory all had together, where the system counts that.
    pub(super) fn peak(&self) -> Option<u64> {
        self.group.as_ref()?.peak()
    }
}

#[cfg(target_os = "linux")]
impl Drop for Family {
    fn drop(&mut self) {
        if let Some(group) = &self.group {
            group.remove();
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Family {
    /// The agent that was just started, and all that will come of it.
    pub(super) fn of(agent: Id, _: &std::ffi::OsStr) -> Self {
        Self { leader: Some(agent), tree: crate::process::Tree::of(agent, mark()) }
    }

    /// What a host that is gone left behind.
    pub(super) fn left(_: &std::ffi::OsStr) -> Self {
        Self { leader: None, tree: crate::process::Tree::marked(mark()) }
    }

    /// Remembers who belongs to it now: whoever leaves the group and clears its environment later is known then.
    pub(super) fn look(&mut self) -> Vec<Id> {
        self.tree.look().into_iter().map(|process| process.pid).collect()
    }

    /// KILL to all.
    pub(super) fn kill(&mut self) {
        let living = self.look();
        signal(&living, Signal::SIGKILL);
        self.signal_group(Signal::SIGKILL);
    }

    /// The most memory all had together: not counted here.
    pub(super) fn peak(&self) -> Option<u64> {
        None
    }
}

impl Family {
    /// TERM to all; whoever is stopped goes on, to obey it.
    pub(super) fn ask(&mut self) {
        let living = self.look();
        signal(&living, Signal::SIGTERM);
        self.signal_group(Signal::SIGTERM);
        signal(&living, Signal::SIGCONT);
    }

    pub(super) fn count(&mut self) -> usize {
        self.look().len()
    }

    /// The agent's own group, also where its members can not be found one by one.
    fn signal_group(&self, what: Signal) {
        if let Some(leader) = self.leader {
            // Empty already, most often.
            killpg(Pid::from_raw(leader), what).ok();
        }
    }

    /// The agent is waited for: its number, and that of its group, may be another's from now on.
    pub(super) fn leader_gone(&mut self) {
        self.leader = None;
    }
}

fn signal(pids: &[Id], what: Signal) {
    for pid in pids {
        // It is gone already, or is not ours to signal.
        kill(Pid::from_raw(*pid), what).ok();
    }
}

#[cfg(not(target_os = "linux"))]
fn mark() -> String {
    std::env::var(crate::process::ATTEMPT_MARK).unwrap_or_default()
}

/// Parents before their children.
#[cfg(target_os = "linux")]
fn descendants() -> Vec<Id> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let all = children(own).is_none().then(crate::process::all);
    let below = |parent: Id| match &all {
        // A system that does not list children: by everybody's parent.
        Some(all) => all.iter().filter(|process| process.parent == parent).map(|process| process.pid).collect(),
        None => children(parent).unwrap_or_default(),
    };
    let mut found = below(own);
    let mut known: HashSet<Id> = found.iter().copied().collect();
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        // One that moves up while we look is met twice.
        found.extend(below(parent).into_iter().filter(|pid| known.insert(*pid)));
        at += 1;
    }
    found
}

#[cfg(target_os = "linux")]
fn children(pid: Id) -> Option<Vec<Id>> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let mut found = Vec::new();
    for thread in threads.flatten() {
        let listed = std::fs::read_to_string(thread.path().join("children")).ok()?;
        found.extend(listed.split_ascii_whitespace().filter_map(|pid| pid.parse::<Id>().ok()));
    }
    Some(found)
}
