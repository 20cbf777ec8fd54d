//! Telling a task that runs something, and what its agent gives to others, where several do it at once; and the commands for it.

use hub::{
    Error,
    db::Db,
    types::{Running, SteerOutcome},
};
use hub_tests::{World, program};
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::{process::Command, task::JoinSet};
use uuid::Uuid;

async fn with_device() -> (World, Db) {
    let world = World::new().await;
    world
        .sql(
            "select public.hub_register_device('talk', 'linux', '[{\"agent\": \"claude\", \"models\": [\"any\"]}]', 1000);
             insert into public.hub_places (kind, server_id, target)
             select 'project', s.id, '*' from public.hub_servers s on conflict do nothing",
        )
        .await;
    let db = Db::connect(&world.url).await.unwrap();
    (world, db)
}

async fn running(world: &World, db: &Db, content: &str) -> Uuid {
    let task = world.send(content).await;
    db.claim("talk", 100, std::time::Duration::from_secs(3600)).await.unwrap();
    task
}

#[tokio::test]
async fn subtasks_made_at_once_keep_to_their_number() {
    let (world, db) = with_device().await;
    let parent = running(&world, &db, "Build it").await;
    let mut calls = JoinSet::new();
    for n in 0..30 {
        let db = db.clone();
        calls.spawn(async move { db.subtask(parent, 1, &format!("Part {n}"), None, None, None).await });
    }
    let (mut made, mut refused) = (0, 0);
    while let Some(call) = calls.join_next().await {
        match call.unwrap() {
            Ok(task) => {
                assert_eq!((task.parent_id, task.status.as_str()), (Some(parent), "pending"));
                made += 1;
            }
            Err(Error::TooMany(_)) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((made, refused), (20, 10));
}

/// Of a person who tells a task something and its device that ends it, at the same moment: what was said is taken, or followed up, or was
/// refused; nothing of it is lost, and nothing is done twice.
#[tokio::test]
async fn what_is_said_to_a_task_that_ends_is_settled_once() {
    const TASKS: usize = 60;
    let (world, db) = with_device().await;
    for n in 0..TASKS {
        world.send(&format!("Work {n}")).await;
    }
    let tasks: Vec<Uuid> = db
        .claim("talk", 100, std::time::Duration::from_secs(3600))
        .await
        .unwrap()
        .into_iter()
        .map(|task| task.id)
        .collect();
    assert_eq!(tasks.len(), TASKS);
    let mut said = JoinSet::new();
    let mut ended = JoinSet::new();
    for (n, &task) in tasks.iter().enumerate() {
        let person = db.clone();
        said.spawn(async move { person.steer(task, "and the docs").await });
        let device = db.clone();
        ended.spawn(async move {
            if n % 2 == 0 {
                let beat =
                    device.heartbeat("talk", &[Running { task, attempt: 1 }.into()], &Default::default()).await?;
                let given: Vec<i64> = beat.steer.iter().map(|steer| steer.id).collect();
                if !given.is_empty() {
                    assert_eq!((beat.steer[0].task, beat.steer[0].text.as_str()), (task, "and the docs"));
                    device.report_steer(task, 1, &given, SteerOutcome::Taken).await?;
                }
            }
            device.complete(task, 1, "Done.", &Default::default()).await
        });
    }
    let mut refused = 0;
    while let Some(call) = said.join_next().await {
        match call.unwrap() {
            Ok(task) => assert_eq!(task.status, "running"),
            Err(Error::Conflict(_)) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    while let Some(call) = ended.join_next().await {
        assert_eq!(call.unwrap().unwrap().status, "complete");
    }
    let count = |sql| world.count_all(sql);
    let taken = count("select count(*) from hub_internal.steers where outcome = 'taken'").await;
    let followed = count("select count(*) from hub_internal.steers where outcome = 'follow_up'").await;
    assert_eq!(taken + followed + refused, i64::try_from(TASKS).unwrap());
    assert_eq!(count("select count(*) from public.mac_tasks where content = 'and the docs'").await, followed);
    assert_eq!(
        count("select count(*) from public.hub_channel_messages where event = 'steered'").await,
        taken + followed
    );
    assert_eq!(world.checked().await, "");
}

/// What `hub` prints as JSON.
async fn typed(world: &World, arguments: &[&str]) -> Value {
    let done = Command::new(program())
        .args(arguments)
        .arg("--json")
        .env_clear()
        .env("DATABASE_URL", world.url.expose_secret())
        .current_dir(std::env::temp_dir())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_str(&said).unwrap()
}

#[tokio::test]
async fn a_task_is_told_answered_and_sent_elsewhere_by_what_a_person_types() {
    let (world, db) = with_device().await;
    let task = running(&world, &db, "Dig").await;
    let id = task.to_string();
    let mut listener = world.listen("hub_device").await;
    let told = typed(&world, &["task", "steer", &id[..8], "deeper"]).await;
    assert_eq!(told["status"], "running");
    world.heard(&mut listener).await;
    let beat = db.heartbeat("talk", &[Running { task, attempt: 1 }.into()], &Default::default()).await.unwrap();
    assert_eq!((beat.steer[0].text.as_str(), beat.steer[0].attempt), ("deeper", 1));
    db.report_steer(task, 1, &[beat.steer[0].id], SteerOutcome::Taken).await.unwrap();
    db.complete(task, 1, "A hole.", &Default::default()).await.unwrap();

    let end =
        world.text("select id::text from public.hub_channel_messages where task_id = $1 and event = 'complete'", task);
    let end = end.await;
    let sent = typed(&world, &["send", "buf-barista/quick", "and fill it", "--reply-to", &end[..12]]).await;
    assert_eq!(sent["task"]["parent_id"], id);
    let next = sent["task"]["id"].as_str().unwrap().to_owned();
    let routed = typed(&world, &["task", "route", &next, "--agent", "codex", "--device", "talk"]).await;
    assert_eq!(routed["status"], "pending");
    assert_eq!(
        world.text(
            "select concat_ws(' ', l.agent, l.device) from public.mac_tasks t join hub_internal.lanes l on l.id = t.lane where t.id = $1",
            next.parse().unwrap()
        )
        .await,
        "codex talk"
    );
}
