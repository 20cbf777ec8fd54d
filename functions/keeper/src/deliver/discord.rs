//! Discord: as a bot, or by a channel's webhook. <https://discord.com/developers/docs/resources/message>

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use hub::types::Outgoing;
use reqwest::{Method, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use url::Url;

use super::{
    Arrived, Carrier, Chat, Failure, Target,
    ask::Ask,
    http::{self, Answer, Limit},
    is_number, text,
};

const MESSAGE: usize = 2000;
const USERNAME: usize = 80;
const ANSWER_BYTES: usize = 256 * 1024;
/// Codes of Discord's errors: unknown message; a message of somebody else, which nobody can edit.
const EDITS_NOT: [u64; 2] = [10_008, 50_005];

/// Channels of direct messages by user: opening one is a call, and always gives the same.
#[derive(Debug, Default)]
pub(super) struct DirectMessages(Mutex<HashMap<String, String>>);

/// As whom it is said.
enum Voice<'a> {
    Bot(&'a str),
    /// Its address below our base.
    Webhook(Url),
}

struct Speaker<'a> {
    carrier: &'a Carrier,
    row: &'a Outgoing,
    voice: Voice<'a>,
    until: Instant,
    provider: String,
    target: String,
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
    if !is_number(target.id) || target.topic.is_some_and(|topic| !is_number(topic)) {
        return Err(Failure::for_good("Discord's ids are numbers: give the bridge channel:<id> or user:<id>"));
    }
    let speaker = Speaker {
        carrier,
        row,
        voice: voice(secret, &row.secret_name, &carrier.settings.discord)?,
        until,
        provider: format!("discord {}", row.secret_name),
        target: format!("discord {} {}", row.secret_name, row.target),
    };
    let place = speaker.place(&target).await?;

    let text = match &chat.ask {
        Some(ask) => ask.said(&chat.text, true),
        None => chat.text.clone(),
    };
    let (mut said, username) = match (&speaker.voice, chat.speaker()) {
        (Voice::Bot(_), Some(name)) => (introduced(name, &text), None),
        (Voice::Bot(_), None) => (text, None),
        (Voice::Webhook(_), _) => (text, chat.sender.as_deref().map(username)),
    };
    // Buttons under all that they are about, or none: of two messages one could be read alone. A webhook's presses reach nobody.
    let is_bot = matches!(speaker.voice, Voice::Bot(_));
    let fits = is_bot && text::split(&said, MESSAGE, true).len() <= 1;
    let buttons = chat.ask.as_ref().and_then(Ask::discord).filter(|_| fits);
    let mut embed = chat.embed;
    if let Some(ask) = &chat.ask {
        // It says again what the text shows as it is.
        embed.as_object_mut().and_then(|embed| embed.remove("description"));
        if buttons.is_none() {
            said.push_str(&ask.by_hand());
        }
    }
    let embeds = text::embeds(&embed, &said);
    let common = |content: &str, embeds: &[Value]| {
        let mut body = Map::new();
        body.insert("content".into(), if content.is_empty() && embeds.is_empty() { "—" } else { content }.into());
        body.insert("allowed_mentions".into(), json!({"parse": [], "replied_user": false}));
        body.insert("embeds".into(), embeds.into());
        body
    };

    let short = text::one(&said, MESSAGE, true);
    if let Some(message) = row.edit_of.as_deref().filter(|id| row.kind == "edit" && is_number(id)) {
        let mut body = common(&short, &embeds);
        if chat.ask.is_some() && is_bot {
            body.insert("components".into(), buttons.clone().unwrap_or_default().into());
        }
        let answer = speaker.ask(|| speaker.request(Method::PATCH, &place, Some(message)).json(&body)).await?;
        if answer.is_success() {
            return Ok(Arrived::as_id(message.to_owned()));
        }
        if !refusal(&answer).0.is_some_and(|code| EDITS_NOT.contains(&code)) {
            return Err(speaker.refused(&answer));
        }
        // Somebody deleted it: it needs no more. Of progress, what comes later edits the new one.
        if !row.is_progress {
            return Ok(Arrived::as_id(message.to_owned()));
        }
    }

    let split = if row.is_progress || chat.in_place { vec![short] } else { text::split(&said, MESSAGE, true) };
    let split = if split.is_empty() { vec![String::new()] } else { split };
    for (n, part) in split.iter().enumerate().skip(parts.len()) {
        let is_last = n + 1 == split.len();
        let mut body = common(part, if is_last { &embeds } else { &[] });
        if let Some(buttons) = buttons.as_ref().filter(|_| split.len() == 1) {
            body.insert("components".into(), buttons.clone().into());
        }
        match &speaker.voice {
            Voice::Bot(_) => {
                body.insert("nonce".into(), nonce(&row.nonce, n).into());
                body.insert("enforce_nonce".into(), true.into());
                if let Some(asked) = row.reply_to.as_deref().filter(|id| n == 0 && is_number(id)) {
                    body.insert("message_reference".into(), json!({"message_id": asked, "fail_if_not_exists": false}));
                }
            }
            Voice::Webhook(_) => body.extend(username.clone().map(|name| ("username".to_owned(), Value::from(name)))),
        }
        let answer = speaker.ask(|| speaker.request(Method::POST, &place, None).json(&body)).await?;
        if !answer.is_success() {
            return Err(speaker.refused(&answer));
        }
        // The message may be there. Asked again, the nonce gives it back.
        let Some(id) = sent_id(&answer) else { return Err(Failure::for_now("Discord's answer can not be read")) };
        if split.len() == 1 {
            return Ok(Arrived::as_id(id));
        }
        parts.push(id);
    }
    Ok(Arrived::as_id(parts.first().cloned()))
}

