//! Finding the processes of an attempt from outside, and ending them: what a killed worker left, and, where a host can not be a
//! subreaper, what a host watches.
//!
//! A process belongs to an attempt if it is in the agent's process group, descends from one that belongs, was once seen to do
//! so, or carries the attempt's mark in its environment. The mark finds those that made a session of their own and whose
//! parents are gone; the memory finds those that cleared their environment afterwards.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::{Instant, sleep};

/// Names the attempt, `<task>.<attempt>`.
pub(crate) const ATTEMPT_MARK: &str = "HUB_ATTEMPT";
/// Names the worker, `<device>@<root>:<pid>.<start>`.
pub(crate) const WORKER_MARK: &str = "HUB_WORKER";
/// How long KILL is repeated: a process in the middle of forking leaves another behind.
const KILL_FOR: Duration = Duration::from_secs(4);
/// A host that goes on without its worker has ended its agent by then.
const RESUMED_FOR: Duration = Duration::from_secs(5);
/// Nobody's processes are nested deeper.
#[cfg(target_os = "linux")]
const DEEP: usize = 1000;
/// A guard of a host has this long to end what its host leaves, since it finds what has no mark any more.
const GUARD_FOR: Duration = Duration::from_secs(2);

/// A process that is not dead. `started` tells it from another one that gets its number later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    group: i32,
    pub(crate) started: u64,
}

/// Every living process of this machine that we may see. Zombies are none: they only wait to be counted.
#[cfg(target_os = "linux")]
pub(crate) fn all() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| one(entry.ok()?.file_name().to_str()?.parse().ok()?)).collect()
}

#[cfg(target_os = "linux")]
fn one(pid: i32) -> Option<Process> {
    // The second field is the program's name in parentheses, and may hold blanks and parentheses itself.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.get(stat.rfind(')')? + 2..)?.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    // Field 22, in clock ticks since the machine started.
    let started = fields.nth(16)?.parse().ok()?;
    Some(Process { pid, parent, group, started })
}

/// The value of a mark in a process's environment. None also where we may not look.
#[cfg(target_os = "linux")]
fn mark(pid: i32, name: &str) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment.split(|byte| *byte == 0).find_map(|entry| {
        let value = std::str::from_utf8(entry).ok()?.strip_prefix(name)?.strip_prefix('=')?;
        Some(value.to_owned())
    })
}

