//! What pools, budgets, shares and needs cost: lives, drains and claims with all of them set up, against without, in turns.

use crate::{
    backlog,
    tools::{Aim, Amount, Bench, Database, Figure, run as execute},
};
use anyhow::{Result, ensure};

/// With them it may take so many times as long.
const MOST: f64 = 1.2;
const CLIENTS: u32 = 8;
const BATCH: u64 = 50;

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = life(bench).await?;
    figures.extend(drain(bench).await?);
    figures.extend(claims(bench).await?);
    Ok(figures)
}

/// One with all of them and one without, alike otherwise.
async fn two(bench: &Bench, name: &str, scripts: &[(&str, &[(&str, u64)])]) -> Result<[Database; 2]> {
    let both = [bench.fresh(&format!("{name}_limits")).await?, bench.fresh(&format!("{name}_none")).await?];
    for database in &both {
        for (script, values) in scripts {
            bench.script(database, script, values).await?;
        }
    }
    bench.script(&both[0], "limits_on.sql", &[]).await?;
    Ok(both)
}

/// The budgets counted what was done, if work was done, and none was in the way.
async fn end(bench: &Bench, both: &[Database; 2], worked: bool) -> Result<()> {
    let mut keeper = both[0].superuser().await?;
    execute(&mut keeper, "select public.hub_recover(now(), 1000)").await?;
    let used = both[0].count("select count(*) from hub_internal.budget_use where used > 0").await?;
    let met = both[0].count("select count(*) from public.hub_budget_state() where met").await?;
    ensure!((used > 0) == worked && met == 0, "{used} budgets were used, {met} met");
    for database in both {
        bench.drop_database(database).await?;
    }
    Ok(())
}

/// Milliseconds of each, from how many a second there were.
fn each(rates: &[f64]) -> Vec<f64> {
    rates.iter().map(|rate| 1000.0 / rate).collect()
}

async fn life(bench: &Bench) -> Result<Vec<Figure>> {
    let both = two(bench, "life", &[("life_setup.sql", &[])]).await?;
    bench.script(&both[0], "limits_needs.sql", &[]).await?;
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..=bench.rounds {
        for (database, rates) in both.iter().zip(&mut rates) {
            // A first second fills the tables, so that no plan is made for empty ones.
            let seconds = Amount::Seconds(if round == 0 { 1 } else { bench.seconds });
            let outcome = bench.pgbench(&database.url(), "life_ours.sql", CLIENTS, seconds, &[]).await?;
            if round > 0 {
                rates.push(outcome.tps);
            }
            let mut keeper = database.superuser().await?;
            execute(&mut keeper, "select public.hub_recover(now(), 100000)").await?;
            if round == 0 {
                execute(&mut keeper, "vacuum analyze").await?;
            }
        }
    }
    let [with, without] = rates;
    end(bench, &both, true).await?;
    let name = format!("limits, life, {CLIENTS} clients, against without");
    Ok(vec![Figure::of_rounds(name, "ms", &each(&with), &each(&without), Some(Aim::AtMost(MOST)))])
}

async fn drain(bench: &Bench) -> Result<Vec<Figure>> {
    let both = two(bench, "drain", &[("drain_setup.sql", &[])]).await?;
    let mut figures = Vec::new();
    for (clients, batch, script) in
        [(1, 1, "drain_ours.sql"), (4, 1, "drain_ours.sql"), (1, BATCH, "drain_batch_ours.sql")]
    {
        // A number of tasks and not a time: the queue must not run dry.
        let tasks = u64::from(bench.seconds) * if batch == 1 { 500 + 150 * u64::from(clients) } else { 4000 };
        let times = (tasks / batch / u64::from(clients)).max(1);
        let tasks = times * batch * u64::from(clients);
        let mut rates = [Vec::new(), Vec::new()];
        for _ in 0..bench.rounds {
            for database in &both {
                bench.script(database, "drain_fill.sql", &[("n", tasks)]).await?;
            }
            bench.script(&both[0], "limits_needs.sql", &[]).await?;
            for (database, rates) in both.iter().zip(&mut rates) {
                let outcome = bench.pgbench(&database.url(), script, clients, Amount::Each(times), &[]).await?;
                let done = database
                    .count("select count(*) from public.mac_tasks where status = 'complete' and result = 'done'")
                    .await?;
                ensure!(done == i64::try_from(tasks)?, "{}: {done} of {tasks} tasks are complete", database.name);
                rates.push(outcome.tps);
            }
        }
        let [with, without] = rates;
        let batches = if batch == 1 { String::new() } else { format!(", batches of {batch}") };
        let name = format!("limits, drain, {clients} client(s){batches}, against without");
        figures.push(Figure::of_rounds(name, "ms", &each(&with), &each(&without), Some(Aim::AtMost(MOST))));
    }
    end(bench, &both, true).await?;
    Ok(figures)
}

/// The claim's statement beside a backlog.
async fn claims(bench: &Bench) -> Result<Vec<Figure>> {
    let (pending, finished) = (bench.scaled(1_000_000, 1000), bench.scaled(1_000_000, 1000));
    let values = [("pending", pending), ("finished", finished)];
    let both = two(bench, "backlog", &[("backlog_setup.sql", &[]), ("backlog_fill.sql", &values)]).await?;
    bench.script(&both[0], "limits_needs.sql", &[]).await?;
    let [with, without] = backlog::claims(bench, [&both[0], &both[1]]).await?;
    end(bench, &both, false).await?;
    let name = format!("limits, backlog, {pending} pending, p50, against without");
    Ok(vec![Figure::of_samples(name, "ms", &with, &without, 0.5, Some(Aim::AtMost(MOST)))])
}
