//! One cluster: made with initdb, run as a child of ours, ended with us.

use super::{find::Binaries, place::Place};
use crate::{
    error::{Attempt, Error, Result},
    files,
};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use std::{
    env, fs,
    io::{Read, Seek, SeekFrom},
    net::{Ipv4Addr, TcpListener},
    os::unix::{fs::OpenOptionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};
use tokio::{
    process::{Child, Command},
    time,
};

/// A fast shutdown gets this long before Postgres is told to drop everything.
const FAST: Duration = Duration::from_millis(1700);
const QUIT: Duration = Duration::from_millis(500);
/// Recovery after a crash is included.
const READY: Duration = Duration::from_secs(60);
/// Backends of a postmaster that was killed hold its shared memory until they notice.
const PREDECESSOR: Duration = Duration::from_secs(10);
/// What `supabase inspect db` asks.
const STATISTICS: &str = "pg_stat_statements";
const LOG_KEPT: u64 = 16 * 1024 * 1024;

/// What a cluster is run with.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The data directory of `hub dev`, for messages.
    pub data_dir: PathBuf,
    /// The port on 127.0.0.1.
    pub port: u16,
    /// Where Postgres' own log goes.
    pub log: PathBuf,
    /// Whether it counts what is asked of it, as on Supabase (`pg_stat_statements`). A Postgres without that library is run without.
    pub statistics: bool,
}

/// Passwords that a cluster's roles get, each its own: `postgres` may start programs, so none of them is one that everybody knows.
pub struct Passwords<'a> {
    /// Of the superuser.
    pub admin: &'a SecretString,
    /// Of the role that migrates and works.
    pub postgres: &'a SecretString,
    /// Of the role REST signs in as.
    pub authenticator: &'a SecretString,
    /// Of the role sign-in uses.
    pub auth: &'a SecretString,
    /// Of the role Realtime uses.
    pub realtime: &'a SecretString,
}

/// A running Postgres.
#[derive(Debug)]
pub struct Cluster {
    child: Child,
    directory: PathBuf,
    options: ClusterOptions,
    /// Where in the log this run began.
    log_from: u64,
}

impl Cluster {
    /// Makes the cluster if it is not there. `true` if it was made now.
    ///
    /// # Errors
    /// [`Error::BrokenData`] for one that is damaged or of another major version; what initdb said when it fails.
    pub async fn initialise(
        place: &Place,
        binaries: &Binaries,
        options: &ClusterOptions,
        admin: &SecretString,
    ) -> Result<bool> {
        let directory = place.cluster();
        if directory.exists() {
            return match major_of(&directory) {
                Some(major) if major == binaries.major => Ok(false),
                Some(major) => Err(Error::BrokenData {
                    path: options.data_dir.clone(),
                    why: format!("it was made by Postgres {major}, and here is {}", binaries.major),
                }),
                None => Err(Error::BrokenData {
                    path: options.data_dir.clone(),
                    why: "its Postgres files are incomplete".into(),
                }),
            };
        }
        // Made beside its place and renamed when whole: an interrupted initdb leaves no half cluster.
        let fresh = place.unfinished();
        let password = PasswordFile::write(place, admin)?;
        let outcome = async {
            let mut said = String::new();
            // The builtin provider (17) needs no locale of the system's; before it, C.UTF-8 is not on every system.
            let tries: &[&[&str]] = if binaries.major >= 17 {
                &[&["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"], &["--locale=C"]]
            } else {
                &[&["--locale=C.UTF-8"], &["--locale=C"]]
            };
            for locale in tries {
                remove_while_written(&fresh).await?;
                files::make_dir(&fresh, 0o700)?;
                place.hand_over(&fresh)?;
                let mut command = program(&binaries.bin.join("initdb"), place);
                command
                    .arg("-D")
                    .arg(&fresh)
                    .arg("--pwfile")
                    .arg(&password.0)
                    .args([
                        "-U",
                        "supabase_admin",
                        "-A",
                        "scram-sha-256",
                        "-E",
                        "UTF8",
                        "--data-checksums",
                        "--no-instructions",
                    ])
                    .args(["--no-sync", "--lc-messages=C"])
                    .args(*locale)
                    .stdout(Stdio::null())
                    .stderr(Stdio::piped())
                    .process_group(0);
                let child = command.spawn().attempt(|| format!("run {}", binaries.bin.join("initdb").display()))?;
                let mut group = Group(child.id());
                let output = child.wait_with_output().await.attempt(|| "wait for initdb".into())?;
                group.0 = None;
                if output.status.success() {
                    return fs::rename(&fresh, &directory).attempt(|| format!("put {} in place", directory.display()));
                }
                said = String::from_utf8_lossy(&output.stderr)
                    .lines()
                    .rev()
                    .find(|line| !line.trim().is_empty())
                    .unwrap_or("")
                    .to_owned();
            }
            Err(Error::Postgres(format!("initdb failed: {said}")))
        }
        .await;
        drop(password);
        outcome.map(|()| true)
    }

