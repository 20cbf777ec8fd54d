//! `hub limits`: what each account may still use of its agents, as far as machines told of it.

use std::process::ExitCode;

use anyhow::Result;
use chrono::{DateTime, Utc};
use hub::types::{LimitSource, LimitWindow, QuotaPool};

use crate::{
    output::{Output, shorten},
    target::{As, Target},
};

const NONE: &str = "Nothing is known of any limit: in the last 8 days no agent told of one.";
const HEAD: [&str; 7] = ["agent", "account", "model", "window", "used", "limit", "devices"];
/// As many characters as an account's name takes.
const ACCOUNT: usize = 40;

/// A line for each thing that is counted.
pub async fn limits(target: &Target, out: Output) -> Result<ExitCode> {
    let pools = target.connect(As::Operator).await?.limits().await?;
    let now = Utc::now();
    out.show_table(&pools, NONE, &HEAD, |pool| row(pool, now));
    Ok(ExitCode::SUCCESS)
}

fn row(pool: &QuotaPool, now: DateTime<Utc>) -> Vec<String> {
    let account = match pool.account.strip_prefix("device:") {
        Some(device) => format!("that of {device}"),
        None => shorten(&pool.account, ACCOUNT),
    };
    vec![
        pool.agent.clone(),
        account,
        pool.model.clone().unwrap_or_else(|| "all".into()),
        pool.window_name.map_or("—", window).to_owned(),
        pool.used_share.map_or_else(|| "—".into(), |share| format!("{:.0} %", share * 100.0)),
        limit(pool, now),
        if pool.devices.is_empty() { "—".into() } else { pool.devices.join(", ") },
    ]
}

fn window(window: LimitWindow) -> &'static str {
    match window {
        LimitWindow::FiveHour => "5 hours",
        LimitWindow::SevenDay => "7 days",
        LimitWindow::Day => "a day",
        LimitWindow::Minute => "a minute",
    }
}

/// Until when nothing is taken from it, and how that is known; else when its window begins anew.
fn limit(pool: &QuotaPool, now: DateTime<Utc>) -> String {
    let later = |at: Option<DateTime<Utc>>| at.filter(|at| *at > now);
    match (later(pool.limited_until), later(pool.resets_at)) {
        (Some(until), _) if pool.kept => format!("the rest is kept for people until {}", moment(until, now)),
        (Some(until), _) => {
            let known = match pool.source {
                Some(LimitSource::Structured) => format!(" (says {})", pool.agent),
                Some(LimitSource::Text) => " (as its message says)".to_owned(),
                Some(LimitSource::Guess) => " (a guess)".to_owned(),
                None => String::new(),
            };
            format!("until {}{known}", moment(until, now))
        }
        (None, Some(at)) => format!("begins anew at {}", moment(at, now)),
        (None, None) => "—".into(),
    }
}

/// Rounded up: at the time that is named it is over. The day only where it is another.
fn moment(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let minute = at.timestamp_millis().saturating_add(59_999).div_euclid(60_000).saturating_mul(60);
    let at = DateTime::from_timestamp(minute, 0).unwrap_or(at);
    let form = if at.date_naive() == now.date_naive() { "%H:%M UTC" } else { "%Y-%m-%d %H:%M UTC" };
    at.format(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::table;
    use serde_json::{Value, json};

    fn shown(fields: Value) -> Vec<String> {
        let mut pool = json!({"account": "team", "agent": "claude"});
        pool.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        row(&serde_json::from_value(pool).unwrap(), "2026-11-29T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn a_line_says_how_much_is_used_until_when_and_how_that_is_known() {
        let rows = [
            json!({"window_name": "five_hour", "used_share": 1, "limited_until": "2026-11-29T13:59:00.5Z", "source": "structured",
                   "devices": ["mac1", "mac2"]}),
            json!({"window_name": "seven_day", "used_share": 0.874, "resets_at": "2026-12-03T09:00:00Z", "devices": ["mac1"]}),
            json!({"model": "opus", "limited_until": "2026-11-29T12:05:00Z", "source": "guess"}),
            json!({"account": "device:mac3", "window_name": "day", "used_share": 0.8, "kept": true, "source": "structured",
                   "limited_until": "2026-11-30T00:00:00Z", "resets_at": "2026-11-30T00:00:00Z", "devices": ["mac3"]}),
            json!({"window_name": "minute", "limited_until": "2026-11-29T11:00:00Z", "source": "text", "resets_at": null}),
        ];
        let text = table(&HEAD, &rows.map(shown));
        assert_eq!(
            text.lines()
                .map(|line| line
                    .split("  ")
                    .filter(|cell| !cell.is_empty())
                    .map(str::trim)
                    .collect::<Vec<_>>()
                    .join("|"))
                .collect::<Vec<_>>(),
            [
                "agent|account|model|window|used|limit|devices",
                "claude|team|all|5 hours|100 %|until 14:00 UTC (says claude)|mac1, mac2",
                "claude|team|all|7 days|87 %|begins anew at 2026-12-03 09:00 UTC|mac1",
                "claude|team|opus|—|—|until 12:05 UTC (a guess)|—",
                "claude|that of mac3|all|a day|80 %|the rest is kept for people until 2026-11-30 00:00 UTC|mac3",
                "claude|team|all|a minute|—|—|—",
            ]
        );
    }
}
