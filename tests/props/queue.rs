//! The queue against a model of a task's states. After every step each row must be what the model says: so no task is under two live
//! leases, attempts only grow, final stays final, and a claim takes exactly what is due and fits (nothing due starves).

use chrono::{DateTime, Duration, Utc};
use hub_tests::World;
use proptest::{prelude::*, test_runner::TestRunner};
use sqlx::Row;
use uuid::Uuid;

use crate::{block_on, forget};

const DEVICES: [(&str, usize); 2] = [("model-a", 3), ("model-b", 2)];
const LEASE: i64 = 60;
/// How long leases are spared after an outage.
const GRACE: i64 = 30;

#[derive(Debug, Clone)]
enum Step {
    Send,
    Claim { device: usize, limit: usize },
    Complete { task: usize, stale: bool },
    Fail { task: usize, retryable: bool },
    Cancel { task: usize },
    Retry { task: usize },
    Heartbeat { device: usize },
    Recover,
    Wait { seconds: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    let task = 0..32usize;
    let device = 0..DEVICES.len();
    prop_oneof![
        4 => Just(Step::Send),
        6 => (device.clone(), 1..5usize).prop_map(|(device, limit)| Step::Claim { device, limit }),
        3 => (task.clone(), prop::bool::weighted(0.2)).prop_map(|(task, stale)| Step::Complete { task, stale }),
        3 => (task.clone(), any::<bool>()).prop_map(|(task, retryable)| Step::Fail { task, retryable }),
        2 => task.clone().prop_map(|task| Step::Cancel { task }),
        2 => task.prop_map(|task| Step::Retry { task }),
        2 => device.prop_map(|device| Step::Heartbeat { device }),
        2 => Just(Step::Recover),
        3 => (1..150i64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Pending,
    Running,
    Complete,
    Failed,
    Cancelled,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Running => "running",
            State::Complete => "complete",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
        }
    }
}

#[derive(Debug)]
struct Task {
    id: Uuid,
    state: State,
    attempt: i32,
    max_attempts: i32,
    holder: Option<usize>,
    lease_until: i64,
    run_after: i64,
    cancel_requested: bool,
    endings: i64,
}

impl Task {
    fn end(&mut self, state: State) {
        self.state = state;
        self.endings += 1;
    }

    fn back(&mut self, run_after: i64) {
        self.state = State::Pending;
        self.holder = None;
        self.run_after = run_after;
    }
}

struct Case<'w> {
    world: &'w World,
    start: DateTime<Utc>,
    now: i64,
    tasks: Vec<Task>,
    rounds: Rounds,
}

/// When leases were looked at last, when that was to be again, and from when to when nobody looked.
#[derive(Default)]
struct Rounds {
    ran: i64,
    due: Option<i64>,
    outage: Option<(i64, i64)>,
}

impl Rounds {
    /// Notes a round, after which the next lease ends then; from when on leases that ran out are spared.
    fn begin(&mut self, now: i64, next: Option<i64>) -> Option<i64> {
        if self.due.is_some_and(|due| now > due + 10) {
            let from = match self.outage {
                Some((from, to)) if (to..=to + GRACE).contains(&now) => from,
                _ => self.ran,
            };
            self.outage = Some((from, now));
        }
        self.ran = now;
        self.due = Some(next.map_or(now + 60, |next| next.min(now + 60)));
        self.outage.filter(|(_, to)| (*to..to + GRACE).contains(&now)).map(|(from, _)| from)
    }
}

