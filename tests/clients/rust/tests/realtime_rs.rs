//! `realtime-rs` 0.1.0 does what it can do: vsn 1, public channels, broadcast, Postgres Changes with a person's token. It prints every
//! frame, joins no private channel and stands still when it is given a new token (it waits for a lock that it holds), which is why it
//! is in the tests and not in the product.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use realtime_rs::{
    message::{
        MessageEvent, PostgresChangeFilter, RealtimeMessage,
        payload::{BroadcastConfig, BroadcastPayload, Payload, PayloadStatus, PostgresChangesEvent},
    },
    realtime_channel::{ChannelManagerSync, ChannelState, RealtimeChannelBuilder},
    realtime_client::{ClientManagerSync, RealtimeClientBuilder},
};
use serde_json::{Value, json};
use std::{
    collections::{HashMap, HashSet},
    env,
    sync::{
        Condvar, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// For a machine that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Topics whose changes flow: the crate itself tells nobody.
static FLOWING: Mutex<Option<HashSet<String>>> = Mutex::new(None);
static FLOWS: Condvar = Condvar::new();

fn overhear(message: RealtimeMessage) -> RealtimeMessage {
    if let (MessageEvent::System, Payload::System(system)) = (&message.event, &message.payload)
        && system.extension == "postgres_changes"
        && system.status == PayloadStatus::Ok
    {
        FLOWING.lock().unwrap().get_or_insert_default().insert(system.channel.clone());
        FLOWS.notify_all();
    }
    message
}

fn wait_for_changes_of(topic: &str) {
    let flowing = FLOWING.lock().unwrap();
    let not_yet = |topics: &mut Option<HashSet<String>>| !topics.as_ref().is_some_and(|topics| topics.contains(topic));
    let (flowing, timeout) = FLOWS.wait_timeout_while(flowing, PATIENCE, not_yet).unwrap();
    drop(flowing);
    assert!(!timeout.timed_out(), "no changes of {topic}");
}

fn var(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run through tests/clients/run"))
}

fn client(token: &str) -> ClientManagerSync {
    RealtimeClientBuilder::new(var("SUPABASE_URL"), var("SUPABASE_ANON_KEY"))
        .access_token(token)
        .decode(overhear)
        .connect()
        .to_sync()
}

fn name(what: &str) -> String {
    format!("{what}-{}", uuid::Uuid::new_v4())
}

type Heard = HashMap<String, Value>;

fn send_to<T: Clone + Send + 'static>(sender: &Sender<T>) -> impl FnMut(&T) + Send + 'static {
    let sender = sender.clone();
    move |item| drop(sender.send(item.clone()))
}

fn say(channel: &ChannelManagerSync, event: &str, n: i64) {
    channel.broadcast(BroadcastPayload::new(event, HashMap::from([("n".to_owned(), json!(n))])));
}

fn joined(builder: RealtimeChannelBuilder, client: &ClientManagerSync) -> ChannelManagerSync {
    let channel = builder.build_sync(client).unwrap();
    // `subscribe_blocking` has no end when a join is refused.
    channel.subscribe();
    let deadline = Instant::now() + PATIENCE;
    while channel.get_state().unwrap() != ChannelState::Joined {
        assert!(Instant::now() < deadline, "not joined");
        thread::sleep(Duration::from_millis(5));
    }
    channel
}

fn next<T>(heard: &Receiver<T>) -> T {
    heard.recv_timeout(PATIENCE).expect("what was waited for did not come")
}

/// A call to REST as the operator.
fn rest(path: &str, body: Option<Value>) -> Value {
    let url = format!("{}/rest/v1/{path}", var("SUPABASE_URL"));
    let (key, token) = (var("SUPABASE_ANON_KEY"), format!("Bearer {}", var("HUB_OPERATOR_JWT")));
    let mut response = match body {
        None => ureq::get(&url).header("apikey", key).header("authorization", token).call(),
        Some(body) => ureq::post(&url)
            .header("apikey", key)
            .header("authorization", token)
            .header("prefer", "return=representation")
            .send_json(body),
    }
    .unwrap();
    response.body_mut().read_json().unwrap()
}

fn channel_id(of: &str) -> String {
    rest(&format!("hub_channels?select=id&name=eq.{of}"), None)[0]["id"].as_str().unwrap().to_owned()
}

fn post(channel: &str, content: &str) {
    rest("hub_channel_messages", Some(json!({"channel_id": channel, "content": content})));
}

/// Listens to a channel's new messages by Postgres Changes.
fn messages(client: &ClientManagerSync, channel: &str) -> (String, Receiver<String>, ChannelManagerSync) {
    let (sender, heard) = channel_of();
    let topic = name("messages");
    let filter = PostgresChangeFilter {
        schema: "public".into(),
        table: Some("hub_channel_messages".into()),
        filter: Some(format!("channel_id=eq.{channel}")),
    };
    let (content, marker) = (sender.clone(), sender);
    let builder = RealtimeChannelBuilder::new(&topic)
        .on_postgres_change(PostgresChangesEvent::Insert, filter, move |change| {
            let record = change.data.record.as_ref().unwrap();
            drop(content.send(record["content"].as_str().unwrap().to_owned()));
        })
        .on_broadcast("marker", move |_| drop(marker.send("marker".into())));
    let joined = joined(builder, client);
    wait_for_changes_of(&topic);
    (topic, heard, joined)
}

fn channel_of() -> (Sender<String>, Receiver<String>) {
    channel()
}

#[test]
fn broadcasts_reach_the_other_client_and_with_self_the_sender() {
    let topic = name("room");
    let (one, two) = (client(&var("SUPABASE_ANON_KEY")), client(&var("SUPABASE_ANON_KEY")));
    let (to_one, heard_by_one) = channel::<Heard>();
    let (to_two, heard_by_two) = channel::<Heard>();
    let hears_itself = BroadcastConfig { broadcast_self: true, ack: false };
    let first = RealtimeChannelBuilder::new(&topic).broadcast(hears_itself).on_broadcast("said", send_to(&to_one));
    let second = RealtimeChannelBuilder::new(&topic).on_broadcast("said", send_to(&to_two));
    let (first, second) = (joined(first, &one), joined(second, &two));
    say(&first, "said", 1);
    assert_eq!((&next(&heard_by_one)["n"], &next(&heard_by_two)["n"]), (&json!(1), &json!(1)));
    say(&second, "said", 2);
    assert_eq!(next(&heard_by_one)["n"], 2);
    say(&first, "said", 3);
    assert_eq!(next(&heard_by_two)["n"], 3, "its own, 2, is not among what it hears");
}

#[test]
fn rows_are_received_by_the_rights_of_the_token() {
    let room = channel_id("cc-retrieval");
    let (operator, device) = (client(&var("HUB_OPERATOR_JWT")), client(&var("HUB_DEVICE_JWT")));
    let (_, may, _kept) = messages(&operator, &room);
    let (topic, may_not, _also_kept) = messages(&device, &room);
    let text = name("hello");
    post(&room, &text);
    assert_eq!(next(&may), text);
    // Who may hear was asked for both at once; what is said after that comes after it.
    let mouth = joined(RealtimeChannelBuilder::new(&topic), &operator);
    say(&mouth, "marker", 1);
    assert_eq!(next(&may_not), "marker");
}

#[test]
fn a_public_channel_with_the_name_of_a_private_one_hears_nothing_of_it() {
    let room = channel_id("cc-runtime");
    let person = client(&var("HUB_OPERATOR_JWT"));
    let (sender, heard) = channel::<Heard>();
    let builder = RealtimeChannelBuilder::new(format!("channel:{room}"))
        .broadcast(BroadcastConfig { broadcast_self: true, ack: false })
        .on_broadcast("message", send_to(&sender));
    let open = joined(builder, &person);
    let (_, rows, _kept) = messages(&person, &room);
    for text in ["one", "two"] {
        post(&room, text);
        assert_eq!(next(&rows), text);
    }
    // The first was broadcast before the second was committed.
    say(&open, "message", 7);
    assert_eq!(next(&heard)["n"], 7);
}
