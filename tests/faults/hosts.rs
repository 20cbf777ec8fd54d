//! The host of an attempt, its guard and its agent, killed the hard way at the start, in the middle and at the end.

use hub_tests::{Part, Process, World, agent, wait};
use nix::sys::signal::Signal;

use crate::work::{attempts, counted, gated, nothing_left, open, reasons, runs, shut, told_once};

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

/// Runs on for ever at first. Whoever comes after writes down what it finds of that.
fn first_for_ever(world: &World, marker: &str) -> String {
    let file = |name: &str| world.root().join(name).display().to_string();
    let first = format!("(setsid sleep {marker} &); echo up; sleep {marker}");
    let next = format!("pgrep -f '^sleep {marker}$' >> {}", file("beside"));
    counted(world, &format!("trap '' TERM; if mkdir {} 2>/dev/null; then {first}; else {next}; fi", file("first")))
}

/// Host and guard, held, so that neither sees what becomes of the other or of the worker. In this order: where the guard ends first
/// the system wakes the host.
async fn held(world: &World, marker: &str) -> [Process; 2] {
    let both = [world.until_part(marker, Part::Host).await, world.until_part(marker, Part::Guard).await];
    for process in both.iter().rev() {
        process.signal(Signal::SIGSTOP);
    }
    both
}

async fn ran_alone(world: &World, marker: &str, task: uuid::Uuid, expected: &str) {
    told_once(world, task, "complete").await;
    assert_eq!(reasons(world, task).await, expected);
    assert_eq!(std::fs::read_to_string(world.root().join("beside")).unwrap(), "", "it ran beside the one before it");
    nothing_left(world, marker).await;
}

#[tokio::test]
async fn what_guard_and_host_leave_that_are_killed_at_once_does_not_run_beside_the_next_attempt() {
    let world = World::new().await;
    let marker = world.marker();
    let worker = world.worker("w1", &[agent("sh", &first_for_ever(&world, &marker))]).await;
    let task = world.send("work").await;
    world.until_note(task, "up").await;
    for process in held(&world, &marker).await {
        process.signal(Signal::SIGKILL);
    }
    ran_alone(&world, &marker, task, "host_gone complete").await;
    worker.stop().await;
}

#[tokio::test]
async fn what_guard_host_and_worker_leave_that_are_killed_at_once_another_worker_of_the_device_ends() {
    let world = World::new().await;
    let marker = world.marker();
    let agents = [agent("sh", &first_for_ever(&world, &marker))];
    let doomed = world.worker("twin", &agents).await;
    let task = world.send("work").await;
    world.until_note(task, "up").await;
    let living = world.worker_with("twin", &agents, &[("HUB_WORKER_CAPACITY", "5")]).await;
    // It has looked for what is left of others, and begun.
    world.until_text("select capacity::text from public.mesh_devices", "5").await;
    let both = held(&world, &marker).await;
    doomed.kill().await;
    for process in both {
        process.signal(Signal::SIGKILL);
    }
    ran_alone(&world, &marker, task, "worker_gone complete").await;
    living.stop().await;
}
