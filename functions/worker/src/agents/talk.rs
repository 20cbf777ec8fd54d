//! A talk with a program that runs: it is heard and answered, told what people add, and waited with while a person is asked. Ends with
//! the program.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::OnceLock,
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use hub::{Error, Result};
use hub_agents::{Ask, Class, Codec, Command, Decision, Event, Step, StepState, Turn};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use uuid::Uuid;

use super::{Context, ERRORS, refresh, speaking::Speaking};
use crate::{
    host::{self, ANSWERS, Exit, Host, Reason},
    journal::set_waiting,
    line::{About, Answered, Asked, How, Note, People, Question, Said, Wait},
    output::{Tail, short_line},
    redact::Redactor,
};

/// A program that is told that its login is wrong may try again for so long, in case that passes.
const LOGIN: Duration = Duration::from_secs(15);
/// One that is interrupted has this long to keep its session, before it is ended.
const INTERRUPTED: Duration = Duration::from_secs(1);
/// What is still to be told when the program has ended is waited for, but not when the attempt is to stop.
const TOLD_WITHIN: Duration = Duration::from_secs(2);
/// In the record of a host that was told to end a program whose login is wrong.
const GAVE_UP: &str = "its login is not accepted";

/// Why a program is ended though it is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Leaving {
    /// The attempt is to stop.
    Stopping,
    /// Somebody was waited for, too long or when the attempt was to stop: it goes on with the answer.
    Parking,
}

impl Leaving {
    fn words(self) -> &'static str {
        match self {
            Self::Stopping => "the attempt is to stop",
            Self::Parking => "nobody has answered yet",
        }
    }
}

/// A line of what a later worker has to know beside what the program said.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kept {
    Answer { id: String, decision: KeptDecision },
    Left(Leaving),
}

/// A decision, as far as a verdict depends on it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeptDecision {
    Allow,
    Deny(String),
    Decline(String),
    Unanswered(String),
    Choose(String),
    Say(String),
}

impl From<&Decision> for KeptDecision {
    fn from(decision: &Decision) -> Self {
        match decision {
            Decision::Allow(_) => Self::Allow,
            Decision::Deny(why) => Self::Deny(why.clone()),
            Decision::Decline(why) => Self::Decline(why.clone()),
            Decision::Unanswered(words) => Self::Unanswered(words.clone()),
            Decision::Choose(choice) => Self::Choose(choice.clone()),
            Decision::Say(words) => Self::Say(words.clone()),
        }
    }
}

impl From<KeptDecision> for Decision {
    fn from(kept: KeptDecision) -> Self {
        match kept {
            KeptDecision::Allow => Self::Allow(None),
            KeptDecision::Deny(why) => Self::Deny(why),
            KeptDecision::Decline(why) => Self::Decline(why),
            KeptDecision::Unanswered(words) => Self::Unanswered(words),
            KeptDecision::Choose(choice) => Self::Choose(choice),
            KeptDecision::Say(words) => Self::Say(words),
        }
    }
}

fn keep(folder: &Path, kept: &Kept) {
    let written = OpenOptions::new().append(true).create(true).mode(0o600).open(folder.join(ANSWERS));
    let written = written.and_then(|mut file| file.write_all(format!("{}\n", json!(kept)).as_bytes()));
    if let Err(error) = written {
        tracing::warn!(error = %error.kind(), "what an agent was answered is not kept");
    }
}

/// What was decided in a run that is over, by the program's name for each ask, and why it was left.
pub(super) fn kept(folder: &Path) -> io::Result<(BTreeMap<String, Decision>, Option<Leaving>)> {
    let (mut answers, mut left) = (BTreeMap::new(), None);
    let file = match File::open(folder.join(ANSWERS)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((answers, left)),
        Err(error) => return Err(error),
    };
    for line in BufReader::new(file).lines() {
        // The last may be half a line.
        match serde_json::from_str(&line?) {
            Ok(Kept::Answer { id, decision }) => drop(answers.insert(id, decision.into())),
            Ok(Kept::Left(why)) => left = Some(why),
            Err(_) => {}
        }
    }
    Ok((answers, left))
}

/// Something the program asked, and waits for.
struct Open {
    ask: Ask,
    /// What the hub calls it, once it is asked there.
    row: Option<Uuid>,
    _wait: Wait,
}