    /// Removes what an initdb left that was interrupted, by a stop or by the end of the machine: the file with the password, and half a
    /// cluster. Only whoever holds the lock of the data directory may call this.
    ///
    /// # Errors
    /// When something can not be removed.
    pub async fn remove_unfinished(place: &Place) -> Result<()> {
        place.remove_passwords()?;
        remove_while_written(&place.unfinished()).await
    }

    /// Ends what a killed `hub dev` left running of this very directory: the postmaster, and backends that survived theirs (stopped,
    /// they notice nothing, and hold the memory that a new server asks for). Only whoever holds the lock of the data directory may
    /// call this.
    ///
    /// # Errors
    /// [`Error::Postgres`] if they do not end.
    pub async fn stop_leftover(place: &Place) -> Result<bool> {
        let directory = place.cluster();
        let Some(pid) = leftover(&directory) else {
            // A pid file whose process is another program by now (the machine restarted) would keep Postgres from starting.
            if noted_pid(&directory).is_some_and(|pid| kill(pid, None) != Err(Errno::ESRCH)) {
                files::remove(&directory.join("postmaster.pid"))?;
            }
            return end_orphans(&directory).await;
        };
        for (signal, patience) in [(Signal::SIGINT, FAST * 2), (Signal::SIGQUIT, QUIT * 4)] {
            // It may have ended in between. It waits for its backends, and none that is stopped ends.
            let _ = kill(pid, signal);
            let _ = kill(pid, Signal::SIGCONT);
            for backend in processes_of(&directory) {
                let _ = kill(backend, Signal::SIGCONT);
            }
            if until(patience, || leftover(&directory).is_none()).await {
                end_orphans(&directory).await?;
                return Ok(true);
            }
        }
        Err(do_not_end(&[pid]))
    }

    /// Starts the server; [`Cluster::ready`] waits for it.
    ///
    /// # Errors
    /// [`Error::PortInUse`]; or when the program can not be started.
    pub fn spawn(place: &Place, binaries: &Binaries, options: &ClusterOptions) -> Result<Self> {
        if TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).is_err() {
            return Err(Error::PortInUse { port: options.port, what: "Postgres", option: "--db-port" });
        }
        let directory = place.cluster();
        if fs::metadata(&options.log).is_ok_and(|meta| meta.len() > LOG_KEPT) {
            let _ = fs::rename(&options.log, options.log.with_extension("log.1"));
        }
        let log = fs::OpenOptions::new()
            .mode(0o600)
            .create(true)
            .append(true)
            .open(&options.log)
            .attempt(|| format!("open {}", options.log.display()))?;
        let log_from = log.metadata().map(|meta| meta.len()).unwrap_or(0);
        let second = log.try_clone().attempt(|| format!("open {}", options.log.display()))?;

