//! The Agent Client Protocol (version 1): Gemini's `--acp`, and any program that speaks it. Tolerant: what is not understood is left out.

mod launch;
mod messages;
mod opening;
mod permission;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use serde_json::{Value, json, value::RawValue};

pub use launch::gemini_arguments;
use messages as m;
use permission::{Asked, Params, covers};

use crate::{
    Ask, Class, Codec, Command, Decision, Event, Figures, How, HubServer, Job, Turn, Verdict,
    failure::{self, Failure},
    lines::Lines,
    rpc::{self, Failed, Message, Peer},
    story::{Name, Over, Story, raw},
};

const VERSION: u64 = 1;
// The numbers of what is asked: given by what it is, see [`Peer::call`].
const INITIALIZE: u64 = 1;
const SESSION: u64 = 2;
const MODE: u64 = 3;
const MODEL: u64 = 4;
const AUTHENTICATE: u64 = 5;
const PROMPT: u64 = 10;
/// As many prompts as there may be.
const PROMPTS: u64 = 1000;
/// As many words as may wait for the end of a turn.
const WAITING: usize = 16;
/// As much of a message as is put together, in bytes.
const MESSAGE: usize = 1024 * 1024;
/// As many open tools as it is remembered of which files they change, and as many files of one.
const CHANGING: usize = 256;

/// What is told of a request that needs no answer any more.
const CANCELLED: [&str; 2] = ["$/cancel_request", "$/cancelRequest"];

/// A run of a program that speaks the Agent Client Protocol.
#[derive(Debug)]
pub struct Acp {
    lines: Lines,
    run: Run,
}

/// How far the beginning is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has not answered yet. Also: what is read begins in the middle.
    Start,
    /// The session is opened: what it tells now is of earlier turns.
    Opening,
    /// The mode and the model are said.
    Setting,
    /// It works.
    Working,
}

#[derive(Debug)]
struct Run {
    story: Story,
    peer: Peer<Asked>,
    stage: Stage,
    session: Option<String>,
    can: Can,
    /// A way to log in that asks nobody, until it was tried.
    key: Option<String>,
    settings: Vec<(u64, &'static str, Value)>,
    /// A message that is not whole yet, and its name.
    text: String,
    message: Option<String>,
    /// The files that an open tool is about to change: most say so before it ends.
    changing: VecDeque<(String, Vec<String>)>,
    prompts: u64,
    /// The number of the next answer to one: none is answered twice.
    answers: u64,
    /// What a person said while it worked: for the next turn.
    next: Vec<String>,
    /// What of that it did not hear any more.
    unheard: Vec<String>,
    /// What the session had cost when it was last said, in US dollars.
    cost: f64,
}

#[derive(Debug, Default)]
struct Can {
    load: bool,
    resume: bool,
}

impl Acp {
    /// For a run that is to begin, or whose output is to be read again.
    #[must_use]
    pub fn new(job: Job) -> Self {
        let cost = if job.resume.is_some() { job.used.1 } else { 0.0 };
        let run = Run {
            story: Story::new(job, name("The agent")),
            peer: Peer::new(true),
            stage: Stage::Start,
            session: None,
            can: Can::default(),
            key: None,
            settings: Vec::new(),
            text: String::new(),
            message: None,
            changing: VecDeque::new(),
            prompts: 0,
            answers: PROMPT,
            next: Vec::new(),
            unheard: Vec::new(),
            cost,
        };
        Self { lines: Lines::default(), run }
    }
}

fn name(name: &str) -> Name {
    Name {
        name: name.into(),
        login: format!("Log in with {name} on this machine as the worker's user, or give it a valid key."),
    }
}

impl Codec for Acp {
    fn begin(&mut self, turn: &mut Turn) {
        // Files and terminals are its own affair: what it does there it does in its folder, under its host.
        let able = json!({"fs": {"readTextFile": false, "writeTextFile": false}, "terminal": false});
        let client = json!({"name": "aura-hub", "title": "Aura Hub", "version": env!("CARGO_PKG_VERSION")});
        let params = json!({"protocolVersion": VERSION, "clientCapabilities": able, "clientInfo": client});
        self.run.peer.call(INITIALIZE, "initialize", params, turn);
    }