/// What came of a call to the hub.
enum Came {
    Asked(String, Result<Asked>),
    Told,
}

struct Left {
    why: Leaving,
    /// It had said that it is done.
    well_before: bool,
    /// Until when it may end by itself.
    until: Option<Instant>,
}

/// A program that runs, and who speaks with it.
pub(super) struct Talk<'a> {
    speaking: &'a Speaking,
    context: &'a Context,
    host: Host,
    codec: Box<dyn Codec>,
    turn: Turn,
    /// Which failures of the provider were told: each once.
    retries: BTreeSet<&'static str>,
    /// Until when its login may turn out right.
    login: Option<Instant>,
    /// It has said its final word.
    over: bool,
    open: Vec<Open>,
    calls: FuturesUnordered<BoxFuture<'static, Came>>,
    said: watch::Receiver<Said>,
    /// What people added and it could not be told yet.
    notes: Vec<Note>,
    /// What it was told of that, until it is known that it heard it.
    given: Vec<Note>,
    /// What people added before, and is in its prompt.
    carries: Vec<About>,
    left: Option<Left>,
    /// Of this run alone: a program numbers what it asks from the beginning each time.
    run: String,
    /// Its login is its alone until its model has answered: by then it is refreshed, where it had to be.
    refreshing: Option<refresh::Turn>,
}

/// How it ended.
pub(super) struct Ended {
    pub(super) codec: Box<dyn Codec>,
    pub(super) exit: Exit,
    pub(super) errors: String,
    /// Why it was left, where it had not said before that it is done.
    pub(super) left: Option<Leaving>,
}

impl<'a> Talk<'a> {
    pub(super) fn new(
        speaking: &'a Speaking,
        context: &'a Context,
        host: Host,
        codec: Box<dyn Codec>,
        refreshing: Option<refresh::Turn>,
    ) -> Self {
        Self {
            speaking,
            context,
            host,
            codec,
            turn: Turn::default(),
            retries: BTreeSet::new(),
            login: None,
            over: false,
            open: Vec::new(),
            calls: FuturesUnordered::new(),
            said: context.line.said.clone(),
            notes: Vec::new(),
            given: Vec::new(),
            carries: context.carries.clone(),
            left: None,
            run: Uuid::new_v4().simple().to_string(),
            refreshing,
        }
    }

    /// Until nothing of the program is left, and what it took is told.
    pub(super) async fn hold(mut self, mut events: host::Events) -> Ended {
        let mut errors = Tail::new(ERRORS, &self.context.redactor);
        let mut waits = self.context.line.waits.subscribe();
        self.codec.begin(&mut self.turn);
        self.hear().await;
        self.said.mark_changed();
        let mut listens = true;
        let exit = loop {
            let staying = self.left.is_none();
            let until = self.left.as_ref().and_then(|left| left.until);
            let parked_at = self.parked_at();
            let event = tokio::select! {
                biased;
                () = self.context.cancel.cancelled(), if staying => {
                    let waits = self.context.line.waits.since().is_some();
                    self.leave(if waits { Leaving::Parking } else { Leaving::Stopping });
                    continue;
                }
                () = due(self.login), if self.login.is_some() && staying => {
                    self.login = None;
                    self.host.stop(GAVE_UP);
                    continue;
                }
                () = due(until), if until.is_some() => {
                    self.end();
                    continue;
                }
                () = due(parked_at), if parked_at.is_some() && staying && !self.over => {
                    self.leave(Leaving::Parking);
                    continue;
                }
                Some(came) = self.calls.next(), if !self.calls.is_empty() => {
                    self.came(came);
                    self.hear().await;
                    continue;
                }
                Ok(()) = waits.changed() => {
                    let waits = !waits.borrow_and_update().is_empty();
                    set_waiting(&self.context.folder, waits);
                    self.host.waiting(waits);
                    continue;
                }
                changed = self.said.changed(), if listens => {
                    listens = changed.is_ok();
                    self.hear_people();
                    self.hear().await;
                    continue;
                }
                event = events.next() => event,
            };
            match event {
                Some(host::Event::Output(bytes)) => {
                    self.codec.feed(&bytes, &mut self.turn);
                    self.hear().await;
                }
                Some(host::Event::Errors(bytes)) => errors.push(&bytes),
                Some(host::Event::Started { .. }) => {}
                Some(host::Event::Ended(exit)) => break exit,
                None => break Exit::of(Reason::HostGone),
            }
        };
        self.codec.finish(&mut self.turn);
        self.hear().await;
        let late = std::mem::take(&mut self.notes).into_iter().chain(std::mem::take(&mut self.given));
        self.context.line.too_late(late);
        self.tell_all().await;
        let left = self.left.filter(|left| !left.well_before).map(|left| left.why);
        Ended { codec: self.codec, exit, errors: errors.text(), left }
    }

