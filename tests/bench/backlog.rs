//! What a claim costs beside a large backlog, against one of a thousand. The claim's statement alone, without its commit, so
//! that the disk hides nothing; and what it costs at all.

use crate::tools::{Aim, Amount, Bench, Database, Figure, millis, run as execute};
use anyhow::{Context, Result, ensure};
use sqlx::PgConnection;
use std::time::Instant;
use uuid::Uuid;

const FEW: u64 = 1000;
/// Milliseconds that a claim may take.
const MEANT: f64 = 0.8;
const LANES: &str = "insert into hub_internal.lanes (key, server_id, project, model, ways, platform, agent) \
     select n, '00000000-0000-4000-9000-000000000001', 'backlog', 'any', '{any}', 'any', 'agent' || n from generate_series(1, 20000) n";

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let (many, few) = (bench.fresh("backlog_many").await?, bench.fresh("backlog_few").await?);
    let (pending, finished) = (bench.scaled(1_000_000, FEW), bench.scaled(10_000_000, FEW));
    for (database, pending, finished) in [(&many, pending, finished), (&few, FEW, 0)] {
        bench.script(database, "backlog_setup.sql", &[]).await?;
        bench.script(database, "backlog_fill.sql", &[("pending", pending), ("finished", finished)]).await?;
    }
    let mut figures = compare(bench, &many, &few, &format!("backlog, {pending} pending, {finished} finished")).await?;

    bench.script(&many, "backlog_foreign.sql", &[]).await?;
    figures.extend(compare(bench, &many, &few, "backlog, the oldest 10000 for others").await?);

    // What was asked for once and waits no more: twenty thousand lanes, until the next recovery.
    let mut lanes = many.superuser().await?;
    execute(&mut lanes, LANES).await?;
    execute(&mut lanes, "select public.hub_recover(now(), 100000)").await?;
    drop(lanes);
    figures.extend(compare(bench, &many, &few, "backlog, 20000 lanes of before").await?);

    let mut old = many.connect("postgres").await?;
    execute(&mut old, "begin isolation level repeatable read; select count(*) from public.mesh_devices").await?;
    let churn = bench.pgbench(&many.url(), "backlog_churn.sql", 4, Amount::Seconds(bench.seconds * 4), &[]).await?;
    figures.extend(
        compare(bench, &many, &few, &format!("backlog, old snapshot over {} lives", churn.transactions)).await?,
    );
    execute(&mut old, "commit").await?;
    drop(old);

    for database in [&many, &few] as [&Database; 2] {
        bench.drop_database(database).await?;
    }
    Ok(figures)
}

async fn compare(bench: &Bench, many: &Database, few: &Database, name: &str) -> Result<Vec<Figure>> {
    let [ours, peer] = claims(bench, [many, few]).await?;
    let against =
        |name: String, peer: &[f64], aim| Figure::of_samples(name, "ms", &ours, peer, 0.5, Some(Aim::AtMost(aim)));
    Ok(vec![
        against(format!("{name}, p50"), &peer, 1.5),
        against(format!("{name}, p50, against what is meant"), &[MEANT], 1.0),
    ])
}

/// Claims in the one database and in the other, in turn.
pub async fn claims(bench: &Bench, databases: [&Database; 2]) -> Result<[Vec<f64>; 2]> {
    let mut connections = [databases[0].connect("postgres").await?, databases[1].connect("postgres").await?];
    let mut took = [Vec::new(), Vec::new()];
    for sample in 0..100 * bench.rounds + 20 {
        for (connection, samples) in connections.iter_mut().zip(&mut took) {
            let claimed = claim(connection).await?;
            // The first few fill the caches and find their plan.
            if sample >= 20 {
                samples.push(claimed);
            }
        }
    }
    Ok(took)
}

/// One claim, timed; then the task is completed and another one queued, so that the backlog stays as it is.
async fn claim(connection: &mut PgConnection) -> Result<f64> {
    execute(connection, "begin").await?;
    let begun = Instant::now();
    let claimed: Option<(Uuid, i32)> = sqlx::query_as("select id, attempt from public.hub_claim_tasks('bench7', 1)")
        .fetch_optional(&mut *connection)
        .await?;
    let took = millis(begun);
    let (task, attempt) = claimed.context("there was nothing to claim")?;
    let ended: String = sqlx::query_scalar("select (public.hub_complete_task($1, $2, 'done')).status")
        .bind(task)
        .bind(attempt)
        .fetch_one(&mut *connection)
        .await?;
    ensure!(ended == "complete", "task {task} is {ended}");
    execute(
        connection,
        "insert into public.mac_tasks (content, channel_id) values ('Task', '00000000-0000-4000-8000-000000000001'); commit",
    )
    .await?;
    Ok(took)
}
