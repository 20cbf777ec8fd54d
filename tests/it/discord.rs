//! `hub discord register` and `hub bridge discord`, the real program, against a local server that speaks as much of Discord's REST
//! and Gateway as they use, and checks what it is told.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{
        Query, State, WebSocketUpgrade,
        ws::{CloseFrame, Message as Frame, WebSocket},
    },
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::get,
};
use ed25519_dalek::{Signer, SigningKey};
use hub_tests::{Cluster, World, program};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::{
    collections::{HashMap, VecDeque},
    process::{ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    sync::mpsc,
};

const TOKEN: &str = "bot.token-of-a-test";
const OWN: &str = "99";
const BOUND: Duration = Duration::from_secs(60);
/// GUILD_MESSAGES, DIRECT_MESSAGES, MESSAGE_CONTENT.
const INTENTS: u64 = (1 << 9) | (1 << 12) | (1 << 15);

/// What the test has the Gateway do to the connection it has.
enum Do {
    Send(Value),
    Cut,
    Reconnect,
    Close(u16),
}

#[derive(Default)]
struct Told {
    /// Method, path with query, body.
    requests: Vec<(String, String, Value)>,
    /// Answers to come, before the ordinary ones: path's end, status, header Retry-After, body.
    answers: VecDeque<(&'static str, u16, Option<&'static str>, Value)>,
    identified: Vec<Value>,
    resumed: Vec<Value>,
    heartbeats: usize,
    /// Every event of the session, with its number.
    events: Vec<(u64, Value)>,
    seq: u64,
    session: u32,
    channels: HashMap<String, Value>,
    messages: HashMap<String, Vec<Value>>,
    close_at_identify: Option<u16>,
    invalid_at_resume: bool,
    /// What is wrong with what the client did.
    faults: Vec<String>,
    connection: Option<mpsc::UnboundedSender<Do>>,
}

#[derive(Clone)]
struct Discord {
    url: String,
    told: Arc<Mutex<Told>>,
}

impl Discord {
    async fn start() -> Discord {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let discord = Discord { url, told: Arc::default() };
        let router = Router::new().route("/gateway/", get(gateway)).fallback(rest).with_state(discord.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        discord
    }

    fn with<T>(&self, look: impl FnOnce(&mut Told) -> T) -> T {
        look(&mut self.told.lock().unwrap())
    }

    async fn until(&self, what: &str, is: impl Fn(&mut Told) -> bool) {
        let begun = Instant::now();
        while !self.with(|told| is(told)) {
            assert!(begun.elapsed() < BOUND, "never: {what}; {:?}", self.with(|told| told.faults.clone()));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Dispatches an event, to whoever is connected, and to whoever resumes later.
    fn dispatch(&self, name: &str, data: Value) {
        self.with(|told| {
            told.seq += 1;
            let event = json!({"op": 0, "t": name, "s": told.seq, "d": data});
            told.events.push((told.seq, event.clone()));
            if let Some(connection) = &told.connection {
                let _ = connection.send(Do::Send(event));
            }
        });
    }

    /// Somebody writes: it is an event, and can be read back.
    fn write(&self, channel: &str, id: u64, text: &str, more: Value) {
        let message = said(channel, id, text, more);
        self.with(|told| told.messages.entry(channel.into()).or_default().push(message.clone()));
        self.dispatch("MESSAGE_CREATE", message);
    }

    fn act(&self, what: Do) {
        self.with(|told| told.connection.as_ref().expect("connected").send(what).map_err(drop).unwrap());
    }

    async fn bridge(&self, world: &World) -> Bridge {
        self.with(|told| told.connection = None);
        let bridge = self.bridge_of(world.url.expose_secret());
        self.until("identified", |told| told.connection.is_some()).await;
        bridge
    }

    fn bridge_of(&self, database: &str) -> Bridge {
        let mut child = Command::new(program())
            .args(["bridge", "discord"])
            .env("DATABASE_URL", database)
            .env("HUB_DISCORD_API_URL", &self.url)
            .env("DISCORD_BOT_TOKEN", TOKEN)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("hub starts: cargo build --release first");
        let mut stderr = child.stderr.take().unwrap();
        let log = tokio::spawn(async move {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text).await;
            eprintln!("{text}");
            text
        });
        Bridge { child, log }
    }
}

struct Bridge {
    child: Child,
    log: tokio::task::JoinHandle<String>,
}

impl Bridge {
    /// How it ended and what it logged; neither a token nor what anybody wrote is in it.
    async fn ended(mut self) -> (ExitStatus, String) {
        let status = tokio::time::timeout(BOUND, self.child.wait()).await.expect("it ends").unwrap();
        let log = self.log.await.unwrap();
        assert!(!log.contains(TOKEN) && !log.contains("hush"), "{log}");
        (status, log)
    }

    async fn stop(self) -> String {
        let begun = Instant::now();
        kill(Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()), Signal::SIGTERM).unwrap();
        let (status, log) = self.ended().await;
        assert!(status.success(), "{log}");
        assert!(begun.elapsed() < Duration::from_secs(20), "stopped after {:?}", begun.elapsed());
        log
    }
}

/// A message as Discord has it, with what it has beside what is read.
fn said(channel: &str, id: u64, text: &str, more: Value) -> Value {
    let mut message = json!({
        "id": id.to_string(), "channel_id": channel, "guild_id": "1", "type": 0, "content": text,
        "author": {"id": "77", "username": "ada", "discriminator": "0", "global_name": "Ada", "avatar": null},
        "member": {"roles": [], "joined_at": "2026-01-01T00:00:00Z", "deaf": false, "mute": false},
        "timestamp": "2026-11-21T00:00:00Z", "edited_timestamp": null, "tts": false, "mention_everyone": false,
        "mentions": [], "mention_roles": [], "attachments": [], "embeds": [], "pinned": false, "components": [],
        "something_new": {"a": [1]}, "channel_type": 0,
    });
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => drop(message.as_object_mut().unwrap().remove(name)),
            value => message[name] = value.clone(),
        }
    }
    message
}

