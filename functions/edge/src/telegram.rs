//! `telegram-webhook`: what is written in a bridged chat. Anything but 2xx is sent again, so what can not become anything is answered
//! like what did; a message is known again by its id in its chat. What is no words becomes a line that says what came, and what is not
//! carried at all is named in the answer. The table of it: tests/edge/README.md. A press of a button is an answer to what a task asked, and
//! `/link CODE` says whose account it is. <https://core.telegram.org/bots/api#update>

use crate::{
    Problem, Request, Response, Secrets, Step,
    call::{Answers, Call},
    json,
    pressed::Outcome,
    signature,
};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use std::{borrow::Cow, collections::BTreeMap, fmt::Display};

/// How the database knows it.
const NAME: &str = "telegram";
/// A chat that is bridged to nothing, or text that is refused: to send it again would change nothing, and whoever gets anything but 2xx
/// sends it again. What passes is sent again.
pub const ANSWERS: Answers = Answers::new(
    |_, _| taken(),
    |refused, _| {
        let problem = refused.problem();
        if problem.status < 500 && problem.status != 429 { taken() } else { problem.into() }
    },
);
/// Of a press, whose number there is what it is about. Telegram carries out the one method that an answer names: so the press is
/// answered once, and without a token. The keyboard goes with the edit that closes the question.
const PRESSED: Answers = Answers::new(
    |value, press| {
        let (outcome, text) = Outcome::read(value);
        pressed(press, text, outcome != Outcome::Answered)
    },
    |refused, press| {
        let problem = refused.problem();
        if problem.status < 500 { pressed(press, &problem.words(), true) } else { problem.into() }
    },
);
/// Of a code, written in the chat that it is about.
const LINKED: Answers = Answers::new(
    |value, chat| said(chat, None, value.get("text").and_then(Value::as_str).unwrap_or("Done.")),
    |refused, chat| {
        let problem = refused.problem();
        if problem.status < 500 { said(chat, None, &problem.words()) } else { problem.into() }
    },
);
/// What is shown of a press, in UTF-16 units.
const SHOWN: usize = 200;
/// Bytes that a button may carry.
const CARRIED: usize = 64;

/// What every update has, and no other body.
#[derive(Deserialize)]
struct Update {
    #[serde(rename = "update_id")]
    _update_id: i64,
}

/// An object as it came: what is not looked at is not read, however deep it is.
type Fields<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// The kinds of update that are a message, and whether it is an older one's new words.
const MESSAGES: [(&str, bool); 4] =
    [("message", false), ("channel_post", false), ("edited_message", true), ("edited_channel_post", true)];

#[derive(Deserialize)]
struct Message {
    message_id: i64,
    message_thread_id: Option<i64>,
    // Telegram gives a number of that name to every reply in a group; a topic it is only where this says so.
    #[serde(default)]
    is_topic_message: bool,
    chat: Chat,
    from: Option<User>,
    // Who writes as a chat: an anonymous administrator, a person as their channel, a channel itself. `from` is then a stand-in.
    sender_chat: Option<Chat>,
    text: Option<String>,
    #[serde(default)]
    entities: Vec<Entity>,
    caption: Option<String>,
    #[serde(default)]
    caption_entities: Vec<Entity>,
    reply_to_message: Option<Answered>,
    forward_origin: Option<Origin>,
}

#[derive(Deserialize)]
struct Press {
    id: String,
    from: User,
    message: Option<Pressed>,
    data: Option<String>,
}

/// What the button is on, of which Telegram shows no more than the place if it is old.
#[derive(Deserialize)]
struct Pressed {
    chat: Chat,
}

#[derive(Deserialize)]
struct Answered {
    message_id: i64,
}

#[derive(Deserialize)]
struct Chat {
    id: i64,
    #[serde(rename = "type", default)]
    kind: String,
    title: Option<String>,
    username: Option<String>,
}

#[derive(Deserialize)]
struct User {
    id: Option<i64>,
    #[serde(default)]
    is_bot: bool,
    #[serde(default)]
    first_name: String,
    username: Option<String>,
}

