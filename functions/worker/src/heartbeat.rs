//! The heartbeat: it keeps the leases of what runs, says how the machine is, and learns what to stop and which projects to look for.

use std::{sync::Arc, time::Duration};

use hub::{
    Error, Result,
    types::{Heartbeat, Running},
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    executor::{Reason, Shared, Stop, bounded},
    worker::Device,
};

const EVERY: Duration = Duration::from_secs(20);
/// One that failed is tried again after this.
const AGAIN: Duration = Duration::from_secs(2);
/// The hub asks about at most so many projects at once; more than this often in a row it hardly has something new to ask.
const QUESTIONS: usize = 10;

/// One heartbeat, and at once another for as long as the hub asks about projects. Gives what ran when the last was sent, and what the
/// hub answered to it.
pub(crate) async fn beat(shared: &Shared, device: &str) -> Result<(Vec<(Running, Stop)>, Heartbeat)> {
    let mut asked = 0;
    loop {
        let machine = shared.facts.look().await;
        let running = shared.snapshot();
        let keys: Vec<Running> = running.iter().map(|(key, _)| *key).collect();
        let answer = bounded(shared.hub.heartbeat(device, &keys, &machine)).await?;
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
                for (key, stop) in &running {
                    if answer.lost.contains(&key.task) {
                        stop.stop(Reason::Lost);
                    } else if answer.cancel.contains(&key.task) {
                        stop.stop(Reason::Cancelled);
                    }
                }
            }
            Err(Error::DeviceRevoked(_)) => match device.register(&shared).await {
                // It was unknown and is known again; its tasks are told apart by the next heartbeat.
                Ok(()) => again = true,
                Err(Error::DeviceRevoked(refusal)) => {
                    for (_, stop) in shared.snapshot() {
                        stop.stop(Reason::Lost);
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
