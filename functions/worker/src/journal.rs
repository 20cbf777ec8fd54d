//! The journal of attempts: files beside the hub, so that what an agent did outlives the worker that ran it.
//!
//! ```text
//! <state>/attempts/<task>.<attempt>/
//!     lock           held, shared, by the worker and by the attempt's host for as long as they live
//!     attempt.json   what it is an attempt at, and for which hub
//!     course.json    how far it is: what a later worker has to know to end it
//!     turn-1/ …      what was said in turns before the one that runs
//!     …              what the host writes: the prompt, what the agent said, how it exited
//!     waiting        there while somebody is waited for
//!     over-budget    there once its budget is used up: it waits for more
//!     report.json    how the attempt ended, as the hub is to be told
//! ```
//!
//! A folder is there from before the agent starts until the hub has taken the end of the attempt, or has said that it is nobody's
//! any more. A worker that starts looks at those that are left: once it has the lock for itself, worker and host of the attempt are
//! both gone, and the end is its own to deliver. Two workers that wait for the same folder get it one after the other, and the
//! second finds it removed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use hub::types::{Meta, Running, Task};
use serde::{Deserialize, Serialize};
use tokio::{sync::oneshot, time::timeout};
use uuid::Uuid;

use crate::{process::end_of_dead, turns::Course};

const LOCK: &str = "lock";
const ABOUT: &str = "attempt.json";
const COURSE: &str = "course.json";
const WAITING: &str = "waiting";
const OVER_BUDGET: &str = "over-budget";
const REPORT: &str = "report.json";
/// Folders in the making begin so, and are nobody's to adopt.
const UNFINISHED: &str = ".new-";
/// After this nobody will ask for what is left: the lease ended long ago, or another hub was meant.
const KEPT: Duration = Duration::from_secs(14 * 24 * 3600);
/// A host whose worker is gone ends within seconds. One that has its folder for longer is frozen.
const HELD_FOR: Duration = Duration::from_secs(30);

/// Where the attempts of one machine are kept.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    attempts: PathBuf,
    /// Which hub this worker works for. It says so with its first answer, before there is anything to keep.
    hub: Arc<OnceLock<Uuid>>,
}

/// What an attempt is an attempt at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) task: Uuid,
    pub(crate) attempt: i32,
    pub(crate) agent: Option<String>,
    /// Which hub has the task: a machine may work for several, and has one of them by several addresses.
    hub: Option<Uuid>,
}

/// How an attempt ended, as the hub is to be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "end")]
pub(crate) enum Report {
    Complete {
        result: String,
        meta: Meta,
    },
    Fail {
        error: String,
        retryable: bool,
        meta: Meta,
    },
    /// It goes on when somebody has answered. Where nobody is asked any more, it failed like this, and is tried again.
    Park {
        error: String,
        meta: Meta,
    },
}

/// The folder of one attempt, while this worker has it.
#[derive(Debug)]
pub(crate) struct Entry {
    folder: PathBuf,
    pub(crate) about: About,
    /// Whether what it is an attempt at could be read. Else only its folder's name says it, and not for which hub.
    pub(crate) certain: bool,
    _lock: File,
}

