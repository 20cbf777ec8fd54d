//! Each function by requests as they come, signatures included.

use super::*;
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

const NOW: i64 = 1_700_000_000;

fn secrets() -> Secrets {
    Secrets::from(|name| match name {
        "GITHUB_WEBHOOK_SECRET" => Some("s".into()),
        "TELEGRAM_WEBHOOK_SECRET" => Some(" t\n".into()),
        "DISCORD_PUBLIC_KEY" => Some(hex::encode(key().verifying_key().to_bytes())),
        _ => None,
    })
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn ask(function: Function, headers: &[(&str, String)], body: &[u8]) -> Step {
    let header = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
    plan(function, &Request { method: "POST", name: None, header: &header, body, now: NOW }, &secrets())
}

fn status(step: Step) -> u16 {
    match step {
        Step::Answer(response) => response.status,
        Step::Call(call, _) => panic!("{call:?}"),
    }
}

fn github(body: &[u8], change: impl Fn(&mut Vec<(&'static str, String)>)) -> Step {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"s").unwrap();
    mac.update(body);
    let mut headers = vec![
        ("x-hub-signature-256", format!("sha256={}", hex::encode(mac.finalize().into_bytes()))),
        ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958".into()),
        ("x-github-event", "push".into()),
        ("content-type", "application/json".into()),
    ];
    change(&mut headers);
    ask(Function::GitHub, &headers, body)
}

fn drop_header(name: &'static str) -> impl Fn(&mut Vec<(&'static str, String)>) {
    move |headers| headers.retain(|(known, _)| *known != name)
}

fn set(name: &'static str, value: &'static str) -> impl Fn(&mut Vec<(&'static str, String)>) {
    move |headers| {
        headers.retain(|(known, _)| *known != name);
        headers.push((name, value.into()));
    }
}

#[test]
fn github_deliveries_are_verified_and_passed_on_unchanged() {
    let Step::Call(Call::Webhook { provider, delivery, event, payload, .. }, _) =
        github(br#"{"ref": "refs/heads/main"}"#, |_| {})
    else {
        panic!()
    };
    assert_eq!((provider, event.as_str(), payload.get()), ("github", "push", r#"{"ref": "refs/heads/main"}"#));
    assert_eq!(delivery, "72d3162e-cc78-11e3-81ab-4c9367dc0958");
    let form = github(b"payload=%7B%22a%22%3A%201%7D", set("content-type", "application/x-www-form-urlencoded"));
    assert!(matches!(form, Step::Call(Call::Webhook { payload, .. }, _) if payload.get() == r#"{"a": 1}"#));
    for (step, expected) in [
        (github(b"{}", drop_header("x-hub-signature-256")), 401),
        (github(b"{}", set("x-hub-signature-256", "sha256=00")), 401),
        (github(b"{}", set("x-hub-signature-256", "sha1=00")), 401),
        (github(b"{}", drop_header("x-github-delivery")), 400),
        (github(b"{}", set("x-github-event", "")), 400),
        (github(b"{}", set("x-github-delivery", "two words")), 400),
        (github(b"{", |_| {}), 400),
        (github(b"[]", |_| {}), 400),
        (github(b"\xff", |_| {}), 400),
        (github(b"{}", set("content-type", "text/plain")), 415),
        (github(b"a=b", set("content-type", "application/x-www-form-urlencoded")), 400),
    ] {
        assert_eq!(status(step), expected);
    }
    // No secret: everything is refused, in words.
    let header = |_: &str| None;
    let request = Request { method: "POST", name: None, header: &header, body: b"{}", now: NOW };
    let Step::Answer(response) = plan(Function::GitHub, &request, &Secrets::default()) else { panic!() };
    assert!(response.status == 503 && response.body.contains("GITHUB_WEBHOOK_SECRET"), "{}", response.body);
}

#[test]
fn each_github_secret_is_accepted_at_its_own_address_only() {
    let variable = |name: &str| match name {
        "GITHUB_WEBHOOK_SECRET" => Some("s".to_owned()),
        "HUB_GITHUB_WEBHOOK_SECRET_ACME_APPS" => Some("acme".to_owned()),
        _ => None,
    };
    let secrets = Secrets::from(variable).named(["HUB_GITHUB_WEBHOOK_SECRET_ACME_APPS", "PATH"], variable);
    let ask = |name: Option<&str>, secret: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(b"{}");
        let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        let header = |asked: &str| match asked {
            "x-hub-signature-256" => Some(signature.as_str()),
            "x-github-delivery" | "x-github-event" => Some("push"),
            _ => None,
        };
        let request = Request { method: "POST", name, header: &header, body: b"{}", now: NOW };
        match plan(Function::GitHub, &request, &secrets) {
            Step::Call(Call::Webhook { secret, .. }, _) => Ok(secret),
            Step::Answer(response) => Err((response.status, response.body)),
            step => panic!("{step:?}"),
        }
    };
    assert_eq!(ask(None, "s").unwrap(), "GITHUB_WEBHOOK_SECRET");
    assert_eq!(ask(Some("acme-apps"), "acme").unwrap(), "HUB_GITHUB_WEBHOOK_SECRET_ACME_APPS");
    let wrong = ask(None, "acme").unwrap_err();
    assert_eq!(wrong.0, 401);
    // One that nobody has is answered like a wrong one, and like one of an odd name.
    for (name, secret) in
        [("acme-apps", "s"), ("other", "s"), ("other", "nobody's"), ("ACME-APPS", "acme"), ("", "s"), ("a/b", "s")]
    {
        assert_eq!(ask(Some(name), secret).unwrap_err(), wrong, "{name}");
    }
    assert_eq!(Function::addressed("/functions/v1/github-webhook/acme"), Some((Function::GitHub, Some("acme"))));
    assert_eq!(Function::addressed("/functions/v1/github-webhook"), Some((Function::GitHub, None)));
    assert_eq!(Function::addressed("/functions/v1/send/acme"), None);
}

fn telegram(body: &Value, token: &str) -> Step {
    ask(Function::Telegram, &[("x-telegram-bot-api-secret-token", token.into())], body.to_string().as_bytes())
}

#[test]
fn telegram_messages_of_people_are_carried_and_other_updates_ignored() {
    let message = json!({"message_id": 5, "chat": {"id": -100, "type": "group"}, "from": {"id": 1, "is_bot": false, "first_name": "Ada", "username": "ada"},
                         "date": 1, "text": "!stats", "reply_to_message": {"message_id": 4}, "message_thread_id": 9, "is_topic_message": true});
    let target_of = |message: &Value| match telegram(&json!({"update_id": 7, "message": message}), "t") {
        Step::Call(Call::Bridged { target, .. }, _) => target,
        step => panic!("{step:?}"),
    };
    let mut reply = message.clone();
    reply["is_topic_message"] = Value::Null;
    reply.as_object_mut().unwrap().remove("is_topic_message");
    assert_eq!(target_of(&reply), "channel:-100", "a reply in a group has a thread's number and is in no topic");
    reply["chat"] = json!({"id": 42, "type": "private"});
    assert_eq!(target_of(&reply), "user:42");
    let Step::Call(Call::Bridged { target, external, author, content, reply_to, author_id, .. }, _) =
        telegram(&json!({"update_id": 7, "message": message}), "t")
    else {
        panic!()
    };
    assert_eq!(
        (target.as_str(), external.as_str(), author.as_str(), content.as_str()),
        ("channel:-100/9", "5", "@ada", "!stats")
    );
    assert_eq!((reply_to.as_deref(), author_id.as_deref()), (Some("4"), Some("1")));
    let mut bot = message.clone();
    bot["from"]["is_bot"] = true.into();
    let mut silent = message.clone();
    silent["text"] = Value::Null;
    for (update, says) in [
        (json!({"update_id": 7}), "an empty update is not carried"),
        (json!({"update_id": 7, "inline_query": {"id": "1"}}), "inline_query is not carried"),
        (json!({"update_id": 8, "edited_message": silent}), "an edit of what is no text is not carried"),
    ] {
        let Step::Answer(answer) = telegram(&update, "t") else { panic!("{update}") };
        assert_eq!((answer.status, answer.body), (200, json!({ "ignored": says }).to_string()));
    }
    let kind_of = |update: Value| match telegram(&update, "t") {
        Step::Call(Call::Bridged { kind, content, .. }, _) => (kind, content),
        step => panic!("{step:?}"),
    };
    assert_eq!(
        kind_of(json!({"update_id": 7, "message": bot})),
        ("note", "!stats".into()),
        "two bots would talk for ever"
    );
    assert_eq!(kind_of(json!({"update_id": 7, "message": silent})).0, "note");
    assert_eq!(kind_of(json!({"update_id": 8, "edited_message": message})), ("edit", "!stats".into()));
    assert_eq!(status(telegram(&json!({"update_id": 7}), "wrong")), 401);
    assert_eq!(status(ask(Function::Telegram, &[], b"{}")), 401);
    assert_eq!(status(telegram(&json!({}), "t")), 400);
}

fn body(response: &Response) -> Value {
    serde_json::from_str(&response.body).unwrap()
}

fn called(step: Step) -> (Value, Answers) {
    match step {
        Step::Call(call, answers) => {
            assert!(matches!(call.caller(), Caller::Service));
            let (function, shown) = (call.function(), format!("{call:?}"));
            let arguments: Value = serde_json::from_str(&call.arguments()).unwrap();
            for secret in ["p_key", "p_code", "p_token"].iter().filter_map(|name| arguments[name].as_str()) {
                assert!(!shown.contains(secret), "{shown}");
            }
            (json!([function, arguments]), answers)
        }
        step => panic!("{step:?}"),
    }
}

#[test]
fn a_press_in_telegram_is_answered_once_with_what_became_of_it() {
    let press = json!({"id": "4382bfdwdsb323b2d9", "from": {"id": 77, "is_bot": false, "first_name": "Ada", "username": "ada"},
                       "message": {"message_id": 5, "date": 0, "chat": {"id": -100, "type": "supergroup"}}, "chat_instance": "1", "data": "k".repeat(64)});
    let with = |change: Value| {
        let mut press = press.clone();
        press.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        telegram(&json!({"update_id": 7, "callback_query": press}), "t")
    };
    let (call, answers) = called(with(json!({})));
    let arguments =
        json!({"p_provider": "telegram", "p_key": "k".repeat(64), "p_author_id": "77", "p_chat": "channel:-100"});
    assert_eq!(call, json!(["hub_answer_from_chat", arguments]));
    let private = called(with(json!({"message": {"message_id": 5, "chat": {"id": 77, "type": "private"}}}))).0;
    assert_eq!(private[1]["p_chat"], "user:77");
    for (said, text, alert) in [
        (json!({"outcome": "answered", "text": "You allowed it."}), "You allowed it.", false),
        (
            json!({"outcome": "already", "text": "Bea denied it by the console at 10:04."}),
            "Bea denied it by the console at 10:04.",
            true,
        ),
        (json!({"outcome": "closed", "text": "Nobody answered in time."}), "Nobody answered in time.", true),
        (json!({"outcome": "unlinked", "text": "Link it first."}), "Link it first.", true),
        (json!({"outcome": "not_allowed", "text": "Operators answer this."}), "Operators answer this.", true),
        (json!({"outcome": "unknown"}), "This button means nothing any more.", true),
    ] {
        let answer = answers.answer(&said);
        assert_eq!((answer.status, answer.content_type), (200, "application/json"));
        let expected = json!({"method": "answerCallbackQuery", "callback_query_id": "4382bfdwdsb323b2d9", "text": text, "show_alert": alert});
        assert_eq!(body(&answer), expected);
    }
    let long = answers.answer(&json!({"outcome": "already", "text": "😀".repeat(150)}));
    assert_eq!(body(&long)["text"], "😀".repeat(100), "200 UTF-16 units");
    let refused = |code: &str| Refused { code: Some(code.into()), message: Some("no".into()), ..Refused::default() };
    assert_eq!(body(&answers.refuse(&refused("UH001")))["text"], "no");
    assert_eq!(answers.refuse(&refused("08006")).status, 503, "sent again");
    assert_eq!(answers.refuse(&refused("UH006")).status, 200, "whoever pressed may press again");
    for nothing in [
        json!({"data": null}),
        json!({"data": ""}),
        json!({"data": "k".repeat(65)}),
        json!({"message": null, "inline_message_id": "1"}),
        json!({"from": {"id": 77, "is_bot": true, "first_name": "B"}}),
    ] {
        let Step::Answer(answer) = with(nothing.clone()) else { panic!("{nothing}") };
        let said = body(&answer);
        assert_eq!((&said["method"], &said["show_alert"]), (&json!("answerCallbackQuery"), &json!(true)), "{nothing}");
    }
    assert_eq!(status(telegram(&json!({"update_id": 7, "callback_query": press}), "wrong")), 401);
}

#[test]
fn a_code_in_telegram_is_taken_in_a_private_chat_alone_and_is_never_a_message() {
    let of = |chat: Value, more: Value| {
        let mut message = json!({"message_id": 5, "date": 1, "chat": chat, "from": {"id": 77, "is_bot": false, "first_name": "Ada", "username": "ada"}});
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        telegram(&json!({"update_id": 7, "message": message}), "t")
    };
    let private = || json!({"id": 77, "type": "private"});
    for text in ["/link  ABCD-1234 ", "/link@hub_bot ABCD-1234", "/LINK\nABCD-1234"] {
        let (call, answers) = called(of(private(), json!({ "text": text })));
        let arguments =
            json!({"p_provider": "telegram", "p_author_id": "77", "p_author": "@ada", "p_code": "ABCD-1234"});
        assert_eq!(call, json!(["hub_link_chat", arguments]), "{text}");
        let said = body(&answers.answer(&json!({"linked": true, "text": "You are ada@example.com here."})));
        assert_eq!(said, json!({"method": "sendMessage", "chat_id": 77, "text": "You are ada@example.com here."}));
        assert_eq!(answers.refuse(&Refused::default()).status, 500);
        let wait = Refused {
            code: Some("UH001".into()),
            message: Some("no".into()),
            hint: Some("Wait.".into()),
            ..Refused::default()
        };
        assert_eq!(body(&answers.refuse(&wait))["text"], "no Wait.");
    }
    let Step::Answer(how) = of(private(), json!({"text": "/link"})) else { panic!() };
    assert!(body(&how)["text"].as_str().unwrap().contains("/link CODE"));
    let group = || json!({"id": -100, "type": "supergroup", "title": "Ops"});
    let in_topic = json!({"text": "/link ABCD-1234", "message_thread_id": 9, "is_topic_message": true});
    let Step::Answer(seen) = of(group(), in_topic) else { panic!() };
    let seen = body(&seen);
    assert_eq!(
        (&seen["method"], &seen["chat_id"], &seen["message_thread_id"]),
        (&json!("sendMessage"), &json!(-100), &json!(9))
    );
    assert!(
        seen["text"].as_str().unwrap().contains("private chat") && !seen["text"].as_str().unwrap().contains("ABCD")
    );
    let bot = json!({"text": "/link ABCD", "from": {"id": 1, "is_bot": true, "first_name": "B"}});
    assert_eq!(status(of(private(), bot)), 200);
    // Anything else is a message as before.
    for text in ["/linked ABCD", "see /link ABCD", "link ABCD"] {
        let Step::Call(call, _) = of(private(), json!({ "text": text })) else { panic!("{text}") };
        assert_eq!(call.function(), "hub_receive_bridged", "{text}");
    }
    let forwarded = json!({"text": "/link ABCD", "forward_origin": {"type": "hidden_user", "sender_user_name": "C"}});
    assert!(matches!(of(private(), forwarded), Step::Call(Call::Bridged { .. }, _)), "somebody else's words");
}

#[test]
fn telegram_anonymous_senders_are_the_chat_and_topics_belong_to_their_chat() {
    let of = |kind: &str, mut message: Value| {
        message["message_id"] = 5.into();
        match telegram(&json!({"update_id": 7, kind: message}), "t") {
            Step::Call(Call::Bridged { target, elsewhere, author, author_id, kind, .. }, _) => {
                (format!("{target} {}", elsewhere.join(" ")), format!("{author} {}", author_id.unwrap()), kind)
            }
            step => panic!("{step:?}"),
        }
    };
    let group = json!({"id": -100, "type": "supergroup", "title": "Ops"});
    let anonymous = json!({"id": 1087968824, "is_bot": true, "first_name": "Group", "username": "GroupAnonymousBot"});
    let channel = json!({"id": -200, "type": "channel", "title": "News"});
    let said = |chat: &Value, from: Value, sender_chat: Value| json!({"chat": chat, "from": from, "sender_chat": sender_chat, "text": "x"});
    let found = of("message", said(&group, anonymous, group.clone()));
    assert_eq!(found, ("channel:-100 ".into(), "Ops -100".into(), "message"), "an anonymous administrator");
    let stand_in = json!({"id": 136817688, "is_bot": true, "first_name": "Channel"});
    assert_eq!(of("message", said(&group, stand_in, channel.clone())).1, "News -200", "a person as their channel");
    let service = json!({"id": 777000, "is_bot": false, "first_name": "Telegram"});
    assert_eq!(of("message", said(&group, service, channel.clone())).1, "News -200", "an automatic forward");
    let post = json!({"chat": channel, "text": "x"});
    assert_eq!(of("channel_post", post), ("channel:-200 ".into(), "News -200".into(), "message"));
    let mut topic = said(&group, json!({"id": 1, "first_name": "Ada"}), Value::Null);
    topic["message_thread_id"] = 9.into();
    topic["is_topic_message"] = true.into();
    assert_eq!(of("message", topic.clone()).0, "channel:-100/9 channel:-100");
    topic["chat"] = json!({"id": 42, "type": "private"});
    assert_eq!(of("message", topic).0, "user:42/9 channel:42/9 user:42");
}

#[test]
fn telegram_messages_without_text_become_a_line_that_describes_them() {
    let of = |more: Value| {
        let mut message = json!({"message_id": 5, "date": 1, "chat": {"id": -100, "type": "group"}, "from": {"id": 1, "first_name": "Ada"}});
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        match telegram(&json!({"update_id": 7, "message": message}), "t") {
            Step::Call(Call::Bridged { kind, content, .. }, _) => (kind, content),
            step => panic!("{step:?}"),
        }
    };
    for (more, line) in [
        (
            json!({"photo": [{"width": 90, "height": 60, "file_size": 1000}, {"width": 1280, "height": 720, "file_size": 123456}]}),
            "[photo: 1280×720, 123 KB]",
        ),
        (
            json!({"voice": {"duration": 75, "file_size": 48123, "mime_type": "audio/ogg"}}),
            "[voice message: 1:15, 48 KB]",
        ),
        (json!({"document": {"file_name": "report.pdf", "file_size": 1200000}}), "[file: report.pdf, 1.2 MB]"),
        (json!({"video": {"duration": 5, "file_size": 999}}), "[video: 0:05, 999 B]"),
        (
            json!({"animation": {"file_name": "a.mp4", "duration": 1}, "document": {"file_name": "a.mp4"}}),
            "[animation: a.mp4, 0:01]",
        ),
        (json!({"audio": {"performer": "A", "title": "B", "duration": 200}}), "[audio: A – B, 3:20]"),
        (json!({"sticker": {"emoji": "🎉", "set_name": "x"}}), "[sticker: 🎉]"),
        (json!({"location": {"latitude": 52.52, "longitude": 13.405}}), "[location: 52.52000 13.40500]"),
        (json!({"contact": {"phone_number": "+49", "first_name": "Bea"}}), "[contact: Bea]"),
        (
            json!({"poll": {"question": "Which?", "options": [{"text": "this"}, {"text": "that"}]}}),
            "[poll: Which?]\n- this\n- that",
        ),
        (json!({"new_chat_members": [{"id": 2, "first_name": "Bea"}], "new_chat_member": {"id": 2}}), "[joined: Bea]"),
        (json!({"forum_topic_closed": {}}), "[forum topic closed]"),
        (json!({"a_thing_of_tomorrow": {"x": 1}}), "[a thing of tomorrow]"),
        (
            json!({"migrate_to_chat_id": -100500}),
            "[this group has become another chat: give its bridge the target channel:-100500]",
        ),
        (json!({}), "[a message of a kind that is not known here]"),
        (json!({"text": " "}), "[a message of a kind that is not known here]"),
    ] {
        assert_eq!(of(more), ("note", line.to_owned()));
    }
    let (kind, content) = of(
        json!({"caption": "look at this", "caption_entities": [{"type": "text_link", "offset": 5, "length": 2, "url": "https://x.example/?a"}],
        "document": {"file_name": "a.txt", "file_size": 12}, "media_group_id": "1"}),
    );
    assert_eq!((kind, content.as_str()), ("message", "look at (https://x.example/?a) this\n[file: a.txt, 12 B]"));
    let (_, content) = of(
        json!({"text": "do it\nnow", "forward_origin": {"type": "user", "sender_user": {"id": 3, "first_name": "C", "username": "cee"}}, "forward_from": {"id": 3}}),
    );
    assert_eq!(content, "[forwarded from @cee]\n> do it\n> now");
}

#[test]
fn telegram_text_links_are_written_out_with_offsets_in_utf16() {
    let of = |text: &str, entities: Value| {
        let message = json!({"message_id": 5, "chat": {"id": 1, "type": "private"}, "from": {"id": 1, "first_name": "A"}, "text": text, "entities": entities});
        match telegram(&json!({"update_id": 7, "message": message}), "t") {
            Step::Call(Call::Bridged { content, .. }, _) => content,
            step => panic!("{step:?}"),
        }
    };
    let link = |offset: usize, length: usize| json!([{"type": "bold", "offset": 0, "length": 1}, {"type": "text_link", "offset": offset, "length": length, "url": "https://x.example"}]);
    assert_eq!(of("😀😀 here it is", link(5, 4)), "😀😀 here (https://x.example) it is", "UTF-16 units");
    assert_eq!(of("here", link(0, 4)), "here (https://x.example)");
    assert_eq!(of("here", link(2, 99)), "here", "past the end");
    assert_eq!(of("here", link(usize::MAX, 4)), "here");
    assert_eq!(of("plain", json!([{"type": "url", "offset": 0, "length": 5}])), "plain");
}

#[test]
fn halves_of_surrogate_pairs_are_the_replacement_character() {
    let headers = [("x-telegram-bot-api-secret-token", "t".to_owned())];
    let body = br#"{"update_id": 7, "message": {"message_id": 5, "chat": {"id": 1, "type": "private"}, "from": {"id": 1, "first_name": "A\ud83d"}, "text": "\ude00 x \ud83d\ude00"}}"#;
    let Step::Call(Call::Bridged { author, content, .. }, _) = ask(Function::Telegram, &headers, body) else {
        panic!()
    };
    assert_eq!((author.as_str(), content.as_str()), ("A\u{fffd}", "\u{fffd} x 😀"));
    let bearer = |token: &str| [("authorization", format!("Bearer {token}"))];
    let step = ask(Function::Send, &bearer("hush"), br#"{"channel": "a/b", "content": "cut \ud83d"}"#);
    assert!(matches!(&step, Step::Call(Call::Send { content, .. }, _) if content == "cut \u{fffd}"), "{step:?}");
    let token = format!("hubhook_{:064x}", 7);
    let step = ask(Function::Hooks, &bearer(&token), br#"{"channel": "user:1", "message": "cut \udc00"}"#);
    assert!(matches!(&step, Step::Call(Call::Hook { message, .. }, _) if message == "cut \u{fffd}"), "{step:?}");
}

fn discord(body: &Value, at: i64) -> Step {
    let body = body.to_string();
    let signed = hex::encode(key().sign(format!("{at}{body}").as_bytes()).to_bytes());
    let headers = [("x-signature-ed25519", signed), ("x-signature-timestamp", at.to_string())];
    ask(Function::Koji, &headers, body.as_bytes())
}

#[test]
fn discord_interactions_are_commands_of_the_bridged_channel() {
    let Step::Answer(pong) = discord(&json!({"id": "1", "type": 1}), NOW) else { panic!() };
    assert_eq!((pong.status, pong.body.as_str()), (200, r#"{"type":1}"#));
    let command = json!({"id": "2", "type": 2, "channel_id": "42", "member": {"user": {"username": "ada"}},
                         "data": {"name": "lead", "options": [{"name": "name", "type": 3, "value": "cafe \"regular\""}, {"value": 3}]}});
    let Step::Call(call, answers) = discord(&command, NOW) else { panic!() };
    let Call::Bridged { target, external, content, author, .. } = &call else { panic!() };
    assert_eq!((target.as_str(), external.as_str(), author.as_str()), ("channel:42", "2", "ada"));
    assert_eq!(content, r#"!lead "cafe ""regular""" 3"#);
    let answer = answers.answer(&json!({"reply": {"text": "x", "chunks": ["Pipeline: 23 @everyone"]}}));
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&body["type"], &body["data"]["content"]), (&json!(4), &json!("Pipeline: 23 @everyone")));
    assert_eq!(body["data"]["allowed_mentions"], json!({"parse": []}));
    for (value, says) in [
        (json!({"duplicate": true, "reply": null}), "answered already"),
        (json!({"ignored": "commands are not allowed in this bridge"}), "not allowed"),
    ] {
        let body: Value = serde_json::from_str(&answers.answer(&value).body).unwrap();
        assert!(body["data"]["content"].as_str().unwrap().contains(says), "{body}");
        assert_eq!(body["data"]["flags"], 64, "to the one who asked alone");
    }
    // In a thread and in private they mean what free text means there.
    let place_of = |change: Value| {
        let mut command = command.clone();
        command.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        match discord(&command, NOW) {
            Step::Call(Call::Bridged { target, elsewhere, reply_to, .. }, _) => (target, elsewhere, reply_to),
            step => panic!("{step:?}"),
        }
    };
    let thread = json!({"channel": {"id": "42", "type": 11, "parent_id": "7"}});
    assert_eq!(place_of(thread), ("channel:42".into(), vec!["channel:7".into()], Some("42".into())));
    let text = json!({"channel": {"id": "42", "type": 0, "parent_id": "7"}});
    assert_eq!(place_of(text), ("channel:42".into(), vec![], None), "a channel's parent is a heading");
    let private = json!({"member": null, "user": {"id": "9", "username": "ada"}, "channel": {"id": "42", "type": 1}});
    assert_eq!(place_of(private), ("user:9".into(), vec!["channel:42".into()], None));
    let typing = json!({"id": "3", "type": 4, "channel_id": "42", "data": {"name": "lead"}});
    let Step::Answer(choices) = discord(&typing, NOW) else { panic!() };
    let choices: Value = serde_json::from_str(&choices.body).unwrap();
    assert_eq!(choices, json!({"type": 8, "data": {"choices": []}}));
    let menu = json!({"data": {"type": 3, "name": "Look at this", "target_id": "1"}});
    let mut on_a_message = command.clone();
    on_a_message.as_object_mut().unwrap().extend(menu.as_object().unwrap().clone());
    assert!(matches!(discord(&on_a_message, NOW), Step::Answer(answer) if answer.body.contains("Only slash commands")));
    let refused = answers.refuse(&Refused { code: Some("UH004".into()), ..Refused::default() });
    assert!(refused.status == 200 && refused.body.contains("not connected"));
    // A fault of ours is one, so that Discord says so.
    assert_eq!(answers.refuse(&Refused::default()).status, 500);
    for at in [NOW - 301, NOW + 301, i64::MIN, i64::MAX] {
        assert_eq!(status(discord(&command, at)), 401);
    }
    let headers = [("x-signature-ed25519", "00".repeat(64)), ("x-signature-timestamp", NOW.to_string())];
    assert_eq!(status(ask(Function::Koji, &headers, b"{\"id\":\"1\",\"type\":1}")), 401);
}

#[test]
fn a_press_in_discord_updates_the_message_and_refusals_are_shown_to_who_pressed_alone() {
    let press = json!({"id": "3", "type": 3, "channel_id": "42", "member": {"user": {"id": "9", "username": "ada"}},
                       "message": {"id": "8", "content": "❓ May a1b2 run this?\n`make`"},
                       "data": {"component_type": 2, "custom_id": "ask:00000000-0000-4000-8000-000000000001:k-_y:z"}});
    let with = |change: Value| {
        let mut press = press.clone();
        press.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        discord(&press, NOW)
    };
    let (call, answers) = called(with(json!({})));
    let arguments = json!({"p_provider": "discord", "p_key": "k-_y:z", "p_author_id": "9", "p_chat": "channel:42"});
    assert_eq!(call, json!(["hub_answer_from_chat", arguments]));
    let private = called(with(json!({"member": null, "user": {"id": "9", "username": "ada"}}))).0;
    assert_eq!(private[1]["p_chat"], "user:9/42");
    let thread = called(with(json!({"channel": {"id": "42", "type": 11, "parent_id": "7"}}))).0;
    assert_eq!(thread[1]["p_chat"], "channel:7/42", "a bridge names the thread, or its channel and the thread");
    for outcome in ["answered", "already", "closed"] {
        let said = answers.answer(&json!({"outcome": outcome, "text": "Ada allowed it @everyone."}));
        let update = json!({"content": "❓ May a1b2 run this?\n`make`\nAda allowed it @everyone.", "components": [], "allowed_mentions": {"parse": []}});
        assert_eq!((said.status, body(&said)), (200, json!({"type": 7, "data": update})), "{outcome}");
    }
    let again = answers.answer(&json!({"outcome": "already", "text": "`make`"}));
    assert_eq!(body(&again)["data"]["content"], "❓ May a1b2 run this?\n`make`", "said once");
    for (outcome, says) in [("unlinked", "hub link"), ("not_allowed", "may not"), ("unknown", "nothing")] {
        let said = body(&answers.answer(&json!({ "outcome": outcome })));
        assert_eq!((&said["type"], &said["data"]["flags"]), (&json!(4), &json!(64)), "{outcome}");
        assert!(said["data"]["content"].as_str().unwrap().contains(says), "{said}");
    }
    let long = called(with(json!({"message": {"content": "x".repeat(2000)}}))).1;
    let content =
        body(&long.answer(&json!({"outcome": "answered", "text": "Done by Ada."})))["data"]["content"].clone();
    assert!(content.as_str().unwrap().chars().count() == 2000 && content.as_str().unwrap().ends_with("\nDone by Ada."));
    let refused =
        answers.refuse(&Refused { code: Some("42501".into()), message: Some("no".into()), ..Refused::default() });
    assert_eq!((body(&refused)["type"].clone(), body(&refused)["data"]["flags"].clone()), (json!(4), json!(64)));
    assert_eq!(answers.refuse(&Refused::default()).status, 500);
    for custom_id in ["", "ask:", "ask:1", "ask:1:", "other:1:k"] {
        let Step::Answer(answer) = with(json!({"data": {"custom_id": custom_id}})) else { panic!("{custom_id}") };
        assert!(answer.body.contains("not something that can be pressed"), "{custom_id}");
    }
    let headers = [("x-signature-ed25519", "00".repeat(64)), ("x-signature-timestamp", NOW.to_string())];
    assert_eq!(
        status(ask(Function::Koji, &headers, press.to_string().as_bytes())),
        401,
        "signed as slash commands are"
    );
}

#[test]
fn discords_link_command_takes_a_code_in_every_channel_and_answers_who_typed_it_alone() {
    let link = json!({"id": "2", "type": 2, "channel_id": "42", "member": {"user": {"id": "9", "username": "ada"}},
                      "data": {"name": "link", "options": [{"name": "code", "type": 3, "value": " ABCD-1234 "}]}});
    let (call, answers) = called(discord(&link, NOW));
    let arguments = json!({"p_provider": "discord", "p_author_id": "9", "p_author": "ada", "p_code": "ABCD-1234"});
    assert_eq!(call, json!(["hub_link_chat", arguments]));
    let said = body(&answers.answer(&json!({"linked": true, "text": "You are ada@example.com here."})));
    assert_eq!((&said["type"], &said["data"]["flags"]), (&json!(4), &json!(64)));
    assert_eq!(said["data"]["content"], "You are ada@example.com here.");
}

#[test]
fn an_answer_is_a_token_and_an_option_whatever_the_bodys_type() {
    let with = |body: &[u8], kind: &str| ask(Function::Answer, &[("content-type", kind.into())], body);
    let good = br#"{"token": "hush", "answer": "allow"}"#;
    for kind in ["application/json", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded"] {
        let (call, answers) = called(with(good, kind));
        assert_eq!(call, json!(["hub_answer_by_token", {"p_token": "hush", "p_answer": "allow"}]));
        for (outcome, status) in [
            ("answered", 200),
            ("already", 409),
            ("closed", 409),
            ("not_allowed", 403),
            ("unlinked", 403),
            ("unknown", 401),
        ] {
            let said = answers.answer(&json!({"outcome": outcome, "text": "So it is."}));
            assert_eq!(said.status, status, "{outcome}");
            assert!(said.body.contains("So it is."));
        }
        assert_eq!(answers.refuse(&Refused { code: Some("UH001".into()), ..Refused::default() }).status, 400);
    }
    for bad in
        [r#"{"answer": "allow"}"#, r#"{"token": "x", "answer": ""}"#, r#"{"token": "", "answer": "x"}"#, "token=x", ""]
    {
        assert_eq!(status(with(bad.as_bytes(), "application/json")), 400, "{bad}");
    }
    let long = json!({"token": "x".repeat(201), "answer": "allow"}).to_string();
    assert_eq!(status(with(long.as_bytes(), "application/json")), 400);
}

#[test]
fn koji_send_and_hooks_need_a_token_and_valid_fields() {
    let with = |function, body: &Value| {
        let token = if function == Function::Hooks { format!("hubhook_{:064x}", 7) } else { "hush".into() };
        ask(function, &[("authorization", format!("Bearer {token}"))], body.to_string().as_bytes())
    };
    let channel = "00000000-0000-0000-0000-000000000001";
    assert!(
        matches!(with(Function::Koji, &json!({"channel_id": channel, "command": "!st\u{0}ats"})), Step::Call(Call::Command { command, .. }, _) if command == "!st ats")
    );
    assert!(matches!(
        with(Function::Send, &json!({"channel": "a/b", "content": "x"})),
        Step::Call(Call::Send { key: None, .. }, _)
    ));
    assert!(matches!(
        with(Function::Hooks, &json!({"message": "x", "channel": "user:1"})),
        Step::Call(Call::Hook { deliver: true, .. }, _)
    ));
    for (function, body, says) in [
        (Function::Koji, json!("x"), "channel_id is missing"),
        (Function::Koji, json!({"channel_id": "leads", "command": "!stats"}), "channel_id is not a UUID"),
        (Function::Koji, json!({"channel_id": channel, "command": null}), "command must be a string"),
        (Function::Send, json!({"channel": "a/b"}), "content is missing"),
        (Function::Hooks, json!({"message": "x", "channel": "123"}), "channel must be written"),
        (Function::Hooks, json!({"message": "x", "channel": "user:"}), "channel must be written"),
        (
            Function::Hooks,
            json!({"message": "x", "channel": "user:1", "deliver": "yes"}),
            "deliver must be true or false",
        ),
    ] {
        let Step::Answer(response) = with(function, &body) else { panic!("{body}") };
        assert!(response.status == 400 && response.body.contains(says), "{body}: {}", response.body);
        assert_eq!(response.content_type, "application/problem+json");
    }
    let short = [("authorization", "Bearer hubhook_00".to_owned())];
    assert_eq!(status(ask(Function::Hooks, &short, br#"{"message": "x", "channel": "user:1"}"#)), 401);
    for headers in [
        vec![],
        vec![("authorization", "hush".to_owned())],
        vec![("authorization", "Basic hush".to_owned())],
        vec![("authorization", "Bearer ".to_owned())],
    ] {
        assert_eq!(status(ask(Function::Send, &headers, b"{}")), 401);
    }
    let call = format!("{:?}", with(Function::Send, &json!({"channel": "a/b", "content": "x"})));
    assert!(!call.contains("hush"), "{call}");
}

#[test]
fn other_methods_and_large_bodies_are_refused() {
    let header = |_: &str| None;
    let get = Request { method: "GET", name: None, header: &header, body: b"", now: NOW };
    assert_eq!(status(plan(Function::Send, &get, &secrets())), 405);
    let shown = [("authorization", "Bearer hush".to_owned())];
    assert_eq!(status(ask(Function::Koji, &shown, &vec![b'x'; 64 * 1024 + 1])), 413);
    // Who shows no credentials is told so before a body is read. An answer's are in its body, which is small.
    assert_eq!(status(ask(Function::Answer, &[], &[b'x'; 4097])), 413);
    for function in Function::ALL.into_iter().filter(|function| *function != Function::Answer) {
        assert_eq!(status(ask(function, &[], &vec![b'x'; function.body_limit() + 1])), 401, "{function:?}");
        let request = Request { method: "POST", name: None, header: &header, body: b"", now: NOW };
        assert_eq!(look(function, &request, &secrets()).map_err(|problem| problem.status), Err(401), "{function:?}");
    }
    assert_eq!(status(ask(Function::Send, &[("content-type", "text/plain".into())], b"x")), 415);
    for function in Function::ALL {
        assert_eq!(Function::named(function.name()), Some(function));
    }
}

#[test]
fn uh006_answers_429_with_retry_after_also_to_telegram() {
    let of = |hint: &str| Refused {
        code: Some("UH006".into()),
        message: Some("too many".into()),
        detail: Some("messages of a person: 600".into()),
        hint: Some(hint.into()),
    };
    let answer = Response::from(of("Try again in 7 s, at 2026-11-26T14:00:03Z.").problem());
    assert_eq!((answer.status, answer.retry_after), (429, Some(7)));
    let large = of("Send them in several requests. Try again in 7 s, at 2026-11-26T14:00:03Z.");
    assert_eq!(Response::from(large.problem()).retry_after, Some(7));
    assert_eq!(Response::from(of("Remove some first.").problem()).retry_after, None);
    assert_eq!(telegram::ANSWERS.refuse(&of("Try again in 7 s, at then.")).status, 429);
    assert_eq!(discord::ANSWERS.refuse(&of("Try again in 7 s, at then.")).status, 200);
}
