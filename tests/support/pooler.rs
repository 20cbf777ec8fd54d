//! A PgBouncer of a test's own.

use sqlx::postgres::PgConnectOptions;
use std::{process::Stdio, str::FromStr};
use tokio::process::{Child, Command};

use crate::{admin_url, free_port, wait};

/// A PgBouncer in transaction mode before the suites' Postgres, with fewer servers than a test has clients.
pub struct Pooler {
    port: u16,
    _folder: tempfile::TempDir,
    _child: Child,
}

impl Pooler {
    pub async fn start() -> Pooler {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let behind = PgConnectOptions::from_str(&admin_url()).expect("HUB_TEST_ADMIN_URL is a URL").get_port();
        let at = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(at("users"), "\"postgres\" \"\"\n\"supabase_admin\" \"\"\n").expect("writes");
        // Nothing is said of startup parameters: what PgBouncer refuses, our programs may not send.
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={behind}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = 3\nmax_client_conn = 200\nserver_round_robin = 1\n",
            at("users")
        );
        std::fs::write(at("ini"), settings).expect("writes");
        // As root it refuses to run.
        let mut command = if nix::unistd::geteuid().is_root() {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("chmod");
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "pgbouncer"]);
            command
        } else {
            Command::new("pgbouncer")
        };
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let child = command
            .arg(at("ini"))
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("pgbouncer is missing: tests/run installs it");
        let answers = || async { tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok() };
        assert!(wait(answers).await.is_some(), "PgBouncer did not start");
        Pooler { port, _folder: folder, _child: child }
    }

    /// The same database, through it.
    pub fn url(&self, direct: &str) -> String {
        let (host, database) = direct.rsplit_once('/').expect("names a database");
        format!("{}:{}/{database}", host.rsplit_once(':').expect("names a port").0, self.port)
    }
}
