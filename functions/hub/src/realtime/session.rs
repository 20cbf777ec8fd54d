//! The task that owns the socket: opens it while a topic is wanted, joins, hears, keeps it alive, renews the token, and starts
//! again when it breaks.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{FutureExt, SinkExt, StreamExt, future::BoxFuture};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until, timeout},
};
use tokio_tungstenite::tungstenite;

use super::{
    channel::{Channel, LONGEST_PAUSE, STEADY, State, broadcast, pause, shortened, words},
    client::{Command, Token, TokenSource, Topic},
    frame::{self, Frame, Payload, Version},
    queue::Event,
    socket::{Dial, Fault, Wire},
};
use crate::error::{Error, Result};

/// As the official clients do; the server closes a socket that is silent for 60 s.
const HEARTBEAT: Duration = Duration::from_secs(25);
/// A heartbeat, a join, a frame that is written: who does not answer, or take it, in this time is gone.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// Where trying again soon is of little use.
const LASTING_PAUSE: Duration = Duration::from_secs(60);

/// Why a socket was given up.
enum End {
    /// Nobody wants a topic now.
    Idle,
    Fault(Fault),
}

type Renewal = BoxFuture<'static, Result<Token>>;

pub(super) struct Session {
    dial: Dial,
    key: SecretString,
    tokens: Arc<dyn TokenSource>,
    commands: mpsc::UnboundedReceiver<Command>,
    /// By their whole topic, `realtime:…`.
    channels: HashMap<String, Channel>,
    outbox: Vec<Frame>,
    references: u64,
    token: Option<SecretString>,
    renew_at: Option<Instant>,
    renewing: Option<Renewal>,
    /// Why there is no socket, since that is known.
    away: Option<String>,
    /// The heartbeat that is not answered yet, and until when it must be.
    heartbeat: Option<(String, Instant)>,
}

impl Drop for Session {
    fn drop(&mut self) {
        for queue in self.channels.values().flat_map(|channel| &channel.queues) {
            queue.end();
        }
        // Whoever joined at the last moment.
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            let (Command::Join { queue, .. } | Command::Leave { queue, .. }) = command;
            queue.end();
        }
    }
}

impl Session {
    pub(super) fn new(
        dial: Dial,
        key: SecretString,
        tokens: Arc<dyn TokenSource>,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        Self {
            dial,
            key,
            tokens,
            commands,
            channels: HashMap::new(),
            outbox: Vec::new(),
            references: 0,
            token: None,
            renew_at: None,
            renewing: None,
            away: None,
            heartbeat: None,
        }
    }

    /// Runs until nobody can subscribe any more.
    pub(super) async fn run(mut self) {
        let mut failures = 0;
        while self.wanted().await {
            let begun = Instant::now();
            let end = match self.open().await {
                Ok(mut socket) => {
                    self.away = None;
                    let end = self.hold(&mut socket).await;
                    if matches!(end, End::Idle) {
                        timeout(CLOSE_WITHIN, socket.close()).await.ok();
                    }
                    end
                }
                Err(end) => end,
            };
            let End::Fault(fault) = end else { continue };
            if begun.elapsed() >= STEADY && !fault.lasting {
                failures = 0;
            }
            let pause = pause(failures, if fault.lasting { LASTING_PAUSE } else { LONGEST_PAUSE });
            failures = failures.saturating_add(1);
            tracing::debug!(realtime.fault = %fault.why, pause.seconds = pause.as_secs_f64(), "no realtime socket");
            self.lost(&fault.why);
            self.meanwhile(sleep(pause)).await;
        }
    }

    /// Waits until a topic is wanted. False: none ever will be.
    async fn wanted(&mut self) -> bool {
        while self.channels.is_empty() {
            match self.commands.recv().await {
                Some(command) => self.take(command),
                None => return false,
            }
        }
        true
    }

