//! Teams against a model: a request that is several tasks, what its parts need of each other, and its one end. After every step each
//! row must be what the model says, and what must always hold does: nothing needs itself, nobody waits for what is over, an end is
//! told once, a team has ended when its request has.

use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};
use std::collections::HashMap;
use uuid::Uuid;

use crate::{
    block_on,
    team_model::{Model, Role, State, Task, Team},
    timed::Timed,
};

const DEVICES: [(&str, usize); 2] = [("model-a", 4), ("model-b", 3)];
/// How often devices are heard, in seconds. Whoever keeps time looks twice as often: it is never so late that it seems to have been away.
const BEAT: i64 = 20;
const LEASE: i64 = 60;

/// What a planner says, as the parts that it makes, each with the positions of what it needs and whether it fails with that; and what
/// is no plan.
const PLANS: [&str; 7] = [
    r#"[{"content": "one"}, {"content": "two"}]"#,
    r#"[{"content": "one"}, {"content": "two", "needs": [1]}, {"content": "three", "needs": [1, 2], "on_failure": "continue"}]"#,
    r#"[{"content": "one", "needs": [3]}, {"content": "two", "needs": [3]}, {"content": "three"}]"#,
    "[]",
    r#"[{"content": "one", "needs": [2]}, {"content": "two", "needs": [1]}]"#,
    r#"[{"content": ""}]"#,
    "I would rather not.",
];

#[derive(Debug, Clone, Copy)]
struct Pick {
    at: usize,
    running: bool,
}

#[derive(Debug, Clone)]
enum Step {
    List { parts: usize, join: bool },
    Plan { join: bool },
    Need { task: usize, needs: usize, fail: bool },
    Claim { device: usize, limit: usize },
    Complete { task: Pick, plan: usize },
    Fail { task: Pick, again: bool },
    Limit { task: Pick, seconds: i64 },
    Cancel { task: usize },
    Retry { task: usize },
    Pass { beats: usize, silent: Option<usize> },
}

fn pick() -> impl Strategy<Value = Pick> {
    (0..64usize, prop::bool::weighted(0.85)).prop_map(|(at, running)| Pick { at, running })
}

fn step() -> impl Strategy<Value = Step> {
    let task = 0..64usize;
    let device = 0..DEVICES.len();
    prop_oneof![
        2 => (2..5usize, any::<bool>()).prop_map(|(parts, join)| Step::List { parts, join }),
        1 => any::<bool>().prop_map(|join| Step::Plan { join }),
        3 => (task.clone(), task.clone(), any::<bool>()).prop_map(|(task, needs, fail)| Step::Need { task, needs, fail }),
        8 => (device.clone(), 1..5usize).prop_map(|(device, limit)| Step::Claim { device, limit }),
        8 => (pick(), 0..PLANS.len()).prop_map(|(task, plan)| Step::Complete { task, plan }),
        5 => (pick(), prop::bool::weighted(0.3)).prop_map(|(task, again)| Step::Fail { task, again }),
        1 => (pick(), 1..200i64).prop_map(|(task, seconds)| Step::Limit { task, seconds }),
        2 => task.clone().prop_map(|task| Step::Cancel { task }),
        4 => task.prop_map(|task| Step::Retry { task }),
        2 => (1..4usize, prop::option::of(device)).prop_map(|(beats, silent)| Step::Pass { beats: if silent.is_some() { 5 } else { beats }, silent }),
    ]
}

struct Case<'a> {
    timed: &'a Timed,
    now: i64,
    model: Model,
    limited_until: [i64; DEVICES.len()],
}

