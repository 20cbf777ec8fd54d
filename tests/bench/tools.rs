//! What the benches share: databases made from the template, pgbench and what it says, medians.

use anyhow::{Context, Result, bail, ensure};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// What a ratio of ours to the peer's is meant to be.
#[derive(Debug, Clone, Copy)]
pub enum Aim {
    AtLeast(f64),
    AtMost(f64),
}

impl Aim {
    pub fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(aim) => ratio >= aim,
            Self::AtMost(aim) => ratio <= aim,
        }
    }
}

/// One line of the table.
#[derive(Debug)]
pub struct Figure {
    pub name: String,
    pub unit: &'static str,
    pub ours: f64,
    pub peer: f64,
    /// Of ours to the peer's.
    pub ratio: f64,
    pub aim: Option<Aim>,
}

impl Figure {
    /// Of rounds that ran in pairs: the ratio is the median of the pairs', so that a neighbour on the machine who comes and goes
    /// weighs on both sides alike.
    pub fn of_rounds(
        name: impl Into<String>,
        unit: &'static str,
        ours: &[f64],
        peer: &[f64],
        aim: Option<Aim>,
    ) -> Self {
        let ratios: Vec<f64> = ours.iter().zip(peer).map(|(ours, peer)| ours / peer).collect();
        Self { name: name.into(), unit, ours: median(ours), peer: median(peer), ratio: median(&ratios), aim }
    }

    /// Of samples taken in turn: the ratio of a quantile.
    pub fn of_samples(
        name: impl Into<String>,
        unit: &'static str,
        ours: &[f64],
        peer: &[f64],
        share: f64,
        aim: Option<Aim>,
    ) -> Self {
        let (ours, peer) = (quantile(ours, share), quantile(peer, share));
        Self { name: name.into(), unit, ours, peer, ratio: ours / peer, aim }
    }

    pub fn json(&self) -> Value {
        json!({
            "bench": self.name, "unit": self.unit, "ours": self.ours, "peer": self.peer, "ratio": self.ratio,
            "aim": self.aim.map(|aim| aim.to_string()), "met": self.aim.map(|aim| aim.is_met(self.ratio)),
        })
    }
}

/// The value below which a share of the samples lies (0.5: the median).
pub fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    if sorted.is_empty() {
        return f64::NAN;
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let place = ((sorted.len() - 1) as f64 * share).round() as usize;
    sorted[place]
}

pub fn median(samples: &[f64]) -> f64 {
    quantile(samples, 0.5)
}

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub enum Amount {
    /// As many transactions as there are in this time.
    Seconds(u32),
    /// So many transactions each client.
    Each(u64),
}

/// What pgbench measured.
#[derive(Debug)]
pub struct Outcome {
    pub transactions: u64,
    pub tps: f64,
    /// Milliseconds of each transaction.
    pub latencies: Vec<f64>,
    /// Milliseconds of each statement on average, in the order of the script.
    pub statements: Vec<f64>,
}

/// The run: where Postgres is, how long and how large.
pub struct Bench {
    pub seconds: u32,
    pub scale: f64,
    pub rounds: u32,
    pub port: u16,
    pub hub: PathBuf,
    /// Where the programs are that Deno runs.
    pub repository: PathBuf,
    bin: PathBuf,
    sql: PathBuf,
}

/// A database of a bench, made from the template; dropped by [`Bench::drop_database`].
#[derive(Debug)]
pub struct Database {
    pub name: String,
    pub port: u16,
}

fn wanted(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set: start this by tests/bench/run"))
}

impl Bench {
    pub fn new(seconds: u32, scale: f64, rounds: u32) -> Result<Self> {
        Ok(Self {
            seconds,
            scale,
            rounds,
            port: wanted("HUB_BENCH_PORT")?.parse().context("HUB_BENCH_PORT")?,
            hub: wanted("HUB_BENCH_HUB")?.into(),
            repository: wanted("HUB_BENCH_REPOSITORY")?.into(),
            bin: wanted("HUB_BENCH_POSTGRES_BIN")?.into(),
            sql: wanted("HUB_BENCH_SQL")?.into(),
        })
    }