async fn rest(State(discord): State<Discord>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let path = uri.path().strip_prefix("/api/v10/").unwrap_or("not the API").to_owned();
    let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut told = discord.told.lock().unwrap();
    let with_query = uri.query().map_or(path.clone(), |query| format!("{path}?{query}"));
    told.requests.push((method.to_string(), with_query, sent.clone()));
    if headers.get("authorization").is_none_or(|value| value != format!("Bot {TOKEN}").as_str())
        || !headers["user-agent"].to_str().unwrap().starts_with("DiscordBot (")
    {
        return (StatusCode::UNAUTHORIZED, Json(json!({"message": "401: Unauthorized", "code": 0}))).into_response();
    }
    if let Some(at) = told.answers.iter().position(|(end, ..)| path.ends_with(end)) {
        let (_, status, retry, body) = told.answers.remove(at).unwrap();
        let mut answer = (StatusCode::from_u16(status).unwrap(), Json(body)).into_response();
        if let Some(retry) = retry {
            answer.headers_mut().insert("retry-after", retry.parse().unwrap());
        }
        return answer;
    }
    let parts: Vec<&str> = path.split('/').collect();
    let not_found = || (StatusCode::NOT_FOUND, Json(json!({"message": "Unknown", "code": 10003}))).into_response();
    match (method.as_str(), parts.as_slice()) {
        ("GET", ["gateway", "bot"]) => Json(json!({
            "url": format!("{}/gateway", discord.url.replace("http", "ws")), "shards": 1,
            "session_start_limit": {"total": 1000, "remaining": 999, "reset_after": 14_400_000, "max_concurrency": 1},
        }))
        .into_response(),
        ("GET", ["applications", "@me"]) => Json(json!({
            "id": "4242", "name": "Hub", "verify_key": hex::encode(key().verifying_key().to_bytes()), "interactions_endpoint_url": null,
        }))
        .into_response(),
        ("PUT", ["applications", "4242", "commands"] | ["applications", "4242", "guilds", "1", "commands"]) => {
            let mut commands = sent;
            for (n, command) in commands.as_array_mut().unwrap().iter_mut().enumerate() {
                command["id"] = json!((7000 + n).to_string());
                command["application_id"] = json!("4242");
            }
            Json(commands).into_response()
        }
        ("GET", ["channels", id]) => {
            told.channels.get(*id).map_or_else(not_found, |channel| Json(channel.clone()).into_response())
        }
        ("GET", ["channels", id, "messages"]) => {
            let Query(query) = Query::<HashMap<String, String>>::try_from_uri(&uri).unwrap();
            let number = |value: &Value| value["id"].as_str().unwrap().parse::<u64>().unwrap();
            let (after, limit): (u64, usize) = (query["after"].parse().unwrap(), query["limit"].parse().unwrap());
            let mut found: Vec<Value> =
                told.messages.get(*id).into_iter().flatten().filter(|m| number(m) > after).cloned().collect();
            found.sort_by_key(number);
            found.truncate(limit);
            found.reverse(); // The newest first, as Discord does; and without the server's id.
            found.iter_mut().for_each(|message| drop(message.as_object_mut().unwrap().remove("guild_id")));
            Json(found).into_response()
        }
        ("PUT", ["channels", _, "messages", _, "reactions", _, "@me"]) => StatusCode::NO_CONTENT.into_response(),
        _ => not_found(),
    }
}

