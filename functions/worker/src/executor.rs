//! One attempt, from the claim to its end: its folder in the journal, the project's folder, the agent, the report. Whatever happens in
//! between, the end is told once, or the lease is lost and nothing is.

use std::{
    collections::HashMap,
    convert::Infallible,
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use hub::{
    Error, Hub, Result,
    types::{EndReason, Meta, Running, Task},
};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    agents::{Agent, Outcome, limits::Limits, login::Logins, refresh::Leases},
    deliver::deliver,
    host::Exit,
    journal::{self, Entry, Journal, Report},
    line::Said,
    machine::Facts,
    process::end_marked,
    progress,
    redact::Redactor,
    spent::Spent,
    turns,
    workspace::Workspaces,
};

/// A call that takes longer hangs: the connection is half open.
pub(crate) const CALL_WITHIN: Duration = Duration::from_secs(20);

/// Between two tries to ask a hub that is away.
pub(crate) const ASK_AGAIN: Duration = Duration::from_secs(2);

pub(crate) async fn bounded<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(CALL_WITHIN, call).await.unwrap_or_else(|_| Err(Error::Unreachable("the hub does not answer".into())))
}

/// Why an attempt is to stop: what counts for more comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// The worker stops.
    Shutdown,
    /// Its budget is used up, and people are asked for more: it makes room, and goes on with the answer.
    Budget,
    /// An operator cancelled the task.
    Cancelled,
    /// Another has it, or it ended: nothing may be said any more.
    Lost,
}

/// How to stop an attempt. Of several reasons the weightiest counts.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    token: CancellationToken,
    /// Its agent alone. What else there is to be done uses nothing of a budget.
    turn: CancellationToken,
    reason: Arc<Mutex<Option<Reason>>>,
    lost: CancellationToken,
}

impl Default for Stop {
    fn default() -> Self {
        let token = CancellationToken::new();
        Self { turn: token.child_token(), token, reason: Arc::default(), lost: CancellationToken::new() }
    }
}

