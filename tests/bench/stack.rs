//! A `hub dev` of a bench's own: a process beside this one, on a Postgres of its own.

use crate::tools::Bench;
use anyhow::{Context, Result, bail, ensure};
use hub::config::read_env_file;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{Connection, PgConnection};
use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{process::Child, time::sleep};

/// For a machine that hangs.
const BOUND: Duration = Duration::from_secs(120);

/// A running `hub dev`, stopped and removed when it is dropped.
pub struct Stack {
    child: Child,
    env: BTreeMap<String, String>,
    folder: tempfile::TempDir,
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.halt();
    }
}

impl Stack {
    pub async fn start(bench: &Bench, more: &[&str]) -> Result<Self> {
        Self::start_with(bench, more, &[]).await
    }

    /// The same, with more in its environment.
    pub async fn start_with(bench: &Bench, more: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        ensure!(bench.hub.is_file(), "no program at {}: cargo build --release first", bench.hub.display());
        let folder = tempfile::tempdir()?;
        // As root, the database in it belongs to another user.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))?;
        let data = folder.path().join("hub");
        let log = std::fs::File::create(folder.path().join("log"))?;
        let child = tokio::process::Command::new(&bench.hub)
            .args(["dev", "--port", &free_port()?, "--db-port", &free_port()?, "--data-dir"])
            .arg(&data)
            .args(more)
            .envs(environment.iter().copied())
            .stdout(log.try_clone()?)
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .context("hub dev")?;
        let mut stack = Self { child, env: BTreeMap::new(), folder };
        // Ready when dev.env is there; gone when the process is.
        let file = data.join("dev.env");
        let begun = Instant::now();
        while !file.is_file() {
            if let Some(status) = stack.child.try_wait()? {
                let said = std::fs::read_to_string(data.with_file_name("log")).unwrap_or_default();
                bail!("hub dev ended with {status}: {said}");
            }
            ensure!(begun.elapsed() < BOUND, "hub dev is not ready after {} s", BOUND.as_secs());
            sleep(Duration::from_millis(50)).await;
        }
        stack.env = read_env_file(&file)?;
        Ok(stack)
    }

    fn halt(&mut self) {
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            // It stops its Postgres in order; its folder goes after that.
            kill(Pid::from_raw(id), Signal::SIGTERM).ok();
            let begun = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < BOUND {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Stops it. An error, if a part of it panicked while it ran.
    pub fn end(mut self) -> Result<()> {
        self.halt();
        let said = std::fs::read_to_string(self.folder.path().join("log"))?;
        match said.lines().find(|line| line.contains("panicked at")) {
            Some(line) => bail!("hub dev: {line}"),
            None => Ok(()),
        }
    }

    /// What `dev.env` says.
    pub fn env(&self, name: &str) -> Result<&str> {
        self.env.get(name).map(String::as_str).with_context(|| format!("dev.env has no {name}"))
    }

    /// To its database, as the role that migrates.
    pub async fn connect(&self) -> Result<PgConnection> {
        Ok(PgConnection::connect(self.env("DATABASE_URL")?).await?)
    }

    pub fn pid(&self) -> Result<u32> {
        self.child.id().context("hub dev has ended")
    }

    /// Bytes that the process has in memory.
    pub fn memory(&self) -> Result<u64> {
        memory(self.pid()?)
    }
}

/// Bytes that a process has in memory.
pub fn memory(pid: u32) -> Result<u64> {
    let file = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&file).with_context(|| file.clone())?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).with_context(|| file.clone())?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().with_context(|| file.clone())?;
    Ok(kilobytes * 1024)
}

/// Milliseconds of processor that a process has taken, its threads added up.
pub fn processor(pid: u32) -> Result<f64> {
    let folder = format!("/proc/{pid}/task");
    let threads = std::fs::read_dir(&folder).with_context(|| folder.clone())?;
    threads.map(|thread| scheduled(&thread?.path().join("schedstat"))).sum()
}

/// Milliseconds of processor that this thread has taken.
pub fn processor_here() -> Result<f64> {
    scheduled(Path::new("/proc/thread-self/schedstat"))
}

/// The first number of a `schedstat`, in nanoseconds.
fn scheduled(file: &Path) -> Result<f64> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let nanoseconds: f64 = text.split(' ').next().unwrap_or_default().parse().context("schedstat")?;
    Ok(nanoseconds / 1e6)
}

pub fn free_port() -> Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string())
}