impl Speaker<'_> {
    /// The channel it is said in: for a bot its id, for a webhook the thread, if it names one.
    async fn place(&self, target: &Target<'_>) -> Result<Option<String>, Failure> {
        match (&self.voice, target.user) {
            (Voice::Webhook(_), true) => {
                Err(Failure::for_good("a webhook of Discord writes to its channel, not to people: a bot can"))
            }
            (Voice::Webhook(_), false) => Ok(target.topic.map(str::to_owned)),
            // A thread is a channel of its own.
            (Voice::Bot(_), false) => Ok(Some(target.topic.unwrap_or(target.id).to_owned())),
            (Voice::Bot(token), true) => self.direct_message(token, target.id).await.map(Some),
        }
    }

    async fn direct_message(&self, token: &str, user: &str) -> Result<String, Failure> {
        // Another bot has another channel with the same person.
        let key = format!("{} {user}", self.row.secret_name);
        let known = &self.carrier.direct_messages.0;
        if let Some(channel) = known.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(channel.clone());
        }
        let url = below(&self.carrier.settings.discord, &["users", "@me", "channels"]);
        let open = || {
            self.carrier
                .trusted
                .post(url.clone())
                .header("authorization", format!("Bot {token}"))
                .json(&json!({"recipient_id": user}))
        };
        let answer = self.ask(open).await?;
        let Some(channel) = sent_id(&answer).filter(|id| answer.is_success() && is_number(id)) else {
            return Err(self.refused(&answer));
        };
        known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, channel.clone());
        Ok(channel)
    }

    fn request(&self, method: Method, place: &Option<String>, message: Option<&str>) -> RequestBuilder {
        match &self.voice {
            Voice::Bot(token) => {
                let mut path = vec!["channels", place.as_deref().unwrap_or(""), "messages"];
                path.extend(message);
                let url = below(&self.carrier.settings.discord, &path);
                self.carrier.trusted.request(method, url).header("authorization", format!("Bot {token}"))
            }
            Voice::Webhook(base) => {
                let mut url = message.map_or_else(|| base.clone(), |message| below(base, &["messages", message]));
                if message.is_none() {
                    url.query_pairs_mut().append_pair("wait", "true");
                }
                if let Some(thread) = place {
                    url.query_pairs_mut().append_pair("thread_id", thread);
                }
                self.carrier.trusted.request(method, url)
            }
        }
    }

    async fn ask(&self, request: impl Fn() -> RequestBuilder) -> Result<Answer, Failure> {
        let holds = &self.carrier.holds;
        let answer =
            http::call(holds, [&self.provider, &self.target], self.until, ANSWER_BYTES, limit, request).await?;
        // The last one of its window: the next would be refused, and refusals are counted against us.
        if let Some(after) = answer.retry_after().filter(|_| answer.header("x-ratelimit-remaining") == Some("0")) {
            holds.hold(&self.target, after);
        }
        Ok(answer)
    }

    fn refused(&self, answer: &Answer) -> Failure {
        let (code, message) = refusal(answer);
        let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
        let why = if message.is_empty() { String::new() } else { format!(": {message}{code}") };
        match answer.status {
            401 => Failure::for_now(format!("Discord does not take the token in {}", self.row.secret_name)),
            400 | 403 | 404 | 405 | 410 | 413 => Failure::for_good(format!("Discord answered {}{why}", answer.status)),
            status => Failure {
                retry_after: answer.retry_after(),
                ..Failure::for_now(format!("Discord answered {status}{why}"))
            },
        }
    }
}

