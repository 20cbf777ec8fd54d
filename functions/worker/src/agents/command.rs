//! The agent `command`: any program. Its arguments are a list; the prompt is one of them or is at standard input, and no shell ever reads
//! it.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::{FutureExt, future::BoxFuture};
use hub::types::{EndReason, Meta, Resumed};
use memchr::memmem;
use tokio::time::{Instant, sleep_until};

use super::{Agent, Context, ERRORS, Outcome, kept_text, meta, program};
use crate::{
    host::{self, Event, Exit, Host, Input, Reason, Spec, Watch, write_new},
    journal::set_waiting,
    output::{Lines, RESULT, Tail},
    redact::Redactor,
};

/// What the task's text takes the place of, in an argument.
pub(crate) const PROMPT: &str = "{prompt}";
/// The file of the attempt's folder that is the agent's standard input.
const PROMPT_FILE: &str = "prompt";
/// One argument has fewer bytes on Linux (`MAX_ARG_STRLEN`), whatever the program.
const ARGUMENT: usize = 128 * 1024;
/// `EX_TEMPFAIL` of sysexits: the program itself says that trying again makes sense.
const TRY_AGAIN: i32 = 75;

/// A program and how to call it.
#[derive(Debug)]
pub struct Command {
    program: PathBuf,
    arguments: Vec<String>,
    watch: Watch,
    final_word: Option<String>,
    model: Option<String>,
    environment: Vec<(OsString, OsString)>,
}

impl Command {
    /// Finds the program: a path that begins at the root of the file system, or a name that is looked up in `PATH` now, so that a
    /// project folder can not put another one in its place.
    pub(crate) fn new(
        argv: &[String],
        watch: Watch,
        final_word: Option<String>,
        model: Option<String>,
        environment: Vec<(OsString, OsString)>,
    ) -> Result<Self, String> {
        let (program, arguments) = argv.split_first().ok_or("argv is empty")?;
        let program = program::find(program)?;
        Ok(Self { program, arguments: arguments.to_vec(), watch, final_word, model, environment })
    }

    /// What a host is to run, the prompt where the agent looks for it. If that can not be: why, and whether trying again makes sense.
    fn prepare(&self, context: &Context) -> Result<Spec, (String, bool)> {
        let prompt = &context.prompt;
        let args = arguments(&self.arguments, prompt);
        if args.iter().any(|argument| argument.len() >= ARGUMENT) {
            return Err((too_long(prompt.len()), false));
        }
        let stdin = if self.arguments.iter().any(|argument| argument.contains(PROMPT)) {
            Input::Null
        } else {
            write_new(&context.folder.join(PROMPT_FILE), prompt.as_bytes())
                .map_err(|error| (format!("the prompt can not be written down: {}", error.kind()), true))?;
            Input::File(PROMPT_FILE.into())
        };
        Ok(Spec {
            program: self.program.clone(),
            args,
            directory: context.directory.clone(),
            stdin,
            watch: self.watch,
            grace_seconds: context.grace.as_secs_f64(),
        })
    }