    /// What is on its way to the hub arrives before the end of the attempt does: told later it would be about nothing.
    async fn tell_all(&mut self) {
        let cancel = self.context.cancel.clone();
        let told = async { while self.calls.next().await.is_some() {} };
        let hurried = async {
            cancel.cancelled().await;
            sleep(TOLD_WITHIN).await;
        };
        tokio::select! {
            () = told => {}
            () = hurried => {}
        }
    }

    fn people(&self) -> Option<&dyn People> {
        self.context.line.people.as_deref()
    }

    fn tell(&mut self, call: impl FnOnce(&dyn People) -> BoxFuture<'static, ()>) {
        if let Some(call) = self.people().map(call) {
            self.calls.push(call.map(|()| Came::Told).boxed());
        }
    }

    /// When nobody is waited for any longer.
    fn parked_at(&self) -> Option<Instant> {
        self.context.line.waits.since()?.checked_add(self.context.line.hold)
    }

    /// Stops what it does, so that its session can be gone on with; then the program is ended.
    fn leave(&mut self, why: Leaving) {
        if !self.over {
            keep(&self.context.folder, &Kept::Left(why));
        }
        if why == Leaving::Parking {
            self.context.line.waits.park();
        }
        // What it asked stays asked, or ends with the attempt.
        self.open.clear();
        let took = !self.over && self.codec.command(Command::Interrupt, &mut self.turn);
        self.write();
        let until = took.then(|| Instant::now() + INTERRUPTED);
        self.left = Some(Left { why, well_before: self.over, until });
        if !took {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(left) = &mut self.left {
            left.until = None;
            self.host.stop(left.why.words());
        }
    }

    /// Acts on what the codec has to tell, and answers.
    async fn hear(&mut self) {
        loop {
            self.give();
            self.write();
            if self.turn.events.is_empty() {
                break;
            }
            for event in std::mem::take(&mut self.turn.events) {
                self.act(event).await;
            }
        }
        let mut unheard = self.codec.untaken();
        let heard = self.given.extract_if(.., |note| match unheard.iter().position(|text| *text == note.text) {
            Some(at) => {
                unheard.swap_remove(at);
                false
            }
            None => true,
        });
        let heard: Vec<About> = heard.map(|note| note.about).collect();
        if !heard.is_empty() {
            self.tell(|people| people.taken(heard));
        }
    }

    /// Tells it what people added, as far as it can be told.
    fn give(&mut self) {
        if self.left.is_some() {
            return;
        }
        let (codec, turn) = (&mut self.codec, &mut self.turn);
        let given = self.notes.extract_if(.., |note| codec.command(Command::Steer(note.text.clone()), turn));
        self.given.extend(given);
    }

    fn write(&mut self) {
        if !self.turn.input.is_empty() {
            self.host.input(&std::mem::take(&mut self.turn.input));
        }
        if std::mem::take(&mut self.turn.close_input) {
            self.host.close_input();
        }
    }

    async fn act(&mut self, event: Event) {
        let progress = &self.context.progress;
        if matches!(event, Event::Text(_) | Event::ToolStart { .. } | Event::Usage { .. } | Event::Plan(_)) {
            self.refreshing = None;
        }
        if let (Event::Limit(limit), Some(limits)) = (&event, &self.context.limits) {
            limits.heard(&self.speaking.agent, limit, &self.context.redactor);
        }
        match event {
            Event::Session { .. } if !self.carries.is_empty() => {
                let carried = std::mem::take(&mut self.carries);
                self.tell(|people| people.taken(carried));
            }
            Event::Text(text) => progress.say(&text),
            Event::ToolStart { words, .. } | Event::ToolEnd { words: Some(words), .. } => {
                progress.say(&self.speaking.home.short(&words));
            }
            Event::Plan(steps) => {
                if let Some(line) = plan(&steps) {
                    progress.say(&line);
                }
            }
            Event::Retry { attempt, of, status, class, text } => self.retry(attempt, of, status, class, &text).await,
            // Until when, the hub says: it decides what it believes of that.
            Event::Limit(limit) if limit.met => {
                progress.step(&format!("{} is at its limit", self.speaking.agent)).await;
            }
            Event::Usage { .. } => self.context.spent.tell(self.speaking.used(self.codec.figures())),
            Event::Fallback { to, .. } => progress.step(&format!("Going on with {to}")).await,
            Event::Denied { what, why } => {
                progress.say(&format!("Not allowed: {} ({why})", self.speaking.home.short(&what)));
            }
            Event::Ask(ask) => self.ask(ask),
            Event::Withdrawn(id) => {
                if let Some(at) = self.open.iter().position(|open| open.ask.id == id)
                    && let Some(row) = self.open.remove(at).row
                {
                    self.tell(|people| people.withdraw(row));
                }
            }
            Event::Final => {
                self.over = self.over || self.left.is_none();
                self.login = None;
                self.host.heard_final();
                if self.left.as_ref().is_some_and(|left| left.until.is_some()) {
                    self.end();
                }
            }
            _ => {}
        }
    }

    async fn retry(&mut self, attempt: u32, of: Option<u32>, status: Option<u16>, class: Option<Class>, text: &str) {
        if class == Some(Class::Auth) && self.login.is_none() {
            self.login = Some(Instant::now() + LOGIN);
        }
        let agent = &self.speaking.agent;
        let what = match class {
            Some(Class::Auth) => format!("{agent}'s login is not accepted"),
            Some(Class::Limit) => format!("{agent} is at its limit"),
            Some(Class::Overloaded) => format!("{agent}'s provider is overloaded"),
            _ if !matches!(text.trim(), "" | "unknown") => text.trim().to_owned(),
            _ => format!("{agent}'s provider does not answer as it should"),
        };
        let status = status.map(|status| format!(" ({status})")).unwrap_or_default();
        let of = of.map(|of| format!(" of {of}")).unwrap_or_default();
        let line = format!("{what}{status}, trying again: {attempt}{of}");
        // The first of a kind must be seen; the rest would use up the notes.
        if self.retries.insert(class.map_or("", Class::name)) {
            self.context.progress.step(&line).await;
        } else {
            self.context.progress.say(&line);
        }
    }

    /// The program wants something that its policy does not cover, or to know something.
    fn ask(&mut self, ask: Ask) {
        if self.left.is_some() {
            return;
        }
        let call = self.people().filter(|_| self.speaking.asks()).map(|people| {
            let id = ask.id.clone();
            people.ask(question(&ask, &self.run, &self.context.redactor)).map(|asked| Came::Asked(id, asked)).boxed()
        });
        let Some(call) = call else {
            let decision = self.speaking.nobody(&ask);
            return self.decide(&ask.id, decision);
        };
        self.context.progress.say(&format!("Waiting for an answer: {}", self.speaking.home.short(&ask.title)));
        self.calls.push(call);
        self.open.push(Open { ask, row: None, _wait: self.context.line.waits.begin() });
    }

    fn decide(&mut self, id: &str, decision: Decision) {
        keep(&self.context.folder, &Kept::Answer { id: id.to_owned(), decision: (&decision).into() });
        let final_try = matches!(decision, Decision::Deny(_));
        let command = Command::Answer { id: id.to_owned(), decision };
        // One that is no answer to this leaves it waiting.
        if !self.codec.command(command, &mut self.turn) && !final_try {
            self.decide(id, Decision::Deny("There is an answer, but none that this question takes.".into()));
        }
    }

    fn came(&mut self, came: Came) {
        let Came::Asked(id, asked) = came else { return };
        let at = self.open.iter().position(|open| open.ask.id == id);
        match (at, asked) {
            (Some(at), Ok(asked)) => {
                self.open[at].row = Some(asked.id);
                if let Some(answered) = asked.answer {
                    self.answered(&answered);
                }
                // It may have come before its ask was known here.
                self.hear_people();
            }
            (None, Ok(asked)) => {
                if self.left.is_none() {
                    self.tell(|people| people.withdraw(asked.id));
                }
            }
            // The attempt ends by that.
            (_, Err(Error::LeaseLost(_) | Error::DeviceRevoked(_))) | (None, Err(_)) => {}
            (Some(at), Err(error)) => {
                let open = self.open.remove(at);
                tracing::warn!(task.id = %self.context.task.id, error = %error, "nobody could be asked");
                let why = format!("Nobody can be asked about this, so it is not allowed: {error}");
                let decision = if open.ask.permission { Decision::Deny(why) } else { self.speaking.nobody(&open.ask) };
                self.decide(&id, decision);
            }
        }
    }

    /// What the heartbeats brought.
    fn hear_people(&mut self) {
        let said = self.said.borrow_and_update().clone();
        self.notes.extend(self.context.line.news(&said));
        for answered in &said.answers {
            self.answered(answered);
        }
    }

    fn answered(&mut self, answered: &Answered) {
        let Some(at) = self.open.iter().position(|open| open.row == Some(answered.ask)) else { return };
        let open = self.open.remove(at);
        let (decision, words) = decision(&open.ask, answered);
        self.decide(&open.ask.id, decision);
        if let Some(words) = words.filter(|_| !self.speaking.explains()) {
            self.codec.command(Command::Steer(words), &mut self.turn);
        }
        let taken = vec![About::Answer(answered.ask)];
        self.tell(|people| people.taken(taken));
    }
}

async fn due(at: Option<Instant>) {
    sleep_until(at.unwrap_or_else(Instant::now)).await;
}

/// What people are asked. They see the whole of it, but for secrets.
fn question(ask: &Ask, run: &str, redactor: &Redactor) -> Question {
    let title = shown(&ask.title, redactor);
    let line = short_line(&title);
    let whole = (line != title.trim()).then_some(title);
    let (input, hides) = seen(&ask.input, redactor);
    let hidden = hides.then(|| HIDDEN.to_owned());
    let parts: Vec<String> = [several(&ask.input).or(whole), ask.why.clone(), hidden].into_iter().flatten().collect();
    let body = (!parts.is_empty()).then(|| shown(&parts.join("\n\n"), redactor));
    let line = if line.is_empty() { "It asks".into() } else { line };
    let (kind, input, options) = if ask.permission {
        let named = ask.tool.as_ref().map(|tool| json!({"tool": short_line(tool), "input": input}));
        ("approval", named.unwrap_or(input), None)
    } else {
        let options: Vec<Value> =
            (ask.options.iter()).map(|(key, label)| json!({"key": key, "label": shown(label, redactor)})).collect();
        ("question", input, (!options.is_empty()).then(|| options.into()))
    };
    Question { kind, title: line, body, input: Some(input), options, reference: format!("{run}.{}", ask.id) }
}

/// Several questions in one: each with its choices, as one text.
fn several(input: &Value) -> Option<String> {
    let questions = input.get("questions")?.as_array().filter(|questions| questions.len() > 1)?;
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    for (at, question) in questions.iter().enumerate() {
        lines.push(format!("{}. {}", at + 1, text(question, "question")));
        for choice in question.get("options").and_then(Value::as_array).into_iter().flatten() {
            let (label, more) = (text(choice, "label"), text(choice, "description"));
            lines.push(if more.is_empty() { format!("   - {label}") } else { format!("   - {label}: {more}") });
        }
    }
    lines.push("Answer with a line for each.".into());
    Some(lines.join("\n"))
}

/// Told beside an input of which not all is shown.
const HIDDEN: &str = "A part is blacked out, since it looks like a secret. It is a part of what would be done.";

/// What can not be seen is shown: people are to know what they allow.
fn written(text: &str) -> String {
    let mut seen = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && !matches!(c, '\n' | '\t') {
            seen.push_str(&format!("‹U+{:04X}›", u32::from(c)));
        } else {
            seen.push(c);
        }
    }
    seen
}

