//! From the Gateway into the hub: a bounded queue for each lane, emptied in order, tried again while the hub is away. All of one
//! Discord server is in one lane, so that a thread is never ahead of the message it began with.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hub::{Hub, types::Bridged};
use reqwest::Method;
use serde_json::Value;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{error::Error, event::Message, rest::Discord};

const LANES: usize = 4;
const CALL_WITHIN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// For what does not pass by itself, but may: a fault of the database, Discord away while the hub is there.
const TRIES: u32 = 8;
/// Threads and channels remembered in a lane.
const REMEMBERED: usize = 10_000;
/// What Discord gives at once.
const PAGE: usize = 100;
/// ⚠️ under what the hub refused, so that its author knows.
const REFUSED: &str = "%E2%9A%A0%EF%B8%8F";

/// A person's message on its way.
#[derive(Debug)]
pub(crate) struct Written {
    pub message: Message,
    pub text: String,
    /// `message`, or `edit` for its new words.
    pub kind: &'static str,
}

enum Work {
    Carry(Box<Written>),
    /// A session was lost: fetch what was written since, where this lane has carried something.
    CatchUp {
        own: String,
    },
}

/// The door to the lanes. The lanes end when the last clone of it is gone and their queues are empty.
#[derive(Clone)]
pub(crate) struct Intake {
    lanes: Vec<mpsc::Sender<Work>>,
    shared: Arc<Shared>,
}

/// How many messages wait, also after the door was closed.
pub(crate) struct Waiting(Arc<Shared>);

impl Waiting {
    pub fn count(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }
}

struct Shared {
    waiting: AtomicUsize,
    /// Whether the log was told that the hub is away.
    away: AtomicBool,
    overflown: AtomicU64,
}

impl Intake {
    /// Starts the lanes in `tasks`; each keeps at most `queue` messages.
    pub fn start(hub: &Hub, discord: &Discord, queue: usize, tasks: &mut JoinSet<()>) -> Self {
        let shared = Arc::new(Shared {
            waiting: AtomicUsize::new(0),
            away: AtomicBool::new(false),
            overflown: AtomicU64::new(0),
        });
        let lanes = (0..LANES).map(|_| {
            let (sender, mut inbox) = mpsc::channel(queue.max(1));
            let mut lane = Lane {
                hub: hub.clone(),
                discord: discord.clone(),
                shared: Arc::clone(&shared),
                threads: HashMap::new(),
                carried: HashMap::new(),
            };
            tasks.spawn(async move {
                while let Some(work) = inbox.recv().await {
                    match work {
                        Work::Carry(written) => {
                            lane.carry(&written).await;
                            lane.shared.waiting.fetch_sub(1, Ordering::Relaxed);
                        }
                        Work::CatchUp { own } => lane.catch_up(&own).await,
                    }
                }
            });
            sender
        });
        Self { lanes: lanes.collect(), shared }
    }

    /// Takes it, without waiting: the connection must go on beating.
    pub fn carry(&self, written: Written) {
        let message = &written.message;
        let place = message.guild_id.as_ref().unwrap_or(&message.channel_id);
        // Discord's ids count up slowly; their upper bits are a time.
        let lane = place.parse::<u64>().map_or(0, |id| (id >> 22) as usize % LANES);
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        let Err(error) = self.lanes[lane].try_send(Work::Carry(Box::new(written))) else { return };
        self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        match error {
            TrySendError::Full(Work::Carry(lost)) => {
                let count = self.shared.overflown.fetch_add(1, Ordering::Relaxed) + 1;
                // Each is told until there are many of them.
                if count <= 100 || count.is_multiple_of(1000) {
                    tracing::error!(
                        discord.message_id = %lost.message.id, discord.channel_id = %lost.message.channel_id, overflown.count = count,
                        "not carried: the queue is full, since the hub is away or too slow"
                    );
                }
            }
            _ => tracing::error!("a message is not carried: its lane has failed"),
        }
    }

