//! Telegram's bots. Text goes as it is, without a parse mode: nothing in it is markup. <https://core.telegram.org/bots/api#sendmessage>

use hub::types::Outgoing;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{
    Arrived, Carrier, Chat, Failure, Target,
    ask::Ask,
    discord::below,
    http::{self, Answer, Limit},
    is_number, text,
};

const MESSAGE: usize = 4096;
/// What is said before a text whose topic is gone, at most.
const GONE: usize = 60;
const ANSWER_BYTES: usize = 256 * 1024;

#[derive(Deserialize)]
struct Reply {
    ok: bool,
    #[serde(default)]
    result: Value,
    #[serde(default)]
    description: String,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
struct Parameters {
    retry_after: Option<f64>,
    migrate_to_chat_id: Option<i64>,
}

pub(super) async fn deliver(
    carrier: &Carrier,
    row: &Outgoing,
    secret: &SecretString,
    parts: &mut Vec<String>,
    until: Instant,
) -> Result<Arrived, Failure> {
    let chat = Chat::of(row)?;
    let target = Target::parse(&row.target)?;
    let name = &row.secret_name;
    let token = secret.expose_secret();
    // It stands in the path: nothing but a token may be there.
    if !token.split_once(':').is_some_and(|(id, key)| {
        is_number(id) && !key.is_empty() && key.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
    }) {
        return Err(Failure::for_now(format!("{name} is no token of a bot: <number>:<key>")));
    }
    let mut place = place(&target)?;
    let method = |method: &str| below(&carrier.settings.telegram, &[&format!("bot{token}"), method]);
    let (send, edit) = (method("sendMessage"), method("editMessageText"));
    let keys = [format!("telegram {name}"), format!("telegram {name} {}", row.target)];
    let ask = async |url: &url::Url, body: &Map<String, Value>| {
        let request = || carrier.trusted.post(url.clone()).json(body);
        http::call(&carrier.holds, [&keys[0], &keys[1]], until, ANSWER_BYTES, limit, request).await
    };
    let said = match (&chat.ask, chat.speaker()) {
        (Some(ask), _) => ask.said(&chat.text, false),
        (None, Some(name)) => format!("{}: {}", name.replace(char::is_control, " "), chat.text),
        (None, None) => chat.text.clone(),
    };
    let mut said = text::unmentioned(&said, false);
    let mut note = None;
    // A keyboard under all that it is about, or none: of two messages one could be read alone.
    let keyboard = chat.ask.as_ref().and_then(Ask::telegram).filter(|_| text::units(&said) <= MESSAGE - GONE);
    if let Some(ask) = chat.ask.as_ref().filter(|_| keyboard.is_none()) {
        said.push_str(&ask.by_hand());
    }

    let short = text::one(&said, MESSAGE, false);
    if let Some(message) = row.edit_of.as_deref().filter(|id| row.kind == "edit" && is_number(id)) {
        let mut body = place.clone();
        body.remove("message_thread_id");
        body.insert("message_id".into(), number(message));
        body.insert("text".into(), short.clone().into());
        if chat.ask.is_some() {
            let keyboard = keyboard.clone().unwrap_or_else(|| json!([]));
            body.insert("reply_markup".into(), json!({"inline_keyboard": keyboard}));
        }
        let answer = ask(&edit, &body).await?;
        let reply = reply(&answer);
        let says = |words: &str| reply.description.contains(words);
        if reply.ok || says("message is not modified") {
            return Ok(Arrived::as_id(message.to_owned()));
        }
        if !(says("message to edit not found") || says("message can't be edited") || says("MESSAGE_ID_INVALID")) {
            return Err(refused(&answer, &reply, name));
        }
        // Somebody deleted it: it needs no more. Of progress, what comes later edits the new one.
        if !row.is_progress {
            return Ok(Arrived::as_id(message.to_owned()));
        }
    }

    let cut = |said: &str| match text::split(said, MESSAGE, false) {
        _ if row.is_progress || chat.in_place => vec![text::one(said, MESSAGE, false)],
        split if split.is_empty() => vec!["—".to_owned()],
        split => split,
    };
    let mut split = cut(&said);
    let mut n = parts.len();
    while let Some(part) = split.get(n) {
        let mut body = place.clone();
        body.insert("text".into(), part.as_str().into());
        if let Some(keyboard) = keyboard.as_ref().filter(|_| split.len() == 1) {
            body.insert("reply_markup".into(), json!({"inline_keyboard": keyboard}));
        }
        if let Some(asked) = row.reply_to.as_deref().filter(|id| n == 0 && is_number(id)) {
            let reference = json!({"message_id": number(asked), "allow_sending_without_reply": true});
            body.insert("reply_parameters".into(), reference);
        }
        let answer = ask(&send, &body).await?;
        let reply = reply(&answer);
        if let Some((topic, why)) = target.topic.zip(gone(&reply)).filter(|_| body.contains_key("message_thread_id")) {
            // The chat is there. What was sent of it in the topic is not sent again.
            place.remove("message_thread_id");
            if n == 0 {
                said = format!("(topic {topic} {why})\n{said}");
                split = cut(&said);
            }
            note = Some(format!("its topic {why}: what is said here goes to the chat itself. Give it another target."));
            continue;
        }
        if !reply.ok {
            return Err(refused(&answer, &reply, name));
        }
        let Some(id) = reply.result.get("message_id").and_then(Value::as_i64) else {
            return Err(Failure::for_now("Telegram's answer can not be read"));
        };
        if split.len() == 1 {
            return Ok(Arrived { id: Some(id.to_string()), note });
        }
        parts.push(id.to_string());
        n += 1;
    }
    Ok(Arrived { id: parts.first().cloned(), note })
}

/// What became of the topic, if it is the topic that does not take the message.
fn gone(reply: &Reply) -> Option<&'static str> {
    let says = |words: &str| !reply.ok && reply.description.to_ascii_lowercase().contains(words);
    if says("message thread not found") || says("topic_deleted") || says("topic_id_invalid") {
        Some("is gone")
    } else {
        says("topic_closed").then_some("is closed")
    }
}

