//! What a task asks, in a row for a chat: the buttons that answer it, or why there are none.

use serde::Deserialize;
use serde_json::{Value, json};

use super::text;

/// `body.ask` of a row.
#[derive(Debug, Deserialize)]
pub(super) struct Ask {
    pub id: String,
    #[serde(default)]
    pub title: String,
    /// What is asked about, as far as there is room for it.
    #[serde(default)]
    text: String,
    /// Whether that is all of it: half a command may not be allowed (buzz#4502).
    #[serde(default)]
    whole: bool,
    #[serde(default)]
    options: Vec<Choice>,
    #[serde(default)]
    state: String,
    /// How to answer without a button.
    #[serde(default)]
    hint: String,
}

/// An answer that can be pressed.
#[derive(Debug, Deserialize)]
pub(super) struct Choice {
    /// What the button carries. It is opaque, and good for this answer in this place alone.
    pub key: String,
    pub label: String,
}

// https://discord.com/developers/docs/components/reference
const DISCORD_BUTTONS: usize = 25;
const DISCORD_ROW: usize = 5;
const DISCORD_ID: usize = 100;
const DISCORD_LABEL: usize = 80;
/// Bytes of `callback_data`: <https://core.telegram.org/bots/api#inlinekeyboardbutton>.
const TELEGRAM_DATA: usize = 64;
const TELEGRAM_BUTTONS: usize = 100;
const TELEGRAM_LABEL: usize = 100;

impl Ask {
    pub fn is_open(&self) -> bool {
        self.state == "open"
    }

    /// What can be pressed: all answers or none. What is closed has none (hermes-agent PR89879).
    pub fn choices(&self) -> &[Choice] {
        if self.is_open() && self.whole { &self.options } else { &[] }
    }

    /// Rows of buttons, if all of them can be shown.
    pub fn discord(&self) -> Option<Vec<Value>> {
        let choices = self.choices();
        let id = |choice: &Choice| format!("ask:{}:{}", self.id, choice.key);
        let fits = |choice: &Choice| {
            !choice.key.is_empty() && !choice.label.trim().is_empty() && text::units(&id(choice)) <= DISCORD_ID
        };
        if choices.is_empty() || choices.len() > DISCORD_BUTTONS || !choices.iter().all(fits) {
            return None;
        }
        // Grey, all of them: none is the one to press.
        let button = |choice: &Choice| json!({"type": 2, "style": 2, "label": text::shorten(choice.label.trim(), DISCORD_LABEL), "custom_id": id(choice)});
        let row = |row: &[Choice]| json!({"type": 1, "components": row.iter().map(button).collect::<Vec<_>>()});
        Some(choices.chunks(DISCORD_ROW).map(row).collect())
    }

    /// A keyboard, a button a line, if all of them can be shown.
    pub fn telegram(&self) -> Option<Value> {
        let choices = self.choices();
        let fits = |choice: &Choice| (1..=TELEGRAM_DATA).contains(&choice.key.len()) && !choice.label.trim().is_empty();
        if choices.is_empty() || choices.len() > TELEGRAM_BUTTONS || !choices.iter().all(fits) {
            return None;
        }
        let button = |choice: &Choice| json!([{"text": text::shorten(choice.label.trim(), TELEGRAM_LABEL), "callback_data": choice.key}]);
        Some(choices.iter().map(button).collect())
    }

    /// The message: what the hub's own says above it, and what is asked about. With `markdown` that stands in a code block, where a
    /// sign is a sign: `*` would vanish, and what is between `||` be hidden.
    pub fn said(&self, message: &str, markdown: bool) -> String {
        // Of the one that is closed, how it was closed, too.
        let head: Vec<&str> = message.lines().take(if self.is_open() { 1 } else { 2 }).collect();
        let head = head.join("\n");
        match self.text.trim_end() {
            "" => head,
            text if markdown => format!("{head}\n```\n{}\n```", text.replace("```", "`\u{200b}`\u{200b}`")),
            text => format!("{head}\n{text}"),
        }
    }