#[derive(Deserialize)]
struct Entity {
    #[serde(rename = "type")]
    kind: String,
    // In UTF-16 units.
    offset: usize,
    length: usize,
    url: Option<String>,
}

#[derive(Deserialize)]
struct Origin {
    sender_user: Option<User>,
    sender_user_name: Option<String>,
    sender_chat: Option<Chat>,
    chat: Option<Chat>,
}

/// Whether it is Telegram that speaks: known before its body is.
pub fn known(request: &Request<'_>, secrets: &Secrets) -> Result<(), Problem> {
    let secret = secrets.telegram_webhook.as_ref().ok_or_else(|| {
        Problem::new(503, "Telegram's webhook is not configured here")
            .hint("Set TELEGRAM_WEBHOOK_SECRET to the secret_token given to setWebhook.")
    })?;
    let given = (request.header)("x-telegram-bot-api-secret-token").unwrap_or("");
    if !signature::same(secret.expose_secret().as_bytes(), given.as_bytes()) {
        return Err(Problem::new(401, "the secret token is missing or wrong"));
    }
    Ok(())
}

pub fn plan(request: &Request<'_>) -> Result<Step, Problem> {
    let bad = |error: &dyn Display| Problem::new(400, format!("the body is no update of Telegram: {error}"));
    let text = json::whole(request.body).map_err(|error| bad(&error))?;
    let _: Update = serde_json::from_str(&text).map_err(|error| bad(&error))?;
    let update: Fields<'_> = serde_json::from_str(&text).map_err(|error| bad(&error))?;
    let is_there = |(kind, edited)| {
        let raw = update.get(kind).map(|raw| raw.get()).filter(|raw| *raw != "null")?;
        Some((raw, edited))
    };
    if let Some((raw, _)) = is_there(("callback_query", false)) {
        return Ok(press(serde_json::from_str(raw).map_err(|error| bad(&error))?));
    }
    let Some((raw, edited)) = MESSAGES.into_iter().find_map(is_there) else {
        let kind = update.keys().find(|kind| *kind != "update_id").map_or("an empty update", |kind| kind);
        return Ok(ignored(&format!("{} is not carried", json::plain(kind))));
    };
    let message: Message = serde_json::from_str(raw).map_err(|error| bad(&error))?;
    let fields: Fields<'_> = serde_json::from_str(raw).map_err(|error| bad(&error))?;
    if let Some(code) = message.code() {
        return Ok(link(&message, code));
    }
    let (content, words) = message.content(&fields);
    if edited && !words {
        return Ok(ignored("an edit of what is no text is not carried"));
    }
    let (author, author_id, person) = message.author();
    let (target, elsewhere) = message.place();
    let call = Call::Bridged {
        provider: NAME,
        target,
        elsewhere,
        external: message.message_id.to_string(),
        author_id: author_id.map(|id| id.to_string()),
        author: author.replace('\0', " "),
        content: content.replace('\0', " "),
        reply_to: message.reply_to_message.map(|answered| answered.message_id.to_string()),
        interaction: false,
        kind: match (edited, words && person) {
            (true, _) => "edit",
            (false, true) => "message",
            (false, false) => "note",
        },
    };
    Ok(Step::Call(call, ANSWERS))
}

fn ignored(why: &str) -> Step {
    Step::Answer(Response::json(200, &json!({ "ignored": why })))
}

/// All that Telegram wants to know.
fn taken() -> Response {
    Response::json(200, &json!({}))
}

/// Says to who pressed what became of it; what they have to see stays until they have.
fn pressed(press: &str, text: &str, stays: bool) -> Response {
    let mut left = SHOWN;
    let fits = |c: &char| {
        let fits = c.len_utf16() <= left;
        left = if fits { left - c.len_utf16() } else { 0 };
        fits
    };
    let text: String = text.chars().take_while(fits).collect();
    let method = "answerCallbackQuery";
    Response::json(200, &json!({"method": method, "callback_query_id": press, "text": text, "show_alert": stays}))
}

