//! `codex app-server`: JSON-RPC over lines, without `"jsonrpc"`.

use serde_json::{Value, json, value::RawValue};

use super::{asks, asks::Asked, item, item::Item, launch::sandbox, messages as m};
use crate::{
    Codec, Command, Decision, Figures, How, Job, Policy, Tokens, Turn, Verdict,
    failure::Failure,
    lines::Lines,
    rpc::{self, Failed, Message, Peer},
    story::{Over, Story, raw},
};

// The numbers of what is asked: given by what it is, see [`Peer::call`].
const INITIALIZE: u64 = 1;
const THREAD: u64 = 2;
const TURN: u64 = 3;
const INTERRUPT: u64 = 4;
const STEER: u64 = 100;
/// As many words as may be under way at once, and as many changes that wait for an approval.
const WAITING: usize = 16;
/// The changes of a file change are kept for its approval up to this size, in bytes. What is longer is not shown in part: a person would
/// approve what they did not see.
const CHANGES: usize = 256 * 1024;
/// What it tells only for those who watch it letter by letter.
const NOT_NEEDED: [&str; 8] = [
    "item/agentMessage/delta",
    "item/plan/delta",
    "item/reasoning/summaryTextDelta",
    "item/reasoning/textDelta",
    "item/reasoning/summaryPartAdded",
    "item/commandExecution/outputDelta",
    "item/fileChange/outputDelta",
    "turn/diff/updated",
];

/// A run of `codex app-server`.
#[derive(Debug)]
pub struct Codex {
    lines: Lines,
    run: Run,
}

#[derive(Debug)]
struct Run {
    story: Story,
    peer: Peer<Asked>,
    /// What it has answered: none twice, or the work would begin twice.
    answered: [bool; 3],
    /// It has answered, and not yet begun the turn: what it tells of earlier ones is no news.
    loading: bool,
    thread: Option<String>,
    turn: Option<String>,
    /// What the thread had used when it was last said.
    used: Option<Tokens>,
    /// What was said while it worked, until it says that it heard it.
    steering: Vec<(u64, String)>,
    /// What of it was not taken.
    unheard: Vec<String>,
    steers: u64,
    /// The turn is over, but for what was said last.
    ended: Option<Over>,
    /// Changes that may have to be approved, by their item.
    changes: Vec<(String, Value)>,
    limits: m::Limits,
}

/// What was used since the last figure.
pub(super) fn difference(total: Tokens, before: Tokens) -> Tokens {
    Tokens {
        input: total.input.saturating_sub(before.input),
        output: total.output.saturating_sub(before.output),
        cached: total.cached.saturating_sub(before.cached),
    }
}

impl Codex {
    /// For a run that is to begin, or whose output is to be read again.
    #[must_use]
    pub fn new(job: Job) -> Self {
        let run = Run {
            // The model that was asked for, until it says which it is.
            story: Story::new(job, super::name()),
            peer: Peer::new(false),
            answered: [false; 3],
            loading: false,
            thread: None,
            turn: None,
            used: None,
            steering: Vec::new(),
            unheard: Vec::new(),
            steers: 0,
            ended: None,
            changes: Vec::new(),
            limits: m::Limits::default(),
        };
        Self { lines: Lines::default(), run }
    }
}

impl Codec for Codex {
    fn begin(&mut self, turn: &mut Turn) {
        let client = json!({"name": "aura-hub", "title": "Aura Hub", "version": env!("CARGO_PKG_VERSION")});
        let able =
            json!({"experimentalApi": false, "requestAttestation": false, "optOutNotificationMethods": NOT_NEEDED});
        self.run.peer.call(INITIALIZE, "initialize", json!({"clientInfo": client, "capabilities": able}), turn);
    }

    fn feed(&mut self, bytes: &[u8], turn: &mut Turn) {
        let Self { lines, run } = self;
        lines.push(bytes, |line| run.line(line, turn));
    }

    fn command(&mut self, command: Command, turn: &mut Turn) -> bool {
        self.run.command(command, turn)
    }

    fn untaken(&self) -> Vec<String> {
        self.run.unheard.iter().chain(self.run.steering.iter().map(|(_, words)| words)).cloned().collect()
    }

    fn figures(&self) -> &Figures {
        &self.run.story.figures
    }

    fn finish(&mut self, turn: &mut Turn) {
        let Self { lines, run } = self;
        lines.finish(|line| run.line(line, turn));
        // It ended before it said that it heard what was said last.
        run.story.over = run.story.over.or(run.ended.take());
    }

