//! Attempts of a program that speaks: what people add to it and answer it, whoever is killed meanwhile; its session; the place where it works.

use std::{path::PathBuf, time::Duration};

use hub_tests::{PROJECT, World, program, wait};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::work::{git, nothing_left, reasons, repository, told_once};

/// The agent of the codecs' tests: it does what its prompt says (`functions/agents/examples/acp_agent.rs`).
fn acp(world: &World) -> Value {
    let agent: PathBuf = program().parent().unwrap().join("examples/acp_agent");
    assert!(agent.exists(), "{} is missing: cargo test -p hub-agents builds it", agent.display());
    let sessions = world.root().join(".sessions");
    std::fs::create_dir_all(&sessions).unwrap();
    json!({ "agent": "acp", "models": ["any"], "kind": "acp", "program": agent, "env": ["ACP_AGENT_SESSIONS"] })
}

async fn worker(world: &World) -> hub_tests::Worker {
    acp_worker(world, "w1").await
}

pub async fn acp_worker(world: &World, device: &str) -> hub_tests::Worker {
    let sessions = world.root().join(".sessions").display().to_string();
    let agent = acp(world);
    world.worker_with(device, &[agent], &[("ACP_AGENT_SESSIONS", &sessions)]).await
}

pub async fn asked(world: &World, task: Uuid) -> Uuid {
    let open = "select coalesce((select id::text from public.hub_asks where task_id = $1 and state = 'open'), '')";
    let found = wait(|| async { world.text(open, task).await.parse().ok() }).await;
    found.unwrap_or_else(|| panic!("nothing was asked"))
}

async fn answer(world: &World, ask: Uuid, answer: &str) {
    world.sql(&format!("select public.hub_answer_ask('{ask}', '{answer}')")).await;
}

pub async fn result(world: &World, task: Uuid) -> String {
    world.text("select coalesce(result, error, '') from public.mac_tasks where id = $1", task).await
}

const SESSION: &str = "select coalesce(session_id, '') from public.hub_sessions where root_id = $1";

#[tokio::test]
async fn an_answer_reaches_an_agent_that_waits_within_moments() {
    let world = World::new().await;
    let worker = worker(&world).await;
    let task = world.send("ask:other say:done").await;
    let ask = asked(&world, task).await;
    answer(&world, ask, "allow").await;
    told_once(&world, task, "complete").await;
    assert_eq!(result(&world, task).await, "It was allowed.done");
    let late =
        "select count(*) from public.hub_asks where task_id = $1 and taken_at - answered_at > interval '5 seconds'";
    assert_eq!(world.count(late, task).await, 0);
    nothing_left(&world, &world.marker()).await;
    worker.stop().await;
}

