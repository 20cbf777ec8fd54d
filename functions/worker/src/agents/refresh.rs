//! One login, one refresh at a time. A provider gives a new token to refresh with for each that is used, and takes a second use of the
//! old one for theft: the login is then good for nothing (openai/codex#10332, anthropics/claude-code#24317). So whoever starts a program
//! whose login is about to expire has that login alone until the program has refreshed it, or has shown that it need not: on one machine
//! by a lock beside the file, whichever hub its workers serve; among machines by a lease of the hub.

use std::{
    ffi::OsString,
    fmt,
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use chrono::{TimeDelta, Utc};
use futures_util::{FutureExt, future::BoxFuture};
use hub::{Hub, Result};
use hub_agents::Known;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::login;
use crate::executor::{ASK_AGAIN, bounded};

/// A login that expires within this is one that a program may refresh when it starts.
const SOON: TimeDelta = TimeDelta::minutes(10);
/// How often the file and its lock are looked at. Nothing tells of a lock that is free, nor of a file that another machine writes.
const LOOK: Duration = Duration::from_millis(250);
/// The hub is asked again whether it is our turn.
const TURN: Duration = Duration::from_secs(5);
/// What a lease is taken for, in seconds: a worker that dies keeps nobody waiting longer.
const LEASE: i32 = 60;
/// A lease that is still needed is taken anew.
const RENEW: Duration = Duration::from_secs(20);
/// A program that has refreshed nothing and said nothing by then has no turn any more, and who waited so long starts all the same.
const LONGEST: Duration = Duration::from_secs(300);
/// Beside the file with the login; it has nothing in it, and stays.
const LOCK: &str = ".aura-hub-refresh.lock";

/// Who says whose turn it is among machines: the hub.
pub(crate) trait Leases: Send + Sync + fmt::Debug {
    /// Whether `holder` has the login of this agent alone for a minute from now on.
    fn take(&self, agent: &str, holder: &str) -> BoxFuture<'static, Result<bool>>;
    /// The next may have it.
    fn give_back(&self, agent: &str, holder: &str) -> BoxFuture<'static, ()>;
}

/// A login that its program keeps in a file and refreshes by itself.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    known: &'static Known,
    file: PathBuf,
}

/// Nobody else starts a program with this login until this is dropped, the program has refreshed it, or time is up.
#[derive(Debug)]
pub(crate) struct Turn {
    _over: DropGuard,
}

/// What a turn consists of.
#[derive(Debug)]
struct Held {
    agent: String,
    holder: String,
    /// None: nobody is asked, as where an agent is tried out.
    leases: Option<Arc<dyn Leases>>,
    /// It was asked for, and perhaps granted.
    leased: bool,
    /// None: this file can have no lock beside it.
    _lock: Option<File>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let (true, Some(leases), Ok(runtime)) = (self.leased, &self.leases, Handle::try_current()) {
            drop(runtime.spawn(leases.give_back(&self.agent, &self.holder)));
        }
    }
}

impl Login {
    /// The login that a program uses in this environment. None: there is none in a file, or a key of the environment takes its place.
    pub(crate) fn of(program: &str, environment: &[(OsString, OsString)]) -> Option<Self> {
        let known = Known::of(program)?;
        let value = |name: &str| environment.iter().find(|(set, _)| set == name).map(|(_, value)| value.clone());
        if known.keys.iter().any(|name| value(name).is_some_and(|key| !key.is_empty())) {
            return None;
        }
        let folder = login::settings(known, value)?;
        Some(Self { known, file: folder.join(known.credentials.first()?) })
    }

    /// Whether a program that starts now may refresh it.
    async fn is_due(&self) -> bool {
        let file = tokio::fs::read(&self.file).await.unwrap_or_default();
        self.known.login_expires(&file).is_some_and(|at| at < Utc::now() + SOON)
    }

    /// Waits until nobody else is at it. None: it need not be refreshed, or another has done so meanwhile. `waits` is called, once, if
    /// somebody is waited for.
    pub(crate) async fn turn(
        &self,
        agent: &str,
        leases: Option<Arc<dyn Leases>>,
        waits: impl FnOnce(),
    ) -> Option<Turn> {
        let mut waits = Some(waits);
        let until = Instant::now() + LONGEST;
        let mut held: Option<Held> = None;
        let mut ask_at = Instant::now();
        while self.is_due().await {
            if held.is_none() {
                held = self.hold(agent, leases.clone());
                // Whoever had it may have refreshed it just before.
                if held.is_some() {
                    continue;
                }
            }
            if ask_at <= Instant::now()
                && let Some(mut ours) = held.take()
            {
                match ours.granted().await {
                    Ok(()) => return Some(ours.begin(self)),
                    Err(pause) => ask_at = Instant::now() + pause,
                }
                held = Some(ours);
            }
            if until <= Instant::now() {
                tracing::warn!(agent.name = %agent, "a login that is to be refreshed is another's for long: starting all the same");
                return None;
            }
            if let Some(waits) = waits.take() {
                waits();
            }
            sleep(LOOK).await;
        }
        None
    }

