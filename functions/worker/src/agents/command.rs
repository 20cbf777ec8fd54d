//! The agent `command`: any program. Its arguments are a list and the prompt is one of them; no shell ever reads it.

use std::{
    ffi::OsString,
    io::ErrorKind,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use hub::types::Meta;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Child,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{Agent, Context, Outcome};
use crate::{
    output::{Lines, RESULT, Tail},
    process::{ATTEMPT_MARK, Shared, Tree},
    progress::Progress,
};

/// What the task's text takes the place of, in an argument.
pub(crate) const PROMPT: &str = "{prompt}";
/// The end of standard error that tells why it failed, in characters.
const ERRORS: usize = 8 * 1024;
/// `EX_TEMPFAIL` of sysexits: the program itself says that trying again makes sense.
const TRY_AGAIN: i32 = 75;
/// The tree is looked at this often, to remember who belongs to it.
const LOOK: Duration = Duration::from_millis(500);
/// What is still in the pipes is read this long after the last process ended.
const READ_ON: Duration = Duration::from_secs(2);

/// A program and how to call it.
#[derive(Debug)]
pub struct Command {
    program: PathBuf,
    arguments: Vec<String>,
    timeout: Duration,
    model: Option<String>,
    environment: Vec<(OsString, OsString)>,
}

impl Command {
    /// Finds the program: a path that begins at the root of the file system, or a name that is looked up in `PATH` now, so that a
    /// project folder can not put another one in its place.
    pub(crate) fn new(
        argv: &[String],
        timeout: Duration,
        model: Option<String>,
        environment: Vec<(OsString, OsString)>,
    ) -> Result<Self, String> {
        let (program, arguments) = argv.split_first().ok_or("argv is empty")?;
        let program = find(program, std::env::var_os("PATH").as_deref())?;
        Ok(Self { program, arguments: arguments.to_vec(), timeout, model, environment })
    }

    fn start(&self, context: &Context) -> std::io::Result<Child> {
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(arguments(&self.arguments, &context.task.content))
            .current_dir(&context.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        // This process' own environment it does not read either: `hub` keeps that to itself (main.rs of the program).
        command
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("HUB_TASK_ID", context.task.id.to_string())
            .envs(context.marks.iter().map(|(name, value)| (name, value)));
        command.spawn()
    }

    async fn execute(&self, context: Context) -> Outcome {
        let mut child = match self.start(&context) {
            Ok(child) => child,
            Err(error) => {
                let why = match error.kind() {
                    ErrorKind::ArgumentListTooLong => {
                        format!(
                            "the prompt ({} bytes) is longer than this system takes as one argument",
                            context.task.content.len()
                        )
                    }
                    kind => format!("{} can not be started: {kind}", self.program.display()),
                };
                // Out of memory or processes may pass; a program that is not there will not appear by itself.
                let retryable =
                    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::OutOfMemory | ErrorKind::ResourceBusy);
                return Outcome::failed(why, retryable, hub::types::EndReason::NotStarted);
            }
        };
        let mark = context
            .marks
            .iter()
            .find(|(name, _)| name == ATTEMPT_MARK)
            .map(|(_, value)| value.clone())
            .unwrap_or_default();
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
        let tree = Shared::new(Tree::of(pid, mark));

        let output = Arc::new(Mutex::new(Tail::new(RESULT)));
        let errors = Arc::new(Mutex::new(Tail::new(ERRORS)));
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(tokio::spawn(read(stdout, Arc::clone(&output), Some(context.progress.clone()))));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(tokio::spawn(read(stderr, Arc::clone(&errors), None)));
        }

        let ended = self.watch(&mut child, &tree, &context).await;

        // Also after the program itself ended well: what it left behind goes with it.
        let grace =
            if matches!(ended, Ended::Exit(_)) { context.grace.min(Duration::from_secs(2)) } else { context.grace };
        let waiting = async {
            // Reaped here, so that a dead leader does not count as living.
            if !matches!(ended, Ended::Exit(_)) {
                child.wait().await.ok();
            }
        };
        let (left, ()) = tokio::join!(tree.end(grace), timeout(grace + READ_ON * 3, waiting).map(drop));
        if left > 0 {
            tracing::error!(task.id = %context.task.id, processes = left, "processes of an agent could not be ended");
        }
        for mut reader in readers {
            // A process that could not be ended may hold the pipe open for ever.
            if timeout(READ_ON, &mut reader).await.is_err() {
                reader.abort();
            }
        }
        let text = |tail: &Mutex<Tail>| tail.lock().unwrap_or_else(PoisonError::into_inner).text();
        self.outcome(ended, text(&output), &text(&errors))
    }

    /// Until the program ends, is to stop, or has had its time.
    async fn watch(&self, child: &mut Child, tree: &Shared, context: &Context) -> Ended {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let deadline = sleep(self.timeout);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                biased;
                () = context.cancel.cancelled() => return Ended::Stopped,
                status = child.wait() => return Ended::Exit(status),
                () = &mut deadline => return Ended::Timeout,
                _ = look.tick() => drop(tree.look().await),
            }
        }
    }

    fn outcome(&self, ended: Ended, output: String, errors: &str) -> Outcome {
        let mut meta = Meta { model: self.model.clone(), ..Meta::default() };
        let status = match ended {
            Ended::Stopped => return Outcome::Stopped { meta },
            Ended::Timeout => {
                let error = with_tail(format!("timed out after {} s", self.timeout.as_secs()), errors, &output);
                return Outcome::Failed { error, retryable: false, meta };
            }
            Ended::Exit(Err(error)) => {
                return Outcome::failed(
                    format!("the program's end could not be seen: {}", error.kind()),
                    true,
                    hub::types::EndReason::Failed,
                );
            }
            Ended::Exit(Ok(status)) => status,
        };
        meta.exit_code = status.code();
        match (status.code(), status.signal()) {
            (Some(0), _) => {
                Outcome::Complete { result: if output.is_empty() { "(no output)".into() } else { output }, meta }
            }
            (Some(code), _) => {
                let error = with_tail(format!("exit code {code}"), errors, &output);
                Outcome::Failed { error, retryable: code == TRY_AGAIN, meta }
            }
            // Not its own decision: killed for memory, by hand, or crashed.
            (None, signal) => {
                let error = with_tail(format!("killed by signal {}", signal.unwrap_or(0)), errors, &output);
                Outcome::Failed { error, retryable: true, meta }
            }
        }
    }
}