impl Stop {
    pub(crate) fn stop(&self, reason: Reason) {
        {
            let mut before = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
            *before = (*before).max(Some(reason));
        }
        match reason {
            Reason::Budget => self.turn.cancel(),
            Reason::Lost => {
                self.lost.cancel();
                self.token.cancel();
            }
            Reason::Shutdown | Reason::Cancelled => self.token.cancel(),
        }
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is to make room until somebody has said that it may use more.
    pub(crate) fn is_over_budget(&self) -> bool {
        self.reason() == Some(Reason::Budget)
    }

    /// Whether all of it is to stop, and not only its agent.
    pub(crate) fn is_stopped(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Once the attempt is to stop.
    pub(crate) async fn stopped(&self) {
        self.token.cancelled().await;
    }

    /// Cancelled when the attempt is to stop.
    pub(crate) fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Cancelled when its agent is to stop.
    pub(crate) fn turn(&self) -> CancellationToken {
        self.turn.clone()
    }

    /// Once the lease is known to be lost.
    pub(crate) async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

/// How a running attempt is reached.
#[derive(Debug, Clone)]
pub(crate) struct Hears {
    pub(crate) stop: Stop,
    /// What the hub last said to it.
    pub(crate) said: watch::Sender<Said>,
    /// What it has used so far.
    pub(crate) spent: Spent,
}

impl Hears {
    fn new() -> Self {
        Self { stop: Stop::default(), said: watch::Sender::new(Said::default()), spent: Spent::default() }
    }

    pub(crate) fn hear(&self, said: Said) {
        self.said.send_if_modified(|before| {
            let news = *before != said;
            *before = said;
            news
        });
    }
}

/// What attempts share.
pub(crate) struct Shared {
    pub(crate) hub: Hub,
    pub(crate) device: String,
    pub(crate) root: PathBuf,
    pub(crate) agents: HashMap<String, Arc<dyn Agent>>,
    pub(crate) mark: String,
    pub(crate) host: PathBuf,
    pub(crate) grace: Duration,
    pub(crate) journal: Journal,
    pub(crate) workspaces: Workspaces,
    pub(crate) facts: Arc<Facts>,
    pub(crate) redactor: Arc<Redactor>,
    pub(crate) logins: Logins,
    pub(crate) limits: Arc<Limits>,
    pub(crate) leases: Arc<dyn Leases>,
    /// Attempts whose lease is to be kept.
    pub(crate) running: Mutex<HashMap<Running, Hears>>,
    /// "Send a heartbeat now."
    pub(crate) beat: Notify,
    /// Cancelled when a stopping worker can wait no longer: what is not delivered then is left to the journal.
    pub(crate) abandon: CancellationToken,
}

impl Shared {
    /// Takes an attempt under its wing. An older attempt at the same task, here, has surely lost its lease.
    pub(crate) fn enter(&self, key: Running) -> Hears {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let hears = Hears::new();
        for (other, hears_other) in running.iter().filter(|(other, _)| other.task == key.task) {
            if other.attempt < key.attempt { hears_other } else { &hears }.stop.stop(Reason::Lost);
        }
        running.insert(key, hears.clone());
        hears
    }

    pub(crate) fn leave(&self, key: Running) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    pub(crate) fn snapshot(&self) -> Vec<(Running, Hears)> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().map(|(key, hears)| (*key, hears.clone())).collect()
    }
}

/// Runs an attempt to its end. Gives when the task is due again, if it is to be tried again.
pub(crate) async fn attempt(shared: Arc<Shared>, task: Task, hears: Hears) -> Option<DateTime<Utc>> {
    let key = Running { task: task.id, attempt: task.attempt };
    tracing::info!(task.id = %key.task, task.attempt = key.attempt, agent.name = task.agent.as_deref().unwrap_or("-"), "attempt started");
    let (entry, outcome) = match begin(&shared, &task).await {
        Ok(entry) => {
            let outcome = run(&shared, task, &entry, &hears).await.shown(&shared.redactor);
            (Some(entry), outcome)
        }
        Err(error) => {
            tracing::error!(task.id = %key.task, error = %error, "no attempt begins: the journal can not be written");
            let why =
                format!("the device can not keep a journal of its attempts ({}): is its disk full?", error.kind());
            (None, Outcome::failed(why, true, EndReason::NotStarted))
        }
    };
    let due = end(&shared, key, entry, &hears.stop, outcome).await;
    shared.leave(key);
    due
}

async fn begin(shared: &Arc<Shared>, task: &Task) -> std::io::Result<Entry> {
    let (shared, task) = (Arc::clone(shared), task.clone());
    tokio::task::spawn_blocking(move || shared.journal.begin(&task)).await.map_err(std::io::Error::other)?
}

async fn run(shared: &Shared, task: Task, entry: &Entry, hears: &Hears) -> Outcome {
    let (progress, reporter) = progress::channel();
    let (id, attempt, stop) = (task.id, task.attempt, &hears.stop);
    let name = task.agent.clone().unwrap_or_default();
    let login = shared.logins.stamps(&name);
    let work = async {
        match AssertUnwindSafe(turns::run(shared, task, entry, hears, progress)).catch_unwind().await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::failed("the agent failed inside the worker; its log says how", true, EndReason::Failed),
        }
    };
    let folder = entry.folder();
    // Before its agent hears of it: who finds the attempt without its worker parks it as well.
    let marking = async {
        stop.turn().cancelled().await;
        if stop.is_over_budget() {
            journal::set_over_budget(folder);
        }
        std::future::pending::<Infallible>().await
    };
    let work = async {
        tokio::select! {
            biased;
            never = marking => match never {},
            outcome = work => outcome,
        }
    };
    let telling = async {
        // Once the attempt is stopped nobody waits for notes.
        tokio::select! {
            biased;
            told = reporter.run(&shared.hub, &shared.redactor, id, attempt) => {
                if let Err(error @ (Error::LeaseLost(_) | Error::DeviceRevoked(_))) = told {
                    tracing::warn!(task.id = %id, task.attempt = attempt, error = %error, "stopping: the lease is lost");
                    stop.stop(Reason::Lost);
                }
            }
            () = stop.stopped() => {}
        }
    };
    let (outcome, ()) = tokio::join!(work, telling);
    if let Outcome::Failed { meta: Meta { reason: Some(EndReason::Auth), .. }, .. } = &outcome {
        shared.logins.broke(&name, login);
    }
    outcome
}

/// Tells the end, unless the attempt is nobody's any more.
async fn end(
    shared: &Shared,
    key: Running,
    entry: Option<Entry>,
    stop: &Stop,
    outcome: Outcome,
) -> Option<DateTime<Utc>> {
    let report = match (stop.reason(), outcome) {
        (Some(Reason::Lost), _) => {
            tracing::warn!(task.id = %key.task, task.attempt = key.attempt, "attempt discarded: its lease is lost");
            if let Some(entry) = entry {
                entry.remove();
            }
            return None;
        }
        (Some(Reason::Shutdown), Outcome::Left { .. }) => {
            tracing::info!(task.id = %key.task, task.attempt = key.attempt, "the agent is done: proving and handing out its work is left to the next worker");
            return None;
        }
        // It finished before it could be stopped: the result stands.
        (_, Outcome::Complete { result, meta }) => Report::Complete { result, meta },
        (
            Some(Reason::Cancelled),
            Outcome::Failed { meta, .. }
            | Outcome::Stopped { meta }
            | Outcome::Left { meta }
            | Outcome::Parked { meta },
        ) => Report::Fail { error: "cancelled".into(), retryable: false, meta: ended(meta, EndReason::Cancelled) },
        (Some(Reason::Budget), Outcome::Stopped { meta } | Outcome::Parked { meta }) => {
            let error = "its budget was used up, and nobody is asked for more any longer".into();
            Report::Park { error, meta: ended(meta, EndReason::WorkerStopped) }
        }
        (_, Outcome::Stopped { meta } | Outcome::Left { meta }) => {
            let meta = ended(meta, EndReason::WorkerStopped);
            Report::Fail { error: "the worker was stopped".into(), retryable: true, meta }
        }
        (_, Outcome::Parked { meta }) => {
            Report::Park { error: "nobody is asked any more".into(), meta: ended(meta, EndReason::WorkerStopped) }
        }
        (_, Outcome::Failed { error, retryable, meta }) => Report::Fail { error, retryable, meta },
    };
    deliver(shared, key, entry, stop, report, false).await
}

fn ended(meta: Meta, reason: EndReason) -> Meta {
    Meta { reason: Some(reason), ..meta }
}

/// Ends what a worker that is gone had begun: tells the end that is in the journal, else what the agent had said when it ended by
/// itself; hands the rest back. Waits for as long as another worker or the attempt's host has the folder, until `shutdown`.
pub(crate) async fn adopt(shared: Arc<Shared>, folder: PathBuf, shutdown: CancellationToken) {
    let entry = tokio::select! {
        biased;
        () = shutdown.cancelled() => return,
        entry = shared.journal.adopt(folder) => entry,
    };
    let Some(mut entry) = entry else { return };
    let key = entry.key();
    if !entry.certain {
        let agent = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            agent = agent_of(&shared, key) => agent,
        };
        let Some(agent) = agent else {
            tracing::warn!(folder = %entry.folder().display(), "the folder of an attempt is left alone: this hub does not know of its task");
            return;
        };
        entry.about.agent = agent;
    }
    let hears = shared.enter(key);
    let report = match entry.report() {
        Some(report) => Some(report),
        None => recorded(&shared, &entry, &hears.stop).await,
    };
    // None: this worker stops, too, before the work is proved or handed out.
    if let Some(report) = report {
        tracing::info!(task.id = %key.task, task.attempt = key.attempt, "an attempt of a worker that is gone: telling how it ended");
        deliver(&shared, key, Some(entry), &hears.stop, report, true).await;
    }
    shared.leave(key);
}