    /// Waits for something while topics come and go. `None`: no topic is wanted any more.
    async fn meanwhile<T>(&mut self, something: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(something);
        loop {
            tokio::select! {
                biased;
                done = &mut something => return Some(done),
                Some(command) = self.commands.recv() => self.take(command),
            }
            if self.channels.is_empty() {
                return None;
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Join { topic: Topic { name, private }, queue } => {
                let channel = self.channels.entry(format!("realtime:{name}")).or_insert_with(|| Channel {
                    private,
                    state: State::Out { at: Instant::now() },
                    failures: 0,
                    was_stale: false,
                    away: self.away.clone(),
                    queues: Vec::new(),
                });
                if channel.private != private {
                    queue.push(Event::Refused("the topic is in use here as public and private at once".into()));
                    return;
                }
                match &channel.state {
                    State::Joined { .. } => queue.joined(),
                    // Who asks anew is worth another attempt: rights may have changed.
                    State::Refused => channel.state = State::Out { at: Instant::now() },
                    _ => {
                        if let Some(why) = &channel.away {
                            queue.push(Event::Away { why: why.clone() });
                        }
                    }
                }
                channel.queues.push(queue);
            }
            Command::Leave { topic, queue } => {
                let topic = format!("realtime:{}", topic.name);
                let Some(channel) = self.channels.get_mut(&topic) else { return };
                channel.queues.retain(|other| !Arc::ptr_eq(other, &queue));
                if !channel.queues.is_empty() {
                    return;
                }
                if let Some(channel) = self.channels.remove(&topic)
                    && let Some(joined) = channel.reference()
                {
                    let (joined, reference) = (Value::from(joined), Value::from(self.reference()));
                    self.outbox.push(frame::text(Version::V2, &joined, &reference, &topic, "phx_leave", "{}"));
                }
            }
        }
    }

    fn reference(&mut self) -> String {
        self.references += 1;
        self.references.to_string()
    }

    async fn open(&mut self) -> Result<Box<dyn Wire>, End> {
        let renewal = self.renewing.take().unwrap_or_else(|| self.renewal());
        let token = self.meanwhile(renewal).await.ok_or(End::Idle)?;
        self.adopt(token.map_err(|error| {
            End::Fault(Fault { why: format!("no token: {error}"), lasting: !error.is_transient() })
        })?);
        let dialled = (self.dial)();
        self.meanwhile(dialled).await.ok_or(End::Idle)?.map_err(End::Fault)
    }

    fn renewal(&self) -> Renewal {
        let tokens = Arc::clone(&self.tokens);
        let refused = self.channels.values().any(|channel| matches!(channel.state, State::Stale));
        let spent = self.token.clone().filter(|_| refused);
        async move { tokens.token(spent).await }.boxed()
    }

    /// Takes a token over. If it is another than before, whoever is joined says so, and who was refused for it may try again.
    fn adopt(&mut self, Token { access, renew_in }: Token) {
        let now = Instant::now();
        self.renew_at = renew_in.and_then(|renew_in| now.checked_add(renew_in));
        let same = self.token.as_ref().is_some_and(|token| token.expose_secret() == access.expose_secret());
        let payload = json!({"access_token": access.expose_secret()}).to_string();
        self.token = Some(access);
        for (topic, channel) in &mut self.channels {
            match &channel.state {
                State::Stale if same => {
                    channel.refuse("the token is refused, and there is no other".into());
                }
                State::Stale => channel.state = State::Out { at: now + pause(channel.failures, LONGEST_PAUSE) },
                State::Refused if !same => {
                    (channel.failures, channel.was_stale) = (0, false);
                    channel.state = State::Out { at: now };
                }
                State::Joining { reference, .. } | State::Joined { reference, .. } if !same => {
                    self.references += 1;
                    let (joined, reference) =
                        (Value::from(reference.as_str()), Value::from(self.references.to_string()));
                    self.outbox.push(frame::text(Version::V2, &joined, &reference, topic, "access_token", &payload));
                }
                _ => {}
            }
        }
    }

    /// The socket is gone: all that was joined is to be joined anew, as soon as there is another.
    fn lost(&mut self, why: &str) {
        self.away = Some(why.to_owned());
        self.outbox.clear();
        self.heartbeat = None;
        for channel in self.channels.values_mut() {
            match channel.state {
                State::Refused => continue,
                State::Stale => {}
                _ => channel.state = State::Out { at: Instant::now() },
            }
            channel.tell_away(why);
        }
    }

    /// Holds a conversation until there is a reason to end it.
    async fn hold(&mut self, socket: &mut Box<dyn Wire>) -> End {
        let mut beat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.join_due();
            if let Err(fault) = self.flush(socket).await {
                return End::Fault(fault);
            }
            if self.channels.is_empty() {
                return End::Idle;
            }
            let unanswered = self.heartbeat.as_ref().map(|(_, until)| *until);
            let due = self.channels.values().filter_map(|channel| match channel.state {
                State::Out { at } | State::Joining { until: at, .. } => Some(at),
                _ => None,
            });
            let due = due.min();
            let renew_at = self.renew_at.filter(|_| self.renewing.is_none());
            tokio::select! {
                Some(command) = self.commands.recv() => self.take(command),
                heard = socket.next() => match heard {
                    Some(Ok(message)) => self.hear(message),
                    Some(Err(error)) => return End::Fault(Fault::of(&error)),
                    None => return End::Fault(Fault::passing("the server closed the connection")),
                },
                renewed = renewed(&mut self.renewing) => {
                    self.renewing = None;
                    match renewed {
                        Ok(token) => self.adopt(token),
                        Err(error) => self.no_token(&error),
                    }
                }
                _ = beat.tick(), if unanswered.is_none() => {
                    let reference = self.reference();
                    let as_value = Value::from(reference.as_str());
                    self.outbox.push(frame::text(Version::V2, &Value::Null, &as_value, "phoenix", "heartbeat", "{}"));
                    self.heartbeat = Some((reference, Instant::now() + ANSWER_WITHIN));
                }
                () = at(unanswered) => return End::Fault(Fault::passing("a heartbeat was not answered")),
                () = at(due) => self.give_up_joins(),
                () = at(renew_at) => self.renewing = Some(self.renewal()),
            }
        }
    }