        let mut command = program(&binaries.bin.join("postgres"), place);
        command.arg("-D").arg(&directory);
        for (name, value) in [
            ("listen_addresses", "127.0.0.1"),
            ("port", options.port.to_string().as_str()),
            // No socket: its path has a length limit that a data directory may exceed.
            ("unix_socket_directories", ""),
            ("wal_level", "logical"),
            ("max_wal_senders", "10"),
            ("max_replication_slots", "10"),
            ("max_connections", "100"),
            ("shared_buffers", "64MB"),
            ("max_wal_size", "512MB"),
            ("fsync", "on"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
            ("log_destination", "stderr"),
            ("logging_collector", "off"),
            ("log_line_prefix", "%m [%p] %q%u@%d "),
            // What a statement or a detail says may be private (a message, a password): the log has the error alone.
            ("log_min_error_statement", "panic"),
            ("log_error_verbosity", "terse"),
            ("password_encryption", "scram-sha-256"),
            ("shared_preload_libraries", if options.statistics { STATISTICS } else { "" }),
        ] {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(second)
            // Ctrl-C in a terminal goes to our whole process group; Postgres is to end after what uses it.
            .process_group(0);
        let child = command.spawn().attempt(|| format!("run {}", binaries.bin.join("postgres").display()))?;
        Ok(Self { child, directory, options: options.clone(), log_from })
    }

    /// Waits until it takes connections.
    ///
    /// # Errors
    /// [`Error::Postgres`] with the end of its log when it ends or takes too long.
    pub async fn ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY;
        let pid = self.child.id();
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.explain(status));
            }
            // Postgres itself says so in the eighth line of its pid file; a connection would have to guess.
            let said = fs::read_to_string(self.directory.join("postmaster.pid")).unwrap_or_default();
            let mut lines = said.lines();
            let ours = lines.next().and_then(|line| line.trim().parse().ok()) == pid;
            if ours && lines.nth(6).is_some_and(|line| line.trim() == "ready") {
                return Ok(());
            }
            time::sleep(Duration::from_millis(15)).await;
        }
        Err(Error::Postgres(format!("it is not ready after {} s; see {}", READY.as_secs(), self.options.log.display())))
    }

    /// Waits until it ends by itself, which it should not; says why.
    pub async fn ended(&mut self) -> Error {
        match self.child.wait().await {
            Ok(status) => self.explain(status),
            Err(error) => Error::Postgres(error.to_string()),
        }
    }

    /// Starts it and waits until it takes connections. After a kill, backends of the predecessor hold its memory for a moment.
    ///
    /// # Errors
    /// As [`Cluster::spawn`] and [`Cluster::ready`].
    pub async fn start(
        slot: &mut Option<Self>,
        place: &Place,
        binaries: &Binaries,
        options: &ClusterOptions,
    ) -> Result<()> {
        let deadline = Instant::now() + PREDECESSOR;
        let mut options = options.clone();
        loop {
            let cluster = slot.insert(Self::spawn(place, binaries, &options)?);
            match cluster.ready().await {
                // Each build lacks it in its own way: no file, no symbol.
                Err(Error::Postgres(said)) if options.statistics && said.contains(STATISTICS) => {
                    options.statistics = false;
                }
                Err(Error::Postgres(said))
                    if said.contains("pre-existing shared memory") && Instant::now() < deadline =>
                {
                    time::sleep(Duration::from_millis(200)).await;
                }
                other => return other,
            }
        }
    }

    /// Starts it again after it ended by itself, with time for the backends of its predecessor to go.
    ///
    /// # Errors
    /// As [`Cluster::spawn`] and [`Cluster::ready`], when it keeps failing.
    pub async fn restart(&mut self, place: &Place, binaries: &Binaries) -> Result<()> {
        end_orphans(&self.directory).await?;
        let deadline = Instant::now() + PREDECESSOR;
        loop {
            let outcome = match Self::spawn(place, binaries, &self.options) {
                Ok(next) => {
                    *self = next;
                    self.ready().await
                }
                Err(error) => Err(error),
            };
            match outcome {
                Err(_) if Instant::now() < deadline => time::sleep(Duration::from_millis(200)).await,
                other => return other,
            }
        }
    }

    /// Fast shutdown, then an immediate one.
    pub async fn stop(&mut self) {
        for (signal, patience) in [(Signal::SIGINT, FAST), (Signal::SIGQUIT, QUIT)] {
            if !self.signal(signal) {
                break;
            }
            if time::timeout(patience, self.child.wait()).await.is_ok() {
                return;
            }
        }
        // Crash recovery at the next start is the price; 5 s is the promise.
        let _ = self.child.kill().await;
        for backend in processes_of(&self.directory) {
            let _ = kill(backend, Signal::SIGKILL);
        }
    }

    /// The process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    fn signal(&self, signal: Signal) -> bool {
        let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()) else { return false };
        kill(Pid::from_raw(pid), signal).is_ok()
    }

    fn explain(&self, status: ExitStatus) -> Error {
        let said = log_since(&self.options.log, self.log_from);
        if said.contains("could not bind") || said.contains("Address already in use") {
            return Error::PortInUse { port: self.options.port, what: "Postgres", option: "--db-port" };
        }
        let reason =
            said.lines().rev().find(|line| line.contains("FATAL") || line.contains("PANIC")).map(str::to_owned);
        let damaged = ["could not locate a valid checkpoint", "invalid data in file", "invalid checkpoint record"];
        if reason.as_deref().is_some_and(|line| damaged.iter().any(|mark| line.contains(mark))) {
            return Error::BrokenData {
                path: self.options.data_dir.clone(),
                why: "Postgres finds its files damaged".into(),
            };
        }
        let reason = reason.unwrap_or_else(|| format!("it ended with {status}"));
        let held = if reason.contains("pre-existing shared memory") {
            " (processes of an earlier run hold it: `ps -ax | grep postgres:` shows them, `kill -9` ends them)"
        } else {
            ""
        };
        Error::Postgres(format!("{reason}{held}; see {}", self.options.log.display()))
    }
}