async fn gateway(
    State(discord): State<Discord>,
    Query(query): Query<HashMap<String, String>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    if query.get("v").map(String::as_str) != Some("10") || query.get("encoding").map(String::as_str) != Some("json") {
        discord.with(|told| told.faults.push(format!("asked for {query:?}")));
    }
    upgrade.on_upgrade(move |socket| speak(discord, socket))
}

async fn speak(discord: Discord, mut socket: WebSocket) {
    let (sender, mut inbox) = mpsc::unbounded_channel();
    let text = |value: Value| Frame::text(value.to_string());
    let hello = json!({"op": 10, "t": null, "s": null, "d": {"heartbeat_interval": 400}});
    if socket.send(text(hello)).await.is_err() {
        return;
    }
    loop {
        let frames: Vec<Frame> = tokio::select! {
            act = inbox.recv() => match act {
                Some(Do::Send(event)) => vec![text(event)],
                Some(Do::Reconnect) => vec![text(json!({"op": 7, "d": null}))],
                Some(Do::Close(code)) => vec![close(code)],
                Some(Do::Cut) | None => return,
            },
            frame = socket.recv() => {
                let Some(Ok(Frame::Text(frame))) = frame else {
                    if matches!(frame, Some(Ok(_))) { continue }
                    return;
                };
                let frame: Value = serde_json::from_str(frame.as_str()).unwrap();
                let mut told = discord.told.lock().unwrap();
                match frame["op"].as_u64().unwrap() {
                    1 => {
                        told.heartbeats += 1;
                        if frame["d"].as_u64().unwrap_or(0) > told.seq {
                            let fault = format!("a heartbeat of {} after {}", frame["d"], told.seq);
                            told.faults.push(fault);
                        }
                        vec![text(json!({"op": 11}))]
                    }
                    2 => {
                        told.identified.push(frame["d"].clone());
                        let d = &frame["d"];
                        if d["token"] != format!("Bot {TOKEN}") || d["intents"] != INTENTS || d["shard"] != json!([0, 1]) {
                            told.faults.push("identified wrongly".into());
                        }
                        if let Some(code) = told.close_at_identify {
                            vec![close(code)]
                        } else {
                            told.session += 1;
                            told.events.clear();
                            told.seq = 1;
                            told.connection = Some(sender.clone());
                            vec![text(json!({"op": 0, "t": "READY", "s": 1, "d": {
                                "v": 10, "user": {"id": OWN, "username": "hub", "bot": true}, "guilds": [{"id": "1", "unavailable": true}],
                                "session_id": format!("session{}", told.session), "resume_gateway_url": format!("{}/gateway", discord.url.replace("http", "ws")),
                                "shard": [0, 1], "application": {"id": "4242", "flags": 0},
                            }}))]
                        }
                    }
                    6 => {
                        let d = frame["d"].clone();
                        told.resumed.push(d.clone());
                        if d["token"] != format!("Bot {TOKEN}") || d["session_id"] != format!("session{}", told.session) {
                            told.faults.push("resumed wrongly".into());
                        }
                        if std::mem::take(&mut told.invalid_at_resume) {
                            vec![text(json!({"op": 9, "d": false}))]
                        } else {
                            told.connection = Some(sender.clone());
                            // The last that was seen is sent once more: at least once is what a resume gives.
                            let seen = d["seq"].as_u64().unwrap();
                            let missed = told.events.iter().filter(|(seq, _)| *seq >= seen).map(|(_, event)| text(event.clone()));
                            let mut frames: Vec<Frame> = missed.collect();
                            told.seq += 1;
                            frames.push(text(json!({"op": 0, "t": "RESUMED", "s": told.seq, "d": {}})));
                            frames
                        }
                    }
                    other => {
                        told.faults.push(format!("opcode {other}"));
                        vec![]
                    }
                }
            }
        };
        for frame in frames {
            if socket.send(frame).await.is_err() {
                return;
            }
        }
    }
}

