//! `koji-discord-bot` as Discord calls it: interactions, each signed. A slash command `/hot city:brooklyn` is the text `!hot brooklyn` in
//! the bridged channel, and its answer is the interaction's. `/link` says whose account it is; a button is an answer to what a task asked.

use crate::{
    Problem, Request, Response, Secrets, Step,
    call::{Answers, Call, Refused},
    json,
    pressed::Outcome,
    signature,
};
use serde::Deserialize;
use serde_json::{Value, json};
use unicode_segmentation::UnicodeSegmentation;

/// How the database knows it.
const NAME: &str = "discord";
/// As interaction responses; what is ours to mend is a fault, so that Discord says so.
pub const ANSWERS: Answers = Answers::new(
    |value, _| answer(value),
    |refused, _| {
        let problem = refused.problem();
        if problem.status < 500 { said_no(&problem) } else { problem.into() }
    },
);
/// Of a press, on a message of that text.
const PRESSED: Answers = Answers::new(pressed, refused);
const LINKED: Answers = Answers::new(
    |value, _| said(&cut(value.get("text").and_then(Value::as_str).unwrap_or("Done."), MESSAGE), EPHEMERAL),
    refused,
);
/// An interaction is answered within three seconds or not at all: an older one is a replay.
const WINDOW: u64 = 300;
const MESSAGE: usize = 2000;
/// The slash command that says whose account it is.
const LINK: &str = "link";
/// Only the one who asked sees it.
const EPHEMERAL: u32 = 64;

#[derive(Deserialize)]
struct Interaction {
    id: String,
    #[serde(rename = "type")]
    kind: u8,
    channel_id: Option<String>,
    channel: Option<Channel>,
    member: Option<Member>,
    user: Option<User>,
    data: Option<Data>,
    message: Option<Message>,
}

/// What a button is on.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: String,
}

#[derive(Deserialize)]
struct Channel {
    #[serde(rename = "type", default)]
    kind: u8,
    parent_id: Option<String>,
}

#[derive(Deserialize)]
struct Member {
    user: User,
}

#[derive(Deserialize)]
struct User {
    id: Option<String>,
    username: String,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "type", default = "slash")]
    kind: u8,
    name: Option<String>,
    #[serde(default)]
    options: Vec<Choice>,
    custom_id: Option<String>,
}

const fn slash() -> u8 {
    1
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    value: Value,
}

pub fn is_interaction(request: &Request<'_>) -> bool {
    (request.header)("x-signature-ed25519").is_some()
}

/// What is signed with, the signature, and the time that is signed with the body, which may not be long ago.
pub fn signed<'a>(request: &Request<'a>, secrets: &Secrets) -> Result<([u8; 32], &'a str, &'a str), Problem> {
    let header = request.header;
    let mut key = [0; 32];
    let known = secrets.discord_public_key.as_ref().is_some_and(|text| hex::decode_to_slice(text, &mut key).is_ok());
    if !known {
        return Err(Problem::new(503, "Discord's interactions are not configured here")
            .hint("Set DISCORD_PUBLIC_KEY to the application's public key."));
    }
    let (signed, at) = (header("x-signature-ed25519").unwrap_or(""), header("x-signature-timestamp").unwrap_or(""));
    if !at.parse::<i64>().is_ok_and(|at| request.now.abs_diff(at) <= WINDOW) {
        return Err(Problem::new(401, "the request is older than five minutes, or from the future"));
    }
    Ok((key, signed, at))
}

pub fn plan(request: &Request<'_>, secrets: &Secrets) -> Result<Step, Problem> {
    let (key, signed, at) = signed(request, secrets)?;
    if !signature::discord(&key, at, request.body, signed) {
        return Err(Problem::new(401, "invalid request signature"));
    }
    let interaction: Interaction = json::read(request.body)
        .map_err(|error| Problem::new(400, format!("the body is no interaction of Discord: {error}")))?;
    match interaction.kind {
        // A ping.
        1 => Ok(Step::Answer(Response::json(200, &json!({"type": 1})))),
        2 => {
            let missing = |what: &str| Problem::new(400, format!("the interaction has no {what}"));
            let data = interaction.data.ok_or_else(|| missing("data"))?;
            if data.kind != 1 {
                return Ok(Step::Answer(said("Only slash commands mean something here.", EPHEMERAL)));
            }
            let name = data.name.ok_or_else(|| missing("data.name"))?;
            let channel = interaction.channel_id.ok_or_else(|| missing("channel_id"))?;
            let in_guild = interaction.member.is_some();
            let author =
                interaction.member.map(|member| member.user).or(interaction.user).ok_or_else(|| missing("user"))?;
            let plain = |text: String| text.replace('\0', " ");
            if name == LINK {
                let Some(account) = author.id else { return Err(missing("user.id")) };
                let code = data.options.first().and_then(|choice| choice.value.as_str()).unwrap_or("").trim();
                let call = Call::Linked {
                    provider: NAME,
                    author_id: plain(account),
                    author: plain(author.username),
                    code: plain(code.to_owned()).into(),
                };
                return Ok(Step::Call(call, LINKED));
            }
            let here = format!("channel:{channel}");
            // As free text: a thread is of its channel, and a private chat is a person's. A thread made from a message has its id.
            let parent =
                interaction.channel.filter(|channel| is_thread(channel.kind)).and_then(|thread| thread.parent_id);
            let reply_to = parent.as_ref().map(|_| channel.clone());
            let (target, elsewhere) = match (parent, in_guild, &author.id) {
                (Some(parent), ..) => (here, vec![format!("channel:{parent}")]),
                (None, false, Some(person)) => (format!("user:{person}"), vec![here]),
                (None, ..) => (here, vec![]),
            };
            let mut content = format!("!{name}");
            for choice in data.options {
                content.push(' ');
                content.push_str(&word(&choice.value));
            }
            let call = Call::Bridged {
                provider: NAME,
                target: plain(target),
                elsewhere: elsewhere.into_iter().map(plain).collect(),
                external: plain(interaction.id),
                author: plain(author.username),
                author_id: author.id.map(plain),
                content: plain(content),
                reply_to: reply_to.map(plain),
                interaction: true,
                kind: "message",
            };
            Ok(Step::Call(call, ANSWERS))
        }
        3 => press(interaction),
        // What is offered while somebody types: nothing.
        4 => Ok(Step::Answer(Response::json(200, &json!({"type": 8, "data": {"choices": []}})))),
        _ => Ok(Step::Answer(nothing_to_press())),
    }
}