impl Agent for Command {
    fn run(&self, context: Context) -> BoxFuture<'_, Outcome> {
        self.execute(context).boxed()
    }
}

enum Ended {
    Exit(std::io::Result<ExitStatus>),
    Stopped,
    Timeout,
}

/// Why it failed: what it wrote to standard error, else to standard output.
fn with_tail(first: String, errors: &str, output: &str) -> String {
    let tail = if errors.is_empty() { output } else { errors };
    let start = tail.char_indices().rev().nth(4000).map_or(0, |(at, _)| at);
    if tail.is_empty() { first } else { format!("{first}\n{}", &tail[start..]) }
}

async fn read(mut stream: impl AsyncRead + Unpin, tail: Arc<Mutex<Tail>>, progress: Option<Progress>) {
    let mut lines = Lines::default();
    let mut chunk = vec![0; 16 * 1024];
    while let Ok(count) = stream.read(&mut chunk).await {
        let newest = if count == 0 { lines.finish() } else { lines.newest(&chunk[..count]) };
        if let (Some(progress), Some(line)) = (&progress, newest) {
            progress.say(&line);
        }
        if count == 0 {
            return;
        }
        tail.lock().unwrap_or_else(PoisonError::into_inner).push(&chunk[..count]);
    }
}

/// The arguments with the prompt in its place. A prompt that begins with a dash must never be read as an option: where it is an
/// argument of its own and no `--` stands before it, a blank is put in front.
fn arguments(written: &[String], prompt: &str) -> Vec<String> {
    let mut options_ended = false;
    written
        .iter()
        .map(|argument| {
            let begins_it = argument.starts_with(PROMPT);
            let filled = argument.replace(PROMPT, prompt);
            let guarded =
                if begins_it && !options_ended && filled.starts_with('-') { format!(" {filled}") } else { filled };
            options_ended |= argument == "--";
            guarded
        })
        .collect()
}

