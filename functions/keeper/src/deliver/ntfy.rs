//! Notifications by ntfy, which knows no accounts: each answer is a request that its program makes to our function `answer`, with a token
//! of its own. <https://docs.ntfy.sh/publish/#publish-as-json>

use hub::types::Outgoing;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use url::Url;

use super::{
    Arrived, Carrier, Chat, Failure,
    ask::Ask,
    http::{self, Answer, Limit},
    text, webhook,
};

/// Bytes of a message; a longer one becomes a file.
const MESSAGE: usize = 4096;
const TITLE: usize = 250;
const LABEL: usize = 100;
/// Buttons of a notification.
const ACTIONS: usize = 3;
const ANSWER_BYTES: usize = 64 * 1024;
/// Of 1 to 5, where 3 is usual: who is asked may be waited for; what is over disturbs nobody.
const ASKED: u8 = 4;
const OVER: u8 = 1;

pub(super) async fn deliver(
    carrier: &Carrier,
    row: &Outgoing,
    secret: Option<&SecretString>,
    until: Instant,
) -> Result<Arrived, Failure> {
    let chat = Chat::of(row)?;
    let (url, topic) = place(&row.target, carrier.settings.allow_private)?;
    let body = body(&chat, topic, carrier.settings.answers.as_ref());
    let request = || {
        let request = carrier.guarded.post(url.clone()).json(&body);
        match secret {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    };
    let keys = [format!("ntfy {}", url.host_str().unwrap_or("")), format!("ntfy {}", row.target)];
    let answer = http::call(&carrier.holds, [&keys[0], &keys[1]], until, ANSWER_BYTES, limit, request).await?;
    match answer.status {
        200..300 => Ok(Arrived::as_id(answer.json().map(|Sent { id }| id))),
        401 | 403 => Err(Failure::for_now(match secret {
            Some(_) => format!("ntfy does not take the token in {}", row.secret_name),
            None => format!("ntfy wants a token for this topic: {} is not set", row.secret_name),
        })),
        400 | 404 | 410 | 413 => Err(Failure::for_good(format!("ntfy answered {}", answer.status))),
        300..400 => Err(Failure::for_now(format!(
            "ntfy answered {}: redirects are not followed; give the bridge the final address",
            answer.status
        ))),
        status => {
            Err(Failure { retry_after: answer.retry_after(), ..Failure::for_now(format!("ntfy answered {status}")) })
        }
    }
}

#[derive(Deserialize)]
struct Sent {
    id: String,
}

fn limit(answer: &Answer) -> Option<Limit> {
    // Of ntfy's limits most are of the address that asks.
    (answer.status == 429).then(|| Limit { after: answer.retry_after(), global: true })
}

/// Where JSON is posted, and the topic, which is the last part of the target.
fn place(target: &str, allow_private: bool) -> Result<(Url, &str), Failure> {
    let bad = || Failure::for_good("a target of ntfy is https://<host>/<topic>");
    let mut url = webhook::checked(target, allow_private)?;
    let (_, topic) = target.rsplit_once('/').ok_or_else(bad)?;
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    if !(1..=64).contains(&topic.len())
        || !topic.bytes().all(plain)
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err(bad());
    }
    url.path_segments_mut().map_err(|()| bad())?.pop().push("");
    Ok((url, topic))
}

fn body(chat: &Chat, topic: &str, answers: Option<&Url>) -> Map<String, Value> {
    let said = match (&chat.ask, chat.speaker()) {
        (Some(ask), _) => ask.said(&chat.text, false),
        (None, Some(name)) => format!("{}: {}", name.replace(char::is_control, " "), chat.text),
        (None, None) => chat.text.clone(),
    };
    let mut body = Map::new();
    body.insert("topic".into(), topic.into());
    let Some(ask) = &chat.ask else {
        body.insert("message".into(), cut(&said, MESSAGE).into());
        return body;
    };
    // The same number again replaces what was shown, and with it the buttons (where ntfy is 2.16 or newer).
    body.insert("sequence_id".into(), ask.id.as_str().into());
    body.insert("priority".into(), if ask.is_open() { ASKED } else { OVER }.into());
    let title = text::shorten(ask.title.trim(), TITLE);
    if !title.is_empty() {
        body.insert("title".into(), title.into());
    }
    match answers.filter(|_| said.len() <= MESSAGE).and_then(|url| actions(ask, url)) {
        Some(actions) => {
            body.insert("actions".into(), actions);
            body.insert("message".into(), said.into());
        }
        None => {
            // The hint is what must be there.
            let hint = ask.by_hand();
            body.insert("message".into(), format!("{}{hint}", cut(&said, MESSAGE - hint.len())).into());
        }
    }
    body
}

