//! Agents one after the other, at one task and in one folder: what the first did, the next looks through.

use std::{fmt::Write as _, io, path::Path, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use hub::types::{EndReason, Meta, Resumed};

use super::{Agent, Context, Outcome, put_aside, together};
use crate::{host::Exit, redact::Redactor};

/// In a step's prompt: what the person asked for.
const PROMPT: &str = "{prompt}";
/// In a step's prompt: what the step before said at its end.
const RESULT: &str = "{result}";
/// What a step after the first is asked, unless its configuration says otherwise.
const REVIEW: &str = "Another agent was asked to do the following, in this folder:\n\n{prompt}\n\nIt said when it was done:\n\n{result}\n\n\
     Review what it did: look at the files and at the changes. Say what is wrong or missing, most important first, or that it is right. \
     Change nothing unless you may.";

/// One agent of a chain.
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) agent: Arc<dyn Agent>,
    /// None: the person's words for the first, a review for the others.
    pub(crate) prompt: Option<String>,
}

/// Agents one after the other.
pub(crate) struct Chain {
    pub(crate) links: Vec<Link>,
}

impl Chain {
    async fn execute(&self, context: Context) -> Outcome {
        if let Some(first) = self.links.first().filter(|_| context.further) {
            // What there is to be done besides is for who did it.
            return first.agent.run(context).await;
        }
        let asked = context.prompt.clone();
        let mut told = Vec::new();
        let mut sum = Meta::default();
        for (at, link) in self.links.iter().enumerate() {
            if at > 0 {
                if let Err(error) = put_aside(&context.folder, &at.to_string()) {
                    return Outcome::failed(
                        format!("the journal can not be written: {}", error.kind()),
                        true,
                        EndReason::NotStarted,
                    );
                }
                context.progress.step(&format!("{} goes on, step {} of {}", link.name, at + 1, self.links.len())).await;
            }
            let mut step = context.clone();
            step.prompt = link.prompt(at, &asked, told.last().map_or("", |(_, text): &(&str, String)| text));
            if at > 0 {
                (step.session, step.carries) = (None, Vec::new());
            }
            match link.agent.run(step).await {
                Outcome::Complete { result, meta } => {
                    told.push((&link.name, result));
                    sum = after(sum, meta);
                }
                Outcome::Failed { error, retryable, meta } => {
                    let mut error = format!("{} (step {} of {}): {error}", link.name, at + 1, self.links.len());
                    for (step, (name, _)) in told.iter().enumerate() {
                        write!(error, "\nDone before that: {name} (step {})", step + 1).ok();
                    }
                    return Outcome::Failed { error, retryable, meta: after(sum, meta) };
                }
                Outcome::Stopped { meta } => return Outcome::Stopped { meta: after(sum, meta) },
                Outcome::Left { meta } => return Outcome::Left { meta: after(sum, meta) },
                Outcome::Parked { meta } => return Outcome::Parked { meta: after(sum, meta) },
            }
        }
        let parts: Vec<String> = told.iter().map(|(name, text)| format!("**{name}**\n{text}")).collect();
        Outcome::Complete { result: parts.join("\n\n"), meta: sum }
    }
}

impl Link {
    fn prompt(&self, at: usize, asked: &str, result: &str) -> String {
        let template = self.prompt.as_deref().unwrap_or(if at == 0 { PROMPT } else { REVIEW });
        // In one pass: what is put in is not looked through for more.
        let mut prompt = String::new();
        let mut rest = template;
        while let Some(start) = rest.find('{') {
            let (before, from) = rest.split_at(start);
            prompt.push_str(before);
            let (put, length) = match from {
                _ if from.starts_with(PROMPT) => (asked, PROMPT.len()),
                _ if from.starts_with(RESULT) => (result, RESULT.len()),
                _ => ("{", 1),
            };
            prompt.push_str(put);
            rest = &from[length..];
        }
        prompt.push_str(rest);
        prompt
    }
}

/// The next turn of a conversation is with who was asked first.
fn after(sum: Meta, last: Meta) -> Meta {
    let (session_id, session_state) = (sum.session_id.clone(), sum.session_state);
    let all = together(sum, last);
    if session_id.is_some() { Meta { session_id, session_state, ..all } } else { all }
}

impl Agent for Chain {
    fn run(&self, context: Context) -> BoxFuture<'_, Outcome> {
        self.execute(context).boxed()
    }

    fn resumes(&self) -> bool {
        self.links.first().is_some_and(|first| first.agent.resumes())
    }

    fn verdict(&self, _: Exit, _: &Path, _: Option<&Resumed>, _: &Arc<Redactor>) -> io::Result<Option<Outcome>> {
        // What is left tells of one step alone: the work is handed on.
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Says(Outcome);

    impl Agent for Says {
        fn run(&self, context: Context) -> BoxFuture<'_, Outcome> {
            let outcome = match &self.0 {
                Outcome::Complete { result, meta } => {
                    Outcome::Complete { result: format!("{result}({})", context.prompt), meta: meta.clone() }
                }
                other => other.clone(),
            };
            async move { outcome }.boxed()
        }

        fn verdict(&self, _: Exit, _: &Path, _: Option<&Resumed>, _: &Arc<Redactor>) -> io::Result<Option<Outcome>> {
            Ok(None)
        }
    }

    fn link(name: &str, outcome: Outcome, prompt: Option<&str>) -> Link {
        Link { name: name.into(), agent: Arc::new(Says(outcome)), prompt: prompt.map(str::to_owned) }
    }

    fn done(result: &str, cost: f64) -> Outcome {
        Outcome::Complete { result: result.into(), meta: Meta { cost_usd: Some(cost), ..Meta::default() } }
    }

    #[tokio::test]
    async fn the_next_is_given_what_the_one_before_said_and_costs_are_summed() {
        let place = tempfile::tempdir().unwrap();
        let chain = Chain {
            links: vec![
                link("a", done("A", 0.25), None),
                link("b", done("B", 0.5), Some("{prompt} {result} {other} {")),
            ],
        };
        let outcome = chain.execute(super::super::tests::context("do {result}", place.path())).await;
        let Outcome::Complete { result, meta } = outcome else { panic!() };
        assert_eq!(result, "**a**\nA(do {result})\n\n**b**\nB(do {result} A(do {result}) {other} {)");
        assert_eq!(meta.cost_usd, Some(0.75));
    }

    #[tokio::test]
    async fn one_that_fails_ends_the_chain_by_name() {
        let place = tempfile::tempdir().unwrap();
        let failing = Outcome::failed("no", false, EndReason::Denied);
        let chain = Chain { links: vec![link("a", failing, None), link("b", done("B", 0.5), None)] };
        let outcome = chain.execute(super::super::tests::context("x", place.path())).await;
        let Outcome::Failed { error, retryable: false, meta } = outcome else { panic!() };
        assert_eq!((error.as_str(), meta.reason), ("a (step 1 of 2): no", Some(EndReason::Denied)));
    }

    #[tokio::test]
    async fn the_failure_of_a_later_step_tells_what_was_done_before() {
        let place = tempfile::tempdir().unwrap();
        let failing = Outcome::failed("no", false, EndReason::Denied);
        let links = vec![link("a", done("A", 0.5), None), link("b", done("B", 0.5), None), link("c", failing, None)];
        let outcome = Chain { links }.execute(super::super::tests::context("x", place.path())).await;
        let Outcome::Failed { error, meta, .. } = outcome else { panic!() };
        assert_eq!(error, "c (step 3 of 3): no\nDone before that: a (step 1)\nDone before that: b (step 2)");
        assert_eq!(meta.cost_usd, Some(1.0));
    }
}
