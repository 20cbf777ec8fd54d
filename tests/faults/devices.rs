//! Which device gets a task, and what a device says of itself.

use hub_tests::{PROJECT, World, agent, wait};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::work::{QUICK, gated, nothing_left, open, reasons, repository, runs, told_once};

#[tokio::test]
async fn two_workers_of_one_name_run_each_task_once() {
    let world = World::new().await;
    let one = world.worker("twin", &[agent("sh", QUICK)]).await;
    let two = world.worker("twin", &[agent("sh", QUICK)]).await;
    let mut tasks = Vec::new();
    for n in 0..20 {
        tasks.push(world.send(&format!("task {n}")).await);
    }
    for task in tasks {
        world.until(task, "complete").await;
        assert_eq!(world.count("select attempt::bigint from public.mac_tasks where id = $1", task).await, 1);
        assert_eq!(
            world
                .count(
                    "select count(*) from public.hub_channel_messages where task_id = $1 and content_type = 'result'",
                    task
                )
                .await,
            1
        );
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn of_two_workers_of_one_name_the_living_one_hands_back_what_the_killed_one_ran() {
    let world = World::new().await;
    repository(&world);
    let marker = world.marker();
    let script = gated(&world, &marker);
    let doomed = world.worker("twin", &[agent("sh", &script)]).await;
    let mut tasks = Vec::new();
    for n in 0..3 {
        tasks.push(world.send(&format!("task {n}")).await);
    }
    for task in &tasks {
        world.until_note(*task, "up").await;
    }
    let living = world.worker("twin", &[agent("sh", &script)]).await;
    doomed.kill().await;
    let killed = std::time::Instant::now();
    let again = "select string_agg(attempt || status, ' ') from public.mac_tasks";
    world.until_text(again, "2running 2running 2running").await;
    println!("a killed worker's tasks began again at its twin after {:?}", killed.elapsed());
    assert!(killed.elapsed().as_secs() < 30, "{:?}", killed.elapsed());
    open(&world);
    for task in tasks {
        told_once(&world, task, "complete").await;
        assert_eq!((runs(&world, task), reasons(&world, task).await), ((2, 1), "worker_gone complete".to_owned()));
    }
    nothing_left(&world, &marker).await;
    living.stop().await;
}

const STOPPING: &str = "select (stopping_at is not null)::text from public.mesh_devices";
const EXPLAINED: &str = "select string_agg(concat_ws(': ', reason, detail), '; ') from public.hub_explain_task($1)";

#[tokio::test]
async fn a_device_without_the_folder_gets_none_of_its_tasks_until_it_has_it() {
    let world = World::new().await;
    let bare = tempfile::tempdir().unwrap();
    let root = bare.path().to_str().unwrap();
    let without = world.worker_with("without", &[agent("sh", QUICK)], &[("HUB_WORKER_PROJECTS_ROOT", root)]).await;
    let first = world.send_with("nobody has it yet", "max_attempts = 1").await;
    let named = || async {
        let said = world.text(EXPLAINED, first).await;
        (said.contains(PROJECT) && said.contains("without")).then_some(())
    };
    assert!(wait(named).await.is_some(), "{}", world.text(EXPLAINED, first).await);

    let with = world.worker("with", &[agent("sh", QUICK)]).await;
    told_once(&world, first, "complete").await;
    for n in 0..6 {
        let task = world.send_with(&format!("task {n}"), "max_attempts = 1").await;
        told_once(&world, task, "complete").await;
    }
    let others = "select count(*) from public.hub_task_attempts where device <> 'with'";
    assert_eq!(world.count_all(others).await, 0);

    // Once it has the folder too it says so with a heartbeat.
    with.stop().await;
    let task = world.send("and now").await;
    std::fs::create_dir_all(bare.path().join(PROJECT)).unwrap();
    told_once(&world, task, "complete").await;
    assert_eq!(world.text("select claimed_by from public.mac_tasks where id = $1", task).await, "without");
    without.stop().await;
}

#[tokio::test]
async fn a_device_whose_worker_stopped_is_offline_at_once() {
    let world = World::new().await;
    let worker = world.worker("w1", &[agent("sh", QUICK)]).await;
    let online = "select (signed_off_at is null)::text from public.mesh_devices";
    let first = world.send("before").await;
    told_once(&world, first, "complete").await;
    assert_eq!(world.one_text(online).await, "true");
    worker.stop().await;
    assert_eq!(world.one_text(online).await, "false");
    let task = world.send("work").await;
    let said = world.text(EXPLAINED, task).await;
    assert!(said.contains("w1"), "{said}");

    // And online again when it is back.
    let worker = world.worker("w1", &[agent("sh", QUICK)]).await;
    told_once(&world, task, "complete").await;
    assert_eq!(world.one_text(online).await, "true");
    worker.stop().await;
}

#[tokio::test]
async fn a_device_that_drains_is_promised_to_nobody_and_hears_a_cancel_at_once() {
    let world = World::new().await;
    let marker = world.marker();
    let long = &[("HUB_WORKER_DRAIN_SECONDS", "600")];
    let worker = world.worker_with("w1", &[agent("sh", &gated(&world, &marker))], long).await;
    let task = world.send("work").await;
    world.until_note(task, "up").await;
    worker.signal(Signal::SIGTERM);
    world.until_text(STOPPING, "true").await;
    let next = world.send("more").await;
    let said = world.text(EXPLAINED, next).await;
    assert!(said.starts_with("w1 is stopping: "), "{said}");

    let asked = std::time::Instant::now();
    world.sql(&format!("select public.hub_cancel_task('{task}')")).await;
    told_once(&world, task, "cancelled").await;
    println!("a draining worker had its task cancelled after {:?}", asked.elapsed());
    // It beats every twenty seconds.
    assert!(asked.elapsed().as_secs() < 10, "{:?}", asked.elapsed());
    worker.ended().await;
    let said = world.text(EXPLAINED, next).await;
    assert!(said.contains("w1 has sh for it and is offline"), "{said}");
    nothing_left(&world, &marker).await;
}

#[tokio::test]
async fn of_two_workers_of_one_name_one_that_stops_does_not_stop_the_other() {
    let world = World::new().await;
    repository(&world);
    let marker = world.marker();
    let long = &[("HUB_WORKER_DRAIN_SECONDS", "600")];
    let one = world.worker_with("twin", &[agent("sh", &gated(&world, &marker))], long).await;
    let first = world.send("first").await;
    world.until_note(first, "up").await;
    let two = world.worker("twin", &[agent("sh", QUICK)]).await;
    let mut heard = world.listen("hub_device").await;
    one.signal(Signal::SIGTERM);
    // It said that it stops, and the other was asked.
    world.heard(&mut heard).await;
    world.until_text(STOPPING, "false").await;
    let task = world.send("more").await;
    told_once(&world, task, "complete").await;
    assert_eq!(world.one_text(STOPPING).await, "false");
    open(&world);
    told_once(&world, first, "complete").await;
    one.ended().await;
    let task = world.send("and more").await;
    told_once(&world, task, "complete").await;
    nothing_left(&world, &marker).await;
    two.stop().await;
}

#[tokio::test]
async fn survey_takes_a_task_only_where_no_online_device_has_the_model() {
    let world = World::new().await;
    let looks = world.worker("looks", &[]).await;
    let mut model = agent("claude", "sleep 0.1; echo done");
    model["models"] = json!(["claude"]);
    let works = world.worker_with("works", &[model], &[("HUB_WORKER_CAPACITY", "1")]).await;
    let mut tasks = Vec::new();
    for n in 0..6 {
        tasks.push(world.send(&format!("ask claude to do {n}")).await);
    }
    for task in tasks {
        told_once(&world, task, "complete").await;
        assert_eq!(world.text("select agent from public.mac_tasks where id = $1", task).await, "claude");
    }
    // Signed off is not online.
    works.stop().await;
    let task = world.send("ask claude to look").await;
    told_once(&world, task, "complete").await;
    assert_eq!(world.text("select agent from public.mac_tasks where id = $1", task).await, "survey");
    looks.stop().await;
}