/// Which agent had the attempt, as the hub has it. None where the hub has no such task to show, so that it may be another hub's.
async fn agent_of(shared: &Shared, key: Running) -> Option<Option<String>> {
    loop {
        match bounded(shared.hub.task(&key.task.to_string())).await {
            Ok(task) => return Some(task.agent),
            Err(error) if error.is_transient() => sleep(ASK_AGAIN).await,
            Err(error) => {
                tracing::warn!(task.id = %key.task, error = %error, "the hub does not say whose attempt it was");
                return None;
            }
        }
    }
}

/// The end of an attempt whose worker did not live to see it. What its agent left is kept, and proved if it had said that it is done. None:
/// this worker does not live to see it either.
async fn recorded(shared: &Shared, entry: &Entry, stop: &Stop) -> Option<Report> {
    let agent = entry.about.agent.as_deref().and_then(|name| shared.agents.get(name)).cloned();
    let (folder, redactor) = (entry.folder().to_path_buf(), Arc::clone(&shared.redactor));
    let place = folder.clone();
    let exit = tokio::task::spawn_blocking(move || Exit::read(&place).ok().flatten()).await.ok().flatten();
    let course = entry.course();
    let mut outcome = None;
    if let Some(exit) = exit {
        let session = course.as_ref().and_then(|course| course.session.clone());
        let judged = tokio::task::spawn_blocking(move || {
            agent?.verdict(exit, &folder, session.as_ref(), &redactor).ok().flatten()
        });
        outcome = judged.await.ok().flatten().map(|outcome| outcome.shown(&shared.redactor));
    } else {
        // Nobody wrote down that nothing of it is left: host and guard may have been killed as well.
        let left = end_marked(format!("{}.{}", entry.about.task, entry.about.attempt)).await;
        if left > 0 {
            tracing::error!(task.id = %entry.about.task, processes = left, "processes of an agent could not be ended");
        }
    }
    let outcome = outcome.unwrap_or_else(Outcome::stopped);
    let outcome = match course {
        Some(course) => turns::end(shared, entry, stop, course, outcome).await,
        None => outcome,
    };
    Some(match outcome {
        Outcome::Complete { result, meta } => Report::Complete { result, meta },
        Outcome::Parked { meta } => gone(meta, true),
        Outcome::Stopped { meta } => gone(meta, entry.waited()),
        Outcome::Left { .. } => return None,
        Outcome::Failed { error, retryable, meta } => match meta.reason {
            Some(EndReason::WorkerGone | EndReason::HostGone) if entry.waited() => gone(meta, true),
            _ => Report::Fail { error, retryable, meta },
        },
    })
}

