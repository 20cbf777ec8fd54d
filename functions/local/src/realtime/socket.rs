//! One socket: frames in, frames out, and the channels it has joined.

mod saying;

use super::{
    Realtime,
    authorise::Rights,
    changes::{Listener, Subscription, Unheard},
    channel::{Bearer, Channel, Join, Rate, replay_of},
    filter::Wanted,
    messages,
    outbox::{Outbox, Waiting, outbox},
    rooms::{Command, Joining, Membership, RoomKey},
};
use axum::extract::ws::{CloseFrame, Message as WsMessage, WebSocket, close_code};
use futures_util::{SinkExt, StreamExt, stream::SplitSink};
use hub::realtime::frame::{self, Message, Payload, Version};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// Clients send a heartbeat every 25 seconds.
const IDLE: Duration = Duration::from_secs(60);
/// For a last frame to somebody who does not read.
const GOODBYE: Duration = Duration::from_secs(2);
const CHANNELS: usize = 100;
const JOINS_A_SECOND: u32 = 100;
const FRAMES_A_SECOND: u32 = 1000;

/// Why a socket ends.
enum End {
    /// The client closed it, or is gone.
    Gone,
    /// We close it: the code and a reason.
    Close(u16, &'static str),
}

struct Socket {
    realtime: Realtime,
    version: Version,
    outbox: Outbox,
    commands: mpsc::UnboundedSender<Command>,
    /// For channels that are joined without a token. Its claims are read again then: most never are.
    key: SecretString,
    channels: HashMap<String, Channel>,
    joins: Rate,
    frames: Rate,
    streaming: watch::Receiver<bool>,
}

/// Serves a socket until it ends.
pub async fn serve(
    socket: WebSocket,
    realtime: Realtime,
    version: Version,
    key: SecretString,
    stop: CancellationToken,
) {
    let (sink, mut stream) = socket.split();
    let (outbox, waiting) = outbox();
    let (commands, mut told) = mpsc::unbounded_channel();
    let (ending, end) = tokio::sync::oneshot::channel();
    let full = waiting.full();
    let writer = tokio::spawn(write(sink, waiting, end));
    let streaming = realtime.streaming();
    let second = Duration::from_secs(1);
    let mut socket = Socket {
        realtime,
        version,
        outbox,
        commands,
        key,
        channels: HashMap::new(),
        joins: Rate::new(JOINS_A_SECOND, second),
        frames: Rate::new(FRAMES_A_SECOND, second),
        streaming,
    };
    let mut idle = Instant::now() + IDLE;
    let end = loop {
        let confirm = socket.channels.values().map(|channel| channel.confirm_at).min();
        tokio::select! {
            () = stop.cancelled() => break End::Close(close_code::RESTART, "the server ends"),
            () = full.cancelled() => break End::Close(close_code::POLICY, "too slow: more than 8 MB was waiting to be read"),
            frame = stream.next() => match frame {
                None | Some(Err(_)) => break End::Gone,
                Some(Ok(frame)) => {
                    idle = Instant::now() + IDLE;
                    if let Some(end) = socket.hear(frame).await {
                        break end;
                    }
                }
            },
            Some(command) = told.recv() => socket.obey(command).await,
            Ok(()) = socket.streaming.changed() => socket.announce(),
            () = sleep_until(confirm.unwrap_or(idle)), if confirm.is_some() => socket.confirm().await,
            () = sleep_until(idle) => break End::Close(close_code::NORMAL, "idle: no heartbeat for 60 seconds"),
        }
    };
    // Leaves all rooms; nothing is queued after this.
    drop(socket);
    match end {
        End::Close(code, reason) => {
            ending.send((code, reason)).ok();
            // What was sent and not read would have the connection reset, and the reason lost with it.
            let rest = async { while let Some(Ok(_)) = stream.next().await {} };
            drop(timeout(GOODBYE, rest).await);
        }
        // The writer waits for one or the other.
        End::Gone => drop(ending),
    }
    drop(writer.await);
}

async fn write(
    mut sink: SplitSink<WebSocket, WsMessage>,
    mut waiting: Waiting,
    mut end: tokio::sync::oneshot::Receiver<(u16, &'static str)>,
) {
    let full = waiting.full();
    let close = loop {
        // Too much waiting ends the reader, and that is heard here.
        let packet = tokio::select! {
            biased;
            // Without a word, the client is gone. A second look at what has been answered would be one too many.
            close = &mut end => break close.ok(),
            packet = waiting.next() => packet,
        };
        let Some(packet) = packet else {
            // Everybody who could queue is gone, or too much waits: the reader says which.
            break end.await.ok();
        };
        let written = async {
            sink.feed(packet.into_message()).await?;
            while let Some(packet) = waiting.ready() {
                sink.feed(packet.into_message()).await?;
            }
            sink.flush().await
        };
        // In this order: a socket with room takes all at once, and nothing needs to be woken.
        tokio::select! {
            biased;
            written = written => if written.is_err() { break None },
            // It does not read: there is no use in waiting for it.
            () = full.cancelled() => break end.await.ok(),
        }
    };
    if let Some((code, reason)) = close {
        let frame = WsMessage::Close(Some(CloseFrame { code, reason: reason.into() }));
        drop(timeout(GOODBYE, sink.send(frame)).await);
    }
}

/// An error of a join, as clients know them.
struct Refused(String);

impl Refused {
    fn new(code: &str, message: impl std::fmt::Display) -> Self {
        Self(format!("{code}: {message}"))
    }

    fn no_database() -> Self {
        Self::new("UnableToConnectToProject", "Realtime was unable to connect to the project database")
    }

    fn may_not_read(topic: &str) -> Self {
        Self::new("Unauthorized", format_args!("You do not have permissions to read from this Channel topic: {topic}"))
    }
}

impl Socket {
    async fn hear(&mut self, frame: WsMessage) -> Option<End> {
        let message = match &frame {
            WsMessage::Text(text) => frame::read_text(self.version, text),
            WsMessage::Binary(bytes) if self.version == Version::V2 => frame::read_client_binary(bytes),
            // A close is answered while the stream is read to its end.
            WsMessage::Binary(_) | WsMessage::Ping(_) | WsMessage::Pong(_) | WsMessage::Close(_) => return None,
        };
        if !self.frames.allows() {
            return Some(End::Close(close_code::POLICY, "too many messages per second"));
        }
        match message {
            // Dropped, as on Supabase; its text is the client's own.
            Err(why) => tracing::debug!(%why, "a malformed frame was dropped"),
            Ok(message) if message.topic == "phoenix" => {
                if message.event == "heartbeat" {
                    self.reply(&message, true, &json!({}));
                }
            }
            Ok(message) if message.event == "phx_join" => {
                if !self.joins.allows() {
                    let refused = Refused::new("ClientJoinRateLimitReached", "Too many joins per second");
                    self.reply(&message, false, &json!({"reason": refused.0}));
                    return Some(End::Close(close_code::POLICY, "too many joins per second"));
                }
                if let Err(Refused(reason)) = self.join(&message).await {
                    self.reply(&message, false, &json!({"reason": reason}));
                }
            }
            Ok(message) => self.push(message).await,
        }
        None
    }

    fn reply(&self, to: &Message, ok: bool, response: &impl Serialize) {
        self.outbox.push(frame::reply(self.version, to, ok, response).into());
    }

    /// Pushes an event of the server.
    fn event(&self, topic: &str, join_ref: &Value, event: &str, payload: &impl Serialize) {
        let payload = serde_json::to_string(payload).unwrap_or_else(|_| "{}".into());
        // Closing names its join, or clients take it for a former one's.
        let reference = if event == "phx_close" { join_ref } else { &Value::Null };
        self.outbox.push(frame::text(self.version, join_ref, reference, topic, event, &payload).into());
    }

    fn system(&self, topic: &str, join_ref: &Value, extension: &str, status: &str, message: &str) {
        let channel = topic.strip_prefix("realtime:").unwrap_or(topic);
        let payload = json!({"extension": extension, "status": status, "message": message, "channel": channel});
        self.event(topic, join_ref, "system", &payload);
    }

    fn bearer(&self, token: &str) -> Result<Bearer, Refused> {
        self.realtime.bearer(&SecretString::from(token)).map_err(|bad| Refused::new(bad.code(), bad))
    }

    async fn join(&mut self, message: &Message) -> Result<(), Refused> {
        let Some(name) = message.topic.strip_prefix("realtime:") else {
            return Err(Refused("unmatched topic".into()));
        };
        if name.is_empty() {
            return Err(Refused::new("TopicNameRequired", "You must provide a topic name"));
        }
        if name.contains('\0') {
            return Err(Refused::new("TopicNameInvalid", "a topic name can not contain a zero byte"));
        }
        let join: Join = match &message.payload {
            Payload::Json(raw) => serde_json::from_str(raw.get()).unwrap_or_default(),
            Payload::Broadcast(_) | Payload::Bytes(_) => Join::default(),
        };
        if let Some(before) = self.channels.remove(&message.topic) {
            self.event(&message.topic, &before.join_ref, "phx_close", &json!({}));
        }
        if self.channels.len() >= CHANNELS {
            return Err(Refused::new("ChannelRateLimitReached", "Too many channels"));
        }
        let bearer = match join.token() {
            Some(token) => self.bearer(token)?,
            None => self.bearer(self.key.expose_secret())?,
        };
        let Join { config, .. } = join;
        if config.private && config.presence.poses(name, bearer.subject().map(|id| id.to_string()).as_deref()) {
            return Err(Refused::new("PresenceKeyInvalid", "A presence key that is a uuid must be your own user id"));
        }
        let replay = match &config.broadcast.replay {
            None | Some(Value::Null) => None,
            Some(_) if !config.private => {
                return Err(Refused::new("UnableToReplayMessages", "Replay is not allowed for public channels"));
            }
            Some(replay) => Some(
                replay_of(replay)
                    .ok_or_else(|| Refused::new("UnableToReplayMessages", "Replay params are not valid"))?,
            ),
        };
        let entries: Vec<Value> = config.postgres_changes.into_iter().filter(|entry| !entry.is_null()).collect();

        // In the room before anything is asked, and on hold until it is answered: nothing that is said meanwhile is missed.
        let key = RoomKey { private: config.private, topic: name.into() };
        let joining = Joining {
            outbox: self.outbox.clone(),
            version: self.version,
            subject: bearer.subject(),
            commands: self.commands.clone(),
        };
        let membership = self.realtime.rooms().join(key, joining);
        let rights = if config.private {
            let asked = self.realtime.authoriser().ask(name, &bearer.claims).await;
            let rights = asked.map_err(|error| {
                tracing::warn!(%error, "policies could not be asked");
                Refused::no_database()
            })?;
            if !rights.hears_anything() || (replay.is_some() && !rights.hears.broadcast) {
                return Err(Refused::may_not_read(name));
            }
            rights
        } else {
            Rights::PUBLIC
        };
        let (replayed, before) = match replay {
            None => (Vec::new(), Vec::new()),
            Some((since, limit)) => {
                messages::replay(self.realtime.pool(), name, since, limit).await.map_err(|error| {
                    tracing::warn!(%error, "messages could not be replayed");
                    Refused::new("UnableToReplayMessages", "Realtime was unable to replay messages")
                })?
            }
        };

        let (wanted, echoed, faults) = read_wanted(entries);
        let listener = self.listener(&message.topic, &membership);
        let subscription = match config.postgres_changes_options.patience().filter(|_| !echoed.is_empty()) {
            Some(patience) => match faults.first() {
                Some(fault) => return Err(Refused::new("RealtimeDisabledForConfiguration", fault)),
                None => Some(self.subscribed(patience, &listener, &wanted, &bearer).await?),
            },
            None => None,
        };
        let waited = subscription.is_some();
        self.reply(message, true, &json!({"postgres_changes": echoed}));
        for stored in &replayed {
            if let Some(frame) = stored.replayed().to_client(self.version, &message.topic) {
                self.outbox.push(frame.into());
            }
        }
        if config.presence.enabled && rights.hears.presence {
            membership.present(|present| self.event(&message.topic, &message.join_ref, "presence_state", &present));
        }
        membership.release(rights.hears, replayed.iter().map(|stored| stored.id).chain(before));
        for fault in &faults {
            self.system(&message.topic, &message.join_ref, "postgres_changes", "error", fault);
        }
        let channel = Channel {
            membership,
            join_ref: message.join_ref.clone(),
            confirm_at: bearer.confirm_at(),
            bearer,
            rights,
            may_persist: None,
            ack: config.broadcast.ack,
            to_self: config.broadcast.to_self,
            presence_key: config.presence.key(),
            presence_calls: Rate::of_presence(),
            shown: 0,
            tell_ready: config.broadcast.replication_ready,
            wanted: if faults.is_empty() { wanted } else { Vec::new() },
            subscription,
        };
        self.channels.insert(message.topic.clone(), channel);
        if !waited {
            self.subscribe(&message.topic).await;
        }
        self.announce_to(&message.topic);
        Ok(())
    }

    fn listener(&self, topic: &str, membership: &Membership) -> Listener {
        let outbox = self.outbox.clone();
        Listener { member: membership.id(), outbox, version: self.version, topic: topic.into() }
    }

    /// Listens to rows, once they flow, within this time. The socket's other frames wait, as on Supabase: a join is answered before the
    /// next frame is read.
    async fn subscribed(
        &self,
        patience: Duration,
        listener: &Listener,
        wanted: &[(i64, Wanted)],
        bearer: &Bearer,
    ) -> Result<Subscription, Refused> {
        let mut streaming = self.streaming.clone();
        let flowing = async {
            loop {
                // Whoever tells of it is gone when the server ends.
                if streaming.wait_for(|flows| *flows).await.is_err() {
                    return Err(Refused::no_database());
                }
                match self.realtime.changes().subscribe(listener, wanted, &bearer.claims).await {
                    Ok(subscription) => return Ok(subscription),
                    Err(Unheard::Refused(why)) => return Err(Refused::new("RealtimeDisabledForConfiguration", why)),
                    // The stream breaks, too, and comes back when the database does.
                    Err(Unheard::Away(_)) => drop(streaming.changed().await),
                }
            }
        };
        let late = || {
            let waited = patience.as_millis();
            let why = format!("Timed out after {waited}ms waiting for the postgres_changes subscription");
            Refused::new("PostgresChangesSubscribeTimeout", why)
        };
        tokio::select! {
            subscribed = timeout(patience, flowing) => subscribed.unwrap_or_else(|_| Err(late())),
            () = self.realtime.stopped() => Err(late()),
        }
    }

    /// Listens to the rows that a channel asked for, with its present claims.
    async fn subscribe(&mut self, topic: &str) {
        let Some(channel) = self.channels.get(topic).filter(|channel| !channel.wanted.is_empty()) else { return };
        let listener = self.listener(topic, &channel.membership);
        let Some(channel) = self.channels.get_mut(topic) else { return };
        let before = channel.subscription.take();
        let outcome = self.realtime.changes().subscribe(&listener, &channel.wanted, &channel.bearer.claims).await;
        drop(before);
        match outcome {
            Ok(subscription) => channel.subscription = Some(subscription),
            Err(why) => listener.system("error", why.message()),
        }
    }

    /// Says what flows, once it does.
    fn announce(&mut self) {
        let topics: Vec<String> = self.channels.keys().cloned().collect();
        for topic in topics {
            self.announce_to(&topic);
        }
    }

    fn announce_to(&mut self, topic: &str) {
        if !*self.streaming.borrow() {
            return;
        }
        let Some(channel) = self.channels.get_mut(topic) else { return };
        let (join_ref, subscribed) = (channel.join_ref.clone(), channel.subscription.is_some());
        if std::mem::take(&mut channel.tell_ready) {
            self.system(topic, &join_ref, "system", "ok", "Replication connection established");
        }
        if subscribed {
            self.system(topic, &join_ref, "postgres_changes", "ok", "Subscribed to PostgreSQL");
        }
    }

    async fn push(&mut self, message: Message) {
        let Some(channel) = self.channels.get(&message.topic) else {
            self.reply(&message, false, &json!({"reason": "unmatched topic"}));
            return;
        };
        match message.event.as_str() {
            "phx_leave" => {
                self.reply(&message, true, &json!({}));
                let join_ref = channel.join_ref.clone();
                self.channels.remove(&message.topic);
                self.event(&message.topic, &join_ref, "phx_close", &json!({}));
            }
            "broadcast" => self.broadcast(&message).await,
            "presence" => self.track(&message),
            "access_token" => {
                let token = match &message.payload {
                    Payload::Json(raw) => serde_json::from_str::<Value>(raw.get()).ok(),
                    _ => None,
                };
                let token = token.as_ref().and_then(|payload| payload.get("access_token")).and_then(Value::as_str);
                if let Some(token) = token.filter(|token| !token.starts_with("sb_")) {
                    self.renew(&message.topic, token).await;
                }
            }
            _ => tracing::debug!("an event that nothing listens to was dropped"),
        }
    }

    /// Another token for a channel.
    async fn renew(&mut self, topic: &str, token: &str) {
        let Some(channel) = self.channels.get(topic) else { return };
        if channel.bearer.token.expose_secret() == token {
            return;
        }
        match self.bearer(token) {
            Err(Refused(why)) => self.shut(topic, why.split_once(": ").map_or(why.as_str(), |(_, message)| message)),
            Ok(bearer) => {
                if let Some(channel) = self.channels.get_mut(topic) {
                    channel.membership.set_subject(bearer.subject());
                    channel.confirm_at = bearer.confirm_at();
                    channel.bearer = bearer;
                }
                self.ask_again(topic).await;
                self.subscribe(topic).await;
            }
        }
    }

    /// Asks the policies of a channel again. What it would hear meanwhile waits.
    async fn ask_again(&mut self, topic: &str) {
        let Some(channel) = self.channels.get_mut(topic) else { return };
        let name = topic.strip_prefix("realtime:").unwrap_or(topic);
        if !channel.membership.key().private {
            return;
        }
        channel.membership.hold();
        match self.realtime.authoriser().ask(name, &channel.bearer.claims).await {
            Err(error) => {
                tracing::warn!(%error, "policies could not be asked");
                self.shut(topic, "Realtime was unable to connect to the project database");
            }
            Ok(now) => {
                let before = channel.rights.hears;
                if (before.broadcast && !now.hears.broadcast) || (before.presence && !now.hears.presence) {
                    let why = format!("You no longer have permission to read from this Channel topic: {name}");
                    self.shut(topic, &why);
                } else {
                    (channel.rights, channel.may_persist) = (now, None);
                    if !now.says.presence {
                        channel.membership.untrack();
                    }
                    channel.membership.release(now.hears, []);
                }
            }
        }
    }

    /// Looks at tokens that are due.
    async fn confirm(&mut self) {
        let now = Instant::now();
        let due: Vec<String> = self
            .channels
            .iter()
            .filter(|(_, channel)| channel.confirm_at <= now)
            .map(|(topic, _)| topic.clone())
            .collect();
        for topic in due {
            let Some(channel) = self.channels.get_mut(&topic) else { continue };
            channel.confirm_at = channel.bearer.confirm_at();
            if channel.bearer.expires <= chrono::Utc::now().timestamp() {
                self.shut(&topic, "Token has expired");
            } else {
                self.ask_again(&topic).await;
            }
        }
    }

    async fn obey(&mut self, Command::Recheck(member): Command) {
        let topic = self.channels.iter().find(|(_, channel)| channel.membership.id() == member);
        if let Some(topic) = topic.map(|(topic, _)| topic.clone()) {
            self.ask_again(&topic).await;
        }
    }

    /// Closes a channel for a reason.
    fn shut(&mut self, topic: &str, why: &str) {
        if let Some(channel) = self.channels.remove(topic) {
            self.system(topic, &channel.join_ref, "system", "error", why);
            self.event(topic, &channel.join_ref, "phx_close", &json!({}));
        }
    }
}

/// What a join asks to hear of rows: each with its id, the entries as they are echoed, and what is wrong.
fn read_wanted(entries: Vec<Value>) -> (Vec<(i64, Wanted)>, Vec<Value>, Vec<String>) {
    let (mut wanted, mut echoed, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for mut entry in entries {
        match Wanted::read(&entry) {
            Err(fault) => {
                faults.push(fault);
                if let Value::Object(fields) = &mut entry {
                    fields.insert("id".into(), 0.into());
                }
            }
            Ok(asked) => {
                // The same question has the same id on every socket, so that one frame serves them all.
                let mut hasher = DefaultHasher::new();
                asked.hash(&mut hasher);
                let id = i64::from(u32::try_from(hasher.finish() >> 33).unwrap_or(0));
                if let Value::Object(fields) = &mut entry {
                    fields.insert("id".into(), id.into());
                }
                wanted.push((id, asked));
            }
        }
        echoed.push(entry);
    }
    (wanted, echoed, faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_subscriptions_have_equal_ids() {
        let ask = || vec![json!({"event": "*", "schema": "public", "table": "a"}), json!({"event": "*"})];
        let (wanted, echoed, faults) = read_wanted(ask());
        assert_eq!((wanted.len(), echoed.len(), faults.len()), (1, 2, 1));
        assert_eq!(wanted[0].0, read_wanted(ask()).0[0].0);
        assert_eq!(echoed[0]["id"], wanted[0].0);
    }
}
