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
    let living = world.worker("twin", &agents).await;
    let both = held(&world, &marker).await;
    doomed.kill().await;
    for process in both {
        process.signal(Signal::SIGKILL);
    }
    ran_alone(&world, &marker, task, "worker_gone complete").await;
    living.stop().await;
}

#[tokio::test]
async fn a_guard_that_is_frozen_keeps_neither_its_attempt_nor_the_slot() {
    let world = World::new().await;
    let marker = world.marker();
    let worker =
        world.worker_with("w1", &[agent("sh", &gated(&world, &marker))], &[("HUB_WORKER_CAPACITY", "1")]).await;
    let task = world.send("work").await;
    world.until_note(task, "up").await;
    world.until_part(&marker, Part::Guard).await.signal(Signal::SIGSTOP);
    open(&world);
    told_once(&world, task, "complete").await;
    let next = world.send("next").await;
    told_once(&world, next, "complete").await;
    assert_eq!(attempts(&world, task).await, 1);
    nothing_left(&world, &marker).await;
    worker.stop().await;
}

/// Its host is frozen: not even taken leave of, it has no arguments any more.
async fn until_agent_gone(world: &World, marker: &str) {
    let gone = || async { world.attempts(marker).await.iter().all(|(_, part)| *part != Part::Agent).then_some(()) };
    assert!(wait(gone).await.is_some(), "the agent never came to its end");
}

#[tokio::test]
async fn an_agent_that_ended_before_its_frozen_host_is_told_to_go_has_done_its_work() {
    let world = World::new().await;
    let marker = world.marker();
    let worker = world.worker("w1", &[agent("sh", &gated(&world, &marker))]).await;
    let task = world.send("work").await;
    world.until_note(task, "up").await;
    let guard = world.until_part(&marker, Part::Guard).await;
    let host = world.until_part(&marker, Part::Host).await;
    // The guard too, for it lets a host that is stopped go on.
    guard.signal(Signal::SIGSTOP);
    host.signal(Signal::SIGSTOP);
    open(&world);
    until_agent_gone(&world, &marker).await;
    host.signal(Signal::SIGTERM);
    for process in [&host, &guard] {
        process.signal(Signal::SIGCONT);
    }
    told_once(&world, task, "complete").await;
    assert_eq!((runs(&world, task), reasons(&world, task).await.as_str()), ((1, 1), "complete"));
    nothing_left(&world, &marker).await;
    worker.stop().await;
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
    until_agent_gone(world, &marker).await;
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
