//! `hub worker` processes.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use secrecy::ExposeSecret;
use serde_json::Value;
use std::{
    ffi::OsStr,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};
use uuid::Uuid;

use crate::{BOUND, World, program, wait};

pub struct Worker {
    child: tokio::sync::Mutex<Child>,
    log: Arc<Mutex<String>>,
}

impl World {
    /// Starts `hub worker` and waits until it is registered.
    pub async fn worker(&self, device: &str, agents: &[Value]) -> Worker {
        self.worker_with(device, agents, &[]).await
    }

    /// The same, with more in its environment, which counts over what is here. Without agents it offers `survey`.
    pub async fn worker_with(&self, device: &str, agents: &[Value], environment: &[(&str, &str)]) -> Worker {
        let worker = self.starting(device, agents, environment);
        self.until_registered(device).await;
        worker
    }

    /// The same, without waiting for anything.
    pub fn starting(&self, device: &str, agents: &[Value], environment: &[(&str, &str)]) -> Worker {
        let file = self.root().join(format!("{device}-{}.json", Uuid::new_v4()));
        std::fs::write(&file, serde_json::to_string(agents).expect("JSON")).expect("writes");
        let mut command = Command::new(program());
        command
            .args(["worker", "--device", device])
            .args(if agents.is_empty() { vec![] } else { vec![OsStr::new("--agents"), file.as_os_str()] })
            .env("DATABASE_URL", self.url.expose_secret())
            .env("HUB_WORKER_CAPACITY", "4")
            .env("HUB_WORKER_PROJECTS_ROOT", self.root())
            .env("HUB_WORKER_STATE_DIR", self.state(device))
            .env("HUB_WORKER_DRAIN_SECONDS", "1")
            .envs(environment.iter().copied());
        if environment.iter().any(|(name, _)| *name == "HUB_URL") {
            command.env_remove("DATABASE_URL");
        }
        Worker::spawn(command, device)
    }

    pub async fn until_registered(&self, device: &str) {
        let registered = || async {
            let known: bool = sqlx::query_scalar(
                "select exists (select from public.mesh_devices where name = $1 and platform is not null)",
            )
            .bind(device)
            .fetch_one(&self.pool)
            .await
            .ok()?;
            known.then_some(())
        };
        assert!(wait(registered).await.is_some(), "the worker never registered");
    }

    /// Where the device's workers keep their journal.
    pub fn state(&self, device: &str) -> PathBuf {
        self.root().join(".state").join(device)
    }

    /// The attempts that are in the journals, by the names of their folders.
    pub fn journal(&self) -> Vec<String> {
        let list = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
        list(self.root().join(".state"))
            .flat_map(|device| list(device.path().join("attempts")))
            .map(|attempt| attempt.file_name().to_string_lossy().into_owned())
            .collect()
    }
}

impl Worker {
    /// Starts it; what it says is said here.
    pub fn spawn(mut command: Command, device: &str) -> Worker {
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("hub starts: cargo build --release first");
        let stderr = child.stderr.take().expect("piped");
        let name = device.to_owned();
        let log = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&log);
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                eprintln!("[{name}] {line}");
                let mut kept = kept.lock().expect("nobody panics");
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        Worker { child: tokio::sync::Mutex::new(child), log }
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("nobody panics").clone()
    }

    pub async fn until_said(&self, text: &str) {
        let said = || async { self.log().contains(text).then_some(()) };
        assert!(wait(said).await.is_some(), "it never said {text:?}");
    }

    pub fn signal(&self, signal: Signal) {
        let id = self.child.try_lock().ok().and_then(|child| child.id()).expect("it runs");
        kill(Pid::from_raw(i32::try_from(id).expect("a pid")), signal).expect("signals");
    }

    pub async fn ended(&self) -> ExitStatus {
        let mut child = self.child.lock().await;
        tokio::time::timeout(BOUND, child.wait()).await.expect("the worker ends").expect("waits")
    }

    pub async fn stop(self) {
        self.signal(Signal::SIGTERM);
        self.ended().await;
    }

    pub async fn kill(self) {
        self.signal(Signal::SIGKILL);
        self.ended().await;
    }
}
