//! The host of an attempt: a small process of our own between a worker and an agent, so that nothing of the agent outlives its
//! attempt, its worker or its host, however it forks.
//!
//! ```text
//! worker ── guard ── host ── agent ── whatever it starts
//!    └───── pipes ────┘
//! ```
//!
//! Guard and host are this same program, started as `hub agent-host FOLDER`. On Linux both are subreapers. If the worker is gone, the
//! host sees its pipe end; if the guard is gone, too; if the host is gone, all that is left becomes the guard's. Only who kills both in
//! the same instant leaves anything behind, and that the worker, or the next one, finds by its marks ([`crate::process`]).
//!
//! What the agent says and how it ended are also written to the attempt's folder. A host holds a shared lock on the file `lock` of the
//! folder for as long as it lives.

mod attempt;
#[cfg(target_os = "linux")]
mod cgroup;
mod frame;
mod guard;
mod outbox;
mod record;
mod signals;
mod tree;

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, ErrorKind, Write},
    os::fd::RawFd,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use nix::{
    poll::PollTimeout,
    sys::resource::{UsageWho, getrusage},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout},
    sync::mpsc,
    time::timeout,
};

use crate::process::{self, ATTEMPT_MARK};
pub(crate) use record::{ALL_FILES, ANSWERS, ERRORS, OUTPUT, tail as kept_tail, write_new};
pub use record::{Exit, Failure, Input, Reason, Spec, Watch};

/// The first argument of a program that is to be a host: `hub agent-host FOLDER`.
pub const COMMAND: &str = "agent-host";
/// The argument that makes it the host and not its guard.
const INNER: &str = "--inner";
/// What is read from a host at once; a busy one gets more.
const READ: usize = 16 * 1024;
const READ_AT_MOST: usize = 256 * 1024;
/// A guard ends within moments of its host. One that takes this long is frozen.
const GUARD_ENDS: Duration = Duration::from_secs(10);

/// What `hub agent-host` does, given the arguments behind that. It starts no runtime and no threads (on Linux), and is to be called before
/// anything heavy.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match arguments.as_slice() {
        [folder] => guard::run(Path::new(folder)),
        [inner, guard, folder] if inner == INNER => match open_guard(guard) {
            Ok(guard) => attempt::run(Path::new(folder), guard),
            Err(error) => {
                say(&format!("the guard can not be watched: {error}"));
                ExitCode::FAILURE
            }
        },
        _ => {
            say("this is started by a worker, for an attempt: agent-host FOLDER");
            ExitCode::from(2)
        }
    }
}

/// The pipe that ends when the guard does: opened anew by its number, so that it is ours like any other, and not inherited further.
fn open_guard(number: &OsStr) -> io::Result<File> {
    let number: RawFd = number.to_str().and_then(|text| text.parse().ok()).ok_or(ErrorKind::InvalidInput)?;
    close_inherited(&[number]);
    let guard = File::open(Path::new("/dev/fd").join(number.to_string()))?;
    nix::unistd::close(number)?;
    Ok(guard)
}

/// Closes all but the three standard ones and those named: what a careless parent left open is not the agent's.
fn close_inherited(kept: &[RawFd]) {
    let numbers: Vec<RawFd> = std::fs::read_dir("/dev/fd")
        .map(|entries| entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
        .unwrap_or_default();
    for number in numbers.into_iter().filter(|number| *number > 2 && !kept.contains(number)) {
        // The one by which they were listed is closed already.
        nix::unistd::close(number).ok();
    }
}

fn become_subreaper() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true)?;
    Ok(())
}

/// This program. On Linux also where its file was replaced meanwhile: worker, guard and host have to be of one build.
pub(crate) fn own_program() -> PathBuf {
    // Where it can not be found it can not be started either, and that says so.
    if cfg!(target_os = "linux") { "/proc/self/exe".into() } else { std::env::current_exe().unwrap_or_default() }
}

/// The most memory that any process had which was waited for, in bytes.
fn peak_of_children() -> Option<u64> {
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?.max_rss();
    u64::try_from(peak).ok().filter(|peak| *peak > 0).map(|peak| peak * unit)
}

/// In whole milliseconds, not too early.
fn poll_timeout(duration: Duration) -> PollTimeout {
    let millis = duration.as_micros().div_ceil(1000);
    PollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX)).unwrap_or(PollTimeout::MAX)
}

/// To standard error, which is the worker's. Nobody may be reading.
fn say(text: &str) {
    writeln!(io::stderr(), "hub agent-host: {text}").ok();
}

/// What a worker holds of a host. Dropped, it ends the agent.
#[derive(Debug)]
pub struct Host {
    control: mpsc::UnboundedSender<Vec<u8>>,
}

/// What a host tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The agent runs.
    Started {
        /// Its process.
        pid: i32,
    },
    /// What it wrote to standard output.
    Output(Bytes),
    /// What it wrote to standard error.
    Errors(Bytes),
    /// All is over: nothing of the agent is left, nor of its host. The last.
    Ended(Exit),
}

