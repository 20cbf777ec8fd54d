//! Teams whose members end at once, on connections of their own; and what an agent is told of what it gave to others.

use futures_util::future::join_all;
use hub_tests::World;
use proptest::prelude::*;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::{block_on, forget, teams::run};

/// One value of a query, or the SQLSTATE of why there is none.
async fn value(world: &World, sql: &str) -> Result<Value, String> {
    let value: Result<Option<Value>, sqlx::Error> =
        sqlx::query_scalar(AssertSqlSafe(format!("select to_jsonb(x) from ({sql}) as q (x)")))
            .fetch_one(&world.pool)
            .await;
    value.map(Option::unwrap_or_default).map_err(|error| {
        let code = error.as_database_error().and_then(|e| e.code()).map(|code| code.into_owned());
        code.unwrap_or_else(|| panic!("{sql}: {error}"))
    })
}

async fn got(world: &World, sql: &str) -> Value {
    value(world, sql).await.unwrap_or_else(|code| panic!("{sql}: {code}"))
}

fn ids(value: &Value) -> Vec<Uuid> {
    value.as_array().unwrap().iter().map(|id| id.as_str().unwrap().parse().unwrap()).collect()
}

async fn stage() -> World {
    let world = World::new().await;
    world
        .sql(r#"select public.hub_register_device('model', 'linux', '[{"agent": "a", "models": ["any"]}]', 50)"#)
        .await;
    world
}

/// What is sent begins, and all that can run runs.
async fn begin(world: &World, text: &str) -> Uuid {
    forget(world).await;
    let sent = got(
        world,
        &format!(
            "select public.hub_send(id, E'{text}') -> 'task' -> 'id' from public.hub_channels where name = 'quick'"
        ),
    )
    .await;
    claim(world).await;
    sent.as_str().unwrap().parse().unwrap()
}

async fn claim(world: &World) {
    world.sql("update public.mac_tasks set run_after = null where status = 'pending'").await;
    got(world, "select count(*) from public.hub_claim_tasks('model', 50)").await;
}

/// Ends whatever runs, until nothing does. Then nothing waits either.
async fn finish(world: &World) {
    for _ in 0..40 {
        got(world, "select public.hub_recover()").await;
        claim(world).await;
        // A planner has nothing else to say than that it is one task.
        let ended = got(world, "select count(public.hub_complete_task(t.id, t.attempt, '[]')) from public.mac_tasks t where t.status = 'running'").await;
        if ended == json!(0) {
            break;
        }
    }
    let left = got(world, "select coalesce(jsonb_agg(t), '[]') from public.mac_tasks t where t.status not in ('complete', 'failed', 'cancelled')").await;
    assert_eq!(left, json!([]), "nobody ends them");
}

/// What is so whatever happened.
async fn sound(world: &World, after: &str) {
    let wrong = got(
        world,
        "select jsonb_agg(w) from (
           select 'told twice, or never' as what, t.id from public.mac_tasks t
            where (select count(*) from public.hub_channel_messages m where m.task_id = t.id
                    and (m.content_type in ('result', 'error') or m.content like '🚫%'))
                  <> 1
              and t.status in ('complete', 'failed', 'cancelled')
           union all
           select 'ended, or not, apart from its request', m.task_id from public.hub_teams m join public.mac_tasks t on t.id = m.task_id
            where (m.ended_at is not null) <> (t.status in ('complete', 'failed', 'cancelled'))
           union all
           select 'parts were made twice', s.parent_id from hub_internal.subtasks s where s.position > 0 group by s.parent_id having count(*) <> max(s.position)
           union all
           select 'is complete though all its parts failed', m.task_id from public.hub_teams m join public.mac_tasks t on t.id = m.task_id
            where t.status = 'complete' and t.attempt = 0
              and not exists (select from hub_internal.subtasks s join public.mac_tasks p on p.id = s.task_id where s.parent_id = t.id and p.status = 'complete')
         ) w",
    )
    .await;
    assert_eq!(wrong, Value::Null, "after {after}");
}

#[derive(Debug, Clone, Copy)]
enum Door {
    Complete(usize),
    Fail(usize),
    Cancel(usize),
    CancelAll,
    Need(usize, usize),
    Round,
}

