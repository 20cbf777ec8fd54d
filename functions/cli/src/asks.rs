//! What waits for a person, and answering it. Whoever answers is shown all of it first, and answers what they were shown: its digest goes with
//! the answer.

use anyhow::{Result, bail};
use hub::{
    Hub,
    text::is_unseen,
    types::{Ask, Choice},
};
use serde_json::Value;
use std::{
    fmt::Write as _,
    io::{BufRead, IsTerminal, Write},
    process::ExitCode,
};

use crate::output::{Output, print_line, shorten, tell};
use crate::target::{As, Target};

/// What is said to an ask.
pub struct Said {
    /// One of its answers.
    pub answer: Option<String>,
    /// In words.
    pub text: Option<String>,
    /// No.
    pub deny: bool,
}

pub async fn inbox(target: &Target, limit: i32, out: Output) -> Result<ExitCode> {
    let mut asks = target.connect(As::Person).await?.inbox(None, limit).await?;
    if let Some((_, stops)) = stops_of_hub_dev(target).await? {
        let new = |ask: &Ask| asks.iter().all(|known| known.id != ask.id);
        let more: Vec<_> = stops.into_iter().filter(new).collect();
        asks.extend(more);
        asks.sort_by_key(|ask| std::cmp::Reverse(ask.created_at));
        asks.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    let now = chrono::Utc::now();
    let row = |ask: &Ask| {
        vec![
            short(&ask.task_id.to_string(), 4).to_owned(),
            short(&ask.id.to_string(), 8).to_owned(),
            ask.kind.clone(),
            ask.created_at.map_or_else(|| "—".into(), |at| waited((now - at).num_minutes())),
            ask.asked_by.clone(),
            shorten(&[ask.tool.as_deref().unwrap_or_default(), &ask.title].join(" "), 80),
        ]
    };
    out.show_table(&asks, "Nothing waits for you.", &["task", "ask", "kind", "for", "by", "asks"], row);
    if !out.json && !asks.is_empty() {
        print_line("\nLook at one and answer it: hub task answer TASK");
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn answer(target: &Target, id: &str, said: Said, out: Output) -> Result<ExitCode> {
    let hub = target.connect(As::Person).await?;
    let (hub, ask) = match named(&hub, id).await {
        Ok(ask) => (hub, ask),
        Err(why) => match stops_of_hub_dev(target).await? {
            Some((hub, stops)) if stops.iter().any(|stop| is_named(stop, &id.to_lowercase())) => {
                let ask = named(&hub, id).await?;
                (hub, ask)
            }
            _ => return Err(why),
        },
    };
    let people = std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !out.json;
    if people {
        print_line(&shown(&ask));
    }
    let (answer, text) = match meant(&ask, said) {
        Some(said) => said,
        None if people => match asked(&ask)? {
            Some(said) => said,
            None => {
                tell("Not answered.");
                return Ok(ExitCode::FAILURE);
            }
        },
        None => {
            out.show(&ask, shown);
            bail!("say what you answer: hub task answer {id} {}", choices(&ask.options));
        }
    };
    let ask = hub.answer_ask(ask.id, answer.as_deref(), text.as_deref(), Some(&ask.digest)).await?;
    out.show(&ask, |ask| match (&ask.answer, &ask.answer_text) {
        (Some(answer), Some(text)) => format!("Answered {answer}: {text}"),
        (Some(answer), None) => format!("Answered {answer}"),
        (None, text) => format!("Answered: {}", text.as_deref().unwrap_or_default()),
    });
    Ok(ExitCode::SUCCESS)
}

/// What budgets of a `hub dev` ask its owners, and as whom that is answered: nobody owns its servers but whoever runs it. Who gives a token
/// of their own is asked as that person alone.
async fn stops_of_hub_dev(target: &Target) -> Result<Option<(Hub, Vec<Ask>)>> {
    if !target.is_hub_dev() || target.get("HUB_TOKEN").is_some() {
        return Ok(None);
    }
    let hub = target.connect(As::Operator).await?;
    let mut asks = hub.inbox(None, 1000).await?;
    asks.retain(|ask| ask.kind == "stop");
    Ok(Some((hub, asks)))
}

/// Whether its id, or that of its task, begins with these digits.
fn is_named(ask: &Ask, digits: &str) -> bool {
    ask.task_id.to_string().starts_with(digits) || ask.id.to_string().starts_with(digits)
}

/// The open ask of a task, or the ask, whose id begins so.
async fn named(hub: &Hub, id: &str) -> Result<Ask> {
    let digits = id.to_lowercase();
    if digits.chars().any(|c| !c.is_ascii_hexdigit() && c != '-') {
        bail!("{id} is no id: give its first digits, as `hub inbox` shows them");
    }
    let waiting = hub.inbox(None, 1000).await?;
    let (mut of_task, of_ask): (Vec<Ask>, Vec<Ask>) = waiting
        .into_iter()
        .filter(|ask| is_named(ask, &digits))
        .partition(|ask| ask.task_id.to_string().starts_with(&digits));
    of_task.extend(of_ask);
    match of_task.len() {
        1 => Ok(of_task.remove(0)),
        0 => {
            // One that is closed says so itself, and by whom: it is not listed any more.
            if let Ok(closed) = uuid::Uuid::parse_str(&digits)
                && hub.task(id).await.is_err()
            {
                hub.answer_ask(closed, None, None, None).await?;
            }
            let task = hub.task(id).await?;
            let asks = hub.asks(task.id).await?;
            match asks.iter().rev().find(|ask| ask.is_open()).or(asks.last()) {
                Some(ask) if ask.is_open() => bail!("what task {} asks is not yours to answer", task.short()),
                Some(ask) => bail!("task {} asks nothing any more: {}", task.short(), closed(ask)),
                None => bail!("task {} asks nothing", task.short()),
            }
        }
        _ => {
            let several: Vec<String> = of_task
                .iter()
                .map(|ask| format!("  {}  {}", short(&ask.id.to_string(), 8), shorten(&ask.title, 80)))
                .collect();
            bail!("several things are asked; name one:\n{}", several.join("\n"))
        }
    }
}

/// What was given on the command line; none if nothing was.
fn meant(ask: &Ask, said: Said) -> Option<(Option<String>, Option<String>)> {
    if said.deny {
        return Some((Some(if ask.kind == "stop" { "cancel" } else { "deny" }.to_owned()), said.text));
    }
    let answer = said.answer.map(|answer| key(ask, &answer));
    match (&answer, &said.text) {
        (None, None) => None,
        (Some(text), None) if ask.kind == "question" && !ask.options.iter().any(|one| one.key == *text) => {
            Some((None, answer))
        }
        _ => Some((answer, said.text)),
    }
}

/// What a person means by it: one of the answers, whichever way it is written.
fn key(ask: &Ask, answer: &str) -> String {
    let word = answer.trim().to_lowercase();
    let same = |one: &&Choice| one.key.to_lowercase() == word || one.label.to_lowercase() == word;
    if let Some(one) = ask.options.iter().find(same) {
        return one.key.clone();
    }
    let key = match (ask.kind.as_str(), word.as_str()) {
        ("approval", "y" | "yes" | "ok") => "allow",
        ("approval", "n" | "no") => "deny",
        ("stop", "y" | "yes" | "ok") => "continue",
        ("stop", "n" | "no" | "stop") => "cancel",
        _ => answer.trim(),
    };
    key.to_owned()
}

/// Asks on the terminal. None: nothing was said.
fn asked(ask: &Ask) -> Result<Option<(Option<String>, Option<String>)>> {
    loop {
        let mut err = std::io::stderr().lock();
        write!(err, "Your answer ({}): ", choices(&ask.options))?;
        err.flush()?;
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line)? == 0 || line.trim().is_empty() {
            return Ok(None);
        }
        let said = Said { answer: Some(line.trim().to_owned()), text: None, deny: false };
        match meant(ask, said) {
            Some((Some(key), text)) if ask.options.iter().any(|one| one.key == key) => {
                return Ok(Some((Some(key), text)));
            }
            Some((None, text)) => return Ok(Some((None, text))),
            _ => tell("That is none of the answers."),
        }
    }
}

fn choices(options: &[Choice]) -> String {
    if options.is_empty() {
        return "any text".to_owned();
    }
    options.iter().map(|one| tamed(&one.key)).collect::<Vec<_>>().join(" | ")
}

fn closed(ask: &Ask) -> String {
    let by = ask.answered_label.as_deref().unwrap_or("nobody");
    match ask.state.as_str() {
        "answered" => format!("{} was answered by {by}", tamed(&ask.title)),
        "expired" => format!("nobody answered {} in time", tamed(&ask.title)),
        _ => format!("{} was withdrawn", tamed(&ask.title)),
    }
}

/// All of it. What the agent wrote stands behind a mark, so that nothing of it looks like ours.
fn shown(ask: &Ask) -> String {
    let mut text = format!("{} asks for {}: {}\n", ask.asked_by, ask.kind, tamed(&ask.title));
    if let Some(tool) = &ask.tool {
        writeln!(text, "{}", tamed(tool)).unwrap_or_default();
    }
    if let Some(input) = &ask.input {
        writeln!(text, "{}", marked(&input_text(input))).unwrap_or_default();
    }
    if let Some(body) = ask.body.as_deref().filter(|body| !body.trim().is_empty()) {
        writeln!(text, "It says:\n{}", marked(&tamed(body))).unwrap_or_default();
    }
    for one in ask.options.iter().filter(|one| one.key != one.label) {
        writeln!(text, "  {:<12} {}", tamed(&one.key), tamed(&one.label)).unwrap_or_default();
    }
    text.trim_end().to_owned()
}

/// Of an object a line `key: value` each.
fn input_text(input: &Value) -> String {
    let one = |value: &Value| match value {
        Value::String(text) => tamed(text),
        other => tamed(&other.to_string()),
    };
    match input {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| format!("{}: {}", tamed(key), one(value).replace('\n', "\n    ")))
            .collect::<Vec<_>>()
            .join("\n"),
        other => one(other),
    }
}

/// With everything that a terminal would follow, or a reader not see, written out: a sequence that is merely left out could hide what
/// stands in it.
fn tamed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.replace("\r\n", "\n").chars() {
        if (c.is_control() && c != '\n' && c != '\t') || is_unseen(c) {
            write!(out, "‹U+{:04X}›", u32::from(c)).unwrap_or_default();
        } else {
            out.push(c);
        }
    }
    out
}