impl Journal {
    /// The journal below `state`. Makes the folders where they are missing, for this user alone.
    pub(crate) fn open(state: &Path) -> io::Result<Self> {
        let attempts = state.join("attempts");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&attempts)?;
        Ok(Self { attempts, hub: Arc::default() })
    }

    /// Says whose tasks are attempted from now on: that of the first call.
    pub(crate) fn belongs_to(&self, hub: Uuid) {
        self.hub.get_or_init(|| hub);
    }

    /// Makes the folder of an attempt that was just claimed. It appears whole: with its lock held and with what it is.
    pub(crate) fn begin(&self, task: &Task) -> io::Result<Entry> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let about =
            About { task: task.id, attempt: task.attempt, agent: task.agent.clone(), hub: self.hub.get().copied() };
        let making =
            self.attempts.join(format!("{UNFINISHED}{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed)));
        let entry = (|| {
            fs::DirBuilder::new().mode(0o700).create(&making)?;
            let lock = OpenOptions::new().create_new(true).write(true).mode(0o600).open(making.join(LOCK))?;
            lock.lock_shared()?;
            private(&making.join(ABOUT))?.write_all(&serde_json::to_vec(&about)?)?;
            let folder = self.attempts.join(format!("{}.{}", about.task, about.attempt));
            fs::rename(&making, &folder)?;
            Ok(Entry { folder, about, certain: true, _lock: lock })
        })();
        if entry.is_err() {
            fs::remove_dir_all(&making).ok();
        }
        entry
    }

    /// The folders that are there: of workers that are gone, and of living ones.
    pub(crate) fn left(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.attempts) else { return Vec::new() };
        let mut left = Vec::new();
        for entry in entries.flatten() {
            let unfinished = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
            let age = entry.metadata().and_then(|meta| meta.modified()).ok();
            let age = age.and_then(|made| SystemTime::now().duration_since(made).ok()).unwrap_or_default();
            // One in the making is there for milliseconds.
            // One that a worker was removing when it was killed: what it is goes first.
            let half = !unfinished && !entry.path().join(ABOUT).exists();
            let old = age > if unfinished { Duration::from_secs(60) } else { KEPT };
            if (half || old) && is_nobodys(&entry.path()) {
                fs::remove_dir_all(entry.path()).ok();
            } else if !unfinished {
                left.push(entry.path());
            }
        }
        left
    }

    /// Waits until nobody living has the folder, and takes it. None if its end was delivered meanwhile, or if it is of another hub.
    pub(crate) async fn adopt(&self, folder: PathBuf) -> Option<Entry> {
        let written = fs::read(folder.join(ABOUT)).ok()?;
        let (about, certain) = match serde_json::from_slice::<About>(&written) {
            Ok(about) => (about, true),
            Err(error) => {
                tracing::warn!(
                    folder = %folder.display(), error = %error,
                    "what the folder of an attempt says of it can not be read; going by the folder's name"
                );
                (self.named(&folder)?, false)
            }
        };
        if about.hub.is_none() || about.hub != self.hub.get().copied() {
            // One that a living worker has is its own business.
            if is_nobodys(&folder) {
                let why =
                    if about.hub.is_some() { "it is of another hub" } else { "it does not say of which hub it is" };
                tracing::warn!(
                    folder = %folder.display(), reason = why,
                    "an attempt in the journal is left alone: a worker for its hub is to deliver it; after 14 days it is removed"
                );
            }
            return None;
        }
        let lock = File::open(folder.join(LOCK)).ok()?;
        let (found, taken) = oneshot::channel();
        // A thread of its own: it may wait for as long as another worker runs the attempt, and a runtime that ends waits for its own.
        std::thread::Builder::new()
            .name("adopt".into())
            .spawn(move || {
                let locked = lock.lock().map(|()| lock);
                found.send(locked).ok();
            })
            .ok()?;
        tokio::pin!(taken);
        let lock = loop {
            match timeout(HELD_FOR, &mut taken).await {
                Ok(taken) => break taken.ok()?.ok()?,
                Err(_) => end_of_dead(&format!("{}.{}", about.task, about.attempt)).await,
            }
        };
        // The same file is still there: who had it did not deliver and remove it.
        let here = fs::metadata(folder.join(LOCK)).ok()?;
        let held = lock.metadata().ok()?;
        (here.dev() == held.dev() && here.ino() == held.ino()).then_some(Entry { folder, about, certain, _lock: lock })
    }

    /// What a folder's name says of an attempt.
    fn named(&self, folder: &Path) -> Option<About> {
        let (task, attempt) = folder.file_name()?.to_str()?.split_once('.')?;
        Some(About {
            task: task.parse().ok()?,
            attempt: attempt.parse().ok()?,
            agent: None,
            hub: self.hub.get().copied(),
        })
    }
}

