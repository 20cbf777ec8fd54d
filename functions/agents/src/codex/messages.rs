//! As much of the app server's messages as is looked at.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{Class, Event, Limit, LimitSource, Tokens, Window, failure::Failure, rpc::lenient, story::Story};

#[derive(Default, Deserialize)]
pub(super) struct Initialized {
    #[serde(default, rename = "userAgent", deserialize_with = "lenient")]
    pub(super) user_agent: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Opened {
    pub(super) thread: Thread,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) model: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Thread {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) model: Option<String>,
    #[serde(default, rename = "cliVersion", deserialize_with = "lenient")]
    pub(super) version: Option<String>,
}

#[derive(Default, Deserialize)]
pub(super) struct Begun {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) turn: Option<Turn>,
}

#[derive(Default, Deserialize)]
pub(super) struct Turn {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) status: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) error: Option<Fault>,
    #[serde(default, deserialize_with = "lenient")]
    items: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default, rename = "type", deserialize_with = "lenient")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    text: Option<String>,
}

impl Turn {
    /// The last words, which come once more with the end of a turn.
    pub(super) fn last_words(&self) -> Option<&str> {
        let mut words = self.items.iter().flatten().filter(|item| item.kind.as_deref() == Some("agentMessage"));
        words.next_back()?.text.as_deref()
    }
}

/// What a notification tells: the fields of all of them.
#[derive(Deserialize)]
pub(super) struct Told<'a> {
    #[serde(default, rename = "threadId", deserialize_with = "lenient")]
    pub(super) thread: Option<String>,
    #[serde(default, rename = "turnId", deserialize_with = "lenient")]
    pub(super) turn_id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) turn: Option<Turn>,
    #[serde(borrow, default, rename = "requestId")]
    pub(super) request: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) item: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) plan: Option<&'a RawValue>,
    #[serde(default, rename = "tokenUsage", deserialize_with = "lenient")]
    pub(super) usage: Option<Usage>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) error: Option<Fault>,
    #[serde(default, rename = "willRetry", deserialize_with = "lenient")]
    pub(super) will_retry: Option<bool>,
    #[serde(default, rename = "fromModel", deserialize_with = "lenient")]
    pub(super) from_model: Option<String>,
    #[serde(default, rename = "toModel", deserialize_with = "lenient")]
    pub(super) to_model: Option<String>,
}

#[derive(Default, Deserialize)]
pub(super) struct Usage {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) total: Option<Counted>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) last: Option<Counted>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counted {
    #[serde(default, deserialize_with = "lenient")]
    input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    cached_input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    output_tokens: Option<u64>,
}

