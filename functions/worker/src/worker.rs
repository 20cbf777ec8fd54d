//! The loop: listen, look, claim, run. Before it, what a worker that is gone had begun is ended; after it, the device signs off.

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use hub::{
    Error, Result,
    config::is_device_name,
    patience::until_there,
    types::{AgentOffer, Running, Task},
    wake::{Signal, Wake},
};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Worker,
    agents::{self, Agent, installed::present, limits::Limits, login::Logins, refresh::ByHub},
    executor::{CALL_WITHIN, Reason, Shared, adopt, attempt, bounded},
    heartbeat::{beat, keep_beating},
    journal::Journal,
    machine::Facts,
    process::Identity,
    redact::Redactor,
    workspace::{Workspaces, keep_tidy},
};

/// What a claim asks for and a heartbeat renews.
const LEASE: Duration = Duration::from_secs(60);
/// A claim on its way when the worker stops has this long: dropped, its tasks would wait for their leases to run out.
const LAST_CLAIM: Duration = Duration::from_secs(1);
/// After a stopping worker ended the last process trees, for handing the tasks back.
const HAND_BACK: Duration = Duration::from_secs(5);
/// For signing off: who can not be told sees a device that is silent.
const SIGN_OFF: Duration = Duration::from_secs(2);

/// A worker that listens and is known to the hub, and has claimed nothing yet.
pub struct Ready {
    worker: Worker,
    shared: Arc<Shared>,
    device: Device,
    wake: Wake,
}

pub(crate) async fn start(mut worker: Worker, shutdown: &CancellationToken) -> Result<Option<Ready>> {
    let prepared = prepare(&mut worker).await?;
    let shared = Arc::new(prepared.shared);
    let swept = prepared.identity.sweep(worker.grace).await;
    if swept > 0 {
        tracing::warn!(device.name = %worker.device, processes = swept, "ended processes that a killed worker of this device had left");
    }
    let device = Device {
        name: worker.device.clone(),
        platform: worker.platform.clone(),
        offers: worker.agents.iter().map(|one| one.offer(&worker.agents)).collect(),
        capacity: i32::from(worker.capacity),
    };
    // It listens before the first claim: what is committed in between would be told to nobody.
    let wake = tokio::select! {
        wake = worker.hub.wake(&worker.device) => wake,
        () = shutdown.cancelled() => return Ok(None),
    };
    tokio::select! {
        introduced = until_there(|| device.introduce(&shared)) => introduced?,
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

    /// Works until `shutdown`, then stops claiming, lets attempts finish for [`Worker::drain`], stops the rest, hands their tasks back
    /// and signs off.
    ///
    /// # Errors
    /// [`Error::DeviceRevoked`] once an owner revoked the device; what registering anew says if that passes not by itself.
    pub async fn run(self, shutdown: &CancellationToken) -> Result<()> {
        let Self { worker, shared, device, wake } = self;
        let stopping = CancellationToken::new();
        let (fatal, mut fault) = watch::channel(None);
        let beating = tokio::spawn(keep_beating(Arc::clone(&shared), device.clone(), fatal, stopping.clone()));

        let workspaces = shared.workspaces.clone();
        drop(tokio::spawn(keep_tidy(worker.hub.clone(), device.name.clone(), workspaces, stopping.clone())));
        let (limits, until) = (Arc::clone(&shared.limits), stopping.clone());
        drop(tokio::spawn(async move { limits.tell(&until).await }));
        let mut adopting = JoinSet::new();
        for folder in left(&shared).await {
            adopting.spawn(adopt(Arc::clone(&shared), folder, shutdown.clone()));
        }
        let mut attempts = JoinSet::new();
        let capacity = usize::from(worker.capacity);
        let ended = work(&shared, &device, capacity, &wake, &mut attempts, &mut fault, shutdown).await;
        // Until the last attempt has ended it goes on hearing that one is to be cancelled.
        let listening = async {
            loop {
                if let Signal::Device = wake.next().await {
                    shared.beat.notify_one();
                }
            }
        };
        tokio::select! {
            () = drain(&shared, &worker, &mut attempts, &mut adopting, ended.is_err()) => {}
            () = listening => {}
        }
        drop(wake);

        // One that comes after the device has signed off would sign it on again.
        stopping.cancel();
        let beaten = beating.abort_handle();
        if timeout(CALL_WITHIN, beating).await.is_err() {
            beaten.abort();
        }
        if ended.is_ok() {
            match timeout(SIGN_OFF, shared.hub.sign_off(&device.name)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(device.name = %device.name, error = %error, "the device could not sign off");
                }
                Err(_) => {
                    tracing::warn!(device.name = %device.name, "the device could not sign off: the hub does not answer")
                }
            }
        }
        tracing::info!(device.name = %worker.device, "worker stopped");
        ended
    }
}

async fn left(shared: &Arc<Shared>) -> Vec<std::path::PathBuf> {
    let shared = Arc::clone(shared);
    tokio::task::spawn_blocking(move || shared.journal.left()).await.unwrap_or_default()
}

struct Prepared {
    shared: Shared,
    identity: Identity,
}

