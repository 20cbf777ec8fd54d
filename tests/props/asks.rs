//! Asking people. Whatever doors race, an ask is answered at most once; a task that waits holds no slot, costs no attempt and asks
//! something; a grant allows exactly what was shown.

use futures_util::future::join_all;
use hub_tests::World;
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use std::collections::HashMap;
use uuid::Uuid;

use crate::{block_on, forget};

const CAPACITY: i64 = 2;

fn run<S: Strategy>(cases: u32, strategy: &S, case: impl Fn(S::Value)) {
    let config =
        ProptestConfig { cases, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(strategy, |value| {
        case(value);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

struct Stage {
    world: World,
    people: [Uuid; 2],
}

impl Stage {
    async fn new() -> Stage {
        let world = World::new().await;
        let people = [Uuid::new_v4(), Uuid::new_v4()];
        for person in people {
            world
                .sql(&format!(
                    "insert into public.hub_members (server_id, user_id, role) select id, '{person}', 'operator' from public.hub_servers;
                     insert into public.hub_chat_identities (provider, author_id, user_id, label, person_label) values ('telegram', '{person}', '{person}', 'x', '{person}')"
                ))
                .await;
        }
        world
            .sql(&format!(
                r#"select public.hub_register_device('model', 'linux', '[{{"agent":"claude","models":["any"]}}]', {CAPACITY});
                   insert into public.hub_bridges (server_id, channel_id, provider, target) select server_id, id, 'telegram', 'channel:1' from public.hub_channels where name = 'dispatch'"#
            ))
            .await;
        Stage { world, people }
    }

    /// One value of a statement, as postgres; or why not.
    async fn value(&self, sql: String) -> Result<Value, String> {
        value(&self.world.pool, None, sql).await
    }

    async fn got(&self, sql: String) -> Value {
        self.value(sql.clone()).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}

/// The same as a person.
async fn value(pool: &PgPool, person: Option<Uuid>, sql: String) -> Result<Value, String> {
    let told =
        |error: sqlx::Error| error.as_database_error().and_then(|e| e.code()).map_or(error.to_string(), Into::into);
    let mut transaction = pool.begin().await.map_err(told)?;
    if let Some(person) = person {
        let claims = json!({"sub": person, "role": "authenticated", "email": format!("{person}@example.com")});
        sqlx::query("select set_config('request.jwt.claims', $1, true), set_config('role', 'authenticated', true)")
            .bind(claims.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(told)?;
    }
    let value: Option<Value> = sqlx::query_scalar(AssertSqlSafe(format!("select to_jsonb(x) from ({sql}) as q (x)")))
        .fetch_one(&mut *transaction)
        .await
        .map_err(told)?;
    transaction.commit().await.map_err(told)?;
    Ok(value.unwrap_or_default())
}

// At most once ------------------------------------------------------------------------------------------------------

#[derive(Debug, Clone, Copy)]
enum Door {
    Program { who: usize, answer: &'static str },
    Task { who: usize },
    Thread { who: usize },
    Chat { who: usize, button: usize },
    Database,
    Time,
    Withdrawn,
    Parked,
    Cancelled,
}

fn door() -> impl Strategy<Value = Door> {
    let who = 0..2usize;
    prop_oneof![
        4 => (who.clone(), prop::sample::select(vec!["allow", "deny", "allow_task"])).prop_map(|(who, answer)| Door::Program { who, answer }),
        1 => who.clone().prop_map(|who| Door::Task { who }),
        2 => who.clone().prop_map(|who| Door::Thread { who }),
        3 => (who, 0..3usize).prop_map(|(who, button)| Door::Chat { who, button }),
        1 => Just(Door::Database),
        1 => Just(Door::Time),
        1 => Just(Door::Withdrawn),
        1 => Just(Door::Parked),
        1 => Just(Door::Cancelled),
    ]
}

/// Whether the door says that it answered.
async fn pass(stage: &Stage, door: Door, task: Uuid, ask: &Value, thread: &Value, keys: &[String]) -> bool {
    let pool = &stage.world.pool;
    let (id, digest) = (ask["id"].as_str().unwrap(), ask["digest"].as_str().unwrap());
    let said = match door {
        Door::Program { who, answer } => value(
            pool,
            Some(stage.people[who]),
            format!("select public.hub_answer_ask('{id}', '{answer}', null, '{digest}')"),
        )
        .await
        .map(|_| true),
        Door::Task { who } => {
            value(pool, Some(stage.people[who]), format!("select public.hub_answer_task('{task}', 'allow')"))
                .await
                .map(|_| true)
        }
        Door::Thread { who } => {
            let thread = thread.as_str().unwrap();
            let sql = format!(
                "select public.hub_send((select channel_id from public.hub_task_threads where id = '{thread}'), 'yes', '{thread}') -> 'ask'"
            );
            value(pool, Some(stage.people[who]), sql).await.map(|ask| !ask.is_null())
        }
        Door::Chat { who, button } => {
            let (key, author) = (&keys[button], stage.people[who]);
            let sql = format!(
                "select public.hub_answer_from_chat('telegram', '{key}', '{author}', 'channel:1') -> 'outcome'"
            );
            value(pool, None, sql).await.map(|outcome| outcome == "answered")
        }
        Door::Database => stage.value(format!("select public.hub_answer_ask('{id}', 'deny')")).await.map(|_| true),
        Door::Time => stage
            .value("select hub_internal.expire_asks(now() + interval '1 hour', 100)".to_owned())
            .await
            .map(|_| false),
        Door::Withdrawn => {
            stage.value(format!("select public.hub_withdraw_ask('{task}', 1, '{id}')")).await.map(|_| false)
        }
        Door::Parked => stage.value(format!("select public.hub_park_task('{task}', 1)")).await.map(|_| false),
        Door::Cancelled => stage.value(format!("select public.hub_cancel_task('{task}')")).await.map(|_| false),
    };
    match said {
        Ok(answered) => answered,
        Err(code) => {
            assert!(matches!(code.as_str(), "UH002" | "UH003"), "{door:?} ended with {code}");
            false
        }
    }
}

#[test]
fn an_ask_is_answered_at_most_once_whatever_doors_race() {
    block_on(async {
        let stage = Stage::new().await;
        let handle = tokio::runtime::Handle::current();
        let strategy = (any::<bool>(), any::<bool>(), prop::collection::vec(door(), 2..8));
        tokio::task::block_in_place(|| {
            run(32, &strategy, |(parked, expires, doors)| handle.block_on(race(&stage, parked, expires, &doors)));
        });
    });
}

async fn race(stage: &Stage, parked: bool, expires: bool, doors: &[Door]) {
    forget(&stage.world).await;
    stage.world.sql("delete from public.hub_ask_rules; delete from public.hub_outbox").await;
    if expires {
        let rule = "insert into public.hub_ask_rules (server_id, action, expires_after, on_expiry)
                    select server_id, 'ask', interval '1 minute', 'deny' from public.hub_channels where name = 'dispatch'";
        stage.world.sql(rule).await;
    }
    let sent = stage
        .got("select public.hub_send(id, 'ask') from public.hub_channels where name = 'dispatch'".to_owned())
        .await;
    let (task, thread) = (sent["task"]["id"].as_str().unwrap().parse::<Uuid>().unwrap(), &sent["thread"]["id"]);
    stage.got("select count(*) from public.hub_claim_tasks('model', 2)".to_owned()).await;
    let input = r#"{"tool": "Bash", "input": "ls"}"#;
    let ask = stage.got(format!("select public.hub_ask('{task}', 1, 'approval', 'May I?', null, '{input}')")).await;
    let mut keys = Vec::new();
    while keys.is_empty() {
        let row = stage.got("select o from public.hub_claim_outbox(1) o".to_owned()).await;
        let (id, attempt) = (row["id"].as_str().unwrap(), &row["attempt"]);
        stage.got(format!("select public.hub_complete_outbox('{id}', {attempt}, gen_random_uuid()::text)")).await;
        let options = row["body"]["ask"]["options"].as_array().cloned().unwrap_or_default();
        keys = options.iter().map(|one| one["key"].as_str().unwrap().to_owned()).collect();
    }
    if parked {
        stage.got(format!("select public.hub_park_task('{task}', 1)")).await;
    }

    let answered = join_all(doors.iter().map(|door| pass(stage, *door, task, &ask, thread, &keys))).await;
    let answers = answered.iter().filter(|one| **one).count();
    let id = ask["id"].as_str().unwrap();
    let now = stage.got(format!("select a from public.hub_asks a where id = '{id}'")).await;
    assert_eq!(answers, usize::from(now["state"] == "answered"), "{doors:?} left {now}");
    let told = stage
        .got(format!("select count(*) from realtime.messages where event = 'answer' and payload ->> 'ask' = '{id}'"))
        .await;
    assert!(told.as_i64().unwrap() <= 1, "{doors:?} told the device {told} times");
    let edits =
        stage.got(format!("select count(*) from public.hub_outbox where ask_id = '{id}' and kind = 'edit'")).await;
    assert_eq!(edits.as_i64().unwrap(), i64::from(now["state"] != "open"), "{doors:?} left {now}");
    let grants = stage.got("select count(*) from hub_internal.ask_grants".to_owned()).await;
    assert_eq!(
        grants.as_i64().unwrap(),
        i64::from(now["state"] == "answered" && now["answer"] == "allow_task"),
        "{doors:?} left {now}"
    );
    let task = stage.got(format!("select t from public.mac_tasks t where id = '{task}'")).await;
    let waits = task["status"] == "waiting";
    assert!(!waits || now["state"] == "open", "{doors:?} left {task} waiting for {now}");
    sound(stage, &format!("{doors:?}")).await;
}

// Waiting -----------------------------------------------------------------------------------------------------------

#[derive(Debug, Clone, Copy)]
enum Step {
    Send,
    Claim,
    Ask { task: usize, input: usize },
    Answer { ask: usize, answer: &'static str },
    Withdraw { ask: usize },
    Park { task: usize },
    End { task: usize, how: usize },
    Cancel { task: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let (task, ask) = (0..16usize, 0..32usize);
    prop_oneof![
        3 => Just(Step::Send),
        5 => Just(Step::Claim),
        6 => (task.clone(), 0..3usize).prop_map(|(task, input)| Step::Ask { task, input }),
        5 => (ask.clone(), prop::sample::select(vec!["allow", "deny", "allow_task"])).prop_map(|(ask, answer)| Step::Answer { ask, answer }),
        1 => ask.prop_map(|ask| Step::Withdraw { ask }),
        5 => task.clone().prop_map(|task| Step::Park { task }),
        2 => (task.clone(), 0..4usize).prop_map(|(task, how)| Step::End { task, how }),
        1 => task.prop_map(|task| Step::Cancel { task }),
    ]
}

/// What is always so.
async fn sound(stage: &Stage, after: &str) {
    let wrong = stage
        .got(
            "select jsonb_agg(w) from (
               select 'waits and holds a slot' as what, t.id from public.mac_tasks t where t.status = 'waiting' and (t.claimed_by is not null or t.lease_expires_at is not null)
               union all
               select 'waits for nothing', t.id from public.mac_tasks t where t.status = 'waiting' and not exists (select from public.hub_asks a where a.task_id = t.id and a.state = 'open')
               union all
               select 'asks though it does not run or wait', t.id from public.mac_tasks t join public.hub_asks a on a.task_id = t.id where a.state = 'open' and (t.status not in ('running', 'waiting') or a.attempt <> t.attempt)
               union all
               select 'has the wrong message', a.id from public.hub_asks a join public.hub_channel_messages m on m.id = a.message_id where (m.event = 'asked') <> (a.state = 'open')
             ) w"
            .to_owned(),
        )
        .await;
    assert_eq!(wrong, Value::Null, "after {after}");
}

#[test]
fn a_task_that_waits_holds_no_slot_and_costs_no_attempt() {
    block_on(async {
        let stage = Stage::new().await;
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            run(24, &prop::collection::vec(step(), 4..50), |steps| handle.block_on(work(&stage, &steps)));
        });
    });
}

async fn work(stage: &Stage, steps: &[Step]) {
    forget(&stage.world).await;
    stage.world.sql("delete from public.hub_ask_rules; delete from public.hub_outbox").await;
    // Which tasks there are, and how many of their attempts ended badly.
    let mut tasks: Vec<Uuid> = Vec::new();
    let mut spent: HashMap<Uuid, i64> = HashMap::new();
    for step in steps {
        let pick = |index: usize| (!tasks.is_empty()).then(|| tasks[index % tasks.len()]);
        let asks = stage
            .got("select coalesce(jsonb_agg(a order by a.created_at, a.id), '[]') from public.hub_asks a".to_owned())
            .await;
        let asks = asks.as_array().unwrap();
        let held = |task: Uuid| async move {
            let row = stage.got(format!("select t from public.mac_tasks t where id = '{task}'")).await;
            (row["status"] == "running").then(|| row["attempt"].as_i64().unwrap())
        };
        match *step {
            Step::Send => tasks.push(stage.world.send("work").await),
            Step::Claim => {
                stage.world.sql("update public.mac_tasks set run_after = null where status = 'pending'").await;
                let counted = "select jsonb_build_array(count(*) filter (where status = 'running'), count(*) filter (where status = 'pending')) from public.mac_tasks";
                let before = stage.got(counted.to_owned()).await;
                let free = CAPACITY - before[0].as_i64().unwrap();
                let got = stage.got("select count(*) from public.hub_claim_tasks('model', 100)".to_owned()).await;
                assert_eq!(got.as_i64().unwrap(), free.min(before[1].as_i64().unwrap()), "what waits takes room");
            }
            Step::Ask { task, input } => {
                if let Some(task) = pick(task)
                    && let Some(attempt) = held(task).await
                {
                    let command = ["ls", "ls ", "rm"][input];
                    let input = json!({"tool": "Bash", "input": command});
                    let asked = stage
                        .value(format!(
                            "select public.hub_ask('{task}', {attempt}, 'approval', 'May I?', null, '{input}')"
                        ))
                        .await;
                    // No more than twenty are open.
                    assert!(asked.is_ok() || asked == Err("UH006".to_owned()), "{asked:?}");
                }
            }
            Step::Answer { ask, answer } if !asks.is_empty() => {
                let ask = &asks[ask % asks.len()];
                let answered =
                    stage.value(format!("select public.hub_answer_ask({}, '{answer}')", quoted(&ask["id"]))).await;
                assert_eq!(answered.is_ok(), ask["state"] == "open", "{answered:?} for {ask}");
            }
            Step::Withdraw { ask } if !asks.is_empty() => {
                let ask = &asks[ask % asks.len()];
                let task: Uuid = ask["task_id"].as_str().unwrap().parse().unwrap();
                if let Some(attempt) = held(task).await {
                    stage
                        .got(format!("select public.hub_withdraw_ask('{task}', {attempt}, {})", quoted(&ask["id"])))
                        .await;
                }
            }
            Step::Park { task } => {
                if let Some(task) = pick(task)
                    && let Some(attempt) = held(task).await
                {
                    let parked = stage.value(format!("select public.hub_park_task('{task}', {attempt})")).await;
                    let asked = asks.iter().any(|ask| ask["task_id"] == json!(task) && ask["attempt"] == attempt);
                    // One that is to be cancelled waits for nothing: it ends.
                    let cancelled = parked.as_ref().is_ok_and(|task| task["status"] == "cancelled");
                    assert_eq!(parked.is_ok(), asked || cancelled, "{parked:?}");
                }
            }
            Step::End { task, how } => {
                if let Some(task) = pick(task)
                    && let Some(attempt) = held(task).await
                {
                    let end = match how {
                        0 => format!("select public.hub_complete_task('{task}', {attempt}, 'done')"),
                        1 => format!("select public.hub_fail_task('{task}', {attempt}, 'no', false)"),
                        2 => format!(
                            "select public.hub_fail_task('{task}', {attempt}, 'no', true, '{{\"reason\": \"worker_stopped\"}}')"
                        ),
                        _ => {
                            *spent.entry(task).or_default() += 1;
                            format!("select public.hub_fail_task('{task}', {attempt}, 'no', true)")
                        }
                    };
                    stage.got(end).await;
                }
            }
            Step::Cancel { task } => {
                if let Some(task) = pick(task) {
                    drop(stage.value(format!("select public.hub_cancel_task('{task}')")).await);
                }
            }
            Step::Answer { .. } | Step::Withdraw { .. } => {}
        }
        sound(stage, &format!("{step:?} of {steps:?}")).await;
        for task in &tasks {
            let row = stage.got(format!("select t from public.mac_tasks t where id = '{task}'")).await;
            if ["waiting", "pending"].iter().any(|status| row["status"] == *status) {
                let left = row["max_attempts"].as_i64().unwrap() - row["attempt"].as_i64().unwrap();
                assert_eq!(left, 3 - spent.get(task).copied().unwrap_or_default(), "{step:?} cost {row} an attempt");
            }
        }
    }
}

fn quoted(id: &Value) -> String {
    format!("'{}'", id.as_str().unwrap())
}

// Grants ------------------------------------------------------------------------------------------------------------

/// Inputs that are nearly the same.
fn input() -> impl Strategy<Value = Value> {
    let text = prop::sample::select(vec!["ls", "ls ", "LS", "ls\n", "l\u{200b}s", "", "null", "{\"a\":1}"]);
    let leaf = prop_oneof![
        text.prop_map(Value::from),
        (0..3i64).prop_map(Value::from),
        Just(Value::Null),
        any::<bool>().prop_map(Value::from)
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(
                prop::sample::select(vec!["a", "b", "A", "command"]).prop_map(str::to_owned),
                inner,
                0..3
            )
            .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

#[test]
fn a_grant_allows_exactly_what_was_shown() {
    block_on(async {
        let stage = Stage::new().await;
        let handle = tokio::runtime::Handle::current();
        let tool = || prop::sample::select(vec!["Bash", "bash", "Bash\n\"ls\"", "B"]);
        let strategy = ((tool(), input()), prop::collection::vec((tool(), input()), 1..8));
        tokio::task::block_in_place(|| {
            run(48, &strategy, |(granted, asked)| handle.block_on(grant(&stage, &granted, &asked)));
        });
    });
}

async fn grant(stage: &Stage, granted: &(&str, Value), asked: &[(&str, Value)]) {
    forget(&stage.world).await;
    let task = stage.world.send("work").await;
    stage.got("select count(*) from public.hub_claim_tasks('model', 1)".to_owned()).await;
    let ask = |(tool, input): &(&str, Value)| {
        let input = json!({"tool": tool, "input": input}).to_string().replace('\'', "''");
        format!("select public.hub_ask('{task}', 1, 'approval', 'May I?', null, '{input}')")
    };
    let first = stage.got(ask(granted)).await;
    stage
        .got(format!(
            "select public.hub_answer_ask({}, 'allow_task', null, '{}')",
            quoted(&first["id"]),
            first["digest"].as_str().unwrap()
        ))
        .await;
    // An input of null is none.
    let same = |one: &(&str, Value)| one == granted;
    for one in asked.iter().chain([granted]) {
        let ask = stage.got(ask(one)).await;
        assert_eq!(ask["state"] == "answered", same(one), "{one:?} where {granted:?} was allowed: {ask}");
    }
}