fn limit(answer: &Answer) -> Option<Limit> {
    #[derive(Deserialize)]
    struct Limited {
        retry_after: Option<f64>,
        #[serde(default)]
        global: bool,
    }
    if answer.status != 429 {
        return None;
    }
    let body: Option<Limited> = answer.json();
    let after = body
        .as_ref()
        .and_then(|body| http::seconds(body.retry_after?))
        .map(http::bounded)
        .or_else(|| answer.retry_after());
    // What is not Discord's own answer comes from what stands before it, and means the machine.
    let global = body.is_none_or(|body| body.global)
        || answer.header("x-ratelimit-global").is_some()
        || answer.header("x-ratelimit-scope") == Some("global");
    Some(Limit { after, global })
}

fn sent_id(answer: &Answer) -> Option<String> {
    #[derive(Deserialize)]
    struct Sent {
        id: String,
    }
    answer.json().map(|Sent { id }| id)
}

/// Discord's code and words.
fn refusal(answer: &Answer) -> (Option<u64>, String) {
    #[derive(Deserialize)]
    struct Refusal {
        code: Option<u64>,
        #[serde(default)]
        message: String,
    }
    let words = |text: &str| text::shorten(&text.replace(char::is_control, " "), 150);
    answer.json().map_or((None, String::new()), |Refusal { code, message }| (code, words(&message)))
}

/// Of part `n`: the row's own, and for the others one made of it. 25 characters at most.
fn nonce(of_row: &str, n: usize) -> String {
    if n == 0 { of_row.to_owned() } else { format!("{}-{n}", of_row.get(..20).unwrap_or(of_row)) }
}

/// A bot has one name for everybody, so the text says who it was.
fn introduced(person: &str, text: &str) -> String {
    let mut name = String::new();
    for c in person.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if matches!(c, '\\' | '*' | '_' | '~' | '`' | '|' | '>' | '#' | '[' | ']' | '(' | ')' | '<' | '@' | ':') {
            name.push('\\');
        }
        name.push(c);
    }
    let begins = if text.trim_start().starts_with("```") { "\n" } else { " " };
    format!("**{name}**:{begins}{text}")
}

/// A name that Discord takes for a webhook: 1 to 80 characters, neither its own nor its mascot's.
fn username(sender: &str) -> String {
    let mut name = sender.replace(char::is_control, " ");
    for taken in ["discord", "clyde"] {
        while let Some(at) = name.to_ascii_lowercase().find(taken) {
            name.replace_range(at..at + taken.len(), "chat");
        }
    }
    let name = text::shorten(name.trim(), USERNAME);
    if name.is_empty() || name.eq_ignore_ascii_case("everyone") || name.eq_ignore_ascii_case("here") {
        "Aura Hub".into()
    } else {
        name
    }
}