    /// How to answer it where it has no buttons; nothing, if it is over.
    pub fn by_hand(&self) -> String {
        match self.hint.trim() {
            _ if !self.is_open() => String::new(),
            "" => "\n\nAnswer it in the hub: `hub inbox` shows it.".into(),
            hint if self.whole => format!("\n\nAnswer it in the hub, or with `{hint}`."),
            hint => format!("\n\n{hint}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(state: &str, whole: bool, options: Value) -> Ask {
        serde_json::from_value(
            json!({"id": "00000000-0000-4000-8000-000000000001", "kind": "approval", "title": "May I?", "text": "Bash\n> make *all*",
            "state": state, "whole": whole, "options": options, "hint": "hub task answer a1b2"}),
        )
        .unwrap()
    }

    fn two() -> Value {
        json!([{"key": "k1", "label": "Allow"}, {"key": "k2", "label": "Deny"}])
    }

    #[test]
    fn an_open_ask_that_is_shown_whole_has_a_button_for_each_answer() {
        let ask = ask("open", true, two());
        let rows = ask.discord().unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(
            rows[0]["components"][1],
            json!({"type": 2, "style": 2, "label": "Deny", "custom_id": "ask:00000000-0000-4000-8000-000000000001:k2"})
        );
        assert_eq!(
            ask.telegram().unwrap(),
            json!([[{"text": "Allow", "callback_data": "k1"}], [{"text": "Deny", "callback_data": "k2"}]])
        );
        assert_eq!(ask.by_hand(), "\n\nAnswer it in the hub, or with `hub task answer a1b2`.");
    }

    #[test]
    fn buzz_4502_a_truncated_input_has_no_buttons() {
        let ask = ask("open", false, two());
        assert!(ask.discord().is_none() && ask.telegram().is_none() && ask.choices().is_empty());
        assert_eq!(ask.by_hand(), "\n\nhub task answer a1b2", "the hint says why");
    }

    #[test]
    fn what_is_asked_about_is_shown_as_it_is() {
        let message = "🟡 a1b2 asks [claude/mac1]: May I?\nBash\n> make *all*";
        assert_eq!(ask("open", true, two()).said(message, false), message);
        assert_eq!(
            ask("open", true, two()).said(message, true),
            "🟡 a1b2 asks [claude/mac1]: May I?\n```\nBash\n> make *all*\n```"
        );
        let closed = "☑️ a1b2 asked [claude/mac1]: May I?\nNobody answered in time.\nBash\n> make *all*";
        assert_eq!(ask("expired", true, json!([])).said(closed, false), closed);
        let fence = Ask { text: "a ```\n@everyone".into(), ..ask("open", true, two()) };
        assert_eq!(fence.said("x", true).matches("```").count(), 2, "nothing ends the block but its end");
        let long = "x".repeat(9000);
        let cut = ask("open", false, json!([])).said(&format!("🟡 a1b2 asks: May I?\n{long}"), false);
        assert_eq!(cut, "🟡 a1b2 asks: May I?\nBash\n> make *all*", "what there is room for, not fifty messages");
    }

    #[test]
    fn hermes_agent_pr89879_what_is_closed_leaves_no_buttons() {
        for state in ["answered", "expired", "withdrawn", ""] {
            let ask = ask(state, true, two());
            assert!(ask.discord().is_none() && ask.telegram().is_none() && ask.choices().is_empty(), "{state}");
            assert_eq!(ask.by_hand(), "");
        }
    }

    #[test]
    fn buttons_that_would_be_refused_are_left_out_all_together() {
        let many = |count: usize| Value::from_iter((0..count).map(|n| json!({"key": format!("k{n}"), "label": "x"})));
        assert_eq!(ask("open", true, many(7)).discord().unwrap().len(), 2, "five in a row");
        assert!(ask("open", true, many(26)).discord().is_none());
        assert!(ask("open", true, many(101)).telegram().is_none());
        for bad in [
            json!([{"key": "k".repeat(65), "label": "x"}]),
            json!([{"key": "", "label": "x"}]),
            json!([{"key": "k", "label": " "}]),
        ] {
            let ask = ask("open", true, bad.clone());
            assert!(ask.discord().is_none() && ask.telegram().is_none(), "{bad}");
        }
        let long = ask("open", true, json!([{"key": "k".repeat(59), "label": "y".repeat(300)}])).discord().unwrap();
        let button = &long[0]["components"][0];
        assert_eq!(button["custom_id"].as_str().unwrap().len(), 100);
        assert_eq!(text::units(button["label"].as_str().unwrap()), 80);
    }
}