    /// The lock beside the file. None: another has it.
    fn hold(&self, agent: &str, leases: Option<Arc<dyn Leases>>) -> Option<Held> {
        let path = self.file.with_file_name(LOCK);
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
        let lock = match file.map(|file| file.try_lock().map(|()| file)) {
            Ok(Err(TryLockError::WouldBlock)) => return None,
            Ok(Ok(file)) => Some(file),
            Ok(Err(TryLockError::Error(error))) | Err(error) => {
                tracing::debug!(agent.name = %agent, error = %error.kind(), "no lock beside the file of a login");
                None
            }
        };
        let (agent, holder) = (agent.to_owned(), Uuid::new_v4().to_string());
        Some(Held { agent, holder, leases, leased: false, _lock: lock })
    }
}

impl Held {
    /// Whether it is ours among machines, too; else when to ask again.
    async fn granted(&mut self) -> std::result::Result<(), Duration> {
        let Some(leases) = &self.leases else { return Ok(()) };
        self.leased = true;
        match leases.take(&self.agent, &self.holder).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.leased = false;
                Err(TURN)
            }
            Err(error) if error.is_transient() => Err(ASK_AGAIN),
            Err(error) => {
                self.leased = false;
                tracing::warn!(agent.name = %self.agent, error = %error, "whose turn it is to refresh a login is not known");
                Ok(())
            }
        }
    }

    fn begin(self, login: &Login) -> Turn {
        let over = CancellationToken::new();
        drop(tokio::spawn(self.keep(login.clone(), over.clone())));
        Turn { _over: over.drop_guard() }
    }

    /// Until it is refreshed, or not needed any more.
    async fn keep(self, login: Login, over: CancellationToken) {
        let until = Instant::now() + LONGEST;
        let mut renew = Instant::now() + RENEW;
        while login.is_due().await && Instant::now() < until {
            tokio::select! {
                biased;
                () = over.cancelled() => return,
                () = sleep(LOOK) => {}
            }
            if let Some(leases) = self.leases.as_ref().filter(|_| self.leased && renew <= Instant::now()) {
                // Refused, it is another's, who has waited long enough.
                if let Err(error) = leases.take(&self.agent, &self.holder).await {
                    tracing::debug!(agent.name = %self.agent, error = %error, "the lease of a login is not taken anew");
                }
                renew = Instant::now() + RENEW;
            }
        }
    }
}

/// The hub, for a device.
#[derive(Debug)]
pub(crate) struct ByHub {
    pub(crate) hub: Hub,
    pub(crate) device: String,
}

