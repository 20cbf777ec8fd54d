//! The process between the worker and the host. It does nothing until the host is gone, however that came: then it ends what is left.
//! The host does the same for it, so one of them has to be killed after the other before anything can survive.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{
    COMMAND, INNER,
    frame::{ENDED, frame},
    record::{self, Exit, Failure, Reason},
    signals::Signals,
    tree::{Family, Id},
};

/// How long KILL is repeated before a process counts as one that can not be ended.
pub(super) const KILL_FOR: Duration = Duration::from_secs(10);
/// Between two times.
const AGAIN: Duration = Duration::from_millis(10);
const AGAIN_AT_MOST: Duration = Duration::from_millis(200);

pub(super) fn run(folder: &Path) -> ExitCode {
    match guard(folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The worker reads why: nobody else would tell it.
            let exit = Exit { failure: Some(Failure::from(&error)), ..Exit::of(Reason::NotStarted) };
            let told = serde_json::to_vec(&exit)
                .map_err(io::Error::from)
                .and_then(|record| io::Write::write_all(&mut io::stdout(), &frame(ENDED, &record)));
            if told.is_err() {
                super::say(&format!("nothing was started: {error}"));
            }
            ExitCode::FAILURE
        }
    }
}

fn guard(folder: &Path) -> io::Result<()> {
    super::close_inherited(&[]);
    // A terminal's Ctrl-C is for the worker, which then stops its agents in its own way. It leads a group already: then it is so.
    nix::unistd::setsid().ok();
    super::become_subreaper()?;
    let mut signals = Signals::block()?;
    let _lock = record::lock(folder)?;
    // Nobody writes to it: the host sees its end when this process is gone.
    let (seen_by_host, _held) = io::pipe()?;
    fcntl(seen_by_host.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
    let started_at_ms = record::now_ms();
    let host = signals
        .start(
            Command::new(super::own_program())
                .arg0("hub")
                .args([OsStr::new(COMMAND), OsStr::new(INNER)])
                .arg(seen_by_host.as_raw_fd().to_string())
                .arg(folder)
                .stdin(Stdio::inherit())
                .stdout(Stdio::inherit()),
        )?
        .pid;
    drop(seen_by_host);
    // The pipes are the host's: held here too, the worker would not see that the host is gone.
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&nothing)?;
    nix::unistd::dup2_stdout(&nothing)?;
    drop(nothing);

    loop {
        let reaped = signals.reap();
        if reaped.end.is_some() {
            break;
        }
        signals.resume_if_stopped();
        wait(&signals, None)?;
        if signals.read().go {
            signals.pass_on();
        }
    }

    let mut family = Family::left(&group_name(folder, host));
    let left = end(&mut signals, &mut family)?;
    if Exit::read(folder)?.is_none() {
        let exit = Exit {
            started_at_ms: Some(started_at_ms),
            output_bytes: record::kept(folder, record::OUTPUT),
            error_bytes: record::kept(folder, record::ERRORS),
            peak_memory_bytes: family.peak().max(super::peak_of_children()),
            processes_left: left,
            ..Exit::of(Reason::HostGone)
        };
        exit.write(folder)?;
    }
    Ok(())
}

/// The control group's name: nobody else's, so that what is found under it is this host's.
pub(super) fn group_name(folder: &Path, host: Id) -> OsString {
    let mut name = OsString::from("hub-");
    name.push(folder.file_name().unwrap_or_default());
    name.push(format!("-{host}"));
    name
}

/// KILL until nothing is left. Gives how many would not go.
fn end(signals: &mut Signals, family: &mut Family) -> io::Result<usize> {
    let begun = Instant::now();
    let mut pause = AGAIN;
    loop {
        let none_left = signals.reap().none_left.unwrap_or_else(|| family.count() == 0);
        if none_left || begun.elapsed() > KILL_FOR {
            return Ok(if none_left { 0 } else { family.count() });
        }
        family.kill();
        // The end of a child wakes it; the time is for one that forked in the moment it was looked for.
        wait(signals, Some(pause))?;
        signals.read();
        pause = (pause * 2).min(AGAIN_AT_MOST);
    }
}

fn wait(signals: &Signals, at_most: Option<Duration>) -> io::Result<()> {
    let timeout = at_most.map_or(PollTimeout::NONE, super::poll_timeout);
    match poll(&mut [PollFd::new(signals.fd(), PollFlags::POLLIN)], timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
