//! The host itself: starts the agent, carries what it says to the worker and into the folder, watches it, and ends all that came of it.
//! One thread and one poll; whatever it waits for is an event or a time.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{ChildStdin, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{
    frame::{self, Frames},
    guard::{KILL_FOR, group_name},
    outbox::Outbox,
    record::{self, Exit, Failure, Input, Reason, Spec, Spool, seconds},
    signals::{End, Reaped, Signals},
    tree::Family,
};

/// What an agent that ended well left behind has at most this long.
const LEFT_BEHIND: Duration = Duration::from_secs(2);
/// The grace where nobody is there any more who would read a last word.
const ABANDONED: Duration = Duration::from_secs(1);
/// KILL is repeated after this, for who forked meanwhile.
const AGAIN: Duration = Duration::from_millis(10);
const AGAIN_AT_MOST: Duration = Duration::from_millis(200);
/// What a pipe holds unless it is told otherwise. An agent that fills it gets a larger one.
#[cfg(target_os = "linux")]
const PIPE: usize = 64 * 1024;
#[cfg(target_os = "linux")]
const LARGE_PIPE: i32 = 1024 * 1024;
/// Where nothing tells who belongs to the agent, it is looked at this often; more often while it is being ended.
#[cfg(not(target_os = "linux"))]
const LOOK: Duration = Duration::from_millis(500);
#[cfg(not(target_os = "linux"))]
const LOOK_AT_THE_END: Duration = Duration::from_millis(50);

pub(super) fn run(folder: &Path, guard: File) -> ExitCode {
    match Attempt::new(folder, guard).and_then(Attempt::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever guards this process writes the record, and ends what is left.
            super::say(&format!("the host of {} gives up: {error}", folder.display()));
            ExitCode::FAILURE
        }
    }
}

enum Phase {
    Running,
    /// All were sent TERM.
    Asked {
        until: Instant,
    },
    /// All are sent KILL, again and again.
    Killing {
        again: Instant,
        pause: Duration,
        until: Instant,
    },
    /// Nothing is left, or nothing that could be ended.
    Over,
}

/// One of the agent's two streams.
struct Stream {
    kind: u8,
    pipe: Option<OwnedFd>,
    spool: Spool,
    bytes: u64,
}

/// The worker's ends of the two pipes.
struct Link {
    frames: Frames,
    outbox: Outbox,
    gone: bool,
}

struct Attempt {
    folder: PathBuf,
    spec: Spec,
    signals: Signals,
    guard: Option<File>,
    _lock: File,
    link: Link,
    streams: [Stream; 2],
    input: Option<ChildStdin>,
    to_read: Vec<u8>,
    close_input: bool,
    family: Option<Family>,
    phase: Phase,
    /// Why it is being ended, if it is.
    ending: Option<Reason>,
    end: Option<End>,
    stopped_for: Option<String>,
    started: Instant,
    heard: Option<Instant>,
    /// Since when a person is waited for.
    waiting: Option<Instant>,
    /// It may have spoken and was not listened to, for the worker does not read.
    deaf: bool,
    said_final: Option<Instant>,
    processes_left: usize,
    #[cfg(not(target_os = "linux"))]
    next_look: Instant,
}

/// What one poll found.
#[derive(Default)]
struct Ready {
    signals: bool,
    guard: bool,
    control: bool,
    worker_takes: bool,
    worker_gone: bool,
    streams: [bool; 2],
}

impl Attempt {
    fn new(folder: &Path, guard: File) -> io::Result<Self> {
        super::become_subreaper()?;
        let signals = Signals::block()?;
        let lock = record::lock(folder)?;
        nonblocking(io::stdin().as_fd())?;
        nonblocking(io::stdout().as_fd())?;
        let stream = |kind, name| Stream { kind, pipe: None, spool: Spool::new(folder, name), bytes: 0 };
        Ok(Self {
            folder: folder.to_owned(),
            spec: Spec::read(folder)?,
            signals,
            guard: Some(guard),
            _lock: lock,
            link: Link { frames: Frames::default(), outbox: Outbox::new(), gone: false },
            streams: [stream(frame::OUTPUT, record::OUTPUT), stream(frame::ERRORS, record::ERRORS)],
            input: None,
            to_read: Vec::new(),
            close_input: false,
            family: None,
            phase: Phase::Running,
            ending: None,
            end: None,
            stopped_for: None,
            started: Instant::now(),
            heard: None,
            waiting: None,
            deaf: false,
            said_final: None,
            processes_left: 0,
            #[cfg(not(target_os = "linux"))]
            next_look: Instant::now(),
        })
    }