/// Checks everything that can be wrong with this machine, and says all of it. Agents whose programs are not here are left out, so that
/// the others work.
async fn prepare(worker: &mut Worker) -> Result<Prepared> {
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
    let journal = match open_journal(&worker.state) {
        Ok(journal) => Some(journal),
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    problems.extend(agents::check(&worker.agents));
    let (here, missing) = present(&worker.agents);
    if here.is_empty() {
        problems.extend(missing);
    } else {
        for missing in missing {
            tracing::warn!(device.name = %worker.device, "{missing}; then start the worker again");
        }
        worker.agents = here;
    }
    let mut built: HashMap<String, Arc<dyn Agent>> = HashMap::new();
    for config in &worker.agents {
        match config.build(&worker.agents).await {
            Ok(agent) => drop(built.insert(config.agent.clone(), agent)),
            Err(problem) => problems.push(format!("agent {}: {problem}", config.agent)),
        }
    }
    let redactor = Redactor::new(std::env::vars_os(), &worker.secrets);
    let redactor = redactor.inspect_err(|error| problems.push(format!("the secrets of this machine: {error}"))).ok();
    let workspaces = root.as_ref().map(|root| Workspaces::new(&worker.state, root)).transpose();
    let workspaces = workspaces.unwrap_or_else(|error| {
        problems.push(format!("the folder for worktrees can not be made in {}: {error}", worker.state.display()));
        None
    });
    match (root, journal, redactor, workspaces) {
        (Some(root), Some(journal), Some(redactor), Some(workspaces)) if problems.is_empty() => {
            let identity = Identity::new(&worker.device, &root);
            let shared = Shared {
                hub: worker.hub.clone(),
                device: worker.device.clone(),
                facts: Arc::new(Facts::new(root.clone(), worker.state.clone())),
                root,
                agents: built,
                mark: identity.mark.clone(),
                host: worker.host.clone(),
                grace: worker.grace,
                journal,
                workspaces,
                redactor: Arc::new(redactor),
                logins: Logins::of(&worker.agents),
                limits: Arc::new(Limits::of(worker.hub.clone(), &worker.device, &worker.agents)),
                leases: Arc::new(ByHub { hub: worker.hub.clone(), device: worker.device.clone() }),
                running: std::sync::Mutex::default(),
                beat: Notify::new(),
                abandon: CancellationToken::new(),
            };
            Ok(Prepared { shared, identity })
        }
        _ => Err(Error::Config(problems.join("\n"))),
    }
}

fn open_journal(state: &Path) -> Result<Journal, String> {
    Journal::open(state).map_err(|error| {
        format!(
            "the folder {} for the journal of attempts can not be made ({}): give another with --state-dir",
            state.display(),
            error.kind()
        )
    })
}

/// What is registered.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) name: String,
    platform: String,
    offers: Vec<AgentOffer>,
    capacity: i32,
}

impl Device {
    pub(crate) async fn register(&self, shared: &Shared) -> Result<()> {
        bounded(shared.hub.register_device(&self.name, &self.platform, &self.offers, self.capacity)).await?;
        // Its row may be new.
        shared.facts.forgotten();
        Ok(())
    }

    /// Registers, and says how the machine is before the first claim, so that it gets nothing of a project that this machine does not
    /// have. The answer says which hub this is.
    async fn introduce(&self, shared: &Shared) -> Result<()> {
        self.register(shared).await?;
        let (_, answer) = beat(shared, &self.name).await?;
        shared.journal.belongs_to(answer.hub);
        Ok(())
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
                        let hears = shared.enter(Running { task: task.id, attempt: task.attempt });
                        attempts.spawn(attempt(Arc::clone(shared), task, hears));
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
                // Something of ours is to stop, or the hub asks whether a project is here.
                Signal::Device => shared.beat.notify_one(),
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

/// Lets attempts finish, then stops them and hands their tasks back. What can not be told by then stays in the journal.
async fn drain(
    shared: &Shared,
    worker: &Worker,
    attempts: &mut JoinSet<Option<DateTime<Utc>>>,
    adopting: &mut JoinSet<()>,
    at_once: bool,
) {
    let all_ended = async |attempts: &mut JoinSet<Option<DateTime<Utc>>>, adopting: &mut JoinSet<()>| {
        while attempts.join_next().await.is_some() {}
        while adopting.join_next().await.is_some() {}
    };
    if !attempts.is_empty() && !at_once {
        tracing::info!(attempts = attempts.len(), drain.seconds = worker.drain.as_secs_f64(), "draining");
        shared.facts.stop();
        shared.beat.notify_one();
        let finished = async { while attempts.join_next().await.is_some() {} };
        if timeout(worker.drain, finished).await.is_err() {
            for (_, hears) in shared.snapshot() {
                hears.stop.stop(Reason::Shutdown);
            }
        }
    } else {
        for (_, hears) in shared.snapshot() {
            hears.stop.stop(Reason::Shutdown);
        }
    }
    if timeout(worker.grace + HAND_BACK, all_ended(attempts, adopting)).await.is_err() {
        shared.abandon.cancel();
        timeout(worker.grace + HAND_BACK, all_ended(attempts, adopting)).await.ok();
    }
}