impl Counted {
    pub(super) fn tokens(&self) -> Tokens {
        Tokens {
            input: self.input_tokens.unwrap_or_default(),
            output: self.output_tokens.unwrap_or_default(),
            cached: self.cached_input_tokens.unwrap_or_default(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Fault {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) message: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    codex_error_info: Option<Value>,
    #[serde(default, deserialize_with = "lenient")]
    additional_details: Option<String>,
}

impl Fault {
    /// What it is, by its own kinds first, and the status of HTTP.
    pub(super) fn read(&self, now: DateTime<Utc>) -> (Failure, Option<u16>) {
        let message = self.message.as_deref().unwrap_or_default();
        // `Reconnecting... 1/5` says nothing; its reason is beside it.
        let message = match &self.additional_details {
            Some(details) if super::exec::again(message).is_some() => details,
            _ => message,
        };
        let (kind, status) = match &self.codex_error_info {
            Some(Value::String(kind)) => (kind.as_str(), None),
            Some(Value::Object(info)) => {
                let status = info.values().next().and_then(|info| info["httpStatusCode"].as_u64());
                (info.keys().next().map_or("", String::as_str), status.and_then(|status| u16::try_from(status).ok()))
            }
            _ => ("", None),
        };
        let status = status.or_else(|| super::exec::status(message));
        let class = match kind {
            "contextWindowExceeded" => Some(Class::ContextFull),
            "usageLimitExceeded" | "sessionBudgetExceeded" | "rateLimitExceeded" => Some(Class::Limit),
            "serverOverloaded" | "internalServerError" | "flexUnavailable" | "policyCapacityUnavailable" => {
                Some(Class::Overloaded)
            }
            "unauthorized" => Some(Class::Auth),
            "modelNotFound" => Some(Class::BadConfig),
            "cyberPolicy" | "bioPolicy" | "misalignmentPolicyViolation" => Some(Class::Refused),
            "tooManyDenials" | "inferenceHookDenied" => Some(Class::Denied),
            _ => None,
        };
        let mut failure = Failure::read(message, status, now);
        match class {
            Some(class) if class != failure.class => {
                let limit = failure.limit.take();
                failure = Failure { limit, ..Failure::of(class, message) };
                // `rateLimitExceeded` without a word of one.
                if class == Class::Limit && failure.limit.is_none() {
                    failure.limit = Some(Limit {
                        met: true,
                        until: None,
                        source: LimitSource::Guess,
                        window: None,
                        model: None,
                        used: None,
                        text: message.chars().take(300).collect(),
                    });
                }
            }
            None if failure.class == Class::Crashed && kind.starts_with("response") => {
                failure = Failure::of(Class::Overloaded, message)
            }
            None if failure.class == Class::Crashed
                && kind == "httpConnectionFailed"
                && status.is_none_or(|status| status >= 500) =>
            {
                failure = Failure::of(Class::Overloaded, message);
            }
            None if kind == "badRequest" => (failure.retry, failure.resumable) = (false, false),
            _ => {}
        }
        if class != Some(Class::Limit) && failure.class != Class::Limit {
            failure.limit = None;
        }
        (failure, status)
    }
}

#[derive(Deserialize)]
pub(super) struct RateLimits {
    #[serde(default, rename = "rateLimits", deserialize_with = "lenient")]
    pub(super) limits: Option<Snapshot>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Snapshot {
    #[serde(default, deserialize_with = "lenient")]
    primary: Option<Share>,
    #[serde(default, deserialize_with = "lenient")]
    secondary: Option<Share>,
    #[serde(default, deserialize_with = "lenient")]
    plan_type: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    rate_limit_reached_type: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Share {
    #[serde(default, deserialize_with = "lenient")]
    used_percent: Option<f64>,
    #[serde(default, deserialize_with = "lenient")]
    window_duration_mins: Option<i64>,
    #[serde(default, deserialize_with = "lenient")]
    resets_at: Option<i64>,
}

/// The windows of the account, as they were last told.
#[derive(Debug, Default)]
pub(super) struct Limits([Option<Share>; 2]);

impl Limits {
    /// Tells what is new of them.
    pub(super) fn take(&mut self, told: Snapshot, story: &mut Story, turn: &mut crate::Turn) {
        // A plan is what ChatGPT sells; who pays by token has none.
        story.figures.notional |= told.plan_type.is_some();
        let mut met: Option<Limit> = None;
        for (before, share) in self.0.iter_mut().zip([told.primary, told.secondary]) {
            let Some(share) = share else { continue };
            let limit = share.limit(told.rate_limit_reached_type.as_deref());
            if limit.met && met.as_ref().is_none_or(|met| met.until < limit.until) {
                met = Some(limit.clone());
            }
            // One that is met is told when it stops a turn: this one may still come through.
            if before.replace(share) != Some(share) && !limit.met {
                turn.events.push(Event::Limit(limit));
            }
        }
        if told.primary.is_some() || told.secondary.is_some() {
            story.limit = met;
        }
    }
}

impl Share {
    fn limit(self, reached: Option<&str>) -> Limit {
        let until = self.resets_at.filter(|at| *at > 0).and_then(|at| DateTime::from_timestamp(at, 0));
        let used = self.used_percent.filter(|used| used.is_finite()).map(|used| (used / 100.0).clamp(0.0, 1.0));
        Limit {
            met: used.is_some_and(|used| used >= 1.0),
            until,
            source: if until.is_some() { LimitSource::Structured } else { LimitSource::Guess },
            window: match self.window_duration_mins {
                Some(1) => Some(Window::Minute),
                Some(300) => Some(Window::FiveHours),
                Some(1440) => Some(Window::Day),
                Some(10080) => Some(Window::SevenDays),
                _ => None,
            },
            model: None,
            used,
            text: reached.unwrap_or_default().chars().take(100).collect(),
        }
    }
}
