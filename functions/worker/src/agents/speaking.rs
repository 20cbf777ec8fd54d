//! An agent whose program speaks a language that is known (`functions/agents`): it is listened to while it works, answered, and judged
//! by what it said.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::Utc;
use futures_util::{FutureExt, future::BoxFuture};
use hub::types::{EndReason, Limit, LimitSource, LimitWindow, Meta};
use hub_agents::{
    Ask, Class, Codec, Command, Decision, Dialect, End, Event, Figures, How, Job, Known, Step, StepState, Turn,
    Verdict, Window,
};
use tokio::time::{Instant, sleep_until};

use super::{Adapter, Agent, Context, ERRORS, Outcome, Speaks, kept_text, meta, program};
use crate::{
    host::{self, Exit, Host, Input, Reason, Spec},
    output::Tail,
    progress::Progress,
    redact::Redactor,
};

/// A program that is told that its login is wrong may try again for so long, in case that passes.
const LOGIN: Duration = Duration::from_secs(15);
/// As much of what was kept as is read again: all of it.
const KEPT: usize = 32 * 1024 * 1024;
/// As many changed files as a result names.
const FILES: usize = 10;

/// A program and the language it speaks.
#[derive(Debug)]
pub struct Speaking {
    agent: String,
    speaks: Speaks,
    program: PathBuf,
    environment: Vec<(OsString, OsString)>,
    dialect: Dialect,
}

impl Speaking {
    pub(crate) async fn new(
        agent: String,
        speaks: &Speaks,
        environment: Vec<(OsString, OsString)>,
    ) -> Result<Self, String> {
        let program = program::find(&speaks.program)?;
        let known = Known::of(&speaks.program).map(|known| known.dialect);
        let dialect = match speaks.adapter {
            Adapter::Claude => Dialect::Claude,
            Adapter::Codex if program::succeeds(&program, &["app-server", "--help"], &environment).await => {
                Dialect::Codex
            }
            Adapter::Codex => Dialect::CodexExec,
            Adapter::Acp if known == Some(Dialect::Gemini) => Dialect::Gemini,
            Adapter::Acp => Dialect::Acp,
        };
        Ok(Self { agent, speaks: speaks.clone(), program, environment, dialect })
    }

    fn job(&self, prompt: &str, directory: &Path) -> Job {
        Job {
            prompt: prompt.to_owned(),
            folder: directory.to_string_lossy().into_owned(),
            model: self.speaks.model.clone(),
            policy: self.speaks.policy,
            resume: None,
            used: Default::default(),
            now: Utc::now(),
        }
    }

    fn spec(&self, job: &Job, context: &Context) -> Spec {
        let trusted = self.speaks.trusts(context.task.project.as_deref());
        Spec {
            program: self.program.clone(),
            args: self.dialect.arguments(job, trusted, &self.speaks.args),
            directory: context.directory.clone(),
            stdin: Input::Pipe,
            watch: self.speaks.watch,
            grace_seconds: context.grace.as_secs_f64(),
        }
    }

    async fn execute(&self, context: Context) -> Outcome {
        let job = self.job(&context.task.content, &context.directory);
        let spec = self.spec(&job, &context);
        let started = Host::start(&context.host, &spec, self.variables(&job, &context), &context.folder);
        let (host, mut events) = match started {
            Ok(started) => started,
            Err(error) => return program::no_host(&context, &error),
        };
        let mut talk = Talk {
            speaking: self,
            host,
            progress: &context.progress,
            retries: BTreeSet::new(),
            login: None,
            over: false,
        };
        let mut codec = self.dialect.codec(job);
        let mut errors = Tail::new(ERRORS, &context.redactor);
        let mut turn = Turn::default();
        codec.begin(&mut turn);
        talk.hear(codec.as_mut(), &mut turn).await;
        let (mut asked, mut well_before) = (false, false);
        let exit = loop {
            let event = tokio::select! {
                biased;
                () = context.cancel.cancelled(), if !asked => {
                    // A program that is ended may still say that all is well. What it said before counts.
                    (asked, well_before) = (true, talk.over);
                    talk.host.stop("the attempt is to stop");
                    continue;
                }
                () = sleep_until(talk.login.unwrap_or_else(Instant::now)), if talk.login.is_some() && !asked => {
                    talk.login = None;
                    talk.host.stop(GAVE_UP);
                    continue;
                }
                event = events.next() => event,
            };
            match event {
                Some(host::Event::Output(bytes)) => {
                    codec.feed(&bytes, &mut turn);
                    talk.hear(codec.as_mut(), &mut turn).await;
                }
                Some(host::Event::Errors(bytes)) => errors.push(&bytes),
                Some(host::Event::Started { .. }) => {}
                Some(host::Event::Ended(exit)) => break exit,
                None => break Exit::of(Reason::HostGone),
            }
        };
        codec.finish(&mut turn);
        talk.hear(codec.as_mut(), &mut turn).await;
        program::left_behind(&context, &exit);
        self.judge(codec.as_ref(), &exit, &errors.text(), well_before)
    }

