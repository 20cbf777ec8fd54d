//! An agent whose program speaks a language that is known (`functions/agents`): it is listened to while it works, answered, and judged
//! by what it said.

use std::{
    ffi::OsString,
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::Utc;
use futures_util::{FutureExt, future::BoxFuture};
use hub::types::{EndReason, Limit, LimitSource, LimitWindow, Meta, ModelTokens, Resumed, SessionState, Used};
use hub_agents::{
    Ask, Class, Codec, Command, Decision, Dialect, End, Event, Figures, How, Job, Known, Tokens, Turn, Verdict, Window,
};

use super::{
    Adapter, Agent, Context, ERRORS, Outcome, Speaks,
    home::Home,
    kept_text, meta, program,
    refresh::{self, Login},
    talk::{self, Leaving, Talk},
};
use crate::{
    door,
    host::{self, Exit, Host, Input, Reason, Spec},
    redact::Redactor,
    spent::sum,
};

/// How long Gemini CLI may stay after its final word, in seconds, where it has a server.
const GEMINI_LINGERS: f64 = 1.0;
/// As much of what was kept as is read again: all of it.
const KEPT: usize = 32 * 1024 * 1024;
/// As many changed files as a result names.
const FILES: usize = 10;

/// A program and the language it speaks.
#[derive(Debug)]
pub struct Speaking {
    pub(super) agent: String,
    speaks: Speaks,
    program: PathBuf,
    environment: Vec<(OsString, OsString)>,
    pub(super) home: Home,
    dialect: Dialect,
    login: Option<Login>,
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
        let home = Home::of(&environment);
        let login = Login::of(&speaks.program, &environment);
        Ok(Self { agent, speaks: speaks.clone(), program, environment, home, dialect, login })
    }

    fn job(&self, prompt: &str, directory: &Path, session: Option<&Resumed>) -> Job {
        Job {
            prompt: prompt.to_owned(),
            folder: directory.to_string_lossy().into_owned(),
            model: self.speaks.model.clone(),
            policy: self.speaks.policy,
            resume: session.map(|session| session.id.clone()),
            used: session.map(had_used).unwrap_or_default(),
            hub: None,
            now: Utc::now(),
        }
    }

    /// Whether people are asked for what goes beyond its policy, and for what it wants to know.
    pub(super) fn asks(&self) -> bool {
        self.speaks.ask
    }

    /// Whether a refusal reaches its model with the words that go with it.
    pub(super) fn explains(&self) -> bool {
        self.dialect == Dialect::Claude
    }

    /// Where nobody can be asked, what goes beyond the policy is refused, and what is a matter of taste is the agent's own choice.
    pub(super) fn nobody(&self, ask: &Ask) -> Decision {
        if ask.permission {
            Decision::Deny(format!(
                "Not allowed: the owner of this machine gave this agent the policy {}. Do what is asked without it, or say what you could not do.",
                self.speaks.policy.name()
            ))
        } else {
            Decision::Say(
                "Nobody can answer now. Choose what seems best, go on, and say at the end what you assumed.".into(),
            )
        }
    }

    fn spec(&self, job: &Job, context: &Context) -> Spec {
        let trusted = self.speaks.trusts(context.task.project.as_deref());
        let mut watch = self.speaks.watch;
        if self.dialect == Dialect::Gemini && job.hub.is_some() {
            // It stays as long as a server of its own runs, and that runs as long as it stays: nothing is to be waited for.
            watch.linger_seconds = watch.linger_seconds.map(|seconds| seconds.min(GEMINI_LINGERS));
        }
        Spec {
            program: self.program.clone(),
            args: self.dialect.arguments(job, trusted, &self.speaks.args),
            directory: context.directory.clone(),
            stdin: Input::Pipe,
            watch,
            grace_seconds: context.grace.as_secs_f64(),
        }
    }

    async fn execute(&self, context: Context) -> Outcome {
        let refreshing = match self.turn(&context).await {
            Ok(turn) => turn,
            Err(outcome) => return *outcome,
        };
        let hub = door::server(&context);
        let job = Job { hub, ..self.job(&context.prompt, &context.directory, context.session.as_ref()) };
        let spec = self.spec(&job, &context);
        context.spent.next_run();
        let started = Host::start(&context.host, &spec, self.variables(&job, &context), &context.folder);
        let (host, events) = match started {
            Ok(started) => started,
            Err(error) => return program::no_host(&context, &error),
        };
        let codec = self.dialect.codec(job);
        let ended = Talk::new(self, &context, host, codec, refreshing).hold(events).await;
        program::left_behind(&context, &ended.exit);
        self.judge(ended.codec.as_ref(), &ended.exit, &ended.errors, ended.left, context.session.as_ref())
    }

    /// Waits for its turn where its login is about to be refreshed. Else the outcome of an attempt that is to stop.
    async fn turn(&self, context: &Context) -> Result<Option<refresh::Turn>, Box<Outcome>> {
        let Some(login) = &self.login else { return Ok(None) };
        let note = format!("Waiting: another refreshes the login of {}", self.agent);
        tokio::select! {
            biased;
            () = context.cancel.cancelled() => Err(Box::new(Outcome::stopped())),
            turn = login.turn(&self.agent, context.leases.clone(), || context.progress.say(&note)) => Ok(turn),
        }
    }

    fn variables(&self, job: &Job, context: &Context) -> Vec<(OsString, OsString)> {
        let ours = self.dialect.environment(job);
        // What the machine's owner has set stays.
        let ours = ours.into_iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let ours = ours.filter(|(name, _)| self.environment.iter().all(|(set, _)| set != name));
        ours.chain(self.environment.iter().chain(&context.marks).cloned()).collect()
    }

    /// `left`: why it was ended in the middle of what it did.
    fn judge(
        &self,
        codec: &dyn Codec,
        exit: &Exit,
        errors: &str,
        left: Option<Leaving>,
        session: Option<&Resumed>,
    ) -> Outcome {
        let end = match exit.reason {
            Reason::Exit => exit.code.map_or(End::Signal(0), End::Exit),
            Reason::Signal => End::Signal(exit.signal.unwrap_or_default()),
            Reason::Lingered => End::Lingered,
            Reason::NotStarted => {
                return program::not_started(&self.program, exit.failure.as_ref(), meta(exit, errors));
            }
            _ => End::Cut,
        };
        let verdict = codec.verdict(&How { end, errors });
        let mut meta = self.record(&verdict, meta(exit, errors), session);
        match left {
            Some(Leaving::Stopping) => return Outcome::Stopped { meta },
            Some(Leaving::Parking) => return Outcome::Parked { meta },
            None => {}
        }
        // What was done before it failed is there all the same.
        let changed = self.changed(&verdict).map(|files| format!("\nChanged before that: {files}")).unwrap_or_default();
        let known = matches!(verdict.class, Some(Class::Auth | Class::Limit | Class::Overloaded | Class::ContextFull));
        match exit.reason {
            // What it said before its worker died holds: that it is done, or why it can not go on. Nobody asked it to stop.
            Reason::WorkerGone | Reason::HostGone
                if !known && verdict.class.is_some_and(|class| class != Class::Denied) =>
            {
                return Outcome::Failed {
                    error: program::gone(exit.reason).to_owned() + &changed,
                    retryable: true,
                    meta,
                };
            }
            Reason::NoOutput | Reason::Silent | Reason::Timeout if !known => {
                let (error, retryable) = program::watched(exit.reason, &self.speaks.watch);
                return Outcome::Failed { error: error + &changed, retryable, meta };
            }
            _ => {}
        }
        match verdict.class {
            None => {
                meta.reason = Some(EndReason::Complete);
                Outcome::Complete { result: self.result(&verdict), meta }
            }
            Some(class) => {
                meta.reason = Some(reason(class));
                let remedy = verdict.remedy.map(|remedy| format!("\n{remedy}")).unwrap_or_default();
                let error = self.home.short(&verdict.text).into_owned() + &remedy + &changed;
                Outcome::Failed { error, retryable: verdict.retry, meta }
            }
        }
    }

    /// What a run has used. A cost is what the program told, and what its own prices come to for what it tells no cost of, or not yet; of
    /// the rest the hub knows the prices.
    pub(super) fn used(&self, figures: &Figures) -> Used {
        let Figures { model, tokens, cost_usd, untold, notional, .. } = figures;
        let any = tokens.input > 0 || tokens.output > 0;
        let count = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
        let counted = |tokens: u64| Some(count(tokens)).filter(|_| any);
        let tells = cost_usd.is_some() || !untold.is_empty();
        let model = model.as_ref().or(self.speaks.model.as_ref());
        let all = model.filter(|_| any && !tells).map(|model| (model, tokens));
        let (mut cost, mut unpriced) = (*cost_usd, Vec::new());
        for (model, tokens) in untold.iter().map(|(model, tokens)| (model, tokens)).chain(all) {
            match self.speaks.prices.as_ref().and_then(|prices| hub_agents::cost(prices, model, *tokens)) {
                Some(more) => cost = sum(cost, Some(more)),
                None => unpriced.push(ModelTokens {
                    model: model.clone(),
                    tokens_in: count(tokens.input),
                    tokens_cached: count(tokens.cached),
                    tokens_out: count(tokens.output),
                }),
            }
        }
        Used {
            cost_usd: cost,
            notional: (cost.is_some() || !unpriced.is_empty()).then_some(*notional || !tells),
            tokens_in: counted(tokens.input),
            tokens_out: counted(tokens.output),
            tokens_cached: counted(tokens.cached),
            unpriced,
        }
    }

    /// What the run record is to say.
    fn record(&self, verdict: &Verdict, meta: Meta, resumed: Option<&Resumed>) -> Meta {
        let (session_id, session_state) = session(verdict, resumed);
        let Figures { model, version, turns, tool_calls, .. } = &verdict.figures;
        let used = self.used(&verdict.figures);
        Meta {
            model: model.clone().or_else(|| self.speaks.model.clone()),
            session_id,
            session_state,
            cost_usd: used.cost_usd,
            cost_notional: used.notional,
            unpriced: used.unpriced,
            tokens_in: used.tokens_in,
            tokens_out: used.tokens_out,
            tokens_cached: used.tokens_cached,
            turns: i32::try_from(*turns).ok().filter(|turns| *turns > 0),
            tool_calls: i32::try_from(*tool_calls).ok(),
            agent_version: version.clone(),
            limit: verdict.limit.as_ref().map(limit),
            ..meta
        }
    }

    /// What people read of a run that went well: its last words, and what it changed. What it cost the hub puts behind it.
    fn result(&self, verdict: &Verdict) -> String {
        let mut text = verdict.text.trim().to_owned();
        if text.is_empty() {
            text.push_str("(It ended without a word.)");
        }
        if let Some(files) = self.changed(verdict) {
            write!(text, "\n\nChanged: {files}").ok();
        }
        text
    }

    /// The files that it changed.
    fn changed(&self, verdict: &Verdict) -> Option<String> {
        let files = &verdict.figures.files;
        let named: Vec<_> = files.iter().take(FILES).map(|file| self.home.short(file)).collect();
        let more = files.len().saturating_sub(FILES);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!named.is_empty()).then(|| named.join(", ") + &more)
    }
}