impl Host {
    /// Starts a host for an agent. `program` is `hub`, or whatever calls [`main`] when its first argument is [`COMMAND`]; `environment` is the
    /// agent's whole environment; `folder` is there, and the attempt's own.
    ///
    /// # Errors
    /// The folder can not be written, or the program not started. That the agent could not be started is told as [`Event::Ended`].
    pub fn start(
        program: &Path,
        spec: &Spec,
        environment: Vec<(OsString, OsString)>,
        folder: &Path,
    ) -> io::Result<(Self, Events)> {
        spec.write(folder)?;
        let mark = environment.iter().find(|(name, _)| name == ATTEMPT_MARK);
        let mark = mark.and_then(|(_, value)| value.to_str()).map(str::to_owned);
        let mut child = tokio::process::Command::new(program)
            .arg0("hub")
            .arg(COMMAND)
            .arg(folder)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(ErrorKind::BrokenPipe.into());
        };
        let (control, frames) = mpsc::unbounded_channel();
        tokio::spawn(write(stdin, frames));
        let events = Events {
            child,
            stdout,
            read: BytesMut::new(),
            size: READ,
            of: None,
            exit: None,
            folder: folder.to_owned(),
            mark,
            over: false,
        };
        Ok((Self { control }, events))
    }

    /// Asks to end the agent. `why` goes into the record.
    pub fn stop(&self, why: &str) {
        self.send(frame::STOP, why.as_bytes());
    }

    /// Gives the agent something to read. The host keeps it until the agent does, without a bound.
    pub fn input(&self, bytes: &[u8]) {
        for part in bytes.chunks(READ_AT_MOST) {
            self.send(frame::INPUT, part);
        }
    }

    /// Closes the agent's standard input, once it has read all.
    pub fn close_input(&self) {
        self.send(frame::CLOSE_INPUT, &[]);
    }

    /// The agent said its final word: it has only to exit now, and not for ever.
    pub fn heard_final(&self) {
        self.send(frame::FINAL, &[]);
    }

    /// Whether the agent waits for a person. While it does, no time counts against it.
    pub fn waiting(&self, waits: bool) {
        self.send(frame::WAITING, &[u8::from(waits)]);
    }

    fn send(&self, kind: u8, content: &[u8]) {
        // The host is gone: its end is told as an event.
        self.control.send(frame::frame(kind, content)).ok();
    }
}

async fn write(mut stdin: ChildStdin, mut frames: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(frame) = frames.recv().await {
        if stdin.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// The events of a host, in order.
#[derive(Debug)]
pub struct Events {
    child: Child,
    stdout: ChildStdout,
    read: BytesMut,
    /// How much is asked for at once.
    size: usize,
    /// Of which frame the rest is still to come: its kind and how many bytes.
    of: Option<(u8, usize)>,
    exit: Option<Exit>,
    folder: PathBuf,
    mark: Option<String>,
    over: bool,
}

impl Events {
    /// The next one; none after [`Event::Ended`]. May be dropped and called again. What is not asked for makes the agent wait.
    pub async fn next(&mut self) -> Option<Event> {
        while !self.over {
            if let Some(event) = self.parse() {
                return Some(event);
            }
            self.read.reserve(self.size);
            let free = self.read.capacity() - self.read.len();
            let read = self.stdout.read_buf(&mut self.read);
            // After its end only a guard that is frozen keeps the pipe open.
            let read = match self.exit {
                Some(_) => timeout(GUARD_ENDS, read).await.unwrap_or(Ok(0)),
                None => read.await,
            };
            match read {
                Ok(count) if count > 0 => {
                    if count == free {
                        self.size = READ_AT_MOST;
                    }
                }
                // The host is gone. If it could not say how it went, its guard ends what is left and writes that down. If that is
                // gone, too, nobody but this worker is left to do so.
                Ok(_) | Err(_) => {
                    let (guarded, frozen) = match timeout(GUARD_ENDS, self.child.wait()).await {
                        Ok(guarded) => (guarded.map(drop), false),
                        Err(_) => (self.child.kill().await, true),
                    };
                    let kept = || guarded.and_then(|()| Exit::read(&self.folder)).ok().flatten();
                    let known = self.exit.take().or_else(kept);
                    let left = match self.mark.clone() {
                        Some(mark) if frozen || known.is_none() => process::end_marked(mark).await,
                        _ => 0,
                    };
                    let exit = known.unwrap_or_else(|| Exit::of(Reason::HostGone));
                    let exit = Exit { processes_left: exit.processes_left + left, ..exit };
                    self.over = true;
                    return Some(Event::Ended(exit));
                }
            }
        }
        None
    }

    fn parse(&mut self) -> Option<Event> {
        loop {
            let (kind, left) = match self.of {
                Some(of) => of,
                None => {
                    let of = frame::read_header(&self.read)?;
                    self.read.advance(frame::HEADER);
                    of
                }
            };
            self.of = Some((kind, left));
            let streamed = matches!(kind, frame::OUTPUT | frame::ERRORS);
            // What the agent says goes on in the pieces in which it came.
            if left > 0 && self.read.is_empty() || !streamed && self.read.len() < left {
                return None;
            }
            let content = self.read.split_to(left.min(self.read.len())).freeze();
            self.of = (content.len() < left).then_some((kind, left - content.len()));
            match kind {
                frame::OUTPUT if left > 0 => return Some(Event::Output(content)),
                frame::ERRORS if left > 0 => return Some(Event::Errors(content)),
                frame::STARTED => {
                    return content.first_chunk().map(|pid| Event::Started { pid: i32::from_le_bytes(*pid) });
                }
                frame::ENDED => self.exit = serde_json::from_slice(&content).ok(),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
