//! One attempt, from the claim to its end: the folder, the agent, the report. Whatever happens in between, the end is told once,
//! or the lease is lost and nothing is.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use hub::{
    Error, Hub,
    types::{Meta, Running, Task},
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    agents::{Agent, Context, Outcome},
    process::{ATTEMPT_MARK, WORKER_MARK},
    progress, project,
};

/// A call that takes longer hangs: the connection is half open.
pub(crate) const CALL_WITHIN: Duration = Duration::from_secs(20);
/// The longest pause between two tries to deliver an end.
const PAUSE: Duration = Duration::from_secs(5);
/// How often an error that will hardly pass by itself is tried again.
const ODD_TRIES: u32 = 5;

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
    /// Attempts whose lease is to be kept.
    pub(crate) running: Mutex<HashMap<Running, Stop>>,
    /// "Send a heartbeat now."
    pub(crate) beat: Notify,
    /// Cancelled when a stopping worker can wait no longer: what is not delivered then is left to the lease.
    pub(crate) abandon: CancellationToken,
}

impl Shared {
    /// Takes a claimed task under its wing. An older attempt at the same task, here, has surely lost its lease.
    pub(crate) fn enter(&self, key: Running) -> Stop {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for (other, stop) in running.iter() {
            if other.task == key.task {
                stop.stop(Reason::Lost);
            }
        }
        let stop = Stop::default();
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
    let outcome = run(&shared, task, &stop).await;
    let due = deliver(&shared, key, &stop, outcome).await;
    shared.leave(key);
    due
}

async fn run(shared: &Shared, task: Task, stop: &Stop) -> Outcome {
    let directory = match project::directory(&shared.root, task.project.as_deref()) {
        Ok(directory) => directory,
        Err(why) => {
            // What people are told names no path of this machine; its log does.
            tracing::warn!(task.id = %task.id, projects.root = %shared.root.display(), reason = %why, "task refused");
            return Outcome::failed(why, false);
        }
    };
    let Some(agent) = task.agent.as_deref().and_then(|name| shared.agents.get(name)) else {
        let name = task.agent.as_deref().unwrap_or("none");
        // Another worker of this device's name offers it.
        return Outcome::failed(format!("agent {name} is not configured in this worker"), true);
    };
    let (progress, reporter) = progress::channel();
    let (id, attempt) = (task.id, task.attempt);
    let folder = std::env::temp_dir().join(format!("hub-{id}.{attempt}"));
    if let Err(error) = DirBuilder::new().mode(0o700).create(&folder) {
        tracing::error!(task.id = %id, error = %error, "no folder for an attempt");
        return Outcome::failed("this machine has no place for the attempt's files", true);
    }
    let context = Context {
        environment: environment(id, attempt, &shared.mark),
        host: shared.host.clone(),
        folder: folder.clone(),
        task,
        directory,
        root: shared.root.clone(),
        progress,
        cancel: stop.token.clone(),
        // A stopping worker has little time itself.
        grace: shared.grace,
    };
    let work = async {
        match AssertUnwindSafe(agent.run(context)).catch_unwind().await {
            Ok(ended) => ended.outcome,
            Err(_) => Outcome::failed("the agent failed inside the worker; its log says how", true),
        }
    };
    let telling = async {
        // Once the attempt is stopped nobody waits for notes.
        tokio::select! {
            biased;
            told = reporter.run(&shared.hub, id, attempt) => {
                if let Err(error @ (Error::LeaseLost(_) | Error::DeviceRevoked(_))) = told {
                    tracing::warn!(task.id = %id, task.attempt = attempt, error = %error, "stopping: the lease is lost");
                    stop.stop(Reason::Lost);
                }
            }
            () = stop.token.cancelled() => {}
        }
    };
    let outcome = tokio::join!(work, telling).0;
    if let Err(error) = std::fs::remove_dir_all(&folder) {
        tracing::warn!(task.id = %id, error = %error, "the files of an attempt stay");
    }
    outcome
}

/// What agents are started with: this process' environment without the hub's secrets, and the marks. The process' own environment they
/// do not read either: `hub` keeps that to itself (main.rs of the program).
fn environment(task: Uuid, attempt: i32, worker: &str) -> Vec<(OsString, OsString)> {
    let secret: Vec<OsString> = hub::config::secret_names().collect();
    std::env::vars_os()
        .filter(|(name, _)| !secret.contains(name))
        .chain([
            ("HUB_TASK_ID".into(), task.to_string().into()),
            (ATTEMPT_MARK.into(), format!("{task}.{attempt}").into()),
            (WORKER_MARK.into(), worker.into()),
        ])
        .collect()
}

/// What to tell the hub.
enum Report {
    Complete(String, Meta),
    Fail(String, bool, Meta),
}

async fn deliver(shared: &Shared, key: Running, stop: &Stop, outcome: Outcome) -> Option<DateTime<Utc>> {
    let mut report = match (stop.reason(), outcome) {
        (Some(Reason::Lost), _) => {
            tracing::warn!(task.id = %key.task, task.attempt = key.attempt, "attempt discarded: its lease is lost");
            return None;
        }
        // It finished before it could be stopped: the result stands.
        (_, Outcome::Complete { result, meta }) => Report::Complete(result, meta),
        (Some(Reason::Cancelled), Outcome::Failed { meta, .. }) => Report::Fail("cancelled".into(), false, meta),
        (Some(Reason::Cancelled), Outcome::Stopped) => Report::Fail("cancelled".into(), false, Meta::default()),
        (Some(Reason::Shutdown) | None, Outcome::Stopped) => {
            Report::Fail("worker stopped".into(), true, Meta::default())
        }
        (_, Outcome::Failed { error, retryable, meta }) => Report::Fail(error, retryable, meta),
    };
    let mut pause = Duration::from_millis(200);
    let mut odd = 0;
    let mut unsure = false;
    loop {
        let call = async {
            match &report {
                Report::Complete(result, meta) => shared.hub.complete(key.task, key.attempt, result, meta).await,
                Report::Fail(error, retryable, meta) => {
                    shared.hub.fail(key.task, key.attempt, error, *retryable, meta).await
                }
            }
        };
        let answer = tokio::select! {
            answer = timeout(CALL_WITHIN, call) => answer.unwrap_or_else(|_| Err(Error::Unreachable("the hub does not answer".into()))),
            () = shared.abandon.cancelled() => {
                tracing::error!(task.id = %key.task, task.attempt = key.attempt, "the end of an attempt was not delivered before the worker stopped; its lease will run out");
                return None;
            }
        };
        match answer {
            Ok(task) => {
                tracing::info!(task.id = %key.task, task.attempt = key.attempt, task.status = %task.status, "attempt ended");
                return (task.status == "pending").then_some(task.run_after).flatten();
            }
            Err(Error::LeaseLost(_)) if unsure => {
                tracing::info!(task.id = %key.task, task.attempt = key.attempt, "attempt ended: an earlier try was taken, though its answer was lost, or another has the task");
                return None;
            }
            Err(error @ (Error::LeaseLost(_) | Error::DeviceRevoked(_))) => {
                tracing::warn!(task.id = %key.task, task.attempt = key.attempt, error = %error, "attempt discarded");
                return None;
            }
            Err(Error::BadInput(refusal)) if matches!(report, Report::Complete(..)) => {
                tracing::error!(task.id = %key.task, error = %refusal, "the result was refused");
                report = Report::Fail(
                    format!("the result could not be stored: {}", refusal.message),
                    false,
                    Meta::default(),
                );
                continue;
            }
            // The hub is away. The lease may run out meanwhile, but only the hub knows whether another took the task: as
            // long as none did, the result is taken late as well.
            Err(error) if error.is_transient() => {
                unsure = true;
                tracing::warn!(task.id = %key.task, error = %error, "the end of an attempt can not be delivered yet");
            }
            Err(error) if odd < ODD_TRIES => {
                odd += 1;
                tracing::error!(task.id = %key.task, error = %error, "the end of an attempt was refused");
            }
            Err(error) => {
                tracing::error!(task.id = %key.task, task.attempt = key.attempt, error = %error, "the end of an attempt was given up; its lease will run out");
                return None;
            }
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.lost.cancelled() => return None,
            () = shared.abandon.cancelled() => {}
        }
        pause = (pause * 2).min(PAUSE);
    }
}
