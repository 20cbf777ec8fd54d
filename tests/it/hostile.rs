//! What the world may send: the same thing ten thousand times, bodies and headers of every bad kind, clients that are slow or lie. Each answer
//! is the one that its sender expects, nothing is stored twice, nothing is a fault of ours, and the log tells of it without telling what.

use std::{
    collections::BTreeMap,
    fmt::Write,
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::join_all;
use hub_api::{Api, Secrets, Verifier};
use hub_tests::World;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::{Client, Method, RequestBuilder, header::HeaderValue};
use ring::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair},
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
};
use uuid::Uuid;

use crate::functions::{Functions, SECRET, functions_by, token};

const GITHUB_SECRET: &str = "github-hush-hush";
const TELEGRAM_SECRET: &str = "telegram-hush-hush";
/// As many connections as ask at once.
const CROWD: usize = 20;
/// GitHub sends no more.
const LARGEST: usize = 25 * 1024 * 1024;
const PUSH: &str = r#"{"ref": "refs/heads/main", "repository": {"full_name": "a/b"}, "pusher": {"name": "ada"}, "commits": [{"message": "Mend the roof"}]}"#;

fn discord_key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn environment() -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("GITHUB_WEBHOOK_SECRET", GITHUB_SECRET.to_owned()),
        ("TELEGRAM_WEBHOOK_SECRET", TELEGRAM_SECRET.to_owned()),
        ("DISCORD_PUBLIC_KEY", hex::encode(discord_key().public_key())),
    ])
}

async fn hub() -> Functions {
    hub_within(Duration::from_secs(10)).await
}

async fn hub_within(body: Duration) -> Functions {
    let secrets = Secrets::from(|name| environment().get(name).cloned());
    functions_by(|db| Api::new(db, Verifier::new(&SECRET.into()), secrets).body_within(body)).await
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn signature(body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, GITHUB_SECRET.as_bytes());
    format!("sha256={}", hex::encode(hmac::sign(&key, body)))
}

/// Requests to one place, as each provider makes them.
#[derive(Clone)]
struct Sender {
    http: Client,
    url: String,
}

impl Sender {
    fn to(url: &str) -> Self {
        Self { http: Client::new(), url: url.to_owned() }
    }

    fn post(&self, function: &str, body: impl Into<Vec<u8>>) -> RequestBuilder {
        self.http.post(format!("{}/functions/v1/{function}", self.url)).body(body.into())
    }

    /// Signed, after whatever was done to the body. No kind of body is said: it may be set once.
    fn github(&self, delivery: &str, body: impl Into<Vec<u8>>) -> RequestBuilder {
        let body = body.into();
        let signed = signature(&body);
        let request = self.post("github-webhook", body).header("x-hub-signature-256", signed);
        request.header("x-github-event", "push").header("x-github-delivery", delivery)
    }

    fn telegram(&self, body: impl Into<Vec<u8>>) -> RequestBuilder {
        self.post("telegram-webhook", body).header("x-telegram-bot-api-secret-token", TELEGRAM_SECRET)
    }

    fn discord(&self, body: impl Into<Vec<u8>>) -> RequestBuilder {
        let (at, body) = (now().to_string(), body.into());
        let signed = hex::encode(discord_key().sign(&[at.as_bytes(), &body].concat()));
        let request = self.post("koji-discord-bot", body).header("x-signature-timestamp", at);
        request.header("x-signature-ed25519", signed)
    }
}

struct Told {
    status: u16,
    id: String,
    body: Value,
}

/// The answer, if it is one that may be given: JSON, with an id, and with nothing of our inside.
async fn told(request: RequestBuilder) -> Told {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let text = response.text().await.unwrap();
    let header = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap());
    let kind = if status < 300 { "application/json" } else { "application/problem+json" };
    assert_eq!(header("content-type"), kind, "{status}: {text}");
    let id = header("x-request-id").to_owned();
    assert!(!id.is_empty() && id.len() <= 64, "{status}: {text}");
    let body: Value = serde_json::from_str(&text).unwrap();
    if status >= 300 {
        assert_eq!(body["status"], status, "{text}");
        assert!(body["title"].is_string() && body["detail"].is_string(), "{text}");
        let lower = text.to_lowercase();
        for inside in
            ["hub_internal", "pl/pgsql", "relation \"", "column \"", "sqlx", "panicked", ".rs:", "failing row", "stack"]
        {
            assert!(!lower.contains(inside), "{text}");
        }
    }
    Told { status, id, body }
}

