//! Attempts whose worker or agent is killed, that are cancelled, or that may not run.

use hub_tests::{BOUND, World, agent, wait};
use nix::sys::signal::Signal;
use serde_json::json;
use std::time::Duration;

use crate::work::{QUICK, attempts, counted, gated, nothing_left, open, reasons, runs, shut, told_once, until_ended};

const FOR_EVER: &str = "echo started; sleep 86399";

#[tokio::test]
async fn a_killed_workers_task_is_finished_by_another() {
    let world = World::new().await;
    let doomed = world.worker("w1", &[agent("sh", FOR_EVER)]).await;
    let task = world.send("work").await;
    world.until(task, "running").await;
    doomed.kill().await;

    // The keeper's clock is an argument: two minutes later the lease is over, though for all the hub knows an outage has just
    // ended, and three minutes later that is over. It passes over a row that another session holds, and the statement that the killed worker was in may still run, so it is asked until it took the task, as a
    // keeper asks each minute.
    let lost = async {
        while world.text("select status from public.mac_tasks where id = $1", task).await != "pending" {
            world.sql("select public.hub_recover(now() + interval '2 minutes')").await;
            world.sql("select public.hub_recover(now() + interval '3 minutes')").await;
        }
    };
    tokio::time::timeout(BOUND, lost).await.unwrap();
    let other = world.worker("w2", &[agent("sh", QUICK)]).await;
    world.until(task, "complete").await;
    assert_eq!(
        world.text("select attempt || ' ' || claimed_by from public.mac_tasks where id = $1", task).await,
        "2 w2"
    );

    // What the first attempt still has to say is refused, and changes nothing.
    let stale = world.try_sql(&format!("select public.hub_complete_task('{task}', 1, 'too late')")).await;
    assert_eq!(stale, Err("UH002".to_owned()));
    assert_eq!(
        world
            .count(
                "select count(*) from public.hub_channel_messages where task_id = $1 and content_type = 'result'",
                task
            )
            .await,
        1
    );
    assert_eq!(
        world
            .count(
                "select count(*) from public.hub_channel_messages where task_id = $1 and content like '⚠️%lost by w1%'",
                task
            )
            .await,
        1
    );
    other.stop().await;
}

#[tokio::test]
async fn a_killed_agent_fails_its_task_and_its_processes_end() {
    let world = World::new().await;
    let marker = world.marker();
    // A child that leaves the process group, as a tool's server would; then the agent dies the hard way.
    let script = format!("setsid sleep {marker} & echo up; sleep 0.3; kill -9 $$");
    let worker = world.worker("w1", &[agent("sh", &script)]).await;
    let task = world.send_with("work", "max_attempts = 1").await;
    world.until(task, "failed").await;
    world.until_no_process(&marker).await;
    worker.stop().await;
}

