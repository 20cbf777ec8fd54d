//! One attempt, from the claim to its end: its folder in the journal, the project's folder, the agent, the report. Whatever happens in
//! between, the end is told once, or the lease is lost and nothing is.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use hub::{
    Error, Hub, Result,
    types::{EndReason, Meta, Running, Task},
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    agents::{Agent, Context, Outcome, login::Logins},
    deliver::deliver,
    host::Exit,
    journal::{Entry, Journal, Report},
    machine::Facts,
    process::{ATTEMPT_MARK, WORKER_MARK, end_marked},
    progress,
    project::{self, Refused},
    redact::Redactor,
};

/// A call that takes longer hangs: the connection is half open.
pub(crate) const CALL_WITHIN: Duration = Duration::from_secs(20);

/// Between two tries to ask a hub that is away.
const ASK_AGAIN: Duration = Duration::from_secs(2);

pub(crate) async fn bounded<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(CALL_WITHIN, call).await.unwrap_or_else(|_| Err(Error::Unreachable("the hub does not answer".into())))
}

/// Why an attempt is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// An operator cancelled the task.
    Cancelled,
    /// Another has it, or it ended: nothing may be said any more.
    Lost,
    /// The worker stops.
    Shutdown,
}

/// How to stop an attempt. The first reason counts, except that losing the lease counts over any.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    token: CancellationToken,
    reason: Arc<OnceLock<Reason>>,
    lost: CancellationToken,
}

impl Stop {
    pub(crate) fn stop(&self, reason: Reason) {
        if reason == Reason::Lost {
            self.lost.cancel();
        }
        self.reason.set(reason).ok();
        self.token.cancel();
    }

    fn reason(&self) -> Option<Reason> {
        if self.lost.is_cancelled() { Some(Reason::Lost) } else { self.reason.get().copied() }
    }

    /// Once the lease is known to be lost.
    pub(crate) async fn lost(&self) {
        self.lost.cancelled().await;
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
    pub(crate) facts: Arc<Facts>,
    pub(crate) redactor: Arc<Redactor>,
    pub(crate) logins: Logins,
    /// Attempts whose lease is to be kept.
    pub(crate) running: Mutex<HashMap<Running, Stop>>,
    /// "Send a heartbeat now."
    pub(crate) beat: Notify,
    /// Cancelled when a stopping worker can wait no longer: what is not delivered then is left to the journal.
    pub(crate) abandon: CancellationToken,
}

impl Shared {
    /// Takes an attempt under its wing. An older attempt at the same task, here, has surely lost its lease.
    pub(crate) fn enter(&self, key: Running) -> Stop {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let stop = Stop::default();
        for (other, stop_other) in running.iter().filter(|(other, _)| other.task == key.task) {
            if other.attempt < key.attempt { stop_other } else { &stop }.stop(Reason::Lost);
        }
        running.insert(key, stop.clone());
        stop
    }

    pub(crate) fn leave(&self, key: Running) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    pub(crate) fn snapshot(&self) -> Vec<(Running, Stop)> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().map(|(key, stop)| (*key, stop.clone())).collect()
    }
}

/// Runs an attempt to its end. Gives when the task is due again, if it is to be tried again.
pub(crate) async fn attempt(shared: Arc<Shared>, task: Task, stop: Stop) -> Option<DateTime<Utc>> {
    let key = Running { task: task.id, attempt: task.attempt };
    tracing::info!(task.id = %key.task, task.attempt = key.attempt, agent.name = task.agent.as_deref().unwrap_or("-"), "attempt started");
    let (entry, outcome) = match begin(&shared, &task).await {
        Ok(entry) => {
            let outcome = run(&shared, task, &entry, &stop).await.shown(&shared.redactor);
            (Some(entry), outcome)
        }
        Err(error) => {
            tracing::error!(task.id = %key.task, error = %error, "no attempt begins: the journal can not be written");
            let why =
                format!("the device can not keep a journal of its attempts ({}): is its disk full?", error.kind());
            (None, Outcome::failed(why, true, EndReason::NotStarted))
        }
    };
    let due = end(&shared, key, entry, &stop, outcome).await;
    shared.leave(key);
    due
}

async fn begin(shared: &Arc<Shared>, task: &Task) -> std::io::Result<Entry> {
    let (shared, task) = (Arc::clone(shared), task.clone());
    tokio::task::spawn_blocking(move || shared.journal.begin(&task)).await.map_err(std::io::Error::other)?
}

