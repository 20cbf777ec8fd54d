//! Rooms: who is in which, and who hears what. A public and a private channel of one name are two rooms.
//!
//! A member can be on hold: what it would hear waits, until the one who asked (may it hear this at all? what was there
//! before?) releases it or lets it go. So nothing falls between joining and hearing, and nothing is heard after a right ended.

use super::{
    outbox::{Outbox, Packet},
    presence::{Diff, Presence, Present},
};
use hub::realtime::frame::{self, Broadcast, Version};
use serde_json::{Map, Value};
use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::mpsc;
use uuid::Uuid;

/// A hold lasts as long as a question to the database; frames that wait are shared. More than this, and the socket is given up.
const HELD: usize = 10_000;

/// A channel of one socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId(pub u64);

/// Which room.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoomKey {
    /// Whether policies decide who is in it.
    pub private: bool,
    /// Its name, without `realtime:`.
    pub topic: Arc<str>,
}

/// What a member hears.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hears {
    /// Broadcasts.
    pub broadcast: bool,
    /// Who comes and goes.
    pub presence: bool,
}

/// A broadcast on its way to a room.
#[derive(Debug, Clone)]
pub enum Said {
    /// The payload of a text frame, passed on as it is.
    Text(String),
    /// A broadcast by itself; from the database with the id of its row.
    Broadcast(Broadcast, Option<Uuid>),
}

/// Told to the task of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// The member is on hold: ask its policies again, then release it or let it go.
    Recheck(MemberId),
}

/// Who joins.
#[derive(Debug)]
pub struct Joining {
    /// Where its frames go.
    pub outbox: Outbox,
    /// How they are written.
    pub version: Version,
    /// Whose token it is.
    pub subject: Option<Arc<str>>,
    /// The task of its socket.
    pub commands: mpsc::UnboundedSender<Command>,
}

struct Member {
    joining: Joining,
    hears: Hears,
    held: Option<Vec<(Kind, Option<Uuid>, Packet)>>,
    /// Heard already: what a replay gave.
    replayed: HashSet<Uuid>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Broadcast,
    Presence,
}

#[derive(Default)]
struct Room {
    members: HashMap<MemberId, Member>,
    presence: Presence,
    /// Taken out of the map: whoever found it before must look again.
    closed: bool,
}

/// All rooms of one endpoint. Cheap to clone.
#[derive(Clone, Default)]
pub struct Rooms {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    rooms: Mutex<HashMap<RoomKey, Arc<Mutex<Room>>>>,
    next: AtomicU64,
}

/// A member in its room. Leaves when dropped.
pub struct Membership {
    rooms: Rooms,
    key: RoomKey,
    room: Arc<Mutex<Room>>,
    id: MemberId,
}

/// A task that panicked left a map, not half a map.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rooms {
    /// Joins, on hold.
    #[must_use]
    pub fn join(&self, key: RoomKey, joining: Joining) -> Membership {
        let id = MemberId(self.inner.next.fetch_add(1, Ordering::Relaxed));
        let mut member =
            Some(Member { joining, hears: Hears::default(), held: Some(Vec::new()), replayed: HashSet::new() });
        loop {
            let room = Arc::clone(lock(&self.inner.rooms).entry(key.clone()).or_default());
            let mut inside = lock(&room);
            if inside.closed {
                continue;
            }
            if let Some(member) = member.take() {
                inside.members.insert(id, member);
            }
            drop(inside);
            return Membership { rooms: self.clone(), key, room, id };
        }
    }

    /// Says something in a room, to all but `from`.
    pub fn say(&self, key: &RoomKey, said: &Said, from: Option<MemberId>) {
        let Some(room) = lock(&self.inner.rooms).get(key).map(Arc::clone) else { return };
        lock(&room).say(&key.topic, said, from);
    }

    /// Whether anybody is in a room.
    #[must_use]
    pub fn is_open(&self, key: &RoomKey) -> bool {
        lock(&self.inner.rooms).contains_key(key)
    }

    /// The names of the rooms that somebody is in.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        let topics: HashSet<Arc<str>> = lock(&self.inner.rooms).keys().map(|key| Arc::clone(&key.topic)).collect();
        topics.iter().map(|topic| topic.to_string()).collect()
    }

    /// Puts the members of private rooms on hold whose token is `subject`'s (none: all), and has their sockets ask again.
    pub fn recheck(&self, subject: Option<&str>) {
        for (_, room) in self.all(|key| key.private) {
            for (id, member) in &mut lock(&room).members {
                if subject.is_none() || member.joining.subject.as_deref() == subject {
                    member.held.get_or_insert_default();
                    // A socket that is gone leaves by itself.
                    member.joining.commands.send(Command::Recheck(*id)).ok();
                }
            }
        }
    }

    /// Pushes an event to all who hear broadcasts.
    pub fn push_all(&self, event: &str, payload: impl Fn(&str) -> String) {
        for (key, room) in self.all(|_| true) {
            let text = payload(&key.topic);
            let mut packets = Packets::new(|version| {
                Some(frame::text(version, &Value::Null, &Value::Null, &wire_topic(&key.topic), event, &text))
            });
            for member in lock(&room).members.values_mut().filter(|member| member.hears.broadcast) {
                member.hear(Kind::Broadcast, None, packets.of(member.joining.version));
            }
        }
    }

    fn all(&self, which: impl Fn(&RoomKey) -> bool) -> Vec<(RoomKey, Arc<Mutex<Room>>)> {
        let rooms = lock(&self.inner.rooms);
        rooms.iter().filter(|(key, _)| which(key)).map(|(key, room)| (key.clone(), Arc::clone(room))).collect()
    }
}

