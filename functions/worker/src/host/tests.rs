//! What holds however an agent behaves and whoever is killed. Each agent is a shell script, and whatever it starts has a number in its
//! arguments by which it is found, since nothing else of it may be left: no parent, no session, no environment.

use super::*;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Instant, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// What takes longer hangs.
const BOUND: Duration = Duration::from_secs(30);

/// The example `agent-host` of this crate, which cargo builds beside its tests.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples/agent-host");
    assert!(program.exists(), "{} is missing: cargo test builds it, unless only --lib is asked for", program.display());
    program
}

/// A number of seconds that nobody else sleeps for.
fn tag() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("7{:07}{:04}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn living(tag: &str) -> usize {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| memchr::memmem::find(line, tag.as_bytes()).is_some())
        .count()
}

/// Another session, no parent, no environment, deaf to TERM: all at once, and then each alone.
fn escapes(tag: &str) -> String {
    format!(
        "(env -i setsid sh -c 'trap \"\" TERM; sleep {tag} & sleep {tag} & wait' &)
         setsid sleep {tag} & (sleep {tag} &) ; nohup sleep {tag} >/dev/null 2>&1 &
         sh -c 'trap \"\" TERM HUP INT; sleep {tag}; sleep {tag}' &
         while [ $(pgrep -cf 'sleep {tag}') -lt 6 ]; do sleep 0.01; done; "
    )
}

struct Run {
    host: Option<Host>,
    events: Events,
    folder: TempDir,
    output: Vec<u8>,
    errors: Vec<u8>,
}

fn spec(script: &str) -> Spec {
    Spec {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        directory: "/".into(),
        stdin: Input::Null,
        watch: Watch::default(),
        grace_seconds: 0.3,
    }
}

fn begin_in(folder: TempDir, spec: &Spec) -> Run {
    let environment = std::env::vars_os().chain([("HUB_ATTEMPT".into(), format!("{}.1", tag()).into())]).collect();
    let (host, events) = Host::start(&program(), spec, environment, folder.path()).unwrap();
    Run { host: Some(host), events, folder, output: Vec::new(), errors: Vec::new() }
}

fn begin(spec: &Spec) -> Run {
    begin_in(tempfile::tempdir().unwrap(), spec)
}

impl Run {
    fn host(&self) -> &Host {
        self.host.as_ref().unwrap()
    }

    fn guard_pid(&self) -> i32 {
        i32::try_from(self.events.child.id().unwrap()).unwrap()
    }