fn had_used(session: &Resumed) -> (Tokens, f64) {
    let Resumed { tokens_in, tokens_out, tokens_cached, cost_usd, .. } = session;
    (Tokens { input: *tokens_in, output: *tokens_out, cached: *tokens_cached }, *cost_usd)
}

/// Which session is to be gone on with, and whether it can be. One that was resumed in vain is not replaced by the one that the program
/// began instead.
fn session(verdict: &Verdict, resumed: Option<&Resumed>) -> (Option<String>, Option<SessionState>) {
    let resumed = resumed.map(|session| session.id.clone());
    let poisoned = match verdict.class {
        Some(Class::ContextFull | Class::SessionLost) => true,
        // What the provider does not take is in the conversation for good.
        Some(Class::Crashed) => !verdict.resumable && verdict.figures.session.is_some(),
        _ => false,
    };
    if poisoned {
        return (resumed, Some(SessionState::Poisoned));
    }
    let own = verdict.figures.session.clone().filter(|_| verdict.resumable);
    let id = if verdict.class.is_some() { resumed.or(own) } else { own };
    let state = id.is_some().then_some(SessionState::Ok);
    (id, state)
}

pub(super) fn limit(limit: &hub_agents::Limit) -> Limit {
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
        Class::SessionLost => EndReason::SessionLost,
    }
}

