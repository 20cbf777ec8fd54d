//! A Postgres that only one test has, so that it may be killed.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{path::PathBuf, process::Stdio, time::Duration};
use uuid::Uuid;

use crate::{BOUND, free_port};

/// A Postgres that only one test has, so that it may be killed.
pub struct Cluster {
    bin: PathBuf,
    folder: PathBuf,
    port: u16,
}

impl Cluster {
    pub fn start() -> Cluster {
        let bin = PathBuf::from(
            std::env::var_os("HUB_TEST_POSTGRES_BIN").expect("HUB_TEST_POSTGRES_BIN is not set: run through tests/run"),
        );
        let folder = std::env::temp_dir().join(format!("hub-cluster-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).expect("a folder");
        let port = free_port();
        let cluster = Cluster { bin, folder, port };
        if nix::unistd::geteuid().is_root() {
            let owner = nix::unistd::User::from_name("postgres").expect("users").expect("a user postgres");
            nix::unistd::chown(&cluster.folder, Some(owner.uid), Some(owner.gid)).expect("chown");
        }
        assert!(
            cluster.run(
                "initdb",
                &["-D", "data", "-U", "supabase_admin", "-E", "UTF8", "--locale=C", "-A", "trust", "--no-sync"]
            ),
            "initdb failed"
        );
        cluster.up();
        cluster
    }

    pub fn url(&self) -> String {
        format!("postgres://supabase_admin@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts it; after a crash the old server's processes may need a moment to go.
    pub fn up(&self) {
        let options = format!("-p {} -k {} -c listen_addresses=127.0.0.1", self.port, self.folder.display());
        let deadline = std::time::Instant::now() + BOUND;
        while !self.run("pg_ctl", &["-D", "data", "-w", "-l", "log", "-o", &options, "start"]) {
            assert!(std::time::Instant::now() < deadline, "Postgres did not start");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// SIGKILL to the postmaster: no shutdown, no goodbye to clients, recovery at the next start.
    pub fn kill(&self) {
        let pid = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).expect("it runs");
        let pid = pid.lines().next().and_then(|line| line.parse().ok()).expect("a pid");
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kills");
    }

    fn run(&self, program: &str, arguments: &[&str]) -> bool {
        let program = self.bin.join(program);
        let mut command = if nix::unistd::geteuid().is_root() {
            let mut command = std::process::Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
            command
        } else {
            std::process::Command::new(program)
        };
        command
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.run("pg_ctl", &["-D", "data", "-m", "immediate", "-w", "stop"]);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
