//! Eight workers with sixteen agents each that say a line a second: what workers, guards and hosts take of the processor, and what a worker
//! has in memory.

use crate::{
    agent::command,
    attempts::{Attempt, BOUND, Mesh, Stat, Worker, worker_memory},
    tools::{Aim, Bench, Figure, median},
};
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};

const WORKERS: u32 = 8;
/// Per cent of one core.
const AIM_PERCENT: f64 = 5.0;
const AIM_MB: f64 = 60.0;

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    // All of them also where other benches are shrunk, except where only their working is looked at.
    let agents = u32::try_from(bench.scaled(1280, 16).min(128))?;
    let each = agents / WORKERS;
    let mut mesh = Mesh::new(bench, "fleet").await?;
    mesh.repository()?;
    let argv = command(&["lines"])?;
    let workers: Vec<Worker> =
        (0..WORKERS).map(|device| mesh.worker(bench, device, each, &argv)).collect::<Result<_>>()?;
    for _ in 0..each {
        for device in 0..WORKERS {
            mesh.send(device).await?;
        }
    }
    let mut attempts = Vec::new();
    for worker in &workers {
        attempts.extend(worker.attempts(usize::try_from(each)?).await?);
    }
    // What they say has reached the database.
    let said = "select count(*) from public.mac_tasks where status = 'running' and partial_output <> ''";
    let begun = Instant::now();
    while mesh.database.count(said).await? < i64::from(agents) {
        ensure!(begun.elapsed() < BOUND, "not all agents are heard");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    // In one piece: a worker takes little more than the system's tick in a round.
    let before = Taken::by(&workers, &attempts)?;
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs((bench.rounds * bench.seconds).into())).await;
    let after = Taken::by(&workers, &attempts)?;
    let share = 100.0 / begun.elapsed().as_secs_f64();
    let hosts = (after.hosts - before.hosts) * share;
    let all = hosts + (after.workers - before.workers) * share;
    let memory: Vec<(&str, f64)> = workers.iter().map(|worker| worker_memory(worker.pid()?)).collect::<Result<_>>()?;
    let (kind, _) = memory.first().context("no worker")?;
    let megabytes: Vec<f64> = memory.iter().map(|(_, megabytes)| *megabytes).collect();
    let largest = megabytes.iter().copied().fold(0.0, f64::max);
    for worker in workers {
        worker.end().await?;
    }
    mesh.end(bench).await?;
    let of = |what: &str, unit, ours: f64, peer: f64, aim| {
        let name = format!("fleet, {agents} agents on {WORKERS} workers, {what}");
        Figure::of_rounds(name, unit, &[ours], &[peer], aim)
    };
    let (core, within) = ("% of a core", Some(Aim::AtMost(1.0)));
    Ok(vec![
        of("processor of workers, guards and hosts, against the aim", core, all, AIM_PERCENT, within),
        of("part: guards and hosts, against all", core, hosts, all, None),
        of(&format!("{kind} of the largest worker, against the aim"), "MB", largest, AIM_MB, within),
        of(&format!("{kind} of a worker, against the aim"), "MB", median(&megabytes), AIM_MB, None),
    ])
}

/// Seconds of processor so far.
struct Taken {
    workers: f64,
    hosts: f64,
}

impl Taken {
    fn by(workers: &[Worker], attempts: &[Attempt]) -> Result<Self> {
        let of_worker = |worker: &Worker| Ok(Stat::read(worker.pid()?)?.own);
        Ok(Self {
            workers: workers.iter().map(of_worker).sum::<Result<f64>>()?,
            hosts: attempts.iter().map(Attempt::processor).sum::<Result<f64>>()? / 1e3,
        })
    }
}
