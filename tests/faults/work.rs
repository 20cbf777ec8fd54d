//! What the agents of these tests do, and what must hold when a fault is over.

use std::process::Command;

use hub_tests::{PROJECT, World, wait};
use uuid::Uuid;

/// What `sh -c` runs when the agent gets a task.
pub const QUICK: &str = "echo working; echo done";

/// A script that runs `body` and counts how often it began and how often it came to its end, by task.
pub fn counted(world: &World, body: &str) -> String {
    let runs = world.root().join("runs").display().to_string();
    format!("echo \"began $HUB_TASK_ID\" >> {runs}; {body}; echo \"ended $HUB_TASK_ID\" >> {runs}; echo done")
}

/// The same, for a body that says `up` and then waits until [`open`]; `marker` is in the arguments of its shell.
pub fn gated(world: &World, marker: &str) -> String {
    counted(
        world,
        &format!(": {marker}; echo up; until [ -e {} ]; do sleep 0.02; done", world.root().join("gate").display()),
    )
}

/// Lets the agents that wait come to their end.
pub fn open(world: &World) {
    std::fs::write(world.root().join("gate"), "").unwrap();
}

/// From now on they wait again.
pub fn shut(world: &World) {
    std::fs::remove_file(world.root().join("gate")).ok();
}

/// How often an agent began with the task, and how often it came to its end.
pub fn runs(world: &World, task: Uuid) -> (usize, usize) {
    let text = std::fs::read_to_string(world.root().join("runs")).unwrap_or_default();
    let count = |what: &str| text.lines().filter(|line| *line == format!("{what} {task}")).count();
    (count("began"), count("ended"))
}

pub async fn until_ended(world: &World, task: Uuid) {
    let ended = || async { (runs(world, task).1 > 0).then_some(()) };
    assert!(wait(ended).await.is_some(), "the agent never came to its end");
}

/// The task has this end, and people were told of it once, and of no other.
pub async fn told_once(world: &World, task: Uuid, status: &str) {
    world.until(task, status).await;
    let told = "select coalesce(string_agg(left(content, 1), ''), 'nothing') from public.hub_channel_messages where task_id = $1 and content ~ '^(✅|❌|🚫)'";
    let expected = match status {
        "complete" => "✅",
        "failed" => "❌",
        "cancelled" => "🚫",
        other => panic!("{other} is no end"),
    };
    assert_eq!(world.text(told, task).await, expected);
}

pub async fn attempts(world: &World, task: Uuid) -> i64 {
    world.count("select count(*) from public.hub_task_attempts where task_id = $1", task).await
}

/// Why each attempt ended, in order.
pub async fn reasons(world: &World, task: Uuid) -> String {
    world
        .text("select coalesce(string_agg(coalesce(reason, 'none'), ' ' order by attempt), '') from public.hub_task_attempts where task_id = $1", task)
        .await
}

/// No process, no folder of the journal, no lease, no slot that is taken, nothing that a check finds.
pub async fn nothing_left(world: &World, marker: &str) {
    world.until_no_process(marker).await;
    let delivered = || async { world.journal().is_empty().then_some(()) };
    assert!(wait(delivered).await.is_some(), "left in the journal: {:?}", world.journal());
    let held = "select count(*)::text from public.mac_tasks where status = 'running' or lease_expires_at is not null";
    world.until_text(held, "0").await;
    let unended = "select count(*) from public.hub_task_attempts where finished_at is null or outcome is null";
    assert_eq!(world.count_all(unended).await, 0);
    assert_eq!(world.checked().await, "");
}

/// In the project's folder.
pub fn git(world: &World, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=t", "-c", "user.email=t@localhost"]).args(arguments);
    let output = command.current_dir(world.root().join(PROJECT)).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The project as a repository with one commit: its tasks run beside each other, each in a worktree.
pub fn repository(world: &World) {
    git(world, &["init", "-q", "-b", "main"]);
    std::fs::write(world.root().join(PROJECT).join("README"), "x\n").unwrap();
    git(world, &["add", "."]);
    git(world, &["commit", "-qm", "first"]);
}