fn close(code: u16) -> Frame {
    Frame::Close(Some(CloseFrame { code, reason: "as the test wants it".into() }))
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// Bridges: 500 to a flat channel, 600 to one with threads, somebody's direct messages, one that only goes out.
async fn bridged(world: &World) {
    hub_migrate::seed(&world.url, &|_| {}).await.unwrap();
    world
        .sql(
            "insert into public.hub_bridges (server_id, channel_id, provider, target, direction, starts_tasks)
             select c.server_id, c.id, 'discord', b.target, b.direction, 'everyone'
               from (values ('quick', 'channel:500', 'both'), ('dispatch', 'channel:600', 'in'), ('quick', 'user:77', 'in'), ('quick', 'channel:550', 'out')) b (channel, target, direction)
               join public.hub_channels c on c.name = b.channel",
        )
        .await;
}

const CARRIED: &str =
    "select coalesce(string_agg(m.content, ', ' order by m.created_at), '') from public.hub_channel_messages m
    where m.sender_id like 'bridge:%' and m.sender_type = 'human' and (m.task_thread_id is null or m.seq > 1)";

#[tokio::test]
async fn discord_text_becomes_a_task_and_replies_and_threads_continue_in_its_thread() {
    let (world, discord) = (World::new().await, Discord::start().await);
    bridged(&world).await;
    discord.with(|told| {
        told.channels.insert("2001".into(), json!({"id": "2001", "type": 11, "parent_id": "600"}));
        told.channels.insert("2500".into(), json!({"id": "2500", "type": 11, "parent_id": "600"}));
        told.channels.insert("700".into(), json!({"id": "700", "type": 0, "parent_id": "3"}));
        told.messages.insert(
            "2001".into(),
            vec![said(
                "2001",
                2002,
                "",
                json!({"type": 21, "message_reference": {"message_id": "2001", "channel_id": "600"}}),
            )],
        );
    });
    let bridge = discord.bridge(&world).await;

    discord.write("500", 1001, "hush one", json!({"mentions": [{"id": OWN, "username": "hub"}]}));
    world.until_text(CARRIED, "hush one").await;
    let told = "select m.sender_label || ' ' || t.status || ' ' || (t.message_id = m.id) from public.hub_channel_messages m join public.mac_tasks t on t.message_id = m.id";
    assert_eq!(world.one_text(told).await, "@ada (Discord) pending true");

    // Nobody's: ourselves, a bot, a webhook, what Discord says, nothing, a channel without a bridge, one that only goes out.
    discord.write("500", 1002, "hush", json!({"author": {"id": OWN, "username": "hub"}}));
    discord.write("500", 1003, "hush", json!({"author": {"id": "5", "username": "b", "bot": true}}));
    discord.write("500", 1004, "hush", json!({"webhook_id": "6"}));
    discord.write("500", 1005, "hush", json!({"type": 7}));
    discord.write("500", 1006, " ", json!({}));
    discord.write("700", 1007, "hush", json!({"channel_type": null}));
    discord.write("550", 1008, "hush", json!({}));
    discord.dispatch("MESSAGE_UPDATE", said("500", 1001, "hush, edited", json!({})));
    discord.dispatch("MESSAGE_DELETE", json!({"id": "1001", "channel_id": "500", "guild_id": "1"}));
    discord.dispatch("MESSAGE_CREATE", json!({"id": 5, "content": "hush: not a message"}));
    discord.write("500", 1009, "", json!({"attachments": [{"id": "1", "url": "https://cdn.example/x.png"}]}));
    discord.write("7700", 1010, "hush in private", json!({"guild_id": null, "channel_type": 1}));
    world.until_text(CARRIED, "hush one, https://cdn.example/x.png, hush in private").await;

    // A thread in the hub; its reply; a thread of Discord made from it, and one that stands alone.
    discord.write("600", 2001, "hush task", json!({}));
    discord.write(
        "600",
        2010,
        "hush reply",
        json!({"type": 19, "message_reference": {"type": 0, "message_id": "2001"}}),
    );
    discord.write("2001", 2011, "hush in its thread", json!({"channel_type": 11}));
    discord.write("2500", 2501, "hush alone", json!({"channel_type": null}));
    discord.write("2500", 2502, "hush alone, on", json!({"channel_type": 11}));
    let threads = "select coalesce(string_agg(n::text, ',' order by n), '') from (select count(*) as n from public.mac_tasks where thread_id is not null group by thread_id) t";
    world.until_text(threads, "2,3").await;
    assert_eq!(world.count_all("select count(*) from public.hub_task_threads").await, 2);

    // A bridge works from the moment it is made.
    world
        .sql("insert into public.hub_bridges (server_id, channel_id, provider, target, direction, starts_tasks) select server_id, id, 'discord', 'channel:700', 'in', 'everyone' from public.hub_channels where name = 'quick'")
        .await;
    discord.write("700", 3001, "hush at last", json!({}));
    world.until_text("select content from public.hub_channel_messages where sender_id like 'bridge:%' and sender_type = 'human' order by created_at desc limit 1", "hush at last").await;

    // New words are a message, and start nothing.
    let tasks = world.count_all("select count(*) from public.mac_tasks").await;
    discord.dispatch(
        "MESSAGE_UPDATE",
        said("700", 3001, "hush, at last", json!({"edited_timestamp": "2026-11-26T10:00:00Z"})),
    );
    world.until_text("select coalesce(string_agg(m.content || ' to ' || o.content, ','), '') from public.hub_channel_messages m join public.hub_channel_messages o on o.id = m.reply_to where m.content like '✏️%'", "✏️ hush, at last to hush at last").await;
    assert_eq!(world.count_all("select count(*) from public.mac_tasks").await, tasks);

    let log = bridge.stop().await;
    assert!(log.contains("can not be read") && !log.contains("ERROR hub_discord::carry"), "{log}");
    discord.with(|told| assert!(told.faults.is_empty(), "{:?}", told.faults));
    let asked = discord.with(|told| told.requests.iter().filter(|(_, path, _)| path == "channels/700").count());
    assert_eq!(asked, 1, "what a channel is is asked once");
}

#[tokio::test]
async fn a_cut_connection_a_lost_session_and_a_repeated_event_lose_or_double_no_message() {
    let (world, discord) = (World::new().await, Discord::start().await);
    bridged(&world).await;
    let bridge = discord.bridge(&world).await;
    discord.write("500", 1, "a", json!({}));
    world.until_text(CARRIED, "a").await;
    discord.until("heartbeats", |told| told.heartbeats >= 2).await;

    // Cut: what is written meanwhile comes with the resume, `a` among it once more.
    discord.act(Do::Cut);
    discord.with(|told| told.connection = None);
    discord.write("500", 2, "b", json!({}));
    discord.until("resumed", |told| told.resumed.len() == 1).await;
    discord.write("500", 3, "c", json!({}));
    world.until_text(CARRIED, "a, b, c").await;
    assert_eq!(discord.with(|told| told.identified.len()), 1);

    // Asked to reconnect; then a close that a resume is for.
    discord.act(Do::Reconnect);
    discord.until("resumed again", |told| told.resumed.len() == 2).await;
    discord.act(Do::Close(4000));
    discord.until("resumed once more", |told| told.resumed.len() == 3).await;

    // The session is lost: a new one brings nothing of what was missed, so it is fetched.
    discord.with(|told| told.invalid_at_resume = true);
    discord.act(Do::Cut);
    discord.with(|told| told.connection = None);
    for n in 4..=150 {
        discord.write("500", n, &format!("m{n}"), json!({}));
    }
    discord.until("identified anew", |told| told.identified.len() == 2).await;
    discord.write("500", 151, "z", json!({}));
    let expected: Vec<String> = (4..=150).map(|n| format!("m{n}")).collect();
    let expected = format!("a, b, c, {}, z", expected.join(", "));
    world.until_text(CARRIED, &expected).await;
    assert_eq!(world.count_all("select count(*) from public.mac_tasks").await, 151);
    let log = bridge.stop().await;
    assert!(log.contains("resumed") && log.contains("new session"), "{log}");
    discord.with(|told| assert!(told.faults.is_empty(), "{:?}", told.faults));
}

#[tokio::test]
async fn messages_reach_the_database_in_order_after_it_was_away() {
    let (cluster, discord) = (Cluster::start(), Discord::start().await);
    let world = World::within(&cluster).await;
    bridged(&world).await;
    let bridge = discord.bridge(&world).await;
    discord.write("500", 1, "m1", json!({}));
    world.until_text(CARRIED, "m1").await;
    cluster.kill();
    for n in 2..=40 {
        discord.write("500", n, &format!("m{n}"), json!({}));
    }
    discord.until("heartbeats", |told| told.heartbeats >= 5).await;
    cluster.up();
    discord.write("500", 41, "m41", json!({}));
    let expected: Vec<String> = (1..=41).map(|n| format!("m{n}")).collect();
    let begun = Instant::now();
    loop {
        // The pool of the test was cut off, too.
        let text: Result<String, _> = sqlx::query_scalar(CARRIED).fetch_one(&world.pool).await;
        if text.is_ok_and(|text| text == expected.join(", ")) {
            break;
        }
        assert!(begun.elapsed() < BOUND);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let log = bridge.stop().await;
    // A short outage is waited for by the pool, and nothing is said of it.
    let said = log.matches("messages wait").count();
    assert!(
        said <= 1 && log.matches("answers again").count() == said,
        "one line for an outage, and one for its end: {log}"
    );
}

#[tokio::test]
async fn a_refused_token_or_intent_ends_the_daemon_with_the_reason() {
    let (world, discord) = (World::new().await, Discord::start().await);
    for (code, why) in [(4014, "Message Content Intent"), (4004, "DISCORD_BOT_TOKEN")] {
        discord.with(|told| told.close_at_identify = Some(code));
        let (status, log) = discord.bridge_of(world.url.expose_secret()).ended().await;
        assert!(!status.success());
        assert!(log.contains(&code.to_string()) && log.contains(why), "{log}");
    }
    discord.with(|told| told.answers.push_back(("gateway/bot", 401, None, json!({"message": "401: Unauthorized"}))));
    let (status, log) = discord.bridge_of(world.url.expose_secret()).ended().await;
    assert!(!status.success() && log.contains("does not accept DISCORD_BOT_TOKEN"), "{log}");

    // A hub refuses what can not be taken, and the author sees it.
    discord.with(|told| told.close_at_identify = None);
    bridged(&world).await;
    let bridge = discord.bridge(&world).await;
    discord.write("500", 8, &"x".repeat(100_001), json!({}));
    discord
        .until("marked", |told| told.requests.iter().any(|(_, path, _)| path.contains("messages/8/reactions")))
        .await;
    discord.write("500", 9, "goes on", json!({}));
    world.until_text(CARRIED, "goes on").await;
    let log = bridge.stop().await;
    assert!(log.contains("refused by the hub"), "{log}");
}

async fn register(discord: &Discord, world: &World, arguments: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.args(["discord", "register"]).args(arguments).env("DATABASE_URL", world.url.expose_secret());
    command.env("HUB_DISCORD_API_URL", &discord.url).env("DISCORD_BOT_TOKEN", TOKEN);
    command.stdin(Stdio::null()).output().await.expect("hub starts: cargo build --release first")
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(!out.contains(TOKEN) && !err.contains(TOKEN), "{out}{err}");
    (out, err)
}

#[tokio::test]
async fn all_commands_are_registered_with_discord_and_each_is_understood() {
    let (world, discord) = (World::new().await, Discord::start().await);
    hub_migrate::seed(&world.url, &|_| {}).await.unwrap();

    let (dry, _) = texts(&register(&discord, &world, &["--dry-run"]).await);
    let dry: Value = serde_json::from_str(&dry).unwrap();
    discord.with(|told| assert!(told.requests.is_empty()));

    // A limit is waited for.
    discord.with(|told| {
        told.answers.push_back(("commands", 429, Some("1"), json!({"message": "limited", "retry_after": 0.3})))
    });
    let begun = Instant::now();
    let done = register(&discord, &world, &["--guild", "1"]).await;
    let (out, err) = texts(&done);
    assert!(done.status.success(), "{err}");
    assert!(begun.elapsed() > Duration::from_millis(300));
    assert!(
        out.contains("/hot [market]")
            && out.contains("/send-samples <n>")
            && out.contains("DISCORD_PUBLIC_KEY")
            && out.contains("koji-discord-bot"),
        "{out}"
    );
    let again = register(&discord, &world, &["--json"]).await;
    let answered: Value = serde_json::from_str(&texts(&again).0).unwrap();
    assert_eq!((&answered["application"], &answered["guild"]), (&json!("4242"), &Value::Null));
    let puts: Vec<(String, Value)> = discord.with(|told| {
        told.requests
            .iter()
            .filter(|(method, ..)| method == "PUT")
            .map(|(_, path, body)| (path.clone(), body.clone()))
            .collect()
    });
    let paths: Vec<&str> = puts.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        ["applications/4242/guilds/1/commands", "applications/4242/guilds/1/commands", "applications/4242/commands"]
    );
    assert!(puts.iter().all(|(_, body)| *body == dry), "the same each time, and what --dry-run shows");

    let registry: Vec<(String, String, String)> =
        sqlx::query_as("select name, usage, description from public.koji_commands order by name")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    let sent = dry.as_array().unwrap();
    assert_eq!(sent.len(), registry.len() + 1);
    assert_eq!(sent[registry.len()]["name"], "link", "the hub's own stands behind the registry's");
    for (command, (name, usage, description)) in sent.iter().zip(&registry) {
        assert_eq!(
            (command["name"].as_str(), command["description"].as_str()),
            (Some(name.as_str()), Some(description.as_str()))
        );
        let options = command["options"].as_array().cloned().unwrap_or_default();
        let words: Vec<String> = options
            .iter()
            .map(|option| match option["required"].as_bool().unwrap() {
                true => format!(" <{}>", option["name"].as_str().unwrap()),
                false => format!(" [{}]", option["name"].as_str().unwrap()),
            })
            .collect();
        assert_eq!(*usage, format!("!{name}{}", words.concat()));

        // As Discord would send it, through the endpoint's own reading, into Koji: with all arguments, and with the needed alone.
        let given = |all: bool| -> Vec<Value> {
            let chosen = options.iter().filter(|option| all || option["required"] == true);
            chosen
                .map(|option| {
                    let value = match option["name"].as_str().unwrap() {
                        "n" | "id" => "1",
                        _ => "New York",
                    };
                    json!({"name": option["name"], "type": option["type"], "value": value})
                })
                .collect()
        };
        for all in [true, false] {
            let typed =
                typed(&json!({"id": "1", "type": 2, "channel_id": "500", "member": {"user": {"username": "ada"}},
                "data": {"id": "2", "name": name, "type": command["type"], "options": given(all)}}));
            let reply: Value = sqlx::query_scalar(
                "select public.hub_execute_command(id, $1) from public.hub_channels where name = 'leads'",
            )
            .bind(&typed)
            .fetch_one(&world.pool)
            .await
            .unwrap();
            let text = reply["text"].as_str().unwrap();
            assert!(!text.starts_with("Unknown") && !text.starts_with("Usage:"), "{typed}: {text}");
            if all && name == "hot" {
                assert_eq!((typed.as_str(), text), ("!hot \"New York\"", "No hot prospects in New York."));
            }
        }
    }
}

/// What the endpoint makes of an interaction that Discord signed.
fn typed(interaction: &Value) -> String {
    let (body, now) = (interaction.to_string(), 1_700_000_000);
    let signature = hex::encode(key().sign(format!("{now}{body}").as_bytes()).to_bytes());
    let at = now.to_string();
    let header = |name: &str| match name {
        "x-signature-ed25519" => Some(signature.as_str()),
        "x-signature-timestamp" => Some(at.as_str()),
        _ => None,
    };
    let public = hex::encode(key().verifying_key().to_bytes());
    let secrets = hub_edge::Secrets::from(|name| (name == "DISCORD_PUBLIC_KEY").then(|| public.clone()));
    let request = hub_edge::Request { method: "POST", name: None, header: &header, body: body.as_bytes(), now };
    match hub_edge::plan(hub_edge::Function::Koji, &request, &secrets) {
        hub_edge::Step::Call(hub_edge::Call::Bridged { content, .. }, _) => content,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_refusal_by_discord_is_reported_with_what_to_do() {
    let (world, discord) = (World::new().await, Discord::start().await);
    let fields = json!({"code": 50035, "message": "Invalid Form Body", "errors": {"1": {"description": {"_errors": [{"code": "B", "message": "Must be shorter"}]}}}});
    for (path, status, body, why) in [
        ("@me", 401, json!({"message": "401: Unauthorized", "code": 0}), "reset the token"),
        ("guilds/1/commands", 403, json!({"message": "Missing Access", "code": 50001}), "applications.commands"),
        ("guilds/1/commands", 404, json!({"message": "Unknown Guild", "code": 10004}), "--guild"),
        ("guilds/1/commands", 400, fields, "/export: description: Must be shorter"),
        ("guilds/1/commands", 502, json!({}), "502"),
        ("guilds/1/commands", 429, json!({"retry_after": 300.5}), "301 s"),
    ] {
        discord.with(|told| told.answers.push_back((path, status, None, body)));
        let refused = register(&discord, &world, &["--guild", "1"]).await;
        let (_, err) = texts(&refused);
        assert!(!refused.status.success() && err.contains(why), "{status}: {err}");
    }
    let (_, err) = texts(&register(&discord, &world, &["--guild", "my server"]).await);
    assert!(err.contains("--guild"), "{err}");

    // A command that does not fit is told by name before anything is sent.
    discord.with(|told| told.requests.clear());
    world.sql("update public.koji_commands set description = repeat('x', 101) where name = 'hot'; update public.koji_commands set usage = '!warm [a] [b]' where name = 'warm'").await;
    let (_, err) = texts(&register(&discord, &world, &[]).await);
    assert!(err.contains("!hot: its description has 101") && err.contains("!warm: "), "{err}");
    discord.with(|told| assert!(told.requests.is_empty()));
}
