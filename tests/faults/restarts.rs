//! Workers that are stopped and started again and again.

use hub_tests::{World, agent, wait};
use nix::sys::signal::Signal;

use crate::work::{counted, nothing_left, told_once};

#[tokio::test]
async fn a_hundred_restarts_in_a_row_lose_nothing_and_use_up_no_attempt() {
    let world = World::new().await;
    let marker = world.marker();
    let restarts = if std::env::var_os("HUB_TEST_QUICK").is_some() { 20 } else { 100 };
    let script = counted(&world, &format!(": {marker}; echo up; sleep 0.2"));
    // No attempt may be used up: there is one.
    let mut tasks = Vec::new();
    for n in 0..2 * restarts {
        tasks.push(world.send_with(&format!("task {n}"), "max_attempts = 1").await);
    }
    let begun = std::time::Instant::now();
    for restart in 0..restarts {
        let complete = "select count(*) from public.mac_tasks where status = 'complete'";
        let before = world.count_all(complete).await;
        let worker = world.worker_with("w1", &[agent("sh", &script)], &[("HUB_WORKER_DRAIN_SECONDS", "0")]).await;
        // One is stopped as soon as something runs, the next when something came to its end.
        let ripe = || async {
            let running = "select count(*) from public.mac_tasks where status = 'running'";
            let ripe = if restart % 2 == 0 {
                world.count_all(running).await
            } else {
                world.count_all(complete).await - before
            };
            (ripe > 0).then_some(())
        };
        assert!(wait(ripe).await.is_some(), "restart {restart}: no work was done");
        worker.signal(Signal::SIGTERM);
        worker.ended().await;
        let held = "select count(*) from public.mac_tasks where status = 'running'";
        assert_eq!(world.count_all(held).await, 0, "restart {restart}: a worker that stopped still holds a task");
    }
    println!("{restarts} restarts took {:?}", begun.elapsed());

    let worker = world.worker("w1", &[agent("sh", &script)]).await;
    for task in tasks {
        told_once(&world, task, "complete").await;
    }
    let reasons = "select coalesce(string_agg(distinct reason, ' '), 'none') from public.hub_task_attempts where outcome <> 'complete'";
    assert_eq!(world.one_text(reasons).await, "worker_stopped");
    nothing_left(&world, &marker).await;
    worker.stop().await;
}
