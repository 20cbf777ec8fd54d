//! Limits of accounts against a model: who draws from a pool that is dry claims nothing from it, whoever draws from another is not
//! concerned, what a model's own machines can not do the next one in its order does, and what begins after a window goes back to the
//! first. A limited attempt costs none.

use chrono::{DateTime, Duration, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::HashMap;

use crate::{block_on, teams::run, timed::Timed};

/// An agent of a device: its name, the models it is for, the account it has.
type Agent = (&'static str, &'static [&'static str], Option<&'static str>);

const DEVICES: [(&str, &[Agent]); 5] = [
    ("one", &[("claude", &["claude"], Some("team")), ("codex", &["codex"], Some("team"))]),
    ("two", &[("claude", &["claude"], Some("team"))]),
    ("three", &[("claude", &["claude"], Some("ann")), ("gemini", &["gemini"], Some("ann"))]),
    // One program that runs two models, under a login of the machine's own.
    ("four", &[("mixed", &["codex", "claude"], None)]),
    ("five", &[("gemini", &["gemini"], Some("team"))]),
];
const CAPACITY: usize = 4;
const MODELS: [&str; 3] = ["claude", "codex", "gemini"];

/// A model, and what stands in for it, as shipped.
fn ways(model: &str) -> [&'static str; 3] {
    match model {
        "claude" => ["claude", "codex", "gemini"],
        "codex" => ["codex", "claude", "gemini"],
        _ => ["gemini", "claude", "codex"],
    }
}

#[derive(Debug, Clone)]
enum Step {
    Send {
        model: usize,
        pinned: bool,
    },
    Claim {
        device: usize,
        limit: usize,
    },
    /// Met, of all that an agent runs or of one model, until so many seconds from now (or ago).
    Report {
        device: usize,
        agent: usize,
        model: Option<usize>,
        seconds: i64,
    },
    /// How much is used, by which nobody is limited.
    Share {
        device: usize,
        used: f64,
    },
    /// Of what the device has not, or is none.
    Wrong {
        device: usize,
        how: usize,
    },
    Complete {
        task: usize,
    },
    Limited {
        task: usize,
        named: bool,
        seconds: i64,
    },
    Pass {
        seconds: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let device = 0..DEVICES.len();
    let model = 0..MODELS.len();
    let seconds = prop_oneof![-4000..60i64, 60..9000i64, 9000..2_000_000i64];
    prop_oneof![
        6 => (model.clone(), prop::bool::weighted(0.2)).prop_map(|(model, pinned)| Step::Send { model, pinned }),
        6 => (device.clone(), 1..5usize).prop_map(|(device, limit)| Step::Claim { device, limit }),
        4 => (device.clone(), 0..2usize, prop::option::of(model), seconds.clone()).prop_map(|(device, agent, model, seconds)| Step::Report { device, agent, model, seconds }),
        1 => (device.clone(), 0.0..0.99f64).prop_map(|(device, used)| Step::Share { device, used }),
        1 => (device, 0..5usize).prop_map(|(device, how)| Step::Wrong { device, how }),
        2 => (0..32usize).prop_map(|task| Step::Complete { task }),
        3 => (0..32usize, any::<bool>(), seconds).prop_map(|(task, named, seconds)| Step::Limited { task, named, seconds }),
        4 => prop_oneof![1..90i64, 90..20_000i64, 20_000..700_000i64].prop_map(|seconds| Step::Pass { seconds }),
    ]
}

#[derive(Debug)]
struct Task {
    model: usize,
    pinned: bool,
    /// Who runs it, by which agent, as which model.
    runs: Option<(usize, usize, &'static str)>,
    attempt: i64,
    over: bool,
}

/// An account, the program that it is used by, and which of its models; none: all of them.
type Pool = (String, &'static str, Option<&'static str>);

struct Case<'a> {
    timed: &'a Timed,
    now: DateTime<Utc>,
    tasks: Vec<Task>,
    limited_until: HashMap<Pool, DateTime<Utc>>,
}

impl Case<'_> {
    // The model ------------------------------------------------------------------------------------------------

    fn pool(device: usize, agent: usize, model: Option<&'static str>) -> Pool {
        let (name, _, account) = DEVICES[device].1[agent];
        (account.map_or_else(|| format!("device:{}", DEVICES[device].0), str::to_owned), name, model)
    }

    fn note(&mut self, pool: Pool, seconds: i64) {
        // Never sooner than in a minute, never later than in eight days.
        self.limited_until.insert(pool, self.now + Duration::seconds(seconds.clamp(60, 8 * 24 * 3600)));
    }

    fn is_dry(&self, device: usize, agent: usize, model: &'static str) -> bool {
        [None, Some(model)].into_iter().any(|model| {
            self.limited_until.get(&Case::pool(device, agent, model)).is_some_and(|until| *until > self.now)
        })
    }

    fn agents(device: usize, model: &str) -> impl Iterator<Item = usize> {
        let agents = DEVICES[device].1;
        (0..agents.len()).filter(move |&agent| agents[agent].1.contains(&model))
    }

    fn can(&self, device: usize, model: &'static str) -> bool {
        Case::agents(device, model).any(|agent| !self.is_dry(device, agent, model))
    }

    /// What runs a task for this model now.
    fn way(&self, task: &Task) -> &'static str {
        let model = MODELS[task.model];
        if task.pinned {
            return model;
        }
        let can = |way: &&'static str| (0..DEVICES.len()).any(|device| self.can(device, way));
        ways(model).into_iter().find(can).unwrap_or(model)
    }

    // Steps ----------------------------------------------------------------------------------------------------

    async fn round(&self) {
        self.timed.got("select public.hub_recover()").await;
    }

    async fn pass(&mut self, seconds: i64) {
        // What runs is held for longer than any case takes.
        self.timed.run("update public.mac_tasks set lease_expires_at = 'infinity' where status = 'running'").await;
        self.timed.pass(seconds).await;
        self.now = self.timed.now().await;
        for (name, _) in DEVICES {
            self.timed.got(&format!("select public.hub_heartbeat('{name}', '[]')")).await;
        }
        self.round().await;
    }

    async fn report(&self, device: usize, rest: &str) -> Result<(), String> {
        let name = DEVICES[device].0;
        self.timed.value(&format!("select public.hub_report_rate_limit('{name}', {rest})::text")).await.map(|_| ())
    }

    async fn step(&mut self, step: &Step) {
        let running = |tasks: &[Task], pick: usize| {
            let running: Vec<usize> = (0..tasks.len()).filter(|&task| tasks[task].runs.is_some()).collect();
            (!running.is_empty()).then(|| running[pick % running.len()])
        };
        match *step {
            Step::Send { model, pinned } => {
                let (n, name) = (self.tasks.len(), MODELS[model]);
                self.timed.run(&format!(
                    "insert into public.mac_tasks (content, channel_id, model_preference, model_pinned) select '{n}', id, '{name}', {pinned} from public.hub_channels where name = 'quick'"
                )).await;
                self.tasks.push(Task { model, pinned, runs: None, attempt: 0, over: false });
            }
            Step::Claim { device, limit } => self.claim(device, limit).await,
            Step::Report { device, agent, model, seconds } => {
                let agent = agent % DEVICES[device].1.len();
                let model = model.map(|model| MODELS[model]);
                let until = (self.now + Duration::seconds(seconds)).to_rfc3339();
                let named = model.map_or("null".to_owned(), |model| format!("'{model}'"));
                let said =
                    self.report(device, &format!("'{}', {named}, '{until}', 'x'", DEVICES[device].1[agent].0)).await;
                assert_eq!(said, Ok(()));
                self.note(Case::pool(device, agent, model), seconds);
                self.round().await;
            }
            Step::Share { device, used } => {
                let window = (self.now + Duration::hours(5)).to_rfc3339();
                let agent = DEVICES[device].1[0].0;
                let said = self
                    .report(
                        device,
                        &format!("'{agent}', null, null, null, 'structured', 'five_hour', {used}, '{window}'"),
                    )
                    .await;
                assert_eq!(said, Ok(()));
                self.round().await;
            }
            Step::Wrong { device, how } => {
                let until = (self.now + Duration::hours(1)).to_rfc3339();
                let agent = DEVICES[device].1[0].0;
                let rest = match how {
                    0 => format!("'nobody', null, '{until}'"),
                    // Of another machine, which has that agent, and it has not.
                    1 => format!("'{}', null, '{until}'", if device == 3 { "claude" } else { "mixed" }),
                    2 => format!("'{agent}', null, 'infinity'"),
                    3 => format!("'{agent}', null, '{until}', null, 'rumour'"),
                    _ => format!("'{agent}', null, '{until}', null, 'structured', 'year'"),
                };
                let said = self.report(device, &rest).await;
                assert_eq!(said, Err("UH001".to_owned()), "{rest}");
                self.round().await;
            }
            Step::Complete { task } => {
                if let Some(task) = running(&self.tasks, task) {
                    let attempt = self.tasks[task].attempt;
                    self.timed.got(&format!("select public.hub_complete_task(id, {attempt}, 'x') is null from public.mac_tasks where content = '{task}'")).await;
                    self.tasks[task].runs = None;
                    self.tasks[task].over = true;
                }
            }
            Step::Limited { task, named, seconds } => {
                if let Some(task) = running(&self.tasks, task) {
                    self.limited(task, named, seconds).await;
                }
            }
            Step::Pass { seconds } => self.pass(seconds).await,
        }
    }

    /// It met a limit: of one model, or of all that its agent runs.
    async fn limited(&mut self, task: usize, named: bool, seconds: i64) {
        let (device, agent, model) = self.tasks[task].runs.unwrap();
        let until = (self.now + Duration::seconds(seconds)).to_rfc3339();
        let mut limit = json!({"until": until, "source": "structured"});
        if named {
            limit["model"] = model.into();
        }
        let attempt = self.tasks[task].attempt;
        let meta = json!({"reason": "limit", "limit": limit});
        self.timed
            .got(&format!("select public.hub_fail_task(id, {attempt}, 'x', false, '{meta}') is null from public.mac_tasks where content = '{task}'"))
            .await;
        self.note(Case::pool(device, agent, named.then_some(model)), seconds);
        self.tasks[task].runs = None;
        self.round().await;
    }

    async fn claim(&mut self, device: usize, limit: usize) {
        let name = DEVICES[device].0;
        let busy = self.tasks.iter().filter(|task| task.runs.is_some_and(|(at, ..)| at == device)).count();
        let takes = |task: &&Task| !task.over && task.runs.is_none() && self.can(device, self.way(task));
        let expected = limit.min(CAPACITY - busy).min(self.tasks.iter().filter(takes).count());
        let claimed = self
            .timed
            .got(&format!(
                "select coalesce(jsonb_agg(jsonb_build_array(c.content, c.agent, c.model, c.attempt, a.fallback_from)), '[]')
                   from public.hub_claim_tasks('{name}', {limit}, '1 day') c
                   left join public.hub_task_attempts a on a.task_id = c.id and a.attempt = c.attempt"
            ))
            .await;
        let claimed = claimed.as_array().unwrap();
        for row in claimed {
            let task: usize = row[0].as_str().unwrap().parse().unwrap();
            let way = self.way(&self.tasks[task]);
            let agent = Case::agents(device, way).find(|&agent| DEVICES[device].1[agent].0 == row[1]);
            let agent = agent.unwrap_or_else(|| panic!("{name} has no {} for {way}", row[1]));
            assert!(
                !self.is_dry(device, agent, way),
                "{name} claimed {row} from a pool that is dry: {:?}",
                self.limited_until
            );
            assert_eq!(row[2], way, "{row}");
        }
        assert_eq!(claimed.len(), expected, "{name} takes what it may: {:?} {:?}", self.tasks, self.limited_until);
        // What has just begun is told of after its claim: read again.
        for row in claimed {
            let task: usize = row[0].as_str().unwrap().parse().unwrap();
            let way = self.way(&self.tasks[task]);
            let agent = Case::agents(device, way).find(|&agent| DEVICES[device].1[agent].0 == row[1]).unwrap();
            let task = &mut self.tasks[task];
            task.attempt += 1;
            task.runs = Some((device, agent, way));
        }
    }

    async fn compare(&self, after: &Step) {
        let rows = self
            .timed
            .got(
                "select coalesce(jsonb_object_agg(t.content, jsonb_build_array(t.status, t.attempt, t.max_attempts - t.attempt,
                          (select a.fallback_from from public.hub_task_attempts a where a.task_id = t.id and a.attempt = t.attempt and t.status = 'running'),
                          (select count(*) from public.hub_task_attempts a where a.task_id = t.id and a.outcome not in ('limited', 'complete')))), '{}')
                   from public.mac_tasks t",
            )
            .await;
        for (n, task) in self.tasks.iter().enumerate() {
            let row = &rows[n.to_string()];
            let status = if task.over {
                "complete"
            } else if task.runs.is_some() {
                "running"
            } else {
                "pending"
            };
            // Each that was limited left as many as there were.
            let left = if status == "pending" { 3 } else { 2 };
            let instead = task.runs.filter(|(.., way)| *way != MODELS[task.model]).map(|_| MODELS[task.model]);
            assert_eq!(*row, json!([status, task.attempt, left, instead, 0]), "after {after:?}: {task:?}");
        }
        let pools = self
            .timed
            .got("select coalesce(jsonb_agg(jsonb_build_array(q.account, q.agent, q.model)), '[]') from public.mesh_quota_pools q where q.limited_until > now()")
            .await;
        let mut expected: Vec<Value> = self
            .limited_until
            .iter()
            .filter(|(_, until)| **until > self.now)
            .map(|((account, agent, model), _)| json!([account, agent, model]))
            .collect();
        let mut pools = pools.as_array().unwrap().clone();
        for list in [&mut expected, &mut pools] {
            list.sort_by_key(Value::to_string);
        }
        assert_eq!(pools, expected, "after {after:?}");
    }
}

#[test]
fn no_claim_on_a_pool_that_is_dry_and_no_other_is_kept_from_one() {
    block_on(async {
        let timed = Timed::new().await;
        for (name, agents) in DEVICES {
            let agents: Vec<Value> = agents
                .iter()
                .map(|(agent, models, account)| json!({"agent": agent, "models": models, "account": account}))
                .collect();
            let agents = Value::from(agents);
            timed.got(&format!("select public.hub_register_device('{name}', 'linux', '{agents}', {CAPACITY})")).await;
        }
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            run(32, &prop::collection::vec(step(), 4..60), |steps| {
                handle.block_on(async {
                    timed.fresh().await;
                    let mut case = Case {
                        timed: &timed,
                        now: timed.now().await,
                        tasks: Vec::new(),
                        limited_until: HashMap::new(),
                    };
                    case.pass(1).await;
                    for step in &steps {
                        case.step(step).await;
                        case.compare(step).await;
                    }
                });
            });
        });
    });
}