impl Drop for Cluster {
    /// Only a path that did not reach [`Cluster::stop`] (a panic) comes here with a live server.
    fn drop(&mut self) {
        self.signal(Signal::SIGQUIT);
    }
}

impl Passwords<'_> {
    /// Gives those of the roles that are there their passwords, as the superuser. In a new cluster there are none; in one of before,
    /// `postgres` may have the password that everybody knows, so this comes before all else.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn set(&self, port: u16) -> Result<()> {
        let mut connection: PgConnection = self.admin_options(port).connect().await?;
        let there: Vec<String> =
            sqlx::query_scalar("select rolname::text from pg_roles").fetch_all(&mut connection).await?;
        for (role, password) in [
            ("postgres", self.postgres.expose_secret()),
            ("authenticator", self.authenticator.expose_secret()),
            ("supabase_auth_admin", self.auth.expose_secret()),
            ("hub_realtime", self.realtime.expose_secret()),
        ] {
            if !there.iter().any(|name| name == role) {
                continue;
            }
            // ALTER ROLE takes no parameters; quote_literal would make two round trips of this. Ours are letters and digits.
            let quoted = password.replace('\'', "''");
            sqlx::raw_sql(AssertSqlSafe(format!("alter role {role} password '{quoted}'")))
                .execute(&mut connection)
                .await?;
        }
        connection.close().await?;
        Ok(())
    }

    fn admin_options(&self, port: u16) -> PgConnectOptions {
        // Or the passwords would stand among the statements that it counted, for `postgres` to read.
        connect_options(port, "supabase_admin", self.admin).options([("pg_stat_statements.track_utility", "off")])
    }
}

/// The file in which initdb reads the superuser's password. It does not outlive this, whatever ends the start.
struct PasswordFile(PathBuf);

impl PasswordFile {
    fn write(place: &Place, password: &SecretString) -> Result<Self> {
        let file = Self(place.new_password());
        files::write_private(&file.0, password.expose_secret())?;
        place.hand_over(&file.0)?;
        Ok(file)
    }
}

impl Drop for PasswordFile {
    fn drop(&mut self) {
        if let Err(error) = files::remove(&self.0) {
            // The next start tries again.
            tracing::error!(error = %error, "the password file of initdb stays");
        }
    }
}

/// A program and the programs it started: killed together when nobody waits for them any more.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0.and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

/// Of an initdb that was interrupted a moment ago, the last writes may still come.
async fn remove_while_written(path: &Path) -> Result<()> {
    for _ in 0..40 {
        if files::remove(path).is_ok() {
            return Ok(());
        }
        time::sleep(Duration::from_millis(50)).await;
    }
    files::remove(path)
}

/// How to connect to a cluster of ours as a role. Statements are not logged: they may hold what is private.
#[must_use]
pub fn connect_options(port: u16, role: &str, password: &SecretString) -> PgConnectOptions {
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username(role)
        .password(password.expose_secret())
        .database("postgres")
        .ssl_mode(sqlx::postgres::PgSslMode::Disable)
        // Whatever the database or the role has as its default: REST's transactions are of many exchanges, and people's rights are
        // policies.
        .options([
            ("default_transaction_isolation", "read committed"),
            ("row_security", "on"),
            ("standard_conforming_strings", "on"),
            ("idle_in_transaction_session_timeout", "60s"),
        ])
        .disable_statement_logging();
    // `postgres` makes functions and types in public and pg_temp. A name that a superuser looked up there would run as a superuser.
    if role == "supabase_admin" { options.options([("search_path", "pg_catalog, pg_temp")]) } else { options }
}

/// What a program of Postgres needs of our environment. All else would be read by whoever may run a program in there (COPY FROM
/// PROGRAM, an extension): the hub's secrets, and a person's own.
const PASSED_ON: [&str; 10] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "LOCALE_ARCHIVE",
    "TZDIR",
];

