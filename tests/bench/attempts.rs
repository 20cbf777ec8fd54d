//! What the benches of attempts share: eight devices whose workers run agents, the processes of an attempt, and what these take of the
//! processor and of the memory. It reads `/proc`, so it is for Linux only.

use crate::{
    place::git,
    stack::{memory, processor},
    tools::{Bench, Database},
};
use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, SysconfVar, sysconf},
};
use secrecy::ExposeSecret;
use serde_json::json;
use sqlx::PgConnection;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};
use uuid::Uuid;

/// For a machine that hangs.
pub const BOUND: Duration = Duration::from_secs(120);
/// Between two looks at what nothing tells of.
const LOOK: Duration = Duration::from_millis(5);
/// Where the tasks of `life_setup.sql` run.
const PROJECT: &str = "Desktop/homelab";

/// Devices `bench0` to `bench7`, each with a channel whose tasks no other takes.
pub struct Mesh {
    pub database: Database,
    pub operator: PgConnection,
    folder: tempfile::TempDir,
}

impl Mesh {
    pub async fn new(bench: &Bench, name: &str) -> Result<Self> {
        ensure!(bench.hub.is_file(), "no program at {}: cargo build --release first", bench.hub.display());
        let database = bench.fresh(name).await?;
        bench.script(&database, "life_setup.sql", &[]).await?;
        let operator = database.connect("postgres").await?;
        let folder = tempfile::tempdir()?;
        std::fs::create_dir_all(folder.path().join("projects").join(PROJECT))?;
        Ok(Self { database, operator, folder })
    }

    /// A file of this bench.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn projects(&self) -> PathBuf {
        self.file("projects")
    }

    /// Makes the project a repository: what is none has one attempt at a time.
    pub fn repository(&self) -> Result<()> {
        let project = self.projects().join(PROJECT);
        git(&project, &["init", "--quiet"])?;
        git(&project, &["commit", "--quiet", "--allow-empty", "--message", "nothing"])
    }

    /// Queues a task for this device.
    pub async fn send(&mut self, device: u32) -> Result<Uuid> {
        let channel = Uuid::parse_str(&format!("00000000-0000-4000-8000-00000000000{device}"))?;
        let sent = sqlx::query_scalar("select (public.hub_send($1, 'Do a thing please') -> 'task' ->> 'id')::uuid");
        let task: Option<Uuid> = sent.bind(channel).fetch_one(&mut self.operator).await?;
        task.context("hub_send made no task")
    }

    /// Until the task has ended like this.
    pub async fn until(&mut self, task: Uuid, wanted: &str) -> Result<()> {
        let begun = Instant::now();
        loop {
            let (status, error): (String, Option<String>) =
                sqlx::query_as("select status, error from public.mac_tasks where id = $1")
                    .bind(task)
                    .fetch_one(&mut self.operator)
                    .await?;
            if status == wanted {
                return Ok(());
            }
            let ended = matches!(status.as_str(), "complete" | "failed" | "cancelled");
            if ended || begun.elapsed() > BOUND {
                bail!("a task is {status} and not {wanted}: {}", error.unwrap_or_default());
            }
            sleep(LOOK).await;
        }
    }

    /// Starts `hub worker` for this device, with one agent.
    pub fn worker(&self, bench: &Bench, device: u32, capacity: u32, argv: &[String]) -> Result<Worker> {
        let device = format!("bench{device}");
        let agents = self.file(&format!("{device}.json"));
        std::fs::write(&agents, agents_json(argv))?;
        let log = self.file(&format!("{device}.log"));
        let child = Command::new(&bench.hub)
            .args(["worker", "--device", &device, "--capacity", &capacity.to_string(), "--drain-seconds", "0"])
            .arg("--agents")
            .arg(agents)
            .arg("--projects-root")
            .arg(self.projects())
            .arg("--state-dir")
            .arg(self.file(&format!("{device}.state")))
            .env("DATABASE_URL", self.database.url().expose_secret())
            .env_remove("HUB_URL")
            .env_remove("SUPABASE_URL")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .kill_on_drop(true)
            .spawn()
            .context("hub worker")?;
        Ok(Worker { child, log })
    }

    pub async fn end(self, bench: &Bench) -> Result<()> {
        drop(self.operator);
        bench.drop_database(&self.database).await
    }
}

/// The list of a worker's agents, with one that takes every task and may be silent.
pub fn agents_json(argv: &[String]) -> String {
    json!([{
        "agent": "bench", "models": ["any"], "kind": "command", "argv": argv, "first_output_seconds": 0, "silence_seconds": 0,
    }])
    .to_string()
}

