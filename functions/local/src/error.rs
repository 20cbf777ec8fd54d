//! Why the local stack did not start or had to end. Each is one sentence that says what to do.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong around the local stack.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something else listens on a port this stack needs.
    #[error(
        "port {port} on 127.0.0.1 is in use, and {what} needs it: stop the other program, or choose another port with {option}"
    )]
    PortInUse {
        /// The port.
        port: u16,
        /// Who needs it.
        what: &'static str,
        /// The option that changes it.
        option: &'static str,
    },
    /// Another `hub dev` holds the data directory.
    #[error("another `hub dev` is running on {0}: stop that one, or give this one its own directory with --data-dir")]
    AlreadyRunning(PathBuf),
    /// No Postgres on this machine and none could be fetched.
    #[error("{0}")]
    NoPostgres(String),
    /// The data directory can not be used as it is.
    #[error("the data directory {path} can not be used ({why}): `hub dev --reset` starts anew and loses what is in it")]
    BrokenData {
        /// The data directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The directory holds something that `hub dev` did not make.
    #[error(
        "{0} is not empty and was not made by `hub dev`, so nothing in it is touched: choose another directory with --data-dir"
    )]
    NotOurs(PathBuf),
    /// Postgres would not start, or stopped.
    #[error("Postgres does not run: {0}")]
    Postgres(String),
    /// The machine forbids something that is needed.
    #[error("{0}")]
    Machine(String),
    /// A file or a process.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database refused.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The REST layer did not start.
    #[error("the REST layer did not start: {0}")]
    Rest(String),
    /// The schema: another version, a failed migration.
    #[error("{0}")]
    Schema(String),
    /// The worker ended by itself.
    #[error("the worker ended: {0}")]
    Worker(String),
    /// Stopped before it was ready.
    #[error("stopped before it was ready")]
    Stopped,
}

/// Adds what was attempted to what the system said.
pub(crate) trait Attempt<T> {
    /// The error says `what` first.
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Attempt<T> for std::io::Result<T> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io { what: what(), source })
    }
}
