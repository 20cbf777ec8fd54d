//! What guard and host of an attempt have in memory, beside the agent, which is `sleep`.

use crate::{
    attempts::{Attempt, Mesh, pss},
    tools::{Aim, Bench, Figure, median},
};
use anyhow::Result;
use std::time::Duration;

const AIM_MB: f64 = 3.0;
const MANY: usize = 20;
const SETTLED: Duration = Duration::from_secs(1);

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let mut mesh = Mesh::new(bench, "host").await?;
    mesh.repository()?;
    let worker = mesh.worker(bench, 0, u32::try_from(MANY)?, &["sleep", "3600"].map(String::from))?;
    let mut figures = Vec::new();
    let mut sent = 0;
    for count in [1, MANY] {
        while sent < count {
            mesh.send(0).await?;
            sent += 1;
        }
        let attempts = worker.attempts(count).await?;
        // What a host does after it has started the agent is done then.
        tokio::time::sleep(SETTLED).await;
        let hosts: Vec<f64> = attempts.iter().map(Attempt::memory).collect::<Result<_>>()?;
        let agents: Vec<f64> = attempts.iter().map(|attempt| pss(attempt.agent)).collect::<Result<_>>()?;
        let of = |name: &str, peer: f64, aim| {
            let name = format!("host, {count} running, PSS of guard and host, {name}");
            Figure::of_rounds(name, "MB", &[median(&hosts)], &[peer], aim)
        };
        figures.push(of("against the aim", AIM_MB, (count == MANY).then_some(Aim::AtMost(1.0))));
        figures.push(of("against their `sleep`", median(&agents), None));
    }
    worker.end().await?;
    mesh.end(bench).await?;
    Ok(figures)
}