/// Says something in a chat.
fn said(chat: &str, topic: Option<i64>, text: &str) -> Response {
    let chat = chat.parse::<i64>().map_or_else(|_| chat.into(), Value::from);
    let mut body = json!({"method": "sendMessage", "chat_id": chat, "text": text});
    if let Some(topic) = topic {
        body["message_thread_id"] = topic.into();
    }
    Response::json(200, &body)
}

fn press(press: Press) -> Step {
    let nothing = || Step::Answer(pressed(&press.id, "This is not something that can be pressed here.", true));
    let Press {
        data: Some(key),
        message: Some(Pressed { chat }),
        from: User { id: Some(author), is_bot: false, .. },
        ..
    } = &press
    else {
        return nothing();
    };
    if key.is_empty() || key.len() > CARRIED || key.contains('\0') {
        return nothing();
    }
    let call = Call::Pressed {
        provider: NAME,
        key: key.clone().into(),
        author_id: author.to_string(),
        chat: format!("{}:{}", if chat.kind == "private" { "user" } else { "channel" }, chat.id),
    };
    Step::Call(call, PRESSED.about(press.id))
}

/// A code is for the bot alone: where others read it, it is not taken, and what it is written in is no message either.
fn link(message: &Message, code: &str) -> Step {
    let chat = message.chat.id.to_string();
    let topic = message.message_thread_id.filter(|_| message.is_topic_message);
    let (author, author_id, person) = message.author();
    let author_id = author_id.filter(|_| person && message.sender_chat.is_none());
    match author_id.filter(|_| message.chat.kind == "private") {
        Some(_) if code.is_empty() => {
            Step::Answer(said(&chat, topic, "Write /link and the code that `hub link` shows: /link CODE"))
        }
        Some(account) => {
            let call = Call::Linked {
                provider: NAME,
                author_id: account.to_string(),
                author: author.replace('\0', " "),
                code: code.replace('\0', " ").into(),
            };
            Step::Call(call, LINKED.about(chat))
        }
        None if person => {
            let text = "Write /link and your code to me alone, in a private chat. Others have seen this one: make another with `hub link`.";
            Step::Answer(said(&chat, topic, text))
        }
        None => ignored("a code of another bot is not taken"),
    }
}

impl Chat {
    fn name(&self) -> String {
        let username = || self.username.as_ref().map(|name| format!("@{name}"));
        self.title.clone().or_else(username).unwrap_or_else(|| "a chat".into())
    }
}

impl User {
    fn name(&self) -> String {
        self.username.as_ref().map_or_else(|| self.first_name.clone(), |name| format!("@{name}"))
    }
}