/// A program of Postgres as the place's owner, with only what it needs of our environment.
fn program(path: &Path, place: &Place) -> Command {
    let mut command = std::process::Command::new(path);
    command.env_clear().envs(PASSED_ON.iter().filter_map(|name| Some((name, env::var_os(name)?))));
    command.env("LANG", "C").current_dir("/");
    if let Some(owner) = &place.owner {
        // With a uid, std also drops root's supplementary groups.
        command.uid(owner.uid).gid(owner.gid).env("HOME", &place.dir).env("USER", &owner.name);
    }
    command.stdin(Stdio::null());
    command.into()
}

/// `PG_VERSION` of a cluster.
fn major_of(directory: &Path) -> Option<u32> {
    let whole = directory.join("global/pg_control").is_file() && directory.join("base").is_dir();
    let said = fs::read_to_string(directory.join("PG_VERSION")).ok()?;
    said.trim().parse().ok().filter(|_| whole)
}

impl Place {
    /// The major version of the cluster that is there.
    #[must_use]
    pub fn cluster_major(&self) -> Option<u32> {
        major_of(&self.cluster())
    }
}

/// The live postmaster of a directory, by its pid file, if that process is what the file says. A pid is used again by others.
fn leftover(directory: &Path) -> Option<Pid> {
    let pid = noted_pid(directory)?;
    if kill(pid, None) == Err(Errno::ESRCH) {
        return None;
    }
    let command = match fs::read(format!("/proc/{pid}/cmdline")) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).replace('\0', " "),
        Err(_) => {
            let said =
                std::process::Command::new("ps").args(["-o", "command=", "-p", &pid.to_string()]).output().ok()?;
            String::from_utf8_lossy(&said.stdout).into_owned()
        }
    };
    (command.contains("postgres") && command.contains(directory.to_str()?)).then_some(pid)
}

/// The processes of Postgres that work in a directory: each of them stays in the one of its cluster. Where the system has no `/proc`, none
/// are found, and Postgres itself says that some hold its memory.
fn processes_of(directory: &Path) -> Vec<Pid> {
    let (Ok(entries), Ok(directory)) = (fs::read_dir("/proc"), fs::canonicalize(directory)) else {
        return Vec::new();
    };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let ours = |pid: &i32| {
        let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).ok();
        link("cwd").is_some_and(|cwd| cwd == directory)
            && link("exe").is_some_and(|exe| {
                // Of a program that was replaced since it started, the system says " (deleted)".
                exe.file_name().is_some_and(|name| name.to_string_lossy().starts_with("postgres"))
            })
    };
    pids.filter(ours).map(Pid::from_raw).collect()
}

/// Ends the backends of a postmaster that is no more. Nothing is lost by it: what they had not committed is undone at the next start.
/// `true` if there were any.
async fn end_orphans(directory: &Path) -> Result<bool> {
    let orphans = processes_of(directory);
    if orphans.is_empty() {
        return Ok(false);
    }
    for (signal, patience) in [(Signal::SIGQUIT, QUIT), (Signal::SIGKILL, QUIT * 4)] {
        for orphan in processes_of(directory) {
            // It may have ended in between.
            let _ = kill(orphan, signal);
            let _ = kill(orphan, Signal::SIGCONT);
        }
        if until(patience, || processes_of(directory).is_empty()).await {
            return Ok(true);
        }
    }
    Err(do_not_end(&processes_of(directory)))
}

/// No event tells of the end of a process that is no child of ours: it is looked for, until it is gone or this time is over.
async fn until(patience: Duration, gone: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if gone() {
            return true;
        }
        time::sleep(Duration::from_millis(25)).await;
    }
    false
}

fn do_not_end(pids: &[Pid]) -> Error {
    let pids = pids.iter().map(Pid::to_string).collect::<Vec<_>>().join(" ");
    Error::Postgres(format!("processes of an earlier `hub dev` do not end. End them by hand: kill -9 {pids}"))
}

fn noted_pid(directory: &Path) -> Option<Pid> {
    let said = fs::read_to_string(directory.join("postmaster.pid")).ok()?;
    said.lines().next()?.trim().parse().ok().filter(|pid| *pid > 1).map(Pid::from_raw)
}

fn log_since(path: &Path, from: u64) -> String {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(from))?;
        file.take(256 * 1024).read_to_end(&mut bytes)
    });
    read.map(|_| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