/// One that waited for an answer goes on when that is there.
fn gone(meta: Meta, waits: bool) -> Report {
    let (error, meta) = ("its worker ended without warning".to_owned(), ended(meta, EndReason::WorkerGone));
    if waits { Report::Park { error, meta } } else { Report::Fail { error, retryable: true, meta } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_stops_the_agent_and_nothing_else() {
        let stop = Stop::default();
        stop.stop(Reason::Budget);
        assert!(stop.turn().is_cancelled() && stop.is_over_budget());
        assert!(!stop.token().is_cancelled() && !stop.is_stopped());
        // Whoever stops it for another reason stops all of it.
        stop.stop(Reason::Shutdown);
        assert!(stop.is_stopped() && stop.is_over_budget());
    }

    #[test]
    fn of_several_reasons_the_weightiest_counts_whatever_the_order() {
        let all = [Reason::Shutdown, Reason::Budget, Reason::Cancelled, Reason::Lost];
        for (at, first) in all.into_iter().enumerate() {
            for second in &all[at..] {
                for order in [[first, *second], [*second, first]] {
                    let stop = Stop::default();
                    order.into_iter().for_each(|reason| stop.stop(reason));
                    assert_eq!(stop.reason(), Some(*second), "{order:?}");
                    assert!(stop.turn().is_cancelled(), "{order:?}");
                }
            }
        }
        assert_eq!(Stop::default().reason(), None);
    }
}