#[cfg(not(target_os = "linux"))]
fn ps(arguments: &[&str]) -> String {
    let output =
        std::process::Command::new("ps").args(arguments).env("LC_ALL", "C").stdin(std::process::Stdio::null()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
fn read_line(line: &str) -> Option<Process> {
    let mut fields = line.split_whitespace();
    let (pid, parent, group) =
        (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let state = fields.next()?;
    if state.starts_with('Z') {
        return None;
    }
    // Five words of a date, to the second.
    let started = fnv(fields.collect::<Vec<_>>().join(" ").as_bytes());
    Some(Process { pid, parent, group, started })
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn all() -> Vec<Process> {
    ps(&["-axo", "pid=,ppid=,pgid=,stat=,lstart="]).lines().filter_map(read_line).collect()
}

#[cfg(not(target_os = "linux"))]
fn one(pid: i32) -> Option<Process> {
    ps(&["-o", "pid=,ppid=,pgid=,stat=,lstart=", "-p", &pid.to_string()]).lines().find_map(read_line)
}

#[cfg(not(target_os = "linux"))]
fn mark(pid: i32, name: &str) -> Option<String> {
    let line = ps(&["-Eww", "-o", "command=", "-p", &pid.to_string()]);
    let at = line.find(&format!(" {name}="))? + name.len() + 2;
    line[at..].split_whitespace().next().map(str::to_owned)
}

/// Whether it is the host of an attempt (`hub agent-host --inner … FOLDER`) or guards one (`hub agent-host FOLDER`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Guard,
    Host,
    Neither,
}

#[cfg(target_os = "linux")]
fn role(pid: i32) -> Role {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    // The last word ends with a zero, too.
    match words.as_slice() {
        [_, command, _, []] if *command == crate::host::COMMAND.as_bytes() => Role::Guard,
        [_, command, ..] if *command == crate::host::COMMAND.as_bytes() => Role::Host,
        _ => Role::Neither,
    }
}

/// The folder whose attempt a process guards, if it is a guard.
#[cfg(target_os = "linux")]
fn guarded(pid: i32) -> Option<std::path::PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let folder = line.split(|byte| *byte == 0).nth(2)?;
    (role(pid) == Role::Guard).then(|| std::ffi::OsStr::from_bytes(folder).into())
}

/// Whether a process is below a guard that this process started for a folder, or for one in it. Whoever lost its parent is below it
/// still: guard and host are subreapers. What its environment says does not count, for everybody may write that.
#[cfg(target_os = "linux")]
pub(crate) fn is_of_attempt(pid: i32, folder: &Path, _: &str) -> bool {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let below_guard = || {
        let mut at = one(pid)?;
        for _ in 0..DEEP {
            if at.parent == own {
                return Some(guarded(at.pid).is_some_and(|guarded| guarded.starts_with(folder)));
            }
            at = one(at.parent)?;
        }
        None
    };
    // A parent that ended while we climbed: its child has another by now.
    (0..3).find_map(|_| below_guard()).unwrap_or(false)
}

/// Whether a process carries an attempt's mark, or descends from one that does.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_of_attempt(pid: i32, _: &Path, mark: &str) -> bool {
    Tree::marked(mark.to_owned()).look().iter().any(|process| process.pid == pid)
}

#[cfg(not(target_os = "linux"))]
fn role(pid: i32) -> Role {
    let line = ps(&["-ww", "-o", "command=", "-p", &pid.to_string()]);
    match line.split_whitespace().nth(1) {
        Some(crate::host::COMMAND) if line.contains(" --inner ") => Role::Host,
        Some(crate::host::COMMAND) => Role::Guard,
        _ => Role::Neither,
    }
}

/// Whether the worker that has this mark is gone. A mark that can not be read is nobody's.
fn is_gone(worker: &str) -> bool {
    let numbers = worker.rsplit_once(':').and_then(|(_, numbers)| numbers.split_once('.'));
    numbers
        .and_then(|(pid, started)| Some((pid.parse().ok()?, started.parse::<u64>().ok()?)))
        .is_some_and(|(pid, started)| one(pid).is_none_or(|process| process.started != started))
}

/// The processes of attempts whose worker is gone, with the marks of the attempts. `wanted` is asked with the marks of worker and attempt.
fn of_the_dead(wanted: impl Fn(&str, &str) -> bool) -> Vec<(Process, String)> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let of_dead = |process: Process| {
        let (worker, attempt) = (mark(process.pid, WORKER_MARK)?, mark(process.pid, ATTEMPT_MARK)?);
        (process.pid != own && wanted(&worker, &attempt) && is_gone(&worker)).then_some((process, attempt))
    };
    all().into_iter().filter_map(of_dead).collect()
}

/// Ends what there is of an attempt whose worker is gone, frozen or not. What a living worker runs is left alone.
pub(crate) async fn end_of_dead(attempt: &str) {
    let wanted = attempt.to_owned();
    let left =
        tokio::task::spawn_blocking(move || of_the_dead(|_, attempt| attempt == wanted)).await.unwrap_or_default();
    if let Some(tree) = Shared::left(attempt, left.into_iter().map(|(process, _)| process)) {
        tracing::warn!(attempt, "ending the host of an attempt whose worker is gone: it does not go by itself");
        tree.end(Duration::ZERO).await;
    }
}

fn signal(process: Process, signal: Signal) {
    // Looked at again: its number may belong to another by now.
    if one(process.pid).is_some_and(|now| now.started == process.started) {
        // It is gone already, or is not ours to signal.
        kill(Pid::from_raw(process.pid), signal).ok();
    }
}

/// The processes of one attempt.
#[derive(Debug)]
pub(crate) struct Tree {
    leader: Process,
    mark: String,
    seen: HashMap<i32, u64>,
    spared: Option<i32>,
}

impl Tree {
    /// The tree under a program that was just started, in a process group of its own, with `mark` in its environment. Neither this
    /// process nor its parent belong to it.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn of(pid: i32, mark: String) -> Self {
        // Gone before we could look: its group and its mark are still what to look for.
        let leader = one(pid).unwrap_or(Process { pid, parent: 0, group: pid, started: 0 });
        let spared = Some(nix::unistd::getppid().as_raw());
        Self { leader, mark, seen: HashMap::from([(pid, leader.started)]), spared }
    }

    /// All with this mark but this process.
    pub(crate) fn marked(mark: String) -> Self {
        let nobody = Process { pid: -1, parent: -1, group: -1, started: 0 };
        Self { leader: nobody, mark, seen: HashMap::new(), spared: None }
    }
}

