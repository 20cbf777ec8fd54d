//! From sending the COMMIT of `hub_cancel_task` until the last process of the agent is gone, where all of them obey TERM; against TERM to the
//! same processes by who started them.

use crate::{
    attempts::{BOUND, Mesh},
    tools::{Aim, Bench, Figure, millis, run as execute},
};
use anyhow::{Context, Result};
use nix::{
    sys::{
        signal::{Signal, killpg},
        stat::Mode,
    },
    unistd::{Pid, mkfifo},
};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{
    process::Command,
    sync::oneshot,
    time::{sleep, timeout},
};

const AIM_MS: f64 = 300.0;
/// Before it is cancelled, so that all are asleep.
const IDLE: Duration = Duration::from_millis(200);
/// Two shells and three programs. Each holds the pipe open for as long as it lives.
const SCRIPT: &str =
    "exec 3>\"$0\"; sleep 3600 & sleep 3600 & sh -c 'sleep 3600 & printf x >&3; wait' & printf x >&3; wait";

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let mut mesh = Mesh::new(bench, "cancel").await?;
    let pipe = mesh.file("pipe");
    mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let argv = ["sh", "-c", SCRIPT, &pipe.to_string_lossy()].map(str::to_owned);
    let worker = mesh.worker(bench, 0, 1, &argv)?;
    let (mut ours, mut hosted, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    let samples = 10 * bench.rounds;
    for sample in 0..samples + 2 {
        let tree = Tree::on(&pipe);
        let task = mesh.send(0).await?;
        let tree = tree.runs().await?;
        let attempt = *worker.attempts(1).await?.first().context("no attempt")?;
        sleep(IDLE).await;
        execute(&mut mesh.operator, "begin").await?;
        sqlx::query("select public.hub_cancel_task($1)").bind(task).execute(&mut mesh.operator).await?;
        let begun = Instant::now();
        let (committed, dead, gone) = tokio::join!(execute(&mut mesh.operator, "commit"), tree.dead(), async {
            attempt.gone().await?;
            anyhow::Ok(millis(begun))
        });
        committed?;
        let (took, with_host) = ((dead? - begun).as_secs_f64() * 1e3, gone?);
        mesh.until(task, "cancelled").await?;

        let tree = Tree::on(&pipe);
        let mut child = Command::new(&argv[0])
            .args(&argv[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).context("it has ended")?;
        let tree = tree.runs().await?;
        sleep(IDLE).await;
        let begun = Instant::now();
        killpg(Pid::from_raw(group), Signal::SIGTERM)?;
        let alone = (tree.dead().await? - begun).as_secs_f64() * 1e3;
        child.wait().await?;
        if sample >= 2 {
            ours.push(took);
            hosted.push(with_host);
            peer.push(alone);
        }
    }
    worker.end().await?;
    mesh.end(bench).await?;
    let of = |name: &str, ours: &[f64], peer: &[f64], share, aim| {
        Figure::of_samples(format!("cancel {name}"), "ms", ours, peer, share, aim)
    };
    Ok(vec![
        of("p50, until no process of the agent is left", &ours, &[AIM_MS], 0.5, Some(Aim::AtMost(1.0))),
        of("p99, until no process of the agent is left", &ours, &[AIM_MS], 0.99, Some(Aim::AtMost(1.0))),
        of("p50, until guard and host are gone too", &hosted, &[AIM_MS], 0.5, None),
        of("p50, against TERM to the same processes", &ours, &peer, 0.5, None),
    ])
}

/// Processes that hold a pipe open: the last one's end is the pipe's.
struct Tree {
    runs: oneshot::Receiver<()>,
    dead: oneshot::Receiver<std::io::Result<Instant>>,
}

struct Running(oneshot::Receiver<std::io::Result<Instant>>);

impl Tree {
    fn on(pipe: &Path) -> Self {
        let (said, runs) = oneshot::channel();
        let (ended, dead) = oneshot::channel();
        let pipe = PathBuf::from(pipe);
        // A thread of its own: it waits for whoever opens the pipe, and a runtime that ends waits for its own.
        std::thread::spawn(move || {
            let watched = || {
                let mut pipe = File::open(pipe)?;
                // Both shells have started what they start.
                pipe.read_exact(&mut [0; 2])?;
                said.send(()).ok();
                pipe.read_to_end(&mut Vec::new())?;
                Ok(Instant::now())
            };
            ended.send(watched()).ok();
        });
        Self { runs, dead }
    }

    async fn runs(self) -> Result<Running> {
        timeout(BOUND, self.runs).await.context("the agent does not run")?.context("the agent ended")?;
        Ok(Running(self.dead))
    }
}

impl Running {
    async fn dead(self) -> Result<Instant> {
        Ok(timeout(BOUND, self.0).await.context("the agent does not end")???)
    }
}