    fn no_token(&mut self, error: &Error) {
        tracing::debug!(error = %error, "no new token for realtime; asking again");
        let again = if error.is_transient() { LONGEST_PAUSE } else { LASTING_PAUSE };
        self.renew_at = Some(Instant::now() + again);
        for channel in self.channels.values_mut().filter(|channel| matches!(channel.state, State::Stale)) {
            channel.tell_away("the token is refused, and there is no new one yet");
        }
    }

    fn join_due(&mut self) {
        let now = Instant::now();
        // A key that is not a JWT speaks through the socket itself.
        let own = self.token.as_ref().filter(|token| token.expose_secret() != self.key.expose_secret());
        for (topic, channel) in &mut self.channels {
            if !matches!(channel.state, State::Out { at } if at <= now) {
                continue;
            }
            self.references += 1;
            let reference = self.references.to_string();
            let mut payload = json!({"config": {
                "private": channel.private,
                "broadcast": {"ack": false, "self": false},
                "presence": {"enabled": false, "key": ""},
                "postgres_changes": [],
            }});
            if let Some(token) = own {
                payload["access_token"] = token.expose_secret().into();
            }
            let (as_value, payload) = (Value::from(reference.as_str()), payload.to_string());
            self.outbox.push(frame::text(Version::V2, &as_value, &as_value, topic, "phx_join", &payload));
            channel.state = State::Joining { reference, until: now + ANSWER_WITHIN };
        }
    }

    fn give_up_joins(&mut self) {
        let now = Instant::now();
        for channel in self.channels.values_mut() {
            if matches!(channel.state, State::Joining { until, .. } if until <= now) {
                channel.retry("the server does not answer the join");
            }
        }
    }

