//! Budgets against a model that adds up what was said: what is used of each, what is held back, who is asked. Nothing that a met
//! budget covers begins, what runs goes past it by one heartbeat at most, also where a budget is inside a larger one, and one that
//! does not stop is stopped.

use chrono::{DateTime, Duration, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::HashMap;
use uuid::Uuid;

use crate::{
    block_on,
    budget_steps::{BEAT, Budget, CAPACITY, CHANNELS, DEVICES, GRACE, Limits, Of, PEOPLE, Step, Task, limits, step},
    teams::run,
    timed::Timed,
};

/// What each channel is of, by the number of another channel that is of the same.
struct Stage {
    timed: Timed,
    servers: Vec<String>,
    projects: Vec<String>,
}

struct Case<'a> {
    stage: &'a Stage,
    now: DateTime<Utc>,
    tasks: Vec<Task>,
    budgets: Vec<Budget>,
    /// What was used since the last round, not yet counted by it.
    spent: Vec<(usize, i64)>,
}

impl Case<'_> {
    fn period(&self, daily: bool) -> DateTime<Utc> {
        if daily { self.now.date_naive().and_hms_opt(0, 0, 0).unwrap().and_utc() } else { DateTime::UNIX_EPOCH }
    }

    fn covers(&self, of: Of, task: usize) -> bool {
        self.covers_on(of, task, self.tasks[task].device)
    }

    /// The same, were it run there.
    fn covers_on(&self, of: Of, task: usize, device: usize) -> bool {
        let (at, stage) = (&self.tasks[task], self.stage);
        match of {
            // Of the machines that serve all, as both do.
            Of::All => true,
            Of::Server(channel) => stage.servers[channel] == stage.servers[at.channel],
            Of::Project(channel) => {
                stage.servers[channel] == stage.servers[at.channel]
                    && stage.projects[channel] == stage.projects[at.channel]
            }
            Of::Channel(channel) => channel == at.channel,
            Of::Person(channel, person) => stage.servers[channel] == stage.servers[at.channel] && person == at.person,
            Of::Agent(agent) => stage.servers[0] == stage.servers[at.channel] && agent == device,
            Of::Task(one) => one == task,
        }
    }

    fn level(&self, budget: &Budget) -> i64 {
        budget.limits.cents + if budget.raised_in == self.period(budget.limits.daily) { budget.raised } else { 0 }
    }

    async fn bound(&mut self, limits: Limits) {
        let (stage, of) = (self.stage, limits.of);
        let (server, scope, subject) = match of {
            Of::All => ("null".to_owned(), "deployment", String::new()),
            Of::Server(channel) => (format!("'{}'", stage.servers[channel]), "server", String::new()),
            Of::Project(channel) => {
                (format!("'{}'", stage.servers[channel]), "project", stage.projects[channel].clone())
            }
            Of::Channel(channel) => {
                let id = stage
                    .timed
                    .got(&format!("select id from public.hub_channels where name = '{}'", CHANNELS[channel]))
                    .await;
                (format!("'{}'", stage.servers[channel]), "channel", id.as_str().unwrap().to_owned())
            }
            Of::Person(channel, person) => {
                (format!("'{}'", stage.servers[channel]), "person", PEOPLE[person].to_string())
            }
            Of::Agent(agent) => (format!("'{}'", stage.servers[0]), "agent", DEVICES[agent].1.to_owned()),
            Of::Task(task) => {
                (format!("'{}'", stage.servers[self.tasks[task].channel]), "task", self.tasks[task].id.to_string())
            }
        };
        let (measure, amount) = if limits.tokens {
            ("tokens", limits.cents.to_string())
        } else {
            ("cost", format!("{}::numeric / 100", limits.cents))
        };
        let per = if limits.daily { "'day'" } else { "null" };
        stage.timed.run(&format!(
            "insert into public.hub_budgets (server_id, scope, subject, measure, amount, per) values ({server}, '{scope}', '{subject}', '{measure}', {amount}, {per}) on conflict do nothing"
        )).await;
        let id = stage
            .timed
            .got(&format!(
                "select (select id from public.hub_budgets where server_id is not distinct from {server} and scope = '{scope}' and subject = '{subject}' and measure = '{measure}' and per is not distinct from {per})"
            ))
            .await;
        let id = id.as_i64().unwrap();
        if self.budgets.iter().all(|budget| budget.id != id) {
            let since = self.period(limits.daily);
            self.budgets.push(Budget {
                id,
                limits,
                since,
                used: 0,
                raised: 0,
                raised_in: DateTime::UNIX_EPOCH - Duration::days(1),
                met: false,
                beats: HashMap::new(),
            });
        }
    }

    /// Whoever keeps time looks, and the model with it.
    async fn round(&mut self) {
        self.stage.timed.got("select public.hub_recover()").await;
        for (task, cents) in std::mem::take(&mut self.spent) {
            for at in 0..self.budgets.len() {
                if self.covers(self.budgets[at].limits.of, task) {
                    self.budgets[at].used += cents;
                }
            }
        }
        for at in 0..self.budgets.len() {
            let since = self.period(self.budgets[at].limits.daily);
            if self.budgets[at].since != since {
                self.budgets[at].since = since;
                self.budgets[at].used = 0;
            }
            let met = self.budgets[at].used >= self.level(&self.budgets[at]);
            if !met {
                self.budgets[at].beats.clear();
            }
            self.budgets[at].met = met;
        }
        self.read().await;
        self.check_sums().await;
        self.check_asks().await;
    }

    async fn read(&mut self) {
        let rows = self.stage.timed.got("select coalesce(jsonb_object_agg(t.id, jsonb_build_array(t.status, t.attempt)), '{}') from public.mac_tasks t").await;
        for task in &mut self.tasks {
            let row = &rows[task.id.to_string()];
            task.status = row[0].as_str().unwrap().to_owned();
            assert_eq!(row[1], task.attempt, "{task:?}");
        }
    }

    async fn check_sums(&self) {
        let rows = self.stage.timed.got("select coalesce(jsonb_object_agg(s.id, jsonb_build_array(round(s.used * case s.measure when 'cost' then 100 else 1 end), round(s.level * case s.measure when 'cost' then 100 else 1 end), s.met)), '{}') from public.hub_budget_state() s").await;
        for budget in &self.budgets {
            assert_eq!(rows[budget.id.to_string()], json!([budget.used, self.level(budget), budget.met]), "{budget:?}");
        }
    }

    /// Nobody waits for what is not met, and nobody who was told goes on for long.
    async fn check_asks(&self) {
        let asks = self.stage.timed.got("select coalesce(jsonb_agg(jsonb_build_array(a.task_id, a.budget_id, a.id)), '[]') from public.hub_asks a where a.state = 'open'").await;
        let id = |value: &Value| -> Uuid { value.as_str().unwrap().parse().unwrap() };
        let asks: HashMap<Uuid, (i64, Uuid)> =
            asks.as_array().unwrap().iter().map(|row| (id(&row[0]), (row[1].as_i64().unwrap(), id(&row[2])))).collect();
        for (id, (budget, _)) in &asks {
            let (task, _) = self.tasks.iter().enumerate().find(|(_, task)| task.id == *id).unwrap();
            let budget = self.budgets.iter().find(|one| one.id == *budget).unwrap();
            assert!(budget.met, "asks for what is not met: {budget:?}");
            // Of what has not begun, nobody knows which agent it will be.
            let of_agent = matches!(budget.limits.of, Of::Agent(_));
            assert!(
                self.covers(budget.limits.of, task) || of_agent && self.tasks[task].status == "waiting",
                "{budget:?} {:?}",
                self.tasks[task]
            );
        }
        for (at, task) in self.tasks.iter().enumerate() {
            match task.status.as_str() {
                "waiting" => assert!(asks.contains_key(&task.id), "waits for nothing: {task:?}"),
                "running" if !task.stopping => {
                    let met = self.budgets.iter().any(|budget| budget.met && self.covers(budget.limits.of, at));
                    assert!(!met || asks.contains_key(&task.id), "is not asked about: {task:?}");
                    let told = task.told.filter(|(ask, _)| asks.get(&task.id).is_some_and(|(_, open)| open == ask));
                    let goes_on = told.is_some_and(|(_, told)| task.used > told + Duration::seconds(GRACE));
                    assert!(!met || !goes_on, "goes on though it was told: {task:?}");
                }
                _ => {}
            }
        }
    }

    /// Where nobody may take a task for a budget, people are asked for more of one of those.
    async fn check_asked(&self) {
        let asks = self
            .stage
            .timed
            .got("select coalesce(jsonb_agg(distinct a.budget_id), '[]') from public.hub_asks a where a.state = 'open'")
            .await;
        for task in (0..self.tasks.len()).filter(|&task| self.tasks[task].status == "pending") {
            let holds = |device| {
                self.budgets.iter().filter(move |budget| budget.met && self.covers_on(budget.limits.of, task, device))
            };
            if (0..DEVICES.len()).all(|device| holds(device).next().is_some()) {
                let mut holding = (0..DEVICES.len()).flat_map(holds);
                assert!(
                    holding.any(|budget| asks.as_array().unwrap().contains(&budget.id.into())),
                    "nobody is asked about {:?}: {:?}",
                    self.tasks[task],
                    self.budgets
                );
            }
        }
    }

    async fn step(&mut self, step: &Step) {
        let timed = &self.stage.timed;
        match step {
            &Step::Send { channel, person, stubborn } => {
                let id = Uuid::new_v4();
                timed.run(&format!(
                    "insert into public.mac_tasks (id, content, channel_id, created_by) select '{id}', 'x', id, '{}' from public.hub_channels where name = '{}'",
                    PEOPLE[person], CHANNELS[channel]
                )).await;
                self.tasks.push(Task {
                    id,
                    channel,
                    person,
                    stubborn,
                    status: "pending".to_owned(),
                    attempt: 0,
                    device: usize::MAX,
                    cents: 0,
                    told: None,
                    used: self.now,
                    stopping: false,
                });
            }
            &Step::Claim { device } => self.claim(device).await,
            Step::Beat { cents } => self.beat(cents).await,
            &Step::Bound { task, tokens, cents } => {
                if !self.tasks.is_empty() {
                    self.bound(Limits { of: Of::Task(task % self.tasks.len()), tokens, cents, daily: false }).await;
                    self.round().await;
                }
            }
            &Step::More { ask, cents } => {
                if let Some((ask, budget)) = self.open_ask(ask).await {
                    let more = cents.unwrap_or(budget.limits.cents);
                    let text = match cents {
                        None => "null".to_owned(),
                        Some(cents) if budget.limits.tokens => format!("'{cents}'"),
                        Some(cents) => format!("'{}.{:02}'", cents / 100, cents % 100),
                    };
                    let at = self.budgets.iter().position(|one| one.id == budget.id).unwrap();
                    let level = self.level(&self.budgets[at]);
                    timed.got(&format!("select public.hub_answer_ask('{ask}', 'continue', {text}) is null")).await;
                    let budget = &mut self.budgets[at];
                    budget.raised = level.max(budget.used) - budget.limits.cents + more;
                    budget.raised_in = budget.since;
                    self.round().await;
                    // An answer that comes twice gives nothing twice.
                    let again = self
                        .stage
                        .timed
                        .value(&format!("select public.hub_answer_ask('{ask}', 'continue', {text}) is null"))
                        .await;
                    assert_eq!(again, Err("UH003".to_owned()));
                    self.round().await;
                }
            }
            &Step::Stop { ask } => {
                if let Some((ask, _)) = self.open_ask(ask).await {
                    timed.got(&format!("select public.hub_answer_ask('{ask}', 'cancel') is null")).await;
                    let task =
                        self.stage.timed.got(&format!("select task_id from public.hub_asks where id = '{ask}'")).await;
                    for task in self.tasks.iter_mut().filter(|one| task == one.id.to_string()) {
                        task.stopping = task.status == "running";
                    }
                    self.round().await;
                }
            }
            &Step::Complete { task, cents } => {
                let running: Vec<usize> =
                    (0..self.tasks.len()).filter(|&task| self.tasks[task].status == "running").collect();
                if !running.is_empty() {
                    self.complete(running[task % running.len()], cents).await;
                    self.round().await;
                }
            }
            Step::Tomorrow => {
                for task in 0..self.tasks.len() {
                    if self.tasks[task].status == "running" {
                        self.complete(task, 0).await;
                    }
                }
                self.round().await;
                self.stage.timed.pass(24 * 3600).await;
                self.now = self.stage.timed.now().await;
                self.round().await;
            }
        }
    }

    async fn open_ask(&self, at: usize) -> Option<(Uuid, &Budget)> {
        let asks = self.stage.timed.got("select coalesce(jsonb_agg(jsonb_build_array(a.id, a.budget_id) order by a.created_at, a.task_id), '[]') from public.hub_asks a where a.state = 'open'").await;
        let asks = asks.as_array().unwrap();
        let ask = (!asks.is_empty()).then(|| &asks[at % asks.len()])?;
        let budget = self.budgets.iter().find(|one| ask[1] == one.id).unwrap();
        Some((ask[0].as_str().unwrap().parse().unwrap(), budget))
    }

    async fn claim(&mut self, device: usize) {
        let name = DEVICES[device].0;
        let busy = self.tasks.iter().filter(|task| task.status == "running" && task.device == device).count();
        // Which agent it would be is known by who takes it.
        let mut free = Vec::new();
        for task in 0..self.tasks.len() {
            if self.tasks[task].status == "pending" {
                self.tasks[task].device = device;
                if !self.budgets.iter().any(|budget| budget.met && self.covers(budget.limits.of, task)) {
                    free.push(self.tasks[task].id);
                }
            }
        }
        let claimed = self
            .stage
            .timed
            .got(&format!("select coalesce(jsonb_agg(c.id), '[]') from public.hub_claim_tasks('{name}', 9) c"))
            .await;
        let claimed: Vec<Uuid> =
            claimed.as_array().unwrap().iter().map(|id| id.as_str().unwrap().parse().unwrap()).collect();
        assert!(
            claimed.iter().all(|id| free.contains(id)),
            "{name} began what is held back: {:?} {:?}",
            self.tasks,
            self.budgets
        );
        assert_eq!(
            claimed.len(),
            free.len().min(CAPACITY - busy),
            "{name} takes what it may: {:?} {:?}",
            self.tasks,
            self.budgets
        );
        for task in self.tasks.iter_mut().filter(|task| claimed.contains(&task.id)) {
            task.status = "running".to_owned();
            task.attempt += 1;
            task.cents = 0;
            task.told = None;
            task.used = self.now;
        }
    }

    async fn complete(&mut self, task: usize, cents: i64) {
        self.spend(task, cents);
        let (one, used) = (&self.tasks[task], self.usage(task));
        self.stage
            .timed
            .got(&format!("select public.hub_complete_task('{}', {}, 'x', '{used}') is null", one.id, one.attempt))
            .await;
        self.tasks[task].status = "complete".to_owned();
    }

    fn spend(&mut self, task: usize, cents: i64) {
        self.tasks[task].cents += cents;
        self.spent.push((task, cents));
        if cents > 0 {
            self.tasks[task].used = self.now;
        }
    }

    fn usage(&self, task: usize) -> Value {
        let cents = self.tasks[task].cents;
        json!({"cost_usd": cents as f64 / 100.0, "tokens_out": cents})
    }

    async fn beat(&mut self, cents: &[i64; 5]) {
        self.stage.timed.pass(BEAT).await;
        self.now = self.stage.timed.now().await;
        for (device, (name, _)) in DEVICES.iter().enumerate() {
            let mut running = Vec::new();
            for task in 0..self.tasks.len() {
                if self.tasks[task].status == "running" && self.tasks[task].device == device {
                    self.spend(task, cents[task % cents.len()]);
                    for at in 0..self.budgets.len() {
                        if self.budgets[at].met && self.covers(self.budgets[at].limits.of, task) {
                            *self.budgets[at].beats.entry(task).or_default() += 1;
                        }
                    }
                    let mut said = self.usage(task);
                    said["task"] = json!(self.tasks[task].id);
                    said["attempt"] = self.tasks[task].attempt.into();
                    running.push(said);
                }
            }
            let answer = self
                .stage
                .timed
                .got(&format!("select public.hub_heartbeat('{name}', '{}')", Value::from(running)))
                .await;
            assert_eq!(answer["lost"], json!([]));
            for id in answer["cancel"].as_array().unwrap() {
                let id: Uuid = id.as_str().unwrap().parse().unwrap();
                let task = self.tasks.iter_mut().find(|task| task.id == id).unwrap();
                assert!(task.stopping, "{task:?}");
                self.stage
                    .timed
                    .got(&format!("select public.hub_fail_task('{id}', {}, 'stopped', false) is null", task.attempt))
                    .await;
                task.status = "cancelled".to_owned();
            }
            for over in answer["budget"].as_array().unwrap() {
                let id: Uuid = over["task"].as_str().unwrap().parse().unwrap();
                let task = self.tasks.iter().position(|task| task.id == id).unwrap();
                let ask: Uuid = over["ask"].as_str().unwrap().parse().unwrap();
                if self.tasks[task].stubborn {
                    if self.tasks[task].told.is_none_or(|(last, _)| last != ask) {
                        self.tasks[task].told = Some((ask, self.now));
                    }
                } else {
                    let (attempt, used) = (self.tasks[task].attempt, self.usage(task));
                    self.stage
                        .timed
                        .got(&format!("select public.hub_park_task('{id}', {attempt}, '{used}') is null"))
                        .await;
                    self.tasks[task].status = "waiting".to_owned();
                }
            }
        }
        for budget in self.budgets.iter().filter(|budget| budget.met) {
            for (&task, &beats) in &budget.beats {
                let task = &self.tasks[task];
                assert!(
                    task.stubborn || task.status != "running" || beats == 0,
                    "went past it by more than a heartbeat: {task:?} {budget:?}"
                );
                assert!(task.stubborn || beats <= 1, "went past it by {beats} heartbeats: {task:?} {budget:?}");
            }
        }
        self.round().await;
        self.round().await;
        self.check_asked().await;
    }
}