    fn variables(&self, job: &Job, context: &Context) -> Vec<(OsString, OsString)> {
        let ours = self.dialect.environment(job);
        // What the machine's owner has set stays.
        let ours = ours.into_iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let ours = ours.filter(|(name, _)| self.environment.iter().all(|(set, _)| set != name));
        ours.chain(self.environment.iter().chain(&context.marks).cloned()).collect()
    }

    fn judge(&self, codec: &dyn Codec, exit: &Exit, errors: &str, well_before: bool) -> Outcome {
        let end = match exit.reason {
            Reason::Exit => exit.code.map_or(End::Signal(0), End::Exit),
            Reason::Signal => End::Signal(exit.signal.unwrap_or_default()),
            Reason::Lingered => End::Lingered,
            Reason::NotStarted => {
                return program::not_started(&self.program, exit.failure.as_ref(), meta(exit, errors));
            }
            _ => End::Cut,
        };
        let gave_up = exit.stopped_for.as_deref() == Some(GAVE_UP);
        let verdict = codec.verdict(&How { end, errors });
        let mut meta = self.record(&verdict, meta(exit, errors));
        let known = matches!(verdict.class, Some(Class::Auth | Class::Limit | Class::Overloaded | Class::ContextFull));
        match exit.reason {
            Reason::Stopped if !gave_up && !well_before => return Outcome::Stopped { meta },
            // What it said before its worker died holds: that it is done, or why it can not go on. Nobody asked it to stop.
            Reason::WorkerGone | Reason::HostGone
                if !known && verdict.class.is_some_and(|class| class != Class::Denied) =>
            {
                return Outcome::Failed { error: program::gone(exit.reason).into(), retryable: true, meta };
            }
            Reason::NoOutput | Reason::Silent | Reason::Timeout if !known => {
                let (error, retryable) = program::watched(exit.reason, &self.speaks.watch);
                return Outcome::Failed { error, retryable, meta };
            }
            _ => {}
        }
        match verdict.class {
            None => {
                meta.reason = Some(EndReason::Complete);
                Outcome::Complete { result: self.result(&verdict, &meta), meta }
            }
            Some(class) => {
                meta.reason = Some(reason(class));
                let remedy = verdict.remedy.map(|remedy| format!("\n{remedy}")).unwrap_or_default();
                Outcome::Failed { error: verdict.text + &remedy, retryable: verdict.retry, meta }
            }
        }
    }

    /// What the run record is to say.
    fn record(&self, verdict: &Verdict, meta: Meta) -> Meta {
        let Figures { session, model, version, tokens, cost_usd, notional, turns, tool_calls, .. } = &verdict.figures;
        let used = tokens.input > 0 || tokens.output > 0;
        let count = |tokens: u64| Some(i64::try_from(tokens).unwrap_or(i64::MAX)).filter(|_| used);
        let by_table = || hub_agents::cost(self.speaks.prices.as_ref(), model.as_deref(), *tokens).filter(|_| used);
        let cost = cost_usd.or_else(by_table);
        Meta {
            model: model.clone().or_else(|| self.speaks.model.clone()),
            session_id: session.clone().filter(|_| verdict.resumable),
            cost_usd: cost,
            cost_notional: cost.map(|_| *notional || cost_usd.is_none()),
            tokens_in: count(tokens.input),
            tokens_out: count(tokens.output),
            tokens_cached: count(tokens.cached),
            turns: i32::try_from(*turns).ok().filter(|turns| *turns > 0),
            tool_calls: i32::try_from(*tool_calls).ok(),
            agent_version: version.clone(),
            limit: verdict.limit.as_ref().map(limit),
            ..meta
        }
    }

