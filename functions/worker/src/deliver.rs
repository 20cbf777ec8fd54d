//! The end of an attempt on its way to the hub: told until it is taken, or until the hub says that it is nobody's any more. What can
//! not be told before the worker ends stays in the journal, and the next worker tells it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use hub::{
    Error,
    types::{EndReason, Meta, Task},
};
use tokio::time::{sleep, timeout};

use crate::{
    executor::{CALL_WITHIN, Shared, Stop},
    journal::{Entry, Report},
    output::{RESULT, head},
};

/// The longest pause between two tries.
const PAUSE: Duration = Duration::from_secs(5);
/// How often an error that will hardly pass by itself is tried again.
const ODD_TRIES: u32 = 5;

/// What became of it.
enum Told {
    /// The hub has it.
    Taken(Box<Task>),
    /// It is nobody's: another has the task, or it ended.
    Nobodys,
    /// Not yet; a later worker is to try.
    Later,
}

/// Keeps the report, tells it, and lets the attempt's folder go once it is told. `entry`: none where the journal could not be
/// written; then only this worker can tell. `unsure`: it may have been told before. Gives when the task is due again, if it is to be
/// tried again.
pub(crate) async fn deliver(
    shared: &Shared,
    key: hub::types::Running,
    entry: Option<Entry>,
    stop: &Stop,
    report: Report,
    unsure: bool,
) -> Option<DateTime<Utc>> {
    let entry = match entry {
        Some(entry) => Some(kept(entry, report.clone()).await),
        None => None,
    };
    let told = tell(shared, key, stop, report, unsure).await;
    if !matches!(told, Told::Later)
        && let Some(entry) = entry
    {
        // Off the runtime's threads: it removes files.
        tokio::task::spawn_blocking(move || entry.remove()).await.ok();
    }
    match told {
        Told::Taken(task) => (task.status == "pending").then_some(task.run_after).flatten(),
        Told::Nobodys | Told::Later => None,
    }
}

