//! What a failure that is told in prose is, and how it is told to people.

use chrono::{DateTime, Utc};

use crate::{Class, Limit, LimitSource, Window, limits};

/// As long as a sentence for people may be, in characters.
const LONGEST: usize = 300;
/// Only so much of a message is looked at, in bytes.
const LOOKED_AT: usize = 16 * 1024;
/// An answer that was cut off.
const TOO_LONG: &str = "the answer is longer than the model may write";

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    pub(crate) class: Class,
    /// In the program's own words.
    pub(crate) message: String,
    /// Whether trying again makes sense.
    pub(crate) retry: bool,
    /// Whether the session can be gone on with.
    pub(crate) resumable: bool,
    pub(crate) limit: Option<Limit>,
}

impl Failure {
    /// Of a class that is known.
    pub(crate) fn of(class: Class, message: &str) -> Self {
        Self {
            class,
            message: start(message).to_owned(),
            retry: class.passes(),
            resumable: !matches!(class, Class::ContextFull | Class::BadConfig | Class::SessionLost),
            limit: None,
        }
    }

    /// Of a message, and the status of HTTP where there was one.
    pub(crate) fn read(message: &str, status: Option<u16>, now: DateTime<Utc>) -> Self {
        if is_cut_off(message) {
            return Self::answer_too_long();
        }
        let class = classify(message, status).unwrap_or(Class::Crashed);
        let mut failure = Self::of(class, message);
        // What the provider takes for wrong stays wrong: an image that is too large, say, is in the conversation for good.
        if class == Class::Crashed && (status == Some(400) || looks_like_400(message)) {
            (failure.retry, failure.resumable) = (false, false);
        }
        if class == Class::Limit {
            failure.limit = Some(limit(message, now));
        }
        failure
    }

    /// The model may not write as much as it was about to: it would come to the same again.
    pub(crate) fn answer_too_long() -> Self {
        Self { resumable: true, ..Self::of(Class::BadConfig, TOO_LONG) }
    }

    /// A session that is to be gone on with is not there.
    pub(crate) fn no_session(message: &str) -> Self {
        // What stands in its way only for now does not make the session a bad one.
        let passing = |class: &Class| matches!(class, Class::Auth | Class::Limit | Class::Overloaded);
        Self::of(classify(message, None).filter(passing).unwrap_or(Class::SessionLost), message)
    }

    /// In one sentence.
    pub(crate) fn sentence(&self, program: &str) -> String {
        let lead = match self.class {
            Class::Auth => format!("{program} is not logged in, or its login is not accepted"),
            Class::Limit => match self.limit.as_ref().and_then(|limit| limit.until) {
                Some(until) => {
                    format!("{program}'s account is at its limit until {}", until.format("%Y-%m-%d %H:%M UTC"))
                }
                None => format!("{program}'s account is at its limit"),
            },
            Class::Overloaded => "The provider can not keep up, or fails".into(),
            Class::ContextFull => "The conversation has no room left in the model".into(),
            Class::Denied => format!("{program} was not allowed to do something"),
            Class::Refused => "The model would not do it".into(),
            Class::Crashed => format!("{program} failed"),
            Class::Silent => format!("{program} ended without a final word"),
            Class::BadConfig if self.message == TOO_LONG => "The answer is longer than the model may write".into(),
            Class::BadConfig => format!("{program} can not be run like this"),
            Class::SessionLost => format!("{program} can not go on with the conversation"),
        };
        let detail = first_sentence(&self.message);
        let whole =
            if detail.is_empty() || lead.eq_ignore_ascii_case(&detail) { lead } else { format!("{lead}: {detail}") };
        shortened(&whole, LONGEST - 1) + "."
    }