impl Membership {
    /// Who it is.
    #[must_use]
    pub fn id(&self) -> MemberId {
        self.id
    }

    /// In which room.
    #[must_use]
    pub fn key(&self) -> &RoomKey {
        &self.key
    }

    /// From now on what it would hear waits.
    pub fn hold(&self) {
        if let Some(member) = lock(&self.room).members.get_mut(&self.id) {
            member.held.get_or_insert_default();
        }
    }

    /// From now on it hears; what waited comes first, but for what a replay gave already.
    pub fn release(&self, hears: Hears, replayed: impl IntoIterator<Item = Uuid>) {
        if let Some(member) = lock(&self.room).members.get_mut(&self.id) {
            member.hears = hears;
            member.replayed.extend(replayed);
            for (kind, id, packet) in mem::take(&mut member.held).unwrap_or_default() {
                member.hear(kind, id, Some(packet));
            }
        }
    }

    /// Another token.
    pub fn set_subject(&self, subject: Option<Arc<str>>) {
        if let Some(member) = lock(&self.room).members.get_mut(&self.id) {
            member.joining.subject = subject;
        }
    }

    /// Says something, to itself as well if it wants to.
    pub fn say(&self, said: &Said, to_self: bool) {
        lock(&self.room).say(&self.key.topic, said, (!to_self).then_some(self.id));
    }

    /// Shows itself.
    pub fn track(&self, key: &str, payload: Map<String, Value>) {
        let mut room = lock(&self.room);
        let diff = room.presence.track(self.id, key, payload);
        room.tell(&self.key.topic, &diff);
    }

    /// Shows itself no more.
    pub fn untrack(&self) {
        let mut room = lock(&self.room);
        let diff = room.presence.untrack(self.id);
        room.tell(&self.key.topic, &diff);
    }

    /// Hands over who is present. Whoever comes later is heard of later: nobody falls between.
    pub fn present(&self, then: impl FnOnce(Present)) {
        then(lock(&self.room).presence.state());
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut room = lock(&self.room);
        room.members.remove(&self.id);
        room.closed = room.members.is_empty();
        let diff = room.presence.untrack(self.id);
        room.tell(&self.key.topic, &diff);
        let closed = room.closed;
        // The map is never waited for with a room in hand.
        drop(room);
        if closed {
            lock(&self.rooms.inner.rooms).remove(&self.key);
        }
    }
}

impl Room {
    fn say(&mut self, topic: &str, said: &Said, from: Option<MemberId>) {
        let topic = wire_topic(topic);
        let id = match said {
            Said::Broadcast(_, id) => *id,
            Said::Text(_) => None,
        };
        let mut packets = Packets::new(|version| match said {
            Said::Text(payload) => Some(frame::text(version, &Value::Null, &Value::Null, &topic, "broadcast", payload)),
            Said::Broadcast(broadcast, _) => broadcast.to_client(version, &topic),
        });
        for (member, to) in &mut self.members {
            if from != Some(*member) {
                to.hear(Kind::Broadcast, id, packets.of(to.joining.version));
            }
        }
    }

    fn tell(&mut self, topic: &str, diff: &Diff) {
        if diff.is_empty() {
            return;
        }
        let topic = wire_topic(topic);
        let payload = serde_json::to_string(diff).unwrap_or_else(|_| "{}".into());
        let mut packets = Packets::new(|version| {
            Some(frame::text(version, &Value::Null, &Value::Null, &topic, "presence_diff", &payload))
        });
        for member in self.members.values_mut() {
            member.hear(Kind::Presence, None, packets.of(member.joining.version));
        }
    }
}

impl Member {
    fn hear(&mut self, kind: Kind, id: Option<Uuid>, packet: Option<Packet>) {
        let Some(packet) = packet else { return };
        if let Some(held) = &mut self.held {
            if held.len() < HELD {
                held.push((kind, id, packet));
            } else {
                self.joining.outbox.give_up();
            }
            return;
        }
        let hears = match kind {
            Kind::Broadcast => self.hears.broadcast && id.is_none_or(|id| !self.replayed.contains(&id)),
            Kind::Presence => self.hears.presence,
        };
        if hears {
            self.joining.outbox.push(packet);
        }
    }
}