    async fn execute(&self, context: Context) -> Outcome {
        let spec = match self.prepare(&context) {
            Ok(spec) => spec,
            Err((why, retryable)) => return Outcome::failed(why, retryable, EndReason::NotStarted),
        };
        let environment = self.environment.iter().chain(&context.marks).cloned().collect();
        let started = Host::start(&context.host, &spec, environment, &context.folder);
        let (host, mut events) = match started {
            Ok(started) => started,
            Err(error) => return program::no_host(&context, &error),
        };
        let (mut output, mut errors) = (Tail::new(RESULT, &context.redactor), Tail::new(ERRORS, &context.redactor));
        let mut lines = Lines::new(&context.redactor);
        let mut final_word = self.final_word.as_deref().map(FinalWord::new);
        let waits = &context.line.waits;
        let mut waiting = waits.subscribe();
        let (mut asked, mut parked) = (false, false);
        let exit = loop {
            let parked_at = waits.since().and_then(|since| since.checked_add(context.line.hold));
            let event = tokio::select! {
                biased;
                () = context.cancel.cancelled(), if !asked => {
                    (asked, parked) = (true, waits.since().is_some());
                    if parked {
                        // Whoever waits for a person learns that it waits on, not that nobody is asked any more.
                        waits.park();
                    }
                    host.stop("the attempt is to stop");
                    continue;
                }
                () = sleep_until(parked_at.unwrap_or_else(Instant::now)), if parked_at.is_some() && !asked => {
                    (asked, parked) = (true, true);
                    waits.park();
                    host.stop("nobody has answered yet");
                    continue;
                }
                Ok(()) = waiting.changed() => {
                    let waits = !waiting.borrow_and_update().is_empty();
                    set_waiting(&context.folder, waits);
                    host.waiting(waits);
                    continue;
                }
                event = events.next() => event,
            };
            match event {
                Some(Event::Output(bytes)) => {
                    if let Some(line) = lines.newest(&bytes) {
                        context.progress.say(&line);
                    }
                    output.push(&bytes);
                    if final_word.as_mut().is_some_and(|word| word.is_said(&bytes)) {
                        host.heard_final();
                        final_word = None;
                    }
                }
                Some(Event::Errors(bytes)) => errors.push(&bytes),
                Some(Event::Started { .. }) => {}
                Some(Event::Ended(exit)) => break exit,
                None => break Exit::of(Reason::HostGone),
            }
        };
        if let Some(line) = lines.finish() {
            context.progress.say(&line);
        }
        program::left_behind(&context, &exit);
        match self.judge(&exit, &output.text(), &errors.text()) {
            // It was told that its task waits. However it ended then, that is no end of the work.
            Outcome::Stopped { meta } | Outcome::Failed { meta, .. } | Outcome::Complete { meta, .. } if parked => {
                Outcome::Parked { meta }
            }
            outcome => outcome,
        }
    }

    /// Well is only what says that it is: it exited by itself with 0 and, where it has a final word, said it.
    fn judge(&self, exit: &Exit, output: &str, errors: &str) -> Outcome {
        let meta = Meta { model: self.model.clone(), ..meta(exit, errors) };
        let failed = |first: String, retryable: bool| Outcome::Failed {
            error: with_tail(first, errors, output),
            retryable,
            meta: meta.clone(),
        };
        let final_word = self.final_word.as_ref().map(|word| output.lines().any(|line| line.starts_with(word)));
        match (exit.reason, exit.code) {
            (Reason::Exit, Some(0)) if final_word == Some(false) => {
                failed("it ended without its final word".into(), true)
            }
            (Reason::Exit, Some(0)) => self.complete(output, meta),
            // Its final word was heard, or nobody would have counted.
            (Reason::Lingered, _) if final_word == Some(true) => self.complete(output, meta),
            (Reason::Exit, Some(code)) => failed(format!("exit code {code}"), code == TRY_AGAIN),
            // Not its own decision: killed for memory, by hand, or crashed.
            (Reason::Exit | Reason::Signal, _) => {
                failed(format!("killed by signal {}", exit.signal.unwrap_or_default()), true)
            }
            (Reason::Stopped, _) => Outcome::Stopped { meta },
            // It is handed on, so nobody is helped by half an output; the record has the end of it.
            (Reason::WorkerGone | Reason::HostGone, _) => {
                Outcome::Failed { error: program::gone(exit.reason).into(), retryable: true, meta: meta.clone() }
            }
            (Reason::NoOutput | Reason::Silent | Reason::Timeout, _) => {
                let (why, retryable) = program::watched(exit.reason, &self.watch);
                failed(why, retryable)
            }
            (Reason::Lingered, _) => failed("it did not exit after its final word".into(), true),
            (Reason::NotStarted, _) => program::not_started(&self.program, exit.failure.as_ref(), meta),
        }
    }

    fn complete(&self, output: &str, meta: Meta) -> Outcome {
        let meta = Meta { reason: Some(EndReason::Complete), ..meta };
        Outcome::Complete { result: if output.is_empty() { "(no output)".into() } else { output.to_owned() }, meta }
    }
}

