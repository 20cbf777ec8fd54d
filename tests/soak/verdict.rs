//! What must hold when all is over.

use hub_tests::World;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::faults::Faults;

/// The lines that agents leave, and when each was seen.
pub struct Runs {
    file: PathBuf,
    read: u64,
    rest: String,
    began: BTreeMap<String, usize>,
    ended: BTreeMap<String, Vec<Instant>>,
}

impl Runs {
    pub fn new(world: &World) -> Runs {
        let file = world.root().join("runs");
        std::fs::write(&file, "").expect("writes");
        Runs { file, read: 0, rest: String::new(), began: BTreeMap::new(), ended: BTreeMap::new() }
    }

    /// Reads what is new.
    pub fn look(&mut self) {
        let mut file = File::open(&self.file).expect("opens");
        file.seek(SeekFrom::Start(self.read)).expect("seeks");
        let mut new = String::new();
        let count = file.read_to_string(&mut new).expect("reads");
        self.read += u64::try_from(count).expect("a length");
        self.rest.push_str(&new);
        let now = Instant::now();
        while let Some(end) = self.rest.find('\n') {
            let line: String = self.rest.drain(..=end).collect();
            match line.trim_end().split_once(' ') {
                Some(("began", attempt)) => *self.began.entry(attempt.to_owned()).or_default() += 1,
                Some(("ended", attempt)) => self.ended.entry(attempt.to_owned()).or_default().push(now),
                _ => panic!("not a line of ours: {line:?}"),
            }
        }
    }
}

pub struct Verdict<'a> {
    pub world: &'a World,
    pub tasks: usize,
    pub done: usize,
    pub took: Duration,
    pub faults: &'a Faults,
    pub runs: &'a Runs,
    pub journal: Vec<String>,
    pub logs: String,
}

/// An attempt as the hub recorded it.
struct Attempt {
    device: String,
    outcome: String,
    reason: String,
}

/// Runs that came to their end, of tasks that were run to their end before.
#[derive(Default)]
struct Again {
    lease_lost: usize,
    last_moment: usize,
    doubled: Vec<String>,
}

