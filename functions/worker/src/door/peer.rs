//! Who is at the door.

use std::path::PathBuf;

use tokio::net::UnixStream;

use crate::process::is_of_attempt;

/// Whose door it is.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The attempt's folder: its guard names it, or one in it.
    pub(super) folder: PathBuf,
    /// What its processes have in their environment.
    pub(super) mark: String,
}

impl Wanted {
    /// Whether who connected belongs to the attempt; else why not, for them.
    pub(super) fn admits(&self, stream: &UnixStream) -> Result<(), &'static str> {
        let Ok(peer) = stream.peer_cred() else { return Err("The system does not say who is calling.") };
        if peer.uid() != nix::unistd::geteuid().as_raw() {
            return Err("This is another user's: only the user that the worker runs as may call.");
        }
        match peer.pid() {
            Some(pid) if is_of_attempt(pid, &self.folder, &self.mark) => Ok(()),
            _ => Err("Only the agent of this attempt, and what it started, may call."),
        }
    }
}
