//! Lines of work through the calls that workers make: what an attempt begins with, what is kept of it, and a folder without git that
//! several workers of a machine would work in.

use hub::{
    Error,
    db::Db,
    types::{
        EndReason, Machine, Meta, ProjectKind, PullRequest, Receipt, SessionState, Task, Verified, Workspace,
        WorkspaceKind,
    },
};
use hub_tests::{PROJECT, World};
use std::{collections::BTreeMap, time::Duration};
use tokio::task::JoinSet;

const HOUR: Duration = Duration::from_secs(3600);

/// SHA-256 of `make check`.
const MAKE_CHECK: &str = "4a5b5cf7d4522d9fa9333a49af09b49b60b3cbcab91159faaa058aae59154d84";

async fn with_device(name: &str) -> (World, Db) {
    let world = World::new().await;
    world
        .sql(&format!(
            "select public.hub_register_device('{name}', 'linux', '[{{\"agent\": \"claude\", \"models\": [\"any\"]}}]', 1000)"
        ))
        .await;
    let db = Db::connect(&world.url).await.unwrap();
    (world, db)
}

async fn claimed(db: &Db, device: &str) -> Task {
    db.claim(device, 1, HOUR).await.unwrap().pop().expect("there is work")
}

fn receipt(passed: bool) -> serde_json::Value {
    let verify = Verified {
        command_sha256: MAKE_CHECK.into(),
        exit: Some(i32::from(!passed)),
        seconds: 2.5,
        tail: "1 test\nroof ... leaks\n".into(),
        log_sha256: "d".repeat(64),
        passed,
        rounds: 1,
    };
    let receipt = Receipt {
        kind: WorkspaceKind::Git,
        branch: Some("hub/a1b2c3d4".into()),
        base: Some("a".repeat(40)),
        commit: Some("b".repeat(40)),
        tree: Some("c".repeat(40)),
        dirty: false,
        files: 2,
        insertions: 3,
        deletions: 1,
        changed: vec!["src/lib.rs".into()],
        pushed: true,
        pull_request: Some("https://github.com/acme/roof/pull/1".into()),
        size_bytes: Some(4096),
        verify: Some(verify),
    };
    serde_json::to_value(receipt).unwrap()
}

#[tokio::test]
async fn an_attempt_begins_with_its_project_and_ends_with_proof() {
    let (world, db) = with_device("mac").await;
    world
        .sql(&format!(
            "insert into public.hub_projects (server_id, name, path, setup, setup_inputs, verify, base_branch, push, pull_request, repository)
             select c.server_id, 'roof', '{PROJECT}', 'make deps', '{{Makefile}}', 'make check', 'main', true, 'draft', 'acme/roof'
               from public.hub_channels c where c.name = 'quick'"
        ))
        .await;
    world.send("Mend the roof").await;
    let task = claimed(&db, "mac").await;
    let begun = db.begin_attempt(task.id, 1).await.unwrap();
    assert_eq!((begun.prompt.as_str(), begun.session.clone(), begun.root), ("Mend the roof", None, task.id));
    assert_eq!(begun.branch, format!("hub/{}", begun.name));
    assert_eq!((begun.base.as_deref(), begun.start.clone(), begun.ask_hold_seconds), (Some("main"), None, 600));
    let project = begun.project.clone().expect("the project");
    assert_eq!((project.setup.as_deref(), project.verify.as_deref()), (Some("make deps"), Some("make check")));
    assert_eq!(
        (project.setup_inputs, project.push, project.pull_request),
        (vec!["Makefile".to_owned()], true, PullRequest::Draft)
    );
    assert_eq!(db.begin_attempt(task.id, 1).await.unwrap(), begun);
    assert!(matches!(db.begin_attempt(task.id, 2).await, Err(Error::LeaseLost(_))));

    let workspace = Workspace {
        kind: WorkspaceKind::Git,
        base: Some("a".repeat(40)),
        head: Some("a".repeat(40)),
        size_bytes: Some(4096),
        pushed: false,
        pull_request: None,
        bundled: false,
    };
    db.report_workspace(task.id, 1, &workspace).await.unwrap();

    let meta = Meta { receipt: Some(receipt(false)), ..Meta::default() };
    assert!(matches!(db.complete(task.id, 1, "Tight.", &meta).await, Err(Error::Conflict(_))));
    let meta = Meta {
        receipt: Some(receipt(true)),
        session_id: Some("s-1".into()),
        session_state: Some(SessionState::Ok),
        ..Meta::default()
    };
    db.complete(task.id, 1, "Tight.", &meta).await.unwrap();
    let told = world.one_text("select content from public.hub_channel_messages where event = 'complete'").await;
    let line = "Tight.\n\nBranch hub/a1b2c3d4: 2 files, +3 −1; make check passed in 3 s; pushed; PR https://github.com/acme/roof/pull/1";
    assert!(told.ends_with(line), "{told}");
    assert_eq!(db.workspaces_to_clean("mac").await.unwrap(), []);
    world
        .sql(
            "update public.hub_workspaces set updated_at = now() - interval '8 days';
             update public.mac_tasks set finished_at = now() - interval '8 days'",
        )
        .await;
    let over = db.workspaces_to_clean("mac").await.unwrap();
    assert_eq!(
        over.iter().map(|w| (w.root, w.branch.as_str(), w.merged)).collect::<Vec<_>>(),
        [(task.id, begun.branch.as_str(), false)]
    );
    db.workspace_removed("mac", task.id, true).await.unwrap();
    assert_eq!(db.workspaces_to_clean("mac").await.unwrap(), []);
}

