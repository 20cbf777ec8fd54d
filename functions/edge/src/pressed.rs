//! What the database says of a button that was pressed: `{outcome, text}`.

use serde_json::Value;

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is the answer.
    Answered,
    /// Somebody else answered, or nobody did in time, or nobody waits for it any more.
    Over,
    /// Nobody knows whose account it is.
    Unlinked,
    /// It is known, and may not answer this.
    NotAllowed,
    /// There is no such button.
    Unknown,
}

impl Outcome {
    /// The outcome, and its words.
    pub fn read(value: &Value) -> (Self, &str) {
        let outcome = match value.get("outcome").and_then(Value::as_str) {
            Some("answered") => Self::Answered,
            Some("already" | "closed") => Self::Over,
            Some("unlinked") => Self::Unlinked,
            Some("not_allowed") => Self::NotAllowed,
            _ => Self::Unknown,
        };
        let said = value.get("text").and_then(Value::as_str).filter(|text| !text.is_empty());
        let text = said.unwrap_or(match outcome {
            Self::Answered => "Answered.",
            Self::Over => "This is answered already.",
            Self::Unlinked => "This account is not linked: `hub link` shows a code for it.",
            Self::NotAllowed => "You may not answer this.",
            Self::Unknown => "This button means nothing any more.",
        });
        (outcome, text)
    }
}
