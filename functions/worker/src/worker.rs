//! The loop: listen, look, claim, run; and, beside it, the heartbeat.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use hub::{
    Error, Result,
    config::is_device_name,
    types::{AgentOffer, Running, Task},
    wake::{Signal, Wake},
};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Worker,
    agents::{self, Agent},
    executor::{CALL_WITHIN, Reason, Shared, attempt},
    process::Identity,
};

/// What a claim asks for and a heartbeat renews.
const LEASE: Duration = Duration::from_secs(60);
const HEARTBEAT: Duration = Duration::from_secs(20);
/// A heartbeat that failed is tried again after this.
const HEARTBEAT_AGAIN: Duration = Duration::from_secs(2);
/// A claim on its way when the worker stops has this long: dropped, its tasks would wait for their leases to run out.
const LAST_CLAIM: Duration = Duration::from_secs(1);
/// After a stopping worker ended the last process trees, for handing the tasks back.
const HAND_BACK: Duration = Duration::from_secs(5);

/// A worker that listens and is known to the hub, and has claimed nothing yet.
pub struct Ready {
    worker: Worker,
    shared: Arc<Shared>,
    device: Device,
    wake: Wake,
}

pub(crate) async fn start(worker: Worker, shutdown: &CancellationToken) -> Result<Option<Ready>> {
    let prepared = prepare(&worker)?;
    let shared = Arc::new(prepared.shared);
    let swept = prepared.identity.sweep(worker.grace).await;
    if swept > 0 {
        tracing::warn!(device.name = %worker.device, processes = swept, "ended processes that a killed worker of this device had left");
    }
    let device = Device {
        name: worker.device.clone(),
        platform: worker.platform.clone(),
        offers: worker.agents.iter().map(agents::AgentConfig::offer).collect(),
        capacity: i32::from(worker.capacity),
    };
    // It listens before the first claim: what is committed in between would be told to nobody.
    let wake = tokio::select! {
        wake = worker.hub.wake(&worker.device) => wake,
        () = shutdown.cancelled() => return Ok(None),
    };
    tokio::select! {
        registered = device.register_patiently(&shared) => registered?,
        () = shutdown.cancelled() => return Ok(None),
    }
    tracing::info!(device.name = %worker.device, device.capacity = worker.capacity, "worker ready");
    Ok(Some(Ready { worker, shared, device, wake }))
}

impl Ready {
    /// What tells it of work, for who does something else in this process and is told by the same connection.
    #[must_use]
    pub fn wake(&self) -> &Wake {
        &self.wake
    }

    /// Works until `shutdown`, then stops claiming, lets attempts finish for [`Worker::drain`], stops the rest and hands their
    /// tasks back.
    ///
    /// # Errors
    /// [`Error::DeviceRevoked`] once an owner revoked the device; what registering anew says if that passes not by itself.
    pub async fn run(self, shutdown: &CancellationToken) -> Result<()> {
        let Self { worker, shared, device, wake } = self;
        let stopping = CancellationToken::new();
        let (fatal, mut fault) = watch::channel(None);
        let beating = tokio::spawn(heartbeats(Arc::clone(&shared), device.clone(), fatal, stopping.clone()));

        let mut attempts = JoinSet::new();
        let capacity = usize::from(worker.capacity);
        let ended = work(&shared, &device, capacity, &wake, &mut attempts, &mut fault, shutdown).await;
        drop(wake);
        drain(&shared, &worker, &mut attempts, ended.is_err()).await;

        stopping.cancel();
        beating.abort();
        tracing::info!(device.name = %worker.device, "worker stopped");
        ended
    }
}

struct Prepared {
    shared: Shared,
    identity: Identity,
}

