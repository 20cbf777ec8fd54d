//! How a run of Claude went, from what it said last.

use crate::{Class, End};

/// As long as its own words are in a sentence of ours, in characters.
const QUOTED: usize = 180;

/// What its last result says, as far as a judgement needs it. Also made of what came before, where there is no result.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    /// It says that it failed.
    pub(super) is_error: bool,
    /// `success`, `error_max_turns`, …
    pub(super) subtype: String,
    /// Why its turn ended: `completed`, `prompt_too_long`, `aborted_tools`, …
    pub(super) terminal: String,
    /// Why the model stopped: `end_turn`, `refusal`, …
    pub(super) stop: String,
    /// The kind of error of the provider: `rate_limit`, `authentication_failed`, …
    pub(super) kind: String,
    /// The status of HTTP.
    pub(super) status: Option<u16>,
    /// The last words, or the errors.
    pub(super) text: String,
}

/// A judgement other than success.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) class: Class,
    pub(super) text: String,
    pub(super) remedy: Option<String>,
    pub(super) retry: bool,
    pub(super) resumable: bool,
}

impl Failure {
    pub(super) fn new(class: Class, text: impl Into<String>, remedy: &str) -> Self {
        let remedy = (!remedy.is_empty()).then(|| remedy.to_owned());
        Self { class, text: text.into(), remedy, retry: class.passes(), resumable: true }
    }
}

/// A kind of error, or a status of HTTP.
pub(super) fn class(kind: &str, status: Option<u16>) -> Option<Class> {
    Some(match (kind, status) {
        ("authentication_failed" | "oauth_org_not_allowed", _) | (_, Some(401 | 403)) => Class::Auth,
        ("rate_limit" | "billing_error", _) | (_, Some(429)) => Class::Limit,
        ("overloaded" | "server_error", _) | (_, Some(500..)) => Class::Overloaded,
        ("model_not_found", _) | (_, Some(404)) => Class::BadConfig,
        _ => return None,
    })
}

/// Whether a text is only what a provider said when it failed, and no answer (multica#6402).
pub(super) fn provider_error(text: &str) -> bool {
    let text = text.trim();
    let begins = [
        "API Error:",
        "API Error (",
        "Prompt is too long",
        "Not logged in ·",
        "Invalid API key ·",
        "Failed to authenticate",
        "Credit balance is too low",
        "Claude AI usage limit reached",
        "Image was too large",
        "There's an issue with the selected model",
    ];
    let limit =
        ["You've hit your ", "You’ve hit your "].iter().any(|words| text.starts_with(words)) && text.contains("limit");
    text.len() <= 1_000 && (limit || begins.iter().any(|words| text.starts_with(words)))
}

/// What a result says beyond success. None: nothing went wrong in it.
pub(super) fn result(said: &Said, resumed: bool) -> Option<Failure> {
    let text = said.text.as_str();
    let lower = text.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if said.stop == "refusal" || said.kind == "refusal" || (said.is_error && has(&["violate our usage policy"])) {
        let remedy = "Say it in other words in a new conversation, or ask another model.";
        return Some(Failure::new(Class::Refused, "The model would not answer this.", remedy));
    }
    if !said.is_error && !provider_error(text) {
        if text.trim().is_empty() {
            return Some(Failure::new(Class::Silent, "Claude ended without a final word.", "Try again."));
        }
        let command = text.strip_prefix("Unknown command: /").filter(|rest| !rest.contains(char::is_whitespace));
        return command.map(|name| {
            let text = format!("Claude takes the prompt for a command that it does not know: /{}.", quoted(name));
            Failure::new(Class::BadConfig, text, "Do not begin the prompt with a slash.")
        });
    }
    if resume_missing(text) {
        return Some(lost());
    }
    if said.terminal == "prompt_too_long" || has(&["prompt is too long", "exceed context limit", "context window"]) {
        let remedy = "Begin a new conversation, or give it less at once.";
        let text = "The conversation no longer fits into the model.";
        return Some(Failure { resumable: false, retry: resumed, ..Failure::new(Class::ContextFull, text, remedy) });
    }
    if said.terminal == "image_error" || has(&["image was too large", "image exceeds", "image dimensions exceed"]) {
        let remedy = "Begin a new conversation without the image, or with a smaller one.";
        let text = "An image is too large for the model, and the conversation can not go on with it.";
        return Some(Failure { resumable: false, ..Failure::new(Class::Crashed, text, remedy) });
    }
    match said.subtype.as_str() {
        "error_max_turns" | "error_max_budget_usd" => {
            let text = format!("Claude stopped at a limit it was started with: {}.", quoted(text));
            return Some(Failure::new(Class::BadConfig, text, "Raise that limit in the agent's arguments, and go on."));
        }
        _ if said.terminal.starts_with("aborted") => {
            let text = "Claude was interrupted before it was done.";
            return Some(Failure { retry: false, ..Failure::new(Class::Silent, text, "Tell it how to go on.") });
        }
        _ => {}
    }
    Some(provider(said, &lower))
}