async fn run(shared: &Shared, task: Task, entry: &Entry, stop: &Stop) -> Outcome {
    let directory = match project::directory(&shared.root, task.project.as_deref()) {
        Ok(directory) => directory,
        Err(refused) => {
            // What people are told names no path of this machine; its log does.
            tracing::warn!(task.id = %task.id, projects.root = %shared.root.display(), reason = %refused, "task refused");
            return match (refused, &task.project) {
                // It was there when the device said so. Another may have it; this one takes nothing of it any more.
                (Refused::Here(why), Some(project)) => {
                    shared.facts.missing(project);
                    Outcome::failed(why, true, EndReason::NoProject)
                }
                (Refused::Here(why) | Refused::Anywhere(why), _) => Outcome::failed(why, false, EndReason::NotStarted),
            };
        }
    };
    let Some(agent) = task.agent.as_deref().and_then(|name| shared.agents.get(name)) else {
        let name = task.agent.as_deref().unwrap_or("none");
        // Another worker of this device's name offers it.
        return Outcome::failed(format!("agent {name} is not configured in this worker"), true, EndReason::NotStarted);
    };
    let (progress, reporter) = progress::channel();
    let (id, attempt) = (task.id, task.attempt);
    let (name, login) =
        (task.agent.clone().unwrap_or_default(), shared.logins.stamps(task.agent.as_deref().unwrap_or_default()));
    let context = Context {
        marks: vec![
            ("HUB_TASK_ID".into(), id.to_string().into()),
            (ATTEMPT_MARK.into(), format!("{id}.{attempt}").into()),
            (WORKER_MARK.into(), shared.mark.clone().into()),
        ],
        host: shared.host.clone(),
        task,
        directory,
        root: shared.root.clone(),
        folder: entry.folder().to_path_buf(),
        progress,
        cancel: stop.token.clone(),
        // A stopping worker has little time itself.
        grace: shared.grace,
        redactor: Arc::clone(&shared.redactor),
    };
    let work = async {
        match AssertUnwindSafe(agent.run(context)).catch_unwind().await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::failed("the agent failed inside the worker; its log says how", true, EndReason::Failed),
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
            () = stop.token.cancelled() => {}
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
        // It finished before it could be stopped: the result stands.
        (_, Outcome::Complete { result, meta }) => Report::Complete { result, meta },
        (Some(Reason::Cancelled), Outcome::Failed { meta, .. } | Outcome::Stopped { meta }) => {
            Report::Fail { error: "cancelled".into(), retryable: false, meta: ended(meta, EndReason::Cancelled) }
        }
        (_, Outcome::Stopped { meta }) => {
            let meta = ended(meta, EndReason::WorkerStopped);
            Report::Fail { error: "the worker was stopped".into(), retryable: true, meta }
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
    let stop = shared.enter(key);
    let report = match entry.report() {
        Some(report) => report,
        None => recorded(&shared, &entry).await,
    };
    tracing::info!(task.id = %key.task, task.attempt = key.attempt, "an attempt of a worker that is gone: telling how it ended");
    deliver(&shared, key, Some(entry), &stop, report, true).await;
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

/// The end of an attempt whose worker did not live to see it.
async fn recorded(shared: &Shared, entry: &Entry) -> Report {
    let agent = entry.about.agent.as_deref().and_then(|name| shared.agents.get(name)).cloned();
    let (folder, redactor) = (entry.folder().to_path_buf(), Arc::clone(&shared.redactor));
    let place = folder.clone();
    let exit = tokio::task::spawn_blocking(move || Exit::read(&place).ok().flatten()).await.ok().flatten();
    let Some(exit) = exit else {
        // Nobody wrote down that nothing of it is left: host and guard may have been killed as well.
        let left = end_marked(format!("{}.{}", entry.about.task, entry.about.attempt)).await;
        if left > 0 {
            tracing::error!(task.id = %entry.about.task, processes = left, "processes of an agent could not be ended");
        }
        return gone(Meta::default());
    };
    let judged = tokio::task::spawn_blocking(move || agent?.verdict(exit, &folder, &redactor).ok().flatten());
    match judged.await.ok().flatten().map(|outcome| outcome.shown(&shared.redactor)) {
        Some(Outcome::Complete { result, meta }) => Report::Complete { result, meta },
        Some(Outcome::Failed { error, retryable, meta }) => Report::Fail { error, retryable, meta },
        Some(Outcome::Stopped { meta }) => gone(meta),
        None => gone(Meta::default()),
    }
}

fn gone(meta: Meta) -> Report {
    let meta = ended(meta, EndReason::WorkerGone);
    Report::Fail { error: "its worker ended without warning".into(), retryable: true, meta }
}