    fn feed(&mut self, bytes: &[u8], turn: &mut Turn) {
        let Self { lines, run } = self;
        lines.push(bytes, |line| run.line(line, turn));
    }

    fn command(&mut self, command: Command, turn: &mut Turn) -> bool {
        self.run.command(command, turn)
    }

    fn untaken(&self) -> Vec<String> {
        self.run.unheard.iter().chain(&self.run.next).cloned().collect()
    }

    fn figures(&self) -> &Figures {
        &self.run.story.figures
    }

    fn finish(&mut self, turn: &mut Turn) {
        let Self { lines, run } = self;
        lines.finish(|line| run.line(line, turn));
        run.flush(turn);
    }

    fn verdict(&self, how: &How<'_>) -> Verdict {
        self.run.story.verdict(how)
    }
}

impl Run {
    fn line(&mut self, bytes: &[u8], turn: &mut Turn) {
        let text = String::from_utf8_lossy(bytes);
        let known = match rpc::read(&text) {
            // Names that begin so are a program's own.
            Some(Message::Notification { method, .. }) if method.starts_with('_') => true,
            Some(Message::Notification { method, params }) if CANCELLED.contains(&&*method) => {
                let told: m::Cancelled<'_> = serde_json::from_str(params).unwrap_or_default();
                let id = told.request.map(RawValue::get).filter(|id| self.peer.take(id).is_some());
                turn.events.extend(id.map(|id| Event::Withdrawn(id.to_owned())));
                true
            }
            Some(Message::Notification { method, params }) => method == "session/update" && self.told(params, turn),
            Some(Message::Request { id, method, params }) => {
                if !(method == "session/request_permission" && self.asked(id, params, turn)) {
                    self.peer.unknown(id, turn);
                }
                true
            }
            Some(Message::Answer { id, outcome }) => self.answered(id, outcome, turn),
            None => false,
        };
        if !known {
            turn.events.push(raw(&text));
        }
    }

    fn answered(&mut self, id: u64, outcome: Result<&str, Failed<'_>>, turn: &mut Turn) -> bool {
        let now = self.story.job.now;
        let expected = match id {
            INITIALIZE => self.stage == Stage::Start,
            SESSION | AUTHENTICATE => matches!(self.stage, Stage::Start | Stage::Opening),
            MODE | MODEL => matches!(self.stage, Stage::Start | Stage::Setting),
            _ => (self.answers..PROMPT + PROMPTS).contains(&id),
        };
        if !expected {
            return false;
        }
        match (id, outcome) {
            (INITIALIZE, Ok(result)) => self.initialized(serde_json::from_str(result).unwrap_or_default(), turn),
            (SESSION, Ok(result)) => self.opened(serde_json::from_str(result).unwrap_or_default(), turn),
            (SESSION, Err(failed)) => {
                let mut failed = m::failure(&failed, now);
                if failed.class == Class::Auth
                    && let Some(method) = self.key.take()
                {
                    self.peer.call(AUTHENTICATE, "authenticate", json!({"methodId": method}), turn);
                    return true;
                }
                if self.story.job.resume.is_some() && failed.class != Class::Auth {
                    failed = Failure::no_session(&failed.message);
                }
                self.fail(failed, turn);
            }
            (AUTHENTICATE, Ok(_)) => self.open(turn),
            (MODE | MODEL, outcome) => {
                if let (MODEL, Err(failed)) = (id, outcome) {
                    let message = m::failure(&failed, now).message;
                    self.fail(Failure::of(Class::BadConfig, &message), turn);
                    return true;
                }
                // A mode that is refused (in a folder that is not trusted, say) means that it asks.
                self.fresh();
                self.set(turn);
            }
            (INITIALIZE | AUTHENTICATE, Err(failed)) => {
                let mut failed = m::failure(&failed, now);
                if id == AUTHENTICATE {
                    failed = Failure::of(Class::Auth, &failed.message);
                }
                self.fail(failed, turn);
            }
            (_, outcome) => {
                self.answers = id + 1;
                self.prompted(outcome, turn);
            }
        }
        true
    }