/// Checks everything that can be wrong with this machine, and says all of it.
fn prepare(worker: &Worker) -> Result<Prepared> {
    let mut problems = Vec::new();
    if !is_device_name(&worker.device) {
        problems.push(format!(
            "{:?} is no name for a device: use 1 to 63 letters, digits, dots, dashes and underscores",
            worker.device
        ));
    }
    if !(1..=1000).contains(&worker.capacity) {
        problems.push("the capacity must be 1 to 1000 tasks at once".into());
    }
    let root = worker.projects_root.canonicalize().ok().filter(|path| path.is_dir());
    if root.is_none() {
        problems.push(format!(
            "the projects root {} is not a folder: make it, or give another",
            worker.projects_root.display()
        ));
    }
    problems.extend(agents::check(&worker.agents));
    let mut built: HashMap<String, Arc<dyn Agent>> = HashMap::new();
    for config in &worker.agents {
        match config.build() {
            Ok(agent) => drop(built.insert(config.agent.clone(), agent)),
            Err(problem) => problems.push(format!("agent {}: {problem}", config.agent)),
        }
    }
    match root {
        Some(root) if problems.is_empty() => {
            let identity = Identity::new(&worker.device, &root);
            let shared = Shared {
                hub: worker.hub.clone(),
                device: worker.device.clone(),
                root,
                agents: built,
                mark: identity.mark.clone(),
                host: worker.host.clone(),
                grace: worker.grace,
                running: std::sync::Mutex::default(),
                beat: Notify::new(),
                abandon: CancellationToken::new(),
            };
            Ok(Prepared { shared, identity })
        }
        _ => Err(Error::Config(problems.join("\n"))),
    }
}

/// What is registered.
#[derive(Clone)]
struct Device {
    name: String,
    platform: String,
    offers: Vec<AgentOffer>,
    capacity: i32,
}

impl Device {
    async fn register(&self, shared: &Shared) -> Result<()> {
        bounded(shared.hub.register_device(&self.name, &self.platform, &self.offers, self.capacity)).await.map(drop)
    }

    /// Registers, waiting for a hub that is away.
    async fn register_patiently(&self, shared: &Shared) -> Result<()> {
        let mut pause = Duration::from_millis(250);
        loop {
            match self.register(shared).await {
                Err(error) if error.is_transient() => {
                    tracing::warn!(device.name = %self.name, error = %error, "the hub is away; trying again");
                    sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
                other => return other,
            }
        }
    }
}

/// Claims and runs until `shutdown`, or until something is wrong for good.
async fn work(
    shared: &Arc<Shared>,
    device: &Device,
    capacity: usize,
    wake: &Wake,
    attempts: &mut JoinSet<Option<DateTime<Utc>>>,
    fault: &mut watch::Receiver<Option<Arc<Error>>>,
    shutdown: &CancellationToken,
) -> Result<()> {
    let mut look = true;
    // A task of ours that backs off is looked for when it is due; nobody notifies of that.
    let mut due: Option<Instant> = None;
    let mut not_before = Instant::now();
    let mut pause = Duration::from_millis(250);
    loop {
        let free = capacity.saturating_sub(attempts.len());
        if look && free > 0 && Instant::now() >= not_before && !shutdown.is_cancelled() {
            match claim(shared, free, shutdown).await {
                Ok(tasks) => {
                    pause = Duration::from_millis(250);
                    // Until nothing more is found: a batch may be short because a neighbour had locked the best.
                    look = !tasks.is_empty();
                    for task in tasks {
                        let stop = shared.enter(Running { task: task.id, attempt: task.attempt });
                        attempts.spawn(attempt(Arc::clone(shared), task, stop));
                    }
                }
                Err(Error::DeviceRevoked(_)) => {
                    // Unknown: its row was deleted. Revoked: this says so, for good.
                    device
                        .register(shared)
                        .await
                        .or_else(|error| if error.is_transient() { Ok(()) } else { Err(error) })?;
                    not_before = Instant::now() + pause;
                    pause = (pause * 2).min(Duration::from_secs(15));
                }
                Err(error) => {
                    tracing::warn!(device.name = %device.name, error = %error, "claiming failed; trying again");
                    not_before = Instant::now() + pause;
                    pause = (pause * 2).min(if error.is_transient() {
                        Duration::from_secs(2)
                    } else {
                        Duration::from_secs(30)
                    });
                }
            }
            continue;
        }
        let wait_to_look = look && free > 0;
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            Ok(()) = fault.changed() => {
                // The heartbeat learned that the device was revoked; registering says it in the hub's own words.
                if fault.borrow_and_update().is_some() {
                    device.register(shared).await?;
                }
            }
            Some(ended) = attempts.join_next(), if !attempts.is_empty() => {
                look = true;
                if let Ok(Some(at)) = ended {
                    let at = Instant::now() + (at - Utc::now()).to_std().unwrap_or_default() + Duration::from_millis(50);
                    due = Some(due.map_or(at, |due| due.min(at)));
                }
            }
            signal = wake.next() => match signal {
                Signal::Look => look = true,
                Signal::Device if !attempts.is_empty() => shared.beat.notify_one(),
                Signal::Device => {}
            },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                due = None;
                look = true;
            }
            () = sleep_until(not_before), if wait_to_look => {}
        }
    }
}