    /// The program `deno`, for the benches that need it.
    pub fn deno(&self) -> Result<PathBuf> {
        Ok(wanted("HUB_BENCH_DENO")?.into())
    }

    /// The program that works off jobs by the crate `graphile_worker`, for `drain`.
    pub fn graphile(&self) -> Result<PathBuf> {
        Ok(wanted("HUB_BENCH_GRAPHILE")?.into())
    }

    /// What is measured on what.
    pub async fn about(&self) -> Result<String> {
        let mut connection = self.database("postgres").superuser().await?;
        let version: String = sqlx::query_scalar("show server_version").fetch_one(&mut connection).await?;
        let date: String = sqlx::query_scalar("select current_date::text").fetch_one(&mut connection).await?;
        let cpus = std::thread::available_parallelism()?;
        Ok(format!(
            "{date}, {cpus} CPUs, PostgreSQL {version}, scale {}, {} rounds of {} s",
            self.scale, self.rounds, self.seconds
        ))
    }

    /// So many, shrunk by the scale, but never below what the bench needs.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    pub fn scaled(&self, full: u64, least: u64) -> u64 {
        ((full as f64 * self.scale) as u64).max(least)
    }

    fn database(&self, name: &str) -> Database {
        Database { name: name.into(), port: self.port }
    }

    /// A new database with the hub in it.
    pub async fn fresh(&self, name: &str) -> Result<Database> {
        let database = self.database(&format!("bench_{name}"));
        let mut connection = self.database("postgres").superuser().await?;
        run(&mut connection, &format!("drop database if exists {} with (force)", database.name)).await?;
        run(&mut connection, &format!("create database {} template hub_base", database.name)).await?;
        Ok(database)
    }

    pub async fn drop_database(&self, database: &Database) -> Result<()> {
        let mut connection = self.database("postgres").superuser().await?;
        run(&mut connection, &format!("drop database {} with (force)", database.name)).await
    }

    /// Runs a file of sql/, statement by statement, as superuser; `{name}` in it stands for the value given.
    pub async fn script(&self, database: &Database, file: &str, values: &[(&str, u64)]) -> Result<()> {
        let mut text = std::fs::read_to_string(self.sql.join(file)).with_context(|| file.to_owned())?;
        for (name, value) in values {
            text = text.replace(&format!("{{{name}}}"), &value.to_string());
        }
        let mut psql = Command::new("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        psql.args(["-U", "supabase_admin", "-d", &database.name, "-c"]).kill_on_drop(true);
        // One -c a statement: several in one would be a transaction, in which VACUUM has no place.
        let statements = split(&text);
        let mut arguments = statements.into_iter();
        psql.arg(arguments.next().with_context(|| format!("{file} is empty"))?);
        for statement in arguments {
            psql.arg("-c").arg(statement);
        }
        let output = psql.output().await.context("psql")?;
        ensure!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    /// Runs a script of sql/ by pgbench, with prepared statements.
    pub async fn pgbench(
        &self,
        url: &SecretString,
        file: &str,
        clients: u32,
        amount: Amount,
        values: &[(&str, &str)],
    ) -> Result<Outcome> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(self.bin.join("pgbench"));
        command.args([
            "-n",
            "-r",
            "-l",
            "-M",
            "prepared",
            "-c",
            &clients.to_string(),
            "-j",
            &clients.min(2).to_string(),
        ]);
        match amount {
            Amount::Seconds(seconds) => command.args(["-T", &seconds.to_string()]),
            Amount::Each(transactions) => command.args(["-t", &transactions.to_string()]),
        };
        for (name, value) in values {
            command.args(["-D", &format!("{name}={value}")]);
        }
        command
            .arg("-f")
            .arg(self.sql.join(file))
            .arg(url.expose_secret())
            .current_dir(folder.path())
            .kill_on_drop(true);
        let output = command.output().await.context("pgbench")?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "pgbench {file}: {}", String::from_utf8_lossy(&output.stderr).trim());
        let outcome = Outcome {
            transactions: after(&said, "number of transactions actually processed: ")?
                .split('/')
                .next()
                .and_then(|n| n.trim().parse().ok())
                .with_context(|| format!("pgbench {file}: no number of transactions"))?,
            tps: after(&said, "tps = ")?.split(' ').next().and_then(|n| n.parse().ok()).context("pgbench: no tps")?,
            latencies: latencies(folder.path())?,
            statements: said
                .lines()
                .skip_while(|line| !line.starts_with("statement latencies"))
                .skip(1)
                .filter_map(|line| line.split_whitespace().next()?.parse().ok())
                .collect(),
        };
        ensure!(outcome.transactions > 0, "pgbench {file} did no work");
        if let Ok(failed) = after(&said, "number of failed transactions: ") {
            ensure!(failed.starts_with("0 "), "pgbench {file}: {failed} transactions failed");
        }
        Ok(outcome)
    }
}

