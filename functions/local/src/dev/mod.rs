//! `hub dev`: everything a hub needs, on one machine, from one command.

mod data_dir;
mod env_file;
mod people;
mod projects;
mod ready;
mod refill;
mod worker;

pub use ready::Ready;

use crate::{
    auth::{Auth, AuthOptions},
    bounds::Turns,
    error::{Error, Result},
    gateway::{self, Gateway},
    keys::{Keys, Secrets},
    postgres::{self, Binaries, Cluster, ClusterOptions, MAJORS, Passwords, Place, connect_options},
    realtime::Realtime,
    rest::Rest,
};
use data_dir::DataDir;
use hub::db::Db;
use hub_api::Api;
use hub_worker::AgentConfig;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{ConnectOptions, Connection};
use std::{
    fs,
    future::Future,
    net::{Ipv4Addr, TcpListener as StdListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, task::JoinHandle, time};
use tokio_util::sync::CancellationToken;
use worker::Worker;

/// What the device of a local stack is called.
pub const DEVICE: &str = "dev";

/// For the worker and running requests, each. The promise is five seconds for everything; Postgres needs the rest of them.
const DRAIN: Duration = Duration::from_millis(2200);
/// Partitions are made three days ahead.
const PARTITIONS_EVERY: Duration = Duration::from_secs(6 * 3600);

/// How `hub dev` is started.
#[derive(Clone, Debug)]
pub struct DevOptions {
    /// Port of the gateway on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Port of Postgres on 127.0.0.1; 0 takes a free one.
    pub db_port: u16,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Starts anew: removes what an earlier run made, but for projects and fetched programs.
    pub reset: bool,
    /// Runs a worker and the keeper in this process; the device exists either way.
    pub worker: bool,
    /// What the device offers.
    pub agents: Vec<AgentConfig>,
    /// Where the folders of the channels are; inside the data directory unless given.
    pub projects_root: Option<PathBuf>,
    /// What sign-in leaves open to strangers.
    pub auth: AuthOptions,
}

impl Default for DevOptions {
    fn default() -> Self {
        Self {
            port: 54321,
            db_port: 54322,
            data_dir: PathBuf::from(".hub"),
            reset: false,
            worker: true,
            agents: vec![AgentConfig::survey()],
            projects_root: None,
            auth: AuthOptions::default(),
        }
    }
}

/// What `hub dev` tells while it runs.
#[derive(Clone, Debug)]
pub enum DevEvent {
    /// Something began.
    Step(String),
    /// The step goes on, or a part of it is done.
    Progress(String),
    /// Something is not as it should be, and it goes on.
    Warning(String),
    /// All is ready, and `dev.env` is written.
    Ready(Box<Ready>),
    /// It was told to end and ends.
    Stopping,
}

/// Runs the stack until `shutdown`, then stops all it started, within five seconds.
///
/// # Errors
/// [`Error`], each a sentence that says what to do.
pub async fn run(options: DevOptions, shutdown: CancellationToken, out: impl Fn(DevEvent) + Send + Sync) -> Result<()> {
    let mut stack = Stack::default();
    let outcome = tokio::select! {
        outcome = stack.live(&options, &out) => outcome,
        () = shutdown.cancelled() => {
            out(DevEvent::Stopping);
            Ok(())
        }
    };
    stack.stop().await;
    outcome
}

/// What runs. It is filled while starting, so that whatever was reached is stopped.
#[derive(Default)]
struct Stack {
    stop: CancellationToken,
    cluster: Option<Cluster>,
    rest: Option<Rest>,
    auth: Option<Auth>,
    realtime: Option<Realtime>,
    gateway: Option<JoinHandle<()>>,
    worker: Option<Worker>,
    /// Where the cluster is or is being made.
    place: Option<Place>,
    /// The directory stays ours until all has ended.
    data_dir: Option<DataDir>,
}

/// The database of a stack, once it runs.
struct Database {
    place: Place,
    binaries: Binaries,
    options: ClusterOptions,
    secrets: Secrets,
}

impl Database {
    fn url(&self, role: &str, password: &str) -> SecretString {
        // Ours are letters and digits: nothing to escape.
        format!("postgres://{role}:{password}@127.0.0.1:{}/postgres", self.options.port).into()
    }

    /// As the role that migrates. Not with the password that every local Supabase has: through it every program of this machine could start
    /// others as Postgres' user.
    fn owner_url(&self) -> SecretString {
        self.url("postgres", self.secrets.postgres_password.expose_secret())
    }

    fn admin_url(&self) -> SecretString {
        self.url("supabase_admin", self.secrets.admin_password.expose_secret())
    }
}

type Out<'a> = &'a (dyn Fn(DevEvent) + Send + Sync);

impl Stack {
    /// Starts everything, says so, and watches over it; returns only with an error.
    async fn live(&mut self, options: &DevOptions, out: Out<'_>) -> Result<()> {
        let began = Instant::now();
        check(options)?;
        out(DevEvent::Step(format!("hub dev in {}", options.data_dir.display())));
        if let Some(warning) = hub_api::open_files::raise() {
            out(DevEvent::Warning(warning));
        }
        let data_dir = DataDir::take(&options.data_dir)?;
        let dir = data_dir.path().to_path_buf();
        let listener = gateway::bind(options.port).await?;
        self.data_dir = Some(data_dir);

        let database = self.start_postgres(options, &dir, out).await?;
        step(
            out,
            "bringing the schema up to date",
            prepare(&database, &|line| out(DevEvent::Progress(line.to_owned()))),
        )
        .await?;

        let api_url = format!("http://127.0.0.1:{}", gateway::address(&listener)?.port());
        let keys = Keys::new(&database.secrets.jwt_secret, format!("{api_url}/auth/v1"));
        let projects_root = match &options.projects_root {
            Some(root) => std::path::absolute(root).unwrap_or_else(|_| root.clone()),
            None => dir.join("projects"),
        };
        let serving = self.serve(options, &database, &keys, listener, &projects_root);
        let people = step(out, "starting REST, sign-in, Realtime and the gateway", serving).await?;
        if options.worker {
            let url = database.owner_url();
            let state = dir.join("worker");
            let starting = Worker::start(&url, options.agents.clone(), &projects_root, &state, &self.stop);
            self.worker = Some(step(out, "starting the worker", starting).await?);
        }

        let emptied = refill::Emptied::follow(&database).await?;

        let file = dir.join("dev.env");
        env_file::write(&file, &api_url, &keys, &database, &people)?;
        out(DevEvent::Ready(Box::new(Ready {
            api_url,
            database_url: format!("postgres://postgres@127.0.0.1:{}/postgres", database.options.port),
            env_file: shown(&file),
            projects_root: shown(&projects_root),
            data_dir: (options.data_dir != DevOptions::default().data_dir).then(|| options.data_dir.clone()),
            device: options.worker.then(|| DEVICE.to_owned()),
            agents: options.agents.iter().map(|config| config.agent.clone()).collect(),
            program: ready::program(),
            postgres_major: database.binaries.major,
            took: began.elapsed(),
        })));
        let with_sample = options.projects_root.is_none();
        let refill =
            refill::Refill { database: &database, people, agents: &options.agents, projects_root, with_sample };
        self.watch(&database, &refill, emptied, out).await
    }

    async fn start_postgres(&mut self, options: &DevOptions, dir: &Path, out: Out<'_>) -> Result<Database> {
        let place = if options.reset {
            step(out, "removing what was there", async {
                Cluster::stop_leftover(&Place::resolve(dir)?).await?;
                data_dir::reset(dir)
            })
            .await?;
            Place::resolve(dir)?
        } else {
            Place::resolve(dir)?
        };
        self.place = Some(place.clone());
        // Whoever waits for the file must not find that of an earlier run.
        crate::files::remove(&dir.join("dev.env"))?;

        if place.cluster().is_dir() && Cluster::stop_leftover(&place).await? {
            out(DevEvent::Warning("a Postgres of an earlier run was still there; it is stopped".into()));
        }
        Cluster::remove_unfinished(&place).await?;
        let kept = dir.join("secrets.json");
        let broken = |why: &str| Error::BrokenData { path: dir.to_path_buf(), why: why.into() };
        let wanted = match (place.cluster().exists(), place.cluster_major()) {
            (true, None) => return Err(broken("its Postgres files are incomplete")),
            (true, Some(major)) if !MAJORS.contains(&major) => {
                return Err(broken(&format!("it was made by Postgres {major}, which is not supported")));
            }
            (_, major) => major,
        };
        let secrets = match (Secrets::load(&kept)?, wanted) {
            (Some(secrets), _) => secrets,
            (None, Some(_)) => return Err(broken("secrets.json is missing")),
            (None, None) => {
                let secrets = Secrets::random();
                secrets.store(&kept)?;
                secrets
            }
        };
        let binaries = match postgres::find(&place.cache(), wanted)? {
            Some(found) => found,
            None => {
                out(DevEvent::Step("fetching a Postgres, since there is none on this machine".into()));
                let say = |line: &str| out(DevEvent::Progress(line.to_owned()));
                postgres::fetch(&place.cache(), wanted, &say).await?
            }
        };
        let cluster = ClusterOptions {
            data_dir: dir.to_path_buf(),
            port: if options.db_port == 0 { free_port()? } else { options.db_port },
            log: dir.join("postgres.log"),
            statistics: true,
        };
        if wanted.is_none() {
            let text = format!("making a database with Postgres {} ({})", binaries.major, binaries.bin.display());
            step(out, &text, Cluster::initialise(&place, &binaries, &cluster, &secrets.admin_password)).await?;
        }
        let text = format!("starting Postgres {} on port {}", binaries.major, cluster.port);
        step(out, &text, Cluster::start(&mut self.cluster, &place, &binaries, &cluster)).await?;
        Ok(Database { place, binaries, options: cluster, secrets })
    }

    async fn serve(
        &mut self,
        options: &DevOptions,
        database: &Database,
        keys: &Keys,
        listener: TcpListener,
        projects_root: &Path,
    ) -> Result<people::People> {
        let port = database.options.port;
        let (rest, auth, realtime) = tokio::try_join!(
            Rest::start(port, &database.secrets, self.stop.clone()),
            Auth::start(port, &database.secrets, keys.clone(), options.auth.clone()),
            Realtime::start(port, &database.secrets, keys.clone(), self.stop.clone()),
        )?;
        self.realtime = Some(realtime.clone());
        self.rest = Some(rest.clone());
        self.auth = Some(auth.clone());
        let db = Db::connect_as(&database.owner_url(), "hub functions")
            .await
            .map_err(|error| Error::Schema(error.to_string()))?;
        let functions = Api::new(db, keys.verifier(), hub_api::secrets(&hub::config::environment));
        let gateway = Gateway {
            keys: keys.clone(),
            rest,
            auth: auth.clone(),
            functions,
            realtime,
            bodies: Turns::of(16),
            running: Turns::of(6),
        };
        self.gateway = Some(tokio::spawn(gateway.serve(listener, self.stop.clone())));
        let people = people::prepare(&auth, database, &options.agents, None).await?;
        projects::prepare(database, projects_root, options.projects_root.is_none()).await?;
        Ok(people)
    }

    /// Starts Postgres again when it ends, keeps the partitions of today and the stack's people there, and tells when the worker ends.
    async fn watch(
        &mut self,
        database: &Database,
        refill: &refill::Refill<'_>,
        mut emptied: refill::Emptied<'_>,
        out: Out<'_>,
    ) -> Result<()> {
        let Self { cluster, worker, auth, .. } = self;
        let (Some(cluster), Some(auth)) = (cluster.as_mut(), auth.as_ref()) else { return Ok(()) };
        let mut partitions = time::interval(PARTITIONS_EVERY);
        partitions.tick().await;
        loop {
            tokio::select! {
                why = cluster.ended() => {
                    out(DevEvent::Warning(format!("{why}. Starting it again")));
                    let restarting = cluster.restart(&database.place, &database.binaries);
                    step(out, "starting Postgres again", restarting).await?;
                }
                _ = partitions.tick() => {
                    if let Err(error) = keep_partitions(database).await {
                        out(DevEvent::Warning(format!("the partitions of realtime.messages could not be made: {error}")));
                    }
                }
                () = emptied.next() => {
                    if let Err(error) = refill.run(auth).await
                        && !emptied.again()
                    {
                        out(DevEvent::Warning(format!("the database was emptied, and its people could not be made again: {error}")));
                    }
                }
                why = worker::ended(worker) => {
                    out(DevEvent::Warning(format!("{why}. The rest goes on; start again to have a worker")));
                }
            }
        }
    }

    /// Whoever takes work first, what it uses last.
    async fn stop(&mut self) {
        self.stop.cancel();
        let worker = self.worker.take();
        let gateway = self.gateway.take();
        tokio::join!(
            async {
                if let Some(worker) = worker {
                    worker.stop(DRAIN).await;
                }
            },
            async {
                if let Some(mut gateway) = gateway
                    && time::timeout(DRAIN, &mut gateway).await.is_err()
                {
                    gateway.abort();
                }
            }
        );
        // A pool waits for its connections to come back; Postgres' fast shutdown ends those that do not.
        let _ = time::timeout(Duration::from_millis(300), async {
            if let Some(rest) = self.rest.take() {
                rest.close().await;
            }
            if let Some(auth) = self.auth.take() {
                auth.close().await;
            }
            if let Some(realtime) = self.realtime.take() {
                realtime.close().await;
            }
        })
        .await;
        if let Some(mut cluster) = self.cluster.take() {
            cluster.stop().await;
        }
        // Of an initdb that this stop interrupted.
        if let Some(place) = self.place.take()
            && let Err(error) = Cluster::remove_unfinished(&place).await
        {
            tracing::error!(error = %error, "what initdb began stays; the next start removes it");
        }
        if let Some(data_dir) = self.data_dir.take() {
            let _ = crate::files::remove(&data_dir.path().join("dev.env"));
        }
    }
}

/// What can be seen to be wrong before anything is started or made.
fn check(options: &DevOptions) -> Result<()> {
    if options.port == options.db_port && options.port != 0 {
        let port = options.port;
        return Err(Error::Machine(format!(
            "--port and --db-port are both {port}: the gateway and Postgres each need a port of their own"
        )));
    }
    match &options.projects_root {
        Some(root) if !root.is_dir() => Err(Error::Machine(format!(
            "the projects root {} is not a folder: make it, or give another with --projects-root",
            root.display()
        ))),
        _ => Ok(()),
    }
}

/// Platform, passwords, migrations, demo data.
async fn prepare(database: &Database, say: &(dyn Fn(&str) + Send + Sync)) -> Result<()> {
    let failed = |error: hub::error::Error| {
        let text = error.to_string();
        Error::Schema(if text.contains("--reset") {
            text
        } else if error.is_transient() {
            format!("{text}\nNothing is lost: start it again when that is mended")
        } else {
            format!("{text}\n`hub dev --reset` deletes all that is in it and starts with a new database")
        })
    };
    let secrets = &database.secrets;
    let passwords = Passwords {
        admin: &secrets.admin_password,
        postgres: &secrets.postgres_password,
        authenticator: &secrets.authenticator_password,
        auth: &secrets.auth_password,
        realtime: &secrets.realtime_password,
    };
    passwords.set(database.options.port).await?;
    hub_migrate::platform(&database.admin_url(), &say).await.map_err(failed)?;
    // And those that it made.
    passwords.set(database.options.port).await?;
    hub_migrate::migrate(&database.owner_url(), &say).await.map_err(failed)?;
    hub_migrate::seed(&database.owner_url(), &say).await.map_err(failed)
}

async fn keep_partitions(database: &Database) -> Result<()> {
    let mut connection =
        connect_options(database.options.port, "supabase_admin", &database.secrets.admin_password).connect().await?;
    sqlx::query("select realtime.hub_keep_partitions()").execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// Tells that something begins and, each second, that it goes on.
async fn step<T>(out: Out<'_>, text: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    out(DevEvent::Step(text.to_owned()));
    let began = Instant::now();
    tokio::pin!(work);
    loop {
        tokio::select! {
            outcome = &mut work => return outcome,
            () = time::sleep(Duration::from_secs(1)) => {
                out(DevEvent::Progress(format!("still {text}: {} s", began.elapsed().as_secs())));
            }
        }
    }
}

fn free_port() -> Result<u16> {
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0));
    let port = listener.and_then(|listener| listener.local_addr()).map(|address| address.port());
    port.map_err(|source| Error::Io { what: "find a free port".into(), source })
}

/// Relative to where the person is, if it is below.
fn shown(path: &Path) -> PathBuf {
    let here = std::env::current_dir().and_then(fs::canonicalize).ok();
    here.and_then(|here| path.strip_prefix(here).map(Path::to_path_buf).ok()).unwrap_or_else(|| path.to_path_buf())
}
