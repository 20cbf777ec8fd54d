//! `codex exec --json`: lines of events, and nothing to be told once it runs.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::item::Item;
use crate::{
    Codec, Command, Figures, How, Job, Tokens, Turn, Verdict,
    failure::Failure,
    lines::Lines,
    rpc::lenient,
    story::{Over, Story, raw},
};

/// A run of `codex exec`.
#[derive(Debug)]
pub struct CodexExec {
    lines: Lines,
    run: Run,
}

#[derive(Debug)]
struct Run {
    story: Story,
    /// What the thread had used when it was last said.
    used: Tokens,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "lenient")]
    thread_id: Option<String>,
    #[serde(borrow, default)]
    item: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "lenient")]
    usage: Option<Usage>,
    #[serde(default, deserialize_with = "lenient")]
    error: Option<Told>,
    #[serde(default, deserialize_with = "lenient")]
    message: Option<String>,
}

#[derive(Default, Deserialize)]
struct Usage {
    #[serde(default, deserialize_with = "lenient")]
    input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    cached_input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    output_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
struct Told {
    #[serde(default, deserialize_with = "lenient")]
    message: Option<String>,
}

impl CodexExec {
    /// For a run that is to begin, or whose output is to be read again.
    #[must_use]
    pub fn new(job: Job) -> Self {
        let used = if job.resume.is_some() { job.used.0 } else { Tokens::default() };
        Self { lines: Lines::default(), run: Run { story: Story::new(job, super::name()), used } }
    }
}

impl Codec for CodexExec {
    fn begin(&mut self, turn: &mut Turn) {
        turn.input.extend_from_slice(self.run.story.job.prompt.as_bytes());
        turn.close_input = true;
    }

    fn feed(&mut self, bytes: &[u8], turn: &mut Turn) {
        let Self { lines, run } = self;
        lines.push(bytes, |line| run.line(line, turn));
    }

    fn command(&mut self, _: Command, _: &mut Turn) -> bool {
        false
    }

    fn figures(&self) -> &Figures {
        &self.run.story.figures
    }

    fn finish(&mut self, turn: &mut Turn) {
        let Self { lines, run } = self;
        lines.finish(|line| run.line(line, turn));
    }

    fn verdict(&self, how: &How<'_>) -> Verdict {
        let story = &self.run.story;
        let mut verdict = story.verdict(how);
        // A session that is not there is said on standard error alone, before anything else.
        if let Some(session) = &story.job.resume
            && story.figures.session.is_none()
            && how.errors.contains("no rollout found")
        {
            let failure = Failure::no_session(&format!("no session {session}"));
            verdict.class = Some(failure.class);
            verdict.text = failure.sentence(&story.name.name);
            verdict.remedy = failure.remedy(&story.name.login);
            (verdict.retry, verdict.resumable) = (failure.retry, failure.resumable);
        }
        verdict
    }
}

impl Run {
    fn line(&mut self, bytes: &[u8], turn: &mut Turn) {
        let text = String::from_utf8_lossy(bytes);
        if !serde_json::from_str::<Line<'_>>(&text).is_ok_and(|line| self.take(&line, turn)) {
            turn.events.push(raw(&text));
        }
    }

    /// False: it is not known.
    fn take(&mut self, line: &Line<'_>, turn: &mut Turn) -> bool {
        let story = &mut self.story;
        let item = || line.item.and_then(|raw| serde_json::from_str::<Item<'_>>(raw.get()).ok());
        match line.kind.as_str() {
            "thread.started" => {
                let model = story.job.model.clone();
                line.thread_id.as_deref().is_some_and(|id| {
                    story.session(id, model.as_deref(), None, turn);
                    true
                })
            }
            "turn.started" => true,
            "item.started" | "item.updated" => item().is_some_and(|item| item.started(story, turn)),
            "item.completed" => item().is_some_and(|item| item.completed(story, turn)),
            "turn.completed" => {
                if let Some(usage) = &line.usage {
                    let count = |field: Option<u64>| field.unwrap_or_default();
                    let (input, cached, output) =
                        (count(usage.input_tokens), count(usage.cached_input_tokens), count(usage.output_tokens));
                    let total = Tokens { input, output, cached };
                    // The thread's, not this run's: 100, 200, 300 over three of them.
                    story.usage(super::app_server::difference(total, self.used), 1, turn);
                    self.used = total;
                }
                story.failure = None;
                story.end(Over::Done, turn);
                true
            }
            "turn.failed" => {
                let message = line.error.as_ref().and_then(|error| error.message.clone()).unwrap_or_default();
                let failure = Failure::read(&message, status(&message), story.job.now);
                story.fail(failure, turn);
                story.end(Over::Done, turn);
                true
            }
            "error" => {
                let message = line.message.clone().unwrap_or_default();
                let status = status(&message);
                let failure = Failure::read(&message, status, story.job.now);
                match again(&message) {
                    Some(of) => story.retry(failure, status, of, turn),
                    None => story.fail(failure, turn),
                }
                true
            }
            _ => false,
        }
    }
}

/// `Reconnecting... 1/5 (…)`: it tries again, so often at most.
pub(crate) fn again(message: &str) -> Option<Option<u32>> {
    let rest = message.strip_prefix("Reconnecting")?;
    let of = rest.split('/').nth(1).map(|of| of.chars().take_while(char::is_ascii_digit).collect::<String>());
    Some(of.and_then(|of| of.parse().ok()))
}

/// The status of HTTP in a message of Codex.
pub(crate) fn status(message: &str) -> Option<u16> {
    let at = ["unexpected status ", "last status: ", "http status: "]
        .iter()
        .find_map(|sign| Some(message.find(sign)? + sign.len()))?;
    message[at..].chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}
