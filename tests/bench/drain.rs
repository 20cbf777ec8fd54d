//! Emptying a queue of tasks that do nothing, against claim and update on a bare table.

use crate::tools::{Aim, Amount, Bench, Figure};
use anyhow::{Result, ensure};

const BATCH: u64 = 50;

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let database = bench.fresh("drain").await?;
    bench.script(&database, "drain_setup.sql", &[]).await?;
    let lane = database.count("select max(id)::bigint from hub_internal.lanes").await?;
    let mut figures = Vec::new();
    for (clients, batch) in [(1, 1), (4, 1), (8, 1), (1, BATCH), (4, BATCH)] {
        let (our_script, peer_script) = if batch == 1 {
            ("drain_ours.sql", "drain_peer.sql")
        } else {
            ("drain_batch_ours.sql", "drain_batch_peer.sql")
        };
        // A number of tasks and not a time: the queue must not run dry.
        let tasks = u64::from(bench.seconds) * if batch == 1 { 1000 + 250 * u64::from(clients) } else { 6000 };
        let each = (tasks / batch / u64::from(clients)).max(1);
        let tasks = each * batch * u64::from(clients);
        let (mut ours, mut peer) = (Vec::new(), Vec::new());
        #[allow(clippy::cast_precision_loss)]
        for _ in 0..bench.rounds {
            bench.script(&database, "drain_fill.sql", &[("n", tasks)]).await?;
            ours.push(
                bench.pgbench(&database.url(), our_script, clients, Amount::Each(each), &[]).await?.tps * batch as f64,
            );
            peer.push(
                bench.pgbench(&database.url(), peer_script, clients, Amount::Each(each), &[("lane", lane)]).await?.tps
                    * batch as f64,
            );
            for table in ["public.mac_tasks", "bare.tasks"] {
                let done = database
                    .count(&format!("select count(*) from {table} where status = 'complete' and attempt = 1"))
                    .await?;
                ensure!(done == i64::try_from(tasks)?, "{table}: {done} of {tasks} tasks are complete");
            }
        }
        let name = if batch == 1 {
            format!("drain, {clients} client(s)")
        } else {
            format!("drain, {clients} client(s), batches of {batch}")
        };
        figures.push(Figure::new(name, "tasks/s", &ours, &peer, Some(Aim::AtLeast(0.85))));
    }
    bench.drop_database(&database).await?;
    Ok(figures)
}
