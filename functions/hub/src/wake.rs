//! Waking: told when there may be work, or when a device is wanted. A wake-up is a hint and never data; under it lies a slow
//! poll, which becomes a quick one while we are deaf.
//!
//! A task of its own listens, so that waiting can share a `select!` with anything and be dropped at any moment: signals that
//! nobody took yet are kept, and many of a kind are one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::postgres::PgListener;
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};

use crate::{
    api::Api,
    db::Db,
    pooler,
    realtime::{Event, Topic, frame::Body},
};

const TASKS: &str = "hub_tasks";
const DEVICE: &str = "hub_device";
const ERRANDS: &str = "hub_errands";
/// The net under NOTIFY: what no notification told is found after this.
const NET: Duration = Duration::from_secs(15);
/// While deaf, and where nothing can be heard.
const DEAF: Duration = Duration::from_secs(1);
/// Over a project's URL, while Realtime does not tell.
const API_LOOK: Duration = Duration::from_secs(2);
const API_DEVICE: Duration = Duration::from_secs(1);
/// Realtime reads the log, and a commit is in the log a moment before others see it: whoever was quicker than that looks once more.
const AGAIN: Duration = Duration::from_millis(100);
/// We notify ourselves this often: a half-open socket, or a pooler that keeps no session, is silent without an error.
const PROBE: Duration = Duration::from_secs(60);
const PROBE_WITHIN: Duration = Duration::from_secs(5);
/// Where LISTEN is not heard, it is tried again this often.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// What there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// There may be work: claim.
    Look,
    /// This device is wanted: send a heartbeat now.
    Device,
}

/// Listens as long as it lives.
#[derive(Debug)]
pub struct Wake {
    signals: Arc<Signals>,
    listening: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Signals {
    look: Notify,
    device: Notify,
    /// Those that somebody does, by the payload of their notification.
    errands: Mutex<HashMap<String, Arc<Notify>>>,
}

impl Signals {
    fn of_errands(&self) -> MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        self.errands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that nobody does here is another program's.
    fn errand(&self, name: &str) {
        if let Some(errand) = self.of_errands().get(name) {
            errand.notify_one();
        }
    }

    fn all_errands(&self) {
        for errand in self.of_errands().values() {
            errand.notify_one();
        }
    }

    fn all(&self) {
        self.look.notify_one();
        self.device.notify_one();
        self.all_errands();
    }
}

/// Told when there is an errand of one kind. Hears through the [`Wake`] it came from.
#[derive(Debug)]
pub struct Errands(Arc<Notify>);

impl Errands {
    /// Waits until there may be an errand. May be dropped and called again.
    pub async fn next(&self) {
        self.0.notified().await;
    }
}

impl Wake {
    /// By LISTEN. Returns when it listens, or when it is clear that it can not yet.
    pub(crate) async fn by_postgres(db: Db, device: String) -> Self {
        Self::start(|signals, ready| async move { listen(&db, &device, &signals, ready).await }).await
    }

    /// By the device's topic of Realtime. Returns when it is joined, or when it is clear that it can not be yet.
    pub(crate) async fn by_realtime(api: Api, device: String) -> Self {
        Self::start(|signals, ready| async move { listen_realtime(&api, &device, &signals, ready).await }).await
    }

