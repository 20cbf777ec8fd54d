//! As much of the protocol's messages as is looked at, and what is said in them in plain words.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    Class, Limit, LimitSource, Step, StepState, Tokens,
    failure::{Failure, shortened},
    rpc::{Failed, lenient},
    words,
};

/// As many files, steps and options as are looked at.
const MANY: usize = 500;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Initialized {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) protocol_version: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) agent_info: Option<Info>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) auth_methods: Option<Vec<AuthMethod>>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) agent_capabilities: Option<Value>,
}

#[derive(Default, Deserialize)]
pub(super) struct Info {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) title: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) version: Option<String>,
}

#[derive(Default, Deserialize)]
pub(super) struct Cancelled<'a> {
    #[serde(borrow, default, rename = "requestId")]
    pub(super) request: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct AuthMethod {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) id: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Opened {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) session_id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) modes: Option<Modes>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) models: Option<Models>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) config_options: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Modes {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) current_mode_id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) available_modes: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Models {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) current_model_id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) available_models: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Prompted {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) stop_reason: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    usage: Option<Usage>,
    #[serde(default, rename = "_meta", deserialize_with = "lenient")]
    meta: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    #[serde(default, deserialize_with = "lenient")]
    input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    output_tokens: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    cached_read_tokens: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    cached_write_tokens: Option<u64>,
}

impl Prompted {
    /// What this prompt used: in the protocol's own field, where those from a cache are counted apart, or in Gemini's.
    pub(super) fn tokens(&self) -> Tokens {
        if let Some(usage) = &self.usage {
            let cached = usage.cached_read_tokens.unwrap_or_default();
            let written = usage.cached_write_tokens.unwrap_or_default();
            let input = usage.input_tokens.unwrap_or_default().saturating_add(cached).saturating_add(written);
            return Tokens { input, output: usage.output_tokens.unwrap_or_default(), cached };
        }
        let count = |name: &str| self.quota().and_then(|quota| quota["token_count"][name].as_u64()).unwrap_or_default();
        Tokens { input: count("input_tokens"), output: count("output_tokens"), cached: count("cached_tokens") }
    }

    /// Which model answered, where it is told.
    pub(super) fn model(&self) -> Option<&str> {
        let models = self.quota()?["model_usage"].as_array()?;
        models.iter().filter_map(|model| model["model"].as_str()).find(|model| *model != "auto")
    }

    fn quota(&self) -> Option<&Value> {
        self.meta.as_ref()?.get("quota")
    }
}

#[derive(Deserialize)]
pub(super) struct Told<'a> {
    #[serde(default, rename = "sessionId", deserialize_with = "lenient")]
    pub(super) session: Option<String>,
    #[serde(borrow)]
    pub(super) update: Tool<'a>,
}

#[derive(Default, Deserialize)]
struct Chunk {
    #[serde(default, deserialize_with = "lenient")]
    text: Option<String>,
}

/// What an update tells: the fields of all kinds, read at once, for some are big. A tool most of all.
#[derive(Default, Deserialize)]
pub(super) struct Tool<'a> {
    #[serde(default, rename = "sessionUpdate", deserialize_with = "lenient")]
    pub(super) update: Option<String>,
    #[serde(default, rename = "messageId", deserialize_with = "lenient")]
    pub(super) message: Option<String>,
    #[serde(borrow, default, rename = "_meta")]
    meta: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "lenient")]
    entries: Option<Vec<Entry>>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) cost: Option<Cost>,
    #[serde(default, rename = "toolCallId", deserialize_with = "lenient")]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) title: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) kind: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) status: Option<String>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "lenient")]
    locations: Option<Vec<Place>>,
}

#[derive(Deserialize)]
struct Place {
    #[serde(default, rename = "type", deserialize_with = "lenient")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    path: Option<String>,
}

#[derive(Deserialize)]
struct Printed {
    #[serde(default, deserialize_with = "lenient")]
    content: Option<Chunk>,
}

impl Tool<'_> {
    /// Whether a message is about the program, and not the model's.
    pub(super) fn is_aside(&self) -> bool {
        self.meta.is_some_and(|meta| crate::rpc::value(meta.get())["claudeCode"]["kind"] == "informational")
    }

    /// The text of a piece of a message.
    pub(super) fn text(&self) -> String {
        let chunk: Chunk = self.content.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        chunk.text.unwrap_or_default()
    }

    fn diffs(&self) -> Vec<String> {
        // Most of what tools print is long, and holds none.
        let raw = self.content.filter(|raw| memchr::memmem::find(raw.get().as_bytes(), b"\"diff\"").is_some());
        let parts: Vec<Place> = raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        parts
            .into_iter()
            .filter(|part| part.kind.as_deref() == Some("diff"))
            .filter_map(|part| part.path)
            .take(MANY)
            .collect()
    }

    /// The files it names, each once.
    pub(super) fn files(&self) -> Vec<String> {
        let mut files = self.diffs();
        for place in self.locations.iter().flatten().filter_map(|place| place.path.clone()).take(MANY) {
            if !files.contains(&place) {
                files.push(place);
            }
        }
        files
    }

    /// Whether what it did is a change of the files it names.
    pub(super) fn changes(&self) -> bool {
        matches!(self.kind.as_deref(), Some("edit" | "delete" | "move")) || !self.diffs().is_empty()
    }

    /// Why it failed, in its own words.
    pub(super) fn printed(&self) -> String {
        let parts: Vec<Printed> = self.content.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        parts.into_iter().find_map(|part| part.content?.text).unwrap_or_default()
    }

    /// The same where it is short: a reason, and no output of a program.
    pub(super) fn printed_shortly(&self) -> Option<String> {
        self.content.filter(|raw| raw.get().len() < 2000).map(|_| self.printed())
    }

    /// What it does.
    pub(super) fn words(&self, folder: &str) -> String {
        let title = self.title.as_deref().or(self.name.as_deref()).unwrap_or("a tool").trim();
        let files = self.files();
        let files: Vec<&str> = files.iter().map(|file| words::file(folder, file)).collect();
        let what = if files.is_empty() { title.to_owned() } else { files.join(", ") };
        match self.kind.as_deref() {
            Some("edit") => words::line("Editing", &what),
            Some("delete") => words::line("Deleting", &what),
            Some("move") => words::line("Moving", &what),
            Some("read") => words::line("Reading", &what),
            Some("search") => words::line("Searching", title),
            Some("execute") => words::running(title.trim_matches('`')),
            Some("fetch") => words::line("Fetching", title),
            Some("think") => words::line("Thinking about", title),
            Some("switch_mode") => words::line("Changing its mode:", title),
            _ => words::line("Using", title),
        }
    }
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default, deserialize_with = "lenient")]
    content: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    status: Option<String>,
}