/// What the provider said instead of an answer.
fn provider(said: &Said, lower: &str) -> Failure {
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let theirs = quoted(&said.text);
    if said.kind == "billing_error" || has(&["credit balance is too low"]) {
        return Failure::new(Class::Limit, "The account has no credit left.", "Add credit to the account.");
    }
    if said.kind == "max_output_tokens" || has(&["output token maximum"]) {
        let remedy = "Ask for less at once, or set CLAUDE_CODE_MAX_OUTPUT_TOKENS for this agent.";
        return Failure::new(Class::BadConfig, "The answer is longer than the model may write.", remedy);
    }
    let by_text = || {
        Some(if has(&["not logged in", "invalid api key", "failed to authenticate", "oauth token"]) {
            Class::Auth
        } else if has(&["usage limit reached", "hit your", "rate limit"]) {
            Class::Limit
        } else if has(&[
            "overloaded",
            "connection error",
            "connection dropped",
            "unable to connect",
            "timed out",
            "malformed response",
            "server error",
        ]) {
            Class::Overloaded
        } else if has(&["issue with the selected model"]) {
            Class::BadConfig
        } else {
            return None;
        })
    };
    match class(&said.kind, said.status).or_else(by_text) {
        Some(Class::Auth) => auth(&theirs),
        Some(Class::Limit) => {
            let remedy = "It goes on when the limit ends; another login or model may go on now.";
            Failure::new(Class::Limit, format!("A limit of the account is met: {theirs}."), remedy)
        }
        Some(Class::Overloaded) => overloaded(&theirs),
        Some(Class::BadConfig) => {
            Failure::new(Class::BadConfig, format!("{theirs}."), "Name a model that this account may use.")
        }
        _ if said.status == Some(400) => {
            // What it will not take is in the conversation, and would be sent again.
            let text = format!("The provider does not take the conversation: {theirs}.");
            Failure { resumable: false, ..Failure::new(Class::Crashed, text, "Begin a new conversation.") }
        }
        _ => Failure::new(Class::Crashed, format!("Claude failed: {theirs}."), "Try again."),
    }
}

pub(super) fn auth(theirs: &str) -> Failure {
    let remedy = "On this machine, as the worker's user, run `claude` and /login, or give the worker a valid key.";
    Failure::new(Class::Auth, format!("Claude's login does not work here: {theirs}."), remedy)
}

pub(super) fn overloaded(theirs: &str) -> Failure {
    let remedy = "Try again later, or name another model for such times with --fallback-model.";
    Failure::new(Class::Overloaded, format!("The provider does not answer as it should: {theirs}."), remedy)
}

fn lost() -> Failure {
    let text = "The conversation to go on with is not known to Claude on this machine.";
    let remedy = "It begins anew, and is told what was said so far.";
    Failure { resumable: false, ..Failure::new(Class::SessionLost, text, remedy) }
}

/// Whether it says that the session to resume is not there.
pub(super) fn resume_missing(text: &str) -> bool {
    text.contains("No conversation found with session ID")
}

/// It ended without a result.
pub(super) fn silent(end: End, errors: &str) -> Failure {
    if resume_missing(errors) {
        return lost();
    }
    // Warnings come first, and stacks of the runtime are indented.
    let line = errors.lines().rev().find(|line| !line.trim().is_empty() && !line.starts_with([' ', '\t', '[', '{']));
    let line = line.map(quoted).unwrap_or_default();
    if line.contains("cannot be used with root") {
        let text = "Claude does not do everything without asking as root.";
        let remedy = "Run the worker as another user, or set IS_SANDBOX=1 for this agent if this machine is a sandbox.";
        return Failure::new(Class::BadConfig, text, remedy);
    }
    let lower = line.to_lowercase();
    if ["not logged in", "invalid api key", "please run /login"].iter().any(|words| lower.contains(words)) {
        return auth(&line);
    }
    if line.starts_with("error: ") || lower.contains("is already in use") || lower.contains("invalid session id") {
        let text = format!("Claude does not start like this: {line}.");
        return Failure::new(Class::BadConfig, text, "Correct the agent's arguments.");
    }
    match end {
        End::Exit(0) | End::Lingered => Failure::new(Class::Silent, "Claude ended without a final word.", "Try again."),
        End::Cut => Failure::new(Class::Silent, "Claude was stopped before its final word.", "Try again."),
        End::Signal(signal) => {
            Failure::new(Class::Crashed, format!("Claude was ended by signal {signal}."), "Try again.")
        }
        End::Exit(code) if line.is_empty() => {
            Failure::new(Class::Crashed, format!("Claude ended with exit code {code}."), "Try again.")
        }
        End::Exit(code) => {
            Failure::new(Class::Crashed, format!("Claude ended with exit code {code}: {line}."), "Try again.")
        }
    }
}

/// Its own words, as a part of a sentence.
pub(super) fn quoted(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let line = line.strip_prefix("API Error: ").unwrap_or(line);
    let mut words = String::new();
    for word in line.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
        if words.len() > QUOTED * 4 {
            break;
        }
    }
    match words.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words.trim_end_matches(['.', ':', ' ']).to_owned(),
    }
}