#[tokio::test]
async fn a_session_that_was_lost_is_not_resumed_again() {
    let (world, db) = with_device("mac").await;
    world.send("Mend the roof").await;
    let task = claimed(&db, "mac").await;
    db.begin_attempt(task.id, 1).await.unwrap();
    let ok = Meta {
        session_id: Some("s-1".into()),
        session_state: Some(SessionState::Ok),
        reason: Some(EndReason::WorkerStopped),
        tokens_in: Some(7),
        ..Meta::default()
    };
    db.fail(task.id, 1, "the worker stops", true, &ok).await.unwrap();
    assert_eq!(claimed(&db, "mac").await.attempt, 2);
    let begun = db.begin_attempt(task.id, 2).await.unwrap();
    let session = begun.session.expect("the session");
    assert_eq!((session.id.as_str(), session.tokens_in), ("s-1", 7));
    assert!(begun.prompt.starts_with("Go on where you stopped."), "{}", begun.prompt);

    let lost = Meta {
        session_id: Some("made-up".into()),
        session_state: Some(SessionState::Poisoned),
        reason: Some(EndReason::SessionLost),
        ..Meta::default()
    };
    db.fail(task.id, 2, "no such session", true, &lost).await.unwrap();
    assert_eq!(claimed(&db, "mac").await.attempt, 3);
    let begun = db.begin_attempt(task.id, 3).await.unwrap();
    assert_eq!((begun.session, begun.prompt.as_str()), (None, "Mend the roof"));
    let told =
        world.one_text("select content from public.hub_channel_messages where event = 'session_elsewhere'").await;
    assert!(told.ends_with("can not be gone on with (no such session); claude begins afresh"), "{told}");
}

/// Several workers of one machine claim at once, again and again: what has no git has one task at a time, and all of them are done.
#[tokio::test]
async fn a_folder_without_git_has_one_task_at_a_time() {
    const TASKS: usize = 24;
    let (world, db) = with_device("mac").await;
    let machine = |kind| Machine { projects: Some(BTreeMap::from([(PROJECT.to_owned(), kind)])), ..Machine::default() };
    for n in 0..TASKS {
        world.send(&format!("Plant tree {n}")).await;
    }
    db.heartbeat("mac", &[], &Machine { projects: Some(BTreeMap::new()), ..Machine::default() }).await.unwrap();
    db.heartbeat("mac", &[], &machine(ProjectKind::Plain)).await.unwrap();
    let mut workers = JoinSet::new();
    for _ in 0..6 {
        let (db, pool) = (db.clone(), world.pool.clone());
        workers.spawn(async move {
            let mut done = 0;
            loop {
                let tasks = db.claim("mac", 4, HOUR).await.unwrap();
                assert!(tasks.len() <= 1, "{} at once", tasks.len());
                let left: (i64, i64) = sqlx::query_as(
                    "select count(*) filter (where status = 'pending'), count(*) filter (where status = 'running') from public.mac_tasks",
                )
                .fetch_one(&pool)
                .await
                .unwrap();
                assert!(left.1 <= 1, "{} run", left.1);
                for task in &tasks {
                    db.complete(task.id, task.attempt, "Planted.", &Meta::default()).await.unwrap();
                    done += 1;
                }
                if left == (0, 0) {
                    return done;
                }
            }
        });
    }
    let mut done = 0;
    while let Some(worker) = workers.join_next().await {
        done += worker.unwrap();
    }
    assert_eq!(done, TASKS);

    // With a repository there they go side by side.
    for n in 0..3 {
        world.send(&format!("Water tree {n}")).await;
    }
    db.heartbeat("mac", &[], &machine(ProjectKind::Git)).await.unwrap();
    assert_eq!(db.claim("mac", 10, HOUR).await.unwrap().len(), 3);
}
