//! The host of an attempt, its guard and its agent, killed the hard way at the start, in the middle and at the end.

use hub_tests::{Part, World, agent, wait};
use nix::sys::signal::Signal;

use crate::work::{attempts, gated, nothing_left, open, reasons, runs, shut, told_once};

async fn killed_at_each_step(part: Part, expected: &[&str]) {
    let world = World::new().await;
    let marker = world.marker();
    // One slot: the next step begins only if the one before gave it back.
    let worker =
        world.worker_with("w1", &[agent("sh", &gated(&world, &marker))], &[("HUB_WORKER_CAPACITY", "1")]).await;
    for step in ["start", "middle", "end"] {
        shut(&world);
        let task = world.send(step).await;
        if step != "start" {
            world.until_note(task, "up").await;
        }
        let victim = world.until_part(&marker, part).await;
        if step == "end" {
            open(&world);
        }
        victim.signal(Signal::SIGKILL);
        if step != "end" {
            // Only the next may come to its end.
            let again = || async { (attempts(&world, task).await == 2).then_some(()) };
            assert!(wait(again).await.is_some(), "no other attempt began");
            open(&world);
        }
        told_once(&world, task, "complete").await;
        nothing_left(&world, &marker).await;

        let (began, ended) = runs(&world, task);
        let (attempts, reasons) = (attempts(&world, task).await, reasons(&world, task).await);
        println!(
            "{part:?} killed at its {step}: {attempts} attempts ({reasons}), began {began}, came to its end {ended}"
        );
        let failed = reasons.strip_suffix("complete").unwrap().split_whitespace();
        assert!(failed.clone().all(|reason| expected.contains(&reason)), "{reasons}");
        // Killed at its end it may have been done.
        assert!(attempts <= 2 && (step == "end" || attempts == 2), "{attempts}");
        assert!(ended == 1 || step == "end", "{ended}");
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_guard_that_is_killed_at_each_step() {
    killed_at_each_step(Part::Guard, &["host_gone"]).await;
}

#[tokio::test]
async fn a_host_that_is_killed_at_each_step() {
    killed_at_each_step(Part::Host, &["host_gone"]).await;
}

#[tokio::test]
async fn an_agent_that_is_killed_at_each_step() {
    killed_at_each_step(Part::Agent, &["signal"]).await;
}
