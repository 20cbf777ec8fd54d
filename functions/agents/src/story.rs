//! What a run has told so far, and the verdict of it: the part that programs have in common.

use std::collections::VecDeque;

use crate::{
    Class, End, Event, Figures, How, Job, Limit, Tokens, Turn, Verdict,
    failure::{self, Failure},
    words,
};

/// As many tools as may be open at once.
const OPEN: usize = 256;
/// As many changed files as are kept.
const FILES: usize = 1000;
/// As much of its last words as is kept, in bytes.
const WORDS: usize = 1024 * 1024;
/// As much of a line that is not known as is kept, in bytes.
const RAW: usize = 4000;

/// How people call a program, and what they do about its login.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Name {
    pub(crate) name: String,
    pub(crate) login: String,
}

/// How the turn was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// It had nothing more to do.
    Done,
    /// It was told to stop.
    Interrupted,
}

/// What a run has told so far.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) job: Job,
    pub(crate) name: Name,
    pub(crate) figures: Figures,
    /// Its last words to the person.
    pub(crate) said: Option<String>,
    pub(crate) over: Option<Over>,
    pub(crate) failure: Option<Failure>,
    /// What it tried in vain, and tries again.
    pub(crate) retrying: Option<Failure>,
    /// What it was first not allowed to do.
    pub(crate) denied: Option<String>,
    /// The limit that was last told in numbers.
    pub(crate) limit: Option<Limit>,
    /// Why a person refused what is going to be told as declined.
    pub(crate) why: Option<String>,
    /// The tools that a person declined, or said nothing to: that they were not used is no failure.
    excused: VecDeque<String>,
    retries: u32,
    tools: VecDeque<(String, String)>,
}

impl Story {
    pub(crate) fn new(job: Job, name: Name) -> Self {
        Self {
            job,
            name,
            figures: Figures::default(),
            said: None,
            over: None,
            failure: None,
            retrying: None,
            denied: None,
            limit: None,
            why: None,
            excused: VecDeque::new(),
            retries: 0,
            tools: VecDeque::new(),
        }
    }

    /// It began, or more is known of how.
    pub(crate) fn session(&mut self, id: &str, model: Option<&str>, version: Option<&str>, turn: &mut Turn) {
        let figures = &mut self.figures;
        let before = (figures.session.clone(), figures.model.clone(), figures.version.clone());
        figures.session = Some(failure::shortened(id, 200));
        let name = |name: &str| failure::shortened(name, 100);
        figures.model = model.map(name).or(figures.model.take());
        figures.version = version.map(name).or(figures.version.take());
        if before != (figures.session.clone(), figures.model.clone(), figures.version.clone()) {
            let (id, model, version) =
                (figures.session.clone().unwrap_or_default(), figures.model.clone(), figures.version.clone());
            turn.events.push(Event::Session { id, model, version });
        }
    }

    /// It said something, whole.
    pub(crate) fn text(&mut self, text: &str, turn: &mut Turn) {
        if text.trim().is_empty() {
            return;
        }
        self.alive();
        self.said = Some(kept(text).to_owned());
        turn.events.push(Event::Text(kept(text).to_owned()));
    }

    /// It goes on: what it tried in vain worked in the end.
    pub(crate) fn alive(&mut self) {
        (self.retrying, self.retries) = (None, 0);
    }

    /// A tool began. Twice is once.
    pub(crate) fn tool(&mut self, id: &str, words: String, turn: &mut Turn) {
        self.alive();
        if self.is_open(id) {
            return;
        }
        if self.tools.len() >= OPEN {
            self.tools.pop_front();
        }
        self.figures.tool_calls = self.figures.tool_calls.saturating_add(1);
        let id = failure::shortened(id, 200);
        self.tools.push_back((id.clone(), words.clone()));
        turn.events.push(Event::ToolStart { id, words });
    }

    pub(crate) fn is_open(&self, id: &str) -> bool {
        let id = failure::shortened(id, 200);
        self.tools.iter().any(|(open, _)| *open == id)
    }

    /// What was said when an open tool began.
    pub(crate) fn words_of(&self, id: &str) -> Option<&str> {
        let id = failure::shortened(id, 200);
        self.tools.iter().find(|(open, _)| *open == id).map(|(_, words)| words.as_str())
    }

    /// A tool ended. `files` are those it changed. One that was not seen to begin is one that did.
    pub(crate) fn tool_end(&mut self, id: &str, words: Option<String>, ok: bool, files: Vec<String>, turn: &mut Turn) {
        let id = failure::shortened(id, 200);
        self.tools.retain(|(open, _)| *open != id);
        let folder = self.job.folder.trim_end_matches('/').to_owned();
        for file in &files {
            let file = failure::shortened(words::file(&folder, file), 500);
            if self.figures.files.len() < FILES && !self.figures.files.contains(&file) {
                self.figures.files.push(file);
            }
        }
        turn.events.push(Event::ToolEnd { id, words, ok, files });
    }

    /// It was not allowed to do something.
    pub(crate) fn denied(&mut self, what: &str, why: &str, turn: &mut Turn) {
        let what = failure::shortened(what, 200);
        let why = failure::shortened(why, 300);
        self.denied.get_or_insert_with(|| what.clone());
        turn.events.push(Event::Denied { what, why });
    }

    /// A person declined the use of a tool, or nobody answered.
    pub(crate) fn excuse(&mut self, id: &str) {
        if self.excused.len() >= OPEN {
            self.excused.pop_front();
        }
        self.excused.push_back(failure::shortened(id, 200));
    }