/// How often each answer came, of `times` requests over as many connections as there are in the crowd.
async fn crowd(times: usize, url: &str, make: impl Fn(&Sender) -> RequestBuilder) -> BTreeMap<(u16, String), usize> {
    let asked = (0..CROWD).map(|_| {
        let sender = Sender::to(url);
        let make = &make;
        async move {
            let mut answers = Vec::new();
            for _ in 0..times / CROWD {
                let Told { status, body, .. } = told(make(&sender)).await;
                let id = body.pointer("/message/id").or(body.get("delivery")).and_then(Value::as_str);
                answers.push((status, id.unwrap_or_default().to_owned()));
            }
            answers
        }
    });
    let mut counted = BTreeMap::new();
    for answer in join_all(asked).await.into_iter().flatten() {
        *counted.entry(answer).or_default() += 1;
    }
    counted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_repeats_of_a_delivery_make_one_row_and_one_task() {
    let hub = hub().await;
    hub.world
        .sql(
            "insert into public.hub_webhook_rules (server_id, event, repository, channel_id, template)
             select c.server_id, 'push', 'a/*', c.id, 'Review {repository}: {commits}' from public.hub_channels c where c.name = 'quick'",
        )
        .await;
    let answers = crowd(10_000, &hub.url, |sender| sender.github("one", PUSH)).await;
    let counts: Vec<(u16, usize)> = answers.iter().map(|((status, _), count)| (*status, *count)).collect();
    assert_eq!(counts, [(200, 9_999), (202, 1)], "{answers:?}");
    let ids: Vec<&String> = answers.keys().map(|(_, id)| id).collect();
    assert_eq!(ids[0], ids[1], "each is told of the one that is stored");
    assert_eq!(hub.world.count_all("select count(*) from public.hub_webhook_deliveries").await, 1);
    for _ in 0..2 {
        hub.world.sql("select public.hub_process_webhooks()").await;
    }
    assert_eq!(hub.world.count_all("select count(*) from public.mac_tasks").await, 1);
    // And when it is long done, too.
    assert_eq!(told(Sender::to(&hub.url).github("one", PUSH)).await.status, 200);
    hub.world.sql("select public.hub_process_webhooks()").await;
    assert_eq!(hub.world.count_all("select count(*) from public.mac_tasks").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_sent_a_thousand_times_makes_one_message_for_each_kind_of_sender() {
    const MESSAGES: &str = "select count(*) from public.hub_channel_messages where sender_type <> 'system'";
    let hub = hub().await;
    let (messages, tasks) =
        (hub.world.count_all(MESSAGES).await, hub.world.count_all("select count(*) from public.mac_tasks").await);
    let operator = token(SECRET, json!({"role": "service_role", "exp": 4_000_000_000_i64}));
    let made: Value = sqlx::query_scalar("select public.hub_create_hook_token('agent', array['channel:' || $1])")
        .bind(hub.quick.to_string())
        .fetch_one(&hub.world.pool)
        .await
        .unwrap();
    let agent = made["token"].as_str().unwrap();
    hub.world
        .sql(
            "insert into public.hub_bridges (server_id, channel_id, provider, target, direction, allow_commands, starts_tasks)
             select c.server_id, c.id, b.provider, b.target, 'in', true, 'everyone' from public.hub_channels c, (values ('telegram', 'channel:-100'), ('discord', 'channel:42')) b (provider, target)
              where c.name = 'quick'",
        )
        .await;

    let content = json!({"channel": "buf-barista/quick", "content": "once", "idempotency_key": "k"}).to_string();
    let answers = crowd(1_000, &hub.url, |sender| sender.post("send", content.as_str()).bearer_auth(&operator)).await;
    assert_eq!((answers.len(), answers.keys().next().unwrap().0), (1, 200), "{answers:?}");

    let content =
        json!({"channel": format!("channel:{}", hub.quick), "message": "once", "idempotency_key": "k"}).to_string();
    let answers =
        crowd(1_000, &hub.url, |sender| sender.post("hooks-agent", content.as_str()).bearer_auth(agent)).await;
    assert_eq!((answers.len(), answers.keys().next().unwrap().0), (1, 200), "{answers:?}");
    assert_eq!(hub.world.count_all(MESSAGES).await, messages + 2);
    assert_eq!(hub.world.count_all("select count(*) from public.mac_tasks").await, tasks + 2);

    let update =
        json!({"update_id": 7, "message": {"message_id": 5, "chat": {"id": -100}, "from": {"id": 1, "first_name": "Ada"}, "text": "once"}})
            .to_string();
    let answers = crowd(1_000, &hub.url, |sender| sender.telegram(update.as_str())).await;
    assert_eq!((answers.len(), answers.keys().next().unwrap().0), (1, 200), "{answers:?}");
    assert_eq!(hub.world.count_all(MESSAGES).await, messages + 3);
    assert_eq!(hub.world.count_all("select count(*) from public.mac_tasks").await, tasks + 3);

    let asked =
        json!({"id": "9", "type": 2, "channel_id": "42", "user": {"username": "ada"}, "data": {"name": "once"}})
            .to_string();
    let answers = crowd(1_000, &hub.url, |sender| sender.discord(asked.as_str())).await;
    assert_eq!((answers.len(), answers.keys().next().unwrap().0), (1, 200), "{answers:?}");
    assert_eq!(hub.world.count_all(MESSAGES).await, messages + 4);

    // A key is for one message.
    let other = json!({"channel": "buf-barista/quick", "content": "another", "idempotency_key": "k"}).to_string();
    let refused = told(Sender::to(&hub.url).post("send", other).bearer_auth(&operator)).await;
    assert_eq!((refused.status, refused.body["code"].as_str()), (409, Some("UH003")));
}

#[tokio::test]
async fn a_reordered_body_needs_its_own_signature_and_is_the_same_delivery() {
    let hub = hub().await;
    let sender = Sender::to(&hub.url);
    let (body, reordered) = (r#"{"ref": "x", "n": [1, 2]}"#, "{\n  \"n\":[1,2],\t\"ref\":\"x\"}\r\n");
    let first = told(sender.github("one", body)).await;
    assert_eq!((first.status, &first.body["duplicate"]), (202, &json!(false)));
    let stale = sender.post("github-webhook", reordered).header("x-hub-signature-256", signature(body.as_bytes()));
    let stale = told(stale.header("x-github-event", "push").header("x-github-delivery", "two")).await;
    assert_eq!(stale.status, 401, "{}", stale.body);
    let again = told(sender.github("one", reordered)).await;
    assert_eq!((again.status, &again.body["duplicate"]), (200, &json!(true)));
    assert_eq!(again.body["delivery"], first.body["delivery"]);
    assert_eq!(hub.world.count_all("select count(*) from public.hub_webhook_deliveries").await, 1);
}

/// `hub serve`, a process of its own.
struct Program {
    child: Child,
    url: String,
    log: tokio::task::JoinHandle<Vec<String>>,
}

impl Program {
    async fn start(world: &World) -> Self {
        let mut child = Command::new(hub_tests::program())
            .args(["serve", "--listen", "127.0.0.1:0"])
            .current_dir(world.root())
            .env("DATABASE_URL", world.url.expose_secret())
            .env("SUPABASE_JWT_SECRET", SECRET)
            .env_remove("SUPABASE_URL")
            .env_remove("HUB_LOG")
            .envs(environment())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("hub starts: cargo build --release first");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let url = loop {
            let line = lines.next_line().await.unwrap().expect("it serves");
            if let Some((_, place)) = line.split_once("listen=") {
                break format!("http://{}", place.trim());
            }
        };
        let log = tokio::spawn(async move {
            let mut all = Vec::new();
            while let Ok(Some(line)) = lines.next_line().await {
                all.push(line);
            }
            all
        });
        Self { child, url, log }
    }

    /// Megabytes in memory.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// Stops it; all that it logged.
    async fn ended(mut self) -> Vec<String> {
        kill(Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()), Signal::SIGTERM).unwrap();
        assert!(self.child.wait().await.unwrap().success());
        self.log.await.unwrap()
    }
}

fn of_size(bytes: usize) -> Vec<u8> {
    let frame = br#"{"x":""}"#;
    let mut body = frame[..6].to_vec();
    body.resize(bytes - 2, b'a');
    body.extend_from_slice(&frame[6..]);
    assert_eq!(body.len(), bytes);
    body
}

/// Without a length, by chunks.
fn in_chunks(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 1024);
    for chunk in body.chunks(1 << 20) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_the_limit_is_accepted_and_one_byte_more_is_not() {
    let world = World::new().await;
    let program = Program::start(&world).await;
    let sender = Sender::to(&program.url);
    assert_eq!(told(sender.github("small", PUSH)).await.status, 202);
    let before = program.memory();
    let (most, more) = (of_size(LARGEST), of_size(LARGEST + 1));
    for (delivery, body, status) in [("most", &most, 202), ("more", &more, 413)] {
        assert_eq!(told(sender.github(delivery, body.clone())).await.status, status);
        let head = signed_head(body, &format!("{delivery}-in-chunks"), "transfer-encoding: chunked\r\n");
        let answer = raw(&program.url, [head.into_bytes(), in_chunks(body)].concat()).await;
        assert_eq!(status_of(&answer), status, "in chunks: {answer}");
    }
    // Many at once, and many of them refused: nothing of it stays.
    let at_once = (0..8)
        .map(|n| told(sender.github(&format!("crowd-{n}"), if n % 2 == 0 { most.clone() } else { more.clone() })));
    for (n, answer) in join_all(at_once).await.into_iter().enumerate() {
        assert_eq!(answer.status, if n % 2 == 0 { 202 } else { 413 }, "{}", answer.body);
    }
    assert_eq!(world.count_all("select count(*) from public.hub_webhook_deliveries").await, 7);
    let after = program.memory();
    eprintln!("memory: {before} MB before, {after} MB after");
    assert!(after < before + 64, "{before} MB before, {after} MB after");
    program.ended().await;
}

/// The head of a request that says its body's length.
fn head(function: &str, more: &str) -> String {
    format!("POST /functions/v1/{function} HTTP/1.1\r\nhost: x\r\n{more}\r\n")
}

async fn connect(url: &str) -> TcpStream {
    TcpStream::connect(url.trim_start_matches("http://")).await.unwrap()
}

/// All that comes back to these bytes until the other side closes.
async fn raw(url: &str, bytes: impl AsRef<[u8]>) -> String {
    let mut socket = connect(url).await;
    // Who is refused in the middle may be cut off; what was said before that counts.
    let _ = socket.write_all(bytes.as_ref()).await;
    rest(socket).await
}

/// The same, of a client that has nothing more to say after them.
async fn cut(url: &str, bytes: impl AsRef<[u8]>) -> String {
    let mut socket = connect(url).await;
    let _ = socket.write_all(bytes.as_ref()).await;
    let _ = socket.shutdown().await;
    rest(socket).await
}

async fn rest(mut socket: TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(60), socket.read_to_end(&mut answer)).await.expect("it is closed");
    String::from_utf8(answer).unwrap()
}

fn status_of(answer: &str) -> u16 {
    answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// The same on a connection that goes on.
fn stays(head: &str) -> String {
    head.replace("connection: close\r\n", "")
}

fn signed_head(body: &[u8], delivery: &str, more: &str) -> String {
    let signed = signature(body);
    head(
        "github-webhook",
        &format!(
            "connection: close\r\nx-hub-signature-256: {signed}\r\nx-github-event: push\r\nx-github-delivery: {delivery}\r\n{more}"
        ),
    )
}

#[tokio::test]
async fn slow_senders_are_cut_off_and_delay_nobody() {
    let hub = hub_within(Duration::from_secs(3)).await;
    let person = hub.person(Some("viewer")).await;
    // More than would fill all room if what they announce were set aside; each goes on sending, a byte at a time.
    let slow: Vec<_> = join_all((0..50).map(|n| begin_slowly(&hub, n))).await;
    let waiting = tokio::spawn(join_all(slow.into_iter().map(|(socket, more)| slowly(socket, more))));
    for n in 0..5 {
        assert_eq!(hub.ask(&person, hub.leads, "!stats").await.0.as_u16(), 200);
        assert_eq!(told(Sender::to(&hub.url).github(&format!("quick-{n}"), PUSH)).await.status, 202);
    }
    assert_eq!(told(Sender::to(&hub.url).github("large", of_size(1 << 20))).await.status, 202);
    assert!(!waiting.is_finished(), "they were answered while the slow ones went on");
    for answer in waiting.await.unwrap() {
        assert_eq!(status_of(&answer), 408, "{answer}");
        assert!(answer.contains("x-request-id: ") && answer.contains("application/problem+json"), "{answer}");
        assert!(answer.contains("did not arrive within 3 s"), "{answer}");
    }
    assert_eq!(hub.world.count_all("select count(*) from public.hub_webhook_deliveries").await, 6);
}

/// Some say how long it will be, some do not. And what they go on with.
async fn begin_slowly(hub: &Functions, n: usize) -> (TcpStream, &'static str) {
    let mut socket = connect(&hub.url).await;
    let (length, begin, more) = if n.is_multiple_of(2) {
        (format!("content-length: {LARGEST}\r\n"), "{", " ")
    } else {
        ("transfer-encoding: chunked\r\n".into(), "1\r\n{\r\n", "1\r\n \r\n")
    };
    socket.write_all((signed_head(b"", "slow", &length) + begin).as_bytes()).await.unwrap();
    (socket, more)
}

/// Sends on, and reads what is said in between.
async fn slowly(mut socket: TcpStream, more: &str) -> String {
    let mut answer = vec![0; 4096];
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            read = socket.read(&mut answer) => return String::from_utf8_lossy(&answer[..read.unwrap_or(0)]).into_owned(),
            _ = tick.tick() => drop(socket.try_write(more.as_bytes())),
        }
    }
}

#[tokio::test]
async fn wrong_content_lengths_and_pipelined_requests_are_handled() {
    let hub = hub_within(Duration::from_secs(2)).await;
    let body = PUSH.as_bytes();
    let length = |bytes: usize| format!("content-length: {bytes}\r\n");

    // Cut off; said longer than it is; said shorter, so that the signature is of something else and the rest is no request.
    let ended = cut(&hub.url, signed_head(body, "cut", &length(body.len())) + &PUSH[..20]).await;
    assert!(ended.is_empty() || status_of(&ended) == 400, "{ended}");
    let longer = raw(&hub.url, signed_head(body, "longer", &length(body.len() + 10)) + PUSH).await;
    assert_eq!(status_of(&longer), 408, "{longer}");
    let shorter = raw(&hub.url, stays(&signed_head(body, "shorter", &length(20))) + PUSH).await;
    assert_eq!(status_of(&shorter), 401, "{shorter}");
    assert!(shorter[12..].contains("HTTP/1.1 400"), "{shorter}");
    for (name, odd) in [
        ("negative", "content-length: -1\r\n"),
        ("words", "content-length: many\r\n"),
        ("two", "content-length: 3\r\ncontent-length: 4\r\n"),
        ("huge", "content-length: 99999999999999999999\r\n"),
    ] {
        let answer = raw(&hub.url, signed_head(body, name, odd) + PUSH).await;
        assert_eq!(status_of(&answer), 400, "{name}: {answer}");
    }

    // Without a length, by chunks; chunks that are none; both ways at once, which is how requests are smuggled.
    let chunks = format!("{:x}\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n", 20, &PUSH[..20], PUSH.len() - 20, &PUSH[20..]);
    let answer = raw(&hub.url, signed_head(body, "chunks", "transfer-encoding: chunked\r\n") + &chunks).await;
    assert_eq!(status_of(&answer), 202, "{answer}");
    for (odd, status) in [("zz\r\n{}\r\n", 400), ("5\r\n{}", 408), ("ffffffffffffffffff\r\n{}\r\n0\r\n\r\n", 400)] {
        let answer = raw(&hub.url, signed_head(b"{}", "odd", "transfer-encoding: chunked\r\n") + odd).await;
        assert_eq!(status_of(&answer), status, "{odd:?}: {answer}");
    }
    let both =
        raw(&hub.url, signed_head(body, "both", "transfer-encoding: chunked\r\ncontent-length: 5\r\n") + &chunks).await;
    assert!([202, 400].contains(&status_of(&both)), "{both}");
    let unknown = raw(&hub.url, signed_head(body, "unknown", "transfer-encoding: gzip\r\n") + &chunks).await;
    assert_eq!(status_of(&unknown), 400, "{unknown}");

    // Three in a row, not waiting for answers: each has its own, in order.
    let mut row = String::new();
    for (id, signed) in [("row-1", PUSH), ("row-2", "another"), ("row-3", PUSH)] {
        let more = format!("x-request-id: {id}\r\n{}", length(PUSH.len()));
        let head = signed_head(signed.as_bytes(), id, &more);
        let _ = write!(row, "{}{PUSH}", if id == "row-3" { head } else { stays(&head) });
    }
    let answers = raw(&hub.url, row).await;
    let seen: Vec<(u16, bool)> = answers
        .split("HTTP/1.1 ")
        .skip(1)
        .zip(["row-1", "row-2", "row-3"])
        .map(|(answer, id)| (answer[..3].parse().unwrap(), answer.contains(&format!("x-request-id: {id}\r\n"))))
        .collect();
    assert_eq!(seen, [(202, true), (401, true), (202, true)], "{answers}");

    let stored = hub.world.one_text("select string_agg(delivery_id, ' ' order by delivery_id) from public.hub_webhook_deliveries where delivery_id <> 'both'").await;
    assert_eq!(stored, "chunks row-1 row-3");
}

#[tokio::test]
async fn unknown_paths_answer_404_with_a_problem() {
    let hub = hub().await;
    // As they are written: a client would tidy them up.
    for path in [
        "/",
        "/functions/v1",
        "/functions/v1/",
        "/functions/v1/send/",
        "/functions/v1//send",
        "//functions/v1/send",
        "/functions/v1/nothing",
        "/functions/v1/%73end",
        "/functions/v1/..%2fsend",
        "/functions/v1/x%2Fsend",
        "/functions/v1/../v1/send",
        "/functions/v1/./send",
        "/functions/v1/send%00",
        "/functions/v1/send;x=1",
        "/functions/v1/SEND",
        "/functions/v2/send",
        "/functions/v1/%ff",
        "/functions/v1/send/..",
        "/../../etc/passwd",
        "/functions/v1/send%20",
    ] {
        let answer = raw(
            &hub.url,
            format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}"),
        )
        .await;
        assert_eq!(status_of(&answer), 404, "{path}: {answer}");
        assert!(answer.contains("application/problem+json") && answer.contains("x-request-id: "), "{path}: {answer}");
    }
    for path in ["/functions/v1/send?a=b", "http://x/functions/v1/send"] {
        let answer = raw(
            &hub.url,
            format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}"),
        )
        .await;
        assert_eq!(status_of(&answer), 401, "{path}: {answer}");
    }
    for method in ["GET", "PUT", "PATCH", "DELETE", "TRACE", "BREW"] {
        let url = format!("{}/functions/v1/send", hub.url);
        let response = Client::new().request(Method::from_bytes(method.as_bytes()).unwrap(), url).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), response.headers()["allow"].to_str().unwrap()),
            (405, "POST"),
            "{method}"
        );
    }
    let described = told(Client::new().post(format!("{}/functions/v1/openapi.json", hub.url))).await;
    assert_eq!(described.status, 405, "{}", described.body);
    // What is no request at all has an answer, too, and the next one is served.
    for bytes in ["\r\n\r\n\r\n", "GET\r\n\r\n", "POST / HTTP/9.9\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}"] {
        let answer = cut(&hub.url, bytes).await;
        assert!(answer.is_empty() || status_of(&answer) == 400, "{bytes:?}: {answer}");
    }
}