/// A `hub worker`.
pub struct Worker {
    child: Child,
    log: PathBuf,
}

impl Worker {
    pub fn pid(&self) -> Result<u32> {
        self.child.id().context("the worker has ended")
    }

    /// Its attempts, once so many are whole: guard, host and agent.
    pub async fn attempts(&self, wanted: usize) -> Result<Vec<Attempt>> {
        let begun = Instant::now();
        loop {
            let found = attempts_below(self.pid()?)?;
            if found.len() == wanted {
                return Ok(found);
            }
            ensure!(begun.elapsed() < BOUND, "{} of {wanted} attempts run: {}", found.len(), self.said());
            sleep(LOOK).await;
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Stops it, and its agents. An error, if a part of it panicked while it ran.
    pub async fn end(mut self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.pid()?)?), Signal::SIGTERM)?;
        timeout(BOUND, self.child.wait()).await.context("the worker does not stop")??;
        match self.said().lines().find(|line| line.contains("panicked at")) {
            Some(line) => bail!("hub worker: {line}"),
            None => Ok(()),
        }
    }
}

/// The processes of one attempt.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    pub guard: u32,
    pub host: u32,
    pub agent: u32,
}

impl Attempt {
    /// Milliseconds of processor that guard and host have taken. Each has one thread, and takes less than the system's tick.
    pub fn processor(&self) -> Result<f64> {
        Ok(processor(self.guard)? + processor(self.host)?)
    }

    /// Megabytes of guard and host together.
    pub fn memory(&self) -> Result<f64> {
        Ok(pss(self.guard)? + pss(self.host)?)
    }

    /// Until guard and host are gone; the worker waits for them.
    pub async fn gone(&self) -> Result<()> {
        let begun = Instant::now();
        while Path::new("/proc").join(self.guard.to_string()).exists() {
            ensure!(begun.elapsed() < BOUND, "a guard does not end");
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}

fn attempts_below(worker: u32) -> Result<Vec<Attempt>> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // It may have ended meanwhile.
        if let Ok(stat) = Stat::read(pid) {
            parents.push((pid, stat.parent));
        }
    }
    let child = |of: u32| parents.iter().find(|(_, parent)| *parent == of).map(|(pid, _)| *pid);
    let guards = parents.iter().filter(|(_, parent)| *parent == worker).map(|(pid, _)| *pid);
    Ok(guards
        .filter_map(|guard| {
            let host = child(guard)?;
            let agent = child(host)?;
            is_agent(agent).then_some(Attempt { guard, host, agent })
        })
        .collect())
}

/// Until it has become the agent's program, it is a copy of its host.
fn is_agent(pid: u32) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    !line.is_empty() && !line.split(|byte| *byte == 0).any(|word| word == hub_worker::host::COMMAND.as_bytes())
}

/// What `/proc/PID/stat` says.
pub struct Stat {
    parent: u32,
    /// Seconds of processor, in the system's ticks: of all its threads, also of those that ended.
    pub own: f64,
    /// Of its children that it waited for, and of theirs.
    pub children: f64,
}

impl Stat {
    pub fn read(pid: u32) -> Result<Self> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The second field is a name in parentheses, and may hold blanks.
        let (_, fields) = text.rsplit_once(") ").context("stat")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok()).context("stat");
        let ticks = sysconf(SysconfVar::CLK_TCK)?.and_then(|ticks| u32::try_from(ticks).ok()).context("no ticks")?;
        let seconds = |at: usize| anyhow::Ok(f64::from(number(at)? + number(at + 1)?) / f64::from(ticks));
        // Fields 4, 14 and 15, 16 and 17 of proc(5).
        Ok(Self { parent: number(1)?, own: seconds(11)?, children: seconds(13)? })
    }
}

/// Megabytes of a process, each page divided by how many processes have it.
pub fn pss(pid: u32) -> Result<f64> {
    let file = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&file).with_context(|| file.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).with_context(|| file.clone())?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
}

/// Megabytes of a worker, and what of it that is. Its `smaps_rollup` is open to root alone; what anybody sees counts shared pages whole.
#[allow(clippy::cast_precision_loss)]
pub fn worker_memory(pid: u32) -> Result<(&'static str, f64)> {
    match pss(pid) {
        Ok(megabytes) => Ok(("PSS", megabytes)),
        Err(_) => Ok(("RSS", memory(pid)? as f64 / 1024.0 / 1024.0)),
    }
}