impl Agent for Command {
    fn run(&self, context: Context) -> BoxFuture<'_, Outcome> {
        self.execute(context).boxed()
    }

    fn verdict(
        &self,
        exit: Exit,
        folder: &Path,
        _: Option<&Resumed>,
        redactor: &Arc<Redactor>,
    ) -> io::Result<Option<Outcome>> {
        let output = kept_text(folder, host::OUTPUT, RESULT, redactor)?;
        Ok(Some(self.judge(&exit, &output, &kept_text(folder, host::ERRORS, ERRORS, redactor)?)))
    }
}

fn too_long(length: usize) -> String {
    format!(
        "the prompt ({length} bytes) is longer than the {ARGUMENT} that one argument may have: leave {PROMPT} out of argv, and the agent \
         finds the prompt at its standard input"
    )
}

/// Why it failed: what it wrote to standard error, else to standard output.
fn with_tail(first: String, errors: &str, output: &str) -> String {
    let tail = if errors.is_empty() { output } else { errors };
    let start = tail.char_indices().rev().nth(4000).map_or(0, |(at, _)| at);
    if tail.is_empty() { first } else { format!("{first}\n{}", &tail[start..]) }
}

/// Looks for a line that begins with the final word, across the pieces in which output comes.
struct FinalWord {
    finder: memmem::Finder<'static>,
    /// The end of what was seen: as much as the word has, so one byte more than can be the beginning of it.
    seen: Vec<u8>,
}

impl FinalWord {
    fn new(word: &str) -> Self {
        // The output begins like a line.
        Self { finder: memmem::Finder::new(word).into_owned(), seen: vec![b'\n'] }
    }

