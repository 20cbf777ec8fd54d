//! The client against a server written here, over sockets in memory: with those the paused clock moves only when both ends have
//! nothing left to do, so every time below is exact.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt, future::BoxFuture};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::{
    io::DuplexStream,
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::{
    Event, Realtime, Subscription, Token, TokenSource, Topic,
    frame::{self, Body, Broadcast, Frame, Payload, Version},
    socket::{Dial, Fault, Wire},
};
use crate::error::{Error, Result};

const KEY: &str = "the key";

/// Gives the tokens of a list; the last one for ever.
#[derive(Clone)]
struct Tokens(Arc<Mutex<Held>>);

struct Held {
    /// With the seconds after which to ask for the next.
    tokens: VecDeque<(&'static str, Option<u64>)>,
    /// What was said to be spent, a question each.
    asked: Vec<Option<String>>,
}

impl Tokens {
    fn new(tokens: &[(&'static str, Option<u64>)]) -> Self {
        Self(Arc::new(Mutex::new(Held { tokens: tokens.iter().copied().collect(), asked: Vec::new() })))
    }

    fn asked(&self) -> Vec<Option<String>> {
        self.0.lock().unwrap().asked.clone()
    }
}

impl TokenSource for Tokens {
    fn token(&self, spent: Option<SecretString>) -> BoxFuture<'_, Result<Token>> {
        use secrecy::ExposeSecret;
        let mut held = self.0.lock().unwrap();
        held.asked.push(spent.map(|spent| spent.expose_secret().to_owned()));
        let next = if held.tokens.len() > 1 { held.tokens.pop_front() } else { held.tokens.front().copied() };
        async move {
            let (access, seconds) = next.ok_or_else(|| Error::Unauthorized("no tokens".into()))?;
            Ok(Token { access: access.into(), renew_in: seconds.map(Duration::from_secs) })
        }
        .boxed()
    }
}

/// The other end of the sockets that the client opens.
struct Server {
    sockets: mpsc::UnboundedReceiver<Result<End, ()>>,
    /// How many of the next attempts fail.
    failing: Arc<Mutex<u32>>,
}

/// One socket, the server's end.
struct End(WebSocketStream<DuplexStream>);

/// A client and its server.
fn pair(tokens: &Tokens) -> (Realtime, Server) {
    let (opened, sockets) = mpsc::unbounded_channel();
    let failing = Arc::new(Mutex::new(0));
    let fails = Arc::clone(&failing);
    let dial: Dial = Box::new(move || {
        let (opened, fails) = (opened.clone(), Arc::clone(&fails));
        async move {
            {
                let mut left = fails.lock().unwrap();
                if *left > 0 {
                    *left -= 1;
                    opened.send(Err(())).ok();
                    return Err(Fault::passing("refused"));
                }
            }
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            let client = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
            opened.send(Ok(End(WebSocketStream::from_raw_socket(theirs, Role::Server, None).await))).ok();
            Ok(Box::new(client) as Box<dyn Wire>)
        }
        .boxed()
    });
    (Realtime::over(dial, KEY.into(), tokens.clone()), Server { sockets, failing })
}

impl Server {
    async fn socket(&mut self) -> End {
        loop {
            if let Ok(end) = self.attempt().await {
                return end;
            }
        }
    }

