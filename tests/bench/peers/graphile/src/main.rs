//! Jobs that do nothing, worked off by the crate `graphile_worker`: what `drain` measures ours against.
//!
//! ```text
//! graphile-peer URL single|queue|batches CLIENTS JOBS
//! ```
//!
//! Makes its tables where they are missing and adds the jobs, says "ready" and waits for a line. Then it works them off and prints how many
//! a second: from the first claim until none is left and the worker has stopped.

use anyhow::{Context, Result, bail, ensure};
use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, RawJobSpec, TaskHandler, Worker, WorkerContext, WorkerOptions,
};
use serde::{Deserialize, Serialize};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, stdin},
    sync::Notify,
    time::timeout,
};

/// What the hub claims at once in `drain`.
const BATCH: usize = 50;
/// What its documentation gives for bursts of jobs.
const COMPLETED_WITHIN: Duration = Duration::from_millis(5);
/// For a machine that hangs.
const BOUND: Duration = Duration::from_secs(120);

#[derive(Serialize, Deserialize)]
struct Nothing {}

impl TaskHandler for Nothing {
    const IDENTIFIER: &'static str = "nothing";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        context.get_ext::<Arc<Jobs>>().ok_or("the worker has no count of its jobs")?.one_ran();
        Ok::<(), &str>(())
    }
}

#[derive(Debug)]
struct Jobs {
    left: AtomicU64,
    all_ran: Notify,
}

impl Jobs {
    fn one_ran(&self) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.all_ran.notify_one();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    /// A claim and a completion for each job.
    Single,
    /// Its local queue claims many at once; each is completed alone.
    Queue,
    /// They are completed many at once, too.
    Batches,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, how, clients, jobs] = arguments.as_slice() else { bail!("URL single|queue|batches CLIENTS JOBS") };
    let how = match how.as_str() {
        "single" => How::Single,
        "queue" => How::Queue,
        "batches" => How::Batches,
        other => bail!("{other}: single, queue or batches"),
    };
    let (clients, jobs) = (clients.parse().context("CLIENTS")?, jobs.parse().context("JOBS")?);
    let count = Arc::new(Jobs { left: AtomicU64::new(jobs), all_ran: Notify::new() });
    let worker = worker(url, how, clients, &count).await?;
    add(&worker, jobs).await?;

    println!("ready");
    let mut go = String::new();
    ensure!(BufReader::new(stdin()).read_line(&mut go).await? > 0, "nobody said to begin");
    let begun = Instant::now();
    timeout(BOUND, drain(&worker, how, &count)).await.context("it does not end")??;
    let seconds = begun.elapsed().as_secs_f64();

    let left = count.left.load(Ordering::Relaxed);
    ensure!(left == 0, "{left} of {jobs} jobs did not run");
    #[allow(clippy::cast_precision_loss)]
    let rate = jobs as f64 / seconds;
    println!("{rate:.1}");
    Ok(())
}

/// With so many jobs at a time, a connection each, one for its claims and, where it has a local queue, one for its listener.
async fn worker(url: &str, how: How, clients: u32, count: &Arc<Jobs>) -> Result<Worker> {
    let mut options = WorkerOptions::default()
        .database_url(url)
        .max_pg_conn(clients + if how == How::Single { 1 } else { 2 })
        .concurrency(usize::try_from(clients)?)
        .listen_os_shutdown_signals(false)
        .add_extension(Arc::clone(count))
        .define_job::<Nothing>();
    if how != How::Single {
        options = options.local_queue(LocalQueueConfig::default().with_size(BATCH));
    }
    if how == How::Batches {
        options = options.complete_job_batch_delay(COMPLETED_WITHIN);
    }
    Ok(options.init().await?)
}

async fn add(worker: &Worker, jobs: u64) -> Result<()> {
    let job = RawJobSpec {
        identifier: Nothing::IDENTIFIER.into(),
        payload: serde_json::to_value(Nothing {})?,
        spec: JobSpec::default(),
    };
    let jobs = vec![job; usize::try_from(jobs)?];
    for some in jobs.chunks(1000) {
        worker.create_utils().add_raw_jobs(some).await?;
    }
    Ok(())
}

/// `run_once` knows no local queue, and `run` takes without one a job a slot at each signal and no more: each is asked for what it is for.
async fn drain(worker: &Worker, how: How, count: &Jobs) -> Result<()> {
    if how == How::Single {
        worker.run_once().await?;
        return Ok(());
    }
    let end = async {
        count.all_ran.notified().await;
        worker.request_shutdown();
    };
    tokio::join!(worker.run(), end).0?;
    Ok(())
}
