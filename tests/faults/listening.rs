//! Who is told of work, and by whom, when what tells is gone.

use hub::db::{Db, KeeperSession};
use hub_tests::{BOUND, World, agent};

use crate::work::QUICK;

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
async fn a_heartbeat_that_met_a_hand_back_wakes_the_workers() {
    // A worker that starts hands back what the one before it had, and its heartbeat names that still: the heartbeat waits for the row, and
    // then holds it without having it. A claim in this moment goes away with nothing.
    let world = World::new().await;
    world
        .sql("select public.hub_register_device('d', 'linux', '[{\"agent\": \"sh\", \"models\": [\"any\"]}]', 1)")
        .await;
    let task = world.send("work").await;
    let claim = "select count(*) from public.hub_claim_tasks('d', 1)";
    assert_eq!(world.count_all(claim).await, 1);

    let mut back = world.pool.begin().await.unwrap();
    let fail = "select public.hub_fail_task($1, 1, 'gone', true, '{\"reason\": \"worker_gone\"}')";
    sqlx::query(fail).bind(task).execute(&mut *back).await.unwrap();
    let mut beat = world.pool.begin().await.unwrap();
    let beating = tokio::spawn(async move {
        let running =
            "select public.hub_heartbeat('d', jsonb_build_array(jsonb_build_object('task', $1, 'attempt', 1)))";
        sqlx::query(running).bind(task).execute(&mut *beat).await.unwrap();
        beat
    });
    world.until_text("select count(*)::text from pg_locks where not granted", "1").await;
    back.commit().await.unwrap();
    let beat = beating.await.unwrap();
    assert_eq!(world.count_all(claim).await, 0, "the heartbeat holds the row");

    let mut listener = world.listen("hub_tasks").await;
    beat.commit().await.unwrap();
    world.heard(&mut listener).await;
    assert_eq!(world.count_all(claim).await, 1);
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
async fn a_keeper_whose_tables_are_made_anew_keeps_time_again() {
    let world = World::new().await;
    let worker = world.worker("keeper", &[agent("other", "true")]).await;
    worker.until_said("keeping time for the hub").await;
    // As `supabase db reset` does, which takes what is there away before it makes it anew.
    world.sql("alter schema hub_internal rename to elsewhere; select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'hub keeper'").await;
    worker.until_said("time can not be kept now").await;
    world.sql("alter schema elsewhere rename to hub_internal").await;
    world
        .sql(
            "select public.hub_register_device('dies', 'linux', '[{\"agent\":\"claude\",\"models\":[\"claude\"]}]', 9)",
        )
        .await;
    let task = world.send_with("work", "model_preference = 'claude', requested_agent = 'claude'").await;
    world.sql("select from public.hub_claim_tasks('dies', 1, '1 second')").await;
    world.until(task, "pending").await;
    worker.stop().await;
}