fn door(parts: usize) -> impl Strategy<Value = Door> {
    let part = 0..parts;
    prop_oneof![
        6 => part.clone().prop_map(Door::Complete),
        4 => part.clone().prop_map(Door::Fail),
        2 => part.clone().prop_map(Door::Cancel),
        1 => Just(Door::CancelAll),
        2 => (part.clone(), part).prop_map(|(one, other)| Door::Need(one, other)),
        1 => Just(Door::Round),
    ]
}

async fn pass(world: &World, door: Door, whole: Uuid, parts: &[Uuid]) {
    let sql = match door {
        Door::Complete(part) => format!("select public.hub_complete_task('{}', 1, 'well')", parts[part]),
        Door::Fail(part) => format!("select public.hub_fail_task('{}', 1, 'no', false)", parts[part]),
        Door::Cancel(part) => format!("select public.hub_cancel_task('{}')", parts[part]),
        Door::CancelAll => format!("select public.hub_cancel_task('{whole}')"),
        Door::Need(one, other) => format!("select public.hub_need_task('{}', '{}')", parts[one], parts[other]),
        Door::Round => "select public.hub_recover()".to_owned(),
    };
    if let Err(code) = value(world, &sql).await {
        assert!(matches!(code.as_str(), "UH002" | "UH003"), "{door:?} ended with {code}");
    }
}