impl Tool<'_> {
    /// The steps of a plan.
    pub(super) fn steps(&mut self) -> Vec<Step> {
        let steps = self.entries.take().into_iter().flatten().take(MANY).filter_map(|entry| {
            let state = match entry.status.as_deref() {
                Some("completed") => StepState::Done,
                Some("in_progress") => StepState::Running,
                _ => StepState::Pending,
            };
            Some(Step { text: entry.content?, state })
        });
        steps.collect()
    }
}

#[derive(Default, Deserialize)]
pub(super) struct Cost {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) amount: Option<f64>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) currency: Option<String>,
}

/// Why a turn failed, by the reason that it ended for. None: it had nothing more to do, or was cancelled. One that is not known may
/// stand for anything.
pub(super) fn stopped(reason: Option<&str>) -> Option<Failure> {
    let mut failure = match reason {
        Some("end_turn" | "cancelled") => return None,
        Some("refusal") => Failure::of(Class::Refused, ""),
        Some("max_tokens") => Failure::answer_too_long(),
        Some("max_turn_requests") => {
            Failure::of(Class::BadConfig, "it stopped before it was done, for it may ask the model no more often")
        }
        Some(reason) => Failure::of(
            Class::Crashed,
            &format!("it stopped for a reason that is not known: {}", shortened(reason, 50)),
        ),
        None => Failure::of(Class::Crashed, "it stopped and did not say why"),
    };
    (failure.retry, failure.resumable) = (false, true);
    Some(failure)
}

/// What an error is: by its code where that is a status of HTTP or the protocol's own, else by what it says.
pub(super) fn failure(failed: &Failed<'_>, now: DateTime<Utc>) -> Failure {
    let message = failed.message.as_deref().unwrap_or_default();
    let data = failed.data.map_or(Value::Null, |raw| crate::rpc::value(raw.get()));
    let details = ["details", "message", "error"].iter().find_map(|name| data[*name].as_str()).or(data.as_str());
    let said = match details {
        Some(details) if message.is_empty() || message == "Internal error" => details.to_owned(),
        _ => message.to_owned(),
    };
    let status = failed.code.and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code));
    let status = status.or_else(|| data["status"].as_u64().and_then(|status| u16::try_from(status).ok()));
    let mut failure = Failure::read(&said, status, now);
    let kind = data["errorKind"].as_str().or_else(|| data["kind"].as_str()).unwrap_or_default();
    let by_kind = match (failed.code, kind) {
        (Some(-32000), _) | (_, "authentication_failed" | "auth_required") => Some(Class::Auth),
        (_, "rate_limit" | "usage_limit" | "billing_error") => Some(Class::Limit),
        (_, "overloaded" | "server_error") => Some(Class::Overloaded),
        (_, "context_full" | "prompt_too_long") => Some(Class::ContextFull),
        _ => None,
    };
    if let Some(class) = by_kind.filter(|class| *class != failure.class) {
        failure = Failure { limit: failure.limit, ..Failure::of(class, &said) };
    }
    if kind == "max_output_tokens" {
        failure = Failure::answer_too_long();
    }
    if failure.class == Class::Limit {
        let until = epoch(&data, 0);
        // What is not in the message may be in what comes with it (`RetryInfo`).
        let beside = || failed.data.and_then(|raw| crate::limits::in_text(raw.get(), now));
        let limit = failure.limit.get_or_insert_with(|| Limit {
            met: true,
            until: None,
            source: LimitSource::Guess,
            window: None,
            model: None,
            used: None,
            text: said.chars().take(300).collect(),
        });
        if until.is_some() {
            (limit.until, limit.source) = (until, LimitSource::Structured);
        } else if limit.until.is_none() {
            limit.until = beside();
            limit.source = if limit.until.is_some() { LimitSource::Text } else { LimitSource::Guess };
        }
    } else {
        failure.limit = None;
    }
    failure
}

/// When a limit ends, where some field has it in seconds.
fn epoch(data: &Value, depth: usize) -> Option<DateTime<Utc>> {
    if depth > 6 {
        return None;
    }
    let fields = data.as_object()?;
    let named = ["resetsAt", "resets_at", "resetAt", "reset_at"].iter().find_map(|name| fields.get(*name)?.as_i64());
    match named.filter(|seconds| (1_000_000_000..100_000_000_000).contains(seconds)) {
        Some(seconds) => DateTime::from_timestamp(seconds, 0),
        None => fields.values().find_map(|value| epoch(value, depth + 1)),
    }
}
