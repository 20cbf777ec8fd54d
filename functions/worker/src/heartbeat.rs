//! The heartbeat: it keeps the leases of what runs, says what that has used and how the machine is, and learns what to stop or to park and
//! which projects to look for.

use std::{sync::Arc, time::Duration};

use hub::{
    Error, Result,
    types::{AtWork, Heartbeat, OverBudget, Running},
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    executor::{Hears, Reason, Shared, bounded},
    line::{About, Answered, Note, Said},
    worker::Device,
};

const EVERY: Duration = Duration::from_secs(20);
/// One that failed is tried again after this.
const AGAIN: Duration = Duration::from_secs(2);
/// The hub asks about at most so many projects at once; more than this often in a row it hardly has something new to ask.
const QUESTIONS: usize = 10;

/// One heartbeat, and at once another for as long as the hub asks about projects. Gives what ran when the last was sent, and what the
/// hub answered to it.
pub(crate) async fn beat(shared: &Shared, device: &str) -> Result<(Vec<(Running, Hears)>, Heartbeat)> {
    let mut asked = 0;
    loop {
        let machine = shared.facts.look().await;
        let running = shared.snapshot();
        let answer = bounded(shared.hub.heartbeat(device, &at_work(&running), &machine)).await?;
        for agent in shared.logins.changed() {
            bounded(shared.hub.report_login(device, &agent, true, None)).await?;
            shared.logins.told(&agent);
        }
        shared.facts.told(machine);
        asked += 1;
        if answer.projects.is_empty() || asked == QUESTIONS {
            return Ok((running, answer));
        }
        shared.facts.asked(&answer.projects);
    }
}

fn at_work(running: &[(Running, Hears)]) -> Vec<AtWork> {
    running.iter().map(|(key, hears)| AtWork { running: *key, used: hears.spent.so_far() }).collect()
}

/// Why one attempt is to stop, if it is.
fn stops(key: Running, answer: &Heartbeat) -> Option<Reason> {
    let over = |over: &OverBudget| (over.task, over.attempt) == (key.task, key.attempt);
    if answer.lost.contains(&key.task) {
        Some(Reason::Lost)
    } else if answer.cancel.contains(&key.task) {
        Some(Reason::Cancelled)
    } else {
        answer.budget.iter().any(over).then_some(Reason::Budget)
    }
}

/// What of an answer is for one attempt. It comes again until it was taken.
fn said(key: Running, answer: &Heartbeat) -> Said {
    let ours = |task, attempt| (task, attempt) == (key.task, key.attempt);
    let steers = answer.steer.iter().filter(|steer| ours(steer.task, steer.attempt));
    let answers = answer.answers.iter().filter(|one| (one.task, one.attempt) == (Some(key.task), Some(key.attempt)));
    let ended = answer.subtasks.iter().filter(|end| ours(end.task, end.attempt));
    Said {
        steers: steers.map(|steer| Note { about: About::Steer(steer.id), text: steer.text.clone() }).collect(),
        answers: answers.filter_map(Answered::of).collect(),
        ended: ended.map(|end| end.subtask).collect(),
    }
}

/// Beats until `stopping`.
pub(crate) async fn keep_beating(
    shared: Arc<Shared>,
    device: Device,
    fatal: watch::Sender<Option<Arc<Error>>>,
    stopping: CancellationToken,
) {
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut again = false;
    let mut silent = false;
    loop {
        tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            () = shared.beat.notified() => {}
            () = sleep(AGAIN), if again => {}
            _ = every.tick() => {}
        }
        again = false;
        match beat(&shared, &device.name).await {
            Ok((running, answer)) => {
                if silent {
                    tracing::info!(device.name = %device.name, "heartbeats are heard again");
                    silent = false;
                }
                // Only of what was in this heartbeat: a task claimed meanwhile is not in its answer.
                for (key, hears) in &running {
                    if let Some(reason) = stops(*key, &answer) {
                        hears.stop.stop(reason);
                    }
                    hears.hear(said(*key, &answer));
                }
            }
            Err(Error::DeviceRevoked(_)) => match device.register(&shared).await {
                // It was unknown and is known again; its tasks are told apart by the next heartbeat.
                Ok(()) => again = true,
                Err(Error::DeviceRevoked(refusal)) => {
                    for (_, hears) in shared.snapshot() {
                        hears.stop.stop(Reason::Lost);
                    }
                    fatal.send_replace(Some(Arc::new(Error::DeviceRevoked(refusal))));
                    again = true;
                }
                Err(_) => again = true,
            },
            Err(error) => {
                // The work goes on: as long as nobody else took the tasks, their results are welcome.
                if !silent {
                    tracing::warn!(device.name = %device.name, error = %error, "a heartbeat failed; trying again");
                    silent = true;
                }
                again = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn an_attempt_learns_why_it_is_to_stop_and_no_other_does() {
        let [one, other] = [1, 2].map(|number| Running { task: Uuid::from_u128(number), attempt: 2 });
        let earlier = Running { attempt: 1, ..one };
        let over = |key: Running| OverBudget { task: key.task, attempt: key.attempt, ask: Uuid::nil() };
        let budget = Heartbeat { budget: vec![over(one)], ..Heartbeat::default() };
        assert_eq!([one, other, earlier].map(|key| stops(key, &budget)), [Some(Reason::Budget), None, None]);
        let cancel = Heartbeat { cancel: vec![one.task], ..budget };
        assert_eq!(stops(one, &cancel), Some(Reason::Cancelled));
        let lost = Heartbeat { lost: vec![one.task], ..cancel };
        assert_eq!(stops(one, &lost), Some(Reason::Lost));
    }
}