impl Verdict<'_> {
    /// Prints what was found. Gives how many of the rules hold and how many do not.
    pub async fn say(&self, marker: &str) -> (usize, usize) {
        let attempts = self.attempts().await;
        let again = self.again(&attempts);
        self.figures(&attempts, &again).await;
        let world = self.world;
        let rules = [
            ("every task is complete", self.lost().await),
            ("each was told to be complete once, and no other end", self.told().await),
            ("each result is its own task's", self.results().await),
            (
                "no attempt was run twice",
                some("twice: ", self.runs.began.iter().filter(|(_, count)| **count > 1).map(|(a, _)| a)),
            ),
            (
                "no task was done twice but where the hub or a kill in the last moment says why",
                some("doubled: ", &again.doubled),
            ),
            ("every attempt has its end", self.unended().await),
            ("no process of an attempt is left", self.processes(marker).await),
            ("no attempt is left in a journal", some("left: ", &self.journal)),
            ("sql/checks find nothing", world.checked().await),
            ("no program panicked", some("", self.logs.lines().filter(|line| line.contains("panicked at")))),
        ];
        let mut counts = (0, 0);
        for (rule, wrong) in rules {
            if wrong.is_empty() {
                counts.0 += 1;
                println!("ok - {rule}");
            } else {
                counts.1 += 1;
                println!("not ok - {rule}: {wrong}");
            }
        }
        counts
    }

    async fn attempts(&self) -> BTreeMap<String, Attempt> {
        let sql = "select task_id || '.' || attempt, coalesce(device, ''), coalesce(outcome, ''), coalesce(reason, '') from public.hub_task_attempts";
        let rows: Vec<(String, String, String, String)> =
            sqlx::query_as(sql).fetch_all(&self.world.pool).await.expect(sql);
        rows.into_iter().map(|(key, device, outcome, reason)| (key, Attempt { device, outcome, reason })).collect()
    }

    /// Every run that came to its end and was not the one that counts: why it did not.
    fn again(&self, attempts: &BTreeMap<String, Attempt>) -> Again {
        let mut again = Again::default();
        for (key, ends) in &self.runs.ended {
            let Some(attempt) = attempts.get(key) else {
                again.doubled.push(format!("{key} (the hub does not know it)"));
                continue;
            };
            if attempt.outcome == "complete" {
                continue;
            }
            if attempt.reason == "lease_lost" {
                again.lease_lost += 1;
            } else if ends.iter().all(|ended| self.faults.hit(key, &attempt.device, *ended)) {
                again.last_moment += 1;
            } else {
                again.doubled.push(format!("{key} ({} on {})", attempt.reason, attempt.device));
            }
        }
        again
    }

    async fn figures(&self, attempts: &BTreeMap<String, Attempt>, again: &Again) {
        let seconds = self.took.as_secs_f64();
        println!(
            "{} tasks in {seconds:.1} s: {:.1} lives a second",
            self.done,
            f64::from(u32::try_from(self.done).unwrap_or(u32::MAX)) / seconds
        );
        let wait = "select coalesce(round(extract(epoch from max(finished_at - created_at)), 1), 0)::text from public.mac_tasks";
        println!("longest wait from being sent to being complete: {} s", self.world.one_text(wait).await);
        let runs: usize = self.runs.began.values().sum();
        println!(
            "{} attempts, {:.2} a task; {runs} runs, {:.2} an attempt",
            attempts.len(),
            ratio(attempts.len(), self.done),
            ratio(runs, attempts.len())
        );
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for attempt in attempts.values() {
            *reasons.entry(&attempt.reason).or_default() += 1;
        }
        println!("attempts by how they ended: {reasons:?}");
        let mut unbegun: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, attempt) in attempts.iter().filter(|(key, _)| !self.runs.began.contains_key(*key)) {
            *unbegun.entry(&attempt.reason).or_default() += 1;
        }
        println!(
            "claimed and never begun (killed, or not answered, between the claim and the agent's first line): {unbegun:?}"
        );
        println!("faults: {}", self.faults.said());
        println!(
            "run to its end again after its lease was lost: {}; after a kill in its last moment: {}; otherwise: {}",
            again.lease_lost,
            again.last_moment,
            again.doubled.len()
        );
    }

    async fn lost(&self) -> String {
        let sql = "select coalesce(string_agg(id || ' ' || status, ', '), '') from (select id, status from public.mac_tasks where status <> 'complete' limit 10) x";
        let lost = self.world.one_text(sql).await;
        let there = self.world.count_all("select count(*) from public.mac_tasks").await;
        if usize::try_from(there) == Ok(self.tasks) {
            lost
        } else {
            format!("{there} of {} are there {lost}", self.tasks)
        }
    }

    async fn told(&self) -> String {
        let sql = "select coalesce(string_agg(id || ' ' || said, ', '), '')
                     from (select t.id, coalesce(string_agg(left(m.content, 1), ''), 'nothing') as said
                             from public.mac_tasks t
                             left join public.hub_channel_messages m on m.task_id = t.id and m.content ~ '^(✅|❌|🚫)'
                            group by t.id
                           having coalesce(string_agg(left(m.content, 1), ''), 'nothing') <> '✅'
                            limit 10) x";
        self.world.one_text(sql).await
    }

    async fn results(&self) -> String {
        let sql = "select coalesce(string_agg(task_id::text, ', '), '')
                     from (select task_id from public.hub_channel_messages
                            where content like '✅%' and position('result of ' || task_id in content) = 0 limit 10) x";
        self.world.one_text(sql).await
    }

    async fn unended(&self) -> String {
        let sql = "select coalesce(string_agg(task_id || '.' || attempt, ', '), '')
                     from (select task_id, attempt from public.hub_task_attempts where finished_at is null or outcome is null limit 10) x";
        self.world.one_text(sql).await
    }

    async fn processes(&self, marker: &str) -> String {
        let gone = || async { self.world.attempts(marker).await.is_empty().then_some(()) };
        match hub_tests::wait(gone).await {
            Some(()) => String::new(),
            None => format!("{:?}", self.world.attempts(marker).await),
        }
    }
}

fn ratio(of: usize, to: usize) -> f64 {
    f64::from(u32::try_from(of).unwrap_or(u32::MAX)) / f64::from(u32::try_from(to.max(1)).unwrap_or(u32::MAX))
}

/// The first few of what should not be.
fn some(what: &str, found: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let found: Vec<String> = found.into_iter().take(10).map(|found| found.as_ref().to_owned()).collect();
    if found.is_empty() { String::new() } else { format!("{what}{}", found.join(", ")) }
}