    fn is_said(&mut self, piece: &[u8]) -> bool {
        let length = self.finder.needle().len();
        let begins_line =
            |bytes: &[u8]| self.finder.find_iter(bytes).any(|at| at > 0 && matches!(bytes[at - 1], b'\n' | b'\r'));
        let seam = [&self.seen, &piece[..piece.len().min(length)]].concat();
        let said = begins_line(&seam) || begins_line(piece);
        self.seen = if piece.len() >= length { piece } else { &seam }.to_vec();
        self.seen.drain(..self.seen.len().saturating_sub(length));
        said
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{host, line::Line, output::CUT, progress, redact::Redactor, spent::Spent};
    use hub::types::Task;
    use std::{sync::Arc, time::Duration};
    use tokio::time::sleep;
    use tokio_util::sync::CancellationToken;

    struct Run {
        outcome: Outcome,
        exit: Option<Exit>,
        took: Duration,
        folder: tempfile::TempDir,
    }

    fn agent(argv: &[&str], watch: Watch, final_word: Option<&str>) -> Command {
        let argv: Vec<String> = argv.iter().map(|text| (*text).to_owned()).collect();
        Command::new(&argv, watch, final_word.map(str::to_owned), Some("claude".into()), std::env::vars_os().collect())
            .unwrap()
    }

    const SECRET: &str = "0a1b2c3d4e5f6071829aabbccddeeff00112233445566778899aabbccddeeff0123456789abcdef1";

    fn redactor() -> Arc<Redactor> {
        Arc::new(Redactor::new([("A_KEY".into(), SECRET.into())].into_iter(), &[]).unwrap())
    }

    async fn run_agent(agent: &Command, prompt: &str, stop_after: Option<Duration>) -> Run {
        let project = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let task: Task = serde_json::from_value(
            serde_json::json!({"id": uuid::Uuid::new_v4(), "content": prompt, "status": "running", "attempt": 1}),
        )
        .unwrap();
        let (progress, reporter) = progress::channel();
        drop(reporter);
        let cancel = CancellationToken::new();
        let context = Context {
            marks: vec![("HUB_TASK_ID".into(), task.id.to_string().into())],
            host: host::tests::program(),
            folder: folder.path().to_owned(),
            prompt: task.content.clone(),
            session: None,
            task,
            directory: project.path().canonicalize().unwrap(),
            root: project.path().canonicalize().unwrap(),
            progress,
            spent: Spent::default(),
            cancel: cancel.clone(),
            grace: Duration::from_millis(500),
            redactor: redactor(),
            line: Line::dead(),
            carries: Vec::new(),
            further: false,
            limits: None,
            leases: None,
        };
        if let Some(after) = stop_after {
            tokio::spawn(async move {
                sleep(after).await;
                cancel.cancel();
            });
        }
        let begun = Instant::now();
        let outcome = agent.run(context).await;
        let exit = Exit::read(folder.path()).unwrap();
        Run { outcome, exit, took: begun.elapsed(), folder }
    }

    async fn run_with(argv: &[&str], prompt: &str, limit: Duration, stop_after: Option<Duration>) -> Run {
        let watch = Watch { total_seconds: Some(limit.as_secs_f64()), ..Watch::default() };
        run_agent(&agent(argv, watch, None), prompt, stop_after).await
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
    async fn a_prompt_is_at_standard_input_where_argv_has_no_place_for_it() {
        assert_eq!(result(run(&["sh", "-c", "cat; echo done"], "do $(this)\n").await), "do $(this)\ndone");
        assert_eq!(
            result(run(&["sh", "-c", "cat; echo \"$1\"", "sh", "{prompt}"], "as $(it) is").await),
            "as $(it) is"
        );
        let output = result(run(&["env"], "").await);
        assert!(output.contains("HUB_TASK_ID=") && output.contains("PATH="), "{output}");
    }

    #[tokio::test]
    async fn no_mistakes_485_a_prompt_over_128_kb() {
        let prompt = "x".repeat(3_000_000);
        assert_eq!(result(run(&["wc", "-c"], &prompt).await), "3000000");
        let Outcome::Failed { error, retryable, .. } = run(&["true", "{prompt}"], &prompt).await else { panic!() };
        assert!(error.contains("leave {prompt} out of argv") && !retryable, "{error}");
        // As long as one argument may be, and one byte longer.
        let most = "x".repeat(ARGUMENT - 1);
        assert_eq!(result(run(&["sh", "-c", "printf %s \"${#1}\"", "sh", "{prompt}"], &most).await), "131071");
        let more = "x".repeat(ARGUMENT);
        assert!(matches!(run(&["true", "{prompt}"], &more).await, Outcome::Failed { retryable: false, .. }));
    }

    #[tokio::test]
    async fn multica_5918_a_cancelled_agent_is_gone_though_it_ignores_term() {
        let script = "trap '' TERM INT; setsid sleep 4242 & while :; do sleep 0.1; done";
        let run = run_with(&["sh", "-c", script], "", Duration::from_secs(60), Some(Duration::from_millis(300))).await;
        assert!(matches!(run.outcome, Outcome::Stopped { .. }), "{:?}", run.outcome);
        assert!(run.took < Duration::from_secs(30), "{:?}", run.took);
        let exit = run.exit.unwrap();
        assert_eq!((exit.reason, exit.signal, exit.processes_left), (Reason::Stopped, Some(9), 0));
    }

    #[tokio::test]
    async fn an_agent_that_does_not_stop_by_itself_is_ended_and_why_is_said() {
        let watch = Watch { total_seconds: Some(20.0), ..Watch::default() };
        for (script, watch, says, again) in [
            ("sleep 60", Watch { first_output_seconds: Some(0.3), ..watch }, "nothing within 0.3 s of its start", true),
            ("echo a; sleep 60", Watch { silence_seconds: Some(0.3), ..watch }, "nothing for 0.3 s", true),
            (
                "while sleep 0.05; do echo a; done",
                Watch { total_seconds: Some(0.5), ..watch },
                "timed out after 0.5 s",
                false,
            ),
        ] {
            let run = run_agent(&agent(&["sh", "-c", script], watch, None), "", None).await;
            let Outcome::Failed { error, retryable, .. } = &run.outcome else { panic!("{:?}", run.outcome) };
            assert!(error.contains(says) && *retryable == again, "{error}");
            assert!(run.took < Duration::from_secs(15), "{:?}", run.took);
        }
    }

    #[tokio::test]
    async fn where_there_is_a_final_word_only_it_makes_success() {
        let watch = Watch { total_seconds: Some(20.0), linger_seconds: Some(0.3), ..Watch::default() };
        let run = async |script: &str| run_agent(&agent(&["sh", "-c", script], watch, Some("DONE:")), "", None).await;
        assert_eq!(result(run("echo work; echo 'DONE: well'").await.outcome), "work\nDONE: well");
        // Told to end from outside, it exits as if all were well. (Not by INT: that is ignored below a shell's background job.)
        let interrupted = run("trap 'exit 0' TERM; echo work; kill -TERM $$; sleep 5; echo DONE:").await;
        let Outcome::Failed { error, retryable, .. } = interrupted.outcome else { panic!() };
        assert!(error.starts_with("it ended without its final word") && retryable, "{error}");
        let Outcome::Failed { .. } = run("echo 'not DONE: yet'").await.outcome else { panic!() };
        let Outcome::Failed { error, .. } = run("echo DONE:; exit 4").await.outcome else { panic!() };
        assert!(error.starts_with("exit code 4"));
        // It said so, and something of it hangs.
        let lingering = run("echo DONE:; sleep 60").await;
        assert_eq!(lingering.exit.as_ref().unwrap().reason, Reason::Lingered);
        assert!(lingering.took < Duration::from_secs(15), "{:?}", lingering.took);
        assert_eq!(result(lingering.outcome), "DONE:");
    }

    #[test]
    fn a_final_word_is_found_in_any_pieces_and_only_where_a_line_begins() {
        let heard = |stream: &[u8], size: usize| {
            let mut word = FinalWord::new("DONE");
            stream.chunks(size).any(|piece| word.is_said(piece))
        };
        for size in 1..20 {
            assert!(heard(b"DONE", size), "in pieces of {size}");
            assert!(heard(b"some\nlines\nDONE and more", size), "in pieces of {size}");
            assert!(heard(b"0%\rDONE", size), "in pieces of {size}");
            assert!(!heard(b"not DONE\nDON\nE xDONE DO", size), "in pieces of {size}");
        }
    }

    #[tokio::test]
    async fn a_later_worker_judges_by_the_folder_as_the_first_would_have() {
        for script in [
            "echo one; echo two; echo why >&2",
            "echo out; echo why >&2; exit 3",
            "kill -9 $$",
            "head -c 200000 /dev/zero | tr '\\0' x",
            "head -c 500000 /dev/zero | tr '\\0' x; echo end",
        ] {
            let agent = agent(&["sh", "-c", script], Watch::default(), None);
            let run = run_agent(&agent, "", None).await;
            let judged = agent.verdict(run.exit.unwrap(), run.folder.path(), None, &redactor()).unwrap();
            assert_eq!(judged, Some(run.outcome), "{script}");
        }
    }

    #[tokio::test]
    async fn a_secret_at_a_cut_is_shown_to_nobody_by_halves() {
        let lengths = [RESULT - CUT.len(), ERRORS - CUT.len(), 4000, RESULT * 4, ERRORS * 4];
        for (length, exit) in lengths.into_iter().flat_map(|length| [(length, 0), (length, 4)]) {
            // On both streams, so that half of it lies where each is cut.
            let script = format!(
                "(head -c 500000 /dev/zero | tr '\\0' x; printf %s {SECRET}; head -c {} /dev/zero | tr '\\0' y) | tee /dev/stderr; exit {exit}",
                length - SECRET.len() / 2
            );
            let agent = agent(&["sh", "-c", &script], Watch::default(), None);
            let run = run_agent(&agent, "", None).await;
            let later = agent.verdict(run.exit.unwrap(), run.folder.path(), None, &redactor()).unwrap().unwrap();
            assert_eq!(later, run.outcome);
            let shown = format!("{:?}", later.shown(&redactor()));
            assert!(!(0..SECRET.len() - 6).any(|at| shown.contains(&SECRET[at..at + 6])), "{length} {exit}");
        }
    }

    #[tokio::test]
    async fn a_program_that_can_not_be_started_is_told_with_the_reason() {
        let gone = Command { program: "/nowhere/agent".into(), ..agent(&["true"], Watch::default(), None) };
        let Outcome::Failed { error, retryable, .. } = run_agent(&gone, "", None).await.outcome else { panic!() };
        assert!(error.contains("/nowhere/agent can not be started") && !retryable, "{error}");
    }

    #[tokio::test]
    async fn output_that_is_no_text_becomes_text() {
        let output = result(run(&["printf", "a\\377\\376b\\000c\\n\\303"], "").await);
        assert_eq!(output, "a\u{fffd}\u{fffd}bc\n\u{fffd}");
    }
}