impl Case<'_> {
    fn pick(&self, pick: Pick) -> Option<usize> {
        let running: Vec<usize> =
            (0..self.model.tasks.len()).filter(|&task| self.model.tasks[task].state == State::Running).collect();
        if pick.running && !running.is_empty() {
            Some(running[pick.at % running.len()])
        } else {
            (!self.model.tasks.is_empty()).then(|| pick.at % self.model.tasks.len())
        }
    }

    // Steps ----------------------------------------------------------------------------------------------------

    async fn send(&mut self, text: &str, join: bool) {
        let flag = if join { "--join " } else { "" };
        let sent = self
            .timed
            .got(&format!(
                "select public.hub_send(id, E'!team {flag}{text}') -> 'task' -> 'id' from public.hub_channels where name = 'quick'"
            ))
            .await;
        let id: Uuid = sent.as_str().unwrap().parse().unwrap();
        let team = self.model.teams.len();
        self.model.teams.push(Team { whole: self.model.tasks.len(), planner: None, parts: Vec::new(), join });
        let whole = self.model.add(id, Role::Whole, team, HashMap::new());
        self.model.tasks[whole].state = State::Blocked;
        for (id, position, _) in self.members(team).await {
            let role = if position == 0 { Role::Planner } else { Role::Part };
            let member = self.model.add(id, role, team, HashMap::new());
            self.model.tasks[whole].needs.insert(member, role == Role::Planner);
            if role == Role::Planner {
                self.model.teams[team].planner = Some(member);
            } else {
                self.model.teams[team].parts.push(member);
            }
        }
    }

    /// The members of a team as the hub has them.
    async fn members(&self, team: usize) -> Vec<(Uuid, i64, String)> {
        let rows = self
            .timed
            .got(&format!(
                "select coalesce(jsonb_agg(jsonb_build_array(s.task_id, s.position, t.content) order by s.position), '[]')
                   from hub_internal.subtasks s join public.mac_tasks t on t.id = s.task_id where s.parent_id = '{}'",
                self.model.tasks[self.model.teams[team].whole].id
            ))
            .await;
        rows.as_array()
            .unwrap()
            .iter()
            .map(|row| {
                let id = row[0].as_str().unwrap().parse().unwrap();
                (id, row[1].as_i64().unwrap(), row[2].as_str().unwrap().to_owned())
            })
            .collect()
    }

    /// What a plan makes of a request that waits for it.
    async fn follow(&mut self, team: usize, plan: &Value) {
        let whole = self.model.teams[team].whole;
        if self.model.tasks[whole].state != State::Blocked {
            return;
        }
        let parts = plan.as_array().unwrap();
        let made: Vec<Uuid> =
            self.members(team).await.into_iter().filter(|(_, at, _)| *at > 0).map(|(id, ..)| id).collect();
        assert_eq!(made.len(), parts.len(), "a plan is followed once");
        let first = self.model.tasks.len();
        for (id, part) in made.into_iter().zip(parts) {
            let fail = part["on_failure"] != "continue";
            let needs = part["needs"].as_array().into_iter().flatten();
            let needs = needs.map(|at| (first + usize::try_from(at.as_u64().unwrap()).unwrap() - 1, fail)).collect();
            let member = self.model.add(id, Role::Part, team, needs);
            self.model.teams[team].parts.push(member);
            self.model.tasks[whole].needs.insert(member, false);
        }
    }

    async fn step(&mut self, step: &Step) {
        match *step {
            Step::List { parts, join } => {
                let list: String = (0..parts).map(|n| format!("\\n- part {n}")).collect();
                self.send(&format!("Do it{list}"), join).await;
            }
            Step::Plan { join } => self.send("Do it all", join).await,
            Step::Claim { device, limit } => self.claim(device, limit).await,
            Step::Pass { beats, silent } => {
                for _ in 0..beats {
                    self.beat(silent).await;
                }
            }
            _ if self.model.tasks.is_empty() => {}
            Step::Need { task, needs, fail } => {
                self.need(task % self.model.tasks.len(), needs % self.model.tasks.len(), fail).await
            }
            Step::Complete { task, plan } => {
                let task = self.pick(task).unwrap();
                self.complete(task, plan).await;
            }
            Step::Fail { task, again } => {
                let task = self.pick(task).unwrap();
                self.fail(task, again).await;
            }
            Step::Limit { task, seconds } => {
                let task = self.pick(task).unwrap();
                self.limit(task, seconds).await;
            }
            Step::Cancel { task } => self.cancel(task % self.model.tasks.len()).await,
            Step::Retry { task } => {
                // Mostly one that can be.
                let bad: Vec<usize> =
                    (0..self.model.tasks.len()).filter(|&task| self.model.tasks[task].state.is_bad()).collect();
                let task =
                    if task % 4 == 0 || bad.is_empty() { task % self.model.tasks.len() } else { bad[task % bad.len()] };
                self.retry(task).await;
            }
        }
    }

    async fn need(&mut self, task: usize, needs: usize, fail: bool) {
        let how = if fail { "fail" } else { "continue" };
        let (id, other) = (self.model.tasks[task].id, self.model.tasks[needs].id);
        let said = self.timed.value(&format!("select public.hub_need_task('{id}', '{other}', '{how}')")).await;
        if !matches!(self.model.tasks[task].state, State::Pending | State::Blocked)
            || fail && self.model.tasks[needs].state.is_bad()
            || self.model.leads_to(needs, task)
        {
            assert_eq!(said.map(|_| ()), Err("UH003".to_owned()));
            return;
        }
        assert_eq!(said.map(|_| ()), Ok(()));
        self.model.tasks[task].needs.insert(needs, fail);
        if self.model.tasks[task].state == State::Pending && !self.model.tasks[needs].state.is_final() {
            self.model.tasks[task].state = State::Blocked;
        }
    }

    async fn claim(&mut self, device: usize, limit: usize) {
        let (name, capacity) = DEVICES[device];
        let busy = self.model.tasks.iter().filter(|task| task.state == State::Running && task.holder == device).count();
        let due = |task: &Task| task.state == State::Pending && task.run_after <= self.now;
        let mut expected = limit.min(capacity - busy).min(self.model.tasks.iter().filter(|task| due(task)).count());
        if self.limited_until[device] > self.now {
            expected = 0;
        }
        let claimed = self
            .timed
            .got(&format!("select coalesce(jsonb_agg(c.id), '[]') from public.hub_claim_tasks('{name}', {limit}) c"))
            .await;
        let claimed = claimed.as_array().unwrap();
        assert_eq!(claimed.len(), expected, "{name} takes what is due and fits");
        for id in claimed {
            let id: Uuid = id.as_str().unwrap().parse().unwrap();
            let (now, task) =
                (self.now, self.model.tasks.iter_mut().find(|task| task.id == id).expect("one of this case"));
            assert!(task.state == State::Pending && task.run_after <= now, "claimed what was not due: {task:?}");
            task.state = State::Running;
            task.attempt += 1;
            task.holder = device;
            task.lease_until = now + LEASE;
        }
        for whole in self.model.teams.iter().map(|team| team.whole) {
            if self.model.tasks[whole].state == State::Running {
                self.told_what_parts_did(whole).await;
            }
        }
    }

    /// Whoever gathers is told of each part: its words where it ended well, that it failed where not.
    async fn told_what_parts_did(&self, whole: usize) {
        let id = self.model.tasks[whole].id;
        let text = self.timed.got(&format!("select hub_internal.gathering_text('{id}')")).await;
        for &part in &self.model.teams[self.model.tasks[whole].team].parts {
            let task = &self.model.tasks[part];
            assert!(task.state.is_final(), "gathered while a part was {}", task.state.name());
            let words = words(task);
            assert_eq!(text.as_str().unwrap().contains(&words), task.state == State::Complete, "{words}: {text}");
        }
    }

    async fn complete(&mut self, task: usize, plan: usize) {
        let (id, attempt) = (self.model.tasks[task].id, self.model.tasks[task].attempt);
        let is_planner = self.model.tasks[task].role == Role::Planner;
        let result = if is_planner { format!("```json\n{}\n```", PLANS[plan]) } else { words(&self.model.tasks[task]) };
        let said =
            self.timed.value(&format!("select public.hub_complete_task('{id}', {attempt}, $r${result}$r$)")).await;
        let expected = if self.model.tasks[task].state != State::Running {
            Err("UH002".to_owned())
        } else if is_planner && plan > 3 {
            Err("UH001".to_owned())
        } else {
            Ok(())
        };
        assert_eq!(said.map(|_| ()), expected);
        if expected.is_ok() {
            if is_planner {
                self.follow(self.model.tasks[task].team, &serde_json::from_str(PLANS[plan]).unwrap()).await;
            }
            self.model.end(task, State::Complete);
        }
    }

    async fn fail(&mut self, task: usize, again: bool) {
        let (id, attempt) = (self.model.tasks[task].id, self.model.tasks[task].attempt);
        let said = self.timed.value(&format!("select public.hub_fail_task('{id}', {attempt}, 'no', {again})")).await;
        if self.model.tasks[task].state != State::Running {
            assert_eq!(said.map(|_| ()), Err("UH002".to_owned()));
            return;
        }
        assert_eq!(said.map(|_| ()), Ok(()));
        if self.model.tasks[task].cancel_requested {
            self.model.end(task, State::Cancelled);
        } else if again && attempt < self.model.tasks[task].max_attempts {
            self.model.tasks[task].state = State::Pending;
            self.model.tasks[task].run_after = self.now + (10 << (attempt - 1).min(19)).min(600);
        } else {
            self.model.end(task, State::Failed);
        }
    }

    /// It met a limit of its machine's account: that costs none of its attempts.
    async fn limit(&mut self, task: usize, seconds: i64) {
        let (id, attempt) = (self.model.tasks[task].id, self.model.tasks[task].attempt);
        let until = self.timed.now().await + chrono::Duration::seconds(seconds);
        let meta = json!({"reason": "limit", "limit": {"until": until.to_rfc3339(), "source": "structured"}});
        let said = self
            .timed
            .value(&format!("select public.hub_fail_task('{id}', {attempt}, 'limit', false, '{meta}')"))
            .await;
        if self.model.tasks[task].state != State::Running {
            assert_eq!(said.map(|_| ()), Err("UH002".to_owned()));
            return;
        }
        assert_eq!(said.map(|_| ()), Ok(()));
        self.limited_until[self.model.tasks[task].holder] = self.now + seconds.max(60);
        if self.model.tasks[task].cancel_requested {
            self.model.end(task, State::Cancelled);
        } else {
            let task = &mut self.model.tasks[task];
            task.state = State::Pending;
            task.run_after = i64::MIN;
            task.given.get_or_insert(task.max_attempts);
            task.max_attempts += 1;
        }
    }

    async fn cancel(&mut self, task: usize) {
        let said = self.timed.value(&format!("select public.hub_cancel_task('{}')", self.model.tasks[task].id)).await;
        if matches!(self.model.tasks[task].state, State::Complete | State::Failed) {
            assert_eq!(said.map(|_| ()), Err("UH003".to_owned()));
            return;
        }
        assert_eq!(said.map(|_| ()), Ok(()));
        let mut all = vec![task];
        if self.model.tasks[task].role == Role::Whole {
            let team = &self.model.teams[self.model.tasks[task].team];
            all.extend(team.planner.iter().chain(&team.parts));
        }
        let mut ended = Vec::new();
        for &one in &all {
            match self.model.tasks[one].state {
                State::Pending | State::Blocked => {
                    self.model.tasks[one].state = State::Cancelled;
                    self.model.tasks[one].endings += 1;
                    ended.push(one);
                }
                State::Running => self.model.tasks[one].cancel_requested = true,
                State::Complete | State::Failed | State::Cancelled => {}
            }
        }
        for one in ended {
            self.model.settle(one);
        }
    }

    async fn retry(&mut self, task: usize) {
        let said = self.timed.value(&format!("select public.hub_retry_task('{}')", self.model.tasks[task].id)).await;
        let whole = self.model.teams[self.model.tasks[task].team].whole;
        let is_whole = whole == task;
        if !self.model.tasks[task].state.is_bad() || !is_whole && self.model.tasks[whole].state == State::Running {
            assert_eq!(said.map(|_| ()), Err("UH003".to_owned()));
            return;
        }
        assert_eq!(said.map(|_| ()), Ok(()));
        let mut with = Vec::new();
        if is_whole {
            let team = &self.model.teams[self.model.tasks[task].team];
            with.extend(team.planner.iter().chain(&team.parts).filter(|&&one| self.model.tasks[one].state.is_bad()));
            for &one in &with {
                self.model.requeue(one, &with);
            }
        }
        self.model.requeue(task, &with);
        if !is_whole && self.model.tasks[whole].state == State::Pending {
            self.model.tasks[whole].state = State::Blocked;
        }
    }

    /// Time goes by; devices are heard but for the one that is silent, and whoever keeps time looks.
    async fn beat(&mut self, silent: Option<usize>) {
        self.pass(BEAT / 2).await;
        self.round().await;
        self.pass(BEAT / 2).await;
        for (device, (name, _)) in DEVICES.iter().enumerate().filter(|(device, _)| Some(*device) != silent) {
            let now = self.now;
            let held = |task: &&mut Task| task.state == State::Running && task.holder == device;
            let mut running = Vec::new();
            for task in self.model.tasks.iter_mut().filter(held) {
                task.lease_until = now + LEASE;
                running.push(json!({"task": task.id, "attempt": task.attempt}));
            }
            let said =
                self.timed.got(&format!("select public.hub_heartbeat('{name}', '{}')", Value::from(running))).await;
            assert_eq!(said["lost"], json!([]), "{name} holds what it claimed");
        }
        self.round().await;
    }

    async fn pass(&mut self, seconds: i64) {
        self.now += seconds;
        self.timed.pass(seconds).await;
    }

    async fn round(&mut self) {
        self.timed.got("select public.hub_recover()").await;
        for task in 0..self.model.tasks.len() {
            if self.model.tasks[task].state == State::Running && self.model.tasks[task].lease_until < self.now {
                self.model.lost(task);
            }
        }
    }

    // What the hub has -----------------------------------------------------------------------------------------

    async fn compare(&self, after: &Step) {
        let rows = self
            .timed
            .got(
                "select coalesce(jsonb_object_agg(t.id, jsonb_build_array(t.status, t.attempt, t.max_attempts,
                          (select count(*) from public.hub_channel_messages m where m.task_id = t.id
                            and (m.content_type in ('result', 'error') or m.content like '🚫%')),
                          (select count(*) from public.hub_channel_messages m where m.task_id = t.id and m.event = 'synthesizing'),
                          t.result, t.error)), '{}')
                   from public.mac_tasks t",
            )
            .await;
        assert_eq!(rows.as_object().unwrap().len(), self.model.tasks.len(), "after {after:?}");
        for task in &self.model.tasks {
            let row = &rows[task.id.to_string()];
            let expected = json!([task.state.name(), task.attempt, task.max_attempts, task.endings, task.gathered]);
            assert_eq!(Value::from(row.as_array().unwrap()[..5].to_vec()), expected, "after {after:?}: {task:?}");
            if task.role == Role::Whole && task.state.is_final() && task.state != State::Cancelled {
                self.names_what_failed(task, &row[5], &row[6]);
            }
        }
        let wrong = self
            .timed
            .got(
                "select jsonb_agg(w) from (
                   select 'needs itself' as what, x.task from (
                     with recursive below as (
                       select n.task, n.needs from public.hub_task_needs n
                       union select b.task, n.needs from below b join public.hub_task_needs n on n.task = b.needs)
                     select b.task from below b where b.task = b.needs) x
                   union all
                   select 'waits for what is over', t.id from public.mac_tasks t where t.status = 'blocked' and not hub_internal.has_open_needs(t.id)
                   union all
                   select 'ended, or not, apart from its request', m.task_id from public.hub_teams m join public.mac_tasks t on t.id = m.task_id
                    where (m.ended_at is not null) <> (t.status in ('complete', 'failed', 'cancelled'))
                 ) w",
            )
            .await;
        assert_eq!(wrong, Value::Null, "after {after:?}");
    }

    /// The answer of a request whose parts were only joined has each that ended well, and names the others.
    fn names_what_failed(&self, whole: &Task, result: &Value, error: &Value) {
        let team = &self.model.teams[whole.team];
        if !team.join || whole.attempt > 0 || team.parts.is_empty() {
            return;
        }
        let said = result.as_str().or(error.as_str()).unwrap();
        // Those that were tried again since have an end of their own.
        for part in team.parts.iter().map(|&part| &self.model.tasks[part]).filter(|part| part.endings == 1) {
            if whole.state == State::Complete {
                assert_eq!(said.contains(&words(part)), part.state == State::Complete, "{said}: {part:?}");
            }
            if part.state.is_bad() && !said.contains("which it needs") {
                assert!(said.contains(&part.id.to_string()[..4]), "{said} does not name {part:?}");
            }
        }
    }
}

/// What a task says at its end, and no other does.
fn words(task: &Task) -> String {
    format!("done by {}", task.id)
}

async fn stage() -> Timed {
    let timed = Timed::new().await;
    for (name, capacity) in DEVICES {
        timed.got(&format!(r#"select public.hub_register_device('{name}', 'linux', '[{{"agent": "a", "models": ["any"]}}]', {capacity})"#)).await;
    }
    timed
}

/// So many cases, or as many as `PROPTEST_CASES` says.
pub fn run<S: Strategy>(cases: u32, strategy: &S, case: impl Fn(S::Value)) {
    let mut config = ProptestConfig { max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    let outcome = TestRunner::new(config).run(strategy, |value| {
        case(value);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn a_team_ends_once_whatever_its_members_do() {
    block_on(async {
        let timed = stage().await;
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            run(32, &prop::collection::vec(step(), 4..60), |steps| {
                handle.block_on(async {
                    timed.fresh().await;
                    let mut case = Case { timed: &timed, now: 0, model: Model::default(), limited_until: [0; 2] };
                    for step in &steps {
                        case.step(step).await;
                        case.compare(step).await;
                    }
                });
            });
        });
    });
}