/// A bot's token, or the address of a webhook: that must be Discord's, and only its id and token are taken from it.
fn voice<'a>(secret: &'a SecretString, name: &str, base: &Url) -> Result<Voice<'a>, Failure> {
    let secret = secret.expose_secret();
    if !secret.contains("://") {
        let token = secret.strip_prefix("Bot ").unwrap_or(secret);
        return if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Voice::Bot(token))
        } else {
            Err(Failure::for_now(format!("{name} is neither a bot's token nor a webhook's address")))
        };
    }
    let parsed = Url::parse(secret).ok().and_then(|url| {
        let theirs = url.scheme() == "https"
            && url.port().is_none()
            && matches!(
                url.host_str(),
                Some("discord.com" | "discordapp.com" | "ptb.discord.com" | "canary.discord.com")
            );
        let segments: Vec<&str> = url.path_segments()?.collect();
        let at = segments.iter().position(|segment| *segment == "webhooks")?;
        let [id, token] = segments[at + 1..] else { return None };
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
        let right = (theirs || url.origin() == base.origin()) && url.username().is_empty() && is_number(id);
        (right && !token.is_empty() && token.bytes().all(plain)).then(|| below(base, &["webhooks", id, token]))
    });
    parsed.map(Voice::Webhook).ok_or_else(|| {
        Failure::for_now(format!(
            "the address in {name} is no webhook of Discord: https://discord.com/api/webhooks/<id>/<token>"
        ))
    })
}

/// A path below the base.
pub(super) fn below(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_token_or_a_webhook_of_discord_and_nothing_else() {
        let base: Url = "https://discord.com/api/v10".parse().unwrap();
        let address = |secret: &str, base: &Url| match voice(&secret.to_owned().into(), "HUB_BRIDGE_X", base) {
            Ok(Voice::Bot(token)) => format!("bot {token}"),
            Ok(Voice::Webhook(url)) => url.to_string(),
            Err(failure) => {
                assert!(
                    failure.error.contains("HUB_BRIDGE_X")
                        && !failure.error.contains("/tok")
                        && !failure.error.contains("a tok"),
                    "{}",
                    failure.error
                );
                "refused".into()
            }
        };
        assert_eq!(address("MTk4.Cl2FMQ.Zn-x_y", &base), "bot MTk4.Cl2FMQ.Zn-x_y");
        assert_eq!(address("Bot MTk4", &base), "bot MTk4");
        let whole = "https://discord.com/api/v10/webhooks/12/tok_en-1";
        for good in [
            "https://discord.com/api/webhooks/12/tok_en-1",
            "https://discordapp.com/api/v8/webhooks/12/tok_en-1",
            whole,
        ] {
            assert_eq!(address(good, &base), whole);
        }
        for bad in [
            "http://discord.com/api/webhooks/12/tok",
            "https://discord.com.evil.example/api/webhooks/12/tok",
            "https://evil.example/api/webhooks/12/tok",
            "https://discord.com/api/webhooks/12",
            "https://discord.com/api/webhooks/12/tok/messages",
            "https://discord.com/api/webhooks/x/tok",
            "https://discord.com/api/webhooks/12/t%2Fok",
            "https://discord.com:8443/api/webhooks/12/tok",
            "https://me@discord.com/api/webhooks/12/tok",
            "https://127.0.0.1/api/webhooks/12/tok",
            "a tok",
            "tok\nen",
        ] {
            assert_eq!(address(bad, &base), "refused", "{bad}");
        }
        let local: Url = "http://127.0.0.1:9/d/".parse().unwrap();
        assert_eq!(address("http://127.0.0.1:9/api/webhooks/12/tok", &local), "http://127.0.0.1:9/d/webhooks/12/tok");
        assert_eq!(address("https://discord.com/api/webhooks/12/tok", &local), "http://127.0.0.1:9/d/webhooks/12/tok");
    }

    #[test]
    fn names_are_changed_to_what_discord_accepts() {
        assert_eq!(username("Larry (Discord)"), "Larry (chat)");
        assert_eq!(username("  \n "), "Aura Hub");
        assert_eq!(username("everyone"), "Aura Hub");
        assert_eq!(text::units(&username(&"x".repeat(300))), 80);
        assert_eq!(introduced("a*b\nc", "hi"), "**a\\*b c**: hi");
        assert_eq!(introduced("Ada", "```x```"), "**Ada**:\n```x```");
    }

    #[test]
    fn every_part_has_a_nonce_of_its_own() {
        let row = "0123456789abcdef012345678";
        assert_eq!(nonce(row, 0), row);
        assert_eq!(nonce(row, 12), "0123456789abcdef0123-12");
        assert!(nonce(row, 999).len() <= 25);
    }
}