    async fn flush(&mut self, socket: &mut Box<dyn Wire>) -> Result<(), Fault> {
        if self.outbox.is_empty() {
            return Ok(());
        }
        let frames = std::mem::take(&mut self.outbox);
        let all = async {
            for frame in frames {
                socket
                    .feed(match frame {
                        Frame::Text(text) => tungstenite::Message::text(text),
                        Frame::Binary(bytes) => tungstenite::Message::binary(bytes),
                    })
                    .await?;
            }
            socket.flush().await
        };
        match timeout(ANSWER_WITHIN, all).await {
            Ok(written) => written.map_err(|error| Fault::of(&error)),
            Err(_) => Err(Fault::passing("the server takes nothing more")),
        }
    }

    fn hear(&mut self, message: tungstenite::Message) {
        let read = match message {
            tungstenite::Message::Text(text) => frame::read_text(Version::V2, &text),
            tungstenite::Message::Binary(bytes) => frame::read_server_binary(&bytes),
            // Pings are answered by the library; after a close the stream ends.
            _ => return,
        };
        match read {
            Ok(message) if message.topic == "phoenix" => {
                if self.heartbeat.as_ref().is_some_and(|(reference, _)| message.reference == *reference) {
                    self.heartbeat = None;
                }
            }
            Ok(message) => self.dispatch(message),
            Err(fault) => tracing::debug!(frame.fault = %fault, "dropped a frame that can not be read"),
        }
    }

    fn dispatch(&mut self, message: frame::Message) {
        let Some(channel) = self.channels.get_mut(&message.topic) else { return };
        let Some(current) = channel.reference() else { return };
        // What belongs to an earlier join says nothing of this one.
        if !message.join_ref.is_null() && message.join_ref != *current {
            return;
        }
        match (message.event.as_str(), message.payload) {
            ("broadcast", payload) => {
                if let Some(broadcast) = broadcast(payload) {
                    channel.tell(&Event::Broadcast(broadcast));
                }
            }
            ("phx_reply", Payload::Json(payload))
                if matches!(channel.state, State::Joining { .. }) && message.reference == *current =>
            {
                let reference = current.to_owned();
                self.answered(&message.topic, reference, &payload);
            }
            ("phx_close" | "phx_error", _) => channel.retry("the server closed the topic"),
            ("system", Payload::Json(payload)) => {
                #[derive(Deserialize)]
                struct System {
                    status: String,
                    #[serde(default)]
                    message: Value,
                }
                if let Ok(System { status, message }) = serde_json::from_str(payload.get()) {
                    channel.tell(&Event::System { status: shortened(&status), message: words(&message) });
                }
            }
            _ => {}
        }
    }

    /// A join was answered.
    fn answered(&mut self, topic: &str, reference: String, payload: &RawValue) {
        #[derive(Deserialize)]
        struct Answer {
            status: String,
            #[serde(default)]
            response: Value,
        }
        let Some(channel) = self.channels.get_mut(topic) else { return };
        let Ok(answer) = serde_json::from_str::<Answer>(payload.get()) else { return };
        if answer.status == "ok" {
            channel.state = State::Joined { reference, since: Instant::now() };
            channel.was_stale = false;
            channel.away = None;
            channel.queues.iter().for_each(|queue| queue.joined());
            return;
        }
        let reason = words(answer.response.get("reason").unwrap_or(&answer.response));
        tracing::debug!(realtime.topic = topic, realtime.reason = %reason, "a join was refused");
        match reason.split(':').next().unwrap_or_default().trim() {
            // A second token that is refused as well is no question of its age.
            "InvalidJWTToken" | "JwtSignatureError" | "InvalidJWTExpiration" if !channel.was_stale => {
                channel.was_stale = true;
                channel.failures = channel.failures.saturating_add(1);
                channel.state = State::Stale;
                if self.renewing.is_none() {
                    self.renewing = Some(self.renewal());
                }
            }
            "Unauthorized" | "InvalidJWTToken" | "JwtSignatureError" | "InvalidJWTExpiration" | "TopicNameRequired" => {
                channel.refuse(reason)
            }
            _ => channel.retry(&reason),
        }
    }
}

async fn renewed(renewing: &mut Option<Renewal>) -> Result<Token> {
    match renewing {
        Some(renewal) => renewal.await,
        None => std::future::pending().await,
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
