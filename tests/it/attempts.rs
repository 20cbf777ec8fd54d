//! Attempts among many: claims that meet, leases that end, the first task of a project.

use hub_tests::{BOUND, World};
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Devices that claim in batches, each over a connection of its own, and what they give back.
const CLAIMERS: usize = 8;
const TASKS: i64 = 640;

/// Flat and threaded conversations, many of each, in no order.
async fn tasks_everywhere(world: &World) {
    world
        .sql(
            "insert into public.hub_channels (server_id, name, display_name, project_path)
             select s.id, 'ring-' || left(s.id::text, 4) || '-' || n, 'Ring', 'Desktop/homelab'
               from public.hub_servers s, generate_series(1, 12) n
              where s.architecture_type <> 'command_dispatch';
             insert into public.hub_places (kind, server_id, target)
             select 'project', s.id, '*' from public.hub_servers s on conflict do nothing",
        )
        .await;
    let made: i64 = sqlx::query_scalar(
        "with made as (
           insert into public.mac_tasks (content, channel_id, max_attempts)
           select 'work', c.id, 100
             from public.hub_channels c, generate_series(1, $1) n
            where c.name like 'ring-%'
            order by random()
            limit $1
           returning 1)
         select count(*) from made",
    )
    .bind(TASKS)
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert_eq!(made, TASKS);
}

async fn claim(connection: &mut PgConnection, device: &str) -> Vec<(Uuid, i32)> {
    sqlx::query_as("select id, attempt from public.hub_claim_tasks($1, 12, '1 hour')")
        .bind(device)
        .fetch_all(connection)
        .await
        .unwrap_or_else(|error| panic!("{device} claims: {error}"))
}

/// Claims, completes some and hands the others back, until nothing is left. Every error fails, a deadlock among them: these calls
/// are not made again.
async fn work(pool: PgPool, device: String) -> usize {
    let mut connection = pool.acquire().await.unwrap();
    let mut done = 0;
    for round in 0.. {
        let claimed = claim(&mut connection, &device).await;
        let left: i64 = sqlx::query_scalar(
            "select count(*) from public.mac_tasks where content = 'work' and status in ('pending', 'running')",
        )
        .fetch_one(&mut *connection)
        .await
        .unwrap();
        if claimed.is_empty() && left == 0 {
            break;
        }
        assert!(round < 10_000, "{left} are left");
        for (at, (task, attempt)) in claimed.into_iter().enumerate() {
            let end = match at % 3 {
                // Left to its lease, which hub_recover below says is over.
                0 if round < 5 => continue,
                1 => "select from public.hub_fail_task($1, $2, 'stops', true, '{\"reason\": \"worker_stopped\"}')",
                _ => "select from public.hub_complete_task($1, $2, 'done')",
            };
            match sqlx::query(end).bind(task).bind(attempt).execute(&mut *connection).await {
                Ok(_) => done += usize::from(at % 3 != 1),
                Err(error) if error.as_database_error().is_some_and(|e| e.code().as_deref() == Some("UH002")) => {}
                Err(error) => panic!("{device} ends an attempt: {error}"),
            }
        }
    }
    done
}

#[tokio::test]
async fn claims_of_many_conversations_never_wait_for_each_other_in_a_ring() {
    let world = World::new().await;
    tasks_everywhere(&world).await;
    for n in 0..CLAIMERS {
        world
            .sql(&format!(
                "select public.hub_register_device('ring-{n}', 'linux', '[{{\"agent\":\"a\",\"models\":[\"any\"]}}]', 1000)"
            ))
            .await;
    }
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(u32::try_from(CLAIMERS + 1).unwrap())
        .connect_with((*world.pool.connect_options()).clone())
        .await
        .unwrap();
    let workers: Vec<_> = (0..CLAIMERS).map(|n| tokio::spawn(work(pool.clone(), format!("ring-{n}")))).collect();
    // What was claimed and left is taken back in bulk meanwhile, and what was handed back four times in a row does not rest.
    let rested = "update public.mac_tasks set run_after = null
                   where id in (select id from public.mac_tasks where status = 'pending' and run_after is not null for update skip locked)";
    while !workers.iter().all(tokio::task::JoinHandle::is_finished) {
        sqlx::query(rested).execute(&pool).await.unwrap();
        sqlx::query("select public.hub_recover(now() + interval '2 hours', 200)").execute(&pool).await.unwrap();
    }
    let mut done = 0;
    for worker in workers {
        done += worker.await.unwrap();
    }
    assert_eq!(i64::try_from(done).unwrap(), TASKS);
    assert_eq!(
        world.count_all("select count(*) from public.mac_tasks where content = 'work' and status = 'complete'").await,
        TASKS
    );
    // Each start was told, and each conversation is numbered without a gap.
    assert_eq!(
        world.count_all("select count(*) from public.hub_channel_messages where event = 'started'").await,
        world.count_all("select sum(attempt)::bigint from public.mac_tasks where content = 'work'").await
    );
    assert_eq!(
        world
            .count_all(
                "select count(*) from (select max(seq) as last, count(*) as all from public.hub_channel_messages
                                        group by channel_id, task_thread_id) c where last <> c.all"
            )
            .await,
        0
    );
}

