//! The HTTP functions before and after the database: whatever comes, each answer is one that is described, and nothing panics. Requests begin as
//! good ones, since noise is refused at the door; they are broken in a few places, and signed after that, so that the parsers see them.

use hub_edge::{Answers, Call, Function, Refused, Request, Response, Secrets, Step, look, plan};
use hub_tests::World;
use proptest::prelude::*;
use ring::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};
use std::sync::LazyLock;

const NOW: i64 = 1_700_000_000;
const GITHUB_SECRET: &str = "s";
static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());
static SECRETS: LazyLock<Secrets> = LazyLock::new(|| {
    Secrets::from(|name| match name {
        "GITHUB_WEBHOOK_SECRET" => Some(GITHUB_SECRET.into()),
        "TELEGRAM_WEBHOOK_SECRET" => Some("t".into()),
        _ => Some(hex::encode(KEY.public_key())),
    })
});

/// Good bodies: of each function some, and those of the others are odd ones for it.
const GOOD: [&str; 13] = [
    r#"{"channel_id": "00000000-0000-0000-0000-000000000001", "command": "!stats"}"#,
    r#"{"id": "2", "type": 2, "channel_id": "42", "member": {"user": {"username": "ada"}}, "data": {"name": "lead", "options": [{"name": "n", "type": 3, "value": "cafe \"x\""}, {"value": 3}]}}"#,
    r#"{"id": "1", "type": 1}"#,
    r#"{"ref": "refs/heads/main", "repository": {"full_name": "a/b"}, "n": [1, -2.5e3, true, null], "text": "\u0000\ud83d\ude00\ud800"}"#,
    "payload=%7B%22a%22%3A%201%7D&b=c",
    r#"{"update_id": 7, "message": {"message_id": 5, "chat": {"id": -100}, "from": {"id": 1, "is_bot": false, "first_name": "Ada", "username": "ada"}, "text": "!stats", "reply_to_message": {"message_id": 4}, "message_thread_id": 9}}"#,
    r#"{"message": "x", "channel": "channel:00000000-0000-0000-0000-000000000001", "deliver": true, "idempotency_key": "k"}"#,
    r#"{"channel": "a/b", "content": "x", "idempotency_key": "k"}"#,
    "{}",
    r#"{"update_id": 8, "callback_query": {"id": "9", "from": {"id": 1, "is_bot": false, "first_name": "Ada"}, "message": {"message_id": 5, "chat": {"id": -100}}, "data": "0f"}}"#,
    r#"{"update_id": 9, "message": {"message_id": 6, "chat": {"id": 1, "type": "private"}, "from": {"id": 1, "is_bot": false, "first_name": "Ada"}, "text": "/link ABCD"}}"#,
    r#"{"id": "3", "type": 3, "channel_id": "42", "member": {"user": {"id": "7", "username": "ada"}}, "message": {"content": "May I?"}, "data": {"custom_id": "ask:00000000-0000-0000-0000-000000000001:0f"}}"#,
    r#"{"token": "0f", "answer": "allow"}"#,
];