impl Tree {
    /// Every living process of the tree.
    pub(crate) fn look(&mut self) -> Vec<Process> {
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let all: Vec<Process> =
            all().into_iter().filter(|p| p.pid != own && Some(p.pid) != self.spared && p.pid > 1).collect();
        // Older than the leader is nobody of its tree. (Elsewhere than on Linux the start can not be compared.)
        let young = |p: &Process| !cfg!(target_os = "linux") || p.started >= self.leader.started;
        let mut members: HashSet<i32> = all
            .iter()
            .filter(|p| {
                self.seen.get(&p.pid) == Some(&p.started)
                    || young(p)
                        && (p.group == self.leader.pid
                            || mark(p.pid, ATTEMPT_MARK).is_some_and(|mark| mark == self.mark))
            })
            .map(|p| p.pid)
            .collect();
        loop {
            let found: Vec<i32> = all
                .iter()
                .filter(|p| members.contains(&p.parent) && !members.contains(&p.pid))
                .map(|p| p.pid)
                .collect();
            if found.is_empty() {
                break;
            }
            members.extend(found);
        }
        let living: Vec<Process> = all.into_iter().filter(|p| members.contains(&p.pid)).collect();
        self.seen.extend(living.iter().map(|p| (p.pid, p.started)));
        living
    }
}

/// A tree that is looked at off the runtime's threads: the whole of /proc is read.
#[derive(Debug, Clone)]
struct Shared(Arc<Mutex<Tree>>);

impl Shared {
    async fn look(&self) -> Vec<Process> {
        let tree = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || tree.lock().unwrap_or_else(PoisonError::into_inner).look())
            .await
            .unwrap_or_default()
    }

    /// What is left of an attempt, if anything is.
    fn left(attempt: &str, processes: impl IntoIterator<Item = Process>) -> Option<Self> {
        let processes: Vec<Process> = processes.into_iter().collect();
        let leader = processes.iter().min_by_key(|process| process.started).copied()?;
        let seen = processes.iter().map(|process| (process.pid, process.started)).collect();
        Some(Self(Arc::new(Mutex::new(Tree { leader, mark: attempt.to_owned(), seen, spared: None }))))
    }

    /// Waits for guards and hosts, which end by themselves since their worker is gone, and lets those that somebody stopped go on: only
    /// they can write down what their agent said and how it ended. Whether one is stopped is not asked: on a busy machine it may be about
    /// to be, and a signal to go on takes that back.
    async fn resume(&self, living: &[Process]) {
        let mut resumed: Vec<Process> =
            living.iter().filter(|process| role(process.pid) != Role::Neither).copied().collect();
        for process in &resumed {
            signal(*process, Signal::SIGCONT);
        }
        let begun = Instant::now();
        while !resumed.is_empty() && begun.elapsed() < RESUMED_FOR {
            sleep(Duration::from_millis(20)).await;
            resumed.retain(|process| one(process.pid).is_some_and(|now| now.started == process.started));
        }
    }

    /// Ends every process of the tree: what is frozen of its host goes on first, then TERM, `grace` to follow it, then KILL until none is left. Gives how many would not go.
    async fn end(&self, grace: Duration) -> usize {
        let mut living = self.look().await;
        self.resume(&living).await;
        living = self.look().await;
        if living.is_empty() {
            return 0;
        }
        for process in &living {
            signal(*process, Signal::SIGTERM);
        }
        let begun = Instant::now();
        let mut pause = Duration::from_millis(10);
        while begun.elapsed() < grace {
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
            living = self.look().await;
            if living.is_empty() {
                return 0;
            }
        }
        let begun = Instant::now();
        while begun.elapsed() < KILL_FOR {
            let guards_too = begun.elapsed() > GUARD_FOR;
            for process in living.iter().filter(|process| guards_too || role(process.pid) != Role::Guard) {
                signal(*process, Signal::SIGKILL);
            }
            sleep(Duration::from_millis(20)).await;
            living = self.look().await;
            if living.is_empty() {
                return 0;
            }
        }
        living.len()
    }
}