#[tokio::test]
async fn a_claim_leaves_a_conversation_that_somebody_holds_for_later_while_there_is_other_work() {
    let world = World::new().await;
    world
        .sql("select public.hub_register_device('one', 'linux', '[{\"agent\":\"a\",\"models\":[\"any\"]}]', 1000)")
        .await;
    let held = world.send("in the channel that is held").await;
    let other: Uuid = sqlx::query_scalar(
        "select (public.hub_send(c.id, 'elsewhere') -> 'task' ->> 'id')::uuid from public.hub_channels c where c.name = 'garden'",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    let mut somebody = world.pool.begin().await.unwrap();
    sqlx::query("select from public.hub_channels where name = 'quick' for no key update")
        .execute(&mut *somebody)
        .await
        .unwrap();
    let mut told = world.listen("hub_tasks").await;
    let mut connection = world.pool.acquire().await.unwrap();
    assert_eq!(claim(&mut connection, "one").await, [(other, 1)]);
    // Others are told that something was left.
    world.heard(&mut told).await;
    // Alone, it is waited for.
    let waits = tokio::spawn(async move { claim(&mut connection, "one").await });
    world
        .until_text("select count(*)::text from pg_stat_activity where wait_event_type = 'Lock' and query like '%hub_claim_tasks%' and datname = current_database()", "1")
        .await;
    somebody.commit().await.unwrap();
    assert_eq!(waits.await.unwrap(), [(held, 1)]);
}

#[tokio::test]
async fn a_lost_attempt_is_taken_back_when_its_lease_ends_and_not_at_the_next_minute() {
    let world = World::new().await;
    // It keeps time; its agent is not asked for, so the task waits where everybody sees it.
    let worker = world.worker("keeper", &[hub_tests::agent("other", "true")]).await;
    world
        .until_text(
            "select count(*)::text from pg_locks where locktype = 'advisory' and objid = 1213547009 and granted and database = (select oid from pg_database where datname = current_database())",
            "1",
        )
        .await;
    world
        .sql(
            "select public.hub_register_device('dies', 'linux', '[{\"agent\":\"claude\",\"models\":[\"claude\"]}]', 9)",
        )
        .await;
    let task = world.send_with("work", "model_preference = 'claude', requested_agent = 'claude'").await;
    world.sql("select from public.hub_claim_tasks('dies', 1, '2 seconds')").await;
    let claimed = Instant::now();
    world.until(task, "pending").await;
    let after = claimed.elapsed();
    assert!(after > Duration::from_millis(1900) && after < Duration::from_secs(30), "{after:?}");
    let reason: String = sqlx::query_scalar("select reason from public.hub_task_attempts where task_id = $1")
        .bind(task)
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(reason, "lease_lost");
    worker.stop().await;
}

#[tokio::test]
async fn what_a_model_at_its_limit_was_asked_for_another_runs_at_once_and_not_at_the_next_minute() {
    let world = World::new().await;
    // It keeps time, and has the only codex.
    let codex = json!({ "agent": "codex", "models": ["codex"], "kind": "command", "argv": ["sh", "-c", "echo built"] });
    let worker = world.worker("keeper", &[codex]).await;
    world
        .until_text(
            "select count(*)::text from pg_locks where locktype = 'advisory' and objid = 1213547009 and granted and database = (select oid from pg_database where datname = current_database())",
            "1",
        )
        .await;
    world
        .sql("select public.hub_register_device('dry', 'linux', '[{\"agent\":\"claude\",\"models\":[\"claude\"]}]', 9)")
        .await;
    let task = world.send_with("work", "model_preference = 'claude'").await;
    let met = Instant::now();
    world
        .sql("select public.hub_report_rate_limit('dry', 'claude', null, now() + interval '1 hour', 'dry', 'structured')")
        .await;
    world.until(task, "complete").await;
    let after = met.elapsed();
    assert!(after < Duration::from_secs(20), "{after:?}");
    let ran: (String, String) =
        sqlx::query_as("select agent, fallback_from from public.hub_task_attempts where task_id = $1")
            .bind(task)
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert_eq!(ran, ("codex".to_owned(), "claude".to_owned()));
    worker.stop().await;
}

#[tokio::test]
async fn the_first_task_of_a_project_calls_the_devices_that_must_look_for_it() {
    let world = World::new().await;
    let mut calls = world.listen("hub_device").await;
    for name in ["tells", "never-tells", "elsewhere"] {
        world
            .sql(&format!(
                "select public.hub_register_device('{name}', 'linux', '[{{\"agent\":\"a\",\"models\":[\"any\"]}}]', 1)"
            ))
            .await;
    }
    world.sql("select public.hub_heartbeat('tells', '[]', '{\"projects\": {}}')").await;
    world
        .sql("select public.hub_heartbeat('elsewhere', '[]', '{\"projects\": {}}'), public.hub_sign_off('elsewhere')")
        .await;
    let task = world.send("work").await;
    let call = tokio::time::timeout(BOUND, calls.recv()).await.unwrap().unwrap();
    assert_eq!(call.payload(), "tells");
    let asked: Vec<String> =
        sqlx::query_scalar("select jsonb_array_elements_text(public.hub_heartbeat('tells', '[]', '{}') -> 'projects')")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert_eq!(asked, ["Desktop/homelab"]);
    let mut connection = world.pool.acquire().await.unwrap();
    assert!(claim(&mut connection, "tells").await.is_empty(), "not before it has looked");
    let mut work = world.listen("hub_tasks").await;
    world.sql("select public.hub_heartbeat('tells', '[]', '{\"projects\": {\"Desktop/homelab\": true}}')").await;
    world.heard(&mut work).await;
    assert_eq!(claim(&mut connection, "tells").await, [(task, 1)]);
}
