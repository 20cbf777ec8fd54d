//! The Realtime endpoint by bare sockets: what no client library would do, and what happens when something breaks.

use crate::common::{Stack, answer, home, options};
use futures_util::{SinkExt, StreamExt};
use hub::realtime::frame::{self, Body, Broadcast, Frame, Message, Payload, Version};
use hub_local::keys::{Keys, Secrets};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::time::Duration;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message as Ws, protocol::frame::coding::CloseCode},
};

const PATIENCE: Duration = Duration::from_secs(30);

struct Socket {
    ws: WebSocketStream<MaybeTlsStream<TcpStream>>,
    version: Version,
    refs: u32,
    /// Read while something else was waited for.
    before: Vec<Message>,
}

impl Socket {
    async fn open(stack: &Stack, version: Version) -> Self {
        let vsn = if version == Version::V1 { "1.0.0" } else { "2.0.0" };
        let url = address(stack, &format!("apikey={}&vsn={vsn}", stack.var("SUPABASE_ANON_KEY")));
        let (ws, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        Self { ws, version, refs: 0, before: Vec::new() }
    }

    async fn send(&mut self, topic: &str, event: &str, payload: Value) -> String {
        self.refs += 1;
        let reference = self.refs.to_string();
        let join_ref = Value::from(format!("j{topic}"));
        let frame =
            frame::text(self.version, &join_ref, &Value::from(reference.as_str()), topic, event, &payload.to_string());
        let Frame::Text(text) = frame else { panic!() };
        self.ws.send(Ws::text(text)).await.unwrap();
        reference
    }

    async fn read(&mut self) -> Result<Message, Option<(CloseCode, String)>> {
        loop {
            match timeout(PATIENCE, self.ws.next()).await.expect("something is heard within half a minute") {
                Some(Ok(Ws::Text(text))) => return Ok(frame::read_text(self.version, &text).unwrap()),
                Some(Ok(Ws::Binary(bytes))) => return Ok(frame::read_server_binary(&bytes).unwrap()),
                Some(Ok(Ws::Close(close))) => return Err(close.map(|close| (close.code, close.reason.to_string()))),
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return Err(None),
            }
        }
    }

    /// The first message that passes; the others wait.
    async fn until(&mut self, which: impl Fn(&Message) -> bool) -> Message {
        if let Some(at) = self.before.iter().position(&which) {
            return self.before.remove(at);
        }
        loop {
            let message = self.read().await.expect("the socket stays");
            if which(&message) {
                return message;
            }
            self.before.push(message);
        }
    }

    async fn answer(&mut self, reference: &str) -> (String, Value) {
        let reference = Value::from(reference);
        let message = self.until(|message| message.event == "phx_reply" && message.reference == reference).await;
        let payload = json(&message);
        (payload["status"].as_str().unwrap().to_owned(), payload["response"].clone())
    }

    async fn join(&mut self, topic: &str, token: &str, config: Value) -> (String, Value) {
        let topic = format!("realtime:{topic}");
        let reference = self.send(&topic, "phx_join", json!({"config": config, "access_token": token})).await;
        self.answer(&reference).await
    }

    async fn joined(&mut self, topic: &str, token: &str, config: Value) {
        let (status, response) = self.join(topic, token, config).await;
        assert_eq!(status, "ok", "{response}");
    }

    /// The next broadcast: its event and what it says.
    async fn broadcast(&mut self) -> (String, Value) {
        let message = self.until(|message| message.event == "broadcast").await;
        match &message.payload {
            Payload::Broadcast(Broadcast { event, body: Body::Json(body), .. }) => {
                (event.clone(), serde_json::from_slice(body).unwrap())
            }
            Payload::Json(_) => {
                let payload = json(&message);
                (payload["event"].as_str().unwrap().to_owned(), payload["payload"].clone())
            }
            other => panic!("{other:?}"),
        }
    }
}

fn json(message: &Message) -> Value {
    match &message.payload {
        Payload::Json(raw) => serde_json::from_str(raw.get()).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn address(stack: &Stack, query: &str) -> String {
    format!("{}/realtime/v1/websocket?{query}", stack.ready.api_url.replace("http://", "ws://"))
}

async fn admin(stack: &Stack) -> PgConnection {
    let secrets = Secrets::load(&stack.dir.join("secrets.json")).unwrap().unwrap();
    let port = stack.var("DATABASE_URL").rsplit_once(':').unwrap().1.split('/').next().unwrap().parse().unwrap();
    let options = hub_local::postgres::connect_options(port, "supabase_admin", &secrets.admin_password);
    // A superuser of the hub looks up names in pg_catalog alone.
    PgConnection::connect_with(&options.options([("search_path", "public")])).await.unwrap()
}

async fn run(connection: &mut PgConnection, statements: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned())).execute(connection).await.unwrap();
}

/// Anybody signed in may hear and say anything on topics that begin with `test:`.
const OPEN: &str =
    "create policy t_select on realtime.messages for select to authenticated using (topic like 'test:%');
     create policy t_insert on realtime.messages for insert to authenticated with check (topic like 'test:%');";

fn say(number: usize) -> String {
    format!("select realtime.send('{{\"n\": {number}}}', 'e', 'test:a', true);")
}

#[tokio::test]
async fn a_handshake_with_a_bad_key_is_refused_with_a_reason() {
    let stack = Stack::start().await;
    let http = |query: String| {
        let url = address(&stack, &query).replace("ws://", "http://");
        answer(
            stack
                .http
                .get(url)
                .header("connection", "upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-version", "13")
                .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        )
    };
    let secrets = Secrets::load(&stack.dir.join("secrets.json")).unwrap().unwrap();
    let ours = Keys::new(&secrets.jwt_secret, "t");
    let theirs = Keys::new(&"another secret that is long enough for anybody".into(), "t");
    let sign = |keys: &Keys, claims: Value| keys.sign(&claims).unwrap();
    let role = || json!({"role": "anon", "exp": 1});
    for (query, status, error) in [
        ("vsn=2.0.0".to_owned(), 401, "API key is missing"),
        ("apikey=x".into(), 401, "The token provided is not a valid JWT"),
        (format!("apikey={}", sign(&ours, role())), 401, "Token has expired"),
        (
            format!("apikey={}", sign(&ours, json!({"role": "anon"}))),
            401,
            "Fields `role` and `exp` are required in JWT",
        ),
        (
            format!("apikey={}", sign(&ours, json!({"exp": 99_999_999_999_i64}))),
            401,
            "Fields `role` and `exp` are required in JWT",
        ),
        (format!("apikey={}", theirs.api_key("anon").unwrap()), 401, "Failed to validate JWT signature"),
        (format!("apikey={}&vsn=3.0.0", stack.var("SUPABASE_ANON_KEY")), 400, "vsn must be 1.0.0 or 2.0.0"),
    ] {
        assert_eq!(http(query.clone()).await, (status, json!({"error": error})), "{query}");
    }
    // No role of a caller, however well it is signed.
    let mut socket = Socket::open(&stack, Version::V2).await;
    let root = sign(&ours, json!({"role": "supabase_admin", "exp": 99_999_999_999_i64}));
    let (status, response) = socket.join("test:a", &root, json!({"private": true})).await;
    assert_eq!(status, "error", "{response}");
    stack.stop().await;
}

#[tokio::test]
async fn broadcasts_arrive_once_in_order_and_only_when_committed() {
    let stack = Stack::start().await;
    stack.sql(OPEN).await;
    let token = stack.var("HUB_VIEWER_JWT").to_owned();
    let mut new = Socket::open(&stack, Version::V2).await;
    let mut old = Socket::open(&stack, Version::V1).await;
    let mut public = Socket::open(&stack, Version::V2).await;
    new.joined("test:a", &token, json!({"private": true})).await;
    old.joined("test:a", &token, json!({"private": true})).await;
    public.joined("test:a", &token, json!({"private": false})).await;
    stack.sql(&format!("begin; {} rollback; {}", say(0), (1..=60).map(say).collect::<String>())).await;
    stack.sql("select realtime.send_binary('\\x00ff', 'b', 'test:a', true); select realtime.send('{\"n\": 61}', 'e', 'test:a', true);").await;
    stack.sql("select realtime.send('{\"n\": \"open\"}', 'e', 'test:a', false)").await;
    for n in 1..=60 {
        assert_eq!(new.broadcast().await.1["n"], n);
        assert_eq!(old.broadcast().await.1["n"], n);
    }
    // Bytes by version 2 alone.
    let bytes = new.until(|message| message.event == "broadcast").await;
    let Payload::Broadcast(Broadcast { event, body: Body::Binary(bytes), meta }) = bytes.payload else { panic!() };
    assert_eq!((event.as_str(), &bytes[..], meta.is_some()), ("b", &[0_u8, 255][..], true));
    assert_eq!(new.broadcast().await.1["n"], 61);
    assert_eq!(old.broadcast().await.1["n"], 61);
    assert_eq!(public.broadcast().await.1["n"], "open");

    // Who comes later is told what was said, in order, and marked.
    let mut late = Socket::open(&stack, Version::V2).await;
    late.joined("test:a", &token, json!({"private": true, "broadcast": {"replay": {"since": 0, "limit": 3}}})).await;
    let mut heard = Vec::new();
    while heard.len() < 3 {
        let message = late.until(|message| message.event == "broadcast").await;
        let Payload::Broadcast(Broadcast { body, meta, .. }) = message.payload else { panic!() };
        assert!(meta.unwrap().contains(r#""replayed":true"#));
        heard.push(match body {
            Body::Json(body) => serde_json::from_slice::<Value>(&body).unwrap()["n"].clone(),
            Body::Binary(_) => "bytes".into(),
        });
    }
    assert_eq!(heard, [json!(60), json!("bytes"), json!(61)]);
    for (config, why) in [
        (json!({"broadcast": {"replay": {"since": 0}}}), "Replay is not allowed for public channels"),
        (json!({"private": true, "broadcast": {"replay": {"since": "x"}}}), "Replay params are not valid"),
    ] {
        let (status, response) = late.join("test:b", &token, config).await;
        assert_eq!(
            (status.as_str(), response["reason"].as_str().unwrap()),
            ("error", &*format!("UnableToReplayMessages: {why}"))
        );
    }
    stack.stop().await;
}

#[tokio::test]
async fn a_broken_stream_loses_no_message_and_leaves_no_slot() {
    let stack = Stack::start().await;
    stack.sql(OPEN).await;
    let token = stack.var("HUB_VIEWER_JWT").to_owned();
    let mut socket = Socket::open(&stack, Version::V2).await;
    let changes = json!([{"event": "INSERT", "schema": "public", "table": "hub_channel_messages"}]);
    socket.joined("test:a", &token, json!({"private": true, "postgres_changes": changes})).await;
    let system =
        |status: &'static str| move |message: &Message| message.event == "system" && json(message)["status"] == status;
    socket.until(system("ok")).await;
    stack.sql(&say(1)).await;
    assert_eq!(socket.broadcast().await.1["n"], 1);

    let mut admin = admin(&stack).await;
    for round in 0..3 {
        // The stream ends before this commits: no slot ever sees it.
        let lost = format!(
            "begin; {} select pg_terminate_backend(active_pid, 30000) from pg_replication_slots; commit; {}",
            say(10 * round + 2),
            say(10 * round + 3)
        );
        run(&mut admin, &lost).await;
        socket.until(system("error")).await;
        socket.until(system("ok")).await;
        run(&mut admin, &say(10 * round + 4)).await;
        for n in 2..=4 {
            assert_eq!(socket.broadcast().await.1["n"], 10 * round + n);
        }
    }
    let slots = "select count(*) filter (where temporary and active), count(*) from pg_replication_slots";
    let counted: (i64, i64) = sqlx::query_as(slots).fetch_one(&mut admin).await.unwrap();
    assert_eq!(counted, (1, 1));

    // All of Postgres dies.
    let pid: String = std::fs::read_to_string(stack.dir.join("postgres/postmaster.pid")).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid.lines().next().unwrap().parse().unwrap());
    run(&mut admin, &say(100)).await;
    assert_eq!(socket.broadcast().await.1["n"], 100);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    socket.until(system("error")).await;
    socket.until(system("ok")).await;
    stack.sql(&say(101)).await;
    assert_eq!(socket.broadcast().await.1["n"], 101);
    stack.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_slows_nobody() {
    let stack = Stack::start().await;
    stack.sql(OPEN).await;
    let token = stack.var("HUB_VIEWER_JWT").to_owned();
    let mut slow = Socket::open(&stack, Version::V2).await;
    slow.joined("test:a", &token, json!({"private": true})).await;
    let mut quick = Socket::open(&stack, Version::V2).await;
    quick.joined("test:a", &token, json!({"private": true})).await;
    // More than sockets and queue take together.
    for round in 0..20 {
        let long = format!(
            "select realtime.send(jsonb_build_object('n', {round} * 20 + i, 'text', repeat('x', 100000)), 'e', 'test:a', true)
               from generate_series(1, 20) i"
        );
        stack.sql(&long).await;
        for n in 1..=20 {
            assert_eq!(quick.broadcast().await.1["n"], round * 20 + n);
        }
    }
    let end = loop {
        match slow.read().await {
            Ok(_) => {}
            Err(end) => break end,
        }
    };
    // The reason is written if it reads again in time.
    if let Some((code, reason)) = end {
        assert_eq!(code, CloseCode::Policy);
        assert!(reason.contains("too slow"), "{reason}");
    }
    stack.stop().await;
}

#[tokio::test]
async fn nothing_is_heard_after_a_right_ends() {
    let stack = Stack::start().await;
    stack
        .sql(
            "insert into hub_servers (name, display_name, architecture_type, access) values ('labs2', 'Labs', 'flat_task_pipeline', 'members');
             insert into hub_channels (server_id, name, display_name) select id, 'lab', 'Lab' from hub_servers where name = 'labs2';
             insert into hub_members (server_id, user_id, role)
             select s.id, u.id, 'viewer' from hub_servers s, auth.users u where s.name = 'labs2' and u.email in ('viewer@hub.local', 'outsider@hub.local');",
        )
        .await;
    let mut admin = admin(&stack).await;
    let channel: String = sqlx::query_scalar("select c.id::text from hub_channels c where c.name = 'lab'")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    let topic = format!("channel:{channel}");
    let private = || json!({"private": true});
    let mut leaver = Socket::open(&stack, Version::V2).await;
    let mut stayer = Socket::open(&stack, Version::V2).await;
    leaver.joined(&topic, stack.var("HUB_OUTSIDER_JWT"), private()).await;
    stayer.joined(&topic, stack.var("HUB_VIEWER_JWT"), private()).await;
    let post = |text: &str| {
        format!(
            "insert into hub_channel_messages (channel_id, content, sender_type) values ('{channel}', '{text}', 'system');"
        )
    };
    run(&mut admin, &post("one")).await;
    assert_eq!(leaver.broadcast().await.1["content"], "one");
    let leave =
        "delete from hub_members where user_id = (select id from auth.users where email = 'outsider@hub.local');";
    run(&mut admin, &format!("{leave} {}", post("two"))).await;
    assert_eq!(stayer.broadcast().await.1["content"], "one");
    assert_eq!(stayer.broadcast().await.1["content"], "two");
    let system = leaver.until(|message| message.event == "system").await;
    assert!(json(&system)["message"].as_str().unwrap().contains("no longer have permission"));
    let close = leaver.until(|message| message.event == "phx_close").await;
    assert_eq!(close.join_ref, json!(format!("jrealtime:{topic}")));
    assert!(leaver.before.iter().all(|message| message.event != "broadcast"), "{:?}", leaver.before);
    let (status, response) = leaver.join(&topic, stack.var("HUB_OUTSIDER_JWT"), private()).await;
    assert_eq!(status, "error");
    assert!(response["reason"].as_str().unwrap().starts_with("Unauthorized: You do not have permissions to read"));
    stack.stop().await;
}

#[tokio::test]
async fn a_token_that_ends_closes_its_channels_and_a_new_one_keeps_them() {
    let stack = Stack::start().await;
    stack.sql(OPEN).await;
    let secrets = Secrets::load(&stack.dir.join("secrets.json")).unwrap().unwrap();
    let keys = Keys::new(&secrets.jwt_secret, "t");
    let user = uuid::Uuid::new_v4();
    let token = |seconds: i64| {
        let now = chrono::Utc::now().timestamp();
        keys.sign(&json!({"role": "authenticated", "sub": user, "exp": now + seconds, "n": seconds})).unwrap()
    };
    let mut socket = Socket::open(&stack, Version::V2).await;
    for topic in ["test:a", "test:b"] {
        socket.joined(topic, &token(4), json!({"private": true})).await;
    }
    socket.send("realtime:test:b", "access_token", json!({"access_token": token(3600)})).await;
    let close = socket.until(|message| message.event == "phx_close").await;
    assert_eq!(close.topic, "realtime:test:a");
    let told = socket.until(|message| message.event == "system").await;
    assert_eq!(json(&told)["message"], "Token has expired");
    stack.sql("select realtime.send('{\"n\": 1}', 'e', 'test:b', true)").await;
    assert_eq!(socket.broadcast().await.1["n"], 1);
    // One that is none closes the channel at once.
    socket.send("realtime:test:b", "access_token", json!({"access_token": "forged"})).await;
    assert_eq!(socket.until(|message| message.event == "phx_close").await.topic, "realtime:test:b");
    stack.stop().await;
}

#[tokio::test]
async fn equal_subscriptions_are_one_row_and_invalid_ones_get_an_error() {
    let stack = Stack::start().await;
    let token = stack.var("HUB_OPERATOR_JWT").to_owned();
    let mut admin = admin(&stack).await;
    let channel: String = sqlx::query_scalar("select id::text from hub_channels where name = 'quick'")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let mut socket = Socket::open(&stack, Version::V2).await;
        let filter = format!("channel_id=eq.{channel}");
        let changes =
            json!([{"event": "INSERT", "schema": "public", "table": "hub_channel_messages", "filter": filter}]);
        socket.joined("rows", &token, json!({"postgres_changes": changes})).await;
        socket.until(|message| message.event == "system" && json(message)["status"] == "ok").await;
        sockets.push(socket);
    }
    let count = "select count(*) from realtime.subscription";
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&mut admin).await.unwrap(), 1);

