//! A thread's age against a model of it.

use chrono::{DateTime, Duration, Utc};
use hub_tests::World;
use proptest::{prelude::*, test_runner::TestRunner};
use uuid::Uuid;

use crate::{block_on, forget};

#[derive(Debug, Clone)]
enum Step {
    Message,
    Wait { minutes: i64 },
    Cycle,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Message),
        4 => prop_oneof![1..10i64, 30..130i64].prop_map(|minutes| Step::Wait { minutes }),
        5 => Just(Step::Cycle),
    ]
}

#[test]
fn a_thread_ages_like_its_model() {
    block_on(async {
        let world = World::new().await;
        let handle = tokio::runtime::Handle::current();
        let outcome = tokio::task::block_in_place(|| {
            let mut runner = TestRunner::new(ProptestConfig {
                cases: 24,
                max_shrink_iters: 200,
                failure_persistence: None,
                ..ProptestConfig::default()
            });
            runner.run(&prop::collection::vec(step(), 1..40), |steps| {
                handle.block_on(case(&world, &steps));
                Ok(())
            })
        });
        if let Err(error) = outcome {
            panic!("{error}");
        }
    });
}

async fn case(world: &World, steps: &[Step]) {
    forget(world).await;
    let start = DateTime::from_timestamp(Utc::now().timestamp(), 0).unwrap();
    let thread: Uuid = sqlx::query_scalar(
        "insert into public.hub_task_threads (channel_id, name, last_activity_at, state_entered_at)
         select c.id, 'model', $1, $1 from public.hub_channels c where c.name = 'dispatch' returning id",
    )
    .bind(start)
    .fetch_one(&world.pool)
    .await
    .unwrap();

    let (mut now, mut activity, mut entered, mut state) = (0i64, 0i64, 0i64, "active");
    let (mut warnings, mut summaries) = (0i64, 0i64);
    for step in steps {
        let at = start + Duration::minutes(now);
        match *step {
            Step::Wait { minutes } => now += minutes,
            Step::Message => {
                sqlx::query("insert into public.hub_channel_messages (channel_id, task_thread_id, sender_type, content) select channel_id, id, 'human', 'hello' from public.hub_task_threads where id = $1")
                    .bind(thread)
                    .execute(&world.pool)
                    .await
                    .unwrap();
                if state != "active" {
                    (state, entered) = ("active", now);
                }
                activity = now;
                // Messages are stamped by the real clock; the case has its own.
                sqlx::query(
                    "update public.hub_task_threads set last_activity_at = $2, state_entered_at = $3 where id = $1",
                )
                .bind(thread)
                .bind(at)
                .bind(start + Duration::minutes(entered))
                .execute(&world.pool)
                .await
                .unwrap();
            }
            Step::Cycle => {
                let moved: i32 = sqlx::query_scalar("select public.hub_decay_threads($1)")
                    .bind(at)
                    .fetch_one(&world.pool)
                    .await
                    .unwrap();
                let next = match state {
                    "active" if now >= activity + 120 => Some("idle"),
                    "idle" if now >= entered + 60 => Some("decaying"),
                    "decaying" if now > entered => Some("archived"),
                    _ => None,
                };
                assert_eq!(moved, i32::from(next.is_some()), "after {step:?} at minute {now} as {state}");
                if let Some(next) = next {
                    (state, entered) = (next, now);
                    warnings += i64::from(next == "idle");
                    summaries += i64::from(next == "archived");
                }
            }
        }
        let (status, archived, count): (String, bool, i64) = sqlx::query_as(
            "select status, archived_at is not null, message_count::bigint from public.hub_task_threads where id = $1",
        )
        .bind(thread)
        .fetch_one(&world.pool)
        .await
        .unwrap();
        let told: (i64, i64, i64) = sqlx::query_as(
            "select count(*) filter (where content_type = 'warning'), count(*) filter (where content_type = 'summary'), coalesce(max(seq), 0)
               from public.hub_channel_messages where task_thread_id = $1",
        )
        .bind(thread)
        .fetch_one(&world.pool)
        .await
        .unwrap();
        assert_eq!((status.as_str(), archived), (state, state == "archived"), "after {step:?} at minute {now}");
        assert_eq!(told, (warnings, summaries, count), "after {step:?} at minute {now}");
    }
}