    /// What people read of a run that went well: its last words, what it changed, what it cost.
    fn result(&self, verdict: &Verdict, meta: &Meta) -> String {
        let mut text = verdict.text.trim().to_owned();
        if text.is_empty() {
            text.push_str("(It ended without a word.)");
        }
        let files = &verdict.figures.files;
        let mut separator = "\n\n";
        if !files.is_empty() {
            let named = files.iter().take(FILES).cloned().collect::<Vec<_>>().join(", ");
            let more = files.len().saturating_sub(FILES);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            write!(text, "{separator}Changed: {named}{more}").ok();
            separator = "\n";
        }
        if let Some(cost) = meta.cost_usd.filter(|cost| *cost > 0.0) {
            let worth = if meta.cost_notional == Some(true) { "Worth" } else { "Cost" };
            write!(text, "{separator}{worth}: {}", dollars(cost)).ok();
            if let (Some(input), Some(output)) = (meta.tokens_in, meta.tokens_out) {
                write!(text, " ({input} tokens in, {output} out)").ok();
            }
        }
        text
    }
}

/// In the record of a host that was told to end a program whose login is wrong.
const GAVE_UP: &str = "its login is not accepted";

fn limit(limit: &hub_agents::Limit) -> Limit {
    Limit {
        until: limit.until,
        source: Some(match limit.source {
            hub_agents::LimitSource::Structured => LimitSource::Structured,
            hub_agents::LimitSource::Text => LimitSource::Text,
            hub_agents::LimitSource::Guess => LimitSource::Guess,
        }),
        model: limit.model.clone(),
        window: limit.window.map(|window| match window {
            Window::FiveHours => LimitWindow::FiveHour,
            Window::SevenDays => LimitWindow::SevenDay,
            Window::Day => LimitWindow::Day,
            Window::Minute => LimitWindow::Minute,
        }),
    }
}

fn reason(class: Class) -> EndReason {
    match class {
        Class::Auth => EndReason::Auth,
        Class::Limit => EndReason::Limit,
        Class::Overloaded => EndReason::Overloaded,
        Class::ContextFull => EndReason::ContextFull,
        Class::Denied => EndReason::Denied,
        Class::Refused => EndReason::Refused,
        Class::Crashed => EndReason::Crashed,
        Class::Silent => EndReason::Silent,
        Class::BadConfig => EndReason::BadConfig,
    }
}

/// Cents where there are some, else as much as shows that it is not nothing.
fn dollars(cost: f64) -> String {
    if cost >= 0.1 { format!("${cost:.2}") } else { format!("${cost:.4}") }
}

/// A talk with a program that runs.
struct Talk<'a> {
    speaking: &'a Speaking,
    host: Host,
    progress: &'a Progress,
    /// Which failures of the provider were told: each once.
    retries: BTreeSet<&'static str>,
    /// Until when its login may turn out right.
    login: Option<Instant>,
    /// It has said its final word.
    over: bool,
}