    fn run(mut self) -> io::Result<()> {
        let started_at_ms = record::now_ms();
        let mut exit = match self.start() {
            Ok(pid) => {
                self.link.send(frame::STARTED, &pid.to_le_bytes());
                // Only now, since it may take milliseconds. A process that is forked meanwhile is found without it.
                let host = i32::try_from(std::process::id()).unwrap_or(0);
                self.family = Some(Family::of(pid, &group_name(&self.folder, host)));
                self.attend()?;
                self.drain()?;
                self.exit(started_at_ms)
            }
            Err(error) => Exit { failure: Some(Failure::from(&error)), ..Exit::of(Reason::NotStarted) },
        };
        exit.ended_at_ms = record::now_ms();
        self.keep(&exit);
        let told = serde_json::to_vec(&exit)?;
        while !self.link.hears() {
            self.wait_for_worker()?;
        }
        self.link.send(frame::ENDED, &told);
        while !self.link.outbox.is_empty() && !self.link.gone {
            self.wait_for_worker()?;
        }
        Ok(())
    }

    fn start(&mut self) -> io::Result<i32> {
        let mut command = Command::new(&self.spec.program);
        command
            .args(&self.spec.args)
            .current_dir(&self.spec.directory)
            .stdin(match &self.spec.stdin {
                Input::Null => Stdio::null(),
                Input::File(name) => File::open(self.folder.join(name))?.into(),
                Input::Pipe => Stdio::piped(),
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        self.started = Instant::now();
        let agent = self.signals.start(&mut command)?;
        self.streams[0].pipe = agent.stdout.map(OwnedFd::from);
        self.streams[1].pipe = agent.stderr.map(OwnedFd::from);
        for pipe in self.streams.iter().filter_map(|stream| stream.pipe.as_ref()) {
            nonblocking(pipe.as_fd())?;
        }
        if let Some(input) = &agent.stdin {
            nonblocking(input.as_fd())?;
        }
        self.input = agent.stdin;
        Ok(agent.pid)
    }

    /// Until nothing of the agent is left.
    fn attend(&mut self) -> io::Result<()> {
        // What was told of it while it was being started is lost.
        self.look_at_children();
        loop {
            self.mind_the_time(Instant::now());
            if matches!(self.phase, Phase::Over) {
                return Ok(());
            }
            let ready = self.wait()?;
            let told_to_go = ready.signals && self.signals.read().go;
            // First: an agent that came to its end has its own, whatever else was told while this process could not look.
            if ready.signals || ready.guard || ready.control || ready.worker_gone {
                self.look_at_children();
            }
            if told_to_go {
                self.begin_to_end(Reason::HostGone, ABANDONED);
            }
            if ready.guard {
                self.guard = None;
                self.begin_to_end(Reason::HostGone, ABANDONED);
            }
            if ready.control {
                self.obey();
            }
            if ready.worker_takes {
                self.link.flush();
            }
            if ready.worker_gone {
                self.link.lose();
            }
            for (at, ready) in ready.streams.into_iter().enumerate() {
                // The one before may have taken the last place.
                if ready && self.link.hears() {
                    self.listen(at);
                }
            }
            self.feed();
            if self.link.gone {
                self.begin_to_end(Reason::WorkerGone, ABANDONED);
            }
        }
    }

    fn wait(&mut self) -> io::Result<Ready> {
        let hears = self.link.hears();
        if hears && self.deaf {
            // What it did not say meanwhile it could not.
            self.heard = self.heard.map(|_| Instant::now());
        }
        self.deaf = !hears;
        let timeout = self
            .next_time()
            .map_or(PollTimeout::NONE, |at| super::poll_timeout(at.saturating_duration_since(Instant::now())));
        let (stdin, stdout) = (io::stdin(), io::stdout());
        let there = !self.link.gone;
        let mut polled = Vec::with_capacity(7);
        let signals = add(&mut polled, Some(self.signals.fd()), PollFlags::POLLIN);
        let guard = add(&mut polled, self.guard.as_ref().map(AsFd::as_fd), PollFlags::POLLIN);
        let control = add(&mut polled, there.then(|| stdin.as_fd()), PollFlags::POLLIN);
        // Without anything to write it is still told when nobody reads any more.
        let writing = if self.link.outbox.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
        let worker = add(&mut polled, there.then(|| stdout.as_fd()), writing);
        let [output, errors] = &self.streams;
        let streams = [output, errors]
            .map(|stream| add(&mut polled, stream.pipe.as_ref().filter(|_| hears).map(AsFd::as_fd), PollFlags::POLLIN));
        let hungry = self.input.as_ref().filter(|_| !self.to_read.is_empty());
        add(&mut polled, hungry.map(AsFd::as_fd), PollFlags::POLLOUT);
        match poll(&mut polled, timeout) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Ready::default()),
            Err(error) => return Err(error.into()),
        }
        let flags = |at: Option<usize>| at.and_then(|at| polled[at].revents()).unwrap_or(PollFlags::empty());
        Ok(Ready {
            signals: !flags(signals).is_empty(),
            guard: !flags(guard).is_empty(),
            control: !flags(control).is_empty(),
            worker_takes: flags(worker).contains(PollFlags::POLLOUT),
            worker_gone: flags(worker).intersects(GONE),
            streams: streams.map(|at| !flags(at).is_empty()),
        })
    }

