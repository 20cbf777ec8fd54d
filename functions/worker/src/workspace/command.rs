//! A project's own command (setup, verify): from the database, so a line for a shell. It runs in a host of its own, and nothing of it
//! outlives it.

use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use sha2::{Digest, Sha256};

use super::{Hosting, repository::hex};
use crate::{
    environment,
    host::{Event, Exit, Host, Input, Reason, Spec, Watch},
    output::Tail,
};

/// What is kept of what it said, in characters.
pub(super) const TAIL: usize = 4000;

/// How a command went.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) exit: Exit,
    pub(super) seconds: f64,
    /// The end of what it said, without secrets.
    pub(super) tail: String,
    /// Of all that it said, output and errors as they came.
    pub(super) log_sha256: String,
}

/// Runs it in a folder. `name` is that of its own folder, below the attempt's.
///
/// # Errors
/// No host could be started.
pub(super) async fn run(
    command: &str,
    directory: &Path,
    name: &str,
    within: Duration,
    hosting: &Hosting,
) -> io::Result<Ran> {
    let folder = hosting.folder.join(name);
    fs::create_dir(&folder)?;
    let spec = Spec {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), command.into()],
        directory: directory.to_path_buf(),
        stdin: Input::Null,
        watch: Watch { total_seconds: Some(within.as_secs_f64()), ..Watch::default() },
        grace_seconds: hosting.grace.as_secs_f64(),
    };
    let environment =
        environment::for_any(std::env::vars_os()).into_iter().chain(hosting.marks.iter().cloned()).collect();
    let begun = Instant::now();
    let (host, mut events) = Host::start(&hosting.host, &spec, environment, &folder)?;
    let mut tail = Tail::new(TAIL, &hosting.redactor);
    let mut log = Sha256::new();
    let mut asked = false;
    let exit = loop {
        let event = tokio::select! {
            biased;
            () = hosting.cancel.cancelled(), if !asked => {
                asked = true;
                host.stop("the attempt is to stop");
                continue;
            }
            event = events.next() => event,
        };
        match event {
            Some(Event::Output(bytes) | Event::Errors(bytes)) => {
                log.update(&bytes);
                tail.push(&bytes);
            }
            Some(Event::Started { .. }) => {}
            Some(Event::Ended(exit)) => break exit,
            None => break Exit::of(Reason::HostGone),
        }
    };
    Ok(Ran { exit, seconds: begun.elapsed().as_secs_f64(), tail: tail.text(), log_sha256: hex(&log.finalize()) })
}

impl Ran {
    /// Whether it was told to stop, and did: then it says nothing of the work.
    pub(super) fn stopped(&self) -> bool {
        matches!(self.exit.reason, Reason::Stopped | Reason::WorkerGone)
    }

    /// Whether it was killed, by somebody who is none of ours or for memory: trying again makes sense. A signal that a program gets for what
    /// it did itself, as for a bad access to memory, is its failure.
    pub(super) fn killed(&self) -> bool {
        let signal = self.exit.signal.and_then(|signal| Signal::try_from(signal).ok());
        match self.exit.reason {
            Reason::HostGone => true,
            Reason::Signal => matches!(signal, Some(Signal::SIGKILL | Signal::SIGTERM)),
            _ => false,
        }
    }

    pub(super) fn passed(&self) -> bool {
        self.exit.reason == Reason::Exit && self.exit.code == Some(0)
    }

    /// How it ended, in a few words.
    pub(super) fn how(&self, within: Duration) -> String {
        match (self.exit.reason, self.exit.code) {
            (Reason::Exit, Some(127)) => "exit code 127: a program that it calls is not there".into(),
            (Reason::Exit, Some(code)) => format!("exit code {code}"),
            (Reason::Timeout, _) => format!("it was ended after {} s", within.as_secs()),
            (Reason::NotStarted, _) => "it could not be started".into(),
            (Reason::HostGone, _) => "its host was killed".into(),
            _ => format!("killed by signal {}", self.exit.signal.unwrap_or_default()),
        }
    }
}

/// A name for a text.
pub(super) fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}
