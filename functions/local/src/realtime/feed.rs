//! The change feed: one logical replication stream for all sockets. Its slot is temporary: whatever becomes of this process,
//! Postgres keeps no log for it.
//!
//! Broadcasts (`realtime.messages`) go to the rooms as they are committed, other tables' rows to [`Changes`], and a message with
//! the prefix `realtime.recheck` has a person's rights asked again, in its place between the broadcasts.
//!
//! A commit is in the log a moment before other sessions see it. Nothing is told before it is seen: whoever hears of a row and
//! asks for it finds it.
//!
//! When the stream breaks, sockets stay. A new slot begins where it begins, not where the old one ended: what was committed in
//! between is read from `realtime.messages`, and what was heard already is known by its id. Rows can not be read again, so those who
//! listen to them are told.

use super::{
    changes::{Changed, Changes},
    messages::{self, Stored},
    pgoutput::{Change, Reader},
    rooms::Rooms,
};
use crate::keys::random_text;
use chrono::{NaiveDateTime, TimeDelta, Utc};
use pgwire_replication::{Lsn, ReplicationClient, ReplicationConfig, ReplicationEvent};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sqlx::{Connection, PgConnection, PgPool};
use std::{
    collections::{HashSet, VecDeque},
    pin::pin,
    time::Duration,
};
use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Of Postgres Changes, and of broadcasts.
const PUBLICATIONS: [&str; 2] = ["supabase_realtime", "supabase_realtime_messages_publication"];
/// Between writing a commit to the log and showing it, a backend is only not given the processor.
const LOOK_AGAIN: Duration = Duration::from_micros(200);
const SEEN_WITHIN: Duration = Duration::from_secs(5);
const RECHECK: &str = "realtime.recheck";
/// Ids of broadcasts that were heard are kept, to know them again.
const KNOWN: usize = 65_536;
/// A row is inserted before it is committed: so much earlier than the stream broke it is looked for.
const MARGIN: TimeDelta = TimeDelta::minutes(2);
/// More is not read again after an interruption.
const CATCH_UP: i64 = 10_000;
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// So many attempts in a row are more than a Postgres that starts.
const LOUD: u32 = 6;
/// A slot can only begin when the transactions that run have ended.
const PATIENCE: Duration = Duration::from_secs(10);

/// How the feed reaches Postgres.
#[derive(Clone)]
pub struct FeedOptions {
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Role with REPLICATION.
    pub user: String,
    /// Its password.
    pub password: SecretString,
    /// Database.
    pub database: String,
}

/// Reads the stream, and reads it again when it breaks.
pub struct Feed {
    options: FeedOptions,
    pool: PgPool,
    rooms: Rooms,
    changes: Changes,
    streaming: watch::Sender<bool>,
    known: Known,
    /// Since when broadcasts may have been missed.
    missed_since: NaiveDateTime,
    /// What was sent before this process began was for another's listeners.
    began: NaiveDateTime,
}

/// What one moment's sessions see.
#[derive(Debug, PartialEq, Eq)]
struct Snapshot {
    xmin: u64,
    xmax: u64,
    running: Vec<u64>,
}

impl Snapshot {
    /// As `pg_snapshot` is written: `xmin:xmax:xip,xip`.
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (xmin, xmax) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let running = parts.next()?.split(',').filter(|xid| !xid.is_empty()).map(|xid| xid.parse().ok());
        Some(Self { xmin, xmax, running: running.collect::<Option<_>>()? })
    }

    /// Whether a transaction that the log shows as committed is seen. The log has the lower half of its number.
    fn sees(&self, xid: u32) -> bool {
        const HALF: u64 = 1 << 31;
        const EPOCH: u64 = 1 << 32;
        let mut xid = self.xmax & !(EPOCH - 1) | u64::from(xid);
        if xid > self.xmax + HALF {
            xid = xid.saturating_sub(EPOCH);
        } else if xid + HALF < self.xmax {
            xid += EPOCH;
        }
        xid < self.xmin || (xid < self.xmax && !self.running.contains(&xid))
    }
}

/// Ids of the latest broadcasts.
#[derive(Default)]
struct Known {
    ids: HashSet<Uuid>,
    order: VecDeque<(Uuid, NaiveDateTime)>,
    /// When the latest was inserted of those that are forgotten.
    forgotten: Option<NaiveDateTime>,
}

impl Known {
    /// Whether it was not known.
    fn add(&mut self, message: &Stored) -> bool {
        if !self.ids.insert(message.id) {
            return false;
        }
        self.order.push_back((message.id, message.inserted_at));
        if self.order.len() > KNOWN
            && let Some((id, inserted_at)) = self.order.pop_front()
        {
            self.ids.remove(&id);
            self.forgotten = self.forgotten.max(Some(inserted_at));
        }
        true
    }
}

