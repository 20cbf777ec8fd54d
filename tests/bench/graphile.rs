//! A peer that users know: jobs that do nothing, worked off by the crate `graphile_worker` in a program of its own, which is no member of the
//! workspace (peers/graphile).

use crate::tools::{Bench, Database, run as execute};
use anyhow::{Context, Result, ensure};
use secrecy::{ExposeSecret, SecretString};
use std::process::Stdio;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Command,
};

/// How it claims and completes.
#[derive(Debug, Clone, Copy)]
pub enum How {
    /// One job at a time, and no local queue.
    Single,
    /// By a local queue; each job is completed alone.
    Queue,
    /// By a local queue, and completed many at once.
    Batches,
}

impl How {
    fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Queue => "queue",
            Self::Batches => "batches",
        }
    }
}

/// A database in which it may make its schema.
pub async fn database(bench: &Bench) -> Result<Database> {
    let database = bench.fresh("drain_graphile").await?;
    execute(&mut database.superuser().await?, &format!("grant create on database {} to postgres", database.name))
        .await?;
    Ok(database)
}

/// Jobs a second, from the first claim until none is left.
pub async fn drain(
    bench: &Bench,
    database: &Database,
    url: &SecretString,
    how: How,
    clients: u32,
    jobs: u64,
) -> Result<f64> {
    let mut child = Command::new(bench.graphile()?)
        .args([url.expose_secret(), how.name(), &clients.to_string(), &jobs.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("graphile-peer")?;
    let mut said = BufReader::new(child.stdout.take().context("graphile-peer: no output")?).lines();
    let ready = said.next_line().await?;
    ensure!(ready.as_deref() == Some("ready"), "graphile-peer does not begin: {ready:?}");
    let mut connection = database.superuser().await?;
    execute(&mut connection, "vacuum analyze graphile_worker._private_jobs").await?;
    execute(&mut connection, "checkpoint").await?;

    child.stdin.take().context("graphile-peer: no input")?.write_all(b"go\n").await?;
    let rate = said.next_line().await?.context("graphile-peer says nothing")?.parse().context("graphile-peer")?;
    let status = child.wait().await?;
    ensure!(status.success(), "graphile-peer ended with {status}");
    let left = database.count("select count(*) from graphile_worker._private_jobs").await?;
    ensure!(left == 0, "graphile_worker left {left} of {jobs} jobs");
    Ok(rate)
}
