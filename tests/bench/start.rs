//! From the moment a worker holds a task until its agent runs, against starting the same program without worker, guard and host.

use crate::{
    agent::{command, now, since, take},
    attempts::{BOUND, Mesh, agents_json},
    tools::{Aim, Bench, Figure},
};
use anyhow::{Context, Result, ensure};
use hub::{Hub, db::Db};
use hub_worker::{AgentConfig, Worker};
use std::{process::Stdio, time::Duration};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

const AIM_MS: f64 = 30.0;
/// Between samples, so that both sides are asleep.
const IDLE: Duration = Duration::from_millis(15);

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let mut mesh = Mesh::new(bench, "start").await?;
    let file = mesh.file("clock");
    let argv = command(&["clock", &file.to_string_lossy()])?;
    let (held, mut claims) = mpsc::unbounded_channel();
    tracing::subscriber::set_global_default(Claims(held))?;

    let hub = Hub::Postgres(Db::connect(&mesh.database.url()).await?);
    let mut worker = Worker::new(hub, "bench0", mesh.projects(), mesh.file("state"));
    worker.agents = AgentConfig::parse(&agents_json(&argv))?;
    worker.host.clone_from(&bench.hub);
    let shutdown = CancellationToken::new();
    let ready = worker.start(&shutdown).await?.context("the worker did not start")?;
    let stop = shutdown.clone();
    let working = tokio::spawn(async move { ready.run(&stop).await });

    let (mut ours, mut spawned) = (Vec::new(), Vec::new());
    let samples = 30 * bench.rounds;
    for sample in 0..samples + 5 {
        tokio::time::sleep(IDLE).await;
        let task = mesh.send(0).await?;
        let claimed = timeout(BOUND, claims.recv()).await.context("no task was claimed")?.context("no worker")?;
        mesh.until(task, "complete").await?;
        let took = since(claimed, take(&file)?);

        tokio::time::sleep(IDLE).await;
        let begun = now()?;
        let child = tokio::process::Command::new(&argv[0])
            .args(&argv[1..])
            .current_dir(mesh.projects())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        ensure!(child.wait_with_output().await?.status.success(), "the program failed");
        let alone = since(begun, take(&file)?);
        if sample >= 5 {
            ours.push(took);
            spawned.push(alone);
        }
    }
    shutdown.cancel();
    working.await??;
    mesh.end(bench).await?;
    let of = |name: &str, peer: &[f64], share, aim| {
        Figure::of_samples(format!("start {name}"), "ms", &ours, peer, share, aim)
    };
    Ok(vec![
        of("p50, from the claim to the agent", &[AIM_MS], 0.5, Some(Aim::AtMost(1.0))),
        of("p99, from the claim to the agent", &[AIM_MS], 0.99, None),
        of("p50, against a spawn of the same program", &spawned, 0.5, None),
        of("p99, against a spawn of the same program", &spawned, 0.99, None),
    ])
}

/// Reads the clock when a worker of this process holds a task: it logs that before it does anything else.
struct Claims(mpsc::UnboundedSender<Duration>);

impl Subscriber for Claims {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target() == "hub_worker::executor"
    }

    fn event(&self, event: &Event<'_>) {
        let at = now();
        let mut says = Says { attempt_started: false };
        event.record(&mut says);
        if let (true, Ok(at)) = (says.attempt_started, at) {
            // Whoever waited for it has given up.
            self.0.send(at).ok();
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Says {
    attempt_started: bool,
}

impl Visit for Says {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.attempt_started |= field.name() == "message" && format!("{value:?}") == "attempt started";
    }
}