impl Talk<'_> {
    /// Acts on what a codec has to tell, and answers; empties `turn`.
    async fn hear(&mut self, codec: &mut dyn Codec, turn: &mut Turn) {
        loop {
            self.write(turn);
            if turn.events.is_empty() {
                return;
            }
            for event in std::mem::take(&mut turn.events) {
                if let Some(command) = self.act(event).await {
                    codec.command(command, turn);
                }
            }
        }
    }

    fn write(&self, turn: &mut Turn) {
        if !turn.input.is_empty() {
            self.host.input(&std::mem::take(&mut turn.input));
        }
        if std::mem::take(&mut turn.close_input) {
            self.host.close_input();
        }
    }

    /// What is to be said to the program, if anything is.
    async fn act(&mut self, event: Event) -> Option<Command> {
        match event {
            Event::Text(text) => self.progress.say(&text),
            Event::ToolStart { words, .. } | Event::ToolEnd { words: Some(words), .. } => self.progress.say(&words),
            Event::Plan(steps) => {
                if let Some(line) = plan(&steps) {
                    self.progress.say(&line);
                }
            }
            Event::Retry { attempt, of, status, class, text } => self.retry(attempt, of, status, class, &text).await,
            // Until when, the hub says: it decides what it believes of that.
            Event::Limit(limit) if limit.met => {
                self.progress.step(&format!("{} is at its limit", self.speaking.agent)).await;
            }
            Event::Fallback { to, .. } => self.progress.step(&format!("Going on with {to}")).await,
            Event::Denied { what, why } => self.progress.say(&format!("Not allowed: {what} ({why})")),
            Event::Ask(ask) => return Some(answer(ask, self.speaking)),
            Event::Final => {
                self.over = true;
                self.login = None;
                self.host.heard_final();
            }
            _ => {}
        }
        None
    }

    async fn retry(&mut self, attempt: u32, of: Option<u32>, status: Option<u16>, class: Option<Class>, text: &str) {
        if class == Some(Class::Auth) && self.login.is_none() {
            self.login = Some(Instant::now() + LOGIN);
        }
        let what = match class {
            Some(Class::Auth) => format!("{}'s login is not accepted", self.speaking.agent),
            Some(Class::Limit) => format!("{} is at its limit", self.speaking.agent),
            Some(Class::Overloaded) => format!("{}'s provider is overloaded", self.speaking.agent),
            _ if !matches!(text.trim(), "" | "unknown") => text.trim().to_owned(),
            _ => format!("{}'s provider does not answer as it should", self.speaking.agent),
        };
        let status = status.map(|status| format!(" ({status})")).unwrap_or_default();
        let of = of.map(|of| format!(" of {of}")).unwrap_or_default();
        let line = format!("{what}{status}, trying again: {attempt}{of}");
        // The first of a kind must be seen; the rest would use up the notes.
        if self.retries.insert(class.map_or("", Class::name)) {
            self.progress.step(&line).await;
        } else {
            self.progress.say(&line);
        }
    }
}

/// Nobody can be asked, so what goes beyond the policy is refused, and what is a matter of taste is the agent's own choice.
fn answer(ask: Ask, speaking: &Speaking) -> Command {
    let decision = if ask.permission {
        Decision::Deny(format!(
            "Not allowed: the owner of this machine gave this agent the policy {}. Do what is asked without it, or say what you could not do.",
            speaking.speaks.policy.name()
        ))
    } else {
        Decision::Say(
            "Nobody can answer now. Choose what seems best, go on, and say at the end what you assumed.".into(),
        )
    };
    Command::Answer { id: ask.id, decision }
}

/// `Plan, 2 of 5 done: Running the tests`.
fn plan(steps: &[Step]) -> Option<String> {
    let done = steps.iter().filter(|step| step.state == StepState::Done).count();
    let now = steps
        .iter()
        .find(|step| step.state == StepState::Running)
        .or_else(|| steps.iter().find(|step| step.state == StepState::Pending));
    let now = now.map(|step| format!(": {}", step.text)).unwrap_or_default();
    (!steps.is_empty()).then(|| format!("Plan, {done} of {} done{now}", steps.len()))
}

