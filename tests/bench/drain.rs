//! Emptying a queue of tasks that do nothing: against claim and update on a bare table, and against a worker that users know.

use crate::{
    graphile::{self, How},
    tools::{Aim, Amount, Bench, Database, Figure},
};
use anyhow::{Result, ensure};

const BATCH: u64 = 50;

/// What one line of figures is measured with.
#[derive(Clone, Copy)]
struct Shape {
    clients: u32,
    batch: u64,
    /// Whether a commit waits for the disk.
    disk: bool,
    aim: f64,
}

const fn shape(clients: u32, batch: u64, disk: bool, aim: f64) -> Shape {
    Shape { clients, batch, disk, aim }
}

const SHAPES: [Shape; 6] = [
    shape(1, 1, true, 0.7),
    shape(4, 1, true, 0.7),
    shape(8, 1, true, 0.7),
    shape(1, BATCH, true, 0.6),
    shape(4, BATCH, true, 0.6),
    shape(1, 1, false, 0.45),
];

impl Shape {
    fn name(self) -> String {
        let batches = if self.batch == 1 { String::new() } else { format!(", batches of {}", self.batch) };
        let disk = if self.disk { "" } else { ", the disk taken out" };
        format!("drain, {} client(s){batches}{disk}", self.clients)
    }

    fn url(self, database: &Database) -> secrecy::SecretString {
        if self.disk { database.url() } else { database.url_without_disk() }
    }

    /// What it is compared with of the worker that users know.
    fn known(self) -> &'static [(How, &'static str)] {
        if self.batch == 1 {
            &[(How::Single, "graphile_worker"), (How::Queue, "graphile_worker with its local queue")]
        } else {
            &[(How::Batches, "graphile_worker")]
        }
    }
}

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let database = bench.fresh("drain").await?;
    bench.script(&database, "drain_setup.sql", &[]).await?;
    let silent = bench.fresh("drain_silent").await?;
    bench.script(&silent, "drain_setup.sql", &[]).await?;
    bench.script(&silent, "silence.sql", &[]).await?;
    let known = graphile::database(bench).await?;
    let lane = database.count("select max(id)::bigint from hub_internal.lanes").await?.to_string();
    let mut figures = Vec::new();
    for shape in SHAPES {
        let Shape { clients, batch, .. } = shape;
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
        let mut theirs = vec![Vec::new(); shape.known().len()];
        for _ in 0..bench.rounds {
            for database in [&database, &silent] {
                bench.script(database, "drain_fill.sql", &[("n", tasks)]).await?;
            }
            for (database, script, table, rates) in [
                (&database, our_script, "public.mac_tasks", &mut ours),
                (&silent, our_script, "public.mac_tasks", &mut quiet),
                (&database, peer_script, "bare.tasks", &mut peer),
            ] {
                let amount = Amount::Each(each);
                let outcome = bench.pgbench(&shape.url(database), script, clients, amount, &[("lane", &lane)]).await?;
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
            for ((how, _), rates) in shape.known().iter().zip(&mut theirs) {
                rates.push(graphile::drain(bench, &known, &shape.url(&known), *how, clients, tasks).await?);
            }
        }
        let name = shape.name();
        let row = |peer: &str, rates: &[f64]| {
            Figure::of_rounds(format!("{name}, against {peer}"), "tasks/s", &ours, rates, None)
        };
        figures.push(Figure::of_rounds(name.clone(), "tasks/s", &ours, &peer, Some(Aim::AtLeast(shape.aim))));
        figures.push(row("itself without broadcasts", &quiet));
        figures.extend(shape.known().iter().zip(&theirs).map(|((_, peer), rates)| row(peer, rates)));
    }
    bench.drop_database(&database).await?;
    bench.drop_database(&silent).await?;
    bench.drop_database(&known).await?;
    Ok(figures)
}
