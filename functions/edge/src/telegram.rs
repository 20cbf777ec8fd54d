//! `telegram-webhook`: a message in a bridged chat. Anything but 2xx is sent again, so what can not become anything is answered
//! like what did; an update is known again by its id.

use crate::{Problem, Request, Response, Secrets, Step, call::Call, signature};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;

/// How the database knows it.
pub const NAME: &str = "telegram";

#[derive(Deserialize)]
struct Update {
    // Read, so that a body without it is no update. The message's own number is what is answered and known again.
    #[serde(rename = "update_id")]
    _update_id: i64,
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Message {
    message_id: i64,
    message_thread_id: Option<i64>,
    // Telegram gives a number of that name to every reply in a group; a topic it is only where this says so.
    #[serde(default)]
    is_topic_message: bool,
    chat: Chat,
    from: Option<User>,
    text: Option<String>,
    caption: Option<String>,
    reply_to_message: Option<Box<Answered>>,
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
    let update: Update = serde_json::from_slice(request.body)
        .map_err(|error| Problem::new(400, format!("the body is no update of Telegram: {error}")))?;
    let Some(message) = update.message else { return Ok(Step::Answer(answer())) };
    let (Some(content), Some(from)) = (message.text.or(message.caption), message.from.filter(|from| !from.is_bot))
    else {
        return Ok(Step::Answer(answer()));
    };
    let id = message.chat.id;
    let target = match message.message_thread_id.filter(|_| message.is_topic_message) {
        Some(topic) => format!("channel:{id}/{topic}"),
        // As a bridge to a person is written; what is said to them goes to the same id.
        None if message.chat.kind == "private" => format!("user:{id}"),
        None => format!("channel:{id}"),
    };
    Ok(Step::Call(Call::Bridged {
        provider: NAME,
        target,
        external: message.message_id.to_string(),
        author_id: from.id.map(|id| id.to_string()),
        author: from.username.map_or(from.first_name, |name| format!("@{name}")).replace('\0', " "),
        content: content.replace('\0', " "),
        reply_to: message.reply_to_message.map(|answered| answered.message_id.to_string()),
        interaction: false,
    }))
}

/// All that Telegram wants to know.
pub fn answer() -> Response {
    Response::json(200, &json!({}))
}