impl Case<'_> {
    fn time(&self) -> DateTime<Utc> {
        self.start + Duration::seconds(self.now)
    }

    async fn call(&self, sql: &str) -> Result<(), String> {
        self.world.try_sql(&sql.replace("$now", &format!("'{}'::timestamptz", self.time().to_rfc3339()))).await
    }

    async fn step(&mut self, step: &Step) {
        let pick = |index: usize, tasks: &[Task]| (!tasks.is_empty()).then(|| index % tasks.len());
        match *step {
            Step::Send => {
                let id = self.world.send("model").await;
                self.tasks.push(Task {
                    id,
                    state: State::Pending,
                    attempt: 0,
                    max_attempts: 3,
                    holder: None,
                    lease_until: 0,
                    run_after: i64::MIN,
                    cancel_requested: false,
                    endings: 0,
                });
            }
            Step::Claim { device, limit } => self.claim(device, limit).await,
            Step::Complete { task, stale } => {
                let Some(index) = pick(task, &self.tasks) else { return };
                let (id, attempt, running) =
                    (self.tasks[index].id, self.tasks[index].attempt, self.tasks[index].state == State::Running);
                let said = self
                    .call(&format!(
                        "select hub_internal.complete_task('{id}', {}, 'done', '{{}}', $now)",
                        attempt - i32::from(stale)
                    ))
                    .await;
                if running && !stale {
                    assert_eq!(said, Ok(()));
                    self.tasks[index].end(State::Complete);
                } else {
                    assert_eq!(said, Err("UH002".into()));
                }
            }
            Step::Fail { task, retryable } => {
                let Some(index) = pick(task, &self.tasks) else { return };
                let now = self.now;
                let said = self
                    .call(&format!(
                        "select hub_internal.fail_task('{}', {}, 'no', {retryable}, '{{}}', $now)",
                        self.tasks[index].id, self.tasks[index].attempt
                    ))
                    .await;
                let task = &mut self.tasks[index];
                if task.state != State::Running {
                    assert_eq!(said, Err("UH002".into()));
                    return;
                }
                assert_eq!(said, Ok(()));
                if task.cancel_requested {
                    task.end(State::Cancelled);
                } else if retryable && task.attempt < task.max_attempts {
                    task.back(now + (10 << (task.attempt - 1).min(19)).min(600));
                } else {
                    task.end(State::Failed);
                }
            }
            Step::Cancel { task } => {
                let Some(index) = pick(task, &self.tasks) else { return };
                let said =
                    self.call(&format!("select hub_internal.cancel_task('{}', $now)", self.tasks[index].id)).await;
                let task = &mut self.tasks[index];
                match task.state {
                    State::Pending => task.end(State::Cancelled),
                    State::Running => task.cancel_requested = true,
                    State::Cancelled => {}
                    State::Complete | State::Failed => {
                        assert_eq!(said, Err("UH003".into()));
                        return;
                    }
                }
                assert_eq!(said, Ok(()));
            }
            Step::Retry { task } => {
                let Some(index) = pick(task, &self.tasks) else { return };
                let said = self.call(&format!("select hub_internal.retry_task('{}')", self.tasks[index].id)).await;
                let task = &mut self.tasks[index];
                if matches!(task.state, State::Failed | State::Cancelled) {
                    assert_eq!(said, Ok(()));
                    task.back(i64::MIN);
                    task.cancel_requested = false;
                    task.max_attempts = task.max_attempts.max(task.attempt + 3);
                } else {
                    assert_eq!(said, Err("UH003".into()));
                }
            }
            Step::Heartbeat { device } => {
                let held: Vec<String> = self
                    .tasks
                    .iter()
                    .filter(|task| task.state == State::Running && task.holder == Some(device))
                    .map(|task| format!(r#"{{"task": "{}", "attempt": {}}}"#, task.id, task.attempt))
                    .collect();
                let said = self
                    .call(&format!(
                        "select hub_internal.heartbeat('{}', '[{}]', null, $now)",
                        DEVICES[device].0,
                        held.join(",")
                    ))
                    .await;
                assert_eq!(said, Ok(()));
                let until = self.now + LEASE;
                for task in
                    self.tasks.iter_mut().filter(|task| task.state == State::Running && task.holder == Some(device))
                {
                    task.lease_until = task.lease_until.max(until);
                }
            }
            Step::Recover => {
                assert_eq!(self.call("select hub_internal.recover($now, 1000)").await, Ok(()));
                let now = self.now;
                let leases = self.tasks.iter().filter(|task| task.state == State::Running).map(|task| task.lease_until);
                let spared = self.rounds.begin(now, leases.filter(|until| *until >= now).min());
                let over = |task: &&mut Task| {
                    task.state == State::Running
                        && task.lease_until < now
                        && spared.is_none_or(|from| task.lease_until < from)
                };
                for task in self.tasks.iter_mut().filter(over) {
                    if task.cancel_requested {
                        task.end(State::Cancelled);
                    } else if task.attempt < task.max_attempts {
                        task.back(i64::MIN);
                    } else {
                        task.end(State::Failed);
                    }
                }
            }
            Step::Wait { seconds } => self.now += seconds,
        }
    }

    async fn claim(&mut self, device: usize, limit: usize) {
        let (name, capacity) = DEVICES[device];
        let busy = self.tasks.iter().filter(|task| task.state == State::Running && task.holder == Some(device)).count();
        let due = self.tasks.iter().filter(|task| task.state == State::Pending && task.run_after <= self.now).count();
        let expected = limit.min(capacity - busy).min(due);
        let claimed: Vec<Uuid> =
            sqlx::query_scalar("select id from hub_internal.claim_tasks($1, $2, make_interval(secs => $3), $4)")
                .bind(name)
                .bind(i32::try_from(limit).unwrap())
                .bind(LEASE as f64)
                .bind(self.time())
                .fetch_all(&self.world.pool)
                .await
                .unwrap();
        assert_eq!(claimed.len(), expected, "{name} takes what is due and fits");
        let (now, until) = (self.now, self.now + LEASE);
        for id in claimed {
            let task = self.tasks.iter_mut().find(|task| task.id == id).expect("a task of this case");
            assert!(task.state == State::Pending && task.run_after <= now, "claimed what was not due: {task:?}");
            task.state = State::Running;
            task.attempt += 1;
            task.holder = Some(device);
            task.lease_until = until;
        }
    }

    async fn compare(&self, after: &Step) {
        let rows = sqlx::query(
            "select t.id, t.status, t.attempt, t.claimed_by, t.lease_expires_at,
                    (select count(*) from public.hub_channel_messages m where m.task_id = t.id
                      and (m.content_type in ('result', 'error') or m.content like '🚫%')) as endings
               from public.mac_tasks t",
        )
        .fetch_all(&self.world.pool)
        .await
        .unwrap();
        assert_eq!(rows.len(), self.tasks.len());
        for row in rows {
            let id: Uuid = row.get("id");
            let task = self.tasks.iter().find(|task| task.id == id).expect("known");
            assert_eq!(row.get::<String, _>("status"), task.state.name(), "after {after:?}: {task:?}");
            assert_eq!(row.get::<i32, _>("attempt"), task.attempt, "after {after:?}: {task:?}");
            assert_eq!(
                row.get::<i64, _>("endings"),
                task.endings,
                "each ending is told once; after {after:?}: {task:?}"
            );
            if task.state == State::Running {
                assert_eq!(row.get::<String, _>("claimed_by"), DEVICES[task.holder.unwrap()].0);
                let lease: DateTime<Utc> = row.get("lease_expires_at");
                assert_eq!((lease - self.start).num_seconds(), task.lease_until, "after {after:?}: {task:?}");
            }
        }
    }
}

#[test]
fn the_queue_behaves_like_its_model() {
    block_on(async {
        let world = World::new().await;
        for (name, capacity) in DEVICES {
            world.sql(&format!("select public.hub_register_device('{name}', 'linux', '[{{\"agent\": \"a\", \"models\": [\"any\"]}}]', {capacity})")).await;
        }
        let handle = tokio::runtime::Handle::current();
        let outcome = tokio::task::block_in_place(|| {
            let mut runner = TestRunner::new(ProptestConfig {
                cases: 24,
                max_shrink_iters: 200,
                failure_persistence: None,
                ..ProptestConfig::default()
            });
            runner.run(&prop::collection::vec(step(), 1..60), |steps| {
                handle.block_on(async {
                    forget(&world).await;
                    // Whole seconds: what the database gives back is compared in them.
                    let start = DateTime::from_timestamp(Utc::now().timestamp(), 0).unwrap() + Duration::seconds(1);
                    let mut case = Case { world: &world, start, now: 0, tasks: Vec::new(), rounds: Rounds::default() };
                    for step in &steps {
                        case.step(step).await;
                        case.compare(step).await;
                    }
                });
                Ok(())
            })
        });
        if let Err(error) = outcome {
            panic!("{error}");
        }
    });
}
