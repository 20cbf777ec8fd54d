//! What the suites share: a database of its own for each test, a folder for projects, worker processes, all gone at the end.

#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs, reason = "a test that can not go on says so and ends")]

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgPool,
    postgres::{PgConnectOptions, PgListener},
};
use std::{
    ffi::OsStr,
    future::Future,
    path::{Path, PathBuf},
    process::Stdio,
    str::FromStr,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};
use uuid::Uuid;

/// For a machine that hangs; nothing is expected to take a fraction of it.
pub const BOUND: Duration = Duration::from_secs(90);

pub struct World {
    pub url: SecretString,
    pub pool: PgPool,
    name: String,
    admin: PgConnectOptions,
    folder: tempfile::TempDir,
}

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
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let cluster = Cluster { bin, folder, port };
        if nix::unistd::geteuid().is_root() {
            let owner = nix::unistd::User::from_name("postgres").expect("users").expect("a user postgres");
            nix::unistd::chown(&cluster.folder, Some(owner.uid), Some(owner.gid)).expect("chown");
        }
        assert!(
            cluster.run("initdb", &["-D", "data", "-U", "supabase_admin", "-A", "trust", "--no-sync"]),
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

/// A `command` agent for every model that runs `script` by `sh -c`.
pub fn agent(name: &str, script: &str) -> Value {
    json!({ "agent": name, "models": ["any"], "kind": "command", "argv": ["sh", "-c", script, "sh", "{prompt}"] })
}

impl World {
    /// Migrated, with the default servers.
    pub async fn new() -> World {
        let world = World::bare().await;
        hub_migrate::migrate(&world.url, &|_| {}).await.expect("migrates");
        world
    }

    /// The same in a Postgres of the caller's.
    pub async fn within(cluster: &Cluster) -> World {
        let world = World::empty_at(&cluster.url()).await;
        world.prepare(&cluster.url()).await;
        hub_migrate::migrate(&world.url, &|_| {}).await.expect("migrates");
        world
    }

    /// Prepared as a Supabase project is, and nothing more.
    pub async fn bare() -> World {
        let world = World::empty().await;
        world.prepare(&admin_url()).await;
        world
    }

    async fn prepare(&self, admin_url: &str) {
        let url = format!("{}/{}", admin_url.rsplit_once('/').expect("names a database").0, self.name);
        hub_migrate::platform(&url.into(), &|_| {}).await.expect("prepares");
    }

    /// A new database with nothing in it.
    pub async fn empty() -> World {
        World::empty_at(&admin_url()).await
    }

    async fn empty_at(admin_url: &str) -> World {
        let admin = PgConnectOptions::from_str(admin_url).expect("HUB_TEST_ADMIN_URL is a URL");
        let name = format!("faults_{}", Uuid::new_v4().simple());
        let mut connection = admin.connect().await.expect("Postgres answers: run through tests/run");
        for sql in [
            "do $$ begin create role postgres login createdb createrole replication bypassrls; exception when duplicate_object or unique_violation then null; end $$".to_owned(),
            format!("create database {name} template template0"),
        ] {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("makes a database");
        }
        connection.close().await.expect("closes");
        let options = admin.clone().username("postgres").database(&name);
        let url = format!("postgres://postgres@{}:{}/{name}", options.get_host(), options.get_port());
        let pool = PgPool::connect_lazy_with(options.application_name("faults"));
        let folder = tempfile::tempdir().expect("a folder");
        // Where the default channels' tasks work.
        std::fs::create_dir_all(folder.path().join("Desktop/homelab")).expect("a project");
        World { url: url.into(), pool, name, admin, folder }
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// A number of seconds that no other process sleeps for: how a process is found again.
    pub fn marker(&self) -> String {
        format!("8{}", u32::from_str_radix(&self.name[7..14], 16).expect("hex"))
    }

    pub async fn sql(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&self.pool)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The SQLSTATE if it is refused.
    pub async fn try_sql(&self, sql: &str) -> Result<(), String> {
        let mut connection = self.pool.acquire().await.expect("a connection");
        match sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *connection).await {
            Ok(_) => Ok(()),
            Err(error) => {
                // Postgres sends the error before it lets go of the row locks: whoever claims next, on another connection, would skip
                // the row. An answer on the same connection comes after.
                connection.ping().await.expect("the connection stands");
                Err(error.as_database_error().and_then(|e| e.code()).map(|code| code.into_owned()).unwrap_or_default())
            }
        }
    }

    pub async fn count(&self, sql: &'static str, task: Uuid) -> i64 {
        sqlx::query_scalar(sql).bind(task).fetch_one(&self.pool).await.expect(sql)
    }

    pub async fn count_all(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.expect(sql)
    }

    pub async fn one_text(&self, sql: &'static str) -> String {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.expect(sql)
    }

    pub async fn text(&self, sql: &'static str, task: Uuid) -> String {
        sqlx::query_scalar(sql).bind(task).fetch_one(&self.pool).await.expect(sql)
    }

    /// Sends to a flat channel.
    pub async fn send(&self, content: &str) -> Uuid {
        self.send_with(content, "priority = 5").await
    }

    /// The same, with something about the task set before anybody can claim it.
    pub async fn send_with(&self, content: &str, set: &str) -> Uuid {
        let mut transaction = self.pool.begin().await.expect("begins");
        let id: Uuid = sqlx::query_scalar("select (public.hub_send(c.id, $1) -> 'task' ->> 'id')::uuid from public.hub_channels c where c.name = 'quick'")
            .bind(content)
            .fetch_one(&mut *transaction)
            .await
            .expect("sends");
        sqlx::raw_sql(AssertSqlSafe(format!("update public.mac_tasks set {set} where id = '{id}'")))
            .execute(&mut *transaction)
            .await
            .expect("sets");
        transaction.commit().await.expect("commits");
        id
    }

    pub async fn listen(&self, channel: &str) -> PgListener {
        let mut listener = PgListener::connect_with(&self.pool).await.expect("connects");
        listener.listen(channel).await.expect("listens");
        listener
    }

    pub async fn heard(&self, listener: &mut PgListener) {
        tokio::time::timeout(BOUND, listener.recv()).await.expect("nothing was notified").expect("receives");
    }

    pub async fn until(&self, task: Uuid, status: &str) {
        let found = wait(|| async {
            (self.text("select status from public.mac_tasks where id = $1", task).await == status).then_some(())
        })
        .await;
        if found.is_none() {
            let row: Value = sqlx::query_scalar("select to_jsonb(t) from public.mac_tasks t where id = $1")
                .bind(task)
                .fetch_one(&self.pool)
                .await
                .expect("row");
            panic!("never became {status}: {row:#}");
        }
    }

    pub async fn until_note(&self, task: Uuid, note: &str) {
        let seen = || async {
            let text = self.text("select coalesce(partial_output, '') from public.mac_tasks where id = $1", task).await;
            text.contains(note).then_some(())
        };
        assert!(wait(seen).await.is_some(), "never said {note}");
    }

    /// Until this query gives `expected`.
    pub async fn until_text(&self, sql: &'static str, expected: &str) {
        let found = wait(|| async { (self.one_text(sql).await == expected).then_some(()) }).await;
        assert!(found.is_some(), "{sql} never gave {expected}, but {}", self.one_text(sql).await);
    }

    /// Until no process sleeps for `marker` seconds any more.
    pub async fn until_no_process(&self, marker: &str) {
        let gone = || async {
            let listed = Command::new("ps").args(["-eo", "args"]).output().await.expect("ps runs");
            (!String::from_utf8_lossy(&listed.stdout).lines().any(|line| line.trim() == format!("sleep {marker}")))
                .then_some(())
        };
        assert!(wait(gone).await.is_some(), "a process is left that sleeps for {marker}");
    }

    /// Starts `hub worker` and waits until it is registered.
    pub async fn worker(&self, device: &str, agents: &[Value]) -> Worker {
        self.worker_with(device, agents, &[]).await
    }

    /// The same, with more in its environment. Without agents it offers `survey`.
    pub async fn worker_with(&self, device: &str, agents: &[Value], environment: &[(&str, &str)]) -> Worker {
        let file = self.root().join(format!("{device}-{}.json", Uuid::new_v4()));
        std::fs::write(&file, serde_json::to_string(agents).expect("JSON")).expect("writes");
        let mut command = Command::new(program());
        let mut child = command
            .args(["worker", "--device", device, "--capacity", "4"])
            .arg("--projects-root")
            .arg(self.root())
            .args(if agents.is_empty() { vec![] } else { vec![OsStr::new("--agents"), file.as_os_str()] })
            .env("DATABASE_URL", secrecy::ExposeSecret::expose_secret(&self.url))
            .env("HUB_WORKER_DRAIN_SECONDS", "1")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("hub starts: cargo build --release first");
        let stderr = child.stderr.take().expect("piped");
        let name = device.to_owned();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                eprintln!("[{name}] {line}");
            }
        });
        let registered = || async {
            let known: bool = sqlx::query_scalar("select exists (select from public.mesh_devices where name = $1)")
                .bind(device)
                .fetch_one(&self.pool)
                .await
                .ok()?;
            known.then_some(())
        };
        assert!(wait(registered).await.is_some(), "the worker never registered");
        Worker { child: tokio::sync::Mutex::new(child) }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let (admin, name) = (self.admin.clone(), self.name.clone());
        // On a thread of its own: a runtime can not be blocked on from within itself.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(async {
                let mut connection = admin.connect().await.ok()?;
                sqlx::raw_sql(AssertSqlSafe(format!("drop database if exists {name} with (force)")))
                    .execute(&mut connection)
                    .await
                    .ok()
            })
        });
        let _ = dropped.join();
    }
}