/// `chat_id` and, for a topic, `message_thread_id`.
fn place(target: &Target<'_>) -> Result<Map<String, Value>, Failure> {
    let mut place = Map::new();
    let id = target.id;
    let named = id.strip_prefix('@').is_some_and(|name| !name.is_empty() && !target.user);
    if is_number(id.strip_prefix('-').unwrap_or(id)) {
        place.insert("chat_id".into(), number(id));
    } else if named {
        place.insert("chat_id".into(), id.into());
    } else {
        return Err(Failure::for_good("Telegram's chats are numbers, or public names with @"));
    }
    match target.topic {
        Some(topic) if is_number(topic) => drop(place.insert("message_thread_id".into(), number(topic))),
        Some(_) => return Err(Failure::for_good("a topic of Telegram is a number")),
        None => {}
    }
    Ok(place)
}

fn number(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| text.into(), Value::from)
}

/// What it says; of something that is not Telegram's own answer, that it is not well.
fn reply(answer: &Answer) -> Reply {
    answer.json().unwrap_or(Reply {
        ok: false,
        result: Value::Null,
        description: String::new(),
        parameters: Parameters::default(),
    })
}

fn limit(answer: &Answer) -> Option<Limit> {
    (answer.status == 429).then(|| {
        let after = reply(answer).parameters.retry_after.and_then(http::seconds).map(http::bounded);
        // Telegram does not say whether it means the chat or the bot. Of the chat nothing else is sent meanwhile.
        Limit { after: after.or_else(|| answer.retry_after()), global: false }
    })
}

fn refused(answer: &Answer, reply: &Reply, name: &str) -> Failure {
    let words = text::shorten(&reply.description.replace(char::is_control, " "), 150);
    let why = if words.is_empty() { String::new() } else { format!(": {words}") };
    if let Some(chat) = reply.parameters.migrate_to_chat_id {
        return Failure::for_good(format!(
            "the group has become another chat: give the bridge the target channel:{chat}"
        ));
    }
    match answer.status {
        // It answers 404 to a token that is none.
        401 | 404 => Failure::for_now(format!("Telegram does not take the token in {name}")),
        400 | 403 | 413 => Failure::for_good(format!("Telegram answered {}{why}", answer.status)),
        status => Failure {
            retry_after: answer.retry_after(),
            ..Failure::for_now(format!("Telegram answered {status}{why}"))
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_telegram_target_is_a_chat_and_optionally_a_topic() {
        let of = |text: &'static str| Target::parse(text).and_then(|target| place(&target)).map(Value::from).ok();
        assert_eq!(
            of("channel:-1001234567890/42"),
            Some(json!({"chat_id": -1_001_234_567_890_i64, "message_thread_id": 42}))
        );
        assert_eq!(of("user:77"), Some(json!({"chat_id": 77})));
        assert_eq!(of("channel:@news"), Some(json!({"chat_id": "@news"})));
        for bad in ["channel:news", "user:@ada", "77", "channel:1/x", "channel:@", "channel:--1", "channel:"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
