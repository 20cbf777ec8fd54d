//! Where an attempt works. In a git repository each line of work has a worktree and a branch of its own, `hub/<name>`, so that two tasks
//! never see each other's files; elsewhere it works in the project's folder, one task at a time.
//!
//! ```text
//! <state>/workspaces/<repository>/<name>/
//!     workspace.json   what it is: written before the worktree is made, and again once it is whole
//!     setup.json       which setup has run in it
//!     lock             held, by who works in it and by each git that changes it, for as long as they live
//!     <folder>-<name>/ the worktree
//! <state>/workspaces/in-place/<folder>.lock
//! <state>/bundles/<folder>-<name>.bundle   the work of a workspace that was removed before it was merged or pushed
//! ```
//!
//! Nothing is deleted that is not committed, and merged, pushed or bundled; no branch but `hub/*`; no object, ever. Who is killed at any
//! moment leaves what the next one goes on from.

mod clean;
mod command;
mod git;
mod keep;
mod out;
mod place;
mod proof;
mod reached;
mod repository;
mod setup;
mod tidy;

#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hub::types::Begun;
use tokio::{sync::oneshot, time::sleep};
use tokio_util::sync::CancellationToken;

pub use clean::{Cleaned, Listed, State, list, remove};
pub use hub::types::{Receipt, Verified, WorkspaceKind as Kind};
pub use keep::Kept;
pub use out::PullRequest;
pub use place::Place;
pub use proof::Verification;
pub(crate) use repository::Worktrees;
pub(crate) use tidy::keep_tidy;

use crate::redact::Redactor;
use git::Git;

/// So much must be free on the disk for a worktree to be made: the hub's own condition for giving work to a device
/// (`device_free_disk`), looked at again where the bytes are needed.
pub const FREE_BYTES: u64 = 1_000_000_000;

/// So often, and this far apart, a lock is looked at that somebody has.
const STARTING: u32 = 5;
const STARTS: Duration = Duration::from_millis(50);

/// Why an attempt has no place to work. A text for people, which names no path of this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The disk is too full.
    #[error("{0}")]
    NoRoom(String),
    /// It could not be made, or its setup failed.
    #[error("{why}")]
    NoWorkspace {
        /// Why, with the end of what the program said.
        why: String,
        /// Whether trying again makes sense.
        retryable: bool,
    },
    /// The attempt was told to stop meanwhile.
    #[error("the attempt was stopped")]
    Stopped,
}

impl Trouble {
    fn passing(why: impl Into<String>) -> Self {
        Self::NoWorkspace { why: why.into(), retryable: true }
    }

    fn lasting(why: impl Into<String>) -> Self {
        Self::NoWorkspace { why: why.into(), retryable: false }
    }
}

/// What programs of an attempt besides its agent run in: setup and verify.
#[derive(Debug, Clone)]
pub struct Hosting {
    /// What hosts them: `hub`.
    pub host: PathBuf,
    /// The attempt's own folder; each program gets one below it.
    pub folder: PathBuf,
    /// What marks their processes, besides the environment that any program needs.
    pub marks: Vec<(OsString, OsString)>,
    /// Between TERM and KILL.
    pub grace: Duration,
    /// Cancelled when the attempt is to stop.
    pub cancel: CancellationToken,
    /// What people are not to read.
    pub(crate) redactor: Arc<Redactor>,
}

/// The workspaces of one worker.
#[derive(Debug, Clone)]
pub struct Workspaces {
    state: PathBuf,
    root: PathBuf,
    git: Git,
    free_bytes: u64,
}

impl Workspaces {
    /// Those below `state`, of projects below `root`. Makes the folder where it is missing.
    ///
    /// # Errors
    /// A folder can not be made.
    pub fn new(state: &Path, root: &Path) -> io::Result<Self> {
        // Who may read a repository is said by its folder; that there are some is nobody's business.
        fs::DirBuilder::new().recursive(true).mode(0o711).create(state.join("workspaces"))?;
        Ok(Self { state: state.canonicalize()?, root: root.canonicalize()?, git: Git::new(), free_bytes: FREE_BYTES })
    }

    /// The place for an attempt in a project's folder (canonical, below the root): found, or made. Waits while another attempt works
    /// there. May be dropped at any moment.
    ///
    /// # Errors
    /// There is none; the text says why.
    pub async fn open(&self, plan: &Begun, directory: &Path) -> Result<Place, Trouble> {
        place::open(self, plan, directory).await
    }

    /// The place that an attempt of a worker which is gone had, by its [`Place::folder`]. None if it is not there any more.
    ///
    /// # Errors
    /// It can not be opened.
    pub async fn again(&self, folder: &Path) -> Result<Option<Place>, Trouble> {
        place::again(self, folder).await
    }

    /// Removes the workspace of a line of work that is over, if it is here: what is left uncommitted is committed, and what is neither
    /// merged nor pushed is bundled first.
    pub async fn clean(&self, name: &str) -> Cleaned {
        clean::by_name(self, name).await
    }
}

/// A lock that ends with whoever holds its file: this process, and the git that was given it as standard input.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// Waits for it. May be dropped meanwhile.
    async fn of(path: PathBuf) -> io::Result<Self> {
        loop {
            let file = Self::file(&path)?;
            let file = if file.try_lock().is_ok() { file } else { Self::wait(file).await? };
            // Who had it may have removed it: then it keeps nobody out any more.
            if Self::is_at(&file, &path) {
                return Ok(Self(file));
            }
        }
    }

    async fn wait(file: File) -> io::Result<File> {
        let (found, taken) = oneshot::channel();
        // A thread of its own: it may wait for as long as an attempt runs, and a runtime that ends waits for its own.
        std::thread::Builder::new().name("workspace".into()).spawn(move || {
            let locked = file.lock().map(|()| file);
            found.send(locked).ok();
        })?;
        taken.await.map_err(io::Error::other)?
    }

    fn is_at(file: &File, path: &Path) -> bool {
        let number = |meta: io::Result<fs::Metadata>| meta.ok().map(|meta| (meta.dev(), meta.ino()));
        let here = number(fs::metadata(path));
        here.is_some() && here == number(file.metadata())
    }

    /// None if somebody else has it.
    async fn now(path: &Path) -> io::Result<Option<Self>> {
        let file = Self::file(path)?;
        for _ in 0..STARTING {
            match file.try_lock() {
                Ok(()) => return Ok(Self::is_at(&file, path).then_some(Self(file))),
                Err(fs::TryLockError::Error(error)) => return Err(error),
                // Whatever this process starts has all its files for a moment, until it has become its own program.
                Err(fs::TryLockError::WouldBlock) => sleep(STARTS).await,
            }
        }
        Ok(None)
    }

    fn file(path: &Path) -> io::Result<File> {
        OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)
    }

    fn share(&self) -> io::Result<File> {
        self.0.try_clone()
    }
}
