//! Emptying a queue of tasks that do nothing, against claim and update on a bare table.

use crate::tools::{Aim, Amount, Bench, Figure};
use anyhow::{Result, ensure};

const BATCH: u64 = 50;

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let database = bench.fresh("drain").await?;
    bench.script(&database, "drain_setup.sql", &[]).await?;
    let silent = bench.fresh("drain_silent").await?;
    bench.script(&silent, "drain_setup.sql", &[]).await?;
    bench.script(&silent, "silence.sql", &[]).await?;
    let lane = database.count("select max(id)::bigint from hub_internal.lanes").await?;
    let mut figures = Vec::new();
    for (clients, batch) in [(1, 1), (4, 1), (8, 1), (1, BATCH), (4, BATCH)] {
        let (our_script, peer_script) = if batch == 1 {
            ("drain_ours.sql", "drain_peer.sql")
        } else {
            ("drain_batch_ours.sql", "drain_batch_peer.sql")
        };
        // A number of tasks and not a time: the queue must not run dry.
        let tasks = u64::from(bench.seconds) * if batch == 1 { 500 + 150 * u64::from(clients) } else { 4000 };
        let each = (tasks / batch / u64::from(clients)).max(1);
        let tasks = each * batch * u64::from(clients);
        let (mut ours, mut quiet, mut peer) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..bench.rounds {
            for database in [&database, &silent] {
                bench.script(database, "drain_fill.sql", &[("n", tasks)]).await?;
            }
            for (database, script, table, rates) in [
                (&database, our_script, "public.mac_tasks", &mut ours),
                (&silent, our_script, "public.mac_tasks", &mut quiet),
                (&database, peer_script, "bare.tasks", &mut peer),
            ] {
                let outcome =
                    bench.pgbench(&database.url(), script, clients, Amount::Each(each), &[("lane", lane)]).await?;
                // What a batch took is counted afterwards: it may be fewer than it asked for.
                let done = database
                    .count(&format!(
                        "select count(*) from {table} where status = 'complete' and attempt = 1 and result = 'done'"
                    ))
                    .await?;
                let left = database
                    .count(&format!("select count(*) from {table} where status = 'pending' and attempt = 0"))
                    .await?;
                let asked = i64::try_from(tasks)?;
                ensure!(
                    done > 0 && done + left == asked,
                    "{table}: {done} of {asked} tasks are complete, {left} pending"
                );
                ensure!(batch > 1 || left == 0, "{table}: {left} of {asked} tasks were never claimed");
                if left > 0 {
                    eprintln!(
                        "drain: {clients} client(s) got {done} of the {asked} tasks they asked for in batches of {batch}"
                    );
                }
                #[allow(clippy::cast_precision_loss)]
                rates.push(outcome.tps * done as f64 / outcome.transactions as f64);
            }
        }
        let name = if batch == 1 {
            format!("drain, {clients} client(s)")
        } else {
            format!("drain, {clients} client(s), batches of {batch}")
        };
        let alone = format!("{name}, against itself without broadcasts");
        figures.push(Figure::of_rounds(name, "tasks/s", &ours, &peer, Some(Aim::AtLeast(0.85))));
        figures.push(Figure::of_rounds(alone, "tasks/s", &ours, &quiet, None));
    }
    bench.drop_database(&database).await?;
    bench.drop_database(&silent).await?;
    Ok(figures)
}
