//! The processes of this machine, as `ps` lists them.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::time::{Duration, Instant};
use tokio::process::Command;

use crate::{World, wait};

/// A process that is not dead.
#[derive(Debug, Clone)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    pub arguments: String,
}

/// What a process is to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Between worker and host: ends the tree if the host is gone.
    Guard,
    /// Runs the agent.
    Host,
    /// What the host runs, and what that started.
    Agent,
}

pub async fn processes() -> Vec<Process> {
    let listed = Command::new("ps").args(["-axww", "-o", "pid=,ppid=,stat=,args="]).output().await.expect("ps runs");
    String::from_utf8_lossy(&listed.stdout).lines().filter_map(read).collect()
}

fn read(line: &str) -> Option<Process> {
    let (pid, rest) = line.trim_start().split_once(' ')?;
    let (parent, rest) = rest.trim_start().split_once(' ')?;
    let (state, arguments) = rest.trim_start().split_once(' ')?;
    // A zombie only waits to be counted.
    (!state.starts_with('Z')).then_some(Process {
        pid: pid.parse().ok()?,
        parent: parent.parse().ok()?,
        arguments: arguments.trim().to_owned(),
    })
}

impl Process {
    /// Whether it is a host (or the guard of one) of an attempt in a journal below `state`.
    fn is_host(&self, state: &str) -> bool {
        self.arguments.contains("agent-host") && self.arguments.contains(state)
    }

    /// Nothing is said if it was gone already.
    pub fn signal(&self, signal: Signal) -> bool {
        kill(Pid::from_raw(self.pid), signal).is_ok()
    }
}

/// A program at `path`. Another process writes it: while a file is open for writing nobody can run it, and a child that a test beside this
/// one starts in that moment has it open, too.
pub fn write_program(path: &std::path::Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let written = path.with_extension("written");
    std::fs::write(&written, text).unwrap();
    let made = std::process::Command::new("install").args(["-m", "755"]).args([&written, path]).status().unwrap();
    assert!(made.success());
}

/// The processes of the attempts whose journal is below `state` and whose agents have `marker` in their arguments, with what they are.
pub async fn of_attempts(state: &str, marker: &str) -> Vec<(Process, Part)> {
    let all = processes().await;
    let hosts: Vec<i32> = all.iter().filter(|process| process.is_host(state)).map(|process| process.pid).collect();
    all.iter()
        .filter_map(|process| {
            let part = match (process.is_host(state), process.arguments.contains(marker)) {
                (true, _) if hosts.contains(&process.parent) => Part::Host,
                (true, _) => Part::Guard,
                (false, true) => Part::Agent,
                (false, false) => return None,
            };
            Some((process.clone(), part))
        })
        .collect()
}

impl World {
    /// A number that no other process has in its arguments: an agent sleeps for so many seconds, or just names it.
    pub fn marker(&self) -> String {
        format!("8{}", u32::from_str_radix(&self.name[7..14], 16).expect("hex"))
    }

    /// What there is of attempts of this world.
    pub async fn attempts(&self, marker: &str) -> Vec<(Process, Part)> {
        of_attempts(&self.root().to_string_lossy(), marker).await
    }

    /// Until neither an agent that has `marker` in its arguments nor a host is left. Gives how long that took.
    pub async fn until_no_process(&self, marker: &str) -> Duration {
        let asked = Instant::now();
        let gone = || async { self.attempts(marker).await.is_empty().then_some(()) };
        assert!(wait(gone).await.is_some(), "left: {:?}", self.attempts(marker).await);
        asked.elapsed()
    }

    /// Until there is this part of an attempt, and that.
    pub async fn until_part(&self, marker: &str, wanted: Part) -> Process {
        let there = || async {
            let found = self.attempts(marker).await.into_iter().find(|(_, part)| *part == wanted);
            found.map(|(process, _)| process)
        };
        wait(there).await.unwrap_or_else(|| panic!("no {wanted:?} came up"))
    }
}