    fn prompt(&mut self, words: &str, turn: &mut Turn) {
        let params = json!({"sessionId": self.session, "prompt": [{"type": "text", "text": words}]});
        self.peer.call(PROMPT + self.prompts, "session/prompt", params, turn);
        self.prompts += 1;
    }

    fn prompted(&mut self, outcome: Result<&str, Failed<'_>>, turn: &mut Turn) {
        self.conclude(turn);
        let told: m::Prompted = match outcome {
            Ok(result) => serde_json::from_str(result).unwrap_or_default(),
            Err(failed) => {
                let failed = m::failure(&failed, self.story.job.now);
                return self.fail(failed, turn);
            }
        };
        if let Some(model) = told.model() {
            self.story.figures.model = Some(failure::shortened(model, 100));
        }
        self.story.usage(told.tokens(), 1, turn);
        self.story.alive();
        let over = match told.stop_reason.as_deref() {
            Some("cancelled") if self.next.is_empty() => Over::Interrupted,
            reason => {
                if let Some(failed) = m::stopped(reason) {
                    return self.fail(failed, turn);
                }
                if !self.next.is_empty() && self.session.is_some() {
                    let words = self.next.remove(0);
                    return self.prompt(&words, turn);
                }
                Over::Done
            }
        };
        self.end(over, turn);
    }

    fn fail(&mut self, failure: Failure, turn: &mut Turn) {
        self.story.fail(failure, turn);
        self.end(Over::Done, turn);
    }

    fn end(&mut self, over: Over, turn: &mut Turn) {
        self.cancel_asks(turn);
        self.story.end(over, turn);
    }

    fn cancel_asks(&mut self, turn: &mut Turn) {
        for (id, _) in self.peer.take_all() {
            self.peer.answer(&id, json!({"outcome": {"outcome": "cancelled"}}), turn);
            turn.events.push(Event::Withdrawn(id));
        }
    }

    /// Says what was put together. What comes after the end is told, and is not its last word.
    fn flush(&mut self, turn: &mut Turn) {
        let before = self.story.over.and(self.story.said.clone());
        self.conclude(turn);
        if self.story.over.is_some() {
            self.story.said = before;
        }
    }

    /// As above, with the end of a turn.
    fn conclude(&mut self, turn: &mut Turn) {
        let text = std::mem::take(&mut self.text);
        self.message = None;
        self.story.text(&text, turn);
    }

    /// False: it is not known.
    fn told(&mut self, params: &str, turn: &mut Turn) -> bool {
        let Ok(m::Told { session, update: mut told }) = serde_json::from_str(params) else { return false };
        if let (Some(told), Some(ours)) = (&session, &self.session)
            && told != ours
        {
            return true;
        }
        if self.stage == Stage::Start && self.story.figures.session.is_none() {
            self.story.figures.session = session.map(|session| failure::shortened(&session, 200));
        }
        if self.stage == Stage::Opening {
            return true;
        }
        match told.update.as_deref().unwrap_or_default() {
            "agent_message_chunk" if told.is_aside() => {}
            // While settings are said it is about those, and dropped when they are.
            "agent_message_chunk" => {
                if told.message.is_some() && self.message.is_some() && told.message != self.message {
                    self.flush(turn);
                }
                self.message = told.message.take();
                let text = told.text();
                if !text.starts_with("[MODE_UPDATE]") {
                    self.text.push_str(&text);
                }
                if self.text.len() > MESSAGE {
                    self.flush(turn);
                }
            }
            "tool_call" | "tool_call_update" => return self.tool(&told, turn),
            "plan" => turn.events.push(Event::Plan(told.steps())),
            "usage_update" => self.spent(told.cost, turn),
            "user_message_chunk"
            | "agent_thought_chunk"
            | "available_commands_update"
            | "current_mode_update"
            | "config_option_update"
            | "session_info_update"
            | "notice"
            | "compaction_update"
            | "compaction_summary_chunk" => {}
            _ => return false,
        }
        true
    }

