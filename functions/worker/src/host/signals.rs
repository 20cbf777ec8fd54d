//! How a host learns that a child ended, and that somebody wants it to go: as something to poll.

#[cfg(target_os = "linux")]
pub(super) use linux::Signals;
#[cfg(not(target_os = "linux"))]
pub(super) use portable::Signals;

use std::process::{Child, ChildStderr, ChildStdin, ChildStdout};

/// What came in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Somebody sent TERM, INT or HUP.
    pub(super) go: bool,
}

/// How the process that was started ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Code(i32),
    Signal(i32),
}

impl From<std::process::ExitStatus> for End {
    fn from(status: std::process::ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        status.code().map_or_else(|| Self::Signal(status.signal().unwrap_or(0)), Self::Code)
    }
}

/// A process that was just started, and its pipes. The end of it is told by [`Signals::reap`].
pub(super) struct Started {
    pub(super) pid: i32,
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
}

impl Started {
    fn take(child: &mut Child) -> Self {
        Self {
            pid: i32::try_from(child.id()).unwrap_or(0),
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
        }
    }
}

/// What is known of the children.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reaped {
    /// The one that was started, the first time that it is seen to have ended.
    pub(super) end: Option<End>,
    /// There is no child any more. None where the system does not tell.
    pub(super) none_left: Option<bool>,
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        io,
        os::fd::{AsFd, BorrowedFd},
        process::{Child, Command},
    };

    use nix::{
        errno::Errno,
        sys::{
            signal::{SigSet, Signal},
            signalfd::{SfdFlags, SignalFd},
            wait::{WaitPidFlag, WaitStatus, waitpid},
        },
        unistd::Pid,
    };

    use super::{End, Reaped, Started, Told};

    /// Blocks the signals, and reads them as they come.
    pub(crate) struct Signals {
        mask: SigSet,
        pending: SignalFd,
        child: Option<Child>,
    }

    impl Signals {
        pub(crate) fn block() -> io::Result<Self> {
            let mut mask = SigSet::empty();
            for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
                mask.add(signal);
            }
            mask.thread_block()?;
            let pending = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
            Ok(Self { mask, pending, child: None })
        }

        /// Starts the program with no signal blocked: it would inherit that. A signal to go in this moment is obeyed at once, and whoever
        /// watches this process does the rest. What is told of children in it is lost, so they are to be looked at afterwards.
        pub(crate) fn start(&mut self, command: &mut Command) -> io::Result<Started> {
            self.mask.thread_unblock()?;
            let child = command.spawn();
            self.mask.thread_block()?;
            Ok(Started::take(self.child.insert(child?)))
        }

        pub(crate) fn fd(&self) -> BorrowedFd<'_> {
            self.pending.as_fd()
        }

        pub(crate) fn read(&self) -> Told {
            let mut told = Told::default();
            while let Ok(Some(signal)) = self.pending.read_signal() {
                told.go |= i64::from(signal.ssi_signo) != Signal::SIGCHLD as i64;
            }
            told
        }

        /// Takes leave of all children that ended.
        pub(crate) fn reap(&mut self) -> Reaped {
            let started = self.child.as_ref().and_then(|child| i32::try_from(child.id()).ok());
            // First by itself: nix knows no real-time signal by number, and would not say who ended.
            let mut end = match self.child.as_mut().map(Child::try_wait) {
                Some(Ok(Some(status))) => Some(End::from(status)),
                _ => None,
            };
            let none_left = loop {
                match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                    Ok(WaitStatus::StillAlive) => break false,
                    Ok(WaitStatus::Exited(pid, code)) if Some(pid.as_raw()) == started => end = Some(End::Code(code)),
                    Ok(WaitStatus::Signaled(pid, signal, _)) if Some(pid.as_raw()) == started => {
                        end = Some(End::Signal(signal as i32));
                    }
                    Err(Errno::ECHILD) => break true,
                    Ok(_) | Err(_) => {}
                }
            };
            if end.is_some() || none_left {
                let was_running = self.child.take().is_some();
                end = end.or(was_running.then_some(End::Signal(0)));
            }
            Reaped { end, none_left: Some(none_left) }
        }

        /// Lets the child go on if somebody stopped it: what is stopped can not watch.
        pub(crate) fn resume_if_stopped(&self) {
            let Some(pid) = self.child.as_ref().and_then(|child| i32::try_from(child.id()).ok()) else { return };
            let looked = nix::sys::wait::waitid(
                nix::sys::wait::Id::Pid(Pid::from_raw(pid)),
                WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG,
            );
            if matches!(looked, Ok(WaitStatus::Stopped(..))) {
                nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGCONT).ok();
            }
        }

        /// Tells the child to go.
        pub(crate) fn pass_on(&self) {
            if let Some(pid) = self.child.as_ref().and_then(|child| i32::try_from(child.id()).ok()) {
                nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGTERM).ok();
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod portable {
    use std::{
        io::{self, Read, Write},
        os::{
            fd::{AsFd, BorrowedFd},
            unix::net::UnixStream,
        },
        process::{Child, Command},
        sync::mpsc,
    };

    use super::{End, Reaped, Started, Told};

    /// Without signalfd: a thread waits for the child and writes a byte. Signals to go are obeyed at once, and whoever watches this process
    /// does the rest.
    pub(crate) struct Signals {
        told: UnixStream,
        tell: UnixStream,
        ended: Option<mpsc::Receiver<End>>,
    }

    impl Signals {
        pub(crate) fn block() -> io::Result<Self> {
            let (told, tell) = UnixStream::pair()?;
            told.set_nonblocking(true)?;
            Ok(Self { told, tell, ended: None })
        }

        pub(crate) fn start(&mut self, command: &mut Command) -> io::Result<Started> {
            let mut tell = self.tell.try_clone()?;
            let mut child: Child = command.spawn()?;
            let (send, ended) = mpsc::channel();
            let started = Started::take(&mut child);
            std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
                send.send(child.wait().map_or(End::Signal(0), End::from)).ok();
                tell.write_all(&[0]).ok();
            })?;
            self.ended = Some(ended);
            Ok(started)
        }

        pub(crate) fn fd(&self) -> BorrowedFd<'_> {
            self.told.as_fd()
        }

        pub(crate) fn read(&self) -> Told {
            let mut bytes = [0; 16];
            while (&self.told).read(&mut bytes).is_ok_and(|count| count > 0) {}
            Told::default()
        }

        pub(crate) fn reap(&mut self) -> Reaped {
            let end = self.ended.as_ref().and_then(|ended| ended.try_recv().ok());
            if end.is_some() {
                self.ended = None;
            }
            Reaped { end, none_left: None }
        }

        pub(crate) fn resume_if_stopped(&self) {}

        pub(crate) fn pass_on(&self) {}
    }
}