    async fn start<F>(listen: impl FnOnce(Arc<Signals>, oneshot::Sender<()>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let signals = Arc::new(Signals::default());
        let (ready, listens) = oneshot::channel();
        let task = listen(Arc::clone(&signals), ready);
        let this = Self { signals, listening: tokio::spawn(task) };
        // Whoever claims after this misses nothing: what was committed before is found by the look, what comes later is heard.
        // The sender is dropped where nothing can be heard; then the poll is what there is.
        drop(timeout(PROBE_WITHIN, listens).await);
        this.signals.look.notify_one();
        this
    }

    /// For one who does the errands of these names, beside whoever waits for work; nobody else does one of them here. What was told of
    /// before is found by looking.
    #[must_use]
    pub fn errands(&self, names: &[&str]) -> Errands {
        let mut errands = self.signals.of_errands();
        let told = names.iter().find_map(|name| errands.get(*name).cloned()).unwrap_or_default();
        errands.extend(names.iter().map(|name| ((*name).to_owned(), Arc::clone(&told))));
        Errands(told)
    }

    /// Waits for the next signal. May be dropped and called again: nothing is lost.
    pub async fn next(&self) -> Signal {
        tokio::select! {
            biased;
            () = self.signals.device.notified() => Signal::Device,
            () = self.signals.look.notified() => Signal::Look,
        }
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(db: &Db, device: &str, signals: &Signals, ready: oneshot::Sender<()>) {
    let mut ready = Some(ready);
    if db.is_pooled() {
        tracing::warn!(
            device.name = %device,
            "LISTEN was tried and is not heard: a pooler in transaction mode stands before Postgres. Polling every second instead. \
             Use the direct connection or a pooler in session mode to be woken at once"
        );
        ready = None;
        tokio::select! {
            () = poll(signals, DEAF, DEAF) => {}
            () = heard_again(db) => tracing::info!(device.name = %device, "LISTEN is heard now"),
        }
    }
    listen_postgres(db, device, signals, ready).await;
}

async fn poll(signals: &Signals, look_every: Duration, device_every: Duration) {
    let (mut look, mut device, mut net) = (interval(look_every), interval(device_every), interval(NET));
    loop {
        tokio::select! {
            _ = look.tick() => signals.look.notify_one(),
            _ = device.tick() => signals.device.notify_one(),
            _ = net.tick() => signals.all_errands(),
        }
    }
}

/// Over a project's URL: the device's private topic. While it is not joined, it asks.
async fn listen_realtime(api: &Api, device: &str, signals: &Signals, ready: oneshot::Sender<()>) {
    let mut subscription = match api.realtime() {
        Ok(realtime) => realtime.join(Topic::private(format!("device:{device}"))),
        Err(error) => {
            tracing::warn!(device.name = %device, error = %error, "realtime can not be used: asking every second or two instead");
            drop(ready);
            return poll(signals, API_LOOK, API_DEVICE).await;
        }
    };
    let mut ready = Some(ready);
    let (mut joined, mut was_deaf) = (false, false);
    let (mut look, mut wanted, mut net) = (patient(API_LOOK), patient(API_DEVICE), patient(NET));
    let mut again: Option<Instant> = None;
    loop {
        tokio::select! {
            () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {
                again = None;
                signals.look.notify_one();
                signals.device.notify_one();
            }
            event = subscription.next() => match event {
                Some(Event::Joined { .. }) => {
                    if std::mem::take(&mut was_deaf) {
                        tracing::info!(device.name = %device, "hearing realtime again");
                    }
                    joined = true;
                    signals.all();
                    if let Some(ready) = ready.take() {
                        // Nobody waits any more if this took long.
                        ready.send(()).ok();
                    }
                }
                Some(Event::Gap) => signals.all(),
                Some(Event::Broadcast(broadcast)) => {
                    match broadcast.event.as_str() {
                        "wake" => {
                            signals.look.notify_one();
                            if asks(&broadcast.body) {
                                signals.device.notify_one();
                            }
                        }
                        "cancel" | "steer" | "answer" => signals.device.notify_one(),
                        _ => continue,
                    }
                    again = Some(Instant::now() + AGAIN);
                }
                Some(Event::Away { why } | Event::Refused(why)) => {
                    if !std::mem::replace(&mut was_deaf, true) {
                        tracing::warn!(
                            device.name = %device, realtime.fault = %why,
                            "not hearing realtime: asking every second or two until it works"
                        );
                    }
                    joined = false;
                    ready = None;
                    signals.all();
                }
                Some(Event::System { status, message }) => {
                    tracing::debug!(device.name = %device, realtime.status = %status, realtime.message = %message, "realtime says");
                }
                None => return poll(signals, API_LOOK, API_DEVICE).await,
            },
            _ = look.tick(), if !joined => signals.look.notify_one(),
            _ = wanted.tick(), if !joined => signals.device.notify_one(),
            _ = net.tick() => {
                signals.look.notify_one();
                signals.all_errands();
            }
        }
    }
}

/// Whether there is work once the device has said, with a heartbeat, what it has.
fn asks(body: &Body) -> bool {
    let Body::Json(body) = body else { return false };
    serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|payload| payload["ask"] == true)
}

/// Ticks that were not waited for are not made up for.
fn patient(every: Duration) -> Interval {
    let mut interval = interval(every);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Waits until LISTEN works, tried now and then.
async fn heard_again(db: &Db) {
    loop {
        sleep(TRY_AGAIN).await;
        if matches!(db.look_again().await, Ok(true)) {
            return;
        }
    }
}

async fn listen_postgres(db: &Db, device: &str, signals: &Signals, mut ready: Option<oneshot::Sender<()>>) {
    let mut was_deaf = false;
    loop {
        let begun = Instant::now();
        let why = match pooler::listener(db.options(), &[TASKS, DEVICE, ERRANDS]).await {
            Ok(mut listener) => {
                if let Some(ready) = ready.take() {
                    // Nobody waits any more if this took long.
                    ready.send(()).ok();
                }
                if was_deaf {
                    tracing::info!(device.name = %device, "listening again");
                }
                // Also after a reconnect: what was committed while nobody listened is found by looking.
                signals.all();
                hear(db, device, signals, &mut listener).await
            }
            Err(error) => crate::Error::from(error).to_string(),
        };
        if !was_deaf {
            tracing::warn!(device.name = %device, listener.fault = %why, "not listening; polling every second until it works again");
            was_deaf = true;
        }
        signals.all();
        // One that worked for a while is replaced at once; one that fails again and again is not hurried.
        if begun.elapsed() < DEAF * 5 {
            sleep(DEAF).await;
        }
    }
}

/// Hears until something is wrong, and says what.
async fn hear(db: &Db, device: &str, signals: &Signals, listener: &mut PgListener) -> String {
    let mut net = interval(NET);
    let mut probe = interval(PROBE);
    // '~' begins no device's name.
    let mine = format!("~{}", uuid::Uuid::new_v4().simple());
    let mut expected: Option<Instant> = None;
    loop {
        let overdue = expected.unwrap_or_else(|| Instant::now() + PROBE * 2);
        tokio::select! {
            heard = listener.try_recv() => match heard {
                Ok(Some(notification)) => match (notification.channel(), notification.payload()) {
                    (TASKS, _) => signals.look.notify_one(),
                    (ERRANDS, name) => signals.errand(name),
                    (DEVICE, name) if name == device => signals.device.notify_one(),
                    (DEVICE, payload) if payload == mine => expected = None,
                    _ => {}
                },
                Ok(None) => return "the connection was lost".into(),
                Err(error) => return crate::Error::from(error).to_string(),
            },
            _ = net.tick() => {
                signals.look.notify_one();
                signals.all_errands();
            }
            _ = probe.tick() => {
                // Sent through the pool: a listener that hears its own session proves nothing.
                match timeout(PROBE_WITHIN, db.probe(&mine)).await {
                    Ok(Ok(())) => expected = expected.or(Some(Instant::now() + PROBE_WITHIN)),
                    Ok(Err(error)) => return error.to_string(),
                    Err(_) => return "Postgres does not answer".into(),
                }
            }
            () = sleep_until(overdue), if expected.is_some() => {
                return "a notification to ourselves was not heard: a pooler in transaction mode, or a connection that is half open".into();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_that_asks_wants_a_heartbeat() {
        let json = |text: &'static str| Body::Json(text.as_bytes().into());
        assert!(asks(&json(r#"{"seq": 1, "ask": true}"#)));
        for other in [json(r#"{"seq": 1}"#), json("[]"), json("{"), Body::Binary("{\"ask\": true}".into())] {
            assert!(!asks(&other), "{other:?}");
        }
    }

    #[tokio::test]
    async fn signals_are_kept_until_taken_and_repeated_ones_merge() {
        let wake = Wake { signals: Arc::default(), listening: tokio::spawn(async {}) };
        let [sweeps, outbox] = ["sweep", "outbox"].map(|name| wake.errands(&[name]));
        for _ in 0..3 {
            wake.signals.all();
        }
        sweeps.next().await;
        outbox.next().await;
        assert!(timeout(Duration::from_millis(20), sweeps.next()).await.is_err());
        wake.signals.errand("sweep");
        wake.signals.errand("of another program");
        wake.errands(&["sweep"]).next().await;
        assert!(timeout(Duration::from_millis(20), outbox.next()).await.is_err());
        let both = wake.errands(&["sweep", "leases"]);
        wake.signals.errand("leases");
        both.next().await;
        wake.signals.errand("sweep");
        both.next().await;
        assert_eq!(wake.next().await, Signal::Device);
        assert_eq!(wake.next().await, Signal::Look);
        assert!(timeout(Duration::from_millis(20), wake.next()).await.is_err());
        // A wait that was given up loses nothing.
        drop(timeout(Duration::from_millis(1), wake.next()).await);
        wake.signals.look.notify_one();
        assert_eq!(wake.next().await, Signal::Look);
    }
}
