//! `hub budgets`: how much of each is used and left, and what becomes of who meets it; sets and removes them.

use std::{process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use hub::{
    Hub,
    types::{Budget, BudgetState, NewBudget},
};

use crate::{
    accounts,
    args::{Budgets, Measure, SetBudget, name},
    attempts::duration,
    costs::{dollars, grouped},
    output::{Output, shorten},
    target::{As, Target},
};

const NONE: &str = "No budgets. Set one: hub budgets set SERVER cost 50 --per month";
const HEAD: [&str; 8] = ["id", "of", "measure", "used", "of at most", "left", "per", "who meets it"];
/// What a budget of everything is called.
pub const DEPLOYMENT: &str = "deployment";

pub async fn budgets(target: &Target, command: Option<Budgets>, out: Output) -> Result<ExitCode> {
    let hub = target.connect(As::Operator).await?;
    match command {
        None | Some(Budgets::List) => out.show_table(&hub.budgets().await?, NONE, &HEAD, row),
        Some(Budgets::Set(set)) => {
            let (server, budget) = asked(target, &hub, &set).await?;
            let budget = hub.set_budget(server, &budget).await?;
            out.show(&budget, |budget| format!("budget {}: {} of {}", budget.id, level(budget), told(&set)));
        }
        Some(Budgets::Remove { id }) => {
            let budget = hub.remove_budget(id).await?;
            out.show(&budget, |budget| {
                format!("budget {} ({}) is gone: what it held back goes on", budget.id, level(budget))
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What was typed, with the server that it is of.
async fn asked(target: &Target, hub: &Hub, set: &SetBudget) -> Result<(Option<uuid::Uuid>, NewBudget)> {
    let (server, scope, subject) = match narrowed(set) {
        None if set.subject == DEPLOYMENT => (None, DEPLOYMENT, None),
        None if set.subject.contains('/') => {
            let (server, channel) = hub.channel_named(&set.subject).await?;
            (Some(server.id), "channel", Some(channel.id.to_string()))
        }
        None => (Some(hub.server_named(&set.subject).await?.id), "server", None),
        Some((scope, _)) if set.subject == DEPLOYMENT || set.subject.contains('/') => {
            bail!("--{scope} is of a server: give the server's name in place of {:?}", set.subject)
        }
        Some((scope, subject)) => {
            let server = hub.server_named(&set.subject).await?;
            let subject = match scope {
                "person" => accounts::person(target, hub, subject).await?.to_string(),
                "task" => hub.task(subject).await?.id.to_string(),
                _ => subject.to_owned(),
            };
            (Some(server.id), scope, Some(subject))
        }
    };
    let amount = amount(set.measure, &set.amount)?;
    let silence = set.silence.as_deref().map(|text| match seconds(text) {
        Some(seconds) => Ok(seconds),
        None => bail!("--silence {text:?} is no time: write it as 30m, 2h or 7d"),
    });
    let budget = NewBudget {
        scope: scope.to_owned(),
        subject,
        measure: name(set.measure),
        amount,
        per: set.per.map(name),
        on_silence: set.on_silence.map(name),
        silence: silence.transpose()?,
        roles: (!set.answered_by.is_empty()).then(|| set.answered_by.iter().copied().map(name).collect()),
        about: set.about.clone(),
    };
    Ok((server, budget))
}

/// What of the server alone, if anything: its kind, and which.
fn narrowed(set: &SetBudget) -> Option<(&'static str, &str)> {
    let narrowed = [("project", &set.project), ("agent", &set.agent), ("person", &set.person), ("task", &set.task)];
    narrowed.into_iter().find_map(|(scope, subject)| Some((scope, subject.as_deref()?)))
}

/// A number, and of time one with its unit, too.
fn amount(measure: Measure, text: &str) -> Result<f64> {
    let number = text.trim_start_matches('$').replace([',', '_'], "").parse::<f64>().ok();
    let time = || seconds(text).filter(|_| measure == Measure::Seconds).map(|time| time.as_secs_f64());
    match number.filter(|number| number.is_finite() && *number > 0.0).or_else(time) {
        Some(amount) => Ok(amount),
        None if measure == Measure::Seconds => {
            bail!("AMOUNT {text:?} is no time above 0: write seconds, or 90m, 2h, 7d")
        }
        None => bail!("AMOUNT {text:?} is no number above 0; `hub budgets remove ID` takes a budget away"),
    }
}

/// `90s`, `30m`, `2h`, `7d`
fn seconds(text: &str) -> Option<Duration> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let number: u64 = text[..text.len() - 1].parse().ok()?;
    Some(Duration::from_secs(number.checked_mul(unit).filter(|seconds| (1..=31_536_000_000).contains(seconds))?))
}

fn row(state: &BudgetState) -> Vec<String> {
    let of = match (&state.server_name, state.scope.as_str()) {
        (None, _) => "the deployment".to_owned(),
        (Some(server), "server") => server.clone(),
        (Some(server), _) => format!("{server}: {}", shorten(&state.name, 60)),
    };
    let measure = &state.measure;
    let per = match (&state.per, state.until) {
        (Some(per), Some(until)) => format!("{per}, until {}", until.format("%Y-%m-%d %H:%M UTC")),
        (Some(per), None) => per.clone(),
        (None, _) => "—".to_owned(),
    };
    vec![
        state.id.to_string(),
        of,
        if measure == "notional" { "not billed".to_owned() } else { measure.clone() },
        figure(measure, state.used),
        figure(measure, state.level),
        if state.met { "none".to_owned() } else { figure(measure, state.remaining) },
        per,
        policy(state),
    ]
}

/// What becomes of a task that meets it.
fn policy(state: &BudgetState) -> String {
    if state.measure == "running" {
        return "waits for room".to_owned();
    }
    let asks = format!(
        "asks {}",
        if state.server_id.is_none() {
            "who runs the hub".to_owned()
        } else {
            state.roles.iter().map(|role| format!("{role}s")).collect::<Vec<_>>().join(" and ")
        }
    );
    #[allow(clippy::cast_possible_truncation, reason = "whole seconds")]
    let after = state.silence_seconds.map(|seconds| duration(seconds as i64)).unwrap_or_default();
    match state.on_silence.as_str() {
        "cancel" => format!("{asks}; cancelled after {after} of silence"),
        "continue" => format!("{asks}; goes on after {after} of silence"),
        _ => format!("{asks}, and waits"),
    }
}

/// As people read so much of a measure.
fn figure(measure: &str, amount: f64) -> String {
    #[allow(clippy::cast_possible_truncation, reason = "whole seconds and tokens")]
    let whole = amount as i64;
    match measure {
        "cost" | "notional" if amount == 0.0 => "$0.00".to_owned(),
        "cost" | "notional" => dollars(amount),
        "seconds" => duration(whole),
        _ => grouped(whole),
    }
}

/// `$5.00 a day`, `3 at once`
fn level(budget: &Budget) -> String {
    let what = match budget.measure.as_str() {
        "running" => " at once",
        "tokens" => " tokens",
        "notional" => " that nobody is billed",
        "seconds" => " of time",
        _ => "",
    };
    let per = budget.per.as_deref().map(|per| format!(" a {per}")).unwrap_or_default();
    format!("{}{what}{per}", figure(&budget.measure, budget.amount))
}

/// What it is of, as it was typed.
fn told(set: &SetBudget) -> String {
    let narrowed = narrowed(set).map(|(scope, subject)| format!(", {scope} {subject}"));
    format!("{}{}", set.subject, narrowed.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    /// Read as the hub's answers are: from text.
    fn state(fields: serde_json::Value) -> BudgetState {
        let mut whole = serde_json::json!({
            "id": 3, "server_id": "00000000-0000-0000-0000-000000000000", "server_name": "cloud-hub", "scope": "server",
            "subject": "", "name": "this server", "measure": "cost", "amount": 5.25, "level": 7.5, "used": 1.25,
            "remaining": 6.25, "met": false, "on_silence": "wait", "roles": ["owner"],
        });
        whole.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_str(&whole.to_string()).unwrap()
    }

    #[test]
    fn a_row_says_what_is_used_and_left_until_when_and_what_becomes_of_who_meets_it() {
        let rows = [
            serde_json::json!({"per": "day", "until": "2026-11-30T00:00:00Z"}),
            serde_json::json!({
                "scope": "project", "subject": "team/app", "name": "project team/app", "measure": "tokens", "used": 1_234_567,
                "level": 1_000_000, "remaining": 0, "met": true, "on_silence": "cancel", "silence_seconds": 7200,
                "roles": ["operator", "owner"],
            }),
            serde_json::json!({
                "server_id": null, "server_name": null, "scope": "deployment", "name": "this hub", "measure": "seconds",
                "used": 0, "level": 3600, "remaining": 3600, "on_silence": "continue", "silence_seconds": 600,
            }),
            serde_json::json!({"scope": "channel", "name": "#quick", "measure": "running", "used": 2, "level": 3, "remaining": 1}),
            serde_json::json!({"measure": "notional", "used": 0, "level": 0.005, "remaining": 0.005}),
        ];
        let shown = rows.map(|fields| row(&state(fields)).join("|"));
        assert_eq!(
            shown,
            [
                "3|cloud-hub|cost|$1.25|$7.50|$6.25|day, until 2026-11-30 00:00 UTC|asks owners, and waits",
                "3|cloud-hub: project team/app|tokens|1,234,567|1,000,000|none|—|asks operators and owners; cancelled after 2 h 0 min of silence",
                "3|the deployment|seconds|0 s|1 h 0 min|1 h 0 min|—|asks who runs the hub; goes on after 10 min 0 s of silence",
                "3|cloud-hub: #quick|running|2|3|1|—|waits for room",
                "3|cloud-hub|not billed|$0.00|$0.0050|$0.0050|—|asks owners, and waits",
            ]
        );
    }

    #[test]
    fn amounts_are_numbers_and_of_time_with_a_unit_too() {
        let good = |measure, text| amount(measure, text).unwrap();
        assert_eq!(
            [good(Measure::Cost, "$5"), good(Measure::Cost, "0.25"), good(Measure::Tokens, "2,000_000")],
            [5.0, 0.25, 2_000_000.0]
        );
        assert_eq!([good(Measure::Seconds, "90"), good(Measure::Seconds, "90m")], [90.0, 5400.0]);
        for (measure, text) in [
            (Measure::Cost, "0"),
            (Measure::Cost, "-1"),
            (Measure::Cost, "NaN"),
            (Measure::Cost, "2h"),
            (Measure::Seconds, "2 weeks"),
            (Measure::Seconds, "0h"),
            (Measure::Running, ""),
        ] {
            let said = amount(measure, text).unwrap_err().to_string();
            assert!(said.starts_with("AMOUNT") && said.contains(text), "{said}");
        }
        assert_eq!(["90s", "2h", "7d"].map(|text| seconds(text).unwrap().as_secs()), [90, 7200, 604_800]);
        for wrong in ["", "h", "-1h", "1.5h", "9999999999999999d", "2é"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_was_set_is_told_as_it_was_typed() {
        let words = ["hub", "budgets", "set", "cloud-hub", "cost", "50", "--project", "team/app", "--per", "month"];
        let Command::Budgets { command: Some(Budgets::Set(set)) } = Cli::parse_from(words).command else { panic!() };
        assert_eq!(told(&set), "cloud-hub, project team/app");
        let budget = Budget {
            id: 3,
            server_id: None,
            scope: "project".into(),
            subject: "team/app".into(),
            measure: "cost".into(),
            amount: 50.0,
            per: Some("month".into()),
        };
        assert_eq!(level(&budget), "$50.00 a month");
        let twice = words.into_iter().chain(["--agent", "claude"]);
        assert!(Cli::try_parse_from(twice).is_err());
        for wrong in
            [["miles", "5", "--per", "day"], ["cost", "5", "--per", "year"], ["cost", "5", "--on-silence", "shout"]]
        {
            assert!(
                Cli::try_parse_from(["hub", "budgets", "set", "cloud-hub"].into_iter().chain(wrong)).is_err(),
                "{wrong:?}"
            );
        }
    }
}