impl Entry {
    pub(crate) fn key(&self) -> Running {
        Running { task: self.about.task, attempt: self.about.attempt }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps how the attempt ended. Whole or not at all, also if the machine loses its power meanwhile.
    pub(crate) fn keep(&self, report: &Report) -> io::Result<()> {
        write_whole(&self.folder.join(REPORT), &serde_json::to_vec(report)?)
    }

    /// How it ended, if that was kept.
    pub(crate) fn report(&self) -> Option<Report> {
        serde_json::from_slice(&fs::read(self.folder.join(REPORT)).ok()?).ok()
    }

    /// Whether somebody was waited for when its worker was last there, or was to be.
    pub(crate) fn waited(&self) -> bool {
        self.folder.join(WAITING).exists() || self.folder.join(OVER_BUDGET).exists()
    }

    /// How far it was, if it came so far that this was kept.
    pub(crate) fn course(&self) -> Option<Course> {
        serde_json::from_slice(&fs::read(self.folder.join(COURSE)).ok()?).ok()
    }

    /// The hub has taken the end, or will never: nothing is left to keep.
    pub(crate) fn remove(self) {
        // What it is goes first: a folder that is removed by half is nobody's attempt.
        fs::remove_file(self.folder.join(ABOUT)).ok();
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(task.id = %self.about.task, error = %error.kind(), "the folder of an attempt could not be removed");
        }
    }
}

/// Keeps whether somebody is waited for: who finds the attempt without its worker lets it wait on.
pub(crate) fn set_waiting(folder: &Path, waits: bool) {
    let path = folder.join(WAITING);
    let kept = if waits { private(&path).map(drop) } else { fs::remove_file(&path) };
    if let Err(error) = kept
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(error = %error.kind(), "that an attempt waits for somebody is not kept");
    }
}

/// Keeps that an attempt makes room until somebody has said that it may use more.
pub(crate) fn set_over_budget(folder: &Path) {
    if let Err(error) = private(&folder.join(OVER_BUDGET)) {
        tracing::warn!(error = %error.kind(), "that an attempt's budget is used up is not kept");
    }
}

/// Keeps how far an attempt is, in its folder.
pub(crate) fn set_course(folder: &Path, course: &Course) -> io::Result<()> {
    write_whole(&folder.join(COURSE), &serde_json::to_vec(course)?)
}

/// Whether nobody living has the folder.
fn is_nobodys(folder: &Path) -> bool {
    File::open(folder.join(LOCK)).map_or(true, |lock| lock.try_lock().is_ok())
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)
}

