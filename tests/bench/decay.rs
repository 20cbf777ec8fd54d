//! A decay cycle with 100 threads due: among many against among few.

use crate::tools::{Aim, Bench, Database, Figure, millis, run as execute};
use anyhow::{Result, ensure};
use std::time::Instant;

const FEW: u64 = 1000;
const DUE: i32 = 100;

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let (many, few) = (bench.fresh("decay_many").await?, bench.fresh("decay_few").await?);
    bench.script(&many, "decay_setup.sql", &[("n", bench.scaled(1_000_000, FEW))]).await?;
    bench.script(&few, "decay_setup.sql", &[("n", FEW)]).await?;
    let mut connections = [many.connect("postgres").await?, few.connect("postgres").await?];
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for sample in 0..10 * bench.rounds + 3 {
        for (connection, samples) in connections.iter_mut().zip([&mut ours, &mut peer]) {
            execute(connection, "begin").await?;
            let begun = Instant::now();
            let due: i32 =
                sqlx::query_scalar("select public.hub_decay_threads(now(), 1000)").fetch_one(&mut *connection).await?;
            // What a commit would do: the threads' channels are told at the end of the transaction.
            execute(connection, "set constraints all immediate").await?;
            let took = millis(begun);
            execute(connection, "rollback").await?;
            ensure!(due == DUE, "{due} threads decayed, {DUE} expected");
            // The first few fill the caches.
            if sample >= 3 {
                samples.push(took);
            }
        }
    }
    let [a, b] = connections;
    drop((a, b));
    for database in [&many, &few] as [&Database; 2] {
        bench.drop_database(database).await?;
    }
    Ok(vec![Figure::of_samples("decay, 100 due, p50", "ms", &ours, &peer, 0.5, Some(Aim::AtMost(1.1)))])
}
