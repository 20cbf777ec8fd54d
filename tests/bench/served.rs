//! A server of a bench's own: a process beside this one, `hub serve` or a program in Deno.

use crate::{
    http::Asked,
    stack::{free_port, memory},
    tools::{Bench, Database},
};
use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use secrecy::ExposeSecret;
use std::{
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::process::{Child, Command};

/// For a machine that hangs.
const BOUND: Duration = Duration::from_secs(120);
/// The project's secret.
pub const SECRET: &str = "a secret of at least thirty-two characters";

/// Stopped when it is dropped.
pub struct Served {
    child: Child,
    /// `127.0.0.1:8787`.
    pub place: String,
    folder: tempfile::TempDir,
}

impl Served {
    /// `hub serve` over this database, with at most so many connections to it.
    pub async fn hub(bench: &Bench, database: &Database, connections: u32, env: &[(&str, &str)]) -> Result<Self> {
        ensure!(bench.hub.is_file(), "no program at {}: cargo build --release first", bench.hub.display());
        let place = format!("127.0.0.1:{}", free_port()?);
        let mut command = Command::new(&bench.hub);
        command
            .args(["serve", "--listen", &place, "--connections", &connections.to_string()])
            .env("DATABASE_URL", database.url().expose_secret())
            .env("SUPABASE_JWT_SECRET", SECRET)
            .env_remove("SUPABASE_URL")
            .envs(env.iter().copied());
        Self::start(command, place).await
    }

    /// A program of this repository in Deno, which listens at PORT.
    pub async fn deno(bench: &Bench, script: &str, env: &[(&str, &str)]) -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(bench.deno()?);
        command
            .args(["run", "--allow-net", "--allow-env", "--allow-read"])
            .arg(bench.repository.join(script))
            .env("PORT", &port)
            .envs(env.iter().copied());
        Self::start(command, format!("127.0.0.1:{port}")).await
    }

    async fn start(mut command: Command, place: String) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let log = std::fs::File::create(folder.path().join("log"))?;
        let child = command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{:?}", command.as_std().get_program()))?;
        let mut served = Self { child, place, folder };
        let begun = Instant::now();
        while tokio::net::TcpStream::connect(&served.place).await.is_err() {
            if let Some(status) = served.child.try_wait()? {
                bail!("it ended with {status}: {}", served.said()?);
            }
            ensure!(begun.elapsed() < BOUND, "nothing listens after {} s: {}", BOUND.as_secs(), served.said()?);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(served)
    }

    fn said(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.path().join("log"))?)
    }

    pub fn pid(&self) -> Result<u32> {
        self.child.id().context("it has ended")
    }

    /// Megabytes that the process has in memory.
    #[allow(clippy::cast_precision_loss)]
    pub fn memory(&self) -> Result<f64> {
        Ok(memory(self.pid()?)? as f64 / 1024.0 / 1024.0)
    }

    /// Its answer to one request, for a look before it is measured.
    pub async fn first(&self, asked: &Asked) -> Result<serde_json::Value> {
        let (status, body) = asked.once().await?;
        let text = String::from_utf8_lossy(&body);
        (asked.check)(status, &body)
            .with_context(|| format!("{status}: {text}; it said: {}", self.said().unwrap_or_default()))?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// Stops it. An error, if a part of it panicked while it ran.
    pub async fn end(mut self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.pid()?)?), Signal::SIGTERM)?;
        tokio::time::timeout(BOUND, self.child.wait()).await.context("it does not stop")??;
        match self.said()?.lines().find(|line| line.contains("panicked at")) {
            Some(line) => bail!("{line}"),
            None => Ok(()),
        }
    }
}