fn find(program: &str, path: Option<&std::ffi::OsStr>) -> Result<PathBuf, String> {
    let executable = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    let given = Path::new(program);
    if given.is_absolute() {
        return if executable(given) {
            Ok(given.into())
        } else {
            Err(format!("{program} is not there, or is no program"))
        };
    }
    if program.contains('/') {
        return Err(format!("{program}: give the whole path, or a name that is in PATH"));
    }
    std::env::split_paths(path.unwrap_or_default())
        // A relative entry would mean the project folder.
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(|path| executable(path))
        .ok_or_else(|| format!("{program} is not in PATH: install it, or give its whole path"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress;
    use hub::types::Task;
    use std::time::Instant;
    use tokio_util::sync::CancellationToken;

    struct Run {
        outcome: Outcome,
        took: Duration,
    }

    async fn run_with(argv: &[&str], prompt: &str, limit: Duration, stop_after: Option<Duration>) -> Run {
        let folder = tempfile::tempdir().unwrap();
        let task: Task = serde_json::from_value(
            serde_json::json!({"id": uuid::Uuid::new_v4(), "content": prompt, "status": "running", "attempt": 1}),
        )
        .unwrap();
        let (progress, reporter) = progress::channel();
        drop(reporter);
        let cancel = CancellationToken::new();
        let context = Context {
            marks: vec![(ATTEMPT_MARK.into(), format!("{}.1", task.id))],
            task,
            directory: folder.path().canonicalize().unwrap(),
            root: folder.path().canonicalize().unwrap(),
            folder: folder.path().to_path_buf(),
            progress,
            cancel: cancel.clone(),
            grace: Duration::from_millis(500),
        };
        let argv: Vec<String> = argv.iter().map(|text| (*text).to_owned()).collect();
        let agent = Command::new(&argv, limit, Some("claude".into()), std::env::vars_os().collect()).unwrap();
        if let Some(after) = stop_after {
            tokio::spawn(async move {
                sleep(after).await;
                cancel.cancel();
            });
        }
        let begun = Instant::now();
        let outcome = agent.run(context).await;
        Run { outcome, took: begun.elapsed() }
    }

    async fn run(argv: &[&str], prompt: &str) -> Outcome {
        run_with(argv, prompt, Duration::from_secs(20), None).await.outcome
    }

    fn result(outcome: Outcome) -> String {
        match outcome {
            Outcome::Complete { result, .. } => result,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_hostile_prompt_is_one_argument() {
        for prompt in ["'; touch x; '", "$(touch x)", "`id`", "a\nb", "\"quoted\" \\ back", "* ? ~ | && ;", "%s %n"] {
            let output = result(run(&["printf", "[%s]", "{prompt}"], prompt).await);
            assert_eq!(output, format!("[{prompt}]"));
        }
    }

    #[test]
    fn a_prompt_is_never_an_option() {
        let of =
            |argv: &[&str], prompt: &str| arguments(&argv.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>(), prompt);
        assert_eq!(of(&["-p", "{prompt}"], "--help"), ["-p", " --help"]);
        assert_eq!(of(&["-p", "--", "{prompt}"], "--help"), ["-p", "--", "--help"]);
        assert_eq!(of(&["--prompt={prompt}"], "-x"), ["--prompt=-x"]);
        assert_eq!(of(&["{prompt}", "{prompt}"], "plain {prompt}"), ["plain {prompt}", "plain {prompt}"]);
    }

    #[tokio::test]
    async fn the_exit_code_decides_between_complete_retry_and_failed() {
        assert_eq!(result(run(&["sh", "-c", "echo one; echo two"], "").await), "one\ntwo");
        let Outcome::Failed { error, retryable, meta } = run(&["sh", "-c", "echo out; echo why >&2; exit 3"], "").await
        else {
            panic!()
        };
        assert_eq!((error.as_str(), retryable, meta.exit_code), ("exit code 3\nwhy", false, Some(3)));
        let Outcome::Failed { retryable, .. } = run(&["sh", "-c", "exit 75"], "").await else { panic!() };
        assert!(retryable);
        let Outcome::Failed { error, retryable, .. } = run(&["sh", "-c", "kill -9 $$"], "").await else { panic!() };
        assert_eq!((error.as_str(), retryable), ("killed by signal 9", true));
    }

    #[tokio::test]
    async fn output_is_bounded() {
        let output =
            result(run(&["sh", "-c", "head -c 50000000 /dev/zero | tr '\\0' x; printf '\\377\\000end'"], "").await);
        assert!(output.len() <= RESULT + 10);
        assert!(output.ends_with("\u{fffd}end"));
    }

    #[tokio::test]
    async fn standard_input_is_closed_and_secrets_are_gone() {
        assert_eq!(result(run(&["sh", "-c", "cat; echo done"], "").await), "done");
        let output = result(run(&["env"], "").await);
        assert!(output.contains("HUB_TASK_ID=") && output.contains("PATH="), "{output}");
    }

    /// Ways out of the tree: another session, parents that are gone, ignoring TERM.
    const ESCAPES: &str =
        "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 300 & sleep 301 & wait' & (sh -c 'sleep 302 &' &); ";

    fn sleepers(attempt_of: &str) -> usize {
        std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| std::fs::read(entry.ok()?.path().join("environ")).ok())
            .filter(|environment| String::from_utf8_lossy(environment).contains(attempt_of))
            .count()
    }

    #[tokio::test]
    async fn the_whole_tree_ends_with_a_program_that_ends_well() {
        let tag = format!("HUB_TEST_TREE_{}", std::process::id());
        let script = format!("export TAG={tag}; {ESCAPES} sleep 0.3; echo started");
        assert_eq!(result(run(&["sh", "-c", &script], "").await), "started");
        assert_eq!(sleepers(&tag), 0);
    }

    #[tokio::test]
    async fn the_whole_tree_ends_when_it_is_stopped_or_out_of_time() {
        let tag = format!("HUB_TEST_STOP_{}", std::process::id());
        let script = format!("export TAG={tag}; {ESCAPES} sleep 300");
        let argv = ["sh", "-c", script.as_str()];
        let (stopped, at_work) =
            tokio::join!(run_with(&argv, "", Duration::from_secs(60), Some(Duration::from_millis(500))), async {
                sleep(Duration::from_millis(400)).await;
                sleepers(&tag)
            });
        // Else nothing would be shown by there being none afterwards.
        assert!(at_work >= 4, "only {at_work} of the escaping processes were there");
        assert!(matches!(stopped.outcome, Outcome::Stopped { .. }));
        assert!(stopped.took < Duration::from_secs(4), "{:?}", stopped.took);
        assert_eq!(sleepers(&tag), 0);
        let late = run_with(&["sh", "-c", &script], "", Duration::from_millis(300), None).await;
        assert!(
            matches!(late.outcome, Outcome::Failed { retryable: false, ref error, .. } if error.contains("timed out")),
            "{:?}",
            late.outcome
        );
        assert_eq!(sleepers(&tag), 0);
    }

    #[test]
    fn a_program_is_found_in_path_and_never_in_the_project() {
        let path = Some(std::ffi::OsStr::new("/bin:/usr/bin"));
        assert!(find("sh", path).unwrap().is_absolute());
        assert!(find("./sh", path).unwrap_err().contains("whole path"));
        assert!(find("no-such-program", path).unwrap_err().contains("PATH"));
        assert!(find("sh", Some(std::ffi::OsStr::new(".:bin"))).is_err());
    }

    #[tokio::test]
    async fn a_prompt_too_long_for_an_argument_is_a_clear_failure() {
        let Outcome::Failed { error, retryable, .. } = run(&["true", "{prompt}"], &"x".repeat(3_000_000)).await else {
            panic!()
        };
        assert!(error.contains("longer than this system takes") && !retryable, "{error}");
    }
}