/// A frame for each version, written when it is first needed.
struct Packets<F: Fn(Version) -> Option<frame::Frame>> {
    write: F,
    written: [Option<Option<Packet>>; 2],
}

impl<F: Fn(Version) -> Option<frame::Frame>> Packets<F> {
    fn new(write: F) -> Self {
        Self { write, written: [None, None] }
    }

    fn of(&mut self, version: Version) -> Option<Packet> {
        let at = usize::from(version == Version::V2);
        self.written[at].get_or_insert_with(|| (self.write)(version).map(Packet::from)).clone()
    }
}

/// A room's name as frames have it.
#[must_use]
pub fn wire_topic(topic: &str) -> String {
    format!("realtime:{topic}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::realtime::outbox::{Waiting, outbox};
    use bytes::Bytes;
    use frame::Body;

    struct Ear {
        membership: Membership,
        waiting: Waiting,
        commands: mpsc::UnboundedReceiver<Command>,
    }

    fn key(private: bool) -> RoomKey {
        RoomKey { private, topic: "a".into() }
    }

    fn join(rooms: &Rooms, private: bool, subject: &str) -> Ear {
        let (outbox, waiting) = outbox();
        let (sender, commands) = mpsc::unbounded_channel();
        let joining = Joining { outbox, version: Version::V2, subject: Some(subject.into()), commands: sender };
        Ear { membership: rooms.join(key(private), joining), waiting, commands }
    }

    fn said(number: u8, id: Option<Uuid>) -> Said {
        let body = Body::Json(Bytes::from(number.to_string()));
        Said::Broadcast(Broadcast { event: "e".into(), body, meta: None }, id)
    }

    const ALL: Hears = Hears { broadcast: true, presence: true };

    impl Ear {
        fn heard(&mut self) -> Vec<u8> {
            std::iter::from_fn(|| self.waiting.ready()).map(|packet| packet.bytes().last().copied().unwrap()).collect()
        }
    }

    #[test]
    fn messages_during_a_join_come_once_and_after_the_replay() {
        let rooms = Rooms::default();
        let mut ear = join(&rooms, true, "ada");
        let id = Uuid::new_v4();
        rooms.say(&key(true), &said(1, Some(id)), None);
        rooms.say(&key(true), &said(2, Some(Uuid::new_v4())), None);
        assert!(ear.heard().is_empty());
        ear.membership.release(ALL, [id]);
        rooms.say(&key(true), &said(1, Some(id)), None);
        rooms.say(&key(true), &said(3, None), None);
        assert_eq!(ear.heard(), b"23");
    }

    #[test]
    fn public_and_private_are_separate_rooms_and_own_messages_need_self() {
        let rooms = Rooms::default();
        let (mut public, mut private) = (join(&rooms, false, "ada"), join(&rooms, true, "ada"));
        public.membership.release(ALL, []);
        private.membership.release(ALL, []);
        private.membership.say(&said(1, None), true);
        private.membership.say(&said(2, None), false);
        assert!(public.heard().is_empty());
        assert_eq!(private.heard(), b"1");
        drop(private);
        assert!(!rooms.is_open(&key(true)) && rooms.is_open(&key(false)));
    }

    #[test]
    fn a_member_being_rechecked_hears_nothing_until_released() {
        let rooms = Rooms::default();
        let (mut ada, mut bob) = (join(&rooms, true, "ada"), join(&rooms, true, "bob"));
        ada.membership.release(ALL, []);
        bob.membership.release(ALL, []);
        rooms.recheck(Some("ada"));
        assert_eq!(ada.commands.try_recv().unwrap(), Command::Recheck(ada.membership.id()));
        assert!(bob.commands.try_recv().is_err());
        rooms.say(&key(true), &said(1, None), None);
        assert_eq!((ada.heard().len(), bob.heard()), (0, b"1".to_vec()));
        ada.membership.release(Hears { broadcast: false, presence: true }, []);
        assert!(ada.heard().is_empty());
    }

    #[test]
    fn a_member_who_leaves_is_gone_from_presence() {
        let rooms = Rooms::default();
        let (mut ada, bob) = (join(&rooms, false, "ada"), join(&rooms, false, "bob"));
        ada.membership.release(ALL, []);
        bob.membership.release(ALL, []);
        bob.membership.track("bob", Map::new());
        drop(bob);
        let frames: Vec<String> = std::iter::from_fn(|| ada.waiting.ready())
            .map(|p| String::from_utf8_lossy(p.bytes()).into_owned())
            .collect();
        assert!(frames[0].contains(r#""joins":{"bob""#) && frames[1].contains(r#""leaves":{"bob""#), "{frames:?}");
    }
}
