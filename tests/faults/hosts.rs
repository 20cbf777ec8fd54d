//! The host of an attempt, its guard and its agent, killed the hard way at the start, in the middle and at the end.

use hub_tests::{Part, World, agent, wait};
use nix::sys::signal::Signal;

use crate::work::{attempts, gated, nothing_left, open, reasons, runs, shut, told_once, until_ended};

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

/// Guard and host are frozen, the worker is killed, the agent comes to its end meanwhile: the next worker, with this in its environment,
/// is to deliver what it said.
async fn frozen_when_the_worker_is_killed(world: &World, environment: &[(&str, &str)]) {
    let marker = world.marker();
    let agents = [agent("sh", &gated(world, &marker))];
    let worker = world.worker("w1", &agents).await;
    let task = world.send("work").await;
    world.until_note(task, "up").await;
    for part in [Part::Guard, Part::Host] {
        world.until_part(&marker, part).await.signal(Signal::SIGSTOP);
    }
    worker.kill().await;
    open(world);
    until_ended(world, task).await;
    let worker = world.worker_with("w1", &agents, environment).await;
    told_once(world, task, "complete").await;
    assert_eq!((runs(world, task), attempts(world, task).await), ((1, 1), 1));
    nothing_left(world, &marker).await;
    worker.stop().await;
}

#[tokio::test]
async fn what_an_agent_said_to_a_frozen_host_is_delivered_by_the_next_worker() {
    frozen_when_the_worker_is_killed(&World::new().await, &[]).await;
}

#[tokio::test]
async fn a_frozen_host_that_no_sweep_looks_for_does_not_keep_its_attempt() {
    // With another root for projects it is no other worker's host for all that the sweep can tell.
    let world = World::new().await;
    let root = world.root().join("elsewhere");
    std::fs::create_dir_all(root.join(hub_tests::PROJECT)).unwrap();
    frozen_when_the_worker_is_killed(&world, &[("HUB_WORKER_PROJECTS_ROOT", &root.to_string_lossy())]).await;
}

#[tokio::test]
async fn an_agent_of_a_frozen_host_ends_with_the_next_worker() {
    let world = World::new().await;
    let marker = world.marker();
    let agents = [agent("sh", &gated(&world, &marker))];
    let worker = world.worker("w1", &agents).await;
    let task = world.send("work").await;
    world.until_note(task, "up").await;
    let old = world.until_part(&marker, Part::Agent).await;
    for part in [Part::Guard, Part::Host] {
        world.until_part(&marker, part).await.signal(Signal::SIGSTOP);
    }
    worker.kill().await;
    let worker = world.worker("w1", &agents).await;
    let again = || async { (attempts(&world, task).await == 2).then_some(()) };
    assert!(wait(again).await.is_some(), "no other attempt began");
    assert!(!old.signal(Signal::SIGCONT), "the agent of the first still runs");
    open(&world);
    told_once(&world, task, "complete").await;
    assert_eq!((runs(&world, task).1, reasons(&world, task).await.as_str()), (1, "worker_gone complete"));
    nothing_left(&world, &marker).await;
    worker.stop().await;
}
