//! From sending the COMMIT of an answer until the agent that asked, and waits, does its next thing: through the heartbeat's answer, the
//! worker, the socket of the attempt and `hub ask --wait`.

use crate::{
    agent::{command, now, since, take},
    attempts::{BOUND, Mesh},
    tools::{Aim, Bench, Figure, run as execute},
};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};
use tokio::time::sleep;
use uuid::Uuid;

const AIM_MS: f64 = 200.0;
/// Before it is answered, so that all are asleep.
const IDLE: Duration = Duration::from_millis(100);
/// Between two looks for the ask, which is not what is measured.
const LOOK: Duration = Duration::from_millis(5);
/// The next thing that the agent does is to read the clock.
const SCRIPT: &str =
    r#"hub=$1; shift; "$hub" ask "Which of them?" --option this --option that --wait >/dev/null && exec "$@""#;

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let mut mesh = Mesh::new(bench, "answer").await?;
    let file = mesh.file("clock");
    let script = ["sh", "-c", SCRIPT, "agent", &bench.hub.to_string_lossy()].map(str::to_owned);
    let argv: Vec<String> = script.into_iter().chain(command(&["clock", &file.to_string_lossy()])?).collect();
    let worker = mesh.worker(bench, 0, 1, &argv)?;
    let mut took = Vec::new();
    for sample in 0..10 * bench.rounds + 2 {
        let task = mesh.send(0).await?;
        let ask = asked(&mut mesh, task).await?;
        sleep(IDLE).await;
        execute(&mut mesh.operator, "begin").await?;
        sqlx::query("select 1 from public.hub_answer_ask($1, 'this')").bind(ask).execute(&mut mesh.operator).await?;
        let begun = now()?;
        execute(&mut mesh.operator, "commit").await?;
        mesh.until(task, "complete").await?;
        let heard = since(begun, take(&file)?);
        if sample >= 2 {
            took.push(heard);
        }
    }
    worker.end().await?;
    mesh.end(bench).await?;
    let of = |name: &str, share| {
        let name = format!("answer {name}, until the agent goes on");
        Figure::of_samples(name, "ms", &took, &[AIM_MS], share, Some(Aim::AtMost(1.0)))
    };
    Ok(vec![of("p50", 0.5), of("p99", 0.99)])
}

async fn asked(mesh: &mut Mesh, task: Uuid) -> Result<Uuid> {
    let begun = Instant::now();
    loop {
        let found = sqlx::query_scalar("select id from public.hub_asks where task_id = $1 and state = 'open'");
        if let Some(ask) = found.bind(task).fetch_optional(&mut mesh.operator).await? {
            return Ok(ask);
        }
        ensure!(begun.elapsed() < BOUND, "the agent asks nothing");
        sleep(LOOK).await;
    }
}
