//! How an attempt went, for a person who wants to see it at a glance: when, where, how long, how it ended and why.

use chrono::{DateTime, Utc};
use hub::types::{Attempt, Receipt};

use crate::output::{shorten, size, tame};

/// So many of the last lines of standard error are shown; `--json` has all that were kept.
const LINES: usize = 12;

/// A few lines, indented as `hub task show` has them.
pub fn text(attempt: &Attempt, now: DateTime<Utc>) -> String {
    let began = attempt.started_at.map_or_else(|| "—".into(), |at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string());
    let lasted = attempt.started_at.map(|at| duration((attempt.finished_at.unwrap_or(now) - at).num_seconds()));
    let how = match (&attempt.outcome, &attempt.reason) {
        (None, _) => "running".to_owned(),
        (Some(outcome), Some(reason)) if outcome == "limited" && reason == "limit" => outcome.clone(),
        (Some(outcome), Some(reason)) if reason != outcome => format!("{outcome}: {}", reason.replace('_', " ")),
        (Some(outcome), _) => outcome.clone(),
    };
    let mut facts = vec![how];
    facts.extend(lasted.map(|lasted| format!("{} {lasted}", if attempt.outcome.is_some() { "after" } else { "for" })));
    facts.extend(attempt.exit_code.filter(|code| *code != 0).map(|code| format!("exit {code}")));
    facts.extend(attempt.signal.map(|signal| format!("signal {signal}")));
    facts.extend(attempt.output_bytes.map(|bytes| format!("{} of output", size(bytes))));
    facts.extend(attempt.peak_memory_bytes.map(|bytes| format!("{} of memory", size(bytes))));
    facts.extend(attempt.cost_usd.map(|cost| {
        let prices = attempt.price_version.as_deref().map(|version| format!("prices {}", tame(&shorten(version, 60))));
        let notes = (attempt.cost_notional == Some(true)).then(|| "not billed".to_owned()).into_iter().chain(prices);
        let notes = notes.collect::<Vec<_>>().join(", ");
        if notes.is_empty() { format!("{cost:.2} USD") } else { format!("{cost:.2} USD ({notes})") }
    }));
    facts.extend(tokens(attempt));
    facts.extend(attempt.turns.map(|turns| count(turns, "turn")));
    facts.extend(attempt.tool_calls.map(|calls| count(calls, "tool call")));
    facts.extend(attempt.limited_until.map(|until| {
        let known = attempt.limit_source.as_deref().filter(|source| *source != "structured");
        let known = known.map(|source| format!(" ({})", tame(source))).unwrap_or_default();
        format!("limited until {}{known}", until.format("%Y-%m-%d %H:%M UTC"))
    }));
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "—".into());
    let mut lines = vec![
        format!(
            "  attempt {} {began}  {}/{}{}",
            attempt.attempt,
            or_dash(&attempt.agent),
            or_dash(&attempt.device),
            with(attempt)
        ),
        format!("            {}", facts.join(", ")),
    ];
    lines.extend(receipt(attempt).map(|receipt| format!("            {receipt}")));
    if let Some(error) = attempt.error.as_deref().filter(|error| !error.is_empty()) {
        lines.push(format!("            {}", shorten(error, 300)));
    }
    // Tamed before it is in lines: what ends one is more than one character.
    let said = tame(attempt.stderr.as_deref().unwrap_or_default());
    let said: Vec<&str> = said.lines().collect();
    let left_out = said.len().saturating_sub(LINES);
    if left_out > 0 {
        lines.push(format!("            | … {left_out} more"));
    }
    lines.extend(said[left_out..].iter().map(|line| format!("            | {line}")));
    lines.join("\n")
}

/// What ran: the model, in place of which, and the version of the program.
fn with(attempt: &Attempt) -> String {
    let named = |model: &str| tame(&shorten(model, 60));
    let model = match (attempt.model.as_deref(), attempt.fallback_from.as_deref()) {
        (Some(model), Some(instead)) => Some(format!("  {} (instead of {})", named(model), named(instead))),
        (None, Some(instead)) => Some(format!("  instead of {}", named(instead))),
        (Some(model), None) => Some(format!("  {}", named(model))),
        (None, None) => None,
    };
    let version = attempt.agent_version.as_deref().map(|version| format!("  version {}", tame(&shorten(version, 60))));
    [model, version].into_iter().flatten().collect()
}

/// What it left behind: the branch, how much it changed, whether that was verified, where it went. None: it keeps no receipt of ours.
fn receipt(attempt: &Attempt) -> Option<String> {
    let receipt: Receipt = serde_json::from_value(attempt.receipt.clone()?).ok()?;
    let mut facts = Vec::new();
    facts.extend(receipt.branch.as_deref().map(|branch| format!("branch {}", tame(branch))));
    facts.extend(receipt.commit.as_deref().map(|commit| format!("at {}", tame(commit.get(..12).unwrap_or(commit)))));
    let changed = |files| {
        let files = count(u32::try_from(files).unwrap_or(u32::MAX), "file");
        format!("{files}, +{} −{}", receipt.insertions, receipt.deletions)
    };
    facts.extend(Some(receipt.files).filter(|files| *files > 0).map(changed));
    facts.extend(receipt.verify.as_ref().map(|verify| {
        format!("verification {} in {:.0} s", if verify.passed { "passed" } else { "failed" }, verify.seconds)
    }));
    facts.extend(receipt.pushed.then(|| "pushed".to_owned()));
    facts.extend(receipt.pull_request.as_deref().map(tame));
    (!facts.is_empty()).then(|| facts.join(", "))
}

