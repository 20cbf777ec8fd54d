//! Faults by name, against real programs: `hub worker` processes, agents that are real processes, a real Postgres.
//! Nothing here waits for a time to pass: it waits for a state, with a bound for a machine that hangs.

#![allow(clippy::unwrap_used)]

use hub::db::{Db, KeeperSession};
use hub_tests::{BOUND, Cluster, World, agent};
use nix::sys::signal::Signal;

/// What `sh -c` runs when the agent gets a task.
const QUICK: &str = "echo working; echo done";
const FOR_EVER: &str = "echo started; sleep 86399";

#[tokio::test]
async fn work_starts_although_the_listener_was_killed() {
    let world = World::new().await;
    let worker = world.worker("w1", &[agent("sh", QUICK)]).await;
    let first = world.send("first").await;
    world.until(first, "complete").await;

    // Every connection that listens goes, and again while the worker may be reconnecting.
    for _ in 0..2 {
        world
            .sql("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query ilike '%listen%' and pid <> pg_backend_pid()")
            .await;
    }
    let second = world.send("second").await;
    world.until(second, "complete").await;
    worker.stop().await;
}

#[tokio::test]
async fn releasing_a_locked_pending_task_wakes_the_workers() {
    // A claim passes over a row that somebody holds. Without a second wake-up that task would wait for the slow poll.
    let world = World::new().await;
    let task = world.send("work").await;
    let mut listener = world.listen("hub_tasks").await;
    world.sql(&format!("update public.mac_tasks set metadata = '{{\"seen\": \"yes\"}}' where id = '{task}'")).await;
    world.heard(&mut listener).await;
}

#[tokio::test]
async fn without_notify_the_slow_poll_finds_the_task() {
    let world = World::new().await;
    world.sql("alter table public.mac_tasks disable trigger mac_tasks_60_wake_insert").await;
    let worker = world.worker("w1", &[agent("sh", QUICK)]).await;
    let task = world.send("nobody is told").await;
    world.until(task, "complete").await;
    worker.stop().await;
}