async fn kept(entry: Entry, report: Report) -> Entry {
    let key = entry.key();
    let written = tokio::task::spawn_blocking(move || {
        let written = entry.keep(&report);
        (entry, written)
    });
    match written.await {
        Ok((entry, Ok(()))) => entry,
        Ok((entry, Err(error))) => {
            tracing::error!(
                task.id = %key.task, task.attempt = key.attempt, error = %error.kind(),
                "the journal can not be written: the end of this attempt is lost if the worker ends before the hub has it"
            );
            entry
        }
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn tell(shared: &Shared, key: hub::types::Running, stop: &Stop, mut report: Report, mut unsure: bool) -> Told {
    let mut pause = Duration::from_millis(200);
    let (mut odd, mut bare, mut told_so) = (0, false, false);
    loop {
        let call = async {
            match &report {
                Report::Complete { result, meta } => shared.hub.complete(key.task, key.attempt, result, meta).await,
                Report::Fail { error, retryable, meta } => {
                    shared.hub.fail(key.task, key.attempt, error, *retryable, meta).await
                }
                Report::Park { meta, .. } => shared.hub.park(key.task, key.attempt, &parked(meta)).await,
            }
        };
        let answer = tokio::select! {
            answer = timeout(CALL_WITHIN, call) => answer.unwrap_or_else(|_| Err(Error::Unreachable("the hub does not answer".into()))),
            () = shared.abandon.cancelled() => {
                tracing::warn!(task.id = %key.task, task.attempt = key.attempt, "the end of an attempt was not delivered before the worker stopped; the next worker of this device delivers it");
                return Told::Later;
            }
        };
        match answer {
            Ok(task) => {
                tracing::info!(task.id = %key.task, task.attempt = key.attempt, task.status = %task.status, "attempt ended");
                return Told::Taken(Box::new(task));
            }
            Err(Error::LeaseLost(_)) if unsure => {
                tracing::info!(task.id = %key.task, task.attempt = key.attempt, "attempt ended: an earlier try was taken, though its answer was lost, or another has the task");
                return Told::Nobodys;
            }
            Err(error @ (Error::LeaseLost(_) | Error::DeviceRevoked(_))) => {
                tracing::warn!(task.id = %key.task, task.attempt = key.attempt, error = %error, "attempt discarded");
                return Told::Nobodys;
            }
            // Nobody is asked any more: then it goes on as it is.
            Err(Error::Conflict(refusal)) if let Report::Park { error, meta } = &report => {
                tracing::info!(task.id = %key.task, reason = %refusal, "an attempt is handed back instead of parked");
                report = Report::Fail { error: error.clone(), retryable: true, meta: meta.clone() };
                continue;
            }
            // What was proved is not what is asked for now: the next attempt proves that. What was done is not lost.
            Err(Error::Conflict(refusal)) if let Report::Complete { result, meta } = &report => {
                tracing::error!(task.id = %key.task, reason = %refusal, "the end of an attempt was refused");
                report = unproved(&refusal.to_string(), result, meta);
                continue;
            }
            // A figure that the hub does not take is worth less than the end itself.
            Err(Error::BadInput(refusal)) if !bare => {
                tracing::error!(task.id = %key.task, error = %refusal, "the end of an attempt was refused; telling it without its record");
                bare = true;
                let (Report::Complete { meta, .. } | Report::Fail { meta, .. } | Report::Park { meta, .. }) =
                    &mut report;
                let Meta { reason, session_id, session_state, receipt, .. } = std::mem::take(meta);
                *meta = Meta { reason, session_id, session_state, receipt, ..Meta::default() };
                continue;
            }
            Err(Error::BadInput(refusal)) if !told_so => {
                tracing::error!(task.id = %key.task, error = %refusal, "what was to be told was refused");
                told_so = true;
                let what = if matches!(report, Report::Complete { .. }) { "result" } else { "error" };
                report = Report::Fail {
                    error: format!("the {what} could not be stored: {refusal}"),
                    retryable: false,
                    meta: Meta { reason: Some(EndReason::NotStored), ..Meta::default() },
                };
                continue;
            }
            // The hub is away. The lease may run out meanwhile, but only the hub knows whether it was taken back: as long as
            // it was not, the result is taken late as well.
            Err(error) if error.is_transient() => {
                unsure = true;
                tracing::warn!(task.id = %key.task, error = %error, "the end of an attempt can not be delivered yet");
            }
            Err(error) if odd < ODD_TRIES => {
                odd += 1;
                tracing::error!(task.id = %key.task, error = %error, "the end of an attempt was refused");
            }
            Err(error) => {
                tracing::error!(task.id = %key.task, task.attempt = key.attempt, error = %error, "the end of an attempt was given up; the next worker of this device tries again, if nobody else had the task by then");
                return Told::Later;
            }
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.lost() => return Told::Nobodys,
            () = shared.abandon.cancelled() => {}
        }
        pause = (pause * 2).min(PAUSE);
    }
}

fn parked(meta: &Meta) -> Meta {
    Meta { reason: Some(EndReason::Parked), ..meta.clone() }
}

fn unproved(refusal: &str, result: &str, meta: &Meta) -> Report {
    let meta = Meta { reason: Some(EndReason::NotStored), ..meta.clone() };
    let error = format!("{refusal}\n\nWhat it said in the end:\n{result}");
    Report::Fail { error: head(&error, RESULT).to_owned(), retryable: true, meta }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_that_is_not_taken_is_kept_and_proved_anew() {
        let meta = Meta { reason: Some(EndReason::Complete), model: Some("opus".into()), ..Meta::default() };
        let Report::Fail { error, retryable, meta } = unproved("verified with another command", "All is done.", &meta)
        else {
            panic!("it is no failure")
        };
        assert_eq!(error, "verified with another command\n\nWhat it said in the end:\nAll is done.");
        assert_eq!((retryable, meta.reason, meta.model.as_deref()), (true, Some(EndReason::NotStored), Some("opus")));
        let Report::Fail { error, .. } = unproved("no", &"x".repeat(1_000_000), &meta) else {
            panic!("it is no failure")
        };
        assert_eq!(error.chars().count(), RESULT);
    }
}