fn tokens(attempt: &Attempt) -> Option<String> {
    let read = attempt.tokens_in.map(|count| match attempt.tokens_cached {
        Some(cached) => format!("{count} ({cached} cached) in"),
        None => format!("{count} in"),
    });
    let written = attempt.tokens_out.map(|count| format!("{count} out"));
    let both: Vec<String> = [read, written].into_iter().flatten().collect();
    (!both.is_empty()).then(|| format!("tokens {}", both.join(" and ")))
}

fn count(number: u32, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

pub fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(fields: serde_json::Value) -> Attempt {
        let mut whole = serde_json::json!({
            "task_id": "a1b2c3d4-0000-4000-8000-000000000000", "attempt": 1, "agent": "claude", "device": "mac1",
            "started_at": "2026-11-29T12:00:00Z",
        });
        whole.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    fn at(time: &str) -> DateTime<Utc> {
        time.parse().unwrap()
    }

    #[test]
    fn an_attempt_that_was_killed_shows_by_what_and_its_last_lines() {
        let stderr = (1..=14).map(|n| format!("line {n}\u{1b}[31m")).collect::<Vec<_>>().join("\n");
        let said = attempt(serde_json::json!({
            "finished_at": "2026-11-29T12:02:05Z", "outcome": "failed", "reason": "out_of_memory", "exit_code": 137,
            "signal": 9, "output_bytes": 1_500_000, "peak_memory_bytes": 8_000_000_000_u64, "error": "killed",
            "stderr": stderr,
        }));
        let text = text(&said, at("2026-11-29T13:00:00Z"));
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(
            lines[..4],
            [
                "attempt 1 2026-11-29 12:00:00 UTC  claude/mac1",
                "failed: out of memory, after 2 min 5 s, exit 137, signal 9, 1.5 MB of output, 8.0 GB of memory",
                "killed",
                "| … 2 more",
            ]
        );
        assert_eq!(lines[4], "| line 3", "what would steer the terminal is left out");
        assert_eq!(lines.len(), 16);
    }

    #[test]
    fn what_an_agent_told_of_its_run_is_shown() {
        let said = attempt(serde_json::json!({
            "finished_at": "2026-11-29T12:00:05Z", "outcome": "limited", "reason": "limit", "cost_usd": 0.5,
            "cost_notional": true, "price_version": "1", "tokens_in": 1200, "tokens_cached": 1000, "tokens_out": 34, "turns": 1,
            "tool_calls": 12, "model": "opus", "fallback_from": "codex", "agent_version": "2.1.0", "limited_until": "2026-11-30T00:00:00Z",
            "limit_source": "guess",
        }));
        let text = text(&said, at("2026-11-29T13:00:00Z"));
        assert_eq!(
            text.lines().map(str::trim).collect::<Vec<_>>(),
            [
                "attempt 1 2026-11-29 12:00:00 UTC  claude/mac1  opus (instead of codex)  version 2.1.0",
                "limited, after 5 s, 0.50 USD (not billed, prices 1), tokens 1200 (1000 cached) in and 34 out, 1 turn, 12 tool calls, limited until 2026-11-30 00:00 UTC (guess)",
            ]
        );
    }

    #[test]
    fn what_it_left_behind_is_a_line_of_its_own() {
        let said = attempt(serde_json::json!({
            "finished_at": "2026-11-29T12:00:05Z", "outcome": "complete", "reason": "complete",
            "receipt": {"kind": "git", "branch": "hub/a1b2c3d4", "base": "0", "commit": "0123456789abcdef", "tree": "1", "dirty": false,
                "files": 1, "insertions": 2, "deletions": 0, "changed": ["notes.txt"], "pushed": true,
                "pull_request": "https://github.com/acme/app/pull/1",
                "verify": {"command_sha256": "2", "exit": 0, "seconds": 1.2, "tail": "", "log_sha256": "3", "passed": true, "rounds": 0}},
        }));
        assert_eq!(
            text(&said, at("2026-11-29T13:00:00Z")).lines().nth(2).unwrap().trim(),
            "branch hub/a1b2c3d4, at 0123456789ab, 1 file, +2 −0, verification passed in 1 s, pushed, https://github.com/acme/app/pull/1"
        );
        let of_others = attempt(serde_json::json!({"receipt": {"mine": true}}));
        assert_eq!(text(&of_others, at("2026-11-29T13:00:00Z")).lines().count(), 2);
    }

    #[test]
    fn one_that_runs_and_one_that_is_complete_say_so_in_a_word() {
        let runs = text(&attempt(serde_json::json!({})), at("2026-11-29T12:00:07Z"));
        assert_eq!(runs.lines().nth(1).unwrap().trim(), "running, for 7 s");
        let done = attempt(serde_json::json!({
            "outcome": "complete", "reason": "complete", "exit_code": 0, "finished_at": "2026-11-29T13:01:00Z",
        }));
        assert_eq!(text(&done, at("2027-01-01T00:00:00Z")).lines().nth(1).unwrap().trim(), "complete, after 1 h 1 min");
    }
}