/// At the end of a line of one statement stands ";"; a line of comment says nothing to Postgres.
fn split(text: &str) -> Vec<String> {
    let mut statements = vec![String::new()];
    for line in text.lines().filter(|line| !line.starts_with("--")) {
        if let Some(last) = statements.last_mut() {
            last.push_str(line);
            last.push('\n');
        }
        if line.ends_with(';') {
            statements.push(String::new());
        }
    }
    statements.retain(|statement| !statement.trim().is_empty());
    statements
}

fn after<'a>(said: &'a str, label: &str) -> Result<&'a str> {
    said.lines().find_map(|line| line.strip_prefix(label)).with_context(|| format!("pgbench does not say \"{label}\""))
}

/// The third column of pgbench's log of transactions, in microseconds.
fn latencies(folder: &Path) -> Result<Vec<f64>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        for line in std::fs::read_to_string(entry?.path())?.lines() {
            if let Some(micros) = line.split(' ').nth(2).and_then(|n| n.parse::<f64>().ok()) {
                all.push(micros / 1000.0);
            }
        }
    }
    if all.is_empty() {
        bail!("pgbench logged no transaction");
    }
    Ok(all)
}

impl Database {
    pub async fn superuser(&self) -> Result<PgConnection> {
        self.connect("supabase_admin").await
    }

    pub async fn connect(&self, user: &str) -> Result<PgConnection> {
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username(user)
            .database(&self.name);
        Ok(PgConnection::connect_with(&options).await?)
    }

    pub fn url(&self) -> SecretString {
        format!("postgres://postgres@127.0.0.1:{}/{}", self.port, self.name).into()
    }

    /// As if the disk took no time: a commit is answered before it is on disk.
    pub fn url_without_disk(&self) -> SecretString {
        with_options(&self.url(), "-c synchronous_commit=off")
    }

    /// One number.
    pub async fn count(&self, sql: &str) -> Result<i64> {
        let mut connection = self.superuser().await?;
        Ok(sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await?)
    }
}

/// With what each session is to begin, written as for the program `postgres`: `-c name=value`.
pub fn with_options(url: &SecretString, options: &str) -> SecretString {
    let mut url = format!("{}?options=", url.expose_secret());
    for byte in options.bytes() {
        if byte.is_ascii_alphanumeric() {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url.into()
}

pub async fn run(connection: &mut PgConnection, sql: &str) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await?;
    Ok(())
}

#[allow(clippy::cast_precision_loss)]
pub fn millis(since: std::time::Instant) -> f64 {
    since.elapsed().as_nanos() as f64 / 1e6
}