impl Agent for Speaking {
    fn run(&self, context: Context) -> BoxFuture<'_, Outcome> {
        self.execute(context).boxed()
    }

    fn verdict(&self, exit: Exit, folder: &Path, redactor: &Arc<Redactor>) -> io::Result<Option<Outcome>> {
        let mut codec = self.dialect.codec(self.job("", &Spec::read(folder)?.directory));
        // What it would write now is for nobody.
        let mut turn = Turn::default();
        codec.begin(&mut turn);
        for line in host::kept_tail(folder, host::OUTPUT, KEPT)?.split_inclusive(|byte| *byte == b'\n') {
            codec.feed(line, &mut turn);
            // As it was answered then: some programs tell of a refusal in no other way.
            for event in std::mem::take(&mut turn).events {
                if let Event::Ask(ask) = event {
                    codec.command(answer(ask, self), &mut turn);
                }
            }
        }
        codec.finish(&mut turn);
        let errors = kept_text(folder, host::ERRORS, ERRORS, redactor)?;
        Ok(Some(self.judge(codec.as_ref(), &exit, &errors, false)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{agents::tests::context, host::Watch};
    use hub_agents::Policy;
    use tokio::time::sleep;

    /// The ACP agent of the codecs' tests: it does what its prompt says.
    async fn agent(watch: Watch) -> Speaking {
        let test = std::env::current_exe().unwrap();
        let program = test.ancestors().nth(2).unwrap().join("examples/acp_agent");
        assert!(program.exists(), "{} is missing: cargo test --workspace builds it", program.display());
        let speaks = Speaks {
            adapter: Adapter::Acp,
            program: program.to_str().unwrap().into(),
            args: Vec::new(),
            model: None,
            policy: Policy::Edit,
            trusted: Vec::new(),
            prices: None,
            watch,
        };
        Speaking::new("mine".into(), &speaks, std::env::vars_os().collect()).await.unwrap()
    }

    async fn run(prompt: &str) -> (Outcome, tempfile::TempDir) {
        let place = tempfile::tempdir().unwrap();
        let outcome = agent(Watch::default()).await.run(context(prompt, place.path())).await;
        (outcome, place)
    }

    #[tokio::test]
    async fn what_it_did_is_in_the_result_and_in_the_record() {
        let (outcome, place) = run("plan tool edit:notes.txt usage say:all_is_done").await;
        let Outcome::Complete { result, meta } = outcome else { panic!("{outcome:?}") };
        assert!(result.starts_with("all is done\n\nChanged: notes.txt"), "{result}");
        assert!(place.path().join("project/notes.txt").exists());
        assert_eq!(meta.reason, Some(EndReason::Complete));
        assert!(meta.tool_calls >= Some(2) && meta.session_id.is_some(), "{meta:?}");
    }

    #[tokio::test]
    async fn claude_code_76867_what_was_refused_is_no_success() {
        for prompt in ["edit:/etc/made-by-a-test say:done", "ask:other say:done"] {
            let (outcome, _place) = run(prompt).await;
            let Outcome::Failed { error, retryable: false, meta } = outcome else { panic!("{outcome:?}") };
            assert_eq!(meta.reason, Some(EndReason::Denied), "{error}");
        }
    }

    #[tokio::test]
    async fn every_end_has_its_class_and_a_sentence() {
        for (prompt, reason) in [
            ("auth", EndReason::Auth),
            ("limit", EndReason::Limit),
            ("overloaded", EndReason::Overloaded),
            ("full", EndReason::ContextFull),
            ("crash", EndReason::Crashed),
            ("exit:0", EndReason::Silent),
            ("broken nobody wrong_id unknown deep crash", EndReason::Crashed),
        ] {
            let (outcome, _place) = run(prompt).await;
            let Outcome::Failed { error, meta, .. } = outcome else { panic!("{prompt}: {outcome:?}") };
            assert_eq!(meta.reason, Some(reason), "{prompt}: {error}");
            assert!(!error.is_empty() && error.lines().count() <= 2, "{prompt}: {error}");
        }
    }

    #[tokio::test]
    async fn a_later_worker_comes_to_the_same_verdict() {
        for prompt in
            ["tool edit:notes.txt say:done", "auth", "edit:/etc/made-by-a-test say:done", "broken say:done", "crash"]
        {
            let place = tempfile::tempdir().unwrap();
            let (agent, context) = (agent(Watch::default()).await, context(prompt, place.path()));
            let (folder, redactor) = (context.folder.clone(), Arc::clone(&context.redactor));
            let live = agent.run(context).await;
            let exit = Exit::read(&folder).unwrap().unwrap();
            let later = agent.verdict(exit, &folder, &redactor).unwrap().unwrap();
            match (&live, &later) {
                (Outcome::Complete { result: one, meta }, Outcome::Complete { result: other, meta: later }) => {
                    assert_eq!((one, &meta.session_id), (other, &later.session_id), "{prompt}");
                }
                (Outcome::Failed { meta, retryable, .. }, Outcome::Failed { meta: later, retryable: again, .. }) => {
                    assert_eq!((meta.reason, retryable), (later.reason, again), "{prompt}");
                }
                other => panic!("{prompt}: {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn what_was_said_before_the_worker_died_holds() {
        for (prompt, reason) in [
            ("edit:notes.txt say:done", EndReason::Complete),
            ("limit", EndReason::Limit),
            ("edit:/etc/made-by-a-test say:done", EndReason::Denied),
            ("say:half crash", EndReason::WorkerGone),
        ] {
            let place = tempfile::tempdir().unwrap();
            let (agent, context) = (agent(Watch::default()).await, context(prompt, place.path()));
            let (folder, redactor) = (context.folder.clone(), Arc::clone(&context.redactor));
            agent.run(context).await;
            let outcome = agent.verdict(Exit::of(Reason::WorkerGone), &folder, &redactor).unwrap().unwrap();
            let (Outcome::Complete { meta, .. } | Outcome::Failed { meta, .. } | Outcome::Stopped { meta }) = outcome;
            assert_eq!(meta.reason, Some(reason), "{prompt}");
        }
    }

    #[tokio::test]
    async fn one_that_is_told_to_stop_stops_though_it_is_in_the_middle() {
        let place = tempfile::tempdir().unwrap();
        let context = context("say:one wait:60000 say:two", place.path());
        let cancel = context.cancel.clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(500)).await;
            cancel.cancel();
        });
        let outcome = agent(Watch::default()).await.run(context).await;
        assert!(matches!(outcome, Outcome::Stopped { .. }), "{outcome:?}");
    }

    #[tokio::test]
    async fn claude_code_25629_one_that_stays_after_its_final_word_has_done_its_work() {
        let place = tempfile::tempdir().unwrap();
        let watch = Watch { linger_seconds: Some(0.3), ..Watch::default() };
        let outcome = agent(watch).await.run(context("linger say:done", place.path())).await;
        assert!(matches!(&outcome, Outcome::Complete { result, .. } if result == "done"), "{outcome:?}");
    }

    #[tokio::test]
    async fn claude_code_39700_one_that_never_answers_is_ended_and_tried_again() {
        let place = tempfile::tempdir().unwrap();
        let watch = Watch { silence_seconds: Some(0.5), ..Watch::default() };
        let outcome = agent(watch).await.run(context("silent", place.path())).await;
        let Outcome::Failed { error, retryable: true, meta } = outcome else { panic!("{outcome:?}") };
        assert!(meta.reason == Some(EndReason::Silent) && error.contains("said nothing for 0.5 s"), "{error}");
    }

    #[test]
    fn a_project_is_trusted_by_its_name_below_a_folder_or_with_all() {
        let trusts = |trusted: &[&str], project: Option<&str>| {
            let trusted = trusted.iter().map(|text| (*text).to_owned()).collect();
            let speaks = Speaks {
                adapter: Adapter::Claude,
                program: "claude".into(),
                args: Vec::new(),
                model: None,
                policy: Policy::Edit,
                trusted,
                prices: None,
                watch: Watch::default(),
            };
            speaks.trusts(project)
        };
        assert!(trusts(&["app"], Some("app")) && trusts(&["team/*"], Some("team/app")) && trusts(&["*"], Some("x")));
        assert!(!trusts(&[], Some("app")) && !trusts(&["app"], Some("app2")) && !trusts(&["team/*"], Some("teams")));
        assert!(!trusts(&["app"], None));
    }
}
