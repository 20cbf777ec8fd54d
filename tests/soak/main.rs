//! Workers, hosts, agents and connections are killed at random while tasks flow; then nothing may be lost and nothing doubled.
//! See README.md beside this.

#![allow(clippy::expect_used, reason = "a test that can not go on says so and ends")]

mod faults;
mod fleet;
mod random;
mod verdict;

use clap::Parser;
use hub_tests::{Dev, World};
use random::Random;
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use crate::{
    faults::Faults,
    fleet::Fleet,
    verdict::{Runs, Verdict},
};

/// Without a single task that ends, for longer than any lease, backoff or restart here takes: something hangs.
const STALLED: Duration = Duration::from_secs(300);
/// Tasks that wait or run, at most: as many are put in as end.
const BACKLOG: usize = 96;
/// So few are let come to their end undisturbed: the last one would be hit for ever.
const LAST: usize = 16;

#[derive(Parser, Debug)]
struct Options {
    /// 10,000 tasks, and workers that stay away for longer than a lease
    #[arg(long)]
    long: bool,
    /// How many tasks
    #[arg(long)]
    tasks: Option<usize>,
    /// What decides which fault comes when; the same seed gives the same faults, as far as the machine keeps the pace
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let tasks = options.tasks.unwrap_or(if options.long { 10_000 } else { 300 });
    let seed = options.seed.unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0);
    println!("{tasks} tasks, seed {seed}");
    let mut random = Random::new(seed);

    let dev = Dev::start().await;
    let world = dev.world();
    let mut fleet = Fleet::new(&dev, &world).await;
    fleet.start_all();
    let mut faults = Faults::new(options.long);
    let mut runs = Runs::new(&world);
    let begun = Instant::now();
    let done = flow(&world, tasks, &mut fleet, &mut faults, &mut runs, &mut random).await;
    let took = begun.elapsed();

    // Who was away when the last task ended may have something to deliver, or to hand back that is nobody's any more.
    fleet.all_up(&mut faults).await;
    let delivered = || async { world.journal().is_empty().then_some(()) };
    hub_tests::wait(delivered).await;
    runs.look();
    let journal = world.journal();
    fleet.stop_all().await;

    let verdict =
        Verdict { world: &world, tasks, done, took, faults: &faults, runs: &runs, journal, logs: fleet.logs() };
    let (passed, failed) = verdict.say(&fleet.marker).await;
    if failed > 0 {
        println!(
            "again with: tests/soak/run --tasks {tasks} --seed {seed}{}",
            if options.long { " --long" } else { "" }
        );
        fleet.keep_logs();
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Puts tasks in and lets faults happen until all are complete. Gives how many are.
async fn flow(
    world: &World,
    tasks: usize,
    fleet: &mut Fleet,
    faults: &mut Faults,
    runs: &mut Runs,
    random: &mut Random,
) -> usize {
    let (mut sent, mut done, mut progress) = (0, 0, Instant::now());
    let mut look = interval(Duration::from_millis(20));
    let mut count = interval(Duration::from_millis(250));
    look.set_missed_tick_behavior(MissedTickBehavior::Skip);
    count.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut next_fault = tokio::time::Instant::now() + Duration::from_secs(1);
    loop {
        tokio::select! {
            biased;
            _ = look.tick() => {
                runs.look();
                fleet.mend(faults);
            }
            _ = count.tick() => {
                let complete = "select count(*) from public.mac_tasks where status in ('complete', 'failed', 'cancelled')";
                let now = usize::try_from(world.count_all(complete).await).unwrap_or_default();
                if now > done {
                    (done, progress) = (now, Instant::now());
                }
                hurry(world).await;
                if done == tasks || progress.elapsed() > STALLED {
                    return done;
                }
                let more = (done + BACKLOG).min(tasks) - sent;
                if more >= BACKLOG / 4 || more == tasks - sent {
                    send(world, sent, more, random).await;
                    sent += more;
                }
            }
            () = tokio::time::sleep_until(next_fault) => {
                if tasks - done > LAST {
                    faults.one(world, fleet, random).await;
                }
                next_fault = tokio::time::Instant::now() + Duration::from_millis(random.between(100, 500));
            }
        }
    }
}

/// An agent that was killed is tried again after a while, which doubles up to ten minutes. What is looked at here does not need that.
async fn hurry(world: &World) {
    let soon = "update public.mac_tasks set run_after = now() + interval '2 seconds' where status = 'pending' and run_after > now() + interval '2 seconds'";
    sqlx::query(soon).execute(&world.pool).await.expect(soon);
}

/// One batch. Most take some tens of milliseconds; some are long enough to be there when a fault comes.
async fn send(world: &World, from: usize, count: usize, random: &mut Random) {
    if count == 0 {
        return;
    }
    let texts: Vec<String> = (from..from + count)
        .map(|n| {
            let step = if random.chance(5) { random.between(200, 900) } else { random.between(10, 60) };
            format!("soak {n} 0.{step:03}")
        })
        .collect();
    let mut transaction = world.pool.begin().await.expect("begins");
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select (public.hub_send(c.id, x.text) -> 'task' ->> 'id')::uuid from unnest($1::text[]) as x (text), public.hub_channels c where c.name = 'quick'",
    )
    .bind(&texts)
    .fetch_all(&mut *transaction)
    .await
    .expect("sends");
    sqlx::query("update public.mac_tasks set max_attempts = 100 where id = any ($1)")
        .bind(&ids)
        .execute(&mut *transaction)
        .await
        .expect("sets");
    transaction.commit().await.expect("commits");
}