#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Stream(#[from] pgwire_replication::PgWireError),
    #[error(transparent)]
    Message(#[from] super::pgoutput::Malformed),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("Postgres ended the stream")]
    Ended,
    #[error("a transaction of the log is not visible after {} s", SEEN_WITHIN.as_secs())]
    Unseen,
    #[error("the publication {0} is missing; `hub migrate --platform` makes it")]
    NoPublication(&'static str),
}

impl Feed {
    /// A feed into these rooms and changes.
    #[must_use]
    pub fn new(options: FeedOptions, pool: PgPool, rooms: Rooms, changes: Changes) -> Self {
        let (streaming, _) = watch::channel(false);
        let began = Utc::now().naive_utc();
        Self { options, pool, rooms, changes, streaming, known: Known::default(), missed_since: began, began }
    }

    /// Whether the stream flows.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<bool> {
        self.streaming.subscribe()
    }

    /// Reads until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let (mut pause, mut failures) = (PAUSE, 0_u32);
        loop {
            let begun = time::Instant::now();
            let outcome = tokio::select! {
                outcome = self.stream() => outcome,
                // The connection is dropped, and with it the slot.
                () = stop.cancelled() => return,
            };
            let Err(why) = outcome;
            failures += 1;
            if self.streaming.send_replace(false) {
                failures = 0;
                self.missed_since = (Utc::now().naive_utc() - MARGIN).max(self.began);
                self.changes.tell_interrupted();
                tracing::warn!(%why, "the replication stream broke; Realtime goes on when it is there again");
                pause = PAUSE;
            } else if failures == LOUD {
                tracing::warn!(%why, "there is no replication stream: broadcasts of the database and changes of rows are not heard");
            } else {
                tracing::debug!(%why, "no replication stream yet");
            }
            if begun.elapsed() < LONGEST_PAUSE {
                tokio::select! {
                    () = time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                    () = stop.cancelled() => return,
                }
            }
        }
    }

    async fn stream(&mut self) -> Result<std::convert::Infallible, Broken> {
        let mut client = self.open().await?;
        // A right that ended meanwhile is in a log that nobody read.
        self.rooms.recheck(None);
        self.catch_up().await?;
        self.streaming.send_replace(true);
        let mut reader = Reader::default();
        let mut eyes = Eyes { connection: self.connect().await?, snapshot: None };
        let (mut committed, mut transaction) = (0, 0);
        loop {
            match client.recv().await?.ok_or(Broken::Ended)? {
                ReplicationEvent::Begin { commit_time_micros, xid, .. } => {
                    (committed, transaction) = (commit_time_micros, xid)
                }
                ReplicationEvent::XLogData { data, .. } => {
                    if let Some((relation, change)) = reader.read(data)? {
                        if relation.schema == "realtime" && relation.table == "messages" {
                            if let Change::Insert(row) = &change
                                && let Some(message) = Stored::read(&relation, row)
                            {
                                if self.rooms.is_open(&message.room) {
                                    eyes.see(transaction).await?;
                                }
                                self.tell(&message);
                            }
                        } else if self.changes.wants(relation.oid) {
                            eyes.see(transaction).await?;
                            self.changes.offer(Changed { relation, change, committed });
                        }
                    }
                }
                ReplicationEvent::Message { prefix, content, .. } if prefix == RECHECK => {
                    let subject = std::str::from_utf8(&content).ok().filter(|subject| !subject.is_empty());
                    eyes.see(transaction).await?;
                    self.rooms.recheck(subject);
                }
                ReplicationEvent::Commit { end_lsn, .. } => client.update_applied_lsn(end_lsn),
                ReplicationEvent::KeepAlive { wal_end, .. } => client.update_applied_lsn(wal_end),
                ReplicationEvent::StoppedAt { .. } => return Err(Broken::Ended),
                _ => {}
            }
        }
    }

    /// A session of its own, which ends with the stream: a look must not wait for the pool's others.
    async fn connect(&self) -> sqlx::Result<PgConnection> {
        PgConnection::connect_with(&self.pool.connect_options()).await
    }

    async fn open(&self) -> Result<ReplicationClient, Broken> {
        let found: Vec<String> =
            sqlx::query_scalar("select p.pubname::text from pg_publication p where p.pubname = any ($1)")
                .bind(&PUBLICATIONS[..])
                .fetch_all(&self.pool)
                .await?;
        let [_, messages] = PUBLICATIONS;
        if !found.iter().any(|name| name == messages) {
            return Err(Broken::NoPublication(messages));
        }
        let FeedOptions { host, port, user, password, database } = &self.options;
        let slot = format!("hub_realtime_{}", random_text(12).to_lowercase());
        let config = ReplicationConfig::new(host, user, password.expose_secret(), database, &slot, found)
            .with_port(*port)
            .with_application_name("hub realtime")
            // One form for values, whatever the database's settings are, and names that apply_rls finds again: it looks nowhere else.
            .with_options("-c search_path=pg_catalog,pg_temp -c datestyle=ISO,MDY -c timezone=UTC -c bytea_output=hex -c intervalstyle=postgres -c extra_float_digits=1")
            .with_start_lsn(Lsn::ZERO);
        let mut client = ReplicationClient::connect_gated(config).await?;
        let create = format!("CREATE_REPLICATION_SLOT \"{slot}\" TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT");
        {
            let mut creating = pin!(client.simple_query(&create));
            let made = time::timeout(PATIENCE, &mut creating).await;
            if made.is_err() {
                tracing::warn!(
                    "the replication stream waits for a long transaction to end (pg_stat_activity shows it: xact_start)"
                );
            }
            match made {
                Ok(made) => made?,
                Err(_) => creating.await?,
            };
        }
        client.start().await?;
        client.wait_started().await?;
        Ok(client)
    }

    /// What was committed before the slot began and has not been heard. The slot exists already: what is read here and comes by
    /// the stream as well is known by its id.
    async fn catch_up(&mut self) -> Result<(), Broken> {
        let mut from = self.missed_since;
        let mut complete = true;
        if let Some(forgotten) = self.known.forgotten
            && forgotten >= from
        {
            (from, complete) = (forgotten, false);
        }
        let topics = self.rooms.topics();
        if !topics.is_empty() {
            let missed = messages::since(&self.pool, &topics, from, CATCH_UP + 1).await?;
            complete &= i64::try_from(missed.len()).is_ok_and(|count| count <= CATCH_UP);
            for message in &missed {
                self.tell(message);
            }
            if !complete {
                self.rooms.push_all("system", |topic| {
                    json!({"extension": "broadcast", "status": "error", "channel": topic,
                           "message": "The stream of broadcasts was interrupted: messages may be missing. Fetch what you show again"})
                    .to_string()
                });
            }
        }
        Ok(())
    }

    fn tell(&mut self, message: &Stored) {
        // Known although nobody is there: whoever comes later must not hear it when the stream is mended.
        if self.known.add(message) {
            self.rooms.say(&message.room, &message.said(), None);
        }
    }
}

