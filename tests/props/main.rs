//! Properties against pure models: the queue, the age of threads, the numbers of a conversation, Koji's commands, frames, the
//! HTTP functions; asking people; teams.
//! The hub's clock is an argument, so a case moves time as it likes and waits for nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod asks;
mod budget_steps;
mod budgets;
mod edge;
mod frames;
mod koji;
mod numbering;
mod pools;
mod queue;
mod team_model;
mod team_races;
mod teams;
mod threads;
mod timed;
mod week;

use hub_tests::World;
use std::future::Future;

/// Runs `case` on a runtime of its own: proptest's cases are not async.
fn block_on<T>(case: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(case)
}

/// Forgets all that earlier cases did in this database.
async fn forget(world: &World) {
    world
        .sql(
            "truncate public.mac_tasks, public.hub_channel_messages, public.hub_task_threads cascade;
             update public.hub_channels set message_count = 0;
             update hub_internal.rounds set ran_at = null, due_at = null, outage_from = null, outage_to = null",
        )
        .await;
}
