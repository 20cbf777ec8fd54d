//! Claude Code, by lines of JSON in both directions (`--input-format stream-json --output-format stream-json`).
//!
//! Its turn is over with a `result`, but the run is not always: work in the background goes on, and what a person added in the
//! meantime gets a turn of its own. Only a result with nothing behind it is the final word; then standard input is closed, and Claude
//! exits by itself. (Closed sooner, versions before 2.1.332 kill the work in the background after 5 s, and an open question fails.)

mod input;
mod judge;
mod launch;
mod lenient;
mod limits;
mod said;
#[cfg(test)]
mod tests;
mod tools;
mod wire;

pub use launch::{arguments, environment};

use std::collections::VecDeque;

use crate::lines::Lines;
use crate::{Class, Codec, Command, End, Event, Figures, How, Job, Limit, Tokens, Turn, Verdict};

use input::{Answer, Asked};
use judge::{Failure, Said};
use tools::Tools;
use wire::Models;

/// As many refusals, ends of helpers and things in the background are kept at most.
const KEPT: usize = 256;

/// As many models are told apart at most in what it is yet to tell the cost of.
const MODELS: usize = 16;

/// As many files are named at most.
const FILES: usize = 5_000;

/// As much of its last words is kept, in bytes: no result for people is longer.
const WORDS: usize = 512 * 1024;

/// As much of a line that is not known is passed on.
const RAW: usize = 4_000;

/// What the model reads of a question that was open when it was interrupted.
const INTERRUPTED: &str =
    "Nobody has answered yet, and the work stops here for now. This is no refusal: it is not decided.";

/// Claude Code.
#[derive(Debug)]
pub struct Claude {
    job: Job,
    lines: Lines,
    state: State,
}

/// All that is known of the run.
#[derive(Debug, Default)]
struct State {
    figures: Figures,
    tools: Tools,
    asked: Vec<Asked>,
    /// Its own list counts answers in words as refusals. They are not.
    excused: Vec<String>,
    /// What it was refused: the use of a tool, and what that was.
    denied: Vec<(String, String)>,
    /// Work in the background, by its id and in words.
    background: Vec<(String, String)>,
    /// What a person added, until it says that the model read it.
    steers: Vec<String>,
    /// What of that the model never read: a failure came first.
    unread: Vec<String>,
    /// The last messages of models, by their ids: each comes in several lines.
    messages: VecDeque<String>,
    /// Its tokens as its results count them.
    exact: Tokens,
    /// The same as it counts them, where it says no differences.
    total: Option<Models>,
    /// Where its own counting of dollars stood.
    dollars: Option<f64>,
    subscription: Option<bool>,
    elsewhere: bool,
    /// An error of the provider that no answer followed.
    error: Option<Said>,
    /// It tries again, for that reason.
    trying: Option<(Option<Class>, Option<u16>)>,
    limit: Option<Limit>,
    /// The last result, unless a turn began after it.
    result: Option<Said>,
    /// The last result was not its final word, and this came after it.
    held: Option<String>,
    /// Held, because of what a person added.
    held_for_steers: bool,
    /// It said, outside of its JSON, that there is no such session.
    lost: bool,
    interrupts: u32,
    closed: bool,
}

impl Claude {
    /// For a job.
    #[must_use]
    pub fn new(job: Job) -> Self {
        Self { job, lines: Lines::default(), state: State::default() }
    }
}

impl Codec for Claude {
    fn begin(&mut self, turn: &mut Turn) {
        input::user(&self.job.prompt, &mut turn.input);
    }

    fn feed(&mut self, bytes: &[u8], turn: &mut Turn) {
        let Self { job, lines, state } = self;
        lines.push(bytes, |line| state.take(job, line, turn));
    }

    fn command(&mut self, command: Command, turn: &mut Turn) -> bool {
        let state = &mut self.state;
        if state.closed {
            return false;
        }
        match command {
            Command::Steer(text) => {
                input::user(&text, &mut turn.input);
                if state.steers.len() < KEPT {
                    state.steers.push(text);
                }
                true
            }
            Command::Interrupt => {
                // Left open, it would be told to the model as refused by the user.
                for asked in std::mem::take(&mut state.asked) {
                    let open = input::Answer::No(INTERRUPTED.to_owned(), false);
                    input::answer(&asked.id, &open, &mut turn.input);
                    state.excuse(asked.used);
                }
                state.interrupts += 1;
                input::interrupt(state.interrupts, &mut turn.input);
                true
            }
            Command::Answer { id, decision } => {
                let Some(at) = state.asked.iter().position(|asked| asked.id == id) else { return false };
                let Some(answer) = state.asked[at].answer(decision) else { return false };
                let asked = state.asked.remove(at);
                input::answer(&asked.id, &answer, &mut turn.input);
                match answer {
                    Answer::Yes(_) => {}
                    Answer::No(why, true) => state.deny(&asked.used, asked.title, why, turn),
                    Answer::No(_, false) => state.excuse(asked.used),
                }
                true
            }
        }
    }

