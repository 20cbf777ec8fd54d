//! A `hub dev` of a test's own, without its worker: a project with its API, for devices that sign in.

use hub::config::read_env_file;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::process::{Child, Command};

use crate::{BOUND, World, free_port, program};

/// Stopped and removed when it is dropped.
pub struct Dev {
    child: Child,
    env: BTreeMap<String, String>,
    folder: tempfile::TempDir,
}

impl Dev {
    pub async fn start() -> Dev {
        let folder = tempfile::tempdir().expect("a folder");
        // As root, the database in it belongs to another user.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).expect("chmod");
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        let child = Command::new(program())
            .args(["dev", "--no-worker", "--port", &free_port().to_string(), "--db-port", &free_port().to_string()])
            .arg("--data-dir")
            .arg(folder.path().join("hub"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("hub starts: cargo build --release first");
        let mut dev = Dev { child, env: BTreeMap::new(), folder };
        let file = dev.data_dir().join("dev.env");
        let begun = Instant::now();
        while !file.is_file() {
            let ended = dev.child.try_wait().expect("waits").is_some();
            let said = || std::fs::read_to_string(dev.folder.path().join("log")).unwrap_or_default();
            assert!(!ended && begun.elapsed() < BOUND, "hub dev is not ready: {}", said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        dev.env = read_env_file(&file).expect("dev.env");
        dev
    }

    /// What `dev.env` says.
    pub fn get(&self, name: &str) -> &str {
        self.env.get(name).unwrap_or_else(|| panic!("dev.env has no {name}"))
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("hub")
    }

    /// The port of its API.
    pub fn port(&self) -> u16 {
        self.get("SUPABASE_URL").rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port")
    }

    /// The port of its Postgres.
    pub fn database_port(&self) -> u16 {
        let url: reqwest::Url = self.get("DATABASE_URL").parse().expect("an address");
        url.port().expect("a port")
    }

    /// Its database, with a folder for projects of the test's own.
    pub fn world(&self) -> World {
        World::at(self.get("DATABASE_URL"), self.get("DATABASE_ADMIN_URL"))
    }

    /// Enrols a device with `hub device add`. Gives its secret.
    pub async fn enrol(&self, device: &str) -> String {
        let ended = Command::new(program())
            .args(["device", "add", device, "--json", "--data-dir"])
            .arg(self.data_dir())
            .output()
            .await
            .expect("hub starts");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        let said: Value = serde_json::from_slice(&ended.stdout).expect("JSON");
        said["secret"].as_str().expect("a secret").to_owned()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            // It stops its Postgres in order; its folder goes after that.
            kill(Pid::from_raw(id), Signal::SIGTERM).ok();
            let begun = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < BOUND {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}
