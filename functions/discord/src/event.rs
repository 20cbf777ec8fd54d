//! What the Gateway sends, as far as it matters here. The fields read are few on purpose: what Discord adds or changes elsewhere
//! in a message must not keep it from being carried.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A dispatch: its name, and the rest as it came.
#[derive(Deserialize)]
pub(crate) struct Frame<'a> {
    #[serde(borrow, default)]
    t: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    d: Option<&'a RawValue>,
}

/// What this program looks at.
#[derive(Debug)]
pub(crate) enum Event {
    /// A session began; it is this user.
    Ready { user: String },
    /// A session goes on; what was missed has come.
    Resumed,
    /// Somebody wrote something.
    Message(Box<Message>),
    /// Somebody wrote it otherwise.
    Edited(Box<Message>),
    /// Anything else.
    Other,
}

#[derive(Deserialize)]
struct Ready {
    user: User,
}

#[derive(Debug, Deserialize)]
pub(crate) struct User {
    pub id: String,
    #[serde(default)]
    pub username: String,
    #[serde(default)]
    pub bot: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Message {
    pub id: String,
    pub channel_id: String,
    pub guild_id: Option<String>,
    pub channel_type: Option<u8>,
    pub author: User,
    pub webhook_id: Option<String>,
    #[serde(rename = "type", default)]
    pub kind: u8,
    #[serde(default)]
    content: String,
    edited_timestamp: Option<String>,
    message_reference: Option<Reference>,
    #[serde(default)]
    mentions: Vec<User>,
    #[serde(default)]
    attachments: Vec<Attachment>,
    #[serde(default)]
    sticker_items: Vec<Sticker>,
    poll: Option<Poll>,
    #[serde(default)]
    message_snapshots: Vec<Snapshot>,
}

#[derive(Debug, Deserialize)]
struct Reference {
    #[serde(rename = "type", default)]
    kind: u8,
    message_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Attachment {
    url: String,
}

#[derive(Debug, Deserialize)]
struct Sticker {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Poll {
    question: PollText,
    #[serde(default)]
    answers: Vec<PollAnswer>,
}

#[derive(Debug, Deserialize)]
struct PollAnswer {
    poll_media: PollText,
}

#[derive(Debug, Deserialize)]
struct PollText {
    text: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Snapshot {
    message: SnapshotMessage,
}

#[derive(Debug, Deserialize)]
struct SnapshotMessage {
    #[serde(default)]
    content: String,
    #[serde(default)]
    attachments: Vec<Attachment>,
}

/// Reads a frame. The error says where it can not be read, and nothing of what it says.
pub(crate) fn read(text: &str) -> Result<Event, String> {
    let place = |error: serde_json::Error| format!("line {}, column {}", error.line(), error.column());
    let frame: Frame<'_> = serde_json::from_str(text).map_err(place)?;
    let data = frame.d.map_or("null", RawValue::get);
    Ok(match frame.t.as_deref() {
        Some("READY") => Event::Ready { user: serde_json::from_str::<Ready>(data).map_err(place)?.user.id },
        Some("RESUMED") => Event::Resumed,
        Some("MESSAGE_CREATE") => Event::Message(serde_json::from_str(data).map_err(place)?),
        // An update without this time is Discord's own: the preview of a link came.
        Some("MESSAGE_UPDATE") => match serde_json::from_str::<Message>(data).map_err(place)? {
            message if message.edited_timestamp.is_some() => Event::Edited(Box::new(message)),
            _ => Event::Other,
        },
        _ => Event::Other,
    })
}

impl Message {
    /// Whether a person wrote it: no bot (this one among them), no webhook, nothing that Discord says itself.
    pub fn is_a_persons(&self, own: &str) -> bool {
        // Default and reply. A slash command's message (20) is the bot's.
        matches!(self.kind, 0 | 19) && !self.author.bot && self.author.id != own && self.webhook_id.is_none()
    }

    /// What it answers, if it is a reply; a forward is none.
    pub fn answers(&self) -> Option<&str> {
        self.message_reference.as_ref().filter(|reference| reference.kind == 0)?.message_id.as_deref()
    }