/// A button for each answer, if there is room for all.
fn actions(ask: &Ask, url: &Url) -> Option<Value> {
    let choices = ask.choices();
    let fits = |choice: &super::ask::Choice| !choice.key.is_empty() && !choice.label.trim().is_empty();
    if choices.is_empty() || choices.len() > ACTIONS || !choices.iter().all(fits) {
        return None;
    }
    let action = |choice: &super::ask::Choice| {
        let answer = json!({"token": choice.key}).to_string();
        let label = text::shorten(choice.label.trim(), LABEL);
        json!({"action": "http", "label": label, "url": url.as_str(), "method": "POST", "body": answer, "clear": true})
    };
    Some(choices.iter().map(action).collect())
}

/// The beginning of it, in bytes.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit - "…".len());
    format!("{}…", text[..end].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(text: &str, ask: Value) -> Chat {
        serde_json::from_value(json!({"text": text, "sender": "Aura Hub", "sender_type": "system", "content_type": "notice", "embed": null, "ask": ask}))
            .unwrap()
    }

    fn ask(state: &str, whole: bool, count: usize) -> Value {
        let options: Vec<Value> =
            (0..count).map(|n| json!({"key": format!("t{n}"), "label": format!("Option {n}")})).collect();
        json!({"id": "00000000-0000-4000-8000-000000000001", "kind": "approval", "title": "May a1b2 run this?", "state": state, "whole": whole, "options": options})
    }

    #[test]
    fn a_target_is_a_host_and_a_topic() {
        let of = |target: &str| place(target, false).map(|(url, topic)| format!("{url} {topic}")).ok();
        assert_eq!(of("https://ntfy.sh/deploys-8fK2").as_deref(), Some("https://ntfy.sh/ deploys-8fK2"));
        assert_eq!(of("https://example.com/ntfy/a_b").as_deref(), Some("https://example.com/ntfy/ a_b"));
        for bad in [
            "https://ntfy.sh/",
            "https://ntfy.sh",
            "https://ntfy.sh/a?x=1",
            "https://ntfy.sh/a b",
            "http://ntfy.sh/a",
            "https://127.0.0.1/a",
            "channel:1",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn each_answer_is_a_request_with_a_token_of_its_own() {
        let url: Url = "https://hub.example/functions/v1/answer".parse().unwrap();
        let made = Value::from(body(&chat("make all", ask("open", true, 2)), "t", Some(&url)));
        assert_eq!((&made["topic"], &made["message"], &made["priority"]), (&json!("t"), &json!("make all"), &json!(4)));
        assert_eq!(
            (&made["title"], &made["sequence_id"]),
            (&json!("May a1b2 run this?"), &json!("00000000-0000-4000-8000-000000000001"))
        );
        let action = &made["actions"][1];
        assert_eq!(
            (&action["action"], &action["label"], &action["url"], &action["method"]),
            (&json!("http"), &json!("Option 1"), &json!(url.as_str()), &json!("POST"))
        );
        let answer: Value = serde_json::from_str(action["body"].as_str().unwrap()).unwrap();
        assert_eq!(answer, json!({"token": "t1"}));
        assert!(made.get("click").is_none());
        for (text, ask, url) in [
            ("make all".to_owned(), ask("open", false, 2), Some(&url)),
            ("make all".to_owned(), ask("answered", true, 2), Some(&url)),
            ("make all".to_owned(), ask("open", true, 4), Some(&url)),
            ("make all".to_owned(), ask("open", true, 2), None),
            ("ä".repeat(2049), ask("open", true, 2), Some(&url)),
        ] {
            let open = ask["state"] == "open";
            let made = Value::from(body(&chat(&text, ask), "t", url));
            assert!(made.get("actions").is_none(), "{made}");
            assert_eq!(made["priority"], if open { 4 } else { 1 });
            let message = made["message"].as_str().unwrap();
            assert!(message.len() <= MESSAGE && message.starts_with(&text[..8]), "{message}");
        }
        let long = Value::from(body(&chat(&"ä".repeat(4000), ask("open", true, 2)), "t", Some(&url)));
        assert!(long["message"].as_str().unwrap().ends_with("`hub inbox` shows it."), "{long}");
        let plain = Value::from(body(&chat(&"x".repeat(5000), Value::Null), "t", None));
        assert_eq!(plain["message"].as_str().unwrap().len(), MESSAGE);
        assert!(plain.get("priority").is_none() && plain.get("sequence_id").is_none());
    }
}