    fn tool(&mut self, tool: &m::Tool<'_>, turn: &mut Turn) -> bool {
        let Some(id) = &tool.id else { return false };
        let story = &mut self.story;
        let ended = match tool.status.as_deref() {
            Some("completed") => Some(true),
            Some("failed") => Some(false),
            _ => None,
        };
        let known = story.words_of(id).map(str::to_owned);
        if known.is_none() && (tool.title.is_some() || ended.is_some()) {
            self.flush(turn);
        }
        let story = &mut self.story;
        let words = known.clone().unwrap_or_else(|| tool.words(&story.job.folder));
        // What is pending may yet be asked for; it is told then.
        if known.is_none() && (tool.title.is_some() || ended.is_some()) {
            story.tool(id, words.clone(), turn);
        }
        let mut files = if tool.changes() { tool.files() } else { Vec::new() };
        let at = self.changing.iter().position(|(of, _)| *of == failure::shortened(id, 200));
        if let Some((_, told)) = at.and_then(|at| self.changing.remove(at)) {
            files.extend(told.into_iter().filter(|file| !files.contains(file)).collect::<Vec<_>>());
        }
        if ended.is_none() && !files.is_empty() {
            if self.changing.len() >= CHANGING {
                self.changing.pop_front();
            }
            files.truncate(CHANGING);
            self.changing.push_back((failure::shortened(id, 200), std::mem::take(&mut files)));
        }
        match ended {
            Some(true) => {
                // Gemini ends a command well that it would not run.
                let blocked = tool.printed_shortly().filter(|text| text.starts_with("Blocked: "));
                match &blocked {
                    Some(why) => {
                        story.denied(&words, &failure::first_sentence(why), turn);
                        story.tool_end(id, Some(format!("{words}: not allowed")), false, Vec::new(), turn);
                    }
                    None => story.tool_end(id, None, true, files, turn),
                }
            }
            Some(false) => {
                let why = failure::first_sentence(&tool.printed());
                if is_refusal(&why) && !story.is_excused(id) {
                    story.denied(&words, &why, turn);
                }
                story.tool_end(id, Some(format!("{words}: failed")), false, Vec::new(), turn);
            }
            None => {}
        }
        true
    }

    /// The cost of the whole session, as often as it is told.
    fn spent(&mut self, told: Option<m::Cost>, turn: &mut Turn) {
        let Some(m::Cost { amount: Some(amount), currency }) = told else { return };
        if !amount.is_finite()
            || amount <= self.cost
            || currency.is_some_and(|currency| !currency.eq_ignore_ascii_case("usd"))
        {
            return;
        }
        let more = amount - self.cost;
        self.cost = amount;
        let all = self.story.figures.cost_usd.get_or_insert(0.0);
        *all += more;
        turn.events.push(Event::Usage { tokens: crate::Tokens::default(), cost_usd: Some(more) });
    }

