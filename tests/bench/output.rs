//! An agent that writes 1 GB: the processor time of worker, guard and host, against `cat` through two pipes. The time of who writes it is
//! taken off on both sides.

use crate::{
    agent::{command, processor, take},
    attempts::{Mesh, Stat},
    tools::{Aim, Bench, Figure},
};
use anyhow::{Result, ensure};
use nix::sys::resource::UsageWho;
use std::{process::Stdio, time::Instant};
use tokio::process::Command;

const AIM_SECONDS: f64 = 1.5;
const GIGABYTE: u64 = 1_000_000_000;

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    // All of it also where other benches are shrunk, except where only their working is looked at.
    let bytes = bench.scaled(10 * GIGABYTE, GIGABYTE / 50).min(GIGABYTE);
    #[allow(clippy::cast_precision_loss)]
    let to_a_gigabyte = GIGABYTE as f64 / bytes as f64;
    let mut mesh = Mesh::new(bench, "output").await?;
    let file = mesh.file("processor");
    let argv = command(&["output", &bytes.to_string(), &file.to_string_lossy()])?;
    let worker = mesh.worker(bench, 0, 1, &argv)?;
    let (mut all, mut of_worker, mut cats) = (Vec::new(), Vec::new(), Vec::new());
    let (mut lasted, mut cats_lasted) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let before = Stat::read(worker.pid()?)?;
        let begun = Instant::now();
        let task = mesh.send(0).await?;
        mesh.until(task, "complete").await?;
        lasted.push(begun.elapsed().as_secs_f64() * to_a_gigabyte);
        // Guard, host and agent are waited for by then.
        let after = Stat::read(worker.pid()?)?;
        let hosts = after.children - before.children - take(&file)?.as_secs_f64();
        of_worker.push((after.own - before.own) * to_a_gigabyte);
        all.push((after.own - before.own + hosts) * to_a_gigabyte);
        let counted: Option<i64> =
            sqlx::query_scalar("select output_bytes from public.hub_task_attempts where task_id = $1")
                .bind(task)
                .fetch_one(&mut mesh.operator)
                .await?;
        ensure!(counted == Some(i64::try_from(bytes)?), "of {bytes} bytes {counted:?} were counted");

        let before = processor(UsageWho::RUSAGE_CHILDREN)?;
        let begun = Instant::now();
        let status = Command::new("sh")
            .args(["-c", "\"$0\" \"$@\" | cat | cat >/dev/null"])
            .args(&argv)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .status()
            .await?;
        ensure!(status.success(), "the pipes: {status}");
        cats_lasted.push(begun.elapsed().as_secs_f64() * to_a_gigabyte);
        let taken = processor(UsageWho::RUSAGE_CHILDREN)?.saturating_sub(before).saturating_sub(take(&file)?);
        cats.push(taken.as_secs_f64() * to_a_gigabyte);
    }
    worker.end().await?;
    mesh.end(bench).await?;
    let aims = vec![AIM_SECONDS; all.len()];
    let of = |name: &str, ours: &[f64], peer: &[f64], aim| {
        Figure::of_rounds(format!("output, 1 GB, {name}"), "s", ours, peer, aim)
    };
    Ok(vec![
        of("processor of worker, guard and host, against the aim", &all, &aims, Some(Aim::AtMost(1.0))),
        of("processor of worker, guard and host, against cat through two pipes", &all, &cats, None),
        of("part: the worker, against all", &of_worker, &all, None),
        of("until the task is complete, against cat through two pipes", &lasted, &cats_lasted, None),
    ])
}
