//! What a client says on its channels: broadcasts, and that it is there.

use super::{
    super::{PAYLOAD, persist::Persist, rooms::Said},
    Socket,
};
use hub::realtime::frame::{Body, Broadcast, Message, Payload};
use serde_json::{Map, Value, json};

/// What a socket shows of itself by presence, in all of its channels together, in bytes of JSON.
const SHOWN: usize = 1024 * 1024;

/// Why a broadcast was not sent.
struct Unsaid(&'static str);

impl Socket {
    pub(super) async fn broadcast(&mut self, message: &Message) {
        if let Err(Unsaid(code)) = self.say(message).await
            && self.channels.get(&message.topic).is_some_and(|channel| channel.ack)
        {
            self.reply(message, false, &json!({"error": code}));
        }
    }

    /// Who asked for no answer is told nothing, as on Supabase.
    async fn say(&mut self, message: &Message) -> Result<(), Unsaid> {
        let Some(channel) = self.channels.get(&message.topic) else { return Ok(()) };
        let persist = match &message.payload {
            Payload::Broadcast(broadcast) if channel.membership.key().private => {
                Persist::beside(broadcast.meta.as_deref()).map_err(|_| Unsaid("invalid_persist_ttl"))?
            }
            _ => None,
        };
        if !channel.rights.says.broadcast {
            return Err(Unsaid("unauthorized"));
        }
        let persist = match persist {
            Some(persist) => self.may_persist(&message.topic).await?.then_some(persist),
            None => None,
        };
        let Some(channel) = self.channels.get(&message.topic) else { return Ok(()) };
        let (size, said) = match &message.payload {
            Payload::Json(raw) => (raw.get().len(), Said::Text(raw.get().to_owned())),
            Payload::Broadcast(broadcast) => {
                let (Body::Json(body) | Body::Binary(body)) = &broadcast.body;
                // What stands beside it is for us.
                (body.len(), Said::Broadcast(Broadcast { meta: None, ..broadcast.clone() }, None))
            }
            Payload::Bytes(_) => return Ok(()),
        };
        if size > PAYLOAD {
            return Err(Unsaid("payload_size_exceeded"));
        }
        channel.membership.say(&said, channel.to_self);
        let answer = match (persist, said) {
            (Some(persist), Said::Broadcast(broadcast, _)) => {
                let (pool, topic) = (self.realtime.pool().clone(), channel.membership.key().topic.clone());
                let keeping = async move { persist.keep(&pool, &topic, &broadcast).await };
                if channel.ack {
                    keeping.await.map_or_else(|| json!({}), |id| json!({"id": id}))
                } else {
                    tokio::spawn(keeping);
                    return Ok(());
                }
            }
            _ => json!({}),
        };
        if channel.ack {
            self.reply(message, true, &answer);
        }
        Ok(())
    }

    /// Asks once whether what a channel says may be kept.
    async fn may_persist(&mut self, topic: &str) -> Result<bool, Unsaid> {
        let Some(channel) = self.channels.get_mut(topic) else { return Ok(false) };
        if let Some(may) = channel.may_persist {
            return Ok(may);
        }
        let name = channel.membership.key().topic.clone();
        let may = self.realtime.authoriser().may_persist(&name, &channel.bearer.claims).await.map_err(|error| {
            tracing::warn!(%error, "policies could not be asked");
            Unsaid("unable_to_set_policies")
        })?;
        channel.may_persist = Some(may);
        Ok(may)
    }

    fn show(&mut self, topic: &str, size: usize) {
        if let Some(channel) = self.channels.get_mut(topic) {
            channel.shown = size;
        }
    }

    pub(super) fn track(&mut self, message: &Message) {
        if !self.channels.get_mut(&message.topic).is_some_and(|channel| channel.presence_calls.allows()) {
            self.shut(&message.topic, "Client presence rate limit exceeded");
            return;
        }
        let Some(channel) = self.channels.get(&message.topic) else { return };
        let payload: Map<String, Value> = match &message.payload {
            Payload::Json(raw) if raw.get().len() <= PAYLOAD => serde_json::from_str(raw.get()).unwrap_or_default(),
            _ => Map::new(),
        };
        let event = payload.get("event").and_then(Value::as_str).map(str::to_ascii_lowercase);
        let size = match &message.payload {
            Payload::Json(raw) => raw.get().len(),
            _ => 0,
        };
        // It is kept for as long as the socket is there, and by those who have shown no more than a key.
        let elsewhere: usize =
            self.channels.iter().filter(|(topic, _)| **topic != message.topic).map(|(_, channel)| channel.shown).sum();
        match event.as_deref() {
            Some("track") => match payload.get("payload").cloned().unwrap_or_else(|| json!({})) {
                _ if elsewhere + size > SHOWN => {
                    let reason = format!("A socket shows at most {} KB of presence", SHOWN / 1024);
                    self.reply(message, false, &json!({"reason": reason}));
                }
                _ if !channel.rights.says.presence => {
                    self.reply(
                        message,
                        false,
                        &json!({"reason": "You do not have permissions to show presence in this Channel topic"}),
                    );
                }
                Value::Object(meta) => {
                    channel.membership.track(&channel.presence_key, meta);
                    self.show(&message.topic, size);
                    self.reply(message, true, &json!({}));
                }
                _ => self.reply(message, false, &json!({"reason": "Presence track payload must be a map"})),
            },
            Some("untrack") => {
                channel.membership.untrack();
                self.show(&message.topic, 0);
                self.reply(message, true, &json!({}));
            }
            Some(_) => self.reply(message, false, &json!({"reason": "the event of presence is track or untrack"})),
            None => self.reply(message, true, &json!({})),
        }
    }
}
