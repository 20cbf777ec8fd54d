//! Agents one after the other, at one task and in one folder: what the first did, the next looks through.

use std::{fs, io, path::Path, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use hub::types::{EndReason, Meta};

use super::{Agent, Context, Outcome};
use crate::{
    host::{ALL_FILES, Exit},
    redact::Redactor,
};

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
        let asked = context.task.content.clone();
        let mut told = Vec::new();
        let mut sum = Meta::default();
        for (at, link) in self.links.iter().enumerate() {
            if at > 0 {
                if let Err(error) = put_aside(&context.folder, at) {
                    return Outcome::failed(
                        format!("the journal can not be written: {}", error.kind()),
                        true,
                        EndReason::NotStarted,
                    );
                }
                context.progress.step(&format!("{} goes on, step {} of {}", link.name, at + 1, self.links.len())).await;
            }
            let mut step = context.clone();
            step.task.content = link.prompt(at, &asked, told.last().map_or("", |(_, text): &(&str, String)| text));
            match link.agent.run(step).await {
                Outcome::Complete { result, meta } => {
                    told.push((&link.name, result));
                    sum = together(sum, meta);
                }
                Outcome::Failed { error, retryable, meta } => {
                    let error = format!("{} (step {} of {}): {error}", link.name, at + 1, self.links.len());
                    return Outcome::Failed { error, retryable, meta: together(sum, meta) };
                }
                Outcome::Stopped { meta } => return Outcome::Stopped { meta: together(sum, meta) },
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

/// What a step that is over left in the attempt's folder, so that the next finds it empty. The lock stays.
fn put_aside(folder: &Path, step: usize) -> io::Result<()> {
    let place = folder.join(step.to_string());
    fs::create_dir(&place)?;
    for name in ALL_FILES {
        match fs::rename(folder.join(name), place.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The record of several runs: sums, the last one's end.
fn together(sum: Meta, last: Meta) -> Meta {
    fn add<T: std::ops::Add<Output = T>>(one: Option<T>, other: Option<T>) -> Option<T> {
        match (one, other) {
            (Some(one), Some(other)) => Some(one + other),
            (one, other) => one.or(other),
        }
    }
    Meta {
        cost_usd: add(sum.cost_usd, last.cost_usd),
        cost_notional: match (sum.cost_notional, last.cost_notional) {
            (Some(one), Some(other)) => Some(one || other),
            (one, other) => one.or(other),
        },
        tokens_in: add(sum.tokens_in, last.tokens_in),
        tokens_out: add(sum.tokens_out, last.tokens_out),
        tokens_cached: add(sum.tokens_cached, last.tokens_cached),
        turns: add(sum.turns, last.turns),
        tool_calls: add(sum.tool_calls, last.tool_calls),
        output_bytes: add(sum.output_bytes, last.output_bytes),
        peak_memory_bytes: sum.peak_memory_bytes.max(last.peak_memory_bytes),
        agent_started_at: sum.agent_started_at.or(last.agent_started_at),
        agent_ended_at: last.agent_ended_at.map(|end| sum.agent_started_at.map_or(end, |start| end.max(start))),
        // The next turn of a conversation is with who was asked first.
        session_id: sum.session_id.or(last.session_id),
        ..last
    }
}

impl Agent for Chain {
    fn run(&self, context: Context) -> BoxFuture<'_, Outcome> {
        self.execute(context).boxed()
    }

    fn verdict(&self, _: Exit, _: &Path, _: &Arc<Redactor>) -> io::Result<Option<Outcome>> {
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
                    Outcome::Complete { result: format!("{result}({})", context.task.content), meta: meta.clone() }
                }
                other => other.clone(),
            };
            async move { outcome }.boxed()
        }

        fn verdict(&self, _: Exit, _: &Path, _: &Arc<Redactor>) -> io::Result<Option<Outcome>> {
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
}