/// Ends at once what carries an attempt's mark, where its host and its guard are gone without having done so. Gives how many would not
/// go.
pub(crate) async fn end_marked(mark: String) -> usize {
    Shared(Arc::new(Mutex::new(Tree::marked(mark)))).end(Duration::ZERO).await
}

/// A name for this worker on this machine, and the mark its processes carry. A worker of the same device that serves the same
/// root has the same name, and another mark.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    name: String,
    pub(crate) mark: String,
}

impl Identity {
    pub(crate) fn new(device: &str, root: &Path) -> Self {
        let name = format!("{device}@{:016x}", fnv(root.as_os_str().as_encoded_bytes()));
        let pid = i32::try_from(std::process::id()).unwrap_or(0);
        let started = one(pid).map_or(0, |process| process.started);
        Self { mark: format!("{name}:{pid}.{started}"), name }
    }

    /// Ends what an earlier worker of this name left behind when it was killed. What a living one runs is left alone. Gives how
    /// many processes there were.
    pub(crate) async fn sweep(&self, grace: Duration) -> usize {
        let name = format!("{}:", self.name);
        let left = tokio::task::spawn_blocking(move || of_the_dead(|worker, _| worker.starts_with(&name)));
        let left = left.await.unwrap_or_default();
        let count = left.len();
        let mut attempts: HashMap<String, Vec<Process>> = HashMap::new();
        for (process, attempt) in left {
            attempts.entry(attempt).or_default().push(process);
        }
        let ends = attempts.into_iter().filter_map(|(attempt, processes)| {
            let tree = Shared::left(&attempt, processes)?;
            Some(async move { tree.end(grace).await })
        });
        futures_util::future::join_all(ends).await;
        count
    }
}

/// FNV-1a: a name that is the same in every build.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::{os::unix::process::CommandExt, process::Command};

    /// A program at `path`. Another process writes it: while a file is open for writing nobody can run it, and a child that a test beside
    /// this one starts in that moment has it open, too.
    pub(crate) fn write_program(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let written = path.with_extension("written");
        std::fs::write(&written, text).unwrap();
        let made = std::process::Command::new("install").args(["-m", "755"]).args([&written, path]).status().unwrap();
        assert!(made.success());
    }

    #[test]
    fn own_process_is_listed_and_a_mark_is_read() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(all().iter().any(|p| p.pid == own));
        let mut child = Command::new("sleep").arg("30").env(ATTEMPT_MARK, "x.1").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // Until it has become `sleep`, it has our environment.
        let found = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            mark(pid, ATTEMPT_MARK).as_deref() == Some("x.1")
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found);
        assert!(one(pid).is_none());
    }

    #[tokio::test]
    async fn only_processes_left_by_a_dead_worker_are_ended() {
        let root = tempfile::tempdir().unwrap();
        let identity = Identity::new("dev", root.path());
        let sleeper = |mark: &str, attempt: &str| {
            Command::new("sleep")
                .arg("60")
                .env(WORKER_MARK, mark)
                .env(ATTEMPT_MARK, attempt)
                .process_group(0)
                .spawn()
                .unwrap()
        };
        let name = &identity.name;
        let mut orphan = sleeper(&format!("{name}:999999999.1"), "t.1");
        let mut stubborn = Command::new("sh")
            .args(["-c", "trap '' TERM; sleep 60 & wait; sleep 60"])
            .env(WORKER_MARK, format!("{name}:999999999.1"))
            .env(ATTEMPT_MARK, "t.2")
            .spawn()
            .unwrap();
        let mut living = sleeper(&identity.mark, "t.3");
        let mut other = sleeper("other@0:999999999.1", "t.4");
        std::thread::sleep(Duration::from_millis(100));
        // The dead are waited for meanwhile, or they would stay as zombies of this test (which do not count, but hold numbers).
        assert!(identity.sweep(Duration::from_millis(300)).await >= 2);
        assert!(orphan.try_wait().unwrap().is_some());
        assert!(stubborn.try_wait().unwrap().is_some());
        assert!(living.try_wait().unwrap().is_none());
        assert!(other.try_wait().unwrap().is_none());
        for child in [&mut living, &mut other] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
