//! `Follow` and `Wake` over a project's URL, against a server that has one conversation and a Realtime of one page: what they
//! give when they are told, when they are told badly, and when they are not told at all.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{
        State,
        ws::{Message as Frame, WebSocket, WebSocketUpgrade},
    },
    response::Response,
    routing::{any, post},
};
use hub::{
    Hub,
    api::Api,
    follow::Follow,
    realtime::frame::{self, Body, Broadcast, Version},
    wake::{Signal, Wake},
};
use serde_json::{Value, json};
use tokio::{
    sync::{broadcast, watch},
    time::timeout,
};
use uuid::Uuid;

const CHANNEL: Uuid = Uuid::from_u128(7);
const WITHIN: Duration = Duration::from_secs(20);

#[derive(Clone)]
struct Server {
    rows: Arc<Mutex<Vec<Value>>>,
    /// How often `hub_messages_since` was asked.
    asked: watch::Sender<u32>,
    /// How many joins were let in.
    joined: watch::Sender<u32>,
    /// Joins are refused with this.
    refusal: Arc<Mutex<Option<&'static str>>>,
    /// Broadcasts for whoever is joined; nothing cuts the sockets.
    sockets: broadcast::Sender<Option<(String, Value)>>,
}

impl Server {
    async fn start() -> (Self, Hub) {
        let server = Self {
            rows: Arc::default(),
            asked: watch::channel(0).0,
            joined: watch::channel(0).0,
            refusal: Arc::default(),
            sockets: broadcast::channel(256).0,
        };
        let router = Router::new()
            .route("/rest/v1/rpc/hub_messages_since", post(Self::since))
            .route("/realtime/v1/websocket", any(Self::upgrade))
            .with_state(server.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (server, Hub::Api(Api::new(&url, "key".into(), "token".into()).unwrap()))
    }

    async fn since(State(server): State<Self>, Json(arguments): Json<Value>) -> Json<Value> {
        server.asked.send_modify(|asked| *asked += 1);
        let after = arguments["p_after"].as_i64().unwrap_or(0);
        let rows = server.rows.lock().unwrap();
        Json(rows.iter().filter(|row| row["seq"].as_i64() > Some(after)).take(200).cloned().collect())
    }

    async fn upgrade(State(server): State<Self>, upgrade: WebSocketUpgrade) -> Response {
        upgrade.on_upgrade(|socket| server.speak(socket))
    }

    async fn speak(self, mut socket: WebSocket) {
        let mut told = self.sockets.subscribe();
        let mut topic = None;
        loop {
            let answer = tokio::select! {
                heard = socket.recv() => {
                    let Some(Ok(Frame::Text(text))) = heard else { return };
                    let message = frame::read_text(Version::V2, &text).unwrap();
                    let refusal = *self.refusal.lock().unwrap();
                    match (message.event.as_str(), refusal) {
                        ("phx_join", Some(reason)) => frame::reply(Version::V2, &message, false, &json!({"reason": reason})),
                        ("phx_join", None) => {
                            topic = Some(message.topic.clone());
                            frame::reply(Version::V2, &message, true, &json!({"postgres_changes": []}))
                        }
                        _ => frame::reply(Version::V2, &message, true, &json!({})),
                    }
                }
                told = told.recv() => match (told.unwrap(), &topic) {
                    (None, _) => return,
                    (Some((event, payload)), Some(topic)) => {
                        let body = Body::Json(payload.to_string().into());
                        Broadcast { event, body, meta: None }.to_client(Version::V2, topic).unwrap()
                    }
                    _ => continue,
                },
            };
            let before = topic.is_some();
            let is_join = matches!(&answer, frame::Frame::Text(text) if text.contains("postgres_changes"));
            let frame = match answer {
                frame::Frame::Text(text) => Frame::text(text),
                frame::Frame::Binary(bytes) => Frame::Binary(bytes),
            };
            if socket.send(frame).await.is_err() {
                return;
            }
            if before && is_join {
                self.joined.send_modify(|joined| *joined += 1);
            }
        }
    }

    fn write(&self, seq: i64) -> Value {
        let row = json!({
            "id": Uuid::from_u128(seq.unsigned_abs().into()), "channel_id": CHANNEL, "seq": seq, "sender_type": "human",
            "content": format!("message {seq}"),
        });
        self.rows.lock().unwrap().push(row.clone());
        row
    }

    fn tell(&self, event: &str, payload: Value) {
        self.sockets.send(Some((event.into(), payload))).ok();
    }

    fn say(&self, seq: i64) {
        let row = self.write(seq);
        self.tell("message", row);
    }

    fn cut(&self) {
        self.sockets.send(None).ok();
    }

    fn asked(&self) -> u32 {
        *self.asked.borrow()
    }
}

async fn reach(counter: &watch::Sender<u32>, count: u32) {
    let mut counter = counter.subscribe();
    timeout(WITHIN, counter.wait_for(|now| *now >= count)).await.expect("it is reached").unwrap();
}

/// The next `count` messages, each checked to be the next.
async fn next(follow: &mut Follow, count: i64) {
    let until = follow.after() + count;
    while follow.after() < until {
        let before = follow.after();
        let messages = timeout(WITHIN, follow.next()).await.expect("a message comes").unwrap();
        let numbers: Vec<i64> = messages.iter().map(|message| message.seq).collect();
        assert_eq!(numbers, (before + 1..=follow.after()).collect::<Vec<_>>());
    }
    assert_eq!(follow.after(), until);
}

/// A follower that has seen `seen` messages and is told of more.
async fn told(server: &Server, hub: &Hub, seen: i64) -> Follow {
    for seq in 1..=seen {
        server.write(seq);
    }
    let mut follow = Follow::new(hub, CHANNEL, None, 0);
    next(&mut follow, seen).await;
    joined_again(server, &mut follow, 1).await;
    follow
}

/// Waits until it is joined for the `count`th time and has asked what it missed.
async fn joined_again(server: &Server, follow: &mut Follow, count: u32) {
    reach(&server.joined, count).await;
    // It asks once it has heard of the join, and from then on rarely: while it asks, it is not there yet.
    loop {
        let before = server.asked();
        assert!(timeout(WITHIN, follow.look()).await.unwrap().unwrap().is_empty());
        if server.asked() == before {
            return;
        }
    }
}

#[tokio::test]
async fn broadcast_messages_are_not_fetched_again() {
    let (server, hub) = Server::start().await;
    let mut follow = told(&server, &hub, 3).await;
    let asked = server.asked();
    for seq in 4..=60 {
        server.say(seq);
    }
    next(&mut follow, 57).await;
    assert_eq!(server.asked(), asked);
}

#[tokio::test]
async fn each_message_is_shown_once_despite_gaps_references_and_repetitions() {
    let (server, hub) = Server::start().await;
    let mut follow = told(&server, &hub, 1).await;
    // One is not told, the next is.
    server.write(2);
    server.say(3);
    next(&mut follow, 2).await;
    // Told twice, late, and of another conversation.
    let row = server.write(4);
    for _ in 0..2 {
        server.tell("message", row.clone());
    }
    let mut other = row.clone();
    other["seq"] = 5.into();
    other["task_thread_id"] = json!(Uuid::from_u128(8));
    server.tell("message", other);
    server.tell("thread", json!({"id": Uuid::from_u128(8), "seq": 5}));
    next(&mut follow, 1).await;
    server.write(5);
    server.tell("message", json!({"id": Uuid::from_u128(5), "seq": 5, "truncated": true}));
    next(&mut follow, 1).await;
    for seq in 6..=505 {
        server.write(seq);
    }
    server.tell("message", json!({"id": Uuid::from_u128(505), "seq": 505, "refetch": true, "from_seq": 6}));
    next(&mut follow, 500).await;
    server.say(506);
    next(&mut follow, 1).await;
}

#[tokio::test]
async fn messages_sent_while_the_socket_was_cut_are_fetched() {
    let (server, hub) = Server::start().await;
    let mut follow = told(&server, &hub, 1).await;
    for round in 0..3 {
        server.cut();
        server.write(round * 2 + 2);
        next(&mut follow, 1).await;
        joined_again(&server, &mut follow, u32::try_from(round).unwrap() + 2).await;
        server.say(round * 2 + 3);
        next(&mut follow, 1).await;
    }
}

#[tokio::test]
async fn a_refused_follower_polls() {
    let (server, hub) = Server::start().await;
    *server.refusal.lock().unwrap() = Some("Unauthorized: no");
    server.write(1);
    let mut follow = Follow::new(&hub, CHANNEL, None, 0);
    next(&mut follow, 1).await;
    for seq in 2..=5 {
        server.say(seq);
        next(&mut follow, 1).await;
    }
    assert_eq!(*server.joined.borrow(), 0);
}

async fn signal(wake: &Wake) -> Signal {
    timeout(WITHIN, wake.next()).await.expect("a signal comes")
}

#[tokio::test]
async fn a_device_is_woken_by_broadcasts_and_looks_after_each_join() {
    let (server, hub) = Server::start().await;
    let wake = hub.wake("dev").await;
    assert_eq!(*server.joined.borrow(), 1, "it hears before anybody claims");
    let both = async || {
        let mut both = [signal(&wake).await, signal(&wake).await];
        both.sort_by_key(|signal| *signal == Signal::Look);
        assert_eq!(both, [Signal::Device, Signal::Look]);
    };
    both().await;
    // The first tick of the net, and what else was due at the start.
    while timeout(Duration::from_millis(300), wake.next()).await.is_ok() {}
    for (event, expected) in [("wake", Signal::Look), ("cancel", Signal::Device), ("steer", Signal::Device)] {
        server.tell(event, json!({"seq": 1}));
        assert_eq!(signal(&wake).await, expected, "{event}");
        // And once more, for a commit that was told before it was seen.
        both().await;
    }
    server.tell("other", json!({}));
    assert!(timeout(Duration::from_millis(300), wake.next()).await.is_err());
    server.cut();
    reach(&server.joined, 2).await;
    both().await;
}

#[tokio::test]
async fn a_device_refused_by_realtime_polls_every_second_or_two() {
    let (server, hub) = Server::start().await;
    *server.refusal.lock().unwrap() = Some("Unauthorized: no");
    let wake = hub.wake("dev").await;
    let (mut looks, mut devices) = (0, 0);
    while looks < 3 || devices < 3 {
        match signal(&wake).await {
            Signal::Look => looks += 1,
            Signal::Device => devices += 1,
        }
    }
}
