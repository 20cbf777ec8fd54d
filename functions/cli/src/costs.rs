//! `hub costs`: what work cost, as the hub adds it up.

use std::process::ExitCode;

use anyhow::Result;
use chrono::{DateTime, Days, NaiveTime, Utc};
use hub::types::Costs;

use crate::{
    args::{CostsBy, name},
    attempts::duration,
    output::Output,
    target::{As, Target},
};

pub async fn costs(target: &Target, by: CostsBy, days: u32, out: Output) -> Result<ExitCode> {
    let (now, by) = (Utc::now(), name(by));
    let mut costs = target.connect(As::Operator).await?.costs(since(now, days), now, &by).await?;
    if !out.json {
        costs.extend(total(&costs));
    }
    let none = match days {
        1 => "Nothing has ended today.".to_owned(),
        days => format!("Nothing has ended in the last {days} days."),
    };
    let head = [by.as_str(), "attempts", "cost", "not billed", "tokens in", "tokens out", "time"];
    out.show_table(&costs, &none, &head, row);
    Ok(ExitCode::SUCCESS)
}

/// Whole days as the hub counts them: the first begins here, and today is the last.
fn since(now: DateTime<Utc>, days: u32) -> DateTime<Utc> {
    let today = now.date_naive();
    let first = today.checked_sub_days(Days::new(u64::from(days.saturating_sub(1)))).unwrap_or(today);
    first.and_time(NaiveTime::MIN).and_utc()
}

/// All of several rows.
fn total(costs: &[Costs]) -> Option<Costs> {
    let mut all = Costs { name: Some("all".into()), ..Costs::default() };
    for one in costs {
        all.attempts += one.attempts;
        all.cost_usd += one.cost_usd;
        all.notional_usd += one.notional_usd;
        all.tokens_in += one.tokens_in;
        all.tokens_out += one.tokens_out;
        all.seconds += one.seconds;
    }
    (costs.len() > 1).then_some(all)
}

fn row(costs: &Costs) -> Vec<String> {
    #[allow(clippy::cast_possible_truncation, reason = "whole seconds")]
    let seconds = costs.seconds as i64;
    vec![
        costs.name.clone().unwrap_or_else(|| "—".into()),
        grouped(costs.attempts),
        dollars(costs.cost_usd),
        dollars(costs.notional_usd),
        grouped(costs.tokens_in),
        grouped(costs.tokens_out),
        duration(seconds),
    ]
}

/// Cents; of what is less than one, as much as shows that it is not nothing.
pub fn dollars(amount: f64) -> String {
    if amount == 0.0 {
        return "—".into();
    }
    if amount >= 0.01 { format!("${amount:.2}") } else { format!("${amount:.4}") }
}

/// `1,234,567`
pub fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(fields: serde_json::Value) -> Costs {
        serde_json::from_value(fields).unwrap()
    }

    #[test]
    fn a_row_shows_what_is_billed_apart_from_what_is_not() {
        let of = costs(serde_json::json!({
            "name": "team/app", "attempts": 1200, "cost_usd": 4.1, "notional_usd": 31, "tokens_in": 12_345_678,
            "tokens_out": 999, "seconds": 3725.4,
        }));
        assert_eq!(row(&of), ["team/app", "1,200", "$4.10", "$31.00", "12,345,678", "999", "1 h 2 min"]);
        // Of what nobody told anything, and what is in no project.
        let of = costs(serde_json::json!({
            "name": null, "attempts": 1, "cost_usd": null, "notional_usd": 0.0042, "tokens_in": null,
            "tokens_out": null, "seconds": null,
        }));
        assert_eq!(row(&of), ["—", "1", "—", "$0.0042", "0", "0", "0 s"]);
    }

    #[test]
    fn several_rows_are_added_up_and_one_is_not() {
        let one = costs(serde_json::json!({"name": "a", "attempts": 2, "cost_usd": 0.5, "tokens_in": 3, "seconds": 1}));
        assert_eq!(total(std::slice::from_ref(&one)), None);
        assert_eq!(total(&[]), None);
        let other = costs(serde_json::json!({"name": "b", "attempts": 1, "notional_usd": 0.25, "tokens_out": 4}));
        let all = serde_json::json!({
            "name": "all", "attempts": 3, "cost_usd": 0.5, "notional_usd": 0.25, "tokens_in": 3, "tokens_out": 4,
            "seconds": 1,
        });
        assert_eq!(total(&[one, other]), Some(costs(all)));
    }

    #[test]
    fn days_are_whole_and_today_is_one_of_them() {
        let at = |time: &str| time.parse::<DateTime<Utc>>().unwrap();
        let now = at("2026-11-29T17:05:00Z");
        assert_eq!(since(now, 1), at("2026-11-29T00:00:00Z"));
        assert_eq!(since(now, 7), at("2026-11-23T00:00:00Z"));
    }
}