    /// What is carried: the text with names where Discord has numbers, then a line for each thing that is no text.
    pub fn text(&self, own: &str) -> String {
        let mut text = self.content.trim();
        // `@bot do this`: it is spoken to, not of.
        for form in [format!("<@{own}>"), format!("<@!{own}>")] {
            text = text.strip_prefix(&form).map_or(text, str::trim_start);
        }
        let mut text = text.to_owned();
        for user in &self.mentions {
            let name = format!("@{}", user.username);
            text = text.replace(&format!("<@{}>", user.id), &name).replace(&format!("<@!{}>", user.id), &name);
        }
        let mut lines: Vec<String> = Vec::new();
        for Snapshot { message } in &self.message_snapshots {
            lines.extend(message.content.lines().map(|line| format!("> {line}")));
            lines.extend(message.attachments.iter().map(|attachment| format!("> {}", attachment.url)));
        }
        lines.extend(self.attachments.iter().map(|attachment| attachment.url.clone()));
        lines.extend(self.sticker_items.iter().map(|sticker| format!("[sticker: {}]", sticker.name)));
        if let Some(poll) = &self.poll {
            lines.push(format!("[poll: {}]", poll.question.text.as_deref().unwrap_or("")));
            lines.extend(
                poll.answers.iter().filter_map(|answer| Some(format!("- {}", answer.poll_media.text.as_ref()?))),
            );
        }
        for line in lines {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&line);
        }
        // Postgres has no such character.
        text.replace('\0', " ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn message(with: Value) -> Message {
        let mut whole = json!({"id": "5", "channel_id": "7", "guild_id": "1", "type": 0, "content": "hello",
            "author": {"id": "2", "username": "ada"}, "attachments": [], "embeds": [], "tts": false});
        whole.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        match read(&json!({"op": 0, "s": 3, "t": "MESSAGE_CREATE", "d": whole}).to_string()).unwrap() {
            Event::Message(message) => *message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_messages_of_people_are_carried() {
        assert!(message(json!({})).is_a_persons("9"));
        assert!(message(json!({"type": 19})).is_a_persons("9"));
        for other in [
            json!({"author": {"id": "9", "username": "hub"}}),
            json!({"author": {"id": "3", "username": "b", "bot": true}}),
            json!({"webhook_id": "4"}),
            json!({"type": 7}),
            json!({"type": 20}),
            json!({"type": 21}),
        ] {
            assert!(!message(other.clone()).is_a_persons("9"), "{other}");
        }
    }

    #[test]
    fn a_reply_answers_and_a_forward_does_not() {
        assert_eq!(message(json!({"message_reference": {"message_id": "3"}})).answers(), Some("3"));
        assert_eq!(message(json!({"message_reference": {"type": 0, "message_id": "3"}})).answers(), Some("3"));
        let forward = message(json!({"content": "", "message_reference": {"type": 1, "message_id": "3"},
            "message_snapshots": [{"message": {"content": "a\nb", "attachments": [{"url": "https://x/1"}]}}]}));
        assert_eq!((forward.answers(), forward.text("9").as_str()), (None, "> a\n> b\n> https://x/1"));
    }

    #[test]
    fn attachments_and_other_parts_become_lines() {
        let said = message(json!({"content": "<@!9> look <@2> \u{0}", "mentions": [{"id": "2", "username": "ada"}],
            "attachments": [{"url": "https://cdn/x.png", "filename": "x.png"}], "sticker_items": [{"name": "wave"}],
            "poll": {"question": {"text": "Which?"}, "answers": [{"poll_media": {"text": "this"}}, {"poll_media": {}}]}}));
        assert_eq!(said.text("9"), "look @ada  \nhttps://cdn/x.png\n[sticker: wave]\n[poll: Which?]\n- this");
        assert_eq!(message(json!({"content": "", "attachments": [{"url": "u"}]})).text("9"), "u");
        assert_eq!(message(json!({"content": " "})).text("9"), "");
    }

    #[test]
    fn an_error_about_a_frame_contains_none_of_its_text() {
        let error = read(r#"{"t": "MESSAGE_CREATE", "d": {"id": 5, "content": "hush"}}"#).unwrap_err();
        assert!(error.starts_with("line 1"), "{error}");
        assert!(matches!(read(r#"{"t":"TYPING_START","d":{"a":[1]}}"#), Ok(Event::Other)));
        let update = |edited: &str| {
            let data = r#"{"id":"5","channel_id":"7","content":"x","author":{"id":"2"},"edited_timestamp":EDITED}"#;
            read(&format!(r#"{{"t":"MESSAGE_UPDATE","d":{}}}"#, data.replace("EDITED", edited)))
        };
        assert!(matches!(update(r#""2026-11-26T10:00:00Z""#), Ok(Event::Edited(_))));
        assert!(matches!(update("null"), Ok(Event::Other)), "the preview of a link");
        assert!(matches!(read(r#"{"t":null,"op":11,"d":null}"#), Ok(Event::Other)));
        assert!(
            matches!(read(r#"{"t":"READY","d":{"user":{"id":"9"},"v":10}}"#), Ok(Event::Ready { user }) if user == "9")
        );
    }
}