    fn verdict(&self, how: &How<'_>) -> Verdict {
        let mut verdict = self.run.story.verdict(how);
        // A change that its own rules forbid is told to the model and to standard error, and to nobody else.
        if verdict.class.is_none() && how.errors.contains("rejected by user approval settings") {
            let failure = Failure::of(crate::Class::Denied, "a change that its sandbox does not allow");
            verdict.class = Some(failure.class);
            verdict.text = failure.sentence("Codex");
            verdict.remedy = failure.remedy("");
            verdict.retry = failure.retry;
        }
        verdict
    }
}

impl Run {
    fn line(&mut self, bytes: &[u8], turn: &mut Turn) {
        let text = String::from_utf8_lossy(bytes);
        let known = match rpc::read(&text) {
            Some(Message::Notification { method, params }) => self.told(&method, params, turn),
            Some(Message::Request { id, method, params }) => {
                self.asked(id, &method, params, turn);
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
        if let Some(answered) = self.answered.get_mut(usize::try_from(id).unwrap_or(usize::MAX))
            && std::mem::replace(answered, true)
        {
            return false;
        }
        match (id, outcome) {
            (INITIALIZE, Ok(result)) => {
                let hello: m::Initialized = serde_json::from_str(result).unwrap_or_default();
                let version = hello.user_agent.as_deref().and_then(|agent| agent.split('/').nth(1)?.split(' ').next());
                self.story.figures.version = version.map(|version| crate::failure::shortened(version, 100));
                self.loading = true;
                self.peer.notify("initialized", None, turn);
                self.open(turn);
            }
            (THREAD, Ok(result)) => {
                let Ok(m::Opened { thread, model }) = serde_json::from_str(result) else { return false };
                let Some(id) = thread.id else { return false };
                self.story.session(&id, model.or(thread.model).as_deref(), thread.version.as_deref(), turn);
                self.thread = Some(id);
                let prompt = self.story.job.prompt.clone();
                self.start(&prompt, turn);
            }
            (THREAD, Err(failed)) if self.story.job.resume.is_some() => {
                self.fail(Failure::no_session(failed.message.as_deref().unwrap_or_default()), turn);
            }
            (TURN, Ok(result)) => {
                let begun: m::Begun = serde_json::from_str(result).unwrap_or_default();
                self.begun(begun.turn.and_then(|turn| turn.id));
            }
            (INITIALIZE | THREAD | TURN, Err(failed)) => {
                let message = failed.message.unwrap_or_default();
                self.fail(Failure::read(&message, None, self.story.job.now), turn);
            }
            (INTERRUPT, _) => {}
            (STEER.., outcome) => {
                let Some(at) = self.steering.iter().position(|(steer, _)| *steer == id) else { return true };
                let (_, words) = self.steering.remove(at);
                match (outcome, self.ended) {
                    (Ok(_), _) => {}
                    // It came too late for this turn: it is the next.
                    (Err(_), Some(Over::Done)) if self.story.failure.is_none() => {
                        self.ended = None;
                        self.start(&words, turn);
                    }
                    (Err(_), _) => self.unheard.push(words),
                }
                self.end_if_all_is_said(turn);
            }
            _ => return false,
        }
        true
    }

    fn open(&self, turn: &mut Turn) {
        let job = &self.story.job;
        // Without an approval policy that asks, what the sandbox forbids is told to nobody but the model. It may ask, and is answered.
        let approval = if job.policy == Policy::Full { "never" } else { "on-request" };
        let mut params = json!({"cwd": job.folder, "sandbox": sandbox(job.policy), "approvalPolicy": approval});
        if let Some(model) = &job.model {
            params["model"] = model.as_str().into();
        }
        let method = match &job.resume {
            Some(session) => {
                params["threadId"] = session.as_str().into();
                params["excludeTurns"] = true.into();
                "thread/resume"
            }
            None => "thread/start",
        };
        self.peer.call(THREAD, method, params, turn);
    }

    fn start(&mut self, words: &str, turn: &mut Turn) {
        self.turn = None;
        self.peer.call(TURN, "turn/start", json!({"threadId": self.thread, "input": input(words)}), turn);
    }

    fn begun(&mut self, id: Option<String>) {
        self.loading = false;
        if id.is_some() {
            self.turn = id;
        }
    }

    fn fail(&mut self, failure: Failure, turn: &mut Turn) {
        self.story.fail(failure, turn);
        self.ended = Some(Over::Done);
        self.end_if_all_is_said(turn);
    }

    fn end_if_all_is_said(&mut self, turn: &mut Turn) {
        if self.steering.is_empty()
            && let Some(over) = self.ended.take()
        {
            for (id, _) in self.peer.take_all() {
                self.peer.unknown(&id, turn);
                turn.events.push(crate::Event::Withdrawn(id));
            }
            self.story.end(over, turn);
        }
    }

    /// Whether something is of our thread, and not of another agent that it works with.
    fn ours(&mut self, thread: Option<&str>) -> bool {
        match (thread, &self.thread) {
            (Some(thread), Some(ours)) => thread == ours,
            (Some(thread), None) => {
                // Read from the middle on: the first that is heard of.
                self.thread = Some(thread.to_owned());
                self.story.figures.session.get_or_insert_with(|| crate::failure::shortened(thread, 200));
                true
            }
            (None, _) => true,
        }
    }

    /// False: it is not known.
    fn told(&mut self, method: &str, params: &str, turn: &mut Turn) -> bool {
        if NOT_NEEDED.contains(&method) {
            return true;
        }
        if method == "account/rateLimits/updated" {
            let Ok(told) = serde_json::from_str::<m::RateLimits>(params) else { return false };
            self.limits.take(told.limits.unwrap_or_default(), &mut self.story, turn);
            return true;
        }
        let Ok(told) = serde_json::from_str::<m::Told<'_>>(params) else { return false };
        if method == "thread/started" {
            return true;
        }
        if !self.ours(told.thread.as_deref()) {
            return true;
        }
        match method {
            "turn/started" => self.begun(told.turn.and_then(|turn| turn.id)),
            "item/started" | "item/completed" => {
                let Some(item) = told.item.and_then(|raw| serde_json::from_str::<Item<'_>>(raw.get()).ok()) else {
                    return false;
                };
                if method == "item/completed" {
                    self.changes.retain(|(id, _)| Some(id) != item.id.as_ref());
                    return item.completed(&mut self.story, turn);
                }
                self.keep_changes(&item);
                return item.started(&mut self.story, turn);
            }
            "turn/plan/updated" => item::plan(told.plan.map_or("[]", RawValue::get), turn),
            "thread/tokenUsage/updated" => self.usage(told.usage.unwrap_or_default(), told.turn_id.as_deref(), turn),
            "model/rerouted" => {
                let Some(to) = told.to_model else { return false };
                self.story.figures.model = Some(crate::failure::shortened(&to, 100));
                turn.events.push(crate::Event::Fallback { from: told.from_model, to });
            }
            "error" => {
                let failure = told.error.unwrap_or_default();
                let (failed, status) = failure.read(self.story.job.now);
                if told.will_retry == Some(true) {
                    let of = failure.message.as_deref().and_then(super::exec::again).flatten();
                    self.story.retry(failed, status, of, turn);
                } else {
                    self.story.fail(failed, turn);
                }
            }
            "turn/completed" => self.over(told.turn.unwrap_or_default(), turn),
            "serverRequest/resolved" => {
                // It is told of every answer, and of what it waits for no more.
                let id = told.request.map(RawValue::get).filter(|id| self.peer.take(id).is_some());
                turn.events.extend(id.map(|id| crate::Event::Withdrawn(id.to_owned())));
            }
            _ => {
                return [
                    "item/",
                    "thread/",
                    "turn/",
                    "account/",
                    "mcpServer/",
                    "model/",
                    "modelProvider/",
                    "hook/",
                    "skills/",
                    "app/",
                    "remoteControl/",
                ]
                .iter()
                .any(|known| method.starts_with(known))
                    || ["warning", "configWarning", "guardianWarning", "deprecationNotice"].contains(&method);
            }
        }
        true
    }

    fn over(&mut self, told: m::Turn, turn: &mut Turn) {
        if let (Some(told), Some(ours)) = (&told.id, &self.turn)
            && told != ours
        {
            return;
        }
        // Read from the middle on, they may be all there is.
        if let (None, Some(words)) = (&self.story.said, told.last_words()) {
            self.story.said = Some(words.to_owned());
        }
        let over = match told.status.as_deref() {
            Some("interrupted") => Over::Interrupted,
            Some("failed") => {
                let (failed, _) = told.error.unwrap_or_default().read(self.story.job.now);
                self.story.fail(failed, turn);
                Over::Done
            }
            _ => {
                // What it told as an error and got over.
                self.story.failure = None;
                Over::Done
            }
        };
        self.ended = Some(over);
        self.end_if_all_is_said(turn);
    }

    fn usage(&mut self, usage: m::Usage, of: Option<&str>, turn: &mut Turn) {
        let (total, last) = (usage.total.unwrap_or_default().tokens(), usage.last.unwrap_or_default().tokens());
        let earlier = match (&self.turn, of) {
            (Some(ours), Some(told)) => ours != told,
            _ => self.loading,
        };
        if earlier {
            self.used = Some(total);
            return;
        }
        let job = &self.story.job;
        let before = self.used.unwrap_or_else(|| match job.resume {
            // Who went on with it before did not say what it had used: only what is new counts (multica#5568).
            Some(_) if job.used.0 == Tokens::default() => difference(total, last),
            Some(_) => job.used.0,
            None => Tokens::default(),
        });
        // A total that shrinks began anew.
        let used = if total.input < before.input { last } else { difference(total, before) };
        self.used = Some(total);
        self.story.usage(used, 1, turn);
    }

    fn keep_changes(&mut self, item: &Item<'_>) {
        if let (Some(id), Some(changes)) = (&item.id, item.changes) {
            let whole = changes.get().len() <= CHANGES;
            let value = if whole { rpc::value(changes.get()) } else { "too long to be shown".into() };
            if self.changes.len() >= WAITING {
                self.changes.remove(0);
            }
            self.changes.push((id.clone(), value));
        }
    }

    fn asked(&mut self, id: &str, method: &str, params: &str, turn: &mut Turn) {
        let (story, changes) = (&self.story, &self.changes);
        let about = |item: &str| {
            let changes = changes.iter().find(|(id, _)| id == item).map(|(_, changes)| changes.clone());
            (story.words_of(item), changes)
        };
        match asks::read(id, method, params, about) {
            Some((ask, asked)) => {
                if self.peer.keep(id, asked, turn) {
                    turn.events.push(crate::Event::Ask(ask));
                }
            }
            None => self.peer.unknown(id, turn),
        }
    }

    fn command(&mut self, command: Command, turn: &mut Turn) -> bool {
        match command {
            Command::Steer(words) => self.steer(&words, turn),
            Command::Interrupt => {
                let (Some(thread), Some(ours)) = (&self.thread, &self.turn) else { return false };
                if self.story.over.is_some() {
                    return false;
                }
                self.peer.call(INTERRUPT, "turn/interrupt", json!({"threadId": thread, "turnId": ours}), turn);
                true
            }
            Command::Answer { id, decision } => self.answer(&id, &decision, turn),
        }
    }

    fn steer(&mut self, words: &str, turn: &mut Turn) -> bool {
        let (Some(thread), Some(ours)) = (&self.thread, &self.turn) else { return false };
        if self.story.over.is_some() || self.ended.is_some() || self.steering.len() >= WAITING {
            return false;
        }
        let id = STEER + self.steers;
        self.steers += 1;
        let params = json!({"threadId": thread, "expectedTurnId": ours, "input": input(words)});
        self.peer.call(id, "turn/steer", params, turn);
        self.steering.push((id, words.to_owned()));
        true
    }

    fn answer(&mut self, id: &str, decision: &Decision, turn: &mut Turn) -> bool {
        let Some(asked) = self.peer.take(id) else { return false };
        let Some((answer, refused)) = asked.clone().answer(decision) else {
            // No answer to this question: it is still open.
            self.peer.keep(id, asked, turn);
            return false;
        };
        self.peer.answer(id, answer, turn);
        match (refused, decision) {
            (Some((_, item)), Decision::Decline(_) | Decision::Unanswered(_)) => {
                item.into_iter().for_each(|item| self.story.excuse(&item));
            }
            (Some((what, item)), _) => {
                let why = match decision {
                    Decision::Deny(why) | Decision::Say(why) => why.as_str(),
                    _ => "declined",
                };
                // Its item is going to say that it was declined: once is enough.
                if item.is_none_or(|item| !self.story.is_open(&item)) {
                    self.story.denied(&what, why, turn);
                } else {
                    self.story.refuse(&what, why);
                }
            }
            (None, _) => {}
        }
        if let Decision::Unanswered(words) = decision {
            // A decline has no words: without these the model would take it for a person's no.
            self.steer(words, turn);
        }
        true
    }
}

fn input(words: &str) -> Value {
    json!([{"type": "text", "text": words, "text_elements": []}])
}