    fn host_pid(&self) -> Option<i32> {
        let guard = self.guard_pid();
        let children = std::fs::read_to_string(format!("/proc/{guard}/task/{guard}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }

    /// Until the agent has said this.
    async fn says(&mut self, text: &str) {
        let hears = async {
            while memchr::memmem::find(&self.output, text.as_bytes()).is_none() {
                match self.events.next().await {
                    Some(Event::Output(bytes)) => self.output.extend_from_slice(&bytes),
                    Some(Event::Ended(exit)) => panic!("it ended without saying {text}: {exit:?}"),
                    Some(_) => {}
                    None => panic!("no event is left"),
                }
            }
        };
        timeout(BOUND, hears).await.unwrap_or_else(|_| panic!("it never says {text}"));
    }

    async fn ends(&mut self) -> Exit {
        let ends = async {
            loop {
                match self.events.next().await.unwrap() {
                    Event::Output(bytes) => self.output.extend_from_slice(&bytes),
                    Event::Errors(bytes) => self.errors.extend_from_slice(&bytes),
                    Event::Started { pid } => assert!(pid > 1),
                    Event::Ended(exit) => return exit,
                }
            }
        };
        let exit = timeout(BOUND, ends).await.expect("it never ends");
        assert_eq!(self.events.next().await, None);
        exit
    }

    async fn recorded(folder: &TempDir) -> Exit {
        let recorded = async {
            loop {
                if let Some(exit) = Exit::read(folder.path()).unwrap() {
                    return exit;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(BOUND, recorded).await.expect("no record is written")
    }
}

async fn run(script: &str) -> (Exit, Run) {
    let mut run = begin(&spec(script));
    let exit = run.ends().await;
    (exit, run)
}

async fn none_lives(tag: &str) -> Duration {
    let begun = Instant::now();
    while living(tag) > 0 {
        assert!(begun.elapsed() < BOUND, "{} processes live", living(tag));
        sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}

#[tokio::test]
async fn what_an_agent_says_and_how_it_ends_is_told_and_recorded() {
    let (exit, run) = run("echo out; echo err >&2; exit 3").await;
    assert_eq!((run.output.as_slice(), run.errors.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!((exit.reason, exit.code, exit.signal), (Reason::Exit, Some(3), None));
    assert_eq!((exit.output_bytes, exit.error_bytes, exit.processes_left), (4, 4, 0));
    assert!(exit.started_at_ms.unwrap() <= exit.ended_at_ms);
    assert!(exit.peak_memory_bytes.unwrap() > 100_000);
    assert_eq!(Exit::read(run.folder.path()).unwrap(), Some(exit));
    assert_eq!(kept_tail(run.folder.path(), OUTPUT, 100).unwrap(), b"out\n");
    assert_eq!(kept_tail(run.folder.path(), ERRORS, 100).unwrap(), b"err\n");
    let mode = std::os::unix::fs::MetadataExt::mode(&run.folder.path().join(OUTPUT).metadata().unwrap());
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_signal_from_outside_is_no_exit() {
    for (script, signal) in [("kill -TERM $$", 15), ("kill -KILL $$", 9), ("kill -40 $$", 40)] {
        let (exit, _) = run(script).await;
        assert_eq!((exit.reason, exit.code, exit.signal), (Reason::Signal, None, Some(signal)), "{script}");
    }
}

#[tokio::test]
async fn nothing_survives_however_it_forked() {
    for (end, reason) in [("echo ready; sleep", Reason::Stopped), ("echo ready; exit 0; sleep", Reason::Exit)] {
        let tag = tag();
        let mut run = begin(&spec(&format!("{}{end} {tag}", escapes(&tag))));
        run.says("ready").await;
        if reason == Reason::Stopped {
            assert!(living(&tag) >= 6, "only {} of those that escape were there", living(&tag));
            run.host().stop("a test");
        }
        let exit = run.ends().await;
        assert_eq!((exit.reason, exit.processes_left, living(&tag)), (reason, 0, 0));
        assert_eq!(exit.stopped_for.as_deref(), (reason == Reason::Stopped).then_some("a test"));
    }
}

#[tokio::test]
async fn hermes_agent_88562_no_process_is_left_under_a_finished_task() {
    let tag = tag();
    let script = format!("i=0; while [ $i -lt 122 ]; do setsid sleep {tag} & i=$((i + 1)); done; echo done");
    let (exit, _) = run(&script).await;
    assert_eq!((exit.reason, exit.code, exit.processes_left, living(&tag)), (Reason::Exit, Some(0), 0, 0));
}

#[tokio::test]
async fn a_tree_that_forks_faster_than_it_is_looked_at_ends() {
    let tag = tag();
    // Each goes on making more, in sessions of their own, and none of them listens.
    let script = format!(
        "trap '' TERM; for i in 1 2 3 4 5 6 7 8; do (trap '' TERM; while :; do (setsid sleep {tag} &) ; done) & done; echo ready; wait"
    );
    let mut run = begin(&spec(&script));
    run.says("ready").await;
    while living(&tag) < 100 {
        sleep(Duration::from_millis(5)).await;
    }
    run.host().stop("");
    let exit = run.ends().await;
    assert_eq!((exit.reason, exit.processes_left, living(&tag)), (Reason::Stopped, 0, 0));
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Victim {
    Worker,
    Guard,
    Host,
}

/// Kills one of the three while an agent that does all to escape is being started, works, or ends.
async fn killed(victim: Victim, moment: &str, after: Duration) {
    let tag = tag();
    let end =
        if moment == "end" { "echo ready; exit 0" } else { "echo ready; while :; do sleep 0.01; echo more; done" };
    let mut run = begin(&spec(&format!("{}trap '' TERM; {end}", escapes(&tag))));
    let guard = run.guard_pid();
    if moment == "start" {
        sleep(after).await;
    } else {
        run.says("ready").await;
    }
    let said = format!("{victim:?} at the {moment} after {after:?}");
    let exit = match victim {
        Victim::Worker => {
            let Run { host, events, folder, .. } = run;
            drop((host, events));
            let begun = Instant::now();
            let exit = Run::recorded(&folder).await;
            none_lives(&tag).await;
            assert!(begun.elapsed() < Duration::from_secs(10), "{said}: {:?}", begun.elapsed());
            exit
        }
        Victim::Guard | Victim::Host => {
            let pid = if victim == Victim::Guard { Some(guard) } else { run.host_pid() };
            // A host that is not there yet, or not any more, is not killed.
            if let Some(pid) = pid {
                kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
            }
            // Nobody asks it to stop: where nobody was killed it would go on.
            if pid.is_none() {
                run.host().stop("");
            }
            let exit = run.ends().await;
            none_lives(&tag).await;
            exit
        }
    };
    let expected: &[Reason] = match (victim, moment) {
        (Victim::Worker, "middle") => &[Reason::WorkerGone],
        (Victim::Worker, _) => &[Reason::WorkerGone, Reason::Exit],
        (_, "middle") => &[Reason::HostGone],
        (_, "end") => &[Reason::HostGone, Reason::Exit],
        _ => &[Reason::HostGone, Reason::Stopped],
    };
    assert!(expected.contains(&exit.reason), "{said}: {exit:?}");
    assert_eq!(exit.processes_left, 0, "{said}");
}

#[tokio::test]
async fn nothing_survives_the_death_of_the_worker_the_guard_or_the_host() {
    for victim in [Victim::Worker, Victim::Guard, Victim::Host] {
        for millis in [0, 1, 2, 4, 8, 16, 32] {
            killed(victim, "start", Duration::from_millis(millis)).await;
        }
        killed(victim, "middle", Duration::ZERO).await;
        for _ in 0..5 {
            killed(victim, "end", Duration::ZERO).await;
        }
    }
}

#[tokio::test]
async fn a_host_that_is_told_to_go_takes_its_agent_along() {
    for of_guard in [true, false] {
        let tag = tag();
        let mut run = begin(&spec(&format!("{}echo ready; sleep {tag}", escapes(&tag))));
        run.says("ready").await;
        let pid = if of_guard { run.guard_pid() } else { run.host_pid().unwrap() };
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        let exit = run.ends().await;
        assert_eq!((exit.reason, exit.processes_left, living(&tag)), (Reason::HostGone, 0, 0));
    }
}

#[tokio::test]
async fn a_host_that_its_agent_stops_goes_on() {
    let tag = tag();
    let mut run = begin(&spec(&format!("echo ready; kill -STOP $PPID; sleep {tag}")));
    run.says("ready").await;
    run.host().stop("");
    assert_eq!(run.ends().await.reason, Reason::Stopped);
    assert_eq!(living(&tag), 0);
}

#[tokio::test]
async fn multica_5918_an_agent_that_floods_is_stopped_too_and_makes_nobody_large() {
    for read in [true, false] {
        let tag = tag();
        let mut run = begin(&spec(&format!("trap '' TERM; yes {tag}")));
        run.says(&tag).await;
        let host = run.host_pid().unwrap();
        if !read {
            // The worker is busy with something else: the agent has to wait.
            sleep(Duration::from_millis(300)).await;
        }
        assert!(peak_kib(host) < 8 * 1024, "{} KiB", peak_kib(host));
        run.host().stop("");
        let exit = run.ends().await;
        assert_eq!((exit.reason, living(&tag)), (Reason::Stopped, 0));
        assert_eq!(exit.output_bytes, run.output.len() as u64);
    }
}

fn peak_kib(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn each_watchdog_ends_what_it_watches_for() {
    let second = Some(0.3);
    for (script, watch, reason) in [
        ("sleep", Watch { first_output_seconds: second, ..Watch::default() }, Reason::NoOutput),
        (
            "echo a; sleep",
            Watch { silence_seconds: second, first_output_seconds: Some(20.0), ..Watch::default() },
            Reason::Silent,
        ),
        ("sleep", Watch { silence_seconds: second, ..Watch::default() }, Reason::Silent),
        (
            "while sleep 0.05; do echo a; done; sleep",
            Watch { total_seconds: second, silence_seconds: Some(20.0), ..Watch::default() },
            Reason::Timeout,
        ),
    ] {
        let tag = tag();
        let mut run = begin(&Spec { watch, ..spec(&format!("{script} {tag}")) });
        let exit = run.ends().await;
        assert_eq!((exit.reason, exit.processes_left, living(&tag)), (reason, 0, 0), "{script}");
    }
    let tag = tag();
    let watch = Watch { linger_seconds: second, ..Watch::default() };
    let mut run = begin(&Spec { watch, ..spec(&format!("echo final; sleep {tag}")) });
    run.says("final").await;
    run.host().heard_final();
    assert_eq!(run.ends().await.reason, Reason::Lingered);
}

#[tokio::test]
async fn multica_5682_a_hung_tool_is_noticed_and_ended() {
    let tag = tag();
    let watch = Watch { silence_seconds: Some(0.5), ..Watch::default() };
    // As ssh does: the tool holds no pipe of the agent, which waits for it.
    let script = format!(
        "echo asking; setsid sh -c 'trap \"\" TERM; sleep {tag}; sleep {tag}' >/dev/null 2>&1 </dev/null & wait"
    );
    let mut run = begin(&Spec { watch, ..spec(&script) });
    let exit = run.ends().await;
    assert_eq!((exit.reason, exit.processes_left, living(&tag)), (Reason::Silent, 0, 0));
}

#[tokio::test]
async fn an_agent_that_nobody_listens_to_is_not_silent() {
    let watch = Watch { silence_seconds: Some(0.3), ..Watch::default() };
    let mut run = begin(&Spec { watch, ..spec("head -c 8000000 /dev/zero; echo end") });
    // Longer than it may be silent, with more to say than fits on the way.
    sleep(Duration::from_secs(1)).await;
    let exit = run.ends().await;
    assert_eq!((exit.reason, exit.code, exit.output_bytes), (Reason::Exit, Some(0), 8_000_004));
    assert_eq!(run.output.len(), 8_000_004);
}

#[tokio::test]
async fn input_reaches_the_agent_as_it_comes() {
    let mut run = begin(&Spec { stdin: Input::Pipe, ..spec("read line; echo \"got $line\"; wc -c") });
    run.host().input(b"hello\n");
    run.says("got hello").await;
    run.host().input(&vec![b'x'; 3_000_000]);
    run.host().close_input();
    let exit = run.ends().await;
    assert_eq!(exit.code, Some(0));
    assert!(String::from_utf8_lossy(&run.output).contains("3000000"));

    // It need not read any of it.
    let mut run = begin(&Spec { stdin: Input::Pipe, ..spec("exec <&-; echo closed; sleep 0.1") });
    run.says("closed").await;
    run.host().input(&vec![b'x'; 3_000_000]);
    assert_eq!(run.ends().await.code, Some(0));
}

#[tokio::test]
async fn an_agent_gets_three_descriptors_no_blocked_signal_and_a_group_of_its_own() {
    // As a careless library would: it is inherited by whatever is started.
    let left_open = File::open("/dev/null").unwrap();
    nix::fcntl::fcntl(&left_open, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let mut list = begin(&Spec { program: "/bin/ls".into(), args: vec!["/proc/self/fd".into()], ..spec("") });
    list.ends().await;
    // The fourth is the folder it looks into.
    assert_eq!(String::from_utf8_lossy(&list.output), "0\n1\n2\n3\n");

    let args = vec!["-E".into(), "Sig(Blk|Ign)".into(), "/proc/self/status".into()];
    let mut signals = begin(&Spec { program: "/bin/grep".into(), args, ..spec("") });
    signals.ends().await;
    let sets: Vec<u64> = String::from_utf8_lossy(&signals.output)
        .lines()
        .map(|line| u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap())
        .collect();
    assert_eq!(sets[0], 0, "blocked");
    assert_eq!(sets[1] & (1 << (Signal::SIGPIPE as u64 - 1)), 0, "a broken pipe is ignored");

    let (exit, run) = run("ps -o pid=,pgid=,tty= -p $$; env").await;
    let output = String::from_utf8(run.output).unwrap();
    assert_eq!(exit.code, Some(0), "{output}");
    let mut lines = output.lines();
    let process: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert!(process[0] == process[1] && process[2] == "?", "{process:?}");
    assert!(lines.any(|line| line.starts_with("HUB_ATTEMPT=")));
}

#[tokio::test]
async fn a_folder_with_a_living_host_is_known_by_its_lock_and_a_taken_one_starts_nothing() {
    let tag = tag();
    let mut run = begin(&spec(&format!("echo ready; sleep {tag}")));
    run.says("ready").await;
    let lock = File::open(run.folder.path().join("lock")).unwrap();
    assert!(lock.try_lock().is_err());
    run.host().stop("");
    run.ends().await;
    lock.try_lock().unwrap();

    let folder = tempfile::tempdir().unwrap();
    let taken = File::create(folder.path().join("lock")).unwrap();
    taken.lock().unwrap();
    let mut run = begin_in(folder, &spec("echo no"));
    let exit = run.ends().await;
    assert_eq!((exit.reason, run.output.len()), (Reason::NotStarted, 0));
    assert_eq!(Exit::read(run.folder.path()).unwrap(), None);
}

#[tokio::test]
async fn a_program_or_a_folder_that_is_not_there_is_told_with_the_reason() {
    for (program, directory) in [("/nowhere/agent", "/"), ("/bin/sh", "/nowhere")] {
        let mut run = begin(&Spec { program: program.into(), directory: directory.into(), ..spec("echo no") });
        let exit = run.ends().await;
        assert_eq!((exit.reason, exit.started_at_ms), (Reason::NotStarted, None));
        assert_eq!(exit.failure.as_ref().unwrap().kind(), ErrorKind::NotFound);
        assert_eq!(Exit::read(run.folder.path()).unwrap(), Some(exit));
    }
}

/// A folder on a disk of so many kilobytes, where we may make one.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new(kilobytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={kilobytes}k,mode=0700");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(folder))
    }

    fn folder(&self) -> TempDir {
        tempfile::tempdir_in(self.0.path()).unwrap()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        std::process::Command::new("umount").arg("-l").arg(self.0.path()).status().ok();
    }
}

#[tokio::test]
async fn a_disk_that_is_full_loses_what_was_said_before_how_it_ended() {
    let (Some(smallest), Some(small)) = (SmallDisk::new(64), SmallDisk::new(12 * 1024)) else {
        eprintln!("skipped: only root may mount a small disk");
        return;
    };
    // Not even a record finds a place: it is told all the same.
    let folder = smallest.folder();
    std::fs::write(folder.path().join("other"), vec![0; 50 * 1024]).unwrap();
    let mut run = begin_in(folder, &spec("head -c 3000000 /dev/zero; echo end; exit 4"));
    let exit = run.ends().await;
    assert_eq!((exit.reason, exit.code, exit.output_bytes), (Reason::Exit, Some(4), 3_000_004));
    assert_eq!(run.output.len(), 3_000_004);

    // What was put aside makes place for the record.
    let mut run = begin_in(small.folder(), &spec("head -c 20000000 /dev/zero; echo end; exit 5"));
    let exit = run.ends().await;
    assert_eq!((exit.code, exit.output_bytes), (Some(5), 20_000_004));
    assert_eq!(Exit::read(run.folder.path()).unwrap(), Some(exit));
}

#[tokio::test]
async fn a_gigabyte_of_output_costs_little_and_is_bounded_in_memory_and_on_disk() {
    let mut run = begin(&spec("head -c 1000000000 /dev/zero"));
    let host = loop {
        if let Some(Event::Started { .. }) = run.events.next().await {
            break run.host_pid().unwrap();
        }
    };
    let own = || {
        let used = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
        (used.user_time().tv_sec() + used.system_time().tv_sec()) * 1_000_000
            + used.user_time().tv_usec()
            + used.system_time().tv_usec()
    };
    let (begun, before) = (Instant::now(), own());
    let (mut bytes, mut looked_at, mut ticks, mut peak) = (0, 0, 0, 0);
    let exit = loop {
        match run.events.next().await.unwrap() {
            Event::Output(part) => bytes += part.len(),
            Event::Ended(exit) => break exit,
            _ => {}
        }
        if bytes - looked_at > 20_000_000
            && let Ok(stat) = std::fs::read_to_string(format!("/proc/{host}/stat"))
        {
            looked_at = bytes;
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
            ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
            peak = peak_kib(host);
        }
    };
    println!(
        "1 GB: {:?}, host {} ms of processor and {peak} KiB, worker {} ms of processor",
        begun.elapsed(),
        ticks * 10,
        (own() - before) / 1000
    );
    assert_eq!((exit.reason, exit.output_bytes, bytes), (Reason::Exit, 1_000_000_000, 1_000_000_000));
    assert!(peak < 8 * 1024, "{peak} KiB");
    assert!(record::kept(run.folder.path(), OUTPUT) <= 16 * 1024 * 1024);
}

#[tokio::test]
async fn starting_and_stopping_is_quick() {
    let (mut alone, mut starts, mut stops) = (Vec::new(), Vec::new(), Vec::new());
    // What a program's clock says first.
    let since = |begun: SystemTime, said: &[u8]| {
        let nanos = std::str::from_utf8(said).unwrap().trim().parse().unwrap();
        (UNIX_EPOCH + Duration::from_nanos(nanos)).duration_since(begun).unwrap()
    };
    for _ in 0..30 {
        let begun = SystemTime::now();
        alone.push(since(begun, &std::process::Command::new("/bin/date").arg("+%s%N").output().unwrap().stdout));
        let date = Spec { program: "/bin/date".into(), args: vec!["+%s%N".into()], ..spec("") };
        let begun = SystemTime::now();
        let mut run = begin(&date);
        run.ends().await;
        starts.push(since(begun, &run.output));

        let tag = tag();
        let mut run = begin(&spec(&format!("echo ready; sleep {tag}")));
        run.says("ready").await;
        let begun = Instant::now();
        run.host().stop("");
        assert_eq!(run.ends().await.signal, Some(15));
        stops.push(begun.elapsed());
    }
    for (what, mut times) in [
        ("a program's first words without a host", alone),
        ("with one", starts),
        ("from the stop to a dead tree, its record written, and no host", stops),
    ] {
        times.sort();
        println!("{what}: median {:?}, worst {:?}", times[15], times[29]);
    }
}

#[tokio::test]
async fn what_guard_and_host_leave_when_both_are_killed_at_once_the_worker_ends() {
    let tag = tag();
    let script = format!("trap '' TERM; (setsid sleep {tag} &); echo ready; sleep {tag}");
    let mut run = begin(&spec(&script));
    run.says("ready").await;
    let (guard, host) = (Pid::from_raw(run.guard_pid()), Pid::from_raw(run.host_pid().unwrap()));
    // Held, so that neither sees the other's end; where the guard ends first the system wakes the host.
    for (pid, signal) in
        [(guard, Signal::SIGSTOP), (host, Signal::SIGSTOP), (host, Signal::SIGKILL), (guard, Signal::SIGKILL)]
    {
        kill(pid, signal).unwrap();
    }
    let exit = run.ends().await;
    assert_eq!((exit.reason, exit.processes_left, living(&tag)), (Reason::HostGone, 0, 0));
}

#[tokio::test]
async fn a_sweep_lets_hosts_end_what_has_no_mark() {
    let root = tempfile::tempdir().unwrap();
    let identity = crate::process::Identity::new("dev", root.path());
    let dead = format!("{}:999999999.1", identity.mark.rsplit_once(':').unwrap().0);
    let tag = tag();
    let folder = tempfile::tempdir().unwrap();
    let environment = std::env::vars_os()
        .chain([("HUB_ATTEMPT".into(), format!("{tag}.1").into()), ("HUB_WORKER".into(), dead.into())])
        .collect();
    let script = format!("{}trap '' TERM; echo ready; sleep {tag}; sleep {tag}", escapes(&tag));
    let (host, events) = Host::start(&program(), &spec(&script), environment, folder.path()).unwrap();
    let mut run = Run { host: Some(host), events, folder, output: Vec::new(), errors: Vec::new() };
    run.says("ready").await;
    let (swept, exit) = tokio::join!(identity.sweep(Duration::from_millis(500)), run.ends());
    assert!(swept > 2, "{swept}");
    assert_eq!((exit.reason, exit.processes_left, living(&tag)), (Reason::HostGone, 0, 0));
}