impl Message {
    /// What stands behind `/link`, if that is what it says itself.
    fn code(&self) -> Option<&str> {
        let text = self.text.as_deref().filter(|_| self.forward_origin.is_none())?.trim();
        let (command, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let name = command.split_once('@').map_or(command, |(name, _)| name);
        name.eq_ignore_ascii_case("/link").then(|| rest.trim())
    }

    /// Under which name, by which account, and whether its words may start anything at all: a bot's may not, or two would talk for ever.
    fn author(&self) -> (String, Option<i64>, bool) {
        match (&self.sender_chat, &self.from) {
            (Some(chat), _) => (chat.name(), Some(chat.id), true),
            (None, Some(user)) => (user.name(), user.id, !user.is_bot),
            (None, None) => (self.chat.name(), Some(self.chat.id), true),
        }
    }

    /// As a bridge is written, and what it is besides: a topic is of its chat.
    fn place(&self) -> (String, Vec<String>) {
        let id = self.chat.id;
        let topic = self.message_thread_id.filter(|_| self.is_topic_message);
        match (topic, self.chat.kind == "private") {
            (None, false) => (format!("channel:{id}"), vec![]),
            (Some(topic), false) => (format!("channel:{id}/{topic}"), vec![format!("channel:{id}")]),
            // What is said to a person goes to the same id.
            (None, true) => (format!("user:{id}"), vec![format!("channel:{id}")]),
            (Some(topic), true) => {
                (format!("user:{id}/{topic}"), [format!("channel:{id}/{topic}"), format!("user:{id}")].into())
            }
        }
    }

    /// Its words and a line for each thing that is none; and whether there are words.
    fn content(&self, fields: &Fields<'_>) -> (String, bool) {
        let (text, entities) = match &self.text {
            Some(text) => (Some(text), &self.entities),
            None => (self.caption.as_ref(), &self.caption_entities),
        };
        let text = text.map(|text| linked(text, entities)).filter(|text| !text.trim().is_empty());
        let words = text.is_some();
        let mut lines = Vec::new();
        if let Some(origin) = &self.forward_origin {
            lines.push(format!("[forwarded from {}]", origin.name()));
            lines.extend(text.iter().flat_map(|text| text.lines()).map(|line| format!("> {line}")));
        } else {
            lines.extend(text);
        }
        // What is deeper than it may be has no details.
        let value = |raw: &RawValue| serde_json::from_str(raw.get()).unwrap_or(Value::Null);
        let there = fields.iter().filter(|(_, raw)| raw.get() != "null");
        let mut things: Vec<String> = there.filter_map(|(name, raw)| thing(name, &value(raw))).collect();
        // A GIF comes as a file, too.
        if fields.contains_key("animation") {
            things.retain(|line| !line.starts_with("[file"));
        }
        lines.extend(things);
        if lines.is_empty() {
            lines.push("[a message of a kind that is not known here]".into());
        }
        (lines.join("\n"), words)
    }
}

impl Origin {
    fn name(&self) -> String {
        let user = self.sender_user.as_ref().map(User::name);
        let chat = || self.sender_chat.as_ref().or(self.chat.as_ref()).map(Chat::name);
        user.or_else(|| self.sender_user_name.clone()).or_else(chat).unwrap_or_else(|| "somebody".into())
    }
}

/// The text, with the address of each link that stands behind words.
fn linked(text: &str, entities: &[Entity]) -> String {
    let mut links: Vec<(usize, &str)> = entities
        .iter()
        .filter(|entity| entity.kind == "text_link")
        .filter_map(|entity| Some((entity.offset.checked_add(entity.length)?, entity.url.as_deref()?)))
        .collect();
    links.sort_by_key(|(end, _)| *end);
    let mut links = links.into_iter().peekable();
    let mut with = String::with_capacity(text.len());
    let mut units = 0;
    for char in text.chars() {
        while let Some((_, url)) = links.next_if(|(end, _)| *end <= units && units > 0) {
            with.push_str(&format!(" ({url})"));
        }
        with.push(char);
        units += char.len_utf16();
    }
    for (_, url) in links.filter(|(end, _)| *end <= units) {
        with.push_str(&format!(" ({url})"));
    }
    with
}

/// Fields that are no thing of their own: what describes the message, or says again what another field says.
const ABOUT: [&str; 46] = [
    "message_id",
    "message_thread_id",
    "is_topic_message",
    "chat",
    "from",
    "text",
    "entities",
    "caption",
    "caption_entities",
    "reply_to_message",
    "forward_origin",
    "date",
    "edit_date",
    "author_signature",
    "sender_boost_count",
    "sender_business_bot",
    "sender_tag",
    "business_connection_id",
    "via_bot",
    "has_protected_content",
    "is_automatic_forward",
    "is_from_offline",
    "is_paid_post",
    "paid_star_count",
    "suggested_post_info",
    "direct_messages_topic",
    "media_group_id",
    "effect_id",
    "show_caption_above_media",
    "has_media_spoiler",
    "link_preview_options",
    "reply_markup",
    "quote",
    "external_reply",
    "reply_to_story",
    "reply_to_checklist_task_id",
    "forward_from",
    "forward_from_chat",
    "forward_from_message_id",
    "forward_signature",
    "forward_sender_name",
    "forward_date",
    "new_chat_member",
    "new_chat_participant",
    "left_chat_participant",
    "sender_chat",
];

/// A line for something that is no text; none for what is about the message.
fn thing(name: &str, value: &Value) -> Option<String> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    let person = |value: &Value| match (value["username"].as_str(), value["first_name"].as_str()) {
        (Some(name), _) => format!("@{name}"),
        (None, first) => first.unwrap_or("somebody").to_owned(),
    };
    let named = |what: &str, details: &[Option<String>]| {
        let details: Vec<&str> = details.iter().flatten().map(String::as_str).collect();
        if details.is_empty() { format!("[{what}]") } else { format!("[{what}: {}]", details.join(", ")) }
    };
    let file_name = || text("file_name").map(str::to_owned);
    let (size, length) = (size(value), length(value));
    Some(match name {
        name if ABOUT.contains(&name) => return None,
        "photo" => {
            let largest = value.as_array().and_then(|sizes| sizes.last()).unwrap_or(&Value::Null);
            let pixels = largest["width"].as_u64().zip(largest["height"].as_u64());
            named("photo", &[pixels.map(|(width, height)| format!("{width}×{height}")), self::size(largest)])
        }
        "voice" => named("voice message", &[length, size]),
        "video_note" => named("video message", &[length, size]),
        "document" => named("file", &[file_name(), size]),
        "video" => named("video", &[file_name(), length, size]),
        "animation" => named("animation", &[file_name(), length, size]),
        "audio" => {
            let title = match (text("performer"), text("title")) {
                (Some(performer), Some(title)) => Some(format!("{performer} – {title}")),
                (_, title) => title.map(str::to_owned).or_else(file_name),
            };
            named("audio", &[title, length, size])
        }
        "sticker" => named("sticker", &[text("emoji").map(str::to_owned)]),
        "dice" => named("dice", &[text("emoji").map(str::to_owned), value["value"].as_i64().map(|n| n.to_string())]),
        "contact" => named("contact", &[Some(person(value))]),
        "location" | "venue" => {
            let place = if name == "venue" { &value["location"] } else { value };
            let at = place["latitude"].as_f64().zip(place["longitude"].as_f64());
            let at = at.map(|(latitude, longitude)| format!("{latitude:.5} {longitude:.5}"));
            // A venue comes with its location beside it, which says less.
            named(name, &[text("title").map(str::to_owned), text("address").map(str::to_owned), at])
        }
        "poll" => {
            let mut lines = vec![format!("[poll: {}]", text("question").unwrap_or(""))];
            let options = value["options"].as_array().into_iter().flatten();
            lines.extend(options.filter_map(|option| Some(format!("- {}", option["text"].as_str()?))));
            lines.join("\n")
        }
        "checklist" => {
            let mut lines = vec![format!("[checklist: {}]", text("title").unwrap_or(""))];
            let tasks = value["tasks"].as_array().into_iter().flatten();
            lines.extend(tasks.filter_map(|task| Some(format!("- {}", task["text"].as_str()?))));
            lines.join("\n")
        }
        "new_chat_members" => {
            let people: Vec<String> = value.as_array().into_iter().flatten().map(person).collect();
            named("joined", &[Some(people.join(", "))])
        }
        "left_chat_member" => named("left", &[Some(person(value))]),
        "new_chat_title" => named("the chat's name is now", &[value.as_str().map(str::to_owned)]),
        "forum_topic_created" => named("topic opened", &[text("name").map(str::to_owned)]),
        "forum_topic_edited" => named("topic changed", &[text("name").map(str::to_owned)]),
        "migrate_to_chat_id" => {
            format!("[this group has become another chat: give its bridge the target channel:{value}]")
        }
        "migrate_from_chat_id" => format!("[this chat was the group channel:{value} before]"),
        // What Telegram adds one day, too: its name says what it is.
        other => format!("[{}]", other.replace('_', " ")),
    })
}

fn size(value: &Value) -> Option<String> {
    let bytes = value["file_size"].as_u64()?;
    let (unit, name) = match bytes {
        0..1_000 => return Some(format!("{bytes} B")),
        1_000..1_000_000 => (1_000, "KB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    let tenths = bytes / (unit / 10);
    Some(if tenths >= 100 || tenths.is_multiple_of(10) {
        format!("{} {name}", tenths / 10)
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    })
}

fn length(value: &Value) -> Option<String> {
    let seconds = value["duration"].as_u64()?;
    Some(format!("{}:{:02}", seconds / 60, seconds % 60))
}