async fn claim(shared: &Shared, free: usize, shutdown: &CancellationToken) -> Result<Vec<Task>> {
    let limit = i32::try_from(free).unwrap_or(1000).min(1000);
    let claim = bounded(shared.hub.claim(&shared.device, limit, LEASE));
    tokio::select! {
        biased;
        claimed = claim => claimed,
        () = async { shutdown.cancelled().await; sleep(LAST_CLAIM).await } => Err(Error::Unreachable("the worker stops".into())),
    }
}

/// Keeps the leases of what runs, and learns what to stop.
async fn heartbeats(
    shared: Arc<Shared>,
    device: Device,
    fatal: watch::Sender<Option<Arc<Error>>>,
    stopping: CancellationToken,
) {
    let mut every = interval(HEARTBEAT);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut again = false;
    let mut silent = false;
    loop {
        tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            () = shared.beat.notified() => {}
            () = sleep(HEARTBEAT_AGAIN), if again => {}
            _ = every.tick() => {}
        }
        let running = shared.snapshot();
        let keys: Vec<Running> = running.iter().map(|(key, _)| *key).collect();
        again = false;
        match bounded(shared.hub.heartbeat(&device.name, &keys)).await {
            Ok(beat) => {
                if silent {
                    tracing::info!(device.name = %device.name, "heartbeats are heard again");
                    silent = false;
                }
                // Only of what was in this heartbeat: a task claimed meanwhile is not in its answer.
                for (key, stop) in &running {
                    if beat.lost.contains(&key.task) {
                        stop.stop(Reason::Lost);
                    } else if beat.cancel.contains(&key.task) {
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

/// Lets attempts finish, then stops them and hands their tasks back.
async fn drain(shared: &Shared, worker: &Worker, attempts: &mut JoinSet<Option<DateTime<Utc>>>, at_once: bool) {
    let all_ended = async |attempts: &mut JoinSet<Option<DateTime<Utc>>>| while attempts.join_next().await.is_some() {};
    if !attempts.is_empty() && !at_once {
        tracing::info!(attempts = attempts.len(), drain.seconds = worker.drain.as_secs_f64(), "draining");
        if timeout(worker.drain, all_ended(attempts)).await.is_ok() {
            return;
        }
    }
    for (_, stop) in shared.snapshot() {
        stop.stop(Reason::Shutdown);
    }
    if timeout(worker.grace + HAND_BACK, all_ended(attempts)).await.is_err() {
        shared.abandon.cancel();
        timeout(worker.grace + HAND_BACK, all_ended(attempts)).await.ok();
    }
}

async fn bounded<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(CALL_WITHIN, call).await.unwrap_or_else(|_| Err(Error::Unreachable("the hub does not answer".into())))
}