impl Agent for Speaking {
    fn run(&self, context: Context) -> BoxFuture<'_, Outcome> {
        self.execute(context).boxed()
    }

    fn resumes(&self) -> bool {
        true
    }

    fn verdict(
        &self,
        exit: Exit,
        folder: &Path,
        session: Option<&Resumed>,
        redactor: &Arc<Redactor>,
    ) -> io::Result<Option<Outcome>> {
        let mut codec = self.dialect.codec(self.job("", &Spec::read(folder)?.directory, session));
        let (mut answers, left) = talk::kept(folder)?;
        // What it would write now is for nobody.
        let mut turn = Turn::default();
        codec.begin(&mut turn);
        for line in host::kept_tail(folder, host::OUTPUT, KEPT)?.split_inclusive(|byte| *byte == b'\n') {
            codec.feed(line, &mut turn);
            // As it was answered then: some programs tell of a refusal in no other way.
            for event in std::mem::take(&mut turn).events {
                if let Event::Ask(Ask { id, .. }) = event
                    && let Some(decision) = answers.remove(&id)
                {
                    codec.command(Command::Answer { id, decision }, &mut turn);
                }
            }
        }
        codec.finish(&mut turn);
        let errors = kept_text(folder, host::ERRORS, ERRORS, redactor)?;
        Ok(Some(self.judge(codec.as_ref(), &exit, &errors, left, session)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agents::tests::context,
        host::Watch,
        line::{About, Answered, Asked, How, Line, Note, People, Question, Said},
    };
    use hub_agents::Policy;
    use std::{sync::Mutex, time::Duration};
    use tokio::{sync::watch, time::sleep};
    use uuid::Uuid;

    /// The ACP agent of the codecs' tests: it does what its prompt says.
    async fn agent_of(speaks: impl FnOnce(&mut Speaks), sessions: Option<&Path>) -> Speaking {
        let test = std::env::current_exe().unwrap();
        let program = test.ancestors().nth(2).unwrap().join("examples/acp_agent");
        assert!(program.exists(), "{} is missing: cargo test --workspace builds it", program.display());
        let mut its = Speaks {
            adapter: Adapter::Acp,
            program: program.to_str().unwrap().into(),
            args: Vec::new(),
            model: None,
            policy: Policy::Edit,
            trusted: Vec::new(),
            prices: None,
            ask: true,
            watch: Watch::default(),
        };
        speaks(&mut its);
        let sessions = sessions.map(|folder| (OsString::from("ACP_AGENT_SESSIONS"), folder.into()));
        Speaking::new("mine".into(), &its, std::env::vars_os().chain(sessions).collect()).await.unwrap()
    }

    async fn agent(watch: Watch) -> Speaking {
        agent_of(|speaks| speaks.watch = watch, None).await
    }

    async fn run(prompt: &str) -> (Outcome, tempfile::TempDir) {
        let place = tempfile::tempdir().unwrap();
        let outcome = agent(Watch::default()).await.run(context(prompt, place.path())).await;
        (outcome, place)
    }

    #[tokio::test]
    async fn codex_10332_agents_that_share_a_login_refresh_it_exactly_once() {
        let place = tempfile::tempdir().unwrap();
        let (shared, program) = (place.path().join("login.json"), place.path().join("claude"));
        refresh::tests::write(&shared, 1);
        let acp = agent(Watch::default()).await;
        std::os::unix::fs::symlink(&acp.program, &program).unwrap();
        let registry = Arc::new(refresh::tests::Registry::default());
        // Two on the first machine, which see each other's lock, and one each on two others.
        let runs = ["one", "one", "two", "three"].into_iter().enumerate().map(|(at, machine)| {
            let (place, program, registry) = (place.path(), &program, &registry);
            let (speaks, shared) =
                (Speaks { program: program.to_str().unwrap().into(), ..acp.speaks.clone() }, &shared);
            async move {
                let home = place.join(machine);
                if std::fs::create_dir(&home).is_ok() {
                    std::os::unix::fs::symlink(shared, home.join(".credentials.json")).unwrap();
                }
                let environment = vec![("CLAUDE_CONFIG_DIR".into(), home.into())];
                let agent = Speaking::new("claude".into(), &speaks, environment).await.unwrap();
                let context = context("refresh say:done", &place.join(at.to_string()));
                agent.run(Context { leases: Some(Arc::clone(registry) as _), ..context }).await
            }
        });
        for outcome in futures_util::future::join_all(runs).await {
            assert!(matches!(outcome, Outcome::Complete { .. }), "{outcome:?}");
        }
        let names =
            std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| name.starts_with("used-")).collect::<Vec<_>>(), ["used-r"]);
    }

    #[tokio::test]
    async fn one_that_waits_for_its_turn_stops_when_it_is_told_to() {
        let place = tempfile::tempdir().unwrap();
        refresh::tests::write(&place.path().join(".credentials.json"), 1);
        let acp = agent(Watch::default()).await;
        let environment = [("CLAUDE_CONFIG_DIR".into(), place.path().into())];
        let login = || Login::of("claude", &environment);
        let agent = Speaking { login: login(), ..acp };
        let _turn = login().unwrap().turn("claude", None, || {}).await.unwrap();
        let context = context("say:done", place.path());
        let (cancel, folder) = (context.cancel.clone(), context.folder.clone());
        let stops = async {
            sleep(Duration::from_millis(100)).await;
            cancel.cancel();
        };
        let (outcome, ()) = tokio::join!(agent.run(context), stops);
        assert_eq!(outcome, Outcome::stopped());
        assert!(Exit::read(&folder).unwrap().is_none(), "it was started");
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
    async fn what_was_changed_before_it_failed_is_told() {
        for (prompt, changed) in [
            ("edit:notes.txt crash", "\nChanged before that: notes.txt"),
            ("edit:notes.txt limit", "\nChanged before that: notes.txt"),
            ("edit:notes.txt edit:/etc/made-by-a-test say:done", "\nChanged before that: notes.txt"),
            ("crash", ""),
        ] {
            let (outcome, _place) = run(prompt).await;
            let Outcome::Failed { error, .. } = outcome else { panic!("{prompt}: {outcome:?}") };
            assert!(error.ends_with(changed) && error.contains("Changed") != changed.is_empty(), "{prompt}: {error}");
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
            let later = agent.verdict(exit, &folder, None, &redactor).unwrap().unwrap();
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
            let outcome = agent.verdict(Exit::of(Reason::WorkerGone), &folder, None, &redactor).unwrap().unwrap();
            let (Outcome::Complete { meta, .. }
            | Outcome::Failed { meta, .. }
            | Outcome::Stopped { meta }
            | Outcome::Left { meta }
            | Outcome::Parked { meta }) = outcome;
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
        let Outcome::Stopped { meta } = outcome else { panic!("{outcome:?}") };
        assert!(meta.session_id.is_some() && meta.session_state == Some(SessionState::Ok), "{meta:?}");
    }

    #[tokio::test]
    async fn pr2006_what_it_has_used_is_known_while_it_works() {
        let place = tempfile::tempdir().unwrap();
        let context = context("usage say:one wait:60000 say:two", place.path());
        let (spent, cancel) = (context.spent.clone(), context.cancel.clone());
        let watching = tokio::spawn(async move {
            while spent.so_far().cost_usd.is_none() {
                sleep(Duration::from_millis(10)).await;
            }
            cancel.cancel();
            spent.so_far()
        });
        let outcome = agent(Watch::default()).await.run(context).await;
        let Outcome::Stopped { meta } = outcome else { panic!("{outcome:?}") };
        let seen = watching.await.unwrap();
        assert_eq!((seen.cost_usd, seen.notional), (Some(0.25), Some(false)));
        assert_eq!((meta.cost_usd, meta.cost_notional), (Some(0.25), Some(false)));
    }

    #[tokio::test]
    async fn what_a_program_tells_no_cost_of_is_told_by_model_and_by_its_own_prices_where_it_has_some() {
        let tokens = |input, output| Tokens { input, output, cached: 0 };
        let of = |model: &str, tokens_in| ModelTokens { model: model.into(), tokens_in, ..ModelTokens::default() };
        let figures = Figures {
            model: Some("opus".into()),
            tokens: tokens(2_000_000, 0),
            untold: vec![("opus".into(), tokens(1_000_000, 0)), ("mine-20260101".into(), tokens(1_000_000, 0))],
            ..Figures::default()
        };
        let second = Figures { cost_usd: Some(0.5), ..figures.clone() };
        let subscription = Figures { notional: true, ..figures.clone() };
        // One that tells no costs at all, whoever pays.
        let silent = Figures { untold: Vec::new(), ..figures.clone() };
        let nameless = Figures { model: None, ..silent.clone() };
        let told = Figures { untold: Vec::new(), ..second.clone() };

        let agent = agent(Watch::default()).await;
        let seen = |figures: &Figures| {
            let used = agent.used(figures);
            (used.cost_usd, used.notional, used.unpriced)
        };
        let both = vec![of("opus", 1_000_000), of("mine-20260101", 1_000_000)];
        assert_eq!(seen(&figures), (None, Some(false), both.clone()));
        assert_eq!(seen(&second), (Some(0.5), Some(false), both.clone()));
        assert_eq!(seen(&subscription), (None, Some(true), both));
        assert_eq!(seen(&silent), (None, Some(true), vec![of("opus", 2_000_000)]));
        assert_eq!(seen(&nameless), (None, None, Vec::new()));
        assert_eq!(seen(&told), (Some(0.5), Some(false), Vec::new()));
        assert_eq!(agent.used(&Figures::default()), Used::default());

        let prices = r#"{"models": {"mine": {"input": 3, "output": 1}}}"#;
        let set = |speaks: &mut Speaks| {
            (speaks.prices, speaks.model) = (serde_json::from_str(prices).unwrap(), Some("mine".into()));
        };
        let agent = agent_of(set, None).await;
        let seen = |figures: &Figures| {
            let used = agent.used(figures);
            (used.cost_usd, used.notional, used.unpriced)
        };
        assert_eq!(seen(&second), (Some(3.5), Some(false), vec![of("opus", 1_000_000)]));
        // The model that it was asked for, where it names none.
        assert_eq!(seen(&nameless), (Some(6.0), Some(true), Vec::new()));
        assert_eq!(seen(&silent), (None, Some(true), vec![of("opus", 2_000_000)]));
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

    /// Somebody who is asked, and what they were told.
    #[derive(Debug, Default)]
    struct Desk {
        /// A rule of theirs, or what they allowed before.
        at_once: Option<&'static str>,
        asked: Mutex<Vec<Question>>,
        taken: Arc<Mutex<Vec<About>>>,
        withdrawn: Arc<Mutex<Vec<Uuid>>>,
    }

    /// The ask of a desk.
    const ASKED: Uuid = Uuid::from_u128(7);

    impl People for Desk {
        fn ask(&self, question: Question) -> BoxFuture<'static, hub::Result<Asked>> {
            self.asked.lock().unwrap().push(question);
            let answer = self.at_once.map(|answer| answered(How::Ruled, Some(answer), None));
            async move { Ok(Asked { id: ASKED, answer }) }.boxed()
        }

        fn withdraw(&self, ask: Uuid) -> BoxFuture<'static, ()> {
            let withdrawn = Arc::clone(&self.withdrawn);
            async move { withdrawn.lock().unwrap().push(ask) }.boxed()
        }

        fn taken(&self, what: Vec<About>) -> BoxFuture<'static, ()> {
            let taken = Arc::clone(&self.taken);
            async move { taken.lock().unwrap().extend(what) }.boxed()
        }

        fn next_turn(&self, _: Vec<About>) -> BoxFuture<'static, ()> {
            async {}.boxed()
        }
    }

    fn answered(how: How, answer: Option<&str>, text: Option<&str>) -> Answered {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Answered { ask: ASKED, how, answer: owned(answer), text: owned(text), by: None }
    }

    /// An attempt that can ask, what is said to it, and where.
    struct Asking {
        desk: Arc<Desk>,
        said: watch::Sender<Said>,
        context: Context,
        place: tempfile::TempDir,
    }

    fn asking(prompt: &str, desk: Desk, hold: Duration) -> Asking {
        let place = tempfile::tempdir().unwrap();
        let (said, heard) = watch::channel(Said::default());
        let desk = Arc::new(desk);
        let people: Arc<dyn People> = Arc::<Desk>::clone(&desk);
        let line = Line::new(Some(people), heard, hold);
        let context = Context { line, ..context(prompt, place.path()) };
        Asking { desk, said, context, place }
    }

    const LONG: Duration = Duration::from_secs(60);

    impl Asking {
        /// Runs, and says this once something was asked.
        async fn answered(&self, agent: &Speaking, answer: Answered) -> Outcome {
            let (desk, said) = (Arc::clone(&self.desk), self.said.clone());
            let answering = tokio::spawn(async move {
                while desk.asked.lock().unwrap().is_empty() {
                    sleep(Duration::from_millis(10)).await;
                }
                sleep(Duration::from_millis(600)).await;
                said.send_modify(|said| said.answers = vec![answer]);
            });
            let outcome = agent.run(self.context.clone()).await;
            answering.await.unwrap();
            // A later worker, if this one had been killed before it could tell.
            let (folder, redactor) = (self.context.folder.clone(), Arc::clone(&self.context.redactor));
            let exit = Exit::read(&folder).unwrap().unwrap();
            let later = agent.verdict(exit, &folder, None, &redactor).unwrap().unwrap();
            assert_eq!(std::mem::discriminant(&outcome), std::mem::discriminant(&later), "{outcome:?} {later:?}");
            outcome
        }
    }

    #[tokio::test]
    async fn what_a_person_allows_is_done_and_waiting_for_it_is_no_silence() {
        let watch = Watch { silence_seconds: Some(0.4), total_seconds: Some(0.5), ..Watch::default() };
        let agent = agent(watch).await;
        let asking = asking("edit:../outside.txt ask:other say:done", Desk::default(), LONG);
        let outcome = asking.answered(&agent, answered(How::Answered, Some("allow"), None)).await;
        let Outcome::Complete { result, .. } = outcome else { panic!("{outcome:?}") };
        assert!(result.starts_with("It was allowed.done"), "{result}");
        let asked = asking.desk.asked.lock().unwrap();
        assert!(asked[0].kind == "approval" && asked[0].title.contains("outside.txt"), "{asked:?}");
        assert!(asking.place.path().join("outside.txt").exists());
        let input = asked[0].input.clone().unwrap();
        assert_eq!((&input["tool"], &input["input"]["kind"]), (&"edit".into(), &"edit".into()), "{input}");
        assert_ne!(asked[0].reference, asked[1].reference);
        assert!(asking.desk.taken.lock().unwrap().contains(&About::Answer(ASKED)));
    }

    #[tokio::test]
    async fn what_a_rule_allows_waits_for_nobody() {
        let agent = agent(Watch::default()).await;
        let asking = asking("ask:other say:done", Desk { at_once: Some("allow"), ..Desk::default() }, LONG);
        let outcome = agent.run(asking.context.clone()).await;
        assert!(matches!(&outcome, Outcome::Complete { result, .. } if result == "It was allowed.done"), "{outcome:?}");
    }

    #[tokio::test]
    async fn what_a_person_declines_is_known_to_them_and_no_failure() {
        let agent = agent(Watch::default()).await;
        let asking = asking("ask:other", Desk::default(), LONG);
        let outcome = asking.answered(&agent, answered(How::Answered, Some("deny"), None)).await;
        let Outcome::Complete { result, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(result, "It was not allowed.");
    }

    #[tokio::test]
    async fn kimi_cli_1823_nobodys_silence_is_told_as_a_refusal() {
        let agent = agent_of(|_| {}, None).await;
        let asking = asking("ask:other", Desk::default(), LONG);
        let outcome = asking.answered(&agent, answered(How::Expired, Some("deny"), None)).await;
        assert!(matches!(outcome, Outcome::Complete { .. }), "{outcome:?}");
        let kept = std::fs::read_to_string(asking.context.folder.join(host::ANSWERS)).unwrap();
        assert!(kept.contains("no person's refusal") && !kept.contains("declined"), "{kept}");
    }

    #[tokio::test]
    async fn one_that_asks_nobody_is_refused_as_its_owner_says() {
        let ruled = Desk { at_once: Some("deny"), ..Desk::default() };
        let ruled = asking("ask:other say:done", ruled, LONG);
        let outcome = agent(Watch::default()).await.run(ruled.context.clone()).await;
        assert!(
            matches!(&outcome, Outcome::Failed { meta, .. } if meta.reason == Some(EndReason::Denied)),
            "{outcome:?}"
        );
        let agent = agent_of(|speaks| speaks.ask = false, None).await;
        let asking = asking("ask:other say:done", Desk::default(), LONG);
        let outcome = agent.run(asking.context.clone()).await;
        let Outcome::Failed { meta, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(meta.reason, Some(EndReason::Denied));
        assert!(asking.desk.asked.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_choice_is_a_question_with_its_options() {
        let agent = agent(Watch::default()).await;
        let asking = asking("choose", Desk::default(), LONG);
        let outcome = asking.answered(&agent, answered(How::Answered, Some("b"), None)).await;
        assert!(matches!(&outcome, Outcome::Complete { result, .. } if result == "chosen: b"), "{outcome:?}");
        let asked = asking.desk.asked.lock().unwrap();
        let options = serde_json::json!([{"key": "a", "label": "The first"}, {"key": "b", "label": "The second"}]);
        assert_eq!((asked[0].kind, asked[0].options.as_ref()), ("question", Some(&options)));
    }

    #[tokio::test]
    async fn what_it_takes_back_is_withdrawn() {
        let agent = agent(Watch::default()).await;
        let asking = asking("retract wait:300 say:done", Desk::default(), LONG);
        let outcome = agent.run(asking.context.clone()).await;
        assert!(matches!(outcome, Outcome::Complete { .. }), "{outcome:?}");
        assert_eq!(*asking.desk.withdrawn.lock().unwrap(), [ASKED]);
    }

    #[tokio::test]
    async fn one_that_waits_too_long_makes_room_and_keeps_its_session_and_its_question() {
        let sessions = tempfile::tempdir().unwrap();
        let agent = agent_of(|_| {}, Some(sessions.path())).await;
        let parked = asking("say:one ask:other say:two", Desk::default(), Duration::from_millis(300));
        let outcome = agent.run(parked.context.clone()).await;
        let Outcome::Parked { meta } = outcome else { panic!("{outcome:?}") };
        assert_eq!(meta.session_state, Some(SessionState::Ok));
        assert!(parked.desk.withdrawn.lock().unwrap().is_empty());
        // Its worker may die before it can tell.
        let exit = Exit::read(&parked.context.folder).unwrap().unwrap();
        let later = agent.verdict(exit, &parked.context.folder, None, &parked.context.redactor).unwrap();
        assert!(matches!(later, Some(Outcome::Parked { .. })), "{later:?}");

        let session = super::super::session_after(None, &meta).unwrap();
        let next = asking("recall ask:other say:done", Desk { at_once: Some("allow"), ..Desk::default() }, LONG);
        let context = Context { session: Some(session.clone()), ..next.context.clone() };
        let outcome = agent.run(context).await;
        let Outcome::Complete { meta, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(meta.session_id, Some(session.id));
        drop(next.place);
    }

    #[tokio::test]
    async fn a_worker_that_stops_while_somebody_is_asked_parks_and_keeps_the_question() {
        let agent = agent(Watch::default()).await;
        let asking = asking("ask:other say:two", Desk::default(), LONG);
        let (desk, cancel) = (Arc::clone(&asking.desk), asking.context.cancel.clone());
        tokio::spawn(async move {
            while desk.asked.lock().unwrap().is_empty() {
                sleep(Duration::from_millis(10)).await;
            }
            cancel.cancel();
        });
        let outcome = agent.run(asking.context.clone()).await;
        assert!(matches!(outcome, Outcome::Parked { .. }), "{outcome:?}");
        assert!(asking.desk.withdrawn.lock().unwrap().is_empty());
    }

    fn steer(id: i64, text: &str) -> Note {
        Note { about: About::Steer(id), text: text.into() }
    }

    #[tokio::test]
    async fn what_a_person_adds_reaches_it_or_is_there_for_the_next_turn_and_never_both() {
        let agent = agent(Watch::default()).await;
        let asking = asking("say:one wait:500", Desk::default(), LONG);
        let said = asking.said.clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(250)).await;
            said.send_modify(|said| said.steers = vec![steer(1, "say:two")]);
        });
        let outcome = agent.run(asking.context.clone()).await;
        assert!(matches!(&outcome, Outcome::Complete { result, .. } if result == "two"), "{outcome:?}");
        assert_eq!(*asking.desk.taken.lock().unwrap(), [About::Steer(1)]);
        // The heartbeat says it again until the hub knows that it was taken.
        asking.said.send_modify(|said| said.steers = vec![steer(1, "say:two"), steer(2, "say:three")]);
        assert_eq!(asking.context.line.late(), [steer(2, "say:three")]);
        assert_eq!(asking.context.line.late(), []);
    }

    #[tokio::test]
    async fn what_it_was_told_before_it_died_is_not_lost() {
        let agent = agent(Watch::default()).await;
        let asking = asking("wait:300 crash", Desk::default(), LONG);
        asking.said.send_modify(|said| said.steers = vec![steer(1, "say:two")]);
        let outcome = agent.run(asking.context.clone()).await;
        assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
        assert!(asking.desk.taken.lock().unwrap().is_empty());
        assert_eq!(asking.context.line.late(), [steer(1, "say:two")]);
    }

    #[tokio::test]
    async fn a_session_is_gone_on_with_and_what_it_had_used_is_not_used_again() {
        let sessions = tempfile::tempdir().unwrap();
        let agent = agent_of(|_| {}, Some(sessions.path())).await;
        let first = asking("usage say:one", Desk::default(), LONG);
        let Outcome::Complete { meta, .. } = agent.run(first.context.clone()).await else { panic!() };
        let session = super::super::session_after(None, &meta).unwrap();
        assert_eq!((session.cost_usd, session.tokens_in), (0.25, 100));
        let second = asking("usage recall", Desk::default(), LONG);
        let context =
            Context { session: Some(session.clone()), carries: vec![About::Steer(9)], ..second.context.clone() };
        let Outcome::Complete { result, meta } = agent.run(context).await else { panic!() };
        assert!(result.starts_with("before: usage say:one"), "{result}");
        assert_eq!((meta.cost_usd, meta.session_id.as_deref()), (None, Some(session.id.as_str())));
        // What was in its prompt has reached it.
        assert_eq!(*second.desk.taken.lock().unwrap(), [About::Steer(9)]);
    }

    #[tokio::test]
    async fn multica_1284_a_session_that_is_gone_is_poisoned_and_so_is_a_full_one() {
        let sessions = tempfile::tempdir().unwrap();
        let agent = agent_of(|_| {}, Some(sessions.path())).await;
        let gone = Resumed { id: "gone".into(), ..Resumed::default() };
        let lost = asking("say:one", Desk::default(), LONG);
        let outcome = agent.run(Context { session: Some(gone), ..lost.context.clone() }).await;
        let Outcome::Failed { meta, retryable: true, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(meta.reason, Some(EndReason::SessionLost));
        assert_eq!((meta.session_id.as_deref(), meta.session_state), (Some("gone"), Some(SessionState::Poisoned)));

        let full = asking("full", Desk::default(), LONG);
        let Outcome::Failed { meta, .. } = agent.run(full.context.clone()).await else { panic!() };
        assert_eq!((meta.session_id, meta.session_state), (None, Some(SessionState::Poisoned)));
        assert_eq!(
            super::super::session_after(None, &Meta { session_state: meta.session_state, ..Meta::default() }),
            None
        );
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
                ask: true,
                watch: Watch::default(),
            };
            speaks.trusts(project)
        };
        assert!(trusts(&["app"], Some("app")) && trusts(&["team/*"], Some("team/app")) && trusts(&["*"], Some("x")));
        assert!(!trusts(&[], Some("app")) && !trusts(&["app"], Some("app2")) && !trusts(&["team/*"], Some("teams")));
        assert!(!trusts(&["app"], None));
    }
}