pub struct Worker {
    child: tokio::sync::Mutex<Child>,
}

impl Worker {
    pub fn signal(&self, signal: Signal) {
        let id = self.child.try_lock().ok().and_then(|child| child.id()).expect("it runs");
        kill(Pid::from_raw(i32::try_from(id).expect("a pid")), signal).expect("signals");
    }

    pub async fn ended(&self) {
        let mut child = self.child.lock().await;
        tokio::time::timeout(BOUND, child.wait()).await.expect("the worker ends").expect("waits");
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

fn admin_url() -> String {
    std::env::var("HUB_TEST_ADMIN_URL").expect("HUB_TEST_ADMIN_URL is not set: run through tests/run")
}

/// A PgBouncer in transaction mode before the suites' Postgres, with fewer servers than a test has clients.
pub struct Pooler {
    port: u16,
    _folder: tempfile::TempDir,
    _child: Child,
}

impl Pooler {
    pub async fn start() -> Pooler {
        let folder = tempfile::tempdir().expect("a folder");
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
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

/// A program of the suites' Postgres, if it has it.
pub fn postgres_program(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("HUB_TEST_POSTGRES_BIN")?).join(name);
    path.is_file().then_some(path)
}

/// The program `hub`.
pub fn program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    target.join("release/hub")
}

/// Asks again and again until there is an answer, with a bound.
async fn wait<T, F: Future<Output = Option<T>>>(ask: impl Fn() -> F) -> Option<T> {
    let deadline = tokio::time::Instant::now() + BOUND;
    while tokio::time::Instant::now() < deadline {
        if let Some(answer) = ask().await {
            return Some(answer);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    None
}
