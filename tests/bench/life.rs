//! A task's whole life in a threaded channel, against the same rows written one by one.

use crate::tools::{Aim, Amount, Bench, Figure, run as execute};
use anyhow::{Result, ensure};

const CLIENTS: u32 = 8;

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let database = bench.fresh("life").await?;
    bench.script(&database, "life_setup.sql", &[]).await?;
    let silent = bench.fresh("life_silent").await?;
    bench.script(&silent, "life_setup.sql", &[]).await?;
    bench.script(&silent, "silence.sql", &[]).await?;
    let (mut ours, mut quiet, mut peer, mut lives, mut bare) = (Vec::new(), Vec::new(), Vec::new(), 0, 0);
    // A first second of each fills the tables, so that no plan is made for empty ones.
    lives += bench.pgbench(&database.url(), "life_ours.sql", CLIENTS, Amount::Seconds(1), &[]).await?.transactions;
    bare += bench.pgbench(&database.url(), "life_peer.sql", CLIENTS, Amount::Seconds(1), &[]).await?.transactions;
    bench.pgbench(&silent.url(), "life_ours.sql", CLIENTS, Amount::Seconds(1), &[]).await?;
    for database in [&database, &silent] {
        execute(&mut database.superuser().await?, "vacuum analyze").await?;
    }
    for _ in 0..bench.rounds {
        let outcome =
            bench.pgbench(&database.url(), "life_ours.sql", CLIENTS, Amount::Seconds(bench.seconds), &[]).await?;
        ours.push(outcome.tps);
        lives += outcome.transactions;
        let outcome =
            bench.pgbench(&silent.url(), "life_ours.sql", CLIENTS, Amount::Seconds(bench.seconds), &[]).await?;
        quiet.push(outcome.tps);
        let outcome =
            bench.pgbench(&database.url(), "life_peer.sql", CLIENTS, Amount::Seconds(bench.seconds), &[]).await?;
        peer.push(outcome.tps);
        bare += outcome.transactions;
    }
    // Both wrote the same: what they are compared by.
    for (schema, names, lives) in [
        ("public", ["mac_tasks", "hub_task_attempts", "hub_task_threads", "hub_channel_messages"], lives),
        ("bare", ["tasks", "attempts", "threads", "messages"], bare),
    ] {
        let lives = i64::try_from(lives)?;
        for (name, each, which) in [
            (names[0], 1, "status = 'complete' and told = 'complete:1'"),
            (names[1], 1, "outcome = 'complete'"),
            (names[2], 1, "message_count = 7"),
            (names[3], 9, "true"),
        ] {
            let rows = database.count(&format!("select count(*) from {schema}.{name} where {which}")).await?;
            ensure!(rows == each * lives, "{schema}.{name}: {rows} rows after {lives} lives, {each} expected of each");
        }
    }
    for (database, told) in [(&database, true), (&silent, false)] {
        let broadcasts = database.count("select count(*) from realtime.messages where topic ~ '^task:'").await?;
        ensure!((broadcasts > 0) == told, "{}: {broadcasts} broadcasts", database.name);
        bench.drop_database(database).await?;
    }
    Ok(vec![
        Figure::of_rounds(format!("life, {CLIENTS} clients"), "lives/s", &ours, &peer, Some(Aim::AtLeast(0.85))),
        Figure::of_rounds(
            format!("life, {CLIENTS} clients, against itself without broadcasts"),
            "lives/s",
            &ours,
            &quiet,
            None,
        ),
    ])
}