    fn untaken(&self) -> Vec<String> {
        self.state.unread.iter().chain(&self.state.steers).cloned().collect()
    }

    fn figures(&self) -> &Figures {
        &self.state.figures
    }

    fn finish(&mut self, turn: &mut Turn) {
        let Self { job, lines, state } = self;
        lines.finish(|line| state.take(job, line, turn));
    }

    fn verdict(&self, how: &How<'_>) -> Verdict {
        let state = &self.state;
        let failure = state.failure(how, &self.job);
        let class = failure.as_ref().map(|failure| failure.class);
        let limit = (class == Some(Class::Limit)).then(|| {
            let said = state.result.as_ref().or(state.error.as_ref()).map_or("", |said| said.text.as_str());
            state.limit.clone().unwrap_or_else(|| limits::from_text(said, self.job.now))
        });
        let figures = state.figures.clone();
        match failure {
            None => Verdict {
                class: None,
                text: state.result.as_ref().map(|said| said.text.clone()).unwrap_or_default(),
                remedy: None,
                retry: false,
                limit,
                resumable: figures.session.is_some(),
                figures,
            },
            Some(Failure { class, text, remedy, retry, resumable }) => Verdict {
                class: Some(class),
                text,
                remedy,
                retry,
                limit,
                resumable: resumable && figures.session.is_some(),
                figures,
            },
        }
    }
}

impl State {
    fn failure(&self, how: &How<'_>, job: &Job) -> Option<Failure> {
        let resumed = job.resume.is_some();
        let Some(said) = &self.result else {
            return Some(if self.lost {
                judge::silent(how.end, "No conversation found with session ID")
            } else if let Some(error) = &self.error {
                judge::result(error, resumed).unwrap_or_else(|| judge::silent(how.end, how.errors))
            } else if let Some(failure) = self.trying.and_then(trying) {
                failure
            } else {
                judge::silent(how.end, how.errors)
            });
        };
        // It did something, and had nothing to add.
        let wordless = !said.is_error && said.text.trim().is_empty() && self.figures.tool_calls > 0;
        if let Some(failure) =
            judge::result(said, resumed).filter(|failure| failure.class != Class::Silent || !wordless)
        {
            return Some(failure);
        }
        if let Some((_, first)) = self.denied.first() {
            let others = match self.denied.len() {
                1 => String::new(),
                count => format!(", and {} more", count - 1),
            };
            let text = format!("It was not allowed to do all it tried: {}{others}.", judge::quoted(first));
            let remedy = "Give this agent a wider policy, or tell it to do without that.";
            return Some(Failure::new(Class::Denied, text, remedy));
        }
        if let Some(work) = &self.held {
            // It said that it is done, and something was not (multica#3187).
            let text = format!("Claude ended before all of its work did: {work}.");
            return Some(Failure::new(
                Class::Silent,
                text,
                "Go on with the conversation, and tell it to wait for that.",
            ));
        }
        match how.end {
            End::Exit(0) | End::Lingered | End::Cut => None,
            End::Exit(_) | End::Signal(_) => {
                // Ended by somebody else, it may still print that it is done.
                Some(judge::silent(how.end, ""))
            }
        }
    }

    fn excuse(&mut self, used: String) {
        if self.excused.len() < KEPT {
            self.excused.push(used);
        }
    }

    fn deny(&mut self, id: &str, what: String, why: String, turn: &mut Turn) {
        let known = self.denied.iter().any(|(known, _)| !id.is_empty() && known == id)
            || self.excused.iter().any(|known| known == id);
        if !known {
            if self.denied.len() < KEPT {
                self.denied.push((id.to_owned(), what.clone()));
            }
            turn.events.push(Event::Denied { what, why });
        }
    }
}

/// It was ended while it tried again: that is how it failed.
fn trying((class, status): (Option<Class>, Option<u16>)) -> Option<Failure> {
    let status = status.map_or_else(|| "it does not answer".to_owned(), |status| format!("status {status}"));
    Some(match class? {
        Class::Auth => judge::auth(&status),
        Class::Limit => {
            let remedy = "It goes on when the limit ends; another login or model may go on now.";
            Failure::new(Class::Limit, "A limit of the account is met.", remedy)
        }
        _ => judge::overloaded(&status),
    })
}