    pub fn catch_up(&self, own: &str) {
        for lane in &self.lanes {
            if lane.try_send(Work::CatchUp { own: own.to_owned() }).is_err() {
                tracing::error!("not caught up after a lost session: the queue is full");
            }
        }
    }

    pub fn waiting(&self) -> Waiting {
        Waiting(Arc::clone(&self.shared))
    }
}

struct Lane {
    hub: Hub,
    discord: Discord,
    shared: Arc<Shared>,
    /// Channels that were asked about.
    threads: HashMap<String, Place>,
    /// The newest message carried of each bridged channel, and its server.
    carried: HashMap<String, (String, Option<String>)>,
}

/// What a channel of Discord is.
#[derive(Clone)]
enum Place {
    Channel,
    /// A thread: of which channel, and the message by which the hub knows where it belongs.
    Thread {
        parent: String,
        root: String,
    },
}

/// Why a message is not carried yet.
enum Trouble {
    /// Tried again for as long as it takes.
    Away(hub::Error),
    /// Tried again a few times.
    Hub(hub::Error),
    Discord(Error),
    /// The hub's last word.
    Refused(hub::Error),
}

impl Lane {
    async fn carry(&mut self, written: &Written) {
        let message = &written.message;
        let (mut pause, mut tries) = (PAUSE, 0);
        loop {
            let trouble = match self.try_to_carry(written).await {
                Ok(taken) => {
                    if self.shared.away.swap(false, Ordering::Relaxed) {
                        tracing::info!("the hub answers again");
                    }
                    if let Some(taken) = taken {
                        self.carried(message, &taken);
                    }
                    return;
                }
                Err(trouble) => trouble,
            };
            tries += 1;
            match trouble {
                Trouble::Away(error) => {
                    if !self.shared.away.swap(true, Ordering::Relaxed) {
                        tracing::warn!(error = %error, "the hub is away; messages wait");
                    }
                }
                Trouble::Refused(error) => {
                    tracing::warn!(discord.message_id = %message.id, discord.channel_id = %message.channel_id, error = %error, "refused by the hub");
                    self.mark_refused(message);
                    return;
                }
                Trouble::Hub(error) if tries >= TRIES => {
                    tracing::error!(discord.message_id = %message.id, discord.channel_id = %message.channel_id, error = %error, "not carried: the hub fails on it");
                    self.mark_refused(message);
                    return;
                }
                Trouble::Discord(error) if tries >= TRIES => {
                    tracing::error!(discord.message_id = %message.id, discord.channel_id = %message.channel_id, error = %error, "not carried: Discord does not say which channel the thread is of");
                    return;
                }
                Trouble::Hub(error) => tracing::warn!(discord.message_id = %message.id, error = %error, "trying again"),
                Trouble::Discord(error) => {
                    tracing::warn!(discord.message_id = %message.id, error = %error, "trying again");
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// What the hub made of it, or nothing if no bridge begins there. The hub is asked each time: a bridge works from the moment it
    /// is made, and to ask is one look at an index.
    async fn try_to_carry(&mut self, written: &Written) -> Result<Option<Value>, Trouble> {
        let message = &written.message;
        let channel = format!("channel:{}", message.channel_id);
        if message.guild_id.is_none() {
            let person = format!("user:{}", message.author.id);
            if let Some(taken) = self.receive(&person, written, message.answers()).await? {
                return Ok(Some(taken));
            }
            return self.receive(&channel, written, message.answers()).await;
        }
        if let Some(taken) = self.receive(&channel, written, message.answers()).await? {
            return Ok(Some(taken));
        }
        let Place::Thread { parent, root } = self.place(message).await.map_err(Trouble::Discord)? else {
            return Ok(None);
        };
        let taken = self.receive(&format!("channel:{parent}"), written, Some(&root)).await?;
        // The hub knows nothing of the thread's beginning (it is older than the bridge, say): from now on this is it.
        let unknown =
            taken.as_ref().is_some_and(|taken| taken["message"].is_object() && taken["message"]["reply_to"].is_null());
        if unknown && taken.as_ref().is_some_and(|taken| taken["duplicate"] != true) {
            self.threads.insert(message.channel_id.clone(), Place::Thread { parent, root: message.id.clone() });
        }
        Ok(taken)
    }

    async fn receive(&self, target: &str, written: &Written, answers: Option<&str>) -> Result<Option<Value>, Trouble> {
        let author = format!("@{}", written.message.author.username);
        let message = Bridged {
            provider: "discord",
            target,
            external: &written.message.id,
            author: &author,
            content: &written.text,
            reply_to: answers,
            interaction: false,
            author_id: Some(&written.message.author.id),
            kind: written.kind,
            // Asked one by one: what a thread is of is not known before Discord was asked.
            elsewhere: &[],
        };
        let call = self.hub.receive_bridged(&message);
        match timeout(CALL_WITHIN, call).await {
            Err(_) => Err(Trouble::Away(hub::Error::Unreachable("the hub does not answer in time".into()))),
            Ok(Ok(taken)) => Ok(Some(taken)),
            Ok(Err(hub::Error::NotFound(refusal))) if refusal.code == "UH004" => Ok(None),
            Ok(Err(error)) => Err(match error {
                // A key that is being changed, a schema that is being migrated: somebody is at it.
                hub::Error::Unauthorized(_) | hub::Error::Schema(_) => Trouble::Away(error),
                error if error.is_transient() => Trouble::Away(error),
                hub::Error::BadInput(_) | hub::Error::Conflict(_) | hub::Error::Forbidden(_) => Trouble::Refused(error),
                error => Trouble::Hub(error),
            }),
        }
    }

    fn carried(&mut self, message: &Message, taken: &Value) {
        let task = taken.pointer("/task/id").and_then(Value::as_str);
        tracing::info!(
            discord.message_id = %message.id, discord.channel_id = %message.channel_id, task.id = task, duplicate = taken["duplicate"] == true,
            "carried"
        );
        if self.carried.len() >= REMEMBERED {
            self.carried.clear();
        }
        self.carried.insert(message.channel_id.clone(), (message.id.clone(), message.guild_id.clone()));
    }

    /// What the message's channel is. Threads do not move, so each is asked about once.
    async fn place(&mut self, message: &Message) -> Result<Place, Error> {
        let thread = &message.channel_id;
        if let Some(place) = self.threads.get(thread) {
            return Ok(place.clone());
        }
        if message.channel_type.is_some_and(|kind| !is_thread(u64::from(kind))) {
            return Ok(Place::Channel);
        }
        let place = match self.discord.call(Method::GET, &format!("channels/{thread}"), None).await {
            Ok(channel) => match channel["parent_id"].as_str() {
                Some(parent) if is_thread(channel["type"].as_u64().unwrap_or(0)) => {
                    Place::Thread { parent: parent.to_owned(), root: self.root(thread).await? }
                }
                _ => Place::Channel,
            },
            Err(Error::Refused { .. }) => Place::Channel,
            Err(error) => return Err(error),
        };
        if self.threads.len() >= REMEMBERED {
            self.threads.clear();
        }
        self.threads.insert(thread.clone(), place.clone());
        Ok(place)
    }

    /// The message a thread began with: the one it was made from, or the first that somebody wrote in it.
    async fn root(&self, thread: &str) -> Result<String, Error> {
        let first =
            match self.discord.call(Method::GET, &format!("channels/{thread}/messages?after=0&limit=50"), None).await {
                Ok(Value::Array(first)) => first,
                // Without the right to read back: a thread made from a message has that message's id.
                Ok(_) | Err(Error::Refused { .. }) => Vec::new(),
                Err(error) => return Err(error),
            };
        let begun = first.iter().find(|message| message["type"] == 21);
        if let Some(id) = begun.and_then(|message| message.pointer("/message_reference/message_id")?.as_str()) {
            return Ok(id.to_owned());
        }
        let ids = first.into_iter().filter_map(|message| serde_json::from_value::<Message>(message).ok());
        let ids = ids.filter(|message| message.is_a_persons("")).map(|message| message.id);
        Ok(ids.min_by_key(|id| number(id)).unwrap_or_else(|| thread.to_owned()))
    }

    /// Fetches what was written while nobody listened, in order. What was carried before is known by its id.
    async fn catch_up(&mut self, own: &str) {
        for (channel, (mut after, guild)) in std::mem::take(&mut self.carried) {
            loop {
                let path = format!("channels/{channel}/messages?after={after}&limit={PAGE}");
                let page = match self.discord.call(Method::GET, &path, None).await {
                    Ok(Value::Array(page)) => page,
                    Ok(_) => break,
                    Err(error) => {
                        tracing::error!(discord.channel_id = %channel, error = %error, "not caught up after a lost session: what was written meanwhile may be missing");
                        break;
                    }
                };
                let whole = page.len() >= PAGE;
                let mut page: Vec<Message> = page.into_iter().filter_map(|m| serde_json::from_value(m).ok()).collect();
                page.sort_by_key(|message| number(&message.id));
                let Some(newest) = page.last().map(|message| message.id.clone()) else { break };
                after = newest;
                for mut message in page {
                    message.guild_id.clone_from(&guild);
                    let text = message.text(own);
                    if message.is_a_persons(own) && !text.is_empty() {
                        self.carry(&Written { message, text, kind: "message" }).await;
                    }
                }
                if !whole {
                    break;
                }
            }
            self.carried.entry(channel).or_insert((after, guild));
        }
    }

    /// Nobody waits for it, and it is no harm if it is not allowed.
    fn mark_refused(&self, message: &Message) {
        let discord = self.discord.clone();
        let path = format!("channels/{}/messages/{}/reactions/{REFUSED}/@me", message.channel_id, message.id);
        tokio::spawn(async move {
            if let Err(error) = discord.call(Method::PUT, &path, None).await {
                tracing::debug!(error = %error, "no reaction could be left");
            }
        });
    }
}

fn is_thread(kind: u64) -> bool {
    (10..=12).contains(&kind)
}

/// Ids of Discord count up.
fn number(id: &str) -> u64 {
    id.parse().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event, settings::Settings};
    use hub::{api::Api, config::Credential};

    fn written(id: u64) -> Written {
        let frame = format!(
            r#"{{"t":"MESSAGE_CREATE","d":{{"id":"{id}","channel_id":"7","guild_id":"1","author":{{"id":"2","username":"ada"}},"content":"x"}}}}"#
        );
        let Ok(event::Event::Message(message)) = event::read(&frame) else { panic!("no message") };
        Written { message: *message, text: "x".into(), kind: "message" }
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_counts_what_waits() {
        // A port that was free a moment ago: nobody answers.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        let hub = Hub::Api(Api::with_credential(&url, "k".to_owned().into(), Credential::ServiceKey).unwrap());
        let settings = Settings::read(&|name| match name {
            "DISCORD_BOT_TOKEN" => Some("t".into()),
            "HUB_DISCORD_API_URL" => Some(url.clone()),
            _ => None,
        });
        let mut tasks = JoinSet::new();
        let intake = Intake::start(&hub, &Discord::new(&settings.unwrap()).unwrap(), 3, &mut tasks);
        intake.carry(written(1));
        while !intake.shared.away.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(5)).await;
        }
        for id in 2..=10 {
            intake.carry(written(id));
        }
        // One is being tried, three wait, the rest is told.
        assert_eq!(intake.waiting().count(), 4);
        assert_eq!(intake.shared.overflown.load(Ordering::Relaxed), 6);
        let waiting = intake.waiting();
        drop(intake);
        tasks.abort_all();
        while tasks.join_next().await.is_some() {}
        assert_eq!(waiting.count(), 4);
    }
}