#[test]
fn nothing_goes_past_its_budget_by_more_than_a_heartbeat() {
    block_on(async {
        let timed = Timed::new().await;
        for (name, agent) in DEVICES {
            timed.got(&format!(r#"select public.hub_register_device('{name}', 'linux', '[{{"agent": "{agent}", "models": ["any"]}}]', {CAPACITY})"#)).await;
        }
        for person in PEOPLE {
            timed.run(&format!("insert into public.hub_members (server_id, user_id, role) select id, '{person}', 'operator' from public.hub_servers")).await;
        }
        let (mut servers, mut projects) = (Vec::new(), Vec::new());
        for channel in CHANNELS {
            let row = timed.got(&format!("select jsonb_build_array(server_id, project_path) from public.hub_channels where name = '{channel}'")).await;
            servers.push(row[0].as_str().unwrap().to_owned());
            projects.push(row[1].as_str().unwrap().to_owned());
        }
        let stage = Stage { timed, servers, projects };
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            // Now and then each agent has one: then nobody can take the place of another.
            let agents = prop::option::weighted(0.25, prop::array::uniform2(5..90i64));
            let strategy = (prop::collection::vec(limits(), 1..5), agents, prop::collection::vec(step(), 4..60));
            run(32, &strategy, |(mut budgets, agents, steps)| {
                for (agent, cents) in agents.into_iter().flatten().enumerate() {
                    budgets.push(Limits { of: Of::Agent(agent), tokens: true, cents, daily: false });
                }
                handle.block_on(async {
                    stage.timed.fresh().await;
                    let mut case = Case {
                        stage: &stage,
                        now: stage.timed.now().await,
                        tasks: Vec::new(),
                        budgets: Vec::new(),
                        spent: Vec::new(),
                    };
                    for limits in budgets {
                        case.bound(limits).await;
                    }
                    case.round().await;
                    for step in &steps {
                        case.step(step).await;
                    }
                });
            });
        });
    });
}