fn marked(text: &str) -> String {
    format!("> {}", text.replace('\n', "\n> "))
}

fn short(id: &str, digits: usize) -> &str {
    id.get(..digits).unwrap_or(id)
}

fn waited(minutes: i64) -> String {
    match minutes.max(0) {
        minutes @ 0..120 => format!("{minutes} min"),
        minutes @ 120..2880 => format!("{} h", minutes / 60),
        minutes => format!("{} days", minutes / 1440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ask(kind: &str, options: &Value) -> Ask {
        serde_json::from_value(json!({
            "id": "00000000-0000-0000-0000-000000000001", "task_id": "00000000-0000-0000-0000-000000000002", "attempt": 1,
            "asked_by": "claude/mac1", "kind": kind, "title": "Run it", "tool": "Bash", "digest": "d", "state": "open",
            "input": {"command": "ls\u{1b}]0;rm -rf /\u{7}\nAllowed\u{202e}", "n": 1}, "options": options, "body": "\u{1b}[2Jtrust me",
        }))
        .unwrap()
    }

    fn said(answer: Option<&str>, text: Option<&str>, deny: bool) -> Said {
        Said { answer: answer.map(str::to_owned), text: text.map(str::to_owned), deny }
    }

    #[test]
    fn all_of_it_is_shown_and_nothing_of_it_steers_the_terminal() {
        let text = shown(&ask("approval", &json!([{"key": "allow", "label": "Allow"}])));
        assert_eq!(
            text,
            "claude/mac1 asks for approval: Run it\nBash\n> command: ls‹U+001B›]0;rm -rf /‹U+0007›\n>     Allowed‹U+202E›\n> n: 1\n\
             It says:\n> ‹U+001B›[2Jtrust me\n  allow        Allow"
        );
    }

    #[test]
    fn an_answer_is_a_key_however_it_is_written() {
        let approval = ask("approval", &json!([{"key": "allow", "label": "Allow"}, {"key": "deny", "label": "Deny"}]));
        let key = |text| meant(&approval, said(Some(text), None, false)).unwrap().0.unwrap();
        assert_eq!(["Yes", "ALLOW", "n", "maybe"].map(key), ["allow", "allow", "deny", "maybe"]);
        assert_eq!(meant(&approval, said(None, Some("no"), true)), Some((Some("deny".into()), Some("no".into()))));
        assert_eq!(meant(&approval, said(None, None, false)), None);
        let question = ask("question", &json!([{"key": "a", "label": "The first"}]));
        assert_eq!(meant(&question, said(Some("the first"), None, false)), Some((Some("a".into()), None)));
        assert_eq!(meant(&question, said(Some("neither"), None, false)), Some((None, Some("neither".into()))));
        assert_eq!(meant(&question, said(None, Some("x"), false)), Some((None, Some("x".into()))));
    }
}