    /// When something is due though nothing happens.
    fn next_time(&self) -> Option<Instant> {
        let due = match self.phase {
            Phase::Running => self.watches().into_iter().map(|(at, _)| at).min(),
            Phase::Asked { until } => Some(until),
            Phase::Killing { again, until, .. } => Some(again.min(until)),
            Phase::Over => None,
        };
        #[cfg(not(target_os = "linux"))]
        let due = Some(due.map_or(self.next_look, |due| due.min(self.next_look)));
        due
    }

    /// What an agent that still runs is ended for, and when.
    fn watches(&self) -> Vec<(Instant, Reason)> {
        if self.waiting.is_some() {
            return Vec::new();
        }
        let watch = &self.spec.watch;
        let after = |from: Option<Instant>, limit: Option<f64>, reason: Reason| {
            from.zip(limit).map(|(from, limit)| (from + seconds(limit), reason))
        };
        let unheard = self.heard.is_none().then_some(self.started);
        let last_heard = (!self.deaf).then_some(self.heard.unwrap_or(self.started));
        [
            after(Some(self.started), watch.total_seconds, Reason::Timeout),
            after(unheard, watch.first_output_seconds, Reason::NoOutput),
            after(last_heard, watch.silence_seconds, Reason::Silent),
            after(self.said_final, watch.linger_seconds, Reason::Lingered),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn mind_the_time(&mut self, now: Instant) {
        #[cfg(not(target_os = "linux"))]
        if self.next_look <= now {
            if let Some(family) = &mut self.family {
                family.look();
            }
            self.look_at_children();
            let running = matches!(self.phase, Phase::Running);
            self.next_look = Instant::now() + if running { LOOK } else { LOOK_AT_THE_END };
        }
        match self.phase {
            Phase::Running => {
                let due = self.watches().into_iter().filter(|(at, _)| *at <= now).min_by_key(|(at, _)| *at);
                if let Some((_, reason)) = due {
                    self.begin_to_end(reason, self.spec.grace());
                }
            }
            Phase::Asked { until } if until <= now => {
                self.phase = Phase::Killing { again: now, pause: AGAIN, until: now + KILL_FOR };
                self.mind_the_time(now);
            }
            Phase::Killing { until, .. } if until <= now => {
                self.processes_left = self.family.as_mut().map_or(0, Family::count);
                self.phase = Phase::Over;
            }
            Phase::Killing { again, pause, until } if again <= now => {
                if let Some(family) = &mut self.family {
                    family.kill();
                }
                self.phase =
                    Phase::Killing { again: Instant::now() + pause, pause: (pause * 2).min(AGAIN_AT_MOST), until };
            }
            Phase::Asked { .. } | Phase::Killing { .. } | Phase::Over => {}
        }
    }

    /// Asks all to go. The first reason counts, and the shortest time.
    fn begin_to_end(&mut self, reason: Reason, grace: Duration) {
        let latest = Instant::now() + grace.min(self.spec.grace());
        match self.phase {
            Phase::Running => {
                if self.end.is_none() {
                    self.ending = Some(reason);
                }
                if let Some(family) = &mut self.family {
                    family.ask();
                }
                self.phase = Phase::Asked { until: latest };
            }
            Phase::Asked { until } => self.phase = Phase::Asked { until: until.min(latest) },
            Phase::Killing { .. } | Phase::Over => {}
        }
    }

    fn look_at_children(&mut self) {
        let Reaped { end, none_left } = self.signals.reap();
        if let Some(family) = &mut self.family {
            if end.is_some() {
                family.leader_gone();
                self.end = end;
            }
            if self.end.is_none() {
                return;
            }
            if none_left.unwrap_or_else(|| family.count() == 0) {
                self.phase = Phase::Over;
            } else if matches!(self.phase, Phase::Running) {
                self.begin_to_end(Reason::Exit, LEFT_BEHIND);
            }
        }
    }

    fn obey(&mut self) {
        for (kind, content) in self.link.read() {
            match kind {
                frame::INPUT if self.input.is_some() => self.to_read.extend(content),
                frame::CLOSE_INPUT => self.close_input = true,
                frame::STOP => {
                    self.stopped_for.get_or_insert_with(|| String::from_utf8_lossy(&content).into_owned());
                    self.begin_to_end(Reason::Stopped, self.spec.grace());
                }
                frame::WAITING => self.wait_for_a_person(content == [1]),
                frame::FINAL => drop(self.said_final.get_or_insert_with(Instant::now)),
                _ => {}
            }
        }
    }

    fn wait_for_a_person(&mut self, waits: bool) {
        match (waits, self.waiting) {
            (true, None) => self.waiting = Some(Instant::now()),
            (false, Some(since)) => {
                // The clocks stood still meanwhile.
                let (now, waited) = (Instant::now(), since.elapsed());
                self.started += waited;
                self.heard = self.heard.map(|heard| now.min(heard + waited));
                self.said_final = self.said_final.map(|said| now.min(said + waited));
                self.waiting = None;
            }
            _ => {}
        }
    }

    /// Gives the agent what it is to read.
    fn feed(&mut self) {
        let Some(input) = &self.input else {
            self.to_read.clear();
            return;
        };
        let mut fed = 0;
        let reads = loop {
            if fed == self.to_read.len() {
                break !self.close_input;
            }
            match nix::unistd::write(input.as_fd(), &self.to_read[fed..]) {
                Ok(count) => fed += count,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break true,
                // It closed its standard input.
                Err(_) => break false,
            }
        };
        self.to_read.drain(..fed);
        if !reads {
            self.input = None;
        }
    }

    /// Takes what there is of a stream. False once there is nothing.
    fn listen(&mut self, at: usize) -> bool {
        let stream = &mut self.streams[at];
        let Some(pipe) = &stream.pipe else { return false };
        let window = self.link.outbox.window();
        match nix::unistd::read(pipe.as_fd(), window) {
            Ok(count) if count > 0 => {
                if let Err(error) = stream.spool.write(&window[..count]) {
                    super::say(&format!("what {} says is not kept any more: {error}", self.folder.display()));
                }
                #[cfg(target_os = "linux")]
                if count >= PIPE && stream.bytes < count as u64 {
                    // A user may have only so many large ones; with a small one it takes longer.
                    fcntl(pipe.as_fd(), FcntlArg::F_SETPIPE_SZ(LARGE_PIPE)).ok();
                }
                stream.bytes += count as u64;
                self.heard = Some(Instant::now());
                self.link.sent(stream.kind, count);
                true
            }
            Err(Errno::EINTR) => true,
            Err(Errno::EAGAIN) => false,
            Ok(_) | Err(_) => {
                stream.pipe = None;
                false
            }
        }
    }

    /// What is still in the pipes. Their other ends are gone, or belong to somebody who is not of the agent: who waited for them to be
    /// closed might wait for ever.
    fn drain(&mut self) -> io::Result<()> {
        for at in 0..self.streams.len() {
            loop {
                while !self.link.hears() {
                    self.wait_for_worker()?;
                }
                if !self.listen(at) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Until the worker has read something, or is gone.
    fn wait_for_worker(&mut self) -> io::Result<()> {
        let (stdin, stdout) = (io::stdin(), io::stdout());
        let mut polled = Vec::with_capacity(2);
        let control = add(&mut polled, Some(stdin.as_fd()), PollFlags::POLLIN);
        let worker = add(&mut polled, Some(stdout.as_fd()), PollFlags::POLLOUT);
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let flags = |at: Option<usize>| at.and_then(|at| polled[at].revents()).unwrap_or(PollFlags::empty());
        let (control, worker) = (flags(control), flags(worker));
        if !control.is_empty() {
            // It is over: whatever the worker wants is too late.
            self.link.read();
        }
        if worker.intersects(GONE) {
            self.link.lose();
        } else {
            self.link.flush();
        }
        Ok(())
    }

    fn exit(&mut self, started_at_ms: i64) -> Exit {
        let (code, signal) = match self.end {
            Some(End::Code(code)) => (Some(code), None),
            Some(End::Signal(signal)) => (None, Some(signal)),
            None => (None, None),
        };
        let by_itself = if signal.is_some() { Reason::Signal } else { Reason::Exit };
        let of_all = self.family.take().and_then(|family| family.peak());
        Exit {
            code,
            signal,
            started_at_ms: Some(started_at_ms),
            output_bytes: self.streams[0].bytes,
            error_bytes: self.streams[1].bytes,
            peak_memory_bytes: of_all.max(super::peak_of_children()),
            processes_left: self.processes_left,
            stopped_for: self.stopped_for.take(),
            ..Exit::of(self.ending.unwrap_or(by_itself))
        }
    }

    /// Writes the record. A disk that is full loses what the agent said first, not how it ended.
    fn keep(&self, exit: &Exit) {
        let synced: io::Result<()> = self.streams.iter().try_for_each(|stream| stream.spool.sync());
        let written = exit.write(&self.folder).or_else(|_| {
            self.streams.iter().for_each(|stream| stream.spool.forget_earlier());
            exit.write(&self.folder)
        });
        if let Err(error) = synced.and(written) {
            super::say(&format!("the end of {} is told and not kept: {error}", self.folder.display()));
        }
    }
}

/// The other side of a pipe is closed.
const GONE: PollFlags = PollFlags::POLLERR.union(PollFlags::POLLHUP).union(PollFlags::POLLNVAL);

fn add<'a>(polled: &mut Vec<PollFd<'a>>, fd: Option<BorrowedFd<'a>>, events: PollFlags) -> Option<usize> {
    polled.push(PollFd::new(fd?, events));
    Some(polled.len() - 1)
}

fn nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

impl Link {
    /// Whether what the agent says can be taken now.
    fn hears(&self) -> bool {
        self.gone || self.outbox.has_room()
    }

    fn lose(&mut self) {
        self.gone = true;
        self.outbox.clear();
    }

    fn flush(&mut self) {
        if !self.gone && self.outbox.flush(io::stdout()).is_err() {
            self.lose();
        }
    }

    /// The window's first bytes are to reach the worker.
    fn sent(&mut self, kind: u8, length: usize) {
        if !self.gone {
            self.outbox.commit(kind, length);
            self.flush();
        }
    }

    fn send(&mut self, kind: u8, content: &[u8]) {
        if !self.gone {
            self.outbox.push(kind, content);
            self.flush();
        }
    }

    /// What the worker wants. Its end of the pipe closed means that it is gone.
    fn read(&mut self) -> Vec<(u8, Vec<u8>)> {
        let mut bytes = [0; 16 * 1024];
        while !self.gone {
            match nix::unistd::read(io::stdin(), &mut bytes) {
                Ok(0) => self.lose(),
                Ok(count) => self.frames.push(&bytes[..count]),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(_) => self.lose(),
            }
        }
        std::iter::from_fn(|| self.frames.next()).collect()
    }
}
