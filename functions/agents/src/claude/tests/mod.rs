//! Claude's codec against what the real program said (`tests/agents/fixtures`), and against what it might say.

mod fixtures;
mod hostile;
mod named;
mod talk;

use super::*;
use crate::Policy;

pub(super) fn job() -> Job {
    Job {
        prompt: "Say pong".to_owned(),
        folder: "/home/dev/project".to_owned(),
        model: None,
        policy: Policy::Edit,
        resume: None,
        used: (Tokens::default(), 0.0),
        hub: None,
        now: "2026-11-29T08:00:00Z".parse().unwrap(),
    }
}

/// What comes of an output in these pieces.
fn run(job: Job, pieces: &[&[u8]], how: &How<'_>) -> (Vec<Event>, Verdict) {
    let (turn, verdict) = turn(job, pieces, how);
    (turn.events, verdict)
}

fn turn(job: Job, pieces: &[&[u8]], how: &How<'_>) -> (Turn, Verdict) {
    let (mut claude, mut turn) = (Claude::new(job), Turn::default());
    for piece in pieces {
        claude.feed(piece, &mut turn);
    }
    claude.finish(&mut turn);
    let verdict = claude.verdict(how);
    check(&turn.events, &verdict);
    (turn, verdict)
}

/// Lines of output, and exit 0.
fn lines(lines: &[&str]) -> (Vec<Event>, Verdict) {
    run(job(), &[lines.join("\n").as_bytes()], &EXITED)
}

const EXITED: How<'static> = How { end: End::Exit(0), errors: "" };

/// What holds of any run.
fn check(events: &[Event], verdict: &Verdict) {
    let (mut sum, mut cost) = (Tokens::default(), None);
    for event in events {
        match event {
            Event::Usage { tokens, cost_usd } => {
                sum.input = sum.input.saturating_add(tokens.input);
                sum.output = sum.output.saturating_add(tokens.output);
                sum.cached = sum.cached.saturating_add(tokens.cached);
                if let Some(more) = cost_usd {
                    cost = Some(cost.unwrap_or(0.0) + more);
                }
            }
            Event::Raw(text) => assert!(text.len() <= RAW),
            _ => {}
        }
    }
    assert_eq!((sum, cost), (verdict.figures.tokens, verdict.figures.cost_usd));
    assert_eq!(verdict.limit.is_some(), verdict.class == Some(Class::Limit));
    if verdict.class.is_some() {
        assert!(verdict.text.chars().count() <= 300, "{}", verdict.text);
        assert!(!verdict.text.contains(['\n', '\u{1b}', '\0']), "{:?}", verdict.text);
        assert!(verdict.text.ends_with(['.', '…']), "{}", verdict.text);
        assert!(verdict.remedy.is_some());
    } else {
        assert!(!events.iter().any(|event| matches!(event, Event::Denied { .. })));
        assert!(!verdict.text.trim().is_empty() || verdict.figures.tool_calls > 0);
    }
}