/// A button: `ask:<id>:<key>`, where the key says which ask and which answer.
fn press(interaction: Interaction) -> Result<Step, Problem> {
    let missing = |what: &str| Problem::new(400, format!("the interaction has no {what}"));
    let carried = interaction.data.and_then(|data| data.custom_id).ok_or_else(|| missing("data.custom_id"))?;
    let key = carried.strip_prefix("ask:").and_then(|rest| rest.split_once(':')).map(|(_, key)| key);
    let Some(key) = key.filter(|key| !key.is_empty() && !key.contains('\0')) else {
        return Ok(Step::Answer(nothing_to_press()));
    };
    let channel = interaction.channel_id.ok_or_else(|| missing("channel_id"))?;
    let private = interaction.member.is_none();
    let author = interaction.member.map(|member| member.user).or(interaction.user).ok_or_else(|| missing("user"))?;
    let account = author.id.ok_or_else(|| missing("user.id"))?.replace('\0', " ");
    let parent = interaction.channel.filter(|channel| is_thread(channel.kind)).and_then(|thread| thread.parent_id);
    // As bridges may name it: a private chat by its person, a thread by its channel, and both by themselves.
    let chat = match parent {
        _ if private => format!("user:{account}/{channel}"),
        Some(parent) => format!("channel:{parent}/{channel}"),
        None => format!("channel:{channel}"),
    };
    let chat = chat.replace('\0', " ");
    let call = Call::Pressed { provider: NAME, key: key.to_owned().into(), author_id: account, chat };
    Ok(Step::Call(call, PRESSED.about(interaction.message.map(|message| message.content).unwrap_or_default())))
}

/// What is over takes its buttons along; a refusal is told to who pressed alone, and leaves the others theirs.
fn pressed(value: &Value, message: &str) -> Response {
    let (outcome, text) = Outcome::read(value);
    if !matches!(outcome, Outcome::Answered | Outcome::Over) {
        return said(&cut(text, MESSAGE), EPHEMERAL);
    }
    let content = if message.contains(text) {
        message.to_owned()
    } else {
        let text = cut(text, MESSAGE / 2);
        format!("{}\n{text}", cut(message, MESSAGE - 1 - text.chars().count()))
    };
    let update = json!({"content": content.trim(), "components": [], "allowed_mentions": {"parse": []}});
    Response::json(200, &json!({"type": 7, "data": update}))
}

fn refused(refused: &Refused, _: &str) -> Response {
    let problem = refused.problem();
    if problem.status < 500 { said(&cut(&problem.words(), MESSAGE), EPHEMERAL) } else { problem.into() }
}

fn nothing_to_press() -> Response {
    said("This is not something that can be pressed here.", EPHEMERAL)
}

fn is_thread(kind: u8) -> bool {
    (10..=12).contains(&kind)
}

/// An argument of a command: quoted where it has spaces or quotes, as a person would type it.
fn word(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    if !text.is_empty() && text.chars().all(|char| !char.is_whitespace() && char != '"') {
        text
    } else {
        format!("\"{}\"", text.replace('"', "\"\""))
    }
}

/// What was answered: the command's text, or what was queued.
fn answer(value: &Value) -> Response {
    if let Some(why) = value.get("ignored").and_then(Value::as_str) {
        return said(&cut(why, MESSAGE), EPHEMERAL);
    }
    if value.get("duplicate") == Some(&Value::Bool(true)) {
        return said("This was answered already.", EPHEMERAL);
    }
    let chunk = value.pointer("/reply/chunks/0").and_then(Value::as_str);
    let more = value.pointer("/reply/chunks/1").is_some();
    let text = match (chunk, value.pointer("/task/id").and_then(Value::as_str)) {
        (Some(chunk), _) if more => format!("{}\n…", cut(chunk, MESSAGE - 2)),
        (Some(chunk), _) => chunk.to_owned(),
        (None, Some(task)) => format!("⏳ Task {} queued", &task[..task.len().min(4)]),
        (None, None) => "Done.".to_owned(),
    };
    said(&cut(&text, MESSAGE), 0)
}

/// A refusal, to the one who asked alone.
fn said_no(problem: &Problem) -> Response {
    let text = match problem.status {
        404 => "This channel is not connected to the hub.".to_owned(),
        _ => problem.words(),
    };
    said(&cut(&text, MESSAGE), EPHEMERAL)
}

fn said(text: &str, flags: u32) -> Response {
    // Nobody is called by what a command's answer happens to contain.
    Response::json(
        200,
        &json!({"type": 4, "data": {"content": text, "flags": flags, "allowed_mentions": {"parse": []}}}),
    )
}

/// The beginning, in whole clusters.
fn cut(text: &str, most: usize) -> String {
    let mut left = most;
    let fits = |cluster: &&str| {
        let length = cluster.chars().count();
        let fits = length <= left;
        left = if fits { left - length } else { 0 };
        fits
    };
    text.graphemes(true).take_while(fits).collect()
}