    /// False: it is not understood.
    fn asked(&mut self, id: &str, params: &str, turn: &mut Turn) -> bool {
        let Ok(mut told) = serde_json::from_str::<Params<'_>>(params) else { return false };
        let tool: m::Tool<'_> = told.tool.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        self.flush(turn);
        let folder = self.story.job.folder.clone();
        let known = tool.id.as_deref().and_then(|id| self.story.words_of(id)).map(str::to_owned);
        let words =
            if tool.title.is_some() || known.is_none() { tool.words(&folder) } else { known.unwrap_or_default() };
        let mut input = told.tool.map_or(Value::Null, |raw| rpc::value(raw.get()));
        if let Some(fields) = input.as_object_mut() {
            fields.retain(|name, _| !matches!(name.as_str(), "toolCallId" | "status" | "_meta"));
            // Of a call that was told of before, nothing else may say what it is.
            fields.entry("title").or_insert_with(|| words.clone().into());
        }
        let asked = Asked::new(&mut told, &tool, words.clone());
        // What is done by its tools, the hub itself decides.
        let hubs = self.story.job.hub.is_some()
            && HubServer::has(tool.kind.as_deref(), tool.name.as_deref(), tool.title.as_deref());
        if (hubs || covers(self.story.job.policy, &tool, &folder))
            && let Some((answer, true)) = asked.answer(&Decision::Allow(None))
        {
            self.story.tool(&asked.tool, words, turn);
            self.peer.answer(id, answer, turn);
            return true;
        }
        let ask = Ask {
            id: id.to_owned(),
            title: words,
            tool: tool.name.clone().or(tool.kind.clone()),
            input,
            why: None,
            options: asked.options(),
            permission: asked.is_permission(),
        };
        if self.peer.keep(id, asked, turn) {
            turn.events.push(Event::Ask(ask));
        }
        true
    }

    /// An answer has no room for words: they come after it.
    fn excuse(&mut self, tool: &str, words: &str, turn: &mut Turn) {
        self.story.excuse(tool);
        self.command(Command::Steer(words.to_owned()), turn);
    }

    fn command(&mut self, command: Command, turn: &mut Turn) -> bool {
        let working = self.stage == Stage::Working && self.story.over.is_none();
        match command {
            // A second prompt would end the first in some programs: it is said when the turn is over.
            Command::Steer(words) => {
                let room = working && self.next.len() < WAITING && self.prompts < PROMPTS;
                if room {
                    self.next.push(words);
                }
                room
            }
            Command::Interrupt => {
                if !working {
                    return false;
                }
                self.unheard.append(&mut self.next);
                self.peer.notify("session/cancel", Some(json!({"sessionId": self.session})), turn);
                self.cancel_asks(turn);
                true
            }
            Command::Answer { id, decision } => {
                let Some(asked) = self.peer.take(&id) else { return false };
                let Some((answer, yes)) = asked.answer(&decision) else {
                    // No answer to this question: it is still open.
                    self.peer.keep(&id, asked, turn);
                    return false;
                };
                self.peer.answer(&id, answer, turn);
                if yes {
                    self.story.tool(&asked.tool, asked.words, turn);
                    return true;
                }
                match &decision {
                    Decision::Decline(_) => self.story.excuse(&asked.tool),
                    Decision::Unanswered(words) => self.excuse(&asked.tool, words, turn),
                    Decision::Say(words) if !asked.is_permission() => self.excuse(&asked.tool, words, turn),
                    Decision::Deny(why) | Decision::Say(why) => self.story.denied(&asked.words, why, turn),
                    _ => self.story.denied(&asked.words, "declined", turn),
                }
                if self.story.is_open(&asked.tool) {
                    self.story.tool_end(&asked.tool, None, false, Vec::new(), turn);
                }
                true
            }
        }
    }
}

/// Whether a tool failed because its program forbids it. What the machine forbids (`EACCES: permission denied`), or a server that it
/// asks, is a failure like others.
fn is_refusal(why: &str) -> bool {
    let small = why.to_lowercase();
    let begins = ["access denied: path", "access denied: plan path", "path not in workspace"];
    let has = [
        "denied by policy",
        "rejected by user",
        "user refused",
        "user declined",
        "user rejected",
        "requires approval",
        "plan mode",
    ];
    let machine = ["eacces", "eperm", "permission denied", "operation not permitted"];
    (begins.iter().any(|sign| small.starts_with(sign)) || has.iter().any(|sign| small.contains(sign)))
        && !machine.iter().any(|sign| small.contains(sign))
}
