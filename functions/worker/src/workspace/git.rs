//! The git program: libraries know no hooks, no LFS, no sparse checkouts. Its environment is clean, it asks nobody anything, it has a
//! time limit, and its process group ends with it.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    time::{Instant, timeout, timeout_at},
};

use super::{Lock, Trouble};
use crate::environment;

/// For what reads a repository.
pub(super) const READ: Duration = Duration::from_secs(120);
/// For what writes a whole tree, with its hooks and filters.
pub(super) const WRITE: Duration = Duration::from_secs(30 * 60);
/// For what asks a remote.
pub(super) const REMOTE: Duration = Duration::from_secs(10 * 60);
/// What it prints is a list of paths at most.
const OUTPUT: u64 = 256 * 1024 * 1024;
const ERRORS: u64 = 64 * 1024;
/// What a hook has left behind may hold a pipe for ever.
const PIPES: Duration = Duration::from_secs(2);

/// How git is called. No colours, nobody asked, no upkeep of the repository in the background, no optional locks where it only looks.
const SET: [(&str, &str); 6] = [
    ("LC_ALL", "C"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GCM_INTERACTIVE", "never"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_EDITOR", ":"),
    ("GIT_PAGER", "cat"),
];
const OPTIONS: [&str; 8] =
    ["-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "advice.detachedHead=false", "-c", "color.ui=false"];
/// Speak for a person: for git where it talks with a remote, and for nothing else.
const CREDENTIALS: [&str; 5] =
    ["SSH_AUTH_SOCK", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "SSH_AGENT_PID", "KRB5CCNAME"];

/// The program, and what it gets of this process's environment.
#[derive(Debug, Clone)]
pub(super) struct Git {
    environment: Vec<(OsString, OsString)>,
    credentials: Vec<(OsString, OsString)>,
}

/// What a call said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) status: ExitStatus,
    pub(super) out: Vec<u8>,
    pub(super) err: String,
}

/// Why a call said nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Silent {
    #[error("git can not be started: {0}")]
    NotStarted(io::Error),
    #[error("git {0} took longer than {1} s")]
    Slow(String, u64),
}

/// One call in the making.
pub(super) struct Call<'a> {
    git: &'a Git,
    directory: &'a Path,
    ceiling: &'a Path,
    arguments: Vec<OsString>,
    within: Duration,
    lock: Option<&'a Lock>,
    credentials: bool,
    index: Option<&'a Path>,
}

impl Git {
    pub(super) fn new() -> Self {
        let is_own =
            |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with("GIT_") && name != "GIT_SSL_CAINFO");
        let environment = environment::for_any(std::env::vars_os()).into_iter().filter(|(name, _)| !is_own(name));
        let credentials = CREDENTIALS.iter().filter_map(|name| Some(((*name).into(), std::env::var_os(name)?)));
        Self { environment: environment.collect(), credentials: credentials.collect() }
    }

    /// A call in a folder, that looks for its repository no further up than below `ceiling`: what is around it is another's.
    pub(super) fn call<'a>(&'a self, directory: &'a Path, ceiling: &'a Path) -> Call<'a> {
        Call {
            git: self,
            directory,
            ceiling,
            arguments: Vec::new(),
            within: READ,
            lock: None,
            credentials: false,
            index: None,
        }
    }
}