/// One bad request: what it is, what it comes to.
type Case = (&'static str, RequestBuilder, u16);

fn nested(levels: usize) -> String {
    format!(r#"{{"a": {}{}}}"#, "[".repeat(levels), "]".repeat(levels))
}

fn of_github(sender: &Sender) -> Vec<Case> {
    let json = "application/json";
    // A delivery of its own each: what is refused must not be there afterwards.
    let send = |body: &[u8]| sender.github(&Uuid::new_v4().to_string(), body);
    let bare =
        |body: &str| sender.post("github-webhook", body).header("x-hub-signature-256", signature(body.as_bytes()));
    let digits = |number: &str| format!(r#"{{"n": {number}}}"#);
    let with = |name: &'static str, value: &[u8]| bare("{}").header(name, HeaderValue::from_bytes(value).unwrap());
    vec![
        (
            "an event nobody knows",
            bare("{}").header("x-github-event", "teleported").header("x-github-delivery", "e1"),
            202,
        ),
        ("a ping", bare("{}").header("x-github-event", "ping").header("x-github-delivery", "e2"), 202),
        ("an empty object", send(b"{}"), 202),
        ("keys that repeat", send(br#"{"a": 1, "a": {"b": 2}, "a": 3}"#), 202),
        ("a zero in text and key", send(br#"{"a\u0000b": "x\u0000y"}"#), 202),
        ("halves of surrogates", send(br#"{"\ud800": "\udc00 \ud83d\ude00 \ud83d"}"#), 202),
        ("ten thousand digits", send(digits(&"7".repeat(10_000)).as_bytes()), 202),
        ("as deep as may be", send(nested(127).as_bytes()), 202),
        ("one deeper", send(nested(128).as_bytes()), 400),
        ("a hundred thousand brackets", send(nested(100_000).as_bytes()), 400),
        ("a hundred thousand objects", send((r#"{"a":"#.repeat(100_000) + "1" + &"}".repeat(100_000)).as_bytes()), 400),
        ("brackets that stay open", send("[".repeat(100_000).as_bytes()), 400),
        ("a number beyond all numbers", send(digits("1e400000").as_bytes()), 400),
        ("the same below zero", send(digits("-1e400000").as_bytes()), 400),
        ("a number near nothing", send(digits("1e-400000").as_bytes()), 400),
        ("two hundred thousand digits", send(digits(&"7".repeat(200_000)).as_bytes()), 400),
        ("a number that is none", send(b"{\"n\": NaN}"), 400),
        ("nothing", send(b""), 400),
        ("blanks", send(b" \n "), 400),
        ("a list", send(b"[{}]"), 400),
        ("null", send(b"null"), 400),
        ("text", send(b"\"{}\""), 400),
        ("two objects", send(b"{}{}"), 400),
        ("a byte order mark", send(b"\xef\xbb\xbf{}"), 400),
        ("bytes that are no text", send(b"{\"a\": \"\xff\xfe\"}"), 400),
        ("a zero byte", send(b"{\"a\": \"\0\"}"), 400),
        ("half of an escape", send(br#"{"a": "\u12"}"#), 400),
        ("cut in the middle", send(&PUSH.as_bytes()[..40]), 400),
        ("compressed", send(b"\x1f\x8b\x08\x00").header("content-encoding", "gzip"), 400),
        ("another kind", send(b"{}").header("content-type", "text/plain"), 415),
        ("many parts", send(b"--x--").header("content-type", "multipart/form-data; boundary=x"), 415),
        ("a kind with a charset", send(b"{}").header("content-type", "Application/JSON; charset=utf-8"), 202),
        (
            "a kind that is no text",
            send(b"{}").header("content-type", HeaderValue::from_bytes(b"\xff\xff").unwrap()),
            415,
        ),
        ("a form without a payload", send(b"a=b").header("content-type", "application/x-www-form-urlencoded"), 400),
        ("a form of no JSON", send(b"payload=%7B%ff").header("content-type", "application/x-www-form-urlencoded"), 400),
        (
            "a form with a zero",
            send(b"payload=%00%7B%7D").header("content-type", "application/x-www-form-urlencoded"),
            400,
        ),
        (
            "a form",
            send(b"payload=%7B%22a%22%3A%22%5Cud800%22%7D").header("content-type", "application/x-www-form-urlencoded"),
            202,
        ),
        ("no event", bare("{}").header("x-github-delivery", "e3").header("content-type", json), 400),
        ("no delivery", bare("{}").header("x-github-event", "push"), 400),
        ("a delivery of two words", with("x-github-delivery", b"a b").header("x-github-event", "push"), 400),
        ("a delivery that is no text", with("x-github-delivery", b"\xc3\x28").header("x-github-event", "push"), 400),
        ("a long delivery", with("x-github-delivery", &[b'a'; 201]).header("x-github-event", "push"), 400),
        ("a very long delivery", with("x-github-delivery", &[b'a'; 60_000]).header("x-github-event", "push"), 400),
        ("a long event", with("x-github-event", &[b'a'; 201]).header("x-github-delivery", "e4"), 400),
        (
            "no signature",
            sender.post("github-webhook", "{}").header("x-github-event", "push").header("x-github-delivery", "e5"),
            401,
        ),
        (
            "a signature that is no text",
            sender
                .post("github-webhook", "{}")
                .header("x-hub-signature-256", HeaderValue::from_bytes(b"sha256=\xff").unwrap()),
            401,
        ),
        (
            "a very long signature",
            sender.post("github-webhook", "{}").header("x-hub-signature-256", format!("sha256={}", "0".repeat(60_000))),
            401,
        ),
        ("an old kind of signature", sender.post("github-webhook", "{}").header("x-hub-signature", "sha1=00"), 401),
        (
            "two signatures, the first wrong",
            sender
                .post("github-webhook", "{}")
                .header("x-hub-signature-256", "sha256=00")
                .header("x-hub-signature-256", signature(b"{}")),
            401,
        ),
        ("two deliveries", send(b"{}").header("x-github-delivery", "e6"), 400),
        ("two events", send(b"{}").header("x-github-event", "issues"), 400),
    ]
}

fn of_telegram(sender: &Sender) -> Vec<Case> {
    let message = |change: Value| {
        let mut message =
            json!({"message_id": 5, "chat": {"id": -100}, "from": {"id": 1, "first_name": "Ada"}, "text": "x"});
        message.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        sender.telegram(json!({"update_id": 1, "message": message}).to_string())
    };
    let odd = |field: &str| {
        sender.telegram(format!(r#"{{"update_id": 1, "message": {{"message_id": 9, "chat": {{"id": -100}}, "from": {{"first_name": "A"}}, {field}}}}}"#))
    };
    vec![
        ("an update of a kind nobody knows", sender.telegram(r#"{"update_id": 1, "teleported": {"a": [1]}}"#), 200),
        ("no update", sender.telegram("{}"), 400),
        ("a list", sender.telegram("[]"), 400),
        ("no text", sender.telegram(&b"\xff\xfe"[..]), 400),
        ("nothing", sender.telegram(""), 400),
        ("an id that is text", sender.telegram(r#"{"update_id": "1"}"#), 400),
        ("an id beyond all numbers", sender.telegram(r#"{"update_id": 1e400000}"#), 400),
        ("keys that repeat", sender.telegram(r#"{"update_id": 1, "update_id": 2}"#), 400),
        ("a chat that is text", message(json!({"chat": {"id": "-100"}})), 400),
        (
            "zeros in text and name",
            message(
                json!({"message_id": 6, "text": "x\u{0}y", "from": {"first_name": "A\u{0}", "username": "a\u{0}"}}),
            ),
            200,
        ),
        ("nothing but zeros", message(json!({"message_id": 7, "text": "\u{0}\u{0}"})), 200),
        ("a very long name", message(json!({"message_id": 8, "from": {"first_name": "A".repeat(100_000)}})), 200),
        ("more text than a message holds", message(json!({"text": "x".repeat(200_000)})), 200),
        ("a body too large", message(json!({"text": "x".repeat(1 << 20)})), 413),
        ("half of a surrogate", odd(r#""text": "\ud800""#), 200),
        ("depth in what is not read", odd(&format!(r#""sticker": {}"#, nested(50_000))), 200),
        ("depth in what is", odd(&format!(r#""text": {}"#, nested(50_000))), 400),
        ("an answer to nothing", odd(r#""text": "x", "reply_to_message": {}"#), 400),
        (
            "another secret",
            sender.post("telegram-webhook", "{}").header("x-telegram-bot-api-secret-token", "x".repeat(60_000)),
            401,
        ),
        (
            "a secret that is no text",
            sender
                .post("telegram-webhook", "{}")
                .header("x-telegram-bot-api-secret-token", HeaderValue::from_bytes(b"\xff").unwrap()),
            401,
        ),
        ("no secret", sender.post("telegram-webhook", PUSH), 401),
    ]
}

fn of_discord(sender: &Sender) -> Vec<Case> {
    let command = |change: Value| {
        let mut command =
            json!({"id": "1", "type": 2, "channel_id": "42", "user": {"username": "ada"}, "data": {"name": "stats"}});
        command.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        sender.discord(command.to_string())
    };
    let at = |at: &str, body: &str| {
        let signed = hex::encode(discord_key().sign(format!("{at}{body}").as_bytes()));
        sender.post("koji-discord-bot", body).header("x-signature-ed25519", signed).header("x-signature-timestamp", at)
    };
    vec![
        ("a ping of a version to come", sender.discord(r#"{"id": "1", "type": 1, "version": 99, "more": [{}]}"#), 200),
        ("a type to come", sender.discord(r#"{"id": "1", "type": 77}"#), 200),
        ("a type out of bounds", sender.discord(r#"{"id": "1", "type": 256}"#), 400),
        ("a type below zero", sender.discord(r#"{"id": "1", "type": -1}"#), 400),
        ("a type that is text", sender.discord(r#"{"id": "1", "type": "1"}"#), 400),
        ("nothing in it", sender.discord("{}"), 400),
        ("nothing", sender.discord(""), 400),
        ("no text", sender.discord(&b"{\"id\": \"\xff\"}"[..]), 400),
        ("keys that repeat", sender.discord(r#"{"id": "1", "id": "2", "type": 1}"#), 400),
        ("no command", command(json!({"data": null})), 400),
        ("no channel", command(json!({"channel_id": null})), 400),
        ("nobody", command(json!({"user": null})), 400),
        (
            "zeros everywhere",
            command(
                json!({"id": "1\u{0}", "channel_id": "42\u{0}", "user": {"username": "a\u{0}"}, "data": {"name": "st\u{0}ats"}}),
            ),
            200,
        ),
        (
            "zeros where a bridge is",
            command(
                json!({"id": "2\u{0}", "user": {"username": "a\u{0}"}, "data": {"name": "st\u{0}ats", "options": [{"value": "\u{0}"}]}}),
            ),
            200,
        ),
        ("a very long id", command(json!({"id": "1".repeat(10_000)})), 200),
        (
            "depth in what is read",
            sender.discord(format!(
                r#"{{"id": "1", "type": 2, "data": {{"name": "a", "options": [{{"value": {}}}]}}}}"#,
                nested(10_000)
            )),
            400,
        ),
        (
            "a number beyond all numbers",
            sender.discord(r#"{"id": "1", "type": 2, "data": {"options": [{"value": 1e400000}]}}"#),
            400,
        ),
        ("half of a surrogate", sender.discord(r#"{"id": "\ud800", "type": 1}"#), 200),
        ("a body too large", command(json!({"data": {"name": "x".repeat(70_000)}})), 413),
        ("an old time", at("1700000000", r#"{"id": "1", "type": 1}"#), 401),
        ("a time that is none", at("soon", r#"{"id": "1", "type": 1}"#), 401),
        ("a time beyond all numbers", at("9223372036854775807", r#"{"id": "1", "type": 1}"#), 401),
        ("a time before all numbers", at("-9223372036854775808", r#"{"id": "1", "type": 1}"#), 401),
        ("another body", sender.discord("{}").body(r#"{"id": "1", "type": 1}"#), 401),
        (
            "a very long signature",
            sender
                .post("koji-discord-bot", "{}")
                .header("x-signature-ed25519", "0".repeat(60_000))
                .header("x-signature-timestamp", now()),
            401,
        ),
    ]
}

fn of_people_and_agents(sender: &Sender, person: &str, agent: &str, leads: Uuid, quick: Uuid) -> Vec<Case> {
    let koji = |body: &[u8]| sender.post("koji-discord-bot", body).bearer_auth(person);
    let send = |body: Value| sender.post("send", body.to_string()).bearer_auth(person);
    let hook = |body: Value| sender.post("hooks-agent", body.to_string()).bearer_auth(agent);
    let target = format!("channel:{quick}");
    let command = |text: &str| format!(r#"{{"channel_id": "{leads}", "command": {text}}}"#);
    let long = "x".repeat(60_000);
    vec![
        ("a command with zeros", koji(command(r#""!st\u0000ats""#).as_bytes()), 200),
        ("a command twice", koji(command(r#""x", "command": "!stats""#).as_bytes()), 200),
        ("a command that is a number", koji(command("1e400000").as_bytes()), 400),
        ("a command of ten thousand digits", koji(command(&"7".repeat(10_000)).as_bytes()), 400),
        ("a command with half of a surrogate", koji(command(r#""\ud800""#).as_bytes()), 200),
        ("a command that is deep", koji(command(&nested(20_000)).as_bytes()), 400),
        ("a channel with a zero", koji(br#"{"channel_id": "\u0000", "command": "!stats"}"#), 400),
        ("no text", koji(b"\xff"), 400),
        ("nothing", koji(b""), 400),
        ("an empty object", koji(b"{}"), 400),
        ("null", koji(b"null"), 400),
        ("another kind", koji(b"{}").header("content-type", "application/xml"), 415),
        ("a kind that is no text", koji(b"{}").header("content-type", HeaderValue::from_bytes(b"\xff").unwrap()), 415),
        ("a body too large", koji(command(&format!("\"{long}{long}\"")).as_bytes()), 413),
        ("a message of zeros", send(json!({"channel": "buf-barista/quick", "content": "\u{0}\u{0}"})), 400),
        ("a message too long", send(json!({"channel": "buf-barista/quick", "content": "x".repeat(100_001)})), 400),
        ("a channel of zeros", send(json!({"channel": "\u{0}/\u{0}", "content": "x"})), 404),
        ("a channel of quotes", send(json!({"channel": "'; drop table hub_channels; --", "content": "x"})), 404),
        ("a very long channel", send(json!({"channel": long, "content": "x"})), 404),
        ("an empty channel", send(json!({"channel": "", "content": "x"})), 404),
        (
            "a key too long",
            send(json!({"channel": "buf-barista/quick", "content": "x", "idempotency_key": "k".repeat(201)})),
            400,
        ),
        ("an empty key", send(json!({"channel": "buf-barista/quick", "content": "x", "idempotency_key": ""})), 400),
        (
            "a key that is a number",
            send(json!({"channel": "buf-barista/quick", "content": "x", "idempotency_key": 5})),
            400,
        ),
        (
            "a token that is no text",
            sender.post("send", "{}").header("authorization", HeaderValue::from_bytes(b"Bearer \xff").unwrap()),
            401,
        ),
        ("a very long token", sender.post("send", "{}").bearer_auth(&long), 401),
        ("a token of three empty parts", sender.post("send", "{}").bearer_auth(".."), 401),
        ("no token", sender.post("send", "{}"), 401),
        ("two tokens", sender.post("send", "{}").bearer_auth("x").bearer_auth(person), 401),
        (
            "a token whose person is none",
            sender.post("send", json!({"channel": "buf-barista/quick", "content": "x"}).to_string()).bearer_auth(
                token(SECRET, json!({"role": "authenticated", "sub": "nobody\u{0}", "exp": 4_000_000_000_i64})),
            ),
            400,
        ),
        ("a hook with zeros", hook(json!({"message": "x\u{0}y", "channel": target, "deliver": false})), 200),
        ("a hook to zeros", hook(json!({"message": "x", "channel": "channel:\u{0}"})), 400),
        ("a hook to somebody else", hook(json!({"message": "x", "channel": format!("channel:{leads}")})), 403),
        ("a hook of zeros", hook(json!({"message": "\u{0}", "channel": target})), 400),
        ("a hook that is delivered maybe", hook(json!({"message": "x", "channel": target, "deliver": 1})), 400),
        (
            "a hook of nobody",
            sender.post("hooks-agent", json!({"message": "x", "channel": target}).to_string()).bearer_auth(&long),
            401,
        ),
        ("a hook of another kind", hook(json!({})).header("content-type", "application/x-www-form-urlencoded"), 415),
    ]
}

#[tokio::test]
async fn bad_requests_get_the_status_that_each_provider_expects() {
    let hub = hub().await;
    hub.world
        .sql(
            "insert into public.hub_bridges (server_id, channel_id, provider, target, direction, starts_tasks)
             select c.server_id, c.id, b.provider, b.target, 'in', 'everyone' from public.hub_channels c, (values ('telegram', 'channel:-100'), ('discord', 'channel:42')) b (provider, target)
              where c.name = 'quick'",
        )
        .await;
    let person = token(SECRET, json!({"role": "service_role", "exp": 4_000_000_000_i64}));
    let made: Value = sqlx::query_scalar("select public.hub_create_hook_token('agent', array['channel:' || $1])")
        .bind(hub.quick.to_string())
        .fetch_one(&hub.world.pool)
        .await
        .unwrap();
    let sender = Sender::to(&hub.url);
    let stored = "select count(*) from public.hub_webhook_deliveries";
    let mut wrong = Vec::new();
    let mut expected = 0;
    for (name, request, status) in of_github(&sender) {
        expected += i64::from(status == 202);
        let answer = told(request).await;
        if answer.status != status {
            wrong.push(format!("GitHub, {name}: {} and not {status}: {}", answer.status, answer.body));
        }
    }
    let others = of_telegram(&sender).into_iter().chain(of_discord(&sender)).chain(of_people_and_agents(
        &sender,
        &person,
        made["token"].as_str().unwrap(),
        hub.leads,
        hub.quick,
    ));
    for (name, request, status) in others {
        let answer = told(request).await;
        if answer.status != status {
            wrong.push(format!("{name}: {} and not {status}: {}", answer.status, answer.body));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(hub.world.count_all(stored).await, expected, "what was refused is not there");
    // What is odd and was taken is taken up without ado.
    hub.world.sql("select public.hub_process_webhooks()").await;
    assert_eq!(
        hub.world.count_all("select count(*) from public.hub_webhook_deliveries where status = 'stored'").await,
        0
    );
    let replaced = "select count(*) from public.hub_webhook_deliveries where payload ? U&'\\FFFD' and payload ->> U&'\\FFFD' like U&'\\FFFD %'";
    assert_eq!(hub.world.count_all(replaced).await, 1);
    assert_eq!(hub.ask(&person, hub.leads, "!stats").await.0.as_u16(), 200);
}

#[tokio::test]
async fn plain_request_ids_are_kept_and_others_replaced() {
    let hub = hub().await;
    let sender = Sender::to(&hub.url);
    for (given, kept) in [
        (&b"mine-1.a_B"[..], true),
        (b"two words", false),
        (b"\xff", false),
        (b"", false),
        (&[b'x'; 64], true),
        (&[b'x'; 65], false),
        (b"<script>", false),
    ] {
        let value = HeaderValue::from_bytes(given).unwrap();
        let answer = told(sender.post("send", "{}").header("x-request-id", value)).await;
        assert_eq!(answer.id.as_bytes() == given, kept, "{given:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_has_each_refusal_and_no_content() {
    const CANARY: &str = "canary-in-a-coal-mine";
    let world = World::new().await;
    hub_migrate::seed(&world.url, &|_| {}).await.unwrap();
    let program = Program::start(&world).await;
    let sender = Sender::to(&program.url);
    let person = token(SECRET, json!({"role": "service_role", "sub": CANARY, "exp": 4_000_000_000_i64}));
    let hook = format!("hubhook_{CANARY}");
    let body = |rest: &str| format!(r#"{{"{CANARY}": "{CANARY}", {rest}}}"#);
    let requests = vec![
        ("accepted", sender.github("ok", body(r#""a": 1"#)), 202),
        ("forged", sender.github("forged", body(r#""a": 1"#)).body(CANARY), 401),
        ("deep", sender.github("deep", body(&format!(r#""a": {}"#, nested(1_000)))), 400),
        ("large number", sender.github("number", body(r#""a": 1e400000"#)), 400),
        ("no JSON", sender.github("broken", CANARY), 400),
        ("large", sender.github("large", vec![b'x'; LARGEST + 1]), 413),
        ("chat", sender.telegram(body(r#""update_id": "x""#)), 400),
        ("secret", sender.post("telegram-webhook", CANARY).header("x-telegram-bot-api-secret-token", CANARY), 401),
        ("interaction", sender.discord(body(r#""id": "1", "type": 256"#)), 400),
        ("command", sender.post("koji-discord-bot", body(r#""command": 5"#)).bearer_auth(&person), 400),
        (
            "message",
            sender.post("send", json!({"channel": CANARY, "content": CANARY}).to_string()).bearer_auth(&person),
            404,
        ),
        (
            "token",
            sender.post("send", json!({"channel": CANARY, "content": CANARY}).to_string()).bearer_auth(CANARY),
            401,
        ),
        (
            "agent",
            sender
                .post("hooks-agent", json!({"message": CANARY, "channel": format!("channel:{CANARY}")}).to_string())
                .bearer_auth(&hook),
            401,
        ),
        ("kind", sender.post("send", CANARY).bearer_auth(&person).header("content-type", "text/plain"), 415),
        ("place", sender.post("nothing", CANARY).bearer_auth(&person), 404),
        ("query", sender.http.post(format!("{}/functions/v1/send?token={CANARY}", program.url)).body(CANARY), 401),
    ];
    let mut ids = Vec::new();
    for (name, request, status) in requests {
        let answer = told(request.header("x-forwarded-for", CANARY)).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
        ids.push((name, answer.id));
    }
    let place = program.url.clone();
    let log = program.ended().await;
    for (name, id) in &ids {
        let lines: Vec<&String> = log.iter().filter(|line| line.contains(id.as_str())).collect();
        assert_eq!(lines.len(), 1, "{name}: one line each, of {place}: {lines:?}");
        assert!(lines[0].contains("duration_ms"), "{name}: {}", lines[0]);
    }
    let log = log.join("\n");
    for hidden in
        [CANARY, SECRET, GITHUB_SECRET, TELEGRAM_SECRET, person.as_str(), "sha256=", "Bearer", "ERROR", "panicked"]
    {
        assert!(!log.contains(hidden), "{hidden} is in the log:\n{log}");
    }
}