/// Writes a file so that it is there whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let making = path.with_extension("new");
    let mut file = private(&making)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&making, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUB: Uuid = Uuid::from_u128(1);

    fn journal(state: &Path) -> Journal {
        let journal = Journal::open(state).unwrap();
        journal.belongs_to(HUB);
        journal
    }

    fn task() -> Task {
        serde_json::from_value(serde_json::json!({
            "id": Uuid::new_v4(), "content": "x", "status": "running", "attempt": 1, "agent": "claude"
        }))
        .unwrap()
    }

    fn report() -> Report {
        Report::Complete { result: "done".into(), meta: Meta::default() }
    }

    #[tokio::test]
    async fn a_report_outlives_the_worker_that_wrote_it() {
        let state = tempfile::tempdir().unwrap();
        let journal = journal(state.path());
        let entry = journal.begin(&task()).unwrap();
        entry.keep(&report()).unwrap();
        let key = entry.key();
        drop(entry);

        let left = journal.left();
        assert_eq!(left.len(), 1);
        let adopted = journal.adopt(left[0].clone()).await.unwrap();
        assert_eq!((adopted.key(), adopted.report()), (key, Some(report())));
        adopted.remove();
        assert!(journal.left().is_empty());
    }

    #[tokio::test]
    async fn an_attempt_is_adopted_once_and_only_when_its_worker_is_gone() {
        let state = tempfile::tempdir().unwrap();
        let journal = journal(state.path());
        let entry = journal.begin(&task()).unwrap();
        let folder = journal.left().remove(0);
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let (journal, folder) = (journal.clone(), folder.clone());
                tokio::spawn(async move { journal.adopt(folder).await.map(Entry::remove).is_some() })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(waiting.iter().all(|waits| !waits.is_finished()), "its worker lives");
        drop(entry);
        let mut adopted = 0;
        for waits in waiting {
            adopted += usize::from(waits.await.unwrap());
        }
        assert_eq!(adopted, 1);
    }

    #[test]
    fn what_a_killed_worker_had_half_removed_goes_with_the_next() {
        let state = tempfile::tempdir().unwrap();
        let journal = journal(state.path());
        let entry = journal.begin(&task()).unwrap();
        let folder = entry.folder().to_path_buf();
        fs::remove_file(folder.join(ABOUT)).unwrap();
        assert_eq!(journal.left(), std::slice::from_ref(&folder), "whoever is removing it still has it");
        drop(entry);
        assert!(journal.left().is_empty() && !folder.exists());
    }

    #[tokio::test]
    async fn what_can_not_be_read_goes_by_the_name_of_its_folder() {
        let state = tempfile::tempdir().unwrap();
        let journal = journal(state.path());
        for written in ["", "{garbage"] {
            let entry = journal.begin(&task()).unwrap();
            let key = entry.key();
            fs::write(entry.folder().join(ABOUT), written).unwrap();
            drop(entry);
            let adopted = journal.adopt(journal.left().remove(0)).await.unwrap();
            assert_eq!((adopted.key(), adopted.certain), (key, false));
            adopted.remove();
        }
        let odd = state.path().join("attempts/odd");
        fs::create_dir(&odd).unwrap();
        fs::write(odd.join(ABOUT), "{garbage").unwrap();
        assert!(journal.adopt(odd).await.is_none());
    }

    #[tokio::test]
    async fn attempts_of_another_hub_or_of_none_are_left_alone() {
        let state = tempfile::tempdir().unwrap();
        let of_none = Journal::open(state.path()).unwrap();
        drop(journal(state.path()).begin(&task()).unwrap());
        drop(of_none.begin(&task()).unwrap());
        let other = Journal::open(state.path()).unwrap();
        other.belongs_to(Uuid::new_v4());
        for journal in [other, of_none] {
            for folder in journal.left() {
                assert!(journal.adopt(folder).await.is_none());
            }
            assert_eq!(journal.left().len(), 2);
        }
    }

    #[test]
    fn one_whose_budget_is_used_up_waits_whoever_else_is_waited_for() {
        let state = tempfile::tempdir().unwrap();
        let entry = journal(state.path()).begin(&task()).unwrap();
        set_waiting(entry.folder(), true);
        set_waiting(entry.folder(), false);
        assert!(!entry.waited());
        set_over_budget(entry.folder());
        set_waiting(entry.folder(), true);
        set_waiting(entry.folder(), false);
        assert!(entry.waited());
    }

    #[test]
    fn a_half_written_report_is_none() {
        let state = tempfile::tempdir().unwrap();
        let journal = journal(state.path());
        let entry = journal.begin(&task()).unwrap();
        fs::write(entry.folder().join("report.new"), b"{\"end\":").unwrap();
        assert_eq!(entry.report(), None);
        entry.keep(&report()).unwrap();
        assert_eq!(entry.report(), Some(report()));
    }

    #[test]
    fn folders_are_this_users_alone() {
        let state = tempfile::tempdir().unwrap();
        let journal = journal(&state.path().join("deep/er"));
        let entry = journal.begin(&task()).unwrap();
        entry.keep(&report()).unwrap();
        for (path, mode) in [(entry.folder().to_path_buf(), 0o700), (entry.folder().join(REPORT), 0o600)] {
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, mode, "{}", path.display());
        }
    }
}