#[tokio::test]
async fn kestra_5363_one_that_waits_too_long_holds_no_slot_and_goes_on_in_its_session_with_the_answer() {
    let world = World::new().await;
    world.sql("update hub_internal.settings set value = '1 second' where name = 'ask_hold'").await;
    let worker = worker(&world).await;
    let task = world.send("say:one ask:other say:two").await;
    world.until(task, "waiting").await;
    assert_eq!(reasons(&world, task).await, "parked");
    nothing_left(&world, &world.marker()).await;
    let session = world.text(SESSION, task).await;
    assert!(!session.is_empty());
    // Whoever has the device's slot meanwhile.
    let other = world.send("say:other").await;
    told_once(&world, other, "complete").await;

    answer(&world, asked(&world, task).await, "allow").await;
    told_once(&world, task, "complete").await;
    assert_eq!(world.text(SESSION, task).await, session);
    let sessions = std::fs::read_to_string(world.root().join(".sessions").join(&session)).unwrap();
    assert!(sessions.contains("say:one ask:other say:two") && sessions.lines().count() >= 2, "{sessions}");
    assert_eq!(reasons(&world, task).await, "parked complete");
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_killed_while_somebody_is_asked_leaves_the_question_and_the_answer_goes_on() {
    let world = World::new().await;
    let doomed = worker(&world).await;
    let task = world.send("say:one ask:other say:two").await;
    let ask = asked(&world, task).await;
    doomed.kill().await;
    let next = worker(&world).await;
    world.until(task, "waiting").await;
    answer(&world, ask, "allow").await;
    told_once(&world, task, "complete").await;
    assert_eq!(reasons(&world, task).await, "parked complete");
    nothing_left(&world, &world.marker()).await;
    next.stop().await;
}

#[tokio::test]
async fn a_worker_stopped_while_somebody_is_asked_leaves_the_question_and_the_answer_goes_on() {
    let world = World::new().await;
    let stopped = worker(&world).await;
    let task = world.send("say:one ask:other say:two").await;
    let ask = asked(&world, task).await;
    stopped.stop().await;
    world.until(task, "waiting").await;
    answer(&world, ask, "deny").await;
    let next = worker(&world).await;
    told_once(&world, task, "complete").await;
    next.stop().await;
}

#[tokio::test]
async fn what_is_added_while_it_works_reaches_it_once() {
    let world = World::new().await;
    let worker = worker(&world).await;
    let task = world.send("tool wait:3000 say:one").await;
    world.until_note(task, "cargo test").await;
    world.sql(&format!("select public.hub_steer_task('{task}', 'say:two')")).await;
    told_once(&world, task, "complete").await;
    assert!(result(&world, task).await.starts_with("two"), "{}", result(&world, task).await);
    let follow_ups = "select count(*) from public.mac_tasks where parent_id = $1";
    assert_eq!(world.count(follow_ups, task).await, 0);
    worker.stop().await;
}

#[tokio::test]
async fn a_cancelled_agent_keeps_its_session() {
    let world = World::new().await;
    let worker = worker(&world).await;
    let task = world.send("tool wait:60000 say:one").await;
    world.until_note(task, "cargo test").await;
    world.sql(&format!("select public.hub_cancel_task('{task}')")).await;
    told_once(&world, task, "cancelled").await;
    let state = "select coalesce(state || ' ' || (session_id is not null)::text, '') from public.hub_sessions where root_id = $1";
    assert_eq!(world.text(state, task).await, "ok true");
    worker.stop().await;
}

/// The project wants what is done in it to be verified.
async fn verified(world: &World, verify: &str, rounds: u8) {
    let project = format!(
        "insert into public.hub_projects (server_id, name, path, verify, verify_rounds)
         select c.server_id, 'homelab', '{PROJECT}', '{verify}', {rounds} from public.hub_channels c where c.name = 'quick'"
    );
    world.sql(&project).await;
}

const RECEIPT: &str = "select coalesce(max(receipt::text), '{}') from public.hub_task_attempts where task_id = $1 and outcome = 'complete'";

async fn receipt(world: &World, task: Uuid) -> Value {
    serde_json::from_str(&world.text(RECEIPT, task).await).unwrap()
}

#[tokio::test]
async fn two_tasks_in_one_repository_have_a_branch_each_and_a_receipt() {
    let world = World::new().await;
    repository(&world);
    let worker = worker(&world).await;
    let one = world.send("edit:one.txt say:done").await;
    let two = world.send("edit:two.txt say:done").await;
    for (task, file) in [(one, "one.txt"), (two, "two.txt")] {
        told_once(&world, task, "complete").await;
        let branch = format!("hub/{}", &task.simple().to_string()[..8]);
        assert_eq!(git(&world, &["diff", "--name-only", "main", &branch]), file);
        let receipt = receipt(&world, task).await;
        assert_eq!(
            (&receipt["branch"], &receipt["files"], &receipt["dirty"]),
            (&json!(branch), &json!(1), &json!(false))
        );
    }
    assert_eq!(git(&world, &["status", "--porcelain"]), "");
    nothing_left(&world, &world.marker()).await;
    worker.stop().await;
}

#[tokio::test]
async fn an_agent_is_sent_back_with_the_failure_of_the_verification_and_mends_it() {
    let world = World::new().await;
    repository(&world);
    // What it prints is what the agent of this test is told to do.
    std::fs::write(world.root().join(PROJECT).join("hint"), "edit:mended.txt say:mended\n").unwrap();
    git(&world, &["add", "."]);
    git(&world, &["commit", "-qm", "a hint"]);
    let verify = "cat hint; test -e mended.txt";
    verified(&world, verify, 1).await;
    let worker = worker(&world).await;
    let task = world.send("edit:one.txt say:done").await;
    told_once(&world, task, "complete").await;
    let proved = receipt(&world, task).await;
    assert_eq!(
        (&proved["verify"]["passed"], &proved["verify"]["rounds"], &proved["files"]),
        (&json!(true), &json!(2), &json!(2))
    );

    // Without a round left it has failed, with its work kept.
    world.sql("update public.hub_projects set verify_rounds = 0").await;
    let failing = world.send("edit:two.txt say:done").await;
    told_once(&world, failing, "failed").await;
    assert_eq!(reasons(&world, failing).await, "verify");
    let branch = format!("hub/{}", &failing.simple().to_string()[..8]);
    assert_eq!(git(&world, &["diff", "--name-only", "main", &branch]), "two.txt");
    worker.stop().await;
}

#[tokio::test]
async fn what_is_added_during_the_verification_is_done_before_it_ends() {
    let world = World::new().await;
    repository(&world);
    let go = world.root().join(".go");
    let verify = format!("until test -e {}; do sleep 0.1; done; sleep 1", go.display());
    verified(&world, &verify, 1).await;
    let worker = worker(&world).await;
    let task = world.send("edit:one.txt say:done").await;
    world.until_note(task, "Verifying").await;
    world.sql(&format!("select public.hub_steer_task('{task}', 'edit:two.txt say:two')")).await;
    // The worker has heard of it.
    let heard = "select count(*) from hub_internal.steers where task_id = $1 and given_at is not null";
    let heard = wait(|| async { (world.count(heard, task).await == 1).then_some(()) }).await;
    assert!(heard.is_some(), "nobody heard of it");
    std::fs::write(&go, "").unwrap();
    told_once(&world, task, "complete").await;
    assert!(result(&world, task).await.starts_with("two"), "{}", result(&world, task).await);
    let proved = receipt(&world, task).await;
    assert_eq!((&proved["verify"]["passed"], &proved["files"]), (&json!(true), &json!(2)));
    let follow_ups = "select count(*) from public.mac_tasks where parent_id = $1";
    assert_eq!(world.count(follow_ups, task).await, 0);
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_that_stops_while_work_is_verified_leaves_that_to_the_next_and_the_agent_does_not_run_again() {
    let world = World::new().await;
    repository(&world);
    let go = world.root().join(".go");
    verified(&world, &format!("until test -e {}; do sleep 0.1; done", go.display()), 1).await;
    let stopped = worker(&world).await;
    let task = world.send("edit:one.txt say:done").await;
    world.until_note(task, "Verifying").await;
    stopped.stop().await;
    std::fs::write(&go, "").unwrap();
    let next = worker(&world).await;
    told_once(&world, task, "complete").await;
    assert_eq!(reasons(&world, task).await, "complete");
    let proved = receipt(&world, task).await;
    assert_eq!((&proved["verify"]["passed"], &proved["files"]), (&json!(true), &json!(1)));
    next.stop().await;
}

#[tokio::test]
async fn what_an_agent_had_done_when_its_worker_was_killed_is_kept_and_what_it_had_finished_is_told() {
    let world = World::new().await;
    repository(&world);
    let verifying = world.root().join("verifying");
    let gate = world.root().join("gate");
    let verify = format!("touch {}; until [ -e {} ]; do sleep 0.05; done", verifying.display(), gate.display());
    verified(&world, &verify, 0).await;
    let doomed = worker(&world).await;
    let task = world.send("edit:one.txt say:done").await;
    let begun = || async { verifying.exists().then_some(()) };
    assert!(wait(begun).await.is_some(), "never verified");
    doomed.kill().await;
    std::fs::write(&gate, "").unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let next = worker(&world).await;
    told_once(&world, task, "complete").await;
    let proved = receipt(&world, task).await;
    assert_eq!((&proved["verify"]["passed"], &proved["files"]), (&json!(true), &json!(1)));
    assert_eq!(reasons(&world, task).await, "complete");
    nothing_left(&world, &world.marker()).await;
    next.stop().await;
}