    /// What a person can do about it.
    pub(crate) fn remedy(&self, login: &str) -> Option<String> {
        Some(match self.class {
            Class::Auth => login.to_owned(),
            Class::Limit => "Wait until the limit ends, or give the task to another agent or account.".into(),
            Class::Overloaded => "Try again in a few minutes, or with another model.".into(),
            Class::ContextFull => "Begin a new conversation, or give it a smaller task.".into(),
            Class::Denied => "Let the agent do more (its policy), or ask for less.".into(),
            Class::Refused => "Say it in other words, or ask another model.".into(),
            Class::BadConfig if self.message == TOO_LONG => "Ask for less at once.".into(),
            Class::BadConfig => "Correct the agent's configuration: program, model or arguments.".into(),
            Class::SessionLost => "It begins anew, and is told what was said so far.".into(),
            Class::Crashed | Class::Silent => return None,
        })
    }
}

/// The beginning of a text.
fn start(text: &str) -> &str {
    let mut end = text.len().min(LOOKED_AT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn limit(message: &str, now: DateTime<Utc>) -> Limit {
    let until = limits::in_text(message, now);
    let small = message.to_lowercase();
    let window = [
        ("per minute", Window::Minute),
        ("perminute", Window::Minute),
        ("per min", Window::Minute),
        ("daily", Window::Day),
        ("perday", Window::Day),
        ("per day", Window::Day),
        ("weekly", Window::SevenDays),
        ("5-hour", Window::FiveHours),
        ("5 hour", Window::FiveHours),
    ];
    Limit {
        met: true,
        until,
        source: if until.is_some() { LimitSource::Text } else { LimitSource::Guess },
        window: window.iter().find(|(name, _)| small.contains(name)).map(|(_, window)| *window),
        model: None,
        used: None,
        text: shortened(&first_sentence(message), LONGEST),
    }
}

fn looks_like_400(message: &str) -> bool {
    let small = start(message).to_lowercase();
    ["\"code\":400", "status 400", "invalid_request_error", "invalid_argument", "400 bad request"]
        .iter()
        .any(|sign| small.contains(sign))
}

/// Whether a message says that an answer was cut off where the model may write no more.
fn is_cut_off(message: &str) -> bool {
    let small = start(message).to_lowercase();
    ["reason: max_output_tokens", "output token maximum"].iter().any(|sign| small.contains(sign))
}

/// What a message speaks of. None: nothing that is known.
pub(crate) fn classify(message: &str, status: Option<u16>) -> Option<Class> {
    let small = start(message).to_lowercase().replace(['\u{2018}', '\u{2019}'], "'");
    let says = |signs: &[&str]| signs.iter().any(|sign| small.contains(sign));
    if says(&[
        "context window",
        "context length",
        "context_length",
        "contextwindow",
        "prompt is too long",
        "input token count",
        "maximum number of tokens",
        "ran out of room",
        "maximum context",
        "too many tokens in the prompt",
    ]) {
        return Some(Class::ContextFull);
    }
    if says(&[
        "unauthorized",
        "unauthenticated",
        "invalid api key",
        "incorrect api key",
        "api key not valid",
        "api_key_invalid",
        "not logged in",
        "please log in",
        "log in again",
        "login required",
        "auth_required",
        "authentication required",
        "authentication failed",
        "authentication_error",
        "invalid x-api-key",
        "invalid authentication",
        "refresh token",
        "refresh_token",
        "token has expired",
        "token expired",
        "sign in again",
        "signed in",
        "no auth",
        "auth method",
        "set an auth",
        "api key is missing",
        "must specify the gemini_api_key",
    ]) {
        return Some(Class::Auth);
    }
    if says(&[
        "usage limit",
        "rate limit",
        "rate_limit",
        "ratelimit",
        "quota",
        "too many requests",
        "resource_exhausted",
        "resource exhausted",
        "credit balance",
        "spend limit",
        "hit your limit",
        "limit reached",
        "out of credits",
    ]) {
        return Some(Class::Limit);
    }
    if says(&[
        "does not exist or you do not have access",
        "model_not_found",
        "model not found",
        "is not found for api version",
        "no such model",
    ]) {
        return Some(Class::BadConfig);
    }
    match status {
        Some(401 | 403) => return Some(Class::Auth),
        Some(402 | 429) => return Some(Class::Limit),
        Some(404) => return Some(Class::BadConfig),
        Some(408 | 500..=599) => return Some(Class::Overloaded),
        _ => {}
    }
    if says(&[
        "overloaded",
        "high demand",
        "at capacity",
        "unavailable",
        "stream disconnected",
        "stream closed",
        "error sending request",
        "timed out",
        "connection reset",
        "connection refused",
        "econnrefused",
        "econnreset",
        "etimedout",
        "fetch failed",
        "bad gateway",
        "internal server error",
        "an internal error has occurred",
        "server had an error",
    ]) {
        return Some(Class::Overloaded);
    }
    if says(&[
        "content policy",
        "content_filter",
        "usage policy",
        "prohibited_content",
        "safety reasons",
        "cyberpolicy",
        "flagged for",
    ]) {
        return Some(Class::Refused);
    }
    if says(&[
        "unexpected argument",
        "unknown argument",
        "unknown option",
        "unrecognized option",
        "invalid value '",
        "invalid value for",
        "error loading config",
        "not inside a trusted directory",
        "no rollout found",
        "no conversation found",
        "no saved session",
        "no previous sessions found",
        "invalid session identifier",
        "session not found",
    ]) {
        return Some(Class::BadConfig);
    }
    None
}

/// What looks like an answer and is only a provider's error: `API Error: 400 …`, and nothing else (multica#6402).
pub(crate) fn is_only_an_error(text: &str) -> bool {
    let text = text.trim().trim_start_matches('[');
    ["API Error:", "API error:", "Error: API", "[API Error"].iter().any(|sign| text.starts_with(sign))
        && text.len() < 2000
        || text.len() < 200 && text.to_lowercase().starts_with("prompt is too long")
}

/// The first sentence of what a program writes: the error in its JSON if it is some, no stack, no decoration, one line.
pub(crate) fn first_sentence(message: &str) -> String {
    let message = start(message).trim();
    let found = inner(message, 0);
    let message = found.as_deref().unwrap_or(message);
    let line = message
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !["at ", "```"].iter().any(|begin| line.starts_with(begin)))
        .unwrap_or_default();
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    let line = line.trim_start_matches("[API Error:").trim_start_matches("API Error:").trim();
    let mut end = line.len();
    for (at, _) in line.match_indices(['.', '!']) {
        // Not within a number, an address or an abbreviation: a sentence ends where a space and a capital follow.
        let mut rest = line[at + 1..].chars();
        if rest.next() == Some(' ') && rest.next().is_some_and(char::is_uppercase) {
            end = at;
            break;
        }
    }
    shortened(line[..end].trim_end_matches(['.', '!', ']', ' ', ':']), LONGEST)
}

/// The message in an error that is JSON, however often it is wrapped.
fn inner(text: &str, depth: usize) -> Option<String> {
    let from = text.find('{')?;
    let value: serde_json::Value = serde_json::Deserializer::from_str(&text[from..]).into_iter().next()?.ok()?;
    let message = ["/error/message", "/error/error/message", "/message", "/error", "/detail"]
        .iter()
        .find_map(|path| value.pointer(path)?.as_str().filter(|text| !text.trim().is_empty()))?;
    if depth < 3
        && let Some(deeper) = inner(message, depth + 1)
    {
        return Some(deeper);
    }
    Some(message.to_owned())
}

pub(crate) fn shortened(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some(_) => text.chars().take(characters - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

/// The end of standard error where a program ended badly without a word: the line that says why, if one does.
pub(crate) fn from_errors(errors: &str, status: Option<u16>, now: DateTime<Utc>) -> Option<Failure> {
    let lines = || errors.lines().rev().take(200).map(str::trim).filter(|line| !line.is_empty());
    let known = lines().find(|line| classify(line, None).is_some());
    let said = lines().filter(|line| {
        let small = line.to_lowercase();
        ["error:", "error ", "fatal:", "panicked at"].iter().any(|sign| small.starts_with(sign))
    });
    let line = known.or_else(|| said.last())?;
    let line = line
        .strip_prefix("Error:")
        .or_else(|| line.strip_prefix("error:"))
        .or_else(|| line.strip_prefix("ERROR:"))
        .unwrap_or(line);
    Some(Failure::read(line, status, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_programs_have_their_class() {
        for (message, status, class) in [
            ("unexpected status 401 Unauthorized: Incorrect API key provided", None, Class::Auth),
            (
                "{\"error\":{\"code\":400,\"message\":\"API key not valid. Please pass a valid API key.\",\"status\":\"INVALID_ARGUMENT\"}}",
                Some(400),
                Class::Auth,
            ),
            ("You\u{2019}ve hit your usage limit.", None, Class::Limit),
            ("exceeded retry limit, last status: 429 Too Many Requests", None, Class::Limit),
            ("You have exhausted your daily quota on this model.", Some(429), Class::Limit),
            ("Your credit balance is too low to access the Anthropic API.", Some(400), Class::Limit),
            (
                "We\u{2019}re currently experiencing high demand, which may cause temporary errors.",
                None,
                Class::Overloaded,
            ),
            ("whatever", Some(529), Class::Overloaded),
            (
                "The input token count (1250000) exceeds the maximum number of tokens allowed (1048576).",
                Some(400),
                Class::ContextFull,
            ),
            ("Codex ran out of room in the model's context window.", None, Class::ContextFull),
            ("The model 'x' does not exist or you do not have access to it.", None, Class::BadConfig),
            ("no rollout found for thread id 1", None, Class::BadConfig),
            ("error: unexpected argument '--jsn' found", None, Class::BadConfig),
            ("Incomplete response returned, reason: content_filter", None, Class::Refused),
        ] {
            assert_eq!(classify(message, status), Some(class), "{message}");
        }
        assert_eq!(classify("something else", Some(400)), None);
        for cut in [
            "Incomplete response returned, reason: max_output_tokens",
            "API Error: Claude's response exceeded the 128000 output token maximum.",
        ] {
            let failure = Failure::read(cut, None, Utc::now());
            assert_eq!((failure.class, failure.retry, failure.resumable), (Class::BadConfig, false, true), "{cut}");
            assert_eq!(failure.sentence("Codex"), "The answer is longer than the model may write.");
        }
        let image = Failure::read("image exceeds 5 MB maximum", Some(400), Utc::now());
        assert!(!image.retry && !image.resumable && image.class == Class::Crashed);
    }

    #[test]
    fn a_failure_is_one_sentence() {
        let message = "{\"error\":{\"code\":400,\"message\":\"API key not valid. Please pass a valid API key.\",\"status\":\"INVALID_ARGUMENT\"}}";
        assert_eq!(first_sentence(message), "API key not valid");
        assert_eq!(
            first_sentence("[API Error: You have exhausted your daily quota on this model.]\nPlease wait"),
            "You have exhausted your daily quota on this model"
        );
        assert_eq!(
            first_sentence("Error v1.2.3 failed at x.rs. It is broken.\n   at f (a.js:1)"),
            "Error v1.2.3 failed at x.rs"
        );
        let long = Failure::of(Class::Crashed, &"word ".repeat(500)).sentence("Codex");
        assert!(long.chars().count() <= 300 && long.ends_with("…."), "{long}");
        assert_eq!(Failure::of(Class::Silent, "").sentence("Codex"), "Codex ended without a final word.");
    }

    #[test]
    fn a_stack_is_searched_for_what_it_says() {
        let errors = "banner\nError: unexpected argument '--x' found\n\nUsage: codex [OPTIONS]\n";
        assert_eq!(from_errors(errors, None, Utc::now()).map(|failure| failure.class), Some(Class::BadConfig));
        assert_eq!(from_errors("nothing\nto say", None, Utc::now()), None);
    }
}