#[test]
fn parts_that_end_at_once_end_their_team_once() {
    block_on(async {
        let world = stage().await;
        let handle = tokio::runtime::Handle::current();
        let strategy = (any::<bool>(), any::<bool>(), prop::collection::vec(door(4), 3..10));
        tokio::task::block_in_place(|| {
            run(24, &strategy, |(join, threaded, doors)| {
                handle.block_on(async {
                    let flag = if join { "--join " } else { "" };
                    let whole = begin(&world, &format!("!team {flag}Do it\\n- a\\n- b\\n- c\\n- d")).await;
                    let parts = ids(&got(&world, &format!("select jsonb_agg(s.task_id order by s.position) from hub_internal.subtasks s where s.parent_id = '{whole}'")).await);
                    if threaded {
                        // Each in a conversation of its own, which is locked by itself.
                        world.sql("insert into public.hub_task_threads (channel_id, task_id, name) select t.channel_id, t.id, 'x' from public.mac_tasks t where t.status = 'running';
                                   update public.mac_tasks t set thread_id = h.id from public.hub_task_threads h where h.task_id = t.id").await;
                    }
                    join_all(doors.iter().map(|door| pass(&world, *door, whole, &parts))).await;
                    finish(&world).await;
                    sound(&world, &format!("{doors:?}")).await;
                });
            });
        });
    });
}

#[derive(Debug, Clone, Copy)]
enum Planning {
    Follow(usize),
    Fail,
    Cancel,
    CancelAll,
    Second,
}

#[test]
fn one_plan_is_followed_of_several_for_one_request() {
    const PLANS: [&str; 3] =
        [r#"[{"content": "a"}, {"content": "b"}]"#, r#"[{"content": "c"}, {"content": "d"}, {"content": "e"}]"#, "[]"];
    block_on(async {
        let world = stage().await;
        let handle = tokio::runtime::Handle::current();
        let one = prop_oneof![
            4 => (0..PLANS.len()).prop_map(Planning::Follow),
            1 => Just(Planning::Fail),
            1 => Just(Planning::Cancel),
            1 => Just(Planning::CancelAll),
            2 => Just(Planning::Second),
        ];
        tokio::task::block_in_place(|| {
            run(24, &prop::collection::vec(one, 2..6), |ways| {
                handle.block_on(async {
                    let whole = begin(&world, "!team Do it all").await;
                    // As whoever runs two hubs on one database would have it: a second task plans the same request.
                    got(&world, &format!("select hub_internal.add_planner(m, t)::text from public.hub_teams m join public.mac_tasks t on t.id = m.task_id where t.id = '{whole}'")).await;
                    claim(&world).await;
                    let planners = ids(&got(&world, &format!("select jsonb_agg(s.task_id) from hub_internal.subtasks s where s.parent_id = '{whole}' and s.position = 0")).await);
                    assert_eq!(planners.len(), 2);
                    let (first, second) = (planners[0], planners[1]);
                    let world = &world;
                    let said = join_all(ways.iter().map(|way| async move {
                        let sql = match *way {
                            Planning::Follow(plan) => format!("select public.hub_complete_task('{first}', 1, '{}')", PLANS[plan]),
                            Planning::Second => format!("select public.hub_complete_task('{second}', 1, '{}')", PLANS[0]),
                            Planning::Fail => format!("select public.hub_fail_task('{first}', 1, 'no', false)"),
                            Planning::Cancel => format!("select public.hub_cancel_task('{first}')"),
                            Planning::CancelAll => format!("select public.hub_cancel_task('{whole}')"),
                        };
                        let said = value(world, &sql).await.map(|_| ());
                        assert!(matches!(said.as_ref().map_err(String::as_str), Ok(()) | Err("UH002" | "UH003")), "{way:?}: {said:?}");
                        matches!(way, Planning::Follow(_) | Planning::Second) && said.is_ok()
                    }))
                    .await;
                    let followed = said.into_iter().filter(|one| *one).count();
                    assert!(followed <= 1, "{ways:?}: {followed} plans were followed");
                    let planned = got(world, &format!("select count(m.planned_by) from public.hub_teams m where m.task_id = '{whole}'")).await;
                    assert_eq!(planned, json!(followed), "{ways:?}");
                    // What else plans it is cancelled, as its refusal says.
                    for planner in planners {
                        value(world, &format!("select public.hub_cancel_task('{planner}')")).await.ok();
                        value(world, &format!("select public.hub_fail_task('{planner}', 1, 'stopped', false)")).await.ok();
                    }
                    finish(world).await;
                    sound(world, &format!("{ways:?}")).await;
                });
            });
        });
    });
}

#[test]
fn a_failed_child_never_comes_back_as_success() {
    block_on(async {
        let world = stage().await;
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            run(24, &prop::collection::vec(0..5usize, 1..8), |ends| {
                handle.block_on(async {
                    let parent = begin(&world, "Do it").await;
                    let mut children = Vec::new();
                    for n in 0..ends.len() {
                        let made = got(&world, &format!("select public.hub_subtask('{parent}', 1, 'part {n}')")).await;
                        children.push(made["id"].as_str().unwrap().to_owned());
                    }
                    claim(&world).await;
                    let mut expected = Vec::new();
                    for (end, child) in ends.iter().zip(&children) {
                        let (sql, status) = match end {
                            0 => (format!("select public.hub_complete_task('{child}', 1, 'well')"), "complete"),
                            1 => (format!("select public.hub_fail_task('{child}', 1, 'no', false)"), "failed"),
                            2 => (format!("select public.hub_cancel_task('{child}')"), "running"),
                            // A child whose note says that all is well, and which then is lost as often as it may be.
                            3 => (format!("select public.hub_fail_task('{child}', 1, 'no', false, '{{\"session_id\": \"s\"}}')"), "failed"),
                            _ => ("select 1".to_owned(), "running"),
                        };
                        got(&world, &sql).await;
                        if *end == 2 {
                            got(&world, &format!("select public.hub_fail_task('{child}', 1, 'stopped', false)")).await;
                            expected.push("cancelled");
                        } else {
                            expected.push(status);
                        }
                    }
                    let beat = got(&world, &format!("select public.hub_heartbeat('model', '[{{\"task\": \"{parent}\", \"attempt\": 1}}]')")).await;
                    for ((child, status), made) in children.iter().zip(&expected).zip(0..) {
                        let told: Vec<&Value> = beat["subtasks"].as_array().unwrap().iter().filter(|one| one["subtask"] == **child).collect();
                        let final_ = *status != "running";
                        assert_eq!(told.iter().map(|one| one["status"].as_str().unwrap()).collect::<Vec<_>>(), if final_ { vec![*status] } else { vec![] }, "child {made}");
                        let result = got(&world, &format!("select public.hub_subtask_result('{parent}', 1, '{child}')")).await;
                        assert_eq!(result["status"], **status);
                        assert_eq!(result["result"].is_null(), *status != "complete", "{result}");
                        assert_eq!(result["error"].is_null(), matches!(*status, "complete" | "running"), "{result}");
                    }
                    let again = got(&world, &format!("select public.hub_heartbeat('model', '[{{\"task\": \"{parent}\", \"attempt\": 1}}]')")).await;
                    assert_eq!(again["subtasks"], json!([]), "each end is told once");
                    finish(&world).await;
                    sound(&world, &format!("{ends:?}")).await;
                });
            });
        });
    });
}