/// What the database shows.
struct Eyes {
    connection: PgConnection,
    snapshot: Option<Snapshot>,
}

impl Eyes {
    /// Returns when a transaction of the log is seen. One look serves all that was committed before it; there is no event to
    /// wait for.
    async fn see(&mut self, transaction: u32) -> Result<(), Broken> {
        let begun = time::Instant::now();
        loop {
            if self.snapshot.as_ref().is_some_and(|snapshot| snapshot.sees(transaction)) {
                return Ok(());
            }
            if self.snapshot.is_some() && begun.elapsed() > SEEN_WITHIN {
                return Err(Broken::Unseen);
            }
            let look = sqlx::query_scalar::<_, String>("select pg_current_snapshot()::text");
            self.snapshot = Snapshot::read(&look.fetch_one(&mut self.connection).await?);
            if !self.snapshot.as_ref().is_some_and(|snapshot| snapshot.sees(transaction)) {
                time::sleep(LOOK_AGAIN).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_sees_transactions_that_had_ended() {
        let snapshot = Snapshot::read("100:105:100,103").unwrap();
        let seen: Vec<u32> = (97..108).filter(|xid| snapshot.sees(*xid)).collect();
        assert_eq!(seen, [97, 98, 99, 101, 102, 104]);
        assert!(Snapshot::read("7:7:").unwrap().running.is_empty());
        for bad in ["", "1", "1:2", "1:x:", "1:2:3,x"] {
            assert_eq!(Snapshot::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_transaction_id_belongs_to_the_nearest_epoch() {
        let epoch = 1_u64 << 32;
        let after = Snapshot { xmin: epoch + 5, xmax: epoch + 5, running: vec![] };
        assert!(after.sees(u32::MAX - 1) && after.sees(4) && !after.sees(5) && !after.sees(6));
        let before = Snapshot { xmin: epoch - 5, xmax: epoch - 5, running: vec![] };
        assert!(!before.sees(3) && before.sees(u32::MAX - 10) && !before.sees(u32::MAX));
    }
}