impl<'a> Call<'a> {
    pub(super) fn args(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub(super) fn within(mut self, limit: Duration) -> Self {
        self.within = limit;
        self
    }

    /// It holds the lock as well: if this process is killed, nobody gets it before git has ended.
    pub(super) fn holding(mut self, lock: &'a Lock) -> Self {
        self.lock = Some(lock);
        self
    }

    /// It talks with a remote, as who runs this worker: their keys and helpers, but nobody is asked for a password.
    pub(super) async fn asking(mut self) -> Result<Self, Trouble> {
        let ssh = self.git.call(self.directory, self.ceiling).args(["config", "--get", "core.sshCommand"]);
        if ssh.maybe().await?.is_none() {
            self.arguments.splice(0..0, ["-c".into(), "core.sshCommand=ssh -o BatchMode=yes".into()]);
        }
        self.credentials = true;
        self.within = REMOTE;
        Ok(self)
    }

    /// The same call, for a blocking thread.
    pub(super) fn run_now(&self) -> io::Result<Said> {
        let mut command = self.command()?.into_std();
        command.stdin(Stdio::null());
        let output = command.output()?;
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(Said { status: output.status, out: output.stdout, err })
    }

    fn command(&self) -> io::Result<Command> {
        let mut command = Command::new("git");
        command
            .args(OPTIONS)
            .arg("-C")
            .arg(self.directory)
            .args(&self.arguments)
            .current_dir("/")
            .env_clear()
            .envs(self.git.environment.iter().cloned())
            .envs(SET)
            .env("GIT_CEILING_DIRECTORIES", self.ceiling)
            .stdin(match self.lock {
                Some(lock) => Stdio::from(lock.share()?),
                None => Stdio::null(),
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if self.credentials {
            command.envs(self.git.credentials.iter().cloned());
        }
        if let Some(index) = self.index {
            command.env("GIT_INDEX_FILE", index);
        }
        Ok(command)
    }

    pub(super) async fn run(self) -> Result<Said, Silent> {
        let mut child = self.command().and_then(|mut command| command.spawn()).map_err(Silent::NotStarted)?;
        let group = Group(child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let ends = Instant::now() + self.within;
        let status = {
            let reading = async { tokio::join!(read(stdout, &mut out, OUTPUT), read(stderr, &mut err, ERRORS)) };
            tokio::pin!(reading);
            let waiting = timeout_at(ends, async {
                tokio::select! {
                    biased;
                    status = child.wait() => (status, false),
                    _ = &mut reading => (child.wait().await, true),
                }
            });
            match waiting.await {
                Ok((status, read)) => {
                    if !read {
                        // It has ended; what it wrote is in the pipes.
                        timeout(PIPES, reading).await.ok();
                    }
                    status.map_err(Silent::NotStarted)?
                }
                Err(_) => return Err(Silent::Slow(self.name(), self.within.as_secs())),
            }
        };
        group.over();
        Ok(Said { status, out, err: String::from_utf8_lossy(&err).into_owned() })
    }

    /// What it prints, or why it failed.
    pub(super) async fn read(self) -> Result<Vec<u8>, Trouble> {
        let name = self.name();
        let said = self.run().await?;
        if said.status.success() { Ok(said.out) } else { Err(said.trouble(&name)) }
    }

    /// What it prints as one line of text, or why it failed.
    pub(super) async fn line(self) -> Result<String, Trouble> {
        let out = self.read().await?;
        Ok(String::from_utf8_lossy(&out).trim_end_matches('\n').to_owned())
    }

    /// Whether it succeeds.
    pub(super) async fn holds(self) -> Result<bool, Trouble> {
        Ok(self.run().await?.status.success())
    }

    /// Nothing if it fails or prints nothing.
    pub(super) async fn maybe(self) -> Result<Option<String>, Trouble> {
        let said = self.run().await?;
        let text = String::from_utf8_lossy(&said.out).trim_end_matches('\n').to_owned();
        Ok(Some(text).filter(|text| said.status.success() && !text.is_empty()))
    }

    /// Which command it is.
    fn name(&self) -> String {
        let mut arguments = self.arguments.iter();
        while let Some(argument) = arguments.next() {
            if argument == "-c" {
                arguments.next();
            } else if !argument.as_encoded_bytes().starts_with(b"-") {
                return argument.to_string_lossy().into_owned();
            }
        }
        String::new()
    }
}

async fn read(from: Option<impl AsyncRead + Unpin>, to: &mut Vec<u8>, limit: u64) {
    let Some(mut from) = from else { return };
    // A pipe that breaks has given what it had. What goes beyond is taken, so that git does not wait, and not kept.
    (&mut from).take(limit).read_to_end(to).await.ok();
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await.ok();
}

/// Ends what is left of a call that is given up.
struct Group(Option<Pid>);

impl Group {
    fn over(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Gone already.
            killpg(group, Signal::SIGKILL).ok();
        }
    }
}

impl Said {
    /// The signal that ended it.
    pub(super) fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// The last thing it complained of, without the paths of this machine.
    pub(super) fn complaint(&self) -> String {
        let lines = || self.err.lines().map(str::trim).filter(|line| !line.is_empty());
        let told = lines().rfind(|line| line.starts_with("fatal:") || line.starts_with("error:"));
        let Some(line) = told.or_else(|| lines().next_back()) else {
            return self
                .signal()
                .map_or("it said nothing".into(), |signal| format!("it was killed by signal {signal}"));
        };
        without_paths(line.trim_start_matches("fatal: ").trim_start_matches("error: "))
    }

    pub(super) fn trouble(&self, name: &str) -> Trouble {
        let complaint = self.complaint();
        if self.err.contains("dubious ownership") {
            return Trouble::passing(
                "git refuses the project's repository, since its folder belongs to another user than the worker: let the worker run as that \
                 user, or allow it with git config --global --add safe.directory and the folder",
            );
        }
        if let Some(file) = self.locked() {
            return Trouble::passing(format!(
                "git {name}: another git has the repository's {file}; if none is running, one was killed, and that file is to be removed"
            ));
        }
        Trouble::passing(format!("git {name} failed: {complaint}"))
    }

    /// The lock file that it met, by its name.
    pub(super) fn locked(&self) -> Option<String> {
        let path = self.lock_file()?;
        Some(path.file_name()?.to_string_lossy().into_owned())
    }

    /// The lock file that it met.
    pub(super) fn lock_file(&self) -> Option<PathBuf> {
        let exists = self.err.contains("File exists") || self.err.contains("Another git process");
        let named = self.err.split(['\'', '"', ' ', '\n']).find(|word| word.ends_with(".lock"));
        named.filter(|_| exists).map(PathBuf::from)
    }
}

impl From<Silent> for Trouble {
    fn from(silent: Silent) -> Self {
        Self::passing(silent.to_string())
    }
}

/// Of each path from the root of the file system only the last part.
pub(super) fn without_paths(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for piece in text.split_inclusive(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '(' | ')' | ',' | '=')) {
        let is_path = piece.starts_with('/') && piece.trim_end().len() > 1;
        match piece.trim_end_matches('/').rfind('/') {
            Some(at) if is_path => {
                shown.push('…');
                shown.push_str(&piece[at..]);
            }
            _ => shown.push_str(piece),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_complains_of_names_no_folder_of_this_machine() {
        assert_eq!(
            without_paths("Unable to create '/srv/p/app/.git/config.lock': File exists."),
            "Unable to create '…/config.lock': File exists."
        );
        assert_eq!(without_paths("a/b stays, /x goes to…"), "a/b stays, …/x goes to…");
        assert_eq!(without_paths("/ alone"), "/ alone");
    }

    #[tokio::test]
    async fn a_call_that_hangs_ends_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let git = Git::new();
        let begun = std::time::Instant::now();
        let seconds = format!("7{:07}", std::process::id());
        let call = git.call(folder.path(), folder.path()).within(Duration::from_millis(300));
        let said = call
            .args(["-c".into(), format!("alias.hang=!sleep {seconds} & sleep {seconds}"), "hang".into()])
            .run()
            .await;
        assert!(matches!(said, Err(Silent::Slow(..))), "{said:?}");
        assert!(begun.elapsed() < Duration::from_secs(30));
        let living = || {
            std::fs::read_dir("/proc")
                .unwrap()
                .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
                .any(|line| memchr::memmem::find(&line, seconds.as_bytes()).is_some())
        };
        for _ in 0..100 {
            if !living() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("something of it is left");
    }
}