    let mut bad = Socket::open(&stack, Version::V2).await;
    for frame in ["", "{}", "[]", "null", "[1,2,3,4,5]", &"[".repeat(1000), r#"["1","2","phoenix"]"#] {
        bad.ws.send(Ws::text(frame)).await.unwrap();
    }
    for frame in [vec![], vec![3, 255, 255], vec![9; 100]] {
        bad.ws.send(Ws::binary(frame)).await.unwrap();
    }
    for filter in [
        "id=eq.'; drop table hub_servers; --",
        "nonsense=eq.1",
        "id=foo.1",
        "content=match.(",
        "content=match.((.?){255}){3}b0",
        "id=eq.not-a-uuid",
        "id=in.(1",
        "\u{0}",
    ] {
        let changes = json!([{"event": "*", "schema": "public", "table": "hub_channel_messages", "filter": filter}]);
        bad.joined("rows", &token, json!({"postgres_changes": changes})).await;
        let told = bad.until(|message| message.event == "system").await;
        assert_eq!(json(&told)["status"], "error", "{filter}");
    }
    for table in ["nothing", "hub_members", "hub_channel_messages; drop table x", "%"] {
        let changes = json!([{"event": "*", "schema": "public", "table": table}]);
        bad.joined("rows", &token, json!({"postgres_changes": changes})).await;
        let told = bad.until(|message| message.event == "system").await;
        assert!(json(&told)["message"].as_str().unwrap().starts_with("Unable to subscribe"), "{table}");
    }
    // It is all still there, and answers.
    let reference = bad.send("phoenix", "heartbeat", json!({})).await;
    assert_eq!(bad.answer(&reference).await.0, "ok");
    let (status, _) = answer(stack.ask_as("HUB_OPERATOR_JWT", Method::POST, "/rest/v1/rpc/hub_send").json(&json!({
        "p_channel_id": channel, "p_content": "What is this?"})))
    .await;
    assert_eq!(status, 200);
    for socket in &mut sockets {
        let change = socket.until(|message| message.event == "postgres_changes").await;
        assert_eq!(json(&change)["data"]["record"]["content"], "What is this?");
    }
    drop(sockets);
    drop(bad);
    for _ in 0..300 {
        if sqlx::query_scalar::<_, i64>(count).fetch_one(&mut admin).await.unwrap() == 0 {
            stack.stop().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("subscriptions of sockets that are gone are still there");
}

/// One key, that everybody has, fills neither the memory nor the time that each change takes.
#[tokio::test]
async fn what_one_caller_keeps_here_is_bounded() {
    let stack = Stack::start().await;
    let mut socket = Socket::open(&stack, Version::V2).await;
    let key = stack.var("SUPABASE_ANON_KEY");
    let shows = |size: usize| json!({"type": "presence", "event": "track", "payload": {"at": "x".repeat(size)}});
    for topic in ["a", "b"] {
        socket.joined(topic, key, json!({"presence": {"key": topic, "enabled": true}})).await;
    }
    for (topic, size, shown) in
        [("a", 700_000, "ok"), ("b", 700_000, "error"), ("a", 200_000, "ok"), ("b", 700_000, "ok")]
    {
        let reference = socket.send(&format!("realtime:{topic}"), "presence", shows(size)).await;
        let (status, response) = socket.answer(&reference).await;
        assert_eq!(status, shown, "{topic} {size}: {response}");
    }

    let token = stack.var("HUB_VIEWER_JWT");
    let changes = |from: usize| {
        let one = |n| json!({"event": "INSERT", "schema": "public", "table": "hub_channel_messages", "filter": format!("seq=gt.{n}")});
        json!({"postgres_changes": (from..from + 100).map(one).collect::<Vec<_>>()})
    };
    for (topic, from, status) in [("c", 0, "ok"), ("d", 100, "ok"), ("e", 200, "error"), ("f", 0, "ok")] {
        socket.joined(topic, token, changes(from)).await;
        let topic = format!("realtime:{topic}");
        let told = socket.until(|message| message.event == "system" && message.topic == topic).await;
        assert_eq!(json(&told)["status"], status, "{topic}: {}", json(&told));
    }
    stack.stop().await;
}

/// Whoever joins after a start hears nothing that was sent before it, though the stream breaks while it could be remembered.
#[tokio::test]
async fn what_was_sent_before_a_start_is_not_sent_again_when_the_stream_breaks() {
    let home = home();
    let dir = home.path().join("hub");
    let send = |what: &str| format!("select realtime.send('{{\"n\": \"{what}\"}}', 'e', 'test:again', true)");
    let stack = Stack::start_with(options(&dir)).await;
    stack.sql(OPEN).await;
    stack.sql(&send("before")).await;
    stack.stop().await;
    let stack = Stack::start_with(options(&dir)).await;
    let mut socket = Socket::open(&stack, Version::V2).await;
    socket.joined("test:again", stack.var("HUB_OPERATOR_JWT"), json!({"private": true})).await;
    stack.sql(&send("first")).await;
    assert_eq!(socket.broadcast().await.1["n"], "first");
    stack.sql("select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'walsender'").await;
    stack.sql(&send("second")).await;
    assert_eq!(socket.broadcast().await.1["n"], "second");
    stack.stop().await;
}

/// `postgres_changes_options: {wait: true}`: the answer to the join says that changes flow, or why they do not.
#[tokio::test]
async fn a_join_that_waits_is_answered_when_changes_flow() {
    let stack = Stack::start().await;
    stack
        .sql(
            "create table public.slow (id int primary key);
             create table public.quiet (id int primary key);
             alter publication supabase_realtime add table public.slow;
             grant select on public.slow, public.quiet to authenticated;",
        )
        .await;
    let token = stack.var("HUB_VIEWER_JWT").to_owned();
    let config = |table: &str, options: Value| {
        json!({"postgres_changes": [{"event": "INSERT", "schema": "public", "table": table}],
               "postgres_changes_options": options})
    };
    let mut socket = Socket::open(&stack, Version::V2).await;
    socket.joined("waits", &token, config("slow", json!({"wait": true}))).await;
    // What is committed from now on is heard, whatever else is told.
    stack.sql("insert into public.slow values (1)").await;
    let change = socket.until(|message| message.event == "postgres_changes").await;
    assert_eq!(json(&change)["data"]["record"], json!({"id": 1}));
    let told = socket.until(|message| message.event == "system").await;
    assert_eq!(json(&told)["message"], "Subscribed to PostgreSQL");

    let (status, refused) = socket.join("never", &token, config("quiet", json!({"wait": true}))).await;
    let why = "RealtimeDisabledForConfiguration: Unable to subscribe to changes with given parameters. Please check Realtime is \
               enabled for the given connect parameters: [event: INSERT, schema: public, table: quiet, filters: [], select: nil]";
    assert_eq!((status.as_str(), &refused), ("error", &json!({"reason": why})));
    let mut filtered = config("slow", json!({"wait": true}));
    filtered["postgres_changes"][0]["filter"] = json!("id=eq.one");
    let (status, refused) = socket.join("odd", &token, filtered.clone()).await;
    let why = "RealtimeDisabledForConfiguration: Unable to subscribe to changes with given parameters. An exception happened so please \
               check your connect parameters: [event: INSERT, schema: public, table: slow, filters: [{\"id\", \"eq\", \"one\", false}], \
               select: nil]. Exception: ERROR 22P02 (invalid_text_representation) invalid input syntax for type integer: \"one\"";
    assert_eq!((status.as_str(), &refused), ("error", &json!({"reason": why})));
    filtered["postgres_changes"][0]["filter"] = json!("id");
    assert_eq!(socket.join("worse", &token, filtered).await.0, "error");
    // Who asks for nothing waits for nothing.
    socket.joined("idle", &token, json!({"postgres_changes_options": {"wait": true}})).await;

    // A stream begins when the transactions that run then have ended.
    let (mut admin, mut holds) = (admin(&stack).await, admin(&stack).await);
    run(&mut holds, "begin; select pg_current_xact_id()").await;
    run(&mut admin, "select pg_terminate_backend(pid) from pg_stat_replication").await;
    socket.until(|message| message.event == "system" && json(message)["status"] == "error").await;
    let (status, refused) = socket.join("late", &token, config("slow", json!({"wait": true, "timeout": 700}))).await;
    let why = "PostgresChangesSubscribeTimeout: Timed out after 700ms waiting for the postgres_changes subscription";
    assert_eq!((status.as_str(), refused), ("error", json!({"reason": why})));
    run(&mut holds, "rollback").await;
    socket.joined("late", &token, config("slow", json!({"wait": true}))).await;
    let reference = socket.send("phoenix", "heartbeat", json!({})).await;
    assert_eq!(socket.answer(&reference).await.0, "ok", "the socket goes on");
    stack.stop().await;
}

/// `persist`: a broadcast that is heard at once, and by those who come later.
#[tokio::test]
async fn what_is_to_be_kept_is_replayed_until_its_time_is_over() {
    let stack = Stack::start().await;
    stack
        .sql(
            "create policy t_select on realtime.messages for select to authenticated using (topic like 'test:%');
             create policy t_says on realtime.messages for insert to authenticated
               with check (topic like 'test:%' and topic <> 'test:mute' and extension = 'broadcast');
             create policy t_keeps on realtime.messages for insert to authenticated
               with check (topic = 'test:kept' and extension = 'persistence');",
        )
        .await;
    let token = stack.var("HUB_OUTSIDER_JWT").to_owned();
    let mut mouth = Socket::open(&stack, Version::V2).await;
    let mut ear = Socket::open(&stack, Version::V2).await;
    let private = json!({"private": true, "broadcast": {"ack": true}});
    for topic in ["test:kept", "test:lost", "test:mute"] {
        mouth.joined(topic, &token, private.clone()).await;
        ear.joined(topic, &token, json!({"private": true})).await;
    }
    mouth.joined("test:public", &token, json!({"broadcast": {"ack": true}})).await;
    let mut say = async |topic: &str, number: u32, meta: Value| {
        let body = Body::Json(json!({"n": number}).to_string().into());
        let broadcast = Broadcast { event: "e".into(), body, meta: Some(meta.to_string()) };
        let reference = format!("b{number}");
        let topic = format!("realtime:{topic}");
        let Some(Frame::Binary(frame)) = broadcast.to_server(&format!("j{topic}"), &reference, &topic) else {
            panic!()
        };
        mouth.ws.send(Ws::binary(frame)).await.unwrap();
        mouth.answer(&reference).await
    };
    let (status, kept) = say("test:kept", 1, json!({"persist": true})).await;
    assert!(status == "ok" && kept["id"].is_string(), "{kept}");
    let (_, brief) = say("test:kept", 2, json!({"persist": {"ttl": 3600}})).await;
    assert!(brief["id"].is_string());
    assert_eq!(say("test:kept", 3, json!({})).await, ("ok".into(), json!({})), "not asked for");
    assert_eq!(
        say("test:lost", 4, json!({"persist": true})).await,
        ("ok".into(), json!({})),
        "no policy: heard, not kept"
    );
    assert_eq!(say("test:public", 5, json!({"persist": true})).await, ("ok".into(), json!({})), "nor in public");
    let invalid = json!({"error": "invalid_persist_ttl"});
    assert_eq!(say("test:kept", 6, json!({"persist": {"ttl": 0}})).await, ("error".into(), invalid));
    assert_eq!(say("test:mute", 7, json!({})).await, ("error".into(), json!({"error": "unauthorized"})));
    for number in 1..=4 {
        let heard = ear.until(|message| message.event == "broadcast").await;
        let Payload::Broadcast(Broadcast { body: Body::Json(body), meta, .. }) = &heard.payload else {
            panic!("{heard:?}")
        };
        assert_eq!(serde_json::from_slice::<Value>(body).unwrap(), json!({"n": number}));
        assert_eq!(*meta, None, "what stands beside it is the server's");
    }

    // Over HTTP, too; bytes as bytes.
    let over_http = |topic: &str, query: &str| {
        stack.ask_as("HUB_OUTSIDER_JWT", Method::POST, &format!("/realtime/v1/api/broadcast/{topic}/events/e?{query}"))
    };
    for (topic, query, status, said) in [
        ("test:kept", "private=true&persist=true", 202, Value::Null),
        ("test:mute", "private=true", 403, json!({"message": "Unauthorized"})),
        ("test:kept", "persist=true", 422, json!({"errors": {"persist": ["can only be used on private channels"]}})),
        (
            "test:kept",
            "private=true&persist[ttl]=x",
            422,
            json!({"errors": {"persist": ["ttl must be a positive integer of seconds from 1 to 259200"]}}),
        ),
    ] {
        assert_eq!(answer(over_http(topic, query).json(&json!({"n": 8}))).await, (status, said), "{topic}?{query}");
    }
    let bytes =
        over_http("test:kept", "private=true&persist[ttl]=60").header("content-type", "application/octet-stream");
    assert_eq!(answer(bytes.body(vec![0, 255])).await.0, 202);

    let replayed = async |since: i64| {
        let mut late = Socket::open(&stack, Version::V2).await;
        let config = json!({"private": true, "broadcast": {"replay": {"since": since}}});
        late.joined("test:kept", &token, config).await;
        // After them comes what is said now.
        assert_eq!(answer(over_http("test:kept", "private=true").json(&json!({"n": "end"}))).await.0, 202);
        let mut all = Vec::new();
        loop {
            let message = late.until(|message| message.event == "broadcast").await;
            let Payload::Broadcast(broadcast) = &message.payload else { panic!("{message:?}") };
            match (&broadcast.body, &broadcast.meta) {
                (Body::Json(body), Some(meta)) => {
                    let (body, meta): (Value, Value) =
                        (serde_json::from_slice(body).unwrap(), serde_json::from_str(meta).unwrap());
                    assert_eq!(meta["replayed"], true);
                    all.push((body["n"].clone(), meta["id"].clone()));
                }
                (Body::Binary(body), _) => all.push((json!(body.to_vec()), Value::Null)),
                (Body::Json(_), None) => return all,
            }
        }
    };
    let all = replayed(0).await;
    let what: Vec<_> = all.iter().map(|(what, _)| what.clone()).collect();
    assert_eq!(what, [json!(1), json!(2), json!(8), json!([0, 255])], "once each, in their order");
    assert_eq!((&all[0].1, &all[1].1), (&kept["id"], &brief["id"]));
    let mut admin = admin(&stack).await;
    let brief = "update realtime.messages set expires_at = now() at time zone 'utc' where payload = '{\"n\": 2}'";
    run(&mut admin, brief).await;
    let what: Vec<_> = replayed(0).await.into_iter().map(|(what, _)| what).collect();
    assert_eq!(what, [json!(1), json!(8), json!([0, 255])]);
    // The hub's own topics keep nothing of what clients say: no policy lets them.
    let allowed: i64 =
        sqlx::query_scalar("select count(*) from realtime.messages where skip_broadcast and topic not like 'test:%'")
            .fetch_one(&mut admin)
            .await
            .unwrap();
    assert_eq!(allowed, 0);
    stack.stop().await;
}

#[tokio::test]
async fn a_policy_that_fails_lets_nobody_in() {
    let stack = Stack::start().await;
    stack.sql("create policy t_broken on realtime.messages for select to authenticated using (topic = 'test:x' and 1 / (length(topic) - 6) > 0)").await;
    let mut socket = Socket::open(&stack, Version::V2).await;
    let (status, response) = socket.join("test:x", stack.var("HUB_VIEWER_JWT"), json!({"private": true})).await;
    assert_eq!(status, "error");
    assert!(response["reason"].as_str().unwrap().starts_with("Unauthorized"), "{response}");
    // Nothing of the asking stays.
    let mut admin = admin(&stack).await;
    let left: i64 = sqlx::query_scalar("select count(*) from realtime.messages where topic like 'test:%'")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert_eq!(left, 0);
    stack.stop().await;
}