/// The same, without secrets.
fn shown(text: &str, redactor: &Redactor) -> String {
    redactor.text(&written(text)).into_owned()
}

fn each(value: &Value, text: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(one) => text(one).into(),
        Value::Array(values) => values.iter().map(|value| each(value, text)).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (text(key), each(value, text))).collect(),
        other => other.clone(),
    }
}

/// An input as people see it, and whether a part of it is blacked out. Such a one bears a mark of what is behind: what was allowed is that
/// and nothing else that looks the same. Only this process can make it, so that it tells nobody what is hidden; a later worker asks again.
fn seen(input: &Value, redactor: &Redactor) -> (Value, bool) {
    static KEY: OnceLock<[u8; 32]> = OnceLock::new();
    let (whole, input) = (each(input, &written), each(input, &|text| shown(text, redactor)));
    if whole == input {
        return (input, false);
    }
    let key = KEY.get_or_init(|| {
        [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat().try_into().unwrap_or_default()
    });
    let inner = Sha256::new().chain_update(key).chain_update(whole.to_string()).finalize();
    let mark = Sha256::new().chain_update(key).chain_update(inner).finalize();
    let mark: String = mark[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let input = match input {
        Value::Object(mut fields) => {
            fields.insert("blacked_out".into(), mark.into());
            Value::Object(fields)
        }
        other => json!({"input": other, "blacked_out": mark}),
    };
    (input, true)
}

/// What an answer means to the program, and words that came with it.
fn decision(ask: &Ask, answered: &Answered) -> (Decision, Option<String>) {
    let text = answered.text.as_deref().map(str::trim).filter(|text| !text.is_empty());
    let answer = answered.answer.as_deref().unwrap_or_default();
    let about = |text: &str| format!("About your question \"{}\": {text}", ask.title);
    match (answered.how, ask.permission) {
        (How::Answered | How::Ruled, true) if matches!(answer, "allow" | "allow_task") => {
            (Decision::Allow(None), text.map(about))
        }
        (How::Ruled, true) if answer == "deny" => {
            let why = text.map(|text| format!(": {text}")).unwrap_or_default();
            (Decision::Deny(format!("A rule of this server does not allow it{why}")), None)
        }
        (How::Answered | How::Ruled, true) => {
            let why = text.map_or_else(
                || "A person declined this: do not do it.".to_owned(),
                |text| format!("A person declined this, and said: {text}"),
            );
            (Decision::Decline(why), text.map(about))
        }
        (How::Answered | How::Ruled, false) if !answer.is_empty() => (Decision::Choose(answer.to_owned()), text.map(about)),
        (How::Answered | How::Ruled, false) => (Decision::Say(text.unwrap_or_default().to_owned()), None),
        (How::Expired, true) => (
            Decision::Unanswered(
                "Nobody answered in the time there was, so it is not done now. That is no person's refusal. Go on without it, or say \
                 what you could not do."
                    .into(),
            ),
            None,
        ),
        (How::Expired | How::Withdrawn, _) => (
            Decision::Unanswered(
                "Nobody answered, and nobody is asked any more. Choose what seems best, go on, and say at the end what you assumed."
                    .into(),
            ),
            None,
        ),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_blacked_out_is_told_and_is_no_other_that_looks_the_same() {
        let redactor = Redactor::new(
            [("A_KEY".into(), "abcd-efgh".into()), ("B_KEY".into(), "ijkl-mnop".into())].into_iter(),
            &[],
        )
        .unwrap();
        let ask = |command: &str| Ask {
            id: "1".into(),
            title: "Running it".into(),
            tool: Some("Bash".into()),
            input: json!({"command": command}),
            why: None,
            options: Vec::new(),
            permission: true,
        };
        let asked = |command: &str| question(&ask(command), "r", &redactor);
        let (one, other) = (asked("send abcd-efgh"), asked("send ijkl-mnop"));
        let command = |asked: &Question| asked.input.as_ref().unwrap()["input"]["command"].clone();
        assert_eq!((command(&one), command(&other)), (json!("send [redacted]"), json!("send [redacted]")));
        assert_ne!(one.input, other.input);
        assert_eq!(one.input, asked("send abcd-efgh").input);
        assert!(one.body.unwrap().contains(HIDDEN));
        let plain = asked("send it");
        assert_eq!((plain.input, plain.body), (Some(json!({"tool": "Bash", "input": {"command": "send it"}})), None));
    }
}
