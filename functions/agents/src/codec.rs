//! What every codec is: a machine without IO between a program and us.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{Event, Figures, How, Verdict};

/// What an agent is to do, as far as a codec needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// What the person wants.
    pub prompt: String,
    /// The folder it works in, as the program knows it: file names below it are shown without it.
    pub folder: String,
    /// The model to ask for. None is the program's own choice.
    pub model: Option<String>,
    /// What it may do without asking.
    pub policy: crate::Policy,
    /// The session to go on with.
    pub resume: Option<String>,
    /// What that session had used, in tokens and dollars, where the program counts on from there.
    pub used: (crate::Tokens, f64),
    /// Where it finds the hub while it works, if it is to.
    pub hub: Option<crate::HubServer>,
    /// When it begins: a time of day in a message means one after this.
    pub now: DateTime<Utc>,
}

/// What came of a piece of output, or of a command: in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Turn {
    /// What the program said.
    pub events: Vec<Event>,
    /// What to write to its standard input.
    pub input: Vec<u8>,
    /// Close its standard input, once `input` is written.
    pub close_input: bool,
}

/// Something to tell a program.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A person adds something while it works.
    Steer(String),
    /// The answer to an [`crate::Ask`], by its id.
    Answer {
        /// The ask.
        id: String,
        /// What was decided.
        decision: Decision,
    },
    /// Stop what it does, and keep the session. What it asked is not answered by that, and it is not told that it was.
    Interrupt,
}

/// What became of an ask.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Yes; with other input for the tool, if any.
    Allow(Option<Value>),
    /// No, because it may not, and why: what was to be done was not.
    Deny(String),
    /// No, said by a person, and why: they know what they did not want.
    Decline(String),
    /// Nobody answered, in words: that is no refusal.
    Unanswered(String),
    /// One of the options, by the program's name for it.
    Choose(String),
    /// In words.
    Say(String),
}

/// A program that speaks, from its start to its end. Any cutting of its output into pieces gives the same events.
///
/// A codec may be given the output of a program that ran before, from anywhere on (the beginning of a long one is not kept): it skips
/// what it does not understand, and the verdict is the same as far as what is left tells. What it writes is then thrown away.
pub trait Codec: Send {
    /// What to write at the start.
    fn begin(&mut self, turn: &mut Turn);

    /// Takes a piece of standard output.
    fn feed(&mut self, bytes: &[u8], turn: &mut Turn);

    /// Tells the program something. False: it can not be told that (now).
    fn command(&mut self, command: Command, turn: &mut Turn) -> bool;

    /// What a person added, was taken by [`Codec::command`], and has not reached the program's model so far.
    fn untaken(&self) -> Vec<String> {
        Vec::new()
    }

    /// What it has used and done so far.
    fn figures(&self) -> &Figures;

    /// There is no more output: what is left of the last line.
    fn finish(&mut self, turn: &mut Turn);

    /// How it went, once it is over.
    fn verdict(&self, how: &How<'_>) -> Verdict;
}