#[tokio::test]
async fn cancelling_a_task_ends_all_its_processes() {
    let world = World::new().await;
    let marker = world.marker();
    let worker = world
        .worker(
            "w1",
            &[agent("sh", &format!("trap '' TERM; echo up; (trap '' TERM; sleep {marker}) & sleep {marker}"))],
        )
        .await;
    let task = world.send("work").await;
    world.until_note(task, "up").await;
    world.sql(&format!("select public.hub_cancel_task('{task}')")).await;
    world.until(task, "cancelled").await;
    world.until_no_process(&marker).await;
    assert_eq!(
        world
            .count("select count(*) from public.hub_channel_messages where task_id = $1 and content like '🚫%'", task)
            .await,
        1
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_hands_its_task_back() {
    let world = World::new().await;
    let marker = world.marker();
    let worker = world.worker("w1", &[agent("sh", &format!("echo up; sleep {marker}"))]).await;
    let task = world.send("work").await;
    world.until_note(task, "up").await;
    worker.signal(Signal::SIGTERM);
    worker.ended().await;
    world.until(task, "pending").await;
    world.until_no_process(&marker).await;
}

#[tokio::test]
async fn a_project_outside_the_root_is_refused_and_not_tried_again() {
    let world = World::new().await;
    let worker = world.worker("w1", &[agent("sh", QUICK)]).await;
    std::os::unix::fs::symlink("/", world.root().join("out")).unwrap();
    // The database refuses most of these when a task is made. A row may be older than that, and the machine looks for itself.
    world
        .sql(
            "insert into public.hub_places (kind, server_id, target) select 'project', id, '*' from public.hub_servers",
        )
        .await;
    let mut refused = Vec::new();
    for project in ["../..", "/etc", ".", " ", "./.", ".hidden", "Desktop/.git"] {
        refused.push((project, world.send_with("work", &format!("project = '{project}'")).await));
    }
    let elsewhere = world.send_with("work", "project = 'out/etc'").await;
    for (project, task) in refused {
        world.until(task, "failed").await;
        assert_eq!(
            world.count("select attempt::bigint from public.mac_tasks where id = $1", task).await,
            1,
            "{project}"
        );
    }
    // This machine has no such project; another may have a folder where this one has a link out of its root.
    let said = "select string_agg(concat_ws(': ', reason, detail), '; ') from public.hub_explain_task($1)";
    let named = || async { world.text(said, elsewhere).await.contains("out/etc").then_some(()) };
    assert!(wait(named).await.is_some(), "{}", world.text(said, elsewhere).await);
    assert_eq!(world.count("select attempt::bigint from public.mac_tasks where id = $1", elsewhere).await, 0);
    worker.stop().await;
}

/// For what takes a second or two on a machine that does nothing else; a lease takes sixty.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_killed_workers_agent_ends_and_its_next_worker_hands_the_task_back_at_once() {
    let world = World::new().await;
    let marker = world.marker();
    let first = world.root().join("first").display().to_string();
    // It does not follow TERM, and runs on for ever the first time.
    let script =
        counted(&world, &format!("trap '' TERM; echo up; if mkdir {first} 2>/dev/null; then sleep {marker}; fi"));
    let one = &[("HUB_WORKER_CAPACITY", "1")];
    let doomed = world.worker_with("w1", &[agent("sh", &script)], one).await;
    let task = world.send("work").await;
    world.until_note(task, "up").await;
    doomed.kill().await;
    let dead = world.until_no_process(&marker).await;

    let restarted = std::time::Instant::now();
    let worker = world.worker_with("w1", &[agent("sh", &script)], one).await;
    let again = "select attempt::text from public.mac_tasks";
    world.until_text(again, "2").await;
    let next = restarted.elapsed();
    println!(
        "a killed worker's agent was dead after {dead:?}; the next attempt began {next:?} after the worker was started again"
    );
    told_once(&world, task, "complete").await;
    assert!(dead < SOON && next < SOON, "{dead:?} {next:?}");
    assert_eq!((attempts(&world, task).await, runs(&world, task)), (2, (2, 1)));
    assert_eq!(reasons(&world, task).await, "worker_gone complete");
    let handed = "select count(*) from public.hub_channel_messages where task_id = $1 and event = 'handed_back'";
    assert_eq!(world.count(handed, task).await, 1);
    nothing_left(&world, &marker).await;

    // Its one slot is free.
    let next = world.send("more").await;
    told_once(&world, next, "complete").await;
    worker.stop().await;
}

#[tokio::test]
async fn multica_5918_cancelling_ends_the_agent_and_all_it_started() {
    let world = World::new().await;
    let marker = world.marker();
    let script = counted(
        &world,
        &format!("trap '' TERM; (setsid sh -c 'trap \"\" TERM; sleep {marker}' &); echo up; sleep {marker}"),
    );
    let worker = world.worker_with("w1", &[agent("sh", &script)], &[("HUB_WORKER_CAPACITY", "1")]).await;
    let task = world.send("work").await;
    world.until_note(task, "up").await;
    world.sql(&format!("select public.hub_cancel_task('{task}')")).await;
    let dead = world.until_no_process(&marker).await;
    println!("a cancelled agent that does not follow TERM was dead after {dead:?}");
    told_once(&world, task, "cancelled").await;
    assert_eq!(reasons(&world, task).await, "cancelled");
    assert_eq!(runs(&world, task), (1, 0));
    nothing_left(&world, &marker).await;
    worker.stop().await;
}

#[tokio::test]
async fn multica_5682_a_hung_tool_is_ended_by_the_watchdog() {
    let world = World::new().await;
    let marker = world.marker();
    let mut config = agent("sh", &counted(&world, &format!("echo asking; sleep {marker}")));
    config["silence_seconds"] = json!(1);
    let worker = world.worker_with("w1", &[config], &[("HUB_WORKER_CAPACITY", "1")]).await;
    let task = world.send_with("work", "max_attempts = 1").await;
    told_once(&world, task, "failed").await;
    assert_eq!(reasons(&world, task).await, "silent");
    nothing_left(&world, &marker).await;
    worker.stop().await;
}

#[tokio::test]
async fn an_agent_that_says_nothing_at_all_is_ended_by_the_watchdog() {
    let world = World::new().await;
    let marker = world.marker();
    let mut config = agent("sh", &format!("sleep {marker}"));
    config["first_output_seconds"] = json!(1);
    let worker = world.worker("w1", &[config]).await;
    let task = world.send_with("work", "max_attempts = 1").await;
    told_once(&world, task, "failed").await;
    assert_eq!(reasons(&world, task).await, "no_output");
    nothing_left(&world, &marker).await;
    worker.stop().await;
}

/// A process that nothing leads to: forked twice, in a session of its own, with nothing in its environment.
fn hidden(marker: &str) -> String {
    format!("(setsid env -i /bin/sh -c '(setsid env -i /bin/sleep {marker} &)' &)")
}

#[tokio::test]
async fn hermes_agent_88562_nothing_survives_an_attempt_however_it_forked() {
    let world = World::new().await;
    let marker = world.marker();
    // Until the hidden one is there, or its attempt would end before it came up.
    let there = format!("until pgrep -f '^/bin/sleep {marker}$' >/dev/null; do sleep 0.02; done");
    let script = format!("{}; {there}; {}", hidden(&marker), gated(&world, &marker));
    let worker = world.worker("w1", &[agent("sh", &script)]).await;

    // After it ended well.
    let task = world.send("ends").await;
    world.until_note(task, "up").await;
    open(&world);
    told_once(&world, task, "complete").await;
    nothing_left(&world, &marker).await;
    shut(&world);

    // After it was cancelled.
    let task = world.send("is cancelled").await;
    world.until_note(task, "up").await;
    world.sql(&format!("select public.hub_cancel_task('{task}')")).await;
    told_once(&world, task, "cancelled").await;
    nothing_left(&world, &marker).await;

    // After its worker was killed.
    let task = world.send("loses its worker").await;
    world.until_note(task, "up").await;
    worker.kill().await;
    world.until_no_process(&marker).await;
    open(&world);
    let worker = world.worker("w1", &[agent("sh", &script)]).await;
    told_once(&world, task, "complete").await;
    nothing_left(&world, &marker).await;
    worker.stop().await;
}

#[tokio::test]
async fn success_is_only_what_says_that_it_is() {
    let world = World::new().await;
    let marker = world.marker();
    // Ends with 0 as programs do that are interrupted, without the last word that this agent always has.
    let mut config = agent("sh", &format!("trap 'exit 0' INT TERM; : {marker}; echo up; while :; do sleep 0.02; done"));
    config["final"] = json!("DONE");
    let worker = world.worker("w1", &[config]).await;
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let task = world.send_with("work", "max_attempts = 1").await;
        world.until_note(task, "up").await;
        world.until_part(&marker, hub_tests::Part::Agent).await.signal(signal);
        told_once(&world, task, "failed").await;
        nothing_left(&world, &marker).await;
    }
    worker.stop().await;

    // One without a last word, ended from outside by a signal.
    let worker = world.worker("w2", &[agent("sh", &gated(&world, &marker))]).await;
    let task = world.send_with("work", "max_attempts = 1").await;
    world.until_note(task, "up").await;
    world.until_part(&marker, hub_tests::Part::Agent).await.signal(Signal::SIGTERM);
    told_once(&world, task, "failed").await;
    assert_eq!(reasons(&world, task).await, "signal");
    nothing_left(&world, &marker).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_lease_that_a_moved_clock_ended_costs_a_run_and_is_told_once() {
    let world = World::new().await;
    let marker = world.marker();
    let worker = world.worker("w1", &[agent("sh", &gated(&world, &marker))]).await;
    let task = world.send("work").await;
    world.until_note(task, "up").await;
    // To a database whose clock jumped ahead by an hour every lease is over.
    world.sql("update public.mac_tasks set lease_expires_at = lease_expires_at - interval '1 hour'; select public.hub_recover()").await;
    let again = "select attempt::text || status from public.mac_tasks";
    world.until_text(again, "2running").await;
    open(&world);
    told_once(&world, task, "complete").await;
    let (began, ended) = runs(&world, task);
    assert_eq!(attempts(&world, task).await, 2);
    assert!(began <= 2 && ended == 1, "{began} {ended}");
    assert_eq!(reasons(&world, task).await, "lease_lost complete");
    nothing_left(&world, &marker).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_clock_that_went_back_an_hour_keeps_nobody_waiting() {
    let world = World::new().await;
    let marker = world.marker();
    let script = gated(&world, &marker);
    let doomed = world.worker("w1", &[agent("sh", &script)]).await;
    let task = world.send("work").await;
    world.until_note(task, "up").await;
    doomed.kill().await;
    world.sql("update public.mac_tasks set lease_expires_at = lease_expires_at + interval '1 hour'; update public.mesh_devices set last_heartbeat_at = now() + interval '1 hour'").await;
    open(&world);
    let worker = world.worker("w1", &[agent("sh", &script)]).await;
    told_once(&world, task, "complete").await;
    until_ended(&world, task).await;
    nothing_left(&world, &marker).await;
    worker.stop().await;
}

#[tokio::test]
async fn what_a_folder_of_the_journal_does_not_say_any_more_its_name_says() {
    let world = World::new().await;
    let marker = world.marker();
    let agents = [agent("sh", &gated(&world, &marker))];
    for written in ["", "{garbage"] {
        // The agent ended by itself, and nobody was there to tell.
        shut(&world);
        let doomed = world.worker("w1", &agents).await;
        let task = world.send("ends").await;
        world.until_note(task, "up").await;
        doomed.signal(Signal::SIGSTOP);
        open(&world);
        until_ended(&world, task).await;
        world.until_no_process(&marker).await;
        doomed.kill().await;
        let about = |task| world.state("w1").join(format!("attempts/{task}.1/attempt.json"));
        std::fs::write(about(task), written).unwrap();
        let worker = world.worker("w1", &agents).await;
        told_once(&world, task, "complete").await;
        assert_eq!((attempts(&world, task).await, runs(&world, task)), (1, (1, 1)));
        nothing_left(&world, &marker).await;

        // It was ended with its worker.
        shut(&world);
        let task = world.send("is ended").await;
        world.until_note(task, "up").await;
        worker.kill().await;
        world.until_no_process(&marker).await;
        std::fs::write(about(task), written).unwrap();
        open(&world);
        let worker = world.worker("w1", &agents).await;
        told_once(&world, task, "complete").await;
        assert_eq!(reasons(&world, task).await, "worker_gone complete");
        nothing_left(&world, &marker).await;
        worker.stop().await;
    }
}