    async fn attempt(&mut self) -> Result<End, ()> {
        timeout(Duration::from_secs(300), self.sockets.recv()).await.expect("the client connects").unwrap()
    }
}

impl End {
    /// The next frame of the client. `None`: it hung up.
    async fn read(&mut self) -> Option<frame::Message> {
        loop {
            let heard = timeout(Duration::from_secs(300), self.0.next()).await.expect("the client says something");
            match heard? {
                Ok(Message::Text(text)) => return Some(frame::read_text(Version::V2, &text).unwrap()),
                Ok(Message::Binary(bytes)) => return Some(frame::read_client_binary(&bytes).unwrap()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next frame that is no heartbeat; heartbeats are answered.
    async fn heard(&mut self, event: &str) -> frame::Message {
        loop {
            let message = self.read().await.expect("the socket stays");
            if message.event == "heartbeat" {
                self.reply(&message, true, &json!({})).await;
                continue;
            }
            assert_eq!(message.event, event);
            return message;
        }
    }

    async fn send(&mut self, frame: Frame) {
        let message = match frame {
            Frame::Text(text) => Message::text(text),
            Frame::Binary(bytes) => Message::binary(bytes),
        };
        self.0.send(message).await.unwrap();
    }

    async fn reply(&mut self, to: &frame::Message, ok: bool, response: &Value) {
        self.send(frame::reply(Version::V2, to, ok, response)).await;
    }

    async fn admit(&mut self) -> frame::Message {
        let join = self.heard("phx_join").await;
        self.reply(&join, true, &json!({"postgres_changes": []})).await;
        join
    }

    async fn refuse(&mut self, reason: &str) -> frame::Message {
        let join = self.heard("phx_join").await;
        self.reply(&join, false, &json!({"reason": reason})).await;
        join
    }

    async fn push(&mut self, join: &frame::Message, event: &str, payload: &Value) {
        let payload = payload.to_string();
        self.send(frame::text(Version::V2, &join.join_ref, &Value::Null, &join.topic, event, &payload)).await;
    }

    async fn broadcast(&mut self, topic: &str, seq: u64) {
        self.send(note(seq).to_client(Version::V2, topic).unwrap()).await;
    }
}

fn note(seq: u64) -> Broadcast {
    let body = Body::Json(Bytes::from(json!({ "seq": seq }).to_string()));
    Broadcast { event: "message".into(), body, meta: None }
}

fn payload(message: &frame::Message) -> Value {
    let Payload::Json(raw) = &message.payload else { panic!("{message:?}") };
    serde_json::from_str(raw.get()).unwrap()
}

async fn told(subscription: &mut Subscription) -> Event {
    timeout(Duration::from_secs(300), subscription.next()).await.expect("an event comes").expect("not the last")
}

const JOINED: Event = Event::Joined { again: false };
const AGAIN: Event = Event::Joined { again: true };

#[tokio::test(start_paused = true)]
async fn joins_and_hears_in_order_until_it_leaves() {
    let (realtime, mut server) = pair(&Tokens::new(&[("t1", None)]));
    let mut channel = realtime.join(Topic::private("channel:a"));
    let mut end = server.socket().await;
    let join = end.admit().await;
    assert_eq!(join.topic, "realtime:channel:a");
    assert_eq!(
        payload(&join),
        json!({"access_token": "t1", "config": {
            "private": true, "broadcast": {"ack": false, "self": false}, "presence": {"enabled": false, "key": ""},
            "postgres_changes": [],
        }})
    );
    assert_eq!(told(&mut channel).await, JOINED);
    for seq in 1..=100 {
        end.broadcast(&join.topic, seq).await;
    }
    for seq in 1..=100 {
        assert_eq!(told(&mut channel).await, Event::Broadcast(note(seq)));
    }
    // In text, as a client's broadcast can come, with what stands beside it.
    let text = json!({"type": "broadcast", "event": "message", "payload": {"seq": 101}, "meta": {"id": "i"}});
    end.push(&join, "broadcast", &text).await;
    let meta = Some(r#"{"id":"i"}"#.to_owned());
    assert_eq!(told(&mut channel).await, Event::Broadcast(Broadcast { meta, ..note(101) }));
    end.push(&join, "system", &json!({"status": "ok", "message": "m", "extension": "x"})).await;
    assert_eq!(told(&mut channel).await, Event::System { status: "ok".into(), message: "m".into() });

    // A second topic, and a second subscriber of the first, on the same socket.
    let mut thread = realtime.join(Topic::private("thread:b"));
    assert_eq!(end.admit().await.topic, "realtime:thread:b");
    assert_eq!(told(&mut thread).await, JOINED);
    let mut second = realtime.join(Topic::private("channel:a"));
    assert_eq!(told(&mut second).await, JOINED);
    assert!(matches!(told(&mut realtime.join(Topic::public("channel:a"))).await, Event::Refused(_)));
    end.broadcast(&join.topic, 102).await;
    assert_eq!(told(&mut second).await, Event::Broadcast(note(102)));
    assert_eq!(told(&mut channel).await, Event::Broadcast(note(102)));
    drop(channel);
    end.broadcast(&join.topic, 103).await;
    assert_eq!(told(&mut second).await, Event::Broadcast(note(103)));
    drop(second);
    let leave = end.heard("phx_leave").await;
    assert_eq!((leave.topic, leave.join_ref), (join.topic, join.join_ref));
    drop(thread);
    assert_eq!(end.heard("phx_leave").await.topic, "realtime:thread:b");
    assert!(end.read().await.is_none(), "no topic, no socket");
}

#[tokio::test(start_paused = true)]
async fn a_cut_socket_comes_back_with_all_topics() {
    let (realtime, mut server) = pair(&Tokens::new(&[("t1", None)]));
    let mut topics = [realtime.join(Topic::private("a")), realtime.join(Topic::private("b"))];
    let mut end = server.socket().await;
    end.admit().await;
    end.admit().await;
    for topic in &mut topics {
        assert_eq!(told(topic).await, JOINED);
    }
    tokio::time::sleep(Duration::from_secs(9)).await;
    *server.failing.lock().unwrap() = 12;
    let cut = Instant::now();
    drop(end);
    let mut pauses = Vec::new();
    let mut since = cut;
    for _ in 0..12 {
        assert!(server.attempt().await.is_err());
        pauses.push(since.elapsed());
        since = Instant::now();
    }
    assert!(pauses[0] <= Duration::from_millis(100), "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= Duration::from_millis(10_001)), "{pauses:?}");
    assert!(pauses[11] >= Duration::from_secs(5), "{pauses:?}");
    // Who comes meanwhile is told that there is nothing to hear now.
    let mut late = realtime.join(Topic::private("c"));
    assert!(matches!(told(&mut late).await, Event::Away { why } if why == "refused"));
    let mut end = server.socket().await;
    let mut joined: Vec<String> = Vec::new();
    for _ in 0..3 {
        joined.push(end.admit().await.topic);
    }
    joined.sort();
    assert_eq!(joined, ["realtime:a", "realtime:b", "realtime:c"]);
    for topic in &mut topics {
        // Once, however many attempts there were.
        assert!(matches!(told(topic).await, Event::Away { .. }));
        assert_eq!(told(topic).await, AGAIN);
    }
    assert_eq!(told(&mut late).await, JOINED);
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_heartbeat_closes_the_socket() {
    let (realtime, mut server) = pair(&Tokens::new(&[("t1", None)]));
    let mut topic = realtime.join(Topic::private("a"));
    let mut end = server.socket().await;
    end.admit().await;
    assert_eq!(told(&mut topic).await, JOINED);
    let begun = Instant::now();
    for beat in 1..=3 {
        let heartbeat = end.read().await.unwrap();
        assert_eq!((heartbeat.topic.as_str(), heartbeat.event.as_str()), ("phoenix", "heartbeat"));
        assert_eq!(begun.elapsed().as_secs(), 25 * beat);
        end.reply(&heartbeat, true, &json!({})).await;
    }
    assert_eq!(end.read().await.unwrap().event, "heartbeat");
    // Other frames are no answer: the half of a connection may be alive.
    tokio::time::sleep(Duration::from_secs(9)).await;
    end.broadcast("realtime:a", 1).await;
    assert_eq!(told(&mut topic).await, Event::Broadcast(note(1)));
    assert!(matches!(told(&mut topic).await, Event::Away { why } if why.contains("heartbeat")));
    assert_eq!(begun.elapsed().as_secs(), 110);
    server.socket().await.admit().await;
    assert_eq!(told(&mut topic).await, AGAIN);
}

#[tokio::test(start_paused = true)]
async fn a_refused_join_is_tried_again_only_with_a_new_token() {
    let (realtime, mut server) = pair(&Tokens::new(&[("t1", Some(3600)), ("t2", Some(3600))]));
    let mut topic = realtime.join(Topic::private("a"));
    let mut end = server.socket().await;
    let begun = Instant::now();
    end.refuse("Unauthorized: You do not have permissions to read from this Channel topic: a").await;
    assert!(matches!(told(&mut topic).await, Event::Refused(reason) if reason.starts_with("Unauthorized")));
    let join = end.admit().await;
    assert_eq!(begun.elapsed().as_secs(), 3600);
    assert_eq!(payload(&join)["access_token"], "t2");
    assert_eq!(told(&mut topic).await, JOINED);
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_is_tried_again_and_the_topic_is_away_meanwhile() {
    let (realtime, mut server) = pair(&Tokens::new(&[("t1", None)]));
    let mut topic = realtime.join(Topic::private("a"));
    let mut end = server.socket().await;
    for _ in 0..5 {
        end.refuse("ClientJoinRateLimitReached: Too many joins per second").await;
    }
    // One join is not answered at all.
    end.heard("phx_join").await;
    end.admit().await;
    assert!(matches!(told(&mut topic).await, Event::Away { why } if why.starts_with("ClientJoinRateLimitReached")));
    assert_eq!(told(&mut topic).await, JOINED);
}

#[tokio::test(start_paused = true)]
async fn a_new_token_is_sent_on_every_topic_and_used_for_later_joins() {
    let tokens = Tokens::new(&[("t1", Some(60)), ("t2", None)]);
    let (realtime, mut server) = pair(&tokens);
    let _topics = [realtime.join(Topic::private("a")), realtime.join(Topic::private("b"))];
    let mut end = server.socket().await;
    let mut joins = [end.admit().await, end.admit().await];
    let mut renewed = [end.heard("access_token").await, end.heard("access_token").await];
    joins.sort_by(|a, b| a.topic.cmp(&b.topic));
    renewed.sort_by(|a, b| a.topic.cmp(&b.topic));
    for (join, renewed) in joins.iter().zip(&renewed) {
        assert_eq!((&renewed.topic, &renewed.join_ref), (&join.topic, &join.join_ref));
        assert_eq!(payload(renewed), json!({"access_token": "t2"}));
    }
    let _later = realtime.join(Topic::private("c"));
    assert_eq!(payload(&end.admit().await)["access_token"], "t2");
    assert_eq!(tokens.asked(), [None, None]);
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_renewed_and_without_a_new_one_refused() {
    let tokens = Tokens::new(&[("t1", None), ("t2", None)]);
    let (realtime, mut server) = pair(&tokens);
    let mut topic = realtime.join(Topic::private("a"));
    let mut end = server.socket().await;
    end.refuse("InvalidJWTToken: Token has expired 3 seconds ago").await;
    let join = end.admit().await;
    assert_eq!(payload(&join)["access_token"], "t2");
    assert_eq!(told(&mut topic).await, JOINED);
    assert_eq!(tokens.asked(), [None, Some("t1".to_owned())]);
    // The server cuts it off at the end of the token; there is no other.
    end.push(&join, "system", &json!({"status": "error", "message": "Token has expired"})).await;
    end.push(&join, "phx_close", &json!({})).await;
    assert!(matches!(told(&mut topic).await, Event::System { .. }));
    assert!(matches!(told(&mut topic).await, Event::Away { .. }));
    end.refuse("InvalidJWTToken: Token has expired 1 seconds ago").await;
    assert!(matches!(told(&mut topic).await, Event::Refused(_)));
    assert_eq!(tokens.asked().last(), Some(&Some("t2".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_service_key_sends_no_token_in_its_joins() {
    let (realtime, mut server) = pair(&Tokens::new(&[(KEY, None)]));
    let _topic = realtime.join(Topic::private("a"));
    assert_eq!(payload(&server.socket().await.admit().await).get("access_token"), None);
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_gets_a_gap_and_delays_nobody() {
    let (realtime, mut server) = pair(&Tokens::new(&[("t1", None)]));
    let (mut slow, mut quick) = (realtime.join(Topic::private("a")), realtime.join(Topic::private("a")));
    let mut end = server.socket().await;
    let join = end.admit().await;
    assert_eq!(told(&mut quick).await, JOINED);
    for seq in 1..=2000 {
        end.broadcast(&join.topic, seq).await;
        assert_eq!(told(&mut quick).await, Event::Broadcast(note(seq)));
    }
    assert_eq!(told(&mut slow).await, Event::Gap);
    let mut rest = Vec::new();
    while let Some(event) = slow.try_next() {
        rest.push(event);
    }
    assert!(rest.len() < 512, "{}", rest.len());
    assert_eq!(rest.last(), Some(&Event::Broadcast(note(2000))), "what is sent after the gap is heard");
}

#[tokio::test(start_paused = true)]
async fn malformed_frames_and_stale_closes_are_ignored() {
    let (realtime, mut server) = pair(&Tokens::new(&[("t1", None)]));
    let mut topic = realtime.join(Topic::private("a"));
    let mut end = server.socket().await;
    let join = end.admit().await;
    assert_eq!(told(&mut topic).await, JOINED);
    let joined = json!(join.join_ref);
    for text in [
        "",
        "[",
        "{}",
        "null",
        "[1,2,3]",
        r#"["1","1","realtime:a","phx_reply",null]"#,
        r#"[null,null,"realtime:a","broadcast",{"event":7}]"#,
        r#"[null,null,"realtime:a","system",[]]"#,
        r#"["99",null,"realtime:a","phx_close",{}]"#,
        r#"["99",null,"realtime:a","phx_error",{}]"#,
        r#"[null,null,"realtime:other","broadcast",{"event":"message","payload":{}}]"#,
        r#"[null,"77","phoenix","phx_reply",{"status":"ok","response":{}}]"#,
    ] {
        end.send(Frame::Text(text.into())).await;
    }
    for bytes in [
        &b""[..],
        b"\x04",
        b"\x04\xff\xff\xff\x01x",
        b"\x09abc",
        b"\x04\x0a\x01\x00\x01realtime:ae{",
        b"\x00\x01\x01\x01112",
    ] {
        end.send(Frame::Binary(Bytes::from_static(bytes))).await;
    }
    end.push(&join, "phx_reply", &json!({"status": "error", "response": {"reason": "late"}})).await;
    end.0.send(Message::Ping(Bytes::from_static(b"p"))).await.unwrap();
    end.broadcast("realtime:a", 7).await;
    assert_eq!(told(&mut topic).await, Event::Broadcast(note(7)));
    // One that is of this join, or of none, closes it; it comes back.
    end.push(&join, "phx_error", &json!({})).await;
    assert!(matches!(told(&mut topic).await, Event::Away { .. }));
    assert_ne!(json!(end.admit().await.join_ref), joined);
    assert_eq!(told(&mut topic).await, AGAIN);
}

#[tokio::test(start_paused = true)]
async fn a_missing_token_is_reported_and_no_secret_is_printed() {
    let (realtime, _server) = pair(&Tokens::new(&[]));
    let mut topic = realtime.join(Topic::private("a"));
    assert!(matches!(told(&mut topic).await, Event::Away { why } if why == "no token: not signed in: no tokens"));
    let token = Token { access: "hush".into(), renew_in: None };
    let printed = format!("{realtime:?} {topic:?} {token:?}");
    assert!(!printed.contains(KEY) && !printed.contains("hush"), "{printed}");
}

#[tokio::test]
#[allow(clippy::result_large_err, reason = "the callback's type is the library's")]
async fn the_websocket_handshake_has_version_2_and_the_key() {
    use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/under/", listener.local_addr().unwrap());
    let key = SecretString::from("a key&more");
    let realtime = Realtime::connect(&base, &key, Tokens::new(&[("t1", None)])).unwrap();
    let mut topic = realtime.join(Topic::private("a"));
    // First a server that does not want it.
    let (stream, _) = listener.accept().await.unwrap();
    let unwanted = |_: &Request, _: Response| -> Result<Response, ErrorResponse> {
        let mut response = ErrorResponse::new(None);
        *response.status_mut() = tokio_tungstenite::tungstenite::http::StatusCode::UNAUTHORIZED;
        Err(response)
    };
    assert!(tokio_tungstenite::accept_hdr_async(stream, unwanted).await.is_err());
    assert_eq!(told(&mut topic).await, Event::Away { why: "the endpoint answers 401".into() });
    let (stream, _) = listener.accept().await.unwrap();
    let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        assert_eq!(request.uri(), "/under/realtime/v1/websocket?apikey=a+key%26more&vsn=2.0.0");
        Ok(response)
    };
    let mut socket = tokio_tungstenite::accept_hdr_async(stream, look).await.unwrap();
    let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("no join") };
    let join = frame::read_text(Version::V2, &text).unwrap();
    let Frame::Text(reply) = frame::reply(Version::V2, &join, true, &json!({"postgres_changes": []})) else { panic!() };
    socket.send(Message::text(reply)).await.unwrap();
    assert_eq!(told(&mut topic).await, JOINED);
    assert!(Realtime::connect("postgres://x", &key, Tokens::new(&[])).is_err());
}