/// What one good body is broken with.
const SHARDS: [&[u8]; 20] = [
    b"",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[[[[",
    b"]",
    b",",
    b":",
    b"null",
    b"1e400000",
    b"-",
    b"\\u0000",
    b"\\ud800",
    b"\\udc00",
    b"\0",
    b"\xff",
    b"\xf0\x9f\xa6\xa5",
    b"\"a\": {\"b\": [",
    b"99999999999999999999",
];

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let shard = prop_oneof![
        proptest::sample::select(&SHARDS[..]).prop_map(<[u8]>::to_vec),
        proptest::collection::vec(any::<u8>(), 0..6),
    ];
    let breaks = proptest::collection::vec((any::<prop::sample::Index>(), 0..6_usize, shard), 0..4);
    let broken = (proptest::sample::select(&GOOD[..]), breaks).prop_map(|(good, breaks)| {
        let mut body = good.as_bytes().to_vec();
        for (at, taken, put) in breaks {
            let from = at.index(body.len() + 1);
            let to = (from + taken).min(body.len());
            body.splice(from..to, put);
        }
        body
    });
    prop_oneof![8 => broken, 1 => proptest::collection::vec(any::<u8>(), 0..200), 1 => any_json().prop_map(|json| json.to_string().into_bytes())]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let key = prop_oneof![
        proptest::sample::select(
            &["reply", "chunks", "task", "id", "duplicate", "delivery", "message", "code", "hint", "text", "0"][..]
        )
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    leaf.prop_recursive(4, 32, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((key.clone(), inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

type Headers = Vec<(&'static str, String)>;

/// The headers of a good request with this body, whichever function it is for.
fn signed(body: &[u8], interaction: bool) -> Headers {
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, GITHUB_SECRET.as_bytes()), body);
    let mut headers = vec![
        ("content-type", "application/json".to_owned()),
        ("authorization", "Bearer hush".into()),
        ("x-hub-signature-256", format!("sha256={}", hex::encode(mac))),
        ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958".into()),
        ("x-github-event", "push".into()),
        ("x-telegram-bot-api-secret-token", "t".into()),
    ];
    if interaction {
        let signature = KEY.sign(&[NOW.to_string().as_bytes(), body].concat());
        headers.push(("x-signature-ed25519", hex::encode(signature)));
        headers.push(("x-signature-timestamp", NOW.to_string()));
    }
    headers
}

/// A few headers gone, or something else.
fn any_change() -> impl Strategy<Value = Vec<(prop::sample::Index, Option<String>)>> {
    let other = prop_oneof![
        Just(None),
        any::<String>().prop_map(Some),
        proptest::sample::select(
            &[
                "application/x-www-form-urlencoded",
                "text/plain; x",
                "Bearer ",
                "sha256=",
                "-9223372036854775808",
                "9223372036854775807"
            ][..]
        )
        .prop_map(|text| Some(text.to_owned())),
    ];
    prop_oneof![3 => Just(Vec::new()), 1 => proptest::collection::vec((any::<prop::sample::Index>(), other), 1..3)]
}

fn asked<T>(method: &str, headers: &Headers, body: &[u8], see: impl FnOnce(&Request<'_>) -> T) -> T {
    let header = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
    see(&Request { method, name: None, header: &header, body, now: NOW })
}

/// The answer is one that the README names, and JSON; a problem says so of itself.
fn described(response: &Response) -> Result<Value, TestCaseError> {
    let body: Value = serde_json::from_str(&response.body).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert!([200, 202, 400, 401, 403, 404, 405, 409, 413, 415, 429, 503, 504, 500].contains(&response.status));
    if response.status < 300 {
        prop_assert_eq!(response.content_type, "application/json");
    } else {
        prop_assert_eq!(response.content_type, "application/problem+json");
        prop_assert_eq!(&body["status"], response.status);
        prop_assert!(body["detail"].is_string() && body["title"].is_string());
    }
    Ok(body)
}

/// How the door answers that a good request comes by.
fn by_door(function: Function, body: &str, interaction: bool) -> Answers {
    let mut headers = signed(body.as_bytes(), interaction);
    if function == Function::Hooks {
        headers[1].1 = format!("Bearer hubhook_{:064x}", 7);
    }
    match asked("POST", &headers, body.as_bytes(), |request| plan(function, request, &SECRETS)) {
        Step::Call(_, answers) => answers,
        Step::Answer(response) => panic!("{response:?}"),
    }
}

fn answers_of(call: &Call) -> Answers {
    match call {
        Call::Command { .. } => by_door(Function::Koji, GOOD[0], false),
        Call::Bridged { provider: "discord", .. } => by_door(Function::Koji, GOOD[1], true),
        Call::Webhook { .. } => by_door(Function::GitHub, GOOD[3], false),
        Call::Bridged { .. } => by_door(Function::Telegram, GOOD[5], false),
        Call::Hook { .. } => by_door(Function::Hooks, GOOD[6], false),
        Call::Send { .. } => by_door(Function::Send, GOOD[7], false),
        Call::Pressed { provider: "discord", .. } => by_door(Function::Koji, GOOD[11], true),
        Call::Pressed { .. } => by_door(Function::Telegram, GOOD[9], false),
        Call::Linked { .. } => by_door(Function::Telegram, GOOD[10], false),
        Call::Answered { .. } => by_door(Function::Answer, GOOD[12], false),
    }
}

fn names(call: &Call) -> &'static [&'static str] {
    match call {
        Call::Command { .. } => &["p_channel_id", "p_command"],
        Call::Send { .. } => &["p_channel", "p_content", "p_idempotency_key"],
        Call::Webhook { .. } => &["p_delivery_id", "p_event", "p_payload", "p_provider", "p_secret_name"],
        Call::Bridged { .. } => &[
            "p_author",
            "p_author_id",
            "p_content",
            "p_elsewhere",
            "p_external_id",
            "p_interaction",
            "p_kind",
            "p_provider",
            "p_reply_to",
            "p_target",
        ],
        Call::Hook { .. } => &["p_deliver", "p_idempotency_key", "p_message", "p_target", "p_token"],
        Call::Pressed { .. } => &["p_author_id", "p_chat", "p_key", "p_provider"],
        Call::Linked { .. } => &["p_author", "p_author_id", "p_code", "p_provider"],
        Call::Answered { .. } => &["p_answer", "p_token"],
    }
}

/// What goes to PostgREST: the named arguments and no others, and nothing that Postgres' text does not hold.
fn arguments(call: &Call) -> Result<Value, TestCaseError> {
    let text = call.arguments();
    let read: Value = match serde_json::from_str(&text) {
        Ok(read) => read,
        // A payload may hold a number that is none of Rust's; then at least the rest is in order.
        Err(error) if error.to_string().contains("out of range") => return Ok(Value::Null),
        Err(error) => return Err(TestCaseError::fail(format!("{error}: {text}"))),
    };
    let fields = read.as_object().ok_or_else(|| TestCaseError::fail("no object"))?;
    let mut known: Vec<&str> = fields.keys().map(String::as_str).collect();
    known.sort_unstable();
    prop_assert_eq!(known, names(call));
    prop_assert!(!holds_zero(&read), "{}", text);
    Ok(read)
}

fn holds_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_zero),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || holds_zero(value)),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn any_request_is_answered_or_becomes_one_call(
        function in proptest::sample::select(&Function::ALL[..]),
        method in prop_oneof![9 => Just("POST".to_owned()), 1 => any::<String>()],
        body in any_body(),
        interaction in any::<bool>(),
        changes in any_change(),
        said in any_json(),
    ) {
        let mut headers = signed(&body, interaction);
        for (at, other) in changes {
            let at = at.index(headers.len());
            match other {
                Some(value) => headers[at].1 = value,
                None => drop(headers.remove(at)),
            }
        }
        let looked = asked(&method, &headers, b"", |request| look(function, request, &SECRETS));
        let step = asked(&method, &headers, &body, |request| plan(function, request, &SECRETS));
        match step {
            Step::Answer(response) => {
                described(&response)?;
                prop_assert!(response.status != 500 && response.status != 504, "{response:?}");
                if let Err(problem) = looked {
                    prop_assert_eq!(problem.status, response.status, "what is refused at the door is refused with the body");
                }
            }
            Step::Call(call, answers) => {
                prop_assert!(looked.is_ok(), "whoever comes in came by the door");
                arguments(&call)?;
                described(&answers.answer(&said))?;
                described(&answers.refuse(&serde_json::from_value(said).unwrap_or_default()))?;
            }
        }
    }

    #[test]
    fn any_database_answer_is_passed_on_without_internal_details(
        call in any_call(),
        said in any_json(),
        code in prop_oneof!["[0-9A-Z]{5}", "UH00[1-6]", "22[0-9]{3}", "PGRST[0-9]{3}", Just("42501".to_owned()), Just(String::new()), any::<String>()],
        message in any::<String>(),
        hint in proptest::option::of(any::<String>()),
    ) {
        arguments(&call)?;
        let answers = answers_of(&call);
        let answer = answers.answer(&said);
        described(&answer)?;
        // A token is a key to a door: what it does not open is refused as by any door.
        let by_token = matches!(call, Call::Answered { .. });
        prop_assert!(answer.status < 300 || by_token && answer.status < 500);
        let refused = Refused { code: Some(code), message: Some(message), detail: Some("our inside".into()), hint };
        let response = answers.refuse(&refused);
        let body = described(&response)?;
        prop_assert_ne!(response.status, 202);
        if response.status >= 500 || response.status == 401 {
            prop_assert!(!response.body.contains("our inside"), "{}", response.body);
        }
        if let Some(text) = body.pointer("/data/content").and_then(Value::as_str) {
            prop_assert!(text.chars().count() <= 2000);
        }
    }

    /// Discord's limit, whatever a command answers.
    #[test]
    fn a_message_to_discord_is_not_longer_than_it_may_be(chunks in proptest::collection::vec("\\PC{0,3000}", 0..4)) {
        let body = described(&by_door(Function::Koji, GOOD[1], true).answer(&json!({"reply": {"chunks": chunks}})))?;
        prop_assert!(body["data"]["content"].as_str().unwrap().chars().count() <= 2000);
    }
}

fn any_call() -> impl Strategy<Value = Call> {
    let text = any::<String>;
    let maybe = move || proptest::option::of(text());
    prop_oneof![
        (any::<[u8; 16]>(), text()).prop_map(|(channel, command)| Call::Command {
            token: "hush".into(),
            channel: uuid::Uuid::from_bytes(channel),
            command,
        }),
        (text(), text(), maybe()).prop_map(|(channel, content, key)| Call::Send {
            token: "hush".into(),
            channel,
            content,
            key
        }),
        (text(), text(), any_json(), text()).prop_map(|(delivery, event, payload, secret)| Call::Webhook {
            provider: "github",
            delivery,
            event,
            payload: serde_json::value::to_raw_value(&payload).unwrap(),
            secret,
        }),
        (
            proptest::sample::select(&["discord", "telegram"][..]),
            text(),
            text(),
            text(),
            text(),
            maybe(),
            any::<bool>(),
            maybe(),
            proptest::collection::vec(text(), 0..3),
            proptest::sample::select(&["message", "note", "edit"][..])
        )
            .prop_map(
                |(provider, target, external, author, content, reply_to, interaction, author_id, elsewhere, kind)| {
                    Call::Bridged {
                        provider,
                        target,
                        elsewhere,
                        external,
                        author,
                        content,
                        reply_to,
                        interaction,
                        author_id,
                        kind,
                    }
                }
            ),
        (text(), text(), text(), any::<bool>(), maybe()).prop_map(|(token, message, target, deliver, key)| {
            Call::Hook { token: token.into(), message, target, deliver, key }
        }),
        (proptest::sample::select(&["discord", "telegram"][..]), text(), text(), text())
            .prop_map(|(provider, key, author_id, chat)| Call::Pressed { provider, key: key.into(), author_id, chat }),
        (text(), text(), text()).prop_map(|(author_id, author, code)| Call::Linked {
            provider: "telegram",
            author_id,
            author,
            code: code.into()
        }),
        (text(), maybe()).prop_map(|(token, answer)| Call::Answered { token: token.into(), answer }),
    ]
}

/// What is taken for storable is stored: Postgres' word on it, and on what it made of it.
#[test]
fn accepted_payloads_are_stored_unchanged() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(1500));
    let outcome = runner.run(&any_body(), |body| {
        let headers = signed(&body, false);
        let Step::Call(Call::Webhook { payload, .. }, _) =
            asked("POST", &headers, &body, |request| plan(Function::GitHub, request, &SECRETS))
        else {
            return Ok(());
        };
        let stored: Result<Value, sqlx::Error> =
            runtime.block_on(sqlx::query_scalar("select $1::text::jsonb").bind(payload.get()).fetch_one(&world.pool));
        match stored {
            Ok(stored) => {
                if let Ok(read) = serde_json::from_str::<Value>(payload.get()) {
                    prop_assert_eq!(
                        stored.as_object().map(serde_json::Map::len),
                        read.as_object().map(serde_json::Map::len)
                    );
                }
                Ok(())
            }
            // The one thing that is left to Postgres to refuse: numbers that it does not hold either.
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("22003") => Ok(()),
            Err(error) => Err(TestCaseError::fail(format!("{error}: {payload}"))),
        }
    });
    outcome.unwrap();
}