#[tokio::test]
async fn a_keeper_that_falls_silent_loses_its_lock_to_another() {
    let world = World::new().await;
    let db = Db::connect(&world.url).await.unwrap();
    let mut frozen = KeeperSession::open(&db).await.unwrap();
    assert!(frozen.try_lock().await.unwrap());
    let mut other = KeeperSession::open(&db).await.unwrap();
    assert!(!other.try_lock().await.unwrap());
    other.close().await;

    // Postgres ends what says nothing for longer than a round of a minute: the socket of a frozen process stays open, so nothing else would.
    let gone = "select count(*)::text from pg_stat_activity where datname = current_database() and application_name = 'hub keeper'";
    let asked = std::time::Instant::now();
    while world.one_text(gone).await != "0" {
        assert!(asked.elapsed() < 2 * BOUND, "the silent session is still there");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    let mut next = KeeperSession::open(&db).await.unwrap();
    assert!(next.try_lock().await.unwrap());
    assert!(frozen.recover(10).await.is_err());
}

#[tokio::test]
async fn a_killed_workers_task_is_finished_by_another() {
    let world = World::new().await;
    let doomed = world.worker("w1", &[agent("sh", FOR_EVER)]).await;
    let task = world.send("work").await;
    world.until(task, "running").await;
    doomed.kill().await;

    // The keeper's clock is an argument: two minutes later the lease is over. It passes over a row that another session
    // holds, and the statement that the killed worker was in may still run, so it is asked until it took the task, as a
    // keeper asks each minute.
    let lost = async {
        while world.text("select status from public.mac_tasks where id = $1", task).await != "pending" {
            world.sql("select public.hub_recover(now() + interval '2 minutes')").await;
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
async fn a_backend_that_dies_under_load_loses_nothing() {
    let world = World::new().await;
    let worker = world.worker("w1", &[agent("sh", "echo working; sleep 0.2; echo done")]).await;
    let mut tasks = Vec::new();
    for n in 0..12 {
        tasks.push(world.send(&format!("task {n}")).await);
        // All connections of the worker at once, whatever they are doing: as a failover looks to it.
        world
            .sql("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like 'hub worker%'")
            .await;
    }
    for task in tasks {
        world.until(task, "complete").await;
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
    worker.stop().await;
}

#[tokio::test]
async fn postgres_killed_and_restarted_under_load_loses_nothing() {
    let cluster = Cluster::start();
    let world = World::within(&cluster).await;
    let worker = world.worker("w1", &[agent("sh", "echo working; sleep 0.3; echo done")]).await;
    let mut tasks = Vec::new();
    for n in 0..8 {
        tasks.push(world.send(&format!("task {n}")).await);
    }
    world.until_note(tasks[0], "working").await;
    cluster.kill();
    cluster.up();
    for task in tasks {
        world.until(task, "complete").await;
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
    worker.stop().await;
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
    for project in ["../..", "/etc", "out/etc", ".", " ", "./.", ".hidden", "Desktop/.git"] {
        let task = world.send_with("work", &format!("project = '{project}'")).await;
        world.until(task, "failed").await;
        assert_eq!(
            world.count("select attempt::bigint from public.mac_tasks where id = $1", task).await,
            1,
            "{project}"
        );
    }
    worker.stop().await;
}

#[tokio::test]
async fn two_migrators_at_once_apply_each_migration_once() {
    let world = World::bare().await;
    let (one, two) = tokio::join!(hub_migrate::migrate(&world.url, &|_| {}), hub_migrate::migrate(&world.url, &|_| {}));
    let applied = [one.unwrap().applied.len(), two.unwrap().applied.len()];
    assert!(applied.contains(&0) && applied.iter().sum::<usize>() >= 9, "{applied:?}");
    assert!(hub_migrate::pending(&world.url).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_the_supabase_cli_pushed_is_recognised() {
    let world = World::bare().await;
    world.sql("create schema supabase_migrations").await;
    world.sql("create table supabase_migrations.schema_migrations (version text primary key, statements text[], name text)").await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../supabase/migrations");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in &files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let (version, name) = name.split_once('_').unwrap();
        world.sql(&std::fs::read_to_string(file).unwrap()).await;
        world
            .sql(&format!(
                "insert into supabase_migrations.schema_migrations (version, name) values ('{version}', '{name}')"
            ))
            .await;
    }
    let report = hub_migrate::migrate(&world.url, &|_| {}).await.unwrap();
    assert_eq!((report.applied.len(), report.recognised), (0, files.len()));
}

#[tokio::test]
async fn a_schema_of_another_version_is_refused_with_what_to_do() {
    let world = World::new().await;
    world.sql("update hub_internal.refinery_schema_history set checksum = '1' where version = (select min(version) from hub_internal.refinery_schema_history)").await;
    let error = hub_migrate::migrate(&world.url, &|_| {}).await.unwrap_err().to_string();
    assert!(error.contains("--reset"), "{error}");
}

#[tokio::test]
async fn a_mac_tasks_that_can_not_be_adopted_is_refused_before_anything_changes() {
    let world = World::bare().await;
    world.sql("create table public.mac_tasks (id bigint primary key, content text, status text)").await;
    let error = hub_migrate::migrate(&world.url, &|_| {}).await.unwrap_err().to_string();
    assert!(error.contains("column id is bigint, but must be uuid"), "{error}");
    let left = world
        .count_all("select count(*) from pg_namespace where nspname in ('hub_internal', 'supabase_migrations')")
        .await;
    let tables = world.count_all("select count(*) from pg_tables where schemaname = 'public'").await;
    assert_eq!((left, tables), (0, 1));
}

#[tokio::test]
async fn an_unprepared_postgres_is_refused_with_what_it_lacks() {
    let world = World::empty().await;
    let error = hub_migrate::migrate(&world.url, &|_| {}).await.unwrap_err().to_string();
    assert!(error.contains("hub migrate --platform"), "{error}");
}
