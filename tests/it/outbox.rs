//! What goes out: a real worker, a real database, and a server that speaks as Discord, Telegram, GitHub and a webhook's receiver do,
//! with their faults.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use hub::{db::Db, types::Bridged};
use hub_tests::{Worker, World, agent};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::sync::Notify;

const SIGNING: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const TELEGRAM: &str = "123:hush-telegram";

/// What a request meets instead of an answer, or before it.
#[derive(Clone)]
enum Fault {
    /// This answer, and nothing is done.
    Answer(u16, &'static [(&'static str, &'static str)], Value),
    /// It is done, and then the connection is gone.
    Cut,
    /// It is done, and the answer waits until the test lets it go.
    Stall,
}

#[derive(Clone)]
pub(crate) struct Asked {
    pub method: String,
    path: String,
    query: String,
    pub headers: HeaderMap,
    bytes: Vec<u8>,
}

impl Asked {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }
}

#[derive(Default)]
pub(crate) struct Outside {
    asked: Mutex<Vec<Asked>>,
    faults: Mutex<Vec<(&'static str, Fault)>>,
    /// Messages and comments, as they were sent, with `id` and `place`.
    kept: Mutex<Vec<Value>>,
    ids: AtomicUsize,
    release: Notify,
}

pub(crate) async fn outside() -> (Arc<Outside>, String) {
    let outside = Arc::new(Outside::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(Arc::clone(&outside));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (outside, url)
}

async fn answer(State(outside): State<Arc<Outside>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let asked = Asked {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or("").to_owned(),
        headers: head.headers,
        bytes: to_bytes(body, 1 << 20).await.unwrap().to_vec(),
    };
    outside.asked.lock().unwrap().push(asked.clone());
    let fault = {
        let mut faults = outside.faults.lock().unwrap();
        let at = faults.iter().position(|(path, _)| asked.path.contains(path));
        at.map(|at| faults.remove(at).1)
    };
    if let Some(Fault::Answer(status, headers, body)) = fault {
        let mut response = (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response();
        for (name, value) in headers {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        return response;
    }
    let (status, body) = outside.carry_out(&asked);
    match fault {
        // Without a word in the log: the connection's task ends here.
        Some(Fault::Cut) => std::panic::resume_unwind(Box::new("cut")),
        Some(Fault::Stall) => outside.release.notified().await,
        _ => {}
    }
    let mut response = (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response();
    if status == 302 {
        response.headers_mut().insert("location", "/hook/landed".parse().unwrap());
        *response.body_mut() = Body::empty();
    }
    response
}

impl Outside {
    fn carry_out(&self, asked: &Asked) -> (u16, Value) {
        let mut kept = self.kept.lock().unwrap();
        let next = || 1000 + self.ids.fetch_add(1, Ordering::SeqCst);
        let mut body = asked.json();
        let path = asked.path.trim_start_matches('/').replacen("discord/api/v10/", "discord/", 1);
        let path: Vec<&str> = path.split('/').collect();
        match (asked.method.as_str(), path.as_slice()) {
            (_, ["discord", "channels", ..] | ["discord", "users", ..])
                if asked.headers["authorization"] != "Bot hush-discord" =>
            {
                (401, json!({"code": 0, "message": "401: Unauthorized"}))
            }
            ("POST", ["discord", "users", "@me", "channels"]) => {
                (200, json!({"id": format!("9{}", body["recipient_id"].as_str().unwrap())}))
            }
            ("POST", ["discord", "channels", place, "messages"] | ["discord", "webhooks", place, _]) => {
                if body["content"].as_str().unwrap().encode_utf16().count() > 2000 {
                    return (400, json!({"code": 50035, "message": "Invalid Form Body"}));
                }
                let known = kept.iter().find(|known| {
                    body["enforce_nonce"] == true && known["nonce"] == body["nonce"] && known["place"] == *place
                });
                if let Some(known) = known {
                    return (200, known.clone());
                }
                body["id"] = next().to_string().into();
                body["place"] = (*place).into();
                kept.push(body.clone());
                (200, body)
            }
            ("PATCH", ["discord", .., "messages", id]) => match kept.iter_mut().find(|known| known["id"] == *id) {
                Some(known) => {
                    known["content"] = body["content"].clone();
                    if let Some(components) = body.get("components") {
                        known["components"] = components.clone();
                    }
                    (200, known.clone())
                }
                None => (404, json!({"code": 10008, "message": "Unknown Message"})),
            },
            (_, ["telegram", bot, ..]) if *bot != format!("bot{TELEGRAM}") => {
                (404, json!({"ok": false, "error_code": 404, "description": "Not Found"}))
            }
            ("POST", ["telegram", _, "sendMessage"]) => {
                if body["text"].as_str().unwrap().encode_utf16().count() > 4096 {
                    return (
                        400,
                        json!({"ok": false, "error_code": 400, "description": "Bad Request: message is too long"}),
                    );
                }
                let id = next();
                body["id"] = id.into();
                kept.push(body);
                (200, json!({"ok": true, "result": {"message_id": id}}))
            }
            ("POST", ["telegram", _, "editMessageText"]) => {
                let bad = |words: &str| {
                    (400, json!({"ok": false, "error_code": 400, "description": format!("Bad Request: {words}")}))
                };
                match kept.iter_mut().find(|known| known["id"] == body["message_id"]) {
                    None => bad("message to edit not found"),
                    Some(known) if known["text"] == body["text"] && known["reply_markup"] == body["reply_markup"] => {
                        bad("message is not modified: specified new message content is the same")
                    }
                    Some(known) => {
                        known["text"] = body["text"].clone();
                        // What an edit does not name is gone.
                        known["reply_markup"] = body["reply_markup"].clone();
                        (200, json!({"ok": true, "result": {"message_id": body["message_id"]}}))
                    }
                }
            }
            (_, ["github", ..]) if asked.headers["authorization"] != "Bearer hush-github" => {
                (401, json!({"message": "Bad credentials"}))
            }
            ("GET", ["github", "repos", ..]) => {
                (200, kept.iter().filter(|kept| kept.get("body").is_some()).cloned().collect())
            }
            ("POST", ["github", "repos", ..]) => {
                body["id"] = next().into();
                kept.push(body.clone());
                (201, body)
            }
            // JSON is posted to the server, and names its topic.
            ("POST", ["ntfy", ""]) => {
                body["id"] = format!("n{}", next()).into();
                kept.push(body.clone());
                (200, body)
            }
            ("POST", ["hook", ..]) => (200, json!({"never": "read"})),
            ("POST", ["redirect", ..]) => (302, Value::Null),
            _ => (404, json!({"message": "no such path"})),
        }
    }

    fn fault(&self, path: &'static str, fault: Fault) {
        self.faults.lock().unwrap().push((path, fault));
    }

    pub fn asked(&self, path: &str) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.path.contains(path)).cloned().collect()
    }

    pub async fn until_asked(&self, path: &str, times: usize) {
        for _ in 0..1000 {
            if self.asked(path).len() >= times {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{path} was asked {} times, not {times}", self.asked(path).len());
    }

    pub fn kept(&self) -> Vec<Value> {
        self.kept.lock().unwrap().clone()
    }
}

/// A worker that delivers to the server.
pub(crate) async fn worker(world: &World, url: &str, agents: &[Value], more: &[(&str, &str)]) -> Worker {
    let (discord, telegram, github) = (format!("{url}/discord"), format!("{url}/telegram"), format!("{url}/github"));
    let mut environment = vec![
        ("HUB_DISCORD_API_URL", discord.as_str()),
        ("HUB_TELEGRAM_API_URL", &telegram),
        ("HUB_GITHUB_API_URL", &github),
        ("HUB_OUTBOX_ALLOW_PRIVATE_ADDRESSES", "1"),
        ("DISCORD_BOT_TOKEN", "hush-discord"),
        ("TELEGRAM_BOT_TOKEN", TELEGRAM),
        ("HUB_GITHUB_TOKEN", "hush-github"),
        ("HUB_BRIDGE_X", SIGNING),
        // The environment's proxy would see what goes to the providers; the receivers of owners never.
        ("NO_PROXY", "127.0.0.1"),
    ];
    environment.extend_from_slice(more);
    world.worker_with(&format!("out{}", uuid::Uuid::new_v4().simple()), agents, &environment).await
}

pub(crate) async fn bridge(world: &World, provider: &str, target: &str) {
    let secret = if provider == "webhook" { "'HUB_BRIDGE_X'" } else { "null" };
    let direction = if provider == "webhook" { "out" } else { "both" };
    world
        .sql(&format!(
            "insert into public.hub_bridges (server_id, channel_id, provider, target, direction, secret_name, starts_tasks)
             select c.server_id, c.id, '{provider}', '{target}', '{direction}', {secret}, 'everyone' from public.hub_channels c where c.name = 'quick'"
        ))
        .await;
}

/// A row as the hub makes them, to anywhere: a bridge lets no test's address through.
async fn put(world: &World, provider: &str, target: &str, kind: &str, secret: &str, body: Value) {
    // A comment without a bridge goes where its server has a place: before, since a worker takes the row at once.
    if provider == "github" {
        world.sql("insert into public.hub_places (kind, server_id, target) select 'github', s.id, '*' from public.hub_servers s on conflict do nothing").await;
    }
    sqlx::query(
        "insert into public.hub_outbox (server_id, provider, target, secret_name, kind, body, idempotency_key, expires_at)
         select s.id, $1, $2, $3, $4, $5, gen_random_uuid()::text, now() + interval '1 hour' from public.hub_servers s limit 1",
    )
    .bind(provider)
    .bind(target)
    .bind(secret)
    .bind(kind)
    .bind(body)
    .execute(&world.pool)
    .await
    .unwrap();
}

fn said(text: &str) -> Value {
    json!({"text": text, "sender": "Aura Hub", "sender_type": "system", "content_type": "text", "embed": null, "message": null, "task": null})
}

async fn say(world: &World, text: &str) {
    sqlx::query(
        "insert into public.hub_channel_messages (channel_id, content, sender_type, sender_id, sender_label)
         select c.id, $1, 'human', 'x', 'Ada_L' from public.hub_channels c where c.name = 'quick'",
    )
    .bind(text)
    .execute(&world.pool)
    .await
    .unwrap();
}

/// Those who wait for a backoff are due now.
async fn hurry(world: &World) {
    world
        .sql("update public.hub_outbox set run_after = now() where status = 'pending'; notify hub_errands, 'outbox'")
        .await;
}

const STATES: &str = "select coalesce(string_agg(status, ',' order by seq), '') from public.hub_outbox";

async fn no_secret_was_told(world: &World) {
    let told = world.one_text("select coalesce(string_agg(error, ' '), '') from public.hub_outbox").await;
    assert!(!told.contains("hush") && !told.contains("whsec") && !told.contains("http://"), "{told}");
}

#[tokio::test]
async fn a_bridge_carries_both_ways_without_echo_and_replies_with_the_result() {
    let world = World::new().await;
    let (outside, url) = outside().await;
    // Where tasks of this channel run.
    std::fs::create_dir_all(world.root().join("Desktop/homelab")).unwrap();
    bridge(&world, "discord", "channel:77").await;
    bridge(&world, "telegram", "channel:-5/7").await;
    let db = Db::connect(&world.url).await.unwrap();
    let come = async |id: &str, text: &str| {
        db.receive_bridged(&Bridged {
            provider: "discord",
            target: "channel:77",
            external: id,
            author: "Larry",
            content: text,
            ..Bridged::default()
        })
        .await
        .unwrap()
    };
    // The first is refused for a moment, and sent all the same at its first attempt.
    outside.fault(
        "/channels/77/",
        Fault::Answer(
            429,
            &[("retry-after", "1")],
            json!({"retry_after": 0.3, "global": false, "message": "You are being rate limited."}),
        ),
    );
    let go = world.root().join("go");
    let script =
        format!("echo 'first line'; while [ ! -e {} ]; do sleep 0.1; done; echo 'Roses are red'", go.display());
    let worker = worker(&world, &url, &[agent("sh", &script)], &[]).await;
    come("501", "Write a poem").await;
    outside.until_asked("/channels/77/", 2).await;
    world.until_text("select coalesce(max(status), '') from public.mac_tasks", "running").await;
    // What is running is shown by an edit, and again if somebody deleted the message.
    outside.until_asked("/channels/77/messages/", 1).await;
    std::fs::write(&go, "").unwrap();
    world.until_text("select count(*)::text from public.hub_outbox where status = 'sent' and kind = 'reply' and provider = 'discord'", "1").await;
    world.until_text("select count(*) || '' from public.hub_outbox where status <> 'sent'", "0").await;

    let there: Vec<Value> = outside.kept().into_iter().filter(|kept| kept["place"] == "77").collect();
    assert_eq!(there.len(), 2, "one message of progress, one result: {there:#?}");
    assert_eq!(there[0]["allowed_mentions"]["parse"], json!([]));
    assert_eq!(there[0]["enforce_nonce"], true);
    assert!(there[1]["content"].as_str().unwrap().contains("Roses are red"), "{there:#?}");
    assert_eq!(there[1]["message_reference"], json!({"message_id": "501", "fail_if_not_exists": false}));
    assert_eq!(there[1]["embeds"][0]["title"], "Task Complete");
    assert!(there[1]["embeds"][0].get("description").is_none(), "the text says it");
    // On the other side of the hub: what was asked, from whom and where, and a reply to that copy.
    let other: Vec<Value> = outside.kept().into_iter().filter(|kept| kept["chat_id"] == -5).collect();
    assert_eq!(other[0]["text"], "Larry (Discord): Write a poem");
    assert!(other.iter().all(|message| message["message_thread_id"] == 7 && message.get("parse_mode").is_none()));
    assert_eq!(other.last().unwrap()["reply_parameters"]["message_id"], other[0]["id"]);
    assert_eq!(other.len(), 3, "{other:#?}");

    // Discord tells a bot of its own messages, too.
    let before = world.count_all("select count(*) from public.hub_channel_messages").await;
    for message in &there {
        assert_eq!(come(message["id"].as_str().unwrap(), "again").await["echo"], true);
    }
    assert_eq!(world.count_all("select count(*) from public.hub_channel_messages").await, before);
    assert_eq!(
        world.count_all("select max(attempt)::bigint from public.hub_outbox where provider = 'discord'").await,
        1,
        "a short limit is waited for"
    );
    no_secret_was_told(&world).await;
    worker.stop().await;
}

#[tokio::test]
async fn the_list_of_a_teams_parts_is_edited_in_every_chat_and_stays_away_where_somebody_deleted_it() {
    let world = World::new().await;
    let (outside, url) = outside().await;
    bridge(&world, "discord", "channel:77").await;
    bridge(&world, "telegram", "channel:9").await;
    let worker = worker(&world, &url, &[], &[]).await;
    world.sql("update public.mesh_devices set drained_at = now()").await;
    world.send("!team Tidy up\n- Count the lines\n- Sort the words").await;
    let lists = || {
        let kept = outside.kept();
        let texts = kept.iter().filter_map(|kept| kept["content"].as_str().or(kept["text"].as_str()));
        texts.filter(|text| text.starts_with("🧩")).map(str::to_owned).collect::<Vec<_>>()
    };
    let until = async |marks: usize, count: usize| {
        for _ in 0..1000 {
            let lists = lists();
            if lists.len() == count && lists.iter().all(|list| list.matches('🚫').count() == marks) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not {count} lists with {marks} ends: {:#?}", outside.kept());
    };
    let cancel =
        |part: &str| format!("select public.hub_cancel_task(id) from public.mac_tasks where content like '{part}%'");
    until(0, 2).await;
    world.sql(&cancel("Count the lines")).await;
    until(1, 2).await;
    outside.kept.lock().unwrap().retain(|kept| kept["place"] != "77");
    world.sql(&cancel("Sort the words")).await;
    until(2, 1).await;
    let waiting =
        "select count(*)::text from public.hub_outbox where status in ('pending', 'sending') and kind = 'edit'";
    world.until_text(waiting, "0").await;
    assert_eq!(lists().len(), 1, "{:#?}", outside.kept());
    no_secret_was_told(&world).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_long_text_is_several_messages_each_once() {
    let world = World::new().await;
    let (outside, url) = outside().await;
    bridge(&world, "discord", "channel:77").await;
    bridge(&world, "telegram", "channel:9").await;
    let worker = worker(&world, &url, &[], &[]).await;
    let long = (0..400).map(|n| format!("line {n:04}")).collect::<Vec<_>>().join("\n");
    let text = format!("```rust\n{long}\n```");
    outside.fault(
        "/sendMessage",
        Fault::Answer(500, &[], json!({"ok": false, "error_code": 500, "description": "Internal Server Error"})),
    );
    say(&world, &text).await;
    world
        .until_text(
            "select string_agg(provider || ' ' || status || attempt, ',' order by provider) from public.hub_outbox",
            "discord sent1,telegram pending1",
        )
        .await;
    let discord: Vec<Value> = outside.kept();
    assert!(discord.len() >= 3, "{}", discord.len());
    assert!(discord[0]["content"].as_str().unwrap().starts_with("**Ada\\_L**:\n```rust\nline 0000\n"));
    for part in &discord {
        let content = part["content"].as_str().unwrap();
        assert!(content.ends_with("\n```") && content.contains("```rust\nline "), "{content}");
    }
    let nonces: std::collections::BTreeSet<&str> = discord.iter().map(|part| part["nonce"].as_str().unwrap()).collect();
    assert_eq!(nonces.len(), discord.len());

    outside.kept.lock().unwrap().clear();
    hurry(&world).await;
    world.until_text(STATES, "sent,sent").await;
    let first = outside.kept();
    assert_eq!(first.len(), 1, "4000 characters fit into one message of Telegram");
    let longer = (0..1200).map(|n| format!("line {n:04}")).collect::<Vec<_>>().join("\n");
    outside.kept.lock().unwrap().clear();
    world.sql("delete from public.hub_bridges where provider = 'discord'").await;
    outside.fault(
        "/sendMessage",
        Fault::Answer(429, &[], json!({"ok": false, "error_code": 429, "parameters": {"retry_after": 1}})),
    );
    say(&world, &longer).await;
    outside.until_asked("/sendMessage", 4).await;
    world.until_text("select coalesce(max(status || ' ' || cardinality(parts)), '') from public.hub_outbox where cardinality(parts) > 0 and provider = 'telegram'", "sent 3").await;
    let texts: Vec<String> = outside.kept().iter().map(|kept| kept["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(texts.join("\n"), format!("Ada_L: {longer}"), "all of it, in order, once");
    // A reply to any of them is one to the message.
    let db = Db::connect(&world.url).await.unwrap();
    let last = outside.kept().last().unwrap()["id"].to_string();
    assert_eq!(
        db.receive_bridged(&Bridged {
            provider: "telegram",
            target: "channel:9",
            external: &last,
            author: "Larry",
            content: "x",
            ..Bridged::default()
        })
        .await
        .unwrap()["echo"],
        true
    );
    worker.stop().await;
}

#[tokio::test]
async fn parts_that_arrived_before_a_failure_are_not_sent_again() {
    let world = World::new().await;
    let (outside, url) = outside().await;
    let long = (0..1200).map(|n| format!("line {n:04}")).collect::<Vec<_>>().join("\n");
    put(&world, "telegram", "channel:9", "post", "TELEGRAM_BOT_TOKEN", said(&long)).await;
    // The first message gets through, the second is refused: the fault waits for it.
    outside.fault("/sendMessage", Fault::Stall);
    let worker = worker(&world, &url, &[], &[]).await;
    outside.until_asked("/sendMessage", 1).await;
    outside.fault("/sendMessage", Fault::Answer(502, &[], Value::Null));
    outside.release.notify_one();
    world.until_text("select status || attempt || cardinality(parts) from public.hub_outbox", "pending11").await;
    hurry(&world).await;
    world.until_text("select status || attempt || cardinality(parts) from public.hub_outbox", "sent23").await;
    let texts: Vec<String> = outside.kept().iter().map(|kept| kept["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(texts.join("\n"), long);
    worker.stop().await;
}

#[tokio::test]
async fn a_cut_connection_after_arrival_repeats_no_message_where_the_provider_has_a_key() {
    let world = World::new().await;
    let (outside, url) = outside().await;
    put(&world, "discord", "channel:77", "post", "DISCORD_BOT_TOKEN", said("once")).await;
    let answer = json!({"repository": "a/b", "number": 7, "task": null, "text": "Done\n\n<!-- aura-hub:1 -->"});
    put(&world, "github", "channel:a/b#7", "github_comment", "HUB_GITHUB_TOKEN", answer).await;
    put(&world, "discord", "user:42", "post", "DISCORD_BOT_TOKEN", said("to a person")).await;
    outside.fault("/channels/77/", Fault::Cut);
    outside.fault("/comments", Fault::Cut);
    let worker = worker(&world, &url, &[], &[]).await;
    world.until_text(STATES, "pending,pending,sent").await;
    hurry(&world).await;
    world.until_text(STATES, "sent,sent,sent").await;
    let kept = outside.kept();
    assert_eq!(kept.len(), 3, "{kept:#?}");
    assert!(kept.iter().any(|kept| kept["place"] == "942"), "in the channel of the person: {kept:#?}");
    let comments = outside.asked("/comments");
    assert_eq!(comments.iter().map(|asked| asked.method.as_str()).collect::<Vec<_>>(), ["POST", "GET"]);
    assert!(comments[1].query.contains("since=") && comments[0].path == "/github/repos/a/b/issues/7/comments");
    let ids = world.one_text("select string_agg(external_id, ',' order by external_id) from public.hub_outbox").await;
    assert_eq!(ids, "1000,1001,1002");
    no_secret_was_told(&world).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_that_dies_after_sending_repeats_nothing() {
    let world = World::new().await;
    let (outside, url) = outside().await;
    put(&world, "discord", "channel:77", "post", "DISCORD_BOT_TOKEN", said("once")).await;
    let answer = json!({"repository": "a/b", "number": 7, "task": null, "text": "Done"});
    put(&world, "github", "channel:a/b#7", "github_comment", "HUB_GITHUB_TOKEN", answer).await;
    outside.fault("/channels/77/", Fault::Stall);
    outside.fault("/comments", Fault::Stall);
    let doomed = worker(&world, &url, &[], &[]).await;
    outside.until_asked("/messages", 1).await;
    outside.until_asked("/comments", 1).await;
    doomed.kill().await;
    world.until_text(STATES, "sending,sending").await;
    // The keeper's clock is an argument: two minutes later the lease is over.
    world.sql("select public.hub_recover(now() + interval '2 minutes')").await;
    world.until_text(STATES, "pending,pending").await;
    let other = worker(&world, &url, &[], &[]).await;
    hurry(&world).await;
    world.until_text(STATES, "sent,sent").await;
    assert_eq!(outside.kept().len(), 2, "{:#?}", outside.kept());
    other.stop().await;
}

#[tokio::test]
async fn webhooks_are_signed_in_order_and_a_hanging_one_delays_no_other() {
    let world = World::new().await;
    let (outside, url) = outside().await;
    let event = |n: i32| json!({"type": "message.posted", "timestamp": "2026-11-21T10:00:00Z", "data": {"n": n, "precise": 0.1, "text": "ä"}});
    // More targets hang than a batch has rows.
    for n in 0..60 {
        outside.fault("/hook/stuck", Fault::Stall);
        put(&world, "webhook", &format!("{url}/hook/stuck/{n}"), "webhook", "HUB_BRIDGE_X", event(n)).await;
    }
    for n in 0..5 {
        put(&world, "webhook", &format!("{url}/hook/quick"), "webhook", "HUB_BRIDGE_X", event(n)).await;
    }
    let worker = worker(&world, &url, &[], &[]).await;
    outside.until_asked("/hook/stuck", 60).await;
    outside.until_asked("/hook/quick", 5).await;
    world.until_text("select count(*) || '' from public.hub_outbox where status = 'sent'", "5").await;
    let quick = outside.asked("/hook/quick");
    assert_eq!(
        quick.iter().map(|asked| asked.json()["data"]["n"].as_i64().unwrap()).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4]
    );
    let key = standardwebhooks::Webhook::new(SIGNING).unwrap();
    for asked in &quick {
        key.verify(&asked.bytes, &asked.headers).unwrap();
        assert_eq!(asked.headers["content-type"], "application/json");
    }
    let id =
        world.one_text("select id::text from public.hub_outbox where target like '%quick' order by seq limit 1").await;
    assert_eq!(quick[0].headers["webhook-id"], id.as_str());
    for _ in 0..60 {
        outside.release.notify_one();
        outside.release.notify_waiters();
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_failing_webhook_becomes_a_dead_letter_that_an_owner_can_retry() {
    let world = World::new().await;
    let (outside, url) = outside().await;
    for _ in 0..12 {
        outside.fault("/hook/broken", Fault::Answer(500, &[], json!({"password": "hush"})));
    }
    outside.fault("/hook/busy", Fault::Answer(503, &[("retry-after", "120")], Value::Null));
    outside.fault("/hook/gone", Fault::Answer(410, &[], Value::Null));
    for path in ["hook/broken", "hook/busy", "hook/gone", "redirect/x"] {
        put(&world, "webhook", &format!("{url}/{path}"), "webhook", "HUB_BRIDGE_X", json!({"type": "message.posted"}))
            .await;
    }
    put(&world, "webhook", &format!("{url}/hook/unsigned"), "webhook", "HUB_BRIDGE_MISSING", json!({})).await;
    let worker = worker(&world, &url, &[], &[]).await;
    world
        .until_text(
            "select string_agg(status || attempt, ',' order by seq) from public.hub_outbox",
            "pending1,pending1,dead1,pending1,pending1",
        )
        .await;
    let why = world.one_text("select string_agg(error, '|' order by seq) from public.hub_outbox").await;
    let why: Vec<&str> = why.split('|').collect();
    assert_eq!(why[0], "the receiver answered 500");
    assert!(why[2].contains("410") && why[3].contains("redirects are not followed"), "{why:?}");
    assert_eq!(why[4], "HUB_BRIDGE_MISSING is not set for the workers that deliver");
    assert!(outside.asked("landed").is_empty() && outside.asked("unsigned").is_empty());
    let after = world.one_text("select (run_after - now() between interval '110 seconds' and interval '122 seconds')::text from public.hub_outbox where target like '%busy'").await;
    assert_eq!(after, "true", "Retry-After is obeyed");

    world.sql("delete from public.hub_outbox where target not like '%broken'").await;
    for attempt in 2..=12 {
        hurry(&world).await;
        outside.until_asked("/hook/broken", attempt).await;
        world.until_text("select (status <> 'sending')::text from public.hub_outbox", "true").await;
    }
    // A receiver may be down for days: not how often, but until when.
    world.until_text("select status || attempt from public.hub_outbox", "pending12").await;
    world.sql("select public.hub_recover(now() + interval '2 hours')").await;
    world.until_text("select status || attempt from public.hub_outbox", "dead12").await;
    world.sql("select public.hub_retry_outbox(id) from public.hub_outbox").await;
    world.until_text("select status || attempt from public.hub_outbox", "sent13").await;
    let ids: std::collections::BTreeSet<String> = outside
        .asked("/hook/broken")
        .iter()
        .map(|asked| asked.headers["webhook-id"].to_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 1, "the same id each time");
    no_secret_was_told(&world).await;
    worker.stop().await;
}

#[tokio::test]
async fn addresses_that_are_not_public_are_refused_unless_the_operator_allows_them() {
    let world = World::new().await;
    let (outside, url) = outside().await;
    let port = url.rsplit_once(':').unwrap().1;
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1", "169.254.169.254"] {
        put(&world, "webhook", &format!("https://{host}:{port}/hook/x"), "webhook", "HUB_BRIDGE_X", json!({})).await;
    }
    put(&world, "webhook", &format!("{url}/hook/x"), "webhook", "HUB_BRIDGE_X", json!({})).await;
    // As a name, not as its number: what is refused is what it leads to, whatever proxy the environment names.
    let proxy = [
        ("HUB_OUTBOX_ALLOW_PRIVATE_ADDRESSES", "0"),
        ("HTTPS_PROXY", url.as_str()),
        ("ALL_PROXY", url.as_str()),
        ("NO_PROXY", ""),
    ];
    let worker = worker(&world, &url, &[], &proxy).await;
    world.until_text(STATES, &["dead"; 7].join(",")).await;
    let why = world.one_text("select string_agg(distinct error, '|' order by error) from public.hub_outbox").await;
    let why: Vec<&str> = why.split('|').collect();
    assert_eq!(why.len(), 2, "{why:?}");
    assert!(why[0].contains("the address is not public") && why[1].contains("https"), "{why:?}");
    assert!(outside.asked("").is_empty());
    worker.stop().await;
}

#[tokio::test]
async fn telegrams_error_descriptions_are_understood() {
    let world = World::new().await;
    let (outside, url) = outside().await;
    bridge(&world, "telegram", "channel:9").await;
    let moved = json!({"ok": false, "error_code": 400, "description": "Bad Request: group chat was upgraded to a supergroup chat", "parameters": {"migrate_to_chat_id": -100_123}});
    outside.fault("/sendMessage", Fault::Answer(400, &[], moved));
    let wait = |file: &str| format!("while [ ! -e {}/{file} ]; do sleep 0.05; done", world.root().display());
    let script =
        format!("{}; echo one; {}; echo two; {}; echo three; {}", wait("start"), wait("a"), wait("b"), wait("c"));
    let worker = worker(&world, &url, &[agent("sh", &script)], &[]).await;
    say(&world, "hello").await;
    world.until_text(STATES, "dead").await;
    assert!(world.one_text("select error from public.hub_outbox").await.contains("channel:-100123"));

    world.sql("delete from public.hub_outbox").await;
    // A task's message is edited; one that somebody deleted is posted anew, and edited from then on.
    world.send("work").await;
    let text_of_progress = || {
        outside.kept().into_iter().filter(|kept| kept["text"].as_str().unwrap().starts_with("📋")).collect::<Vec<_>>()
    };
    let until = async |words: &str| {
        for _ in 0..1000 {
            if let Some(found) =
                text_of_progress().into_iter().find(|kept| kept["text"].as_str().unwrap().contains(words))
            {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{words} never came: {:#?}", outside.kept());
    };
    // Before it is posted a note would take its place, and there would be nothing to edit.
    world.until_text("select string_agg(distinct status, ',') from public.hub_outbox", "sent").await;
    std::fs::write(world.root().join("start"), "").unwrap();
    let first = until("one").await;
    assert!(!outside.asked("/editMessageText").is_empty());
    world.until_text("select string_agg(distinct status, ',') from public.hub_outbox", "sent").await;
    outside.kept.lock().unwrap().retain(|kept| kept["id"] != first["id"]);
    std::fs::write(world.root().join("a"), "").unwrap();
    let second = until("two").await;
    assert_ne!(second["id"], first["id"]);
    world.until_text("select string_agg(distinct status, ',') from public.hub_outbox", "sent").await;
    std::fs::write(world.root().join("b"), "").unwrap();
    assert_eq!(until("three").await["id"], second["id"]);
    // The same text again is as good as done.
    world.until_text("select string_agg(distinct status, ',') from public.hub_outbox", "sent").await;
    world
        .sql(
            "update public.hub_outbox set status = 'pending', finished_at = null, edit_of = null
              where seq = (select max(seq) from public.hub_outbox where kind = 'edit'); notify hub_errands, 'outbox'",
        )
        .await;
    world.until_text("select string_agg(distinct status, ',') from public.hub_outbox", "sent").await;
    std::fs::write(world.root().join("c"), "").unwrap();
    no_secret_was_told(&world).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_missing_telegram_topic_is_reported_once_and_its_messages_go_to_the_chat() {
    let world = World::new().await;
    let (outside, url) = outside().await;
    bridge(&world, "telegram", "channel:-100500/42").await;
    let gone = || {
        let answer = json!({"ok": false, "error_code": 400, "description": "Bad Request: message thread not found"});
        outside.fault("/sendMessage", Fault::Answer(400, &[], answer));
    };
    let worker = worker(&world, &url, &[], &[]).await;
    for words in ["one @ada", "two"] {
        gone();
        say(&world, words).await;
        world.until_text("select string_agg(distinct status, ',') from public.hub_outbox", "sent").await;
    }
    let kept = outside.kept();
    let texts: Vec<&str> = kept.iter().map(|kept| kept["text"].as_str().unwrap()).collect();
    // Nobody is called by what is mirrored.
    assert_eq!(texts, ["(topic 42 is gone)\nAda_L: one @\u{200b}ada", "(topic 42 is gone)\nAda_L: two"]);
    assert!(kept.iter().all(|kept| kept["message_thread_id"].is_null() && kept["chat_id"] == -100_500));
    let warned =
        "select coalesce(string_agg(content, '|'), '') from public.hub_channel_messages where content_type = 'warning'";
    let said = world.one_text(warned).await;
    assert!(said.contains("its topic is gone") && !said.contains('|') && !said.contains("100500"), "{said}");
    worker.stop().await;
}

#[tokio::test]
async fn github_answers_notify_nobody_and_follow_a_renamed_repository() {
    let world = World::new().await;
    let (outside, url) = outside().await;
    const MOVED: &[(&str, &str)] = &[("location", "/github/repos/acme/renamed/issues/7/comments")];
    const AWAY: &[(&str, &str)] = &[("location", "https://evil.example/repos/acme/app/issues/7/comments")];
    let body = |text: &str, mentions: bool| json!({"repository": "acme/app", "number": 7, "text": text, "task": null, "mentions": mentions});
    let worker = worker(&world, &url, &[], &[]).await;
    outside.fault("/repos/acme/app/", Fault::Answer(307, MOVED, json!({"message": "Moved Permanently"})));
    put(
        &world,
        "github",
        "channel:acme/app#7",
        "github_comment",
        "HUB_GITHUB_TOKEN",
        body("thanks @ada, see `@code`", false),
    )
    .await;
    world.until_text(STATES, "sent").await;
    put(&world, "github", "channel:acme/app#7", "github_comment", "HUB_GITHUB_TOKEN", body("thanks @ada", true)).await;
    world.until_text(STATES, "sent,sent").await;
    let kept: Vec<String> =
        outside.kept().iter().map(|kept| kept["body"].as_str().unwrap().lines().next().unwrap().to_owned()).collect();
    assert_eq!(kept, ["thanks @\u{200b}ada, see `@code`", "thanks @ada"]);
    let asked: Vec<String> =
        outside.asked("/comments").iter().map(|asked| format!("{} {}", asked.method, asked.path)).collect();
    assert_eq!(
        asked[..2],
        ["POST /github/repos/acme/app/issues/7/comments", "POST /github/repos/acme/renamed/issues/7/comments"]
    );
    // To another host no token goes.
    outside.fault("/repos/acme/app/", Fault::Answer(307, AWAY, json!({})));
    put(&world, "github", "channel:acme/app#7", "github_comment", "HUB_GITHUB_TOKEN", body("x", false)).await;
    world.until_text(STATES, "sent,sent,dead").await;
    worker.stop().await;
}

#[tokio::test]
async fn a_stopping_worker_hands_back_undelivered_rows() {
    let world = World::new().await;
    let (outside, url) = outside().await;
    put(&world, "discord", "channel:77", "post", "DISCORD_BOT_TOKEN", said("once")).await;
    outside.fault("/messages", Fault::Stall);
    let first = worker(&world, &url, &[], &[]).await;
    outside.until_asked("/messages", 1).await;
    first.signal(Signal::SIGTERM);
    first.ended().await;
    let row = world.one_text("select status || ' ' || error from public.hub_outbox").await;
    assert_eq!(row, "pending the worker stopped while it was sent");
    let second = worker(&world, &url, &[], &[]).await;
    world.until_text(STATES, "sent").await;
    assert_eq!(outside.kept().len(), 1);
    second.stop().await;
}

#[tokio::test]
async fn a_discord_webhook_uses_the_senders_name_and_only_discords_address() {
    let world = World::new().await;
    let (outside, url) = outside().await;
    let body =
        json!({"text": "hi @everyone", "sender": "Ada", "sender_type": "human", "content_type": "text", "embed": null});
    put(&world, "discord", "channel:77/88", "post", "HUB_BRIDGE_HOOK", body.clone()).await;
    put(&world, "discord", "channel:78", "post", "HUB_BRIDGE_ELSEWHERE", body).await;
    let (hook, elsewhere) = (
        "https://discord.com/api/webhooks/55/hush-hook",
        format!("{}/api/webhooks/55/hush", url.replace("127.0.0.1", "localhost")),
    );
    let worker = worker(&world, &url, &[], &[("HUB_BRIDGE_HOOK", hook), ("HUB_BRIDGE_ELSEWHERE", &elsewhere)]).await;
    world.until_text(STATES, "sent,pending").await;
    let asked = outside.asked("");
    assert_eq!(asked.len(), 1);
    assert_eq!(
        (asked[0].path.as_str(), asked[0].query.as_str()),
        ("/discord/api/v10/webhooks/55/hush-hook", "wait=true&thread_id=88")
    );
    assert_eq!((&asked[0].json()["username"], &asked[0].json()["content"]), (&json!("Ada"), &json!("hi @everyone")));
    assert_eq!(asked[0].json()["allowed_mentions"]["parse"], json!([]));
    no_secret_was_told(&world).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_global_rate_limit_holds_all_rows_of_that_provider() {
    let world = World::new().await;
    let (outside, url) = outside().await;
    outside.fault(
        "/channels/1/",
        Fault::Answer(429, &[("x-ratelimit-global", "true")], json!({"retry_after": 64.5, "global": true})),
    );
    put(&world, "discord", "channel:1", "post", "DISCORD_BOT_TOKEN", said("first")).await;
    let worker = worker(&world, &url, &[], &[]).await;
    world.until_text(STATES, "pending").await;
    outside.until_asked("/channels/1/", 1).await;
    world.until_text("select string_agg(status || attempt, ',') from public.hub_outbox", "pending1").await;
    put(&world, "discord", "channel:2", "post", "DISCORD_BOT_TOKEN", said("second")).await;
    put(&world, "telegram", "channel:2", "post", "TELEGRAM_BOT_TOKEN", said("third")).await;
    world.until_text(STATES, "pending,pending,sent").await;
    world
        .until_text(
            "select string_agg(status || attempt, ',' order by seq) from public.hub_outbox",
            "pending1,pending1,sent1",
        )
        .await;
    assert!(outside.asked("/channels/2/").is_empty());
    let held = world.one_text("select bool_and(run_after - now() > interval '50 seconds')::text from public.hub_outbox where status = 'pending'").await;
    assert_eq!(held, "true");
    worker.stop().await;
}