impl Leases for ByHub {
    fn take(&self, agent: &str, holder: &str) -> BoxFuture<'static, Result<bool>> {
        let (hub, device, agent, holder) = (self.hub.clone(), self.device.clone(), agent.to_owned(), holder.to_owned());
        async move { Ok(bounded(hub.lease_login(&device, &agent, &holder, LEASE)).await?.granted) }.boxed()
    }

    fn give_back(&self, agent: &str, holder: &str) -> BoxFuture<'static, ()> {
        let (hub, device, agent, holder) = (self.hub.clone(), self.device.clone(), agent.to_owned(), holder.to_owned());
        async move {
            if let Err(error) = bounded(hub.return_login(&device, &agent, &holder)).await {
                tracing::debug!(agent.name = %agent, error = %error, "a login is not given back; its lease runs out");
            }
        }
        .boxed()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::{
        path::Path,
        sync::{
            Mutex,
            atomic::{AtomicU32, Ordering},
        },
    };

    /// What the hub has of one login.
    #[derive(Debug, Default)]
    pub(crate) struct Registry {
        holder: Arc<Mutex<Option<String>>>,
        asked: AtomicU32,
    }

    impl Leases for Registry {
        fn take(&self, _: &str, holder: &str) -> BoxFuture<'static, Result<bool>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let mut current = self.holder.lock().unwrap();
            let granted = current.get_or_insert_with(|| holder.to_owned()) == holder;
            async move { Ok(granted) }.boxed()
        }

        fn give_back(&self, _: &str, holder: &str) -> BoxFuture<'static, ()> {
            let (current, holder) = (Arc::clone(&self.holder), holder.to_owned());
            async move {
                current.lock().unwrap().take_if(|current| *current == holder);
            }
            .boxed()
        }
    }

    /// A login of Claude that expires in so many minutes.
    pub(crate) fn write(file: &Path, minutes: i64) {
        let expires = (Utc::now() + TimeDelta::minutes(minutes)).timestamp_millis();
        let login = serde_json::json!({"claudeAiOauth": {"refreshToken": "r", "expiresAt": expires}});
        std::fs::write(file, login.to_string()).unwrap();
    }

    fn of(folder: &Path) -> Login {
        Login::of("/bin/claude", &[("CLAUDE_CONFIG_DIR".into(), folder.into())]).unwrap()
    }

    /// Has its turn, if there is one to be had, and refreshes. How often it did.
    async fn refreshes(login: Login, leases: Option<Arc<dyn Leases>>) -> u32 {
        let Some(turn) = login.turn("claude", leases, || {}).await else { return 0 };
        sleep(Duration::from_millis(600)).await;
        write(&login.file, 480);
        drop(turn);
        1
    }

    async fn until(state: impl Fn() -> bool) {
        for _ in 0..500 {
            if state() {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("it never came to be");
    }

    #[tokio::test]
    async fn on_one_machine_it_is_refreshed_once_and_whoever_waited_starts_without() {
        let place = tempfile::tempdir().unwrap();
        write(&place.path().join(".credentials.json"), 1);
        let each = (0..4).map(|_| refreshes(of(place.path()), None));
        let counts = tokio::time::timeout(Duration::from_secs(30), futures_util::future::join_all(each)).await.unwrap();
        assert_eq!(counts.iter().sum::<u32>(), 1);
    }

    #[tokio::test]
    async fn among_machines_the_hub_says_whose_turn_it_is() {
        let place = tempfile::tempdir().unwrap();
        let shared = place.path().join("login.json");
        write(&shared, 1);
        let registry = Arc::new(Registry::default());
        let each = (0..3).map(|machine| {
            let home = place.path().join(machine.to_string());
            std::fs::create_dir(&home).unwrap();
            std::os::unix::fs::symlink(&shared, home.join(".credentials.json")).unwrap();
            refreshes(of(&home), Some(Arc::clone(&registry) as _))
        });
        let counts = tokio::time::timeout(Duration::from_secs(30), futures_util::future::join_all(each)).await.unwrap();
        assert_eq!(counts.iter().sum::<u32>(), 1);
        until(|| registry.holder.lock().unwrap().is_none()).await;
    }

    #[tokio::test]
    async fn one_that_need_not_be_refreshed_asks_nobody_and_one_that_works_lets_the_next_begin() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join(".credentials.json");
        let registry = Arc::new(Registry::default());
        let leases = || Some(Arc::clone(&registry) as Arc<dyn Leases>);
        let login = of(place.path());
        assert!(login.turn("claude", leases(), || {}).await.is_none(), "there is no login");
        write(&file, 60);
        assert!(login.turn("claude", leases(), || {}).await.is_none(), "it is good for an hour");
        assert_eq!(registry.asked.load(Ordering::Relaxed), 0);

        write(&file, 9);
        let turn = login.turn("claude", leases(), || panic!("nobody is waited for")).await.unwrap();
        assert!(registry.holder.lock().unwrap().is_some());
        let waits = Arc::new(AtomicU32::new(0));
        let (told, next) = (Arc::clone(&waits), of(place.path()));
        let next = tokio::spawn(async move {
            let count = || {
                told.fetch_add(1, Ordering::Relaxed);
            };
            next.turn("claude", None, count).await.is_some()
        });
        until(|| waits.load(Ordering::Relaxed) == 1).await;
        // Its model has answered.
        drop(turn);
        assert!(next.await.unwrap());
        until(|| registry.holder.lock().unwrap().is_none()).await;
        assert_eq!(waits.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_login_whose_folder_takes_no_lock_and_a_key_in_its_place_keep_nobody() {
        let place = tempfile::tempdir().unwrap();
        write(&place.path().join(".credentials.json"), 1);
        // A folder in the place of the lock: it can not be opened.
        std::fs::create_dir(place.path().join(LOCK)).unwrap();
        assert!(of(place.path()).turn("claude", None, || {}).await.is_some());

        let folder = || ("CLAUDE_CONFIG_DIR".into(), place.path().into());
        assert!(Login::of("claude", &[folder(), ("ANTHROPIC_API_KEY".into(), "k".into())]).is_none());
        assert!(Login::of("claude", &[folder(), ("ANTHROPIC_API_KEY".into(), "".into())]).is_some());
        assert!(Login::of("mine", &[folder()]).is_none());
        assert!(Login::of("claude", &[]).is_none(), "nobody knows where it is");
    }
}