    pub(crate) fn is_excused(&self, id: &str) -> bool {
        let id = failure::shortened(id, 200);
        self.excused.contains(&id)
    }

    /// It was not allowed to do something, and tells it itself.
    pub(crate) fn refuse(&mut self, what: &str, why: &str) {
        self.denied.get_or_insert_with(|| failure::shortened(what, 200));
        self.why = Some(failure::shortened(why, 300));
    }

    /// Tokens were used, in one or more answers of the model.
    pub(crate) fn usage(&mut self, tokens: Tokens, turns: u32, turn: &mut Turn) {
        self.figures.turns = self.figures.turns.saturating_add(turns);
        if tokens == Tokens::default() {
            return;
        }
        let all = &mut self.figures.tokens;
        all.input = all.input.saturating_add(tokens.input);
        all.output = all.output.saturating_add(tokens.output);
        all.cached = all.cached.saturating_add(tokens.cached);
        turn.events.push(Event::Usage { tokens, cost_usd: None });
    }

    /// The provider did not answer, and it tries again by itself.
    pub(crate) fn retry(&mut self, failure: Failure, status: Option<u16>, of: Option<u32>, turn: &mut Turn) {
        self.retries = self.retries.saturating_add(1);
        let text = failure::shortened(&failure.message, 500);
        turn.events.push(Event::Retry { attempt: self.retries, of, status, class: Some(failure.class), text });
        self.retrying = Some(failure);
    }

    /// It failed for good.
    pub(crate) fn fail(&mut self, mut failure: Failure, turn: &mut Turn) {
        if failure.class == Class::Limit {
            // What was told in numbers is better than a sentence.
            if let Some(told) = self.limit.as_ref().filter(|limit| limit.met) {
                failure.limit = Some(told.clone());
            }
            if let Some(limit) = &failure.limit
                && self.failure.as_ref().is_none_or(|before| before.limit.as_ref() != Some(limit))
            {
                turn.events.push(Event::Limit(limit.clone()));
            }
        }
        self.failure = Some(failure);
    }

    /// It has nothing more to do.
    pub(crate) fn end(&mut self, over: Over, turn: &mut Turn) {
        self.over = Some(over);
        turn.events.push(Event::Final);
        turn.close_input = true;
    }

    pub(crate) fn verdict(&self, how: &How<'_>) -> Verdict {
        let failure = self.failure(how);
        let figures = self.figures.clone();
        let Some(failure) = failure else {
            let text = self.said.clone().unwrap_or_default();
            return Verdict {
                class: None,
                text,
                remedy: None,
                retry: false,
                limit: None,
                resumable: figures.session.is_some(),
                figures,
            };
        };
        Verdict {
            class: Some(failure.class),
            text: failure.sentence(&self.name.name),
            remedy: failure.remedy(&self.name.login),
            retry: failure.retry,
            resumable: failure.resumable && figures.session.is_some(),
            limit: failure.limit,
            figures,
        }
    }

    /// Why it was no success.
    fn failure(&self, how: &How<'_>) -> Option<Failure> {
        let now = self.job.now;
        if let Some(failure) = &self.failure {
            return Some(failure.clone());
        }
        let last_words = self.said.as_deref().filter(|text| !text.trim().is_empty());
        match (self.over, how.end) {
            (Some(Over::Interrupted), _) => {
                let mut failure = Failure::of(Class::Silent, "");
                failure.message = "it was told to stop".into();
                Some(failure)
            }
            (Some(Over::Done), end) => {
                if let Some(what) = &self.denied {
                    return Some(Failure::of(Class::Denied, what));
                }
                match last_words {
                    None if self.figures.tool_calls == 0 => return Some(Failure::of(Class::Silent, "it said nothing")),
                    // It did something, and had nothing to add.
                    None => {}
                    Some(text) if failure::is_only_an_error(text) => {
                        let mut failure = Failure::read(text, None, now);
                        failure.resumable = !matches!(failure.class, Class::ContextFull | Class::Crashed);
                        return Some(failure);
                    }
                    Some(_) => {}
                }
                match end {
                    // What came before it was cut off is whole.
                    End::Exit(0) | End::Lingered | End::Cut => None,
                    End::Exit(code) => {
                        Some(Failure::of(Class::Crashed, &format!("it said that it was done, and exited with {code}")))
                    }
                    End::Signal(signal) => Some(Failure::of(Class::Crashed, &format!("signal {signal} ended it"))),
                }
            }
            (None, end) => {
                if let Some(failure) = &self.retrying {
                    return Some(failure.clone());
                }
                Some(match end {
                    End::Exit(0) => Failure::of(Class::Silent, ""),
                    End::Exit(code) => failure::from_errors(how.errors, None, now).unwrap_or_else(|| {
                        Failure::of(Class::Crashed, &format!("it exited with {code} and gave no reason"))
                    }),
                    End::Signal(signal) => Failure::of(Class::Crashed, &format!("signal {signal} ended it")),
                    End::Lingered | End::Cut => Failure::of(Class::Silent, "it was stopped before it was done"),
                })
            }
        }
    }
}

fn kept(text: &str) -> &str {
    if text.len() <= WORDS {
        return text;
    }
    // The end counts: an answer concludes with what matters.
    let mut from = text.len() - WORDS;
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// A line that is not known.
pub(crate) fn raw(line: &str) -> Event {
    let mut end = line.len().min(RAW);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    Event::Raw(line[..end].to_owned())
}
