//! Postgres Changes: changed rows, handed to those who asked for them and may see them.
//!
//! Whoever asks for the same (event, table, filters, columns) with the same claims is one group, and the database is asked once for a
//! group, not once for a socket: `realtime.subscription` has a row for each group, `realtime.apply_rls` says which groups may see a
//! change, and what it costs beyond that is a frame for each socket.

use super::{
    filter::Wanted,
    outbox::{Outbox, Packet},
    pgoutput::{Cell, Change, Relation, Row},
    rooms::MemberId,
};
use crate::keys::Claims;
use hub::realtime::frame::{self, Version};
use serde_json::{Value, json};
use sqlx::{PgPool, types::Json};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const PUBLICATION: &str = "supabase_realtime";
/// Changes that wait to be decided. More, and those who listen are told that something is missing.
const WAITING: usize = 20_000;
/// As many are decided in one exchange.
const BATCH: usize = 100;
/// A record above is sent without its long values.
const MAX_RECORD: i32 = 1024 * 1024;
const RETRY: Duration = Duration::from_secs(1);
/// Each is asked at every change of its table.
const OF_A_PERSON: usize = 200;

/// A change on its way to be decided.
#[derive(Debug)]
pub struct Changed {
    /// Of which table.
    pub relation: Arc<Relation>,
    /// What changed.
    pub change: Change,
    /// When it was committed, in microseconds since 2000.
    pub committed: i64,
}

/// Where frames go.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Which channel of which socket.
    pub member: MemberId,
    /// Its socket.
    pub outbox: Outbox,
    /// Its protocol.
    pub version: Version,
    /// `realtime:<name>`.
    pub topic: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct GroupKey {
    wanted: Wanted,
    claims: Arc<str>,
}

struct Group {
    id: Uuid,
    person: String,
    tables: Vec<u32>,
    listeners: HashMap<MemberId, (Listener, Vec<i64>)>,
}

#[derive(Default)]
struct State {
    keys: HashMap<GroupKey, Uuid>,
    groups: HashMap<Uuid, (GroupKey, Group)>,
    /// How many groups ask for a table, by its oid.
    tables: HashMap<u32, usize>,
    /// How many groups there are of a person's claims.
    people: HashMap<String, usize>,
    /// Changes were dropped since those who listen were last told.
    lost: bool,
}

impl State {
    fn of_person(&self, claims: &Claims) -> usize {
        self.people.get(&person(claims)).copied().unwrap_or_default()
    }
}

/// Whose claims these are: a person's, whichever token it is; without one a role's.
fn person(claims: &Claims) -> String {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    text("sub").or_else(|| text("role")).unwrap_or_default().to_owned()
}

/// Whoever has the service key runs the project.
fn may_ask_for_more(claims: &Claims) -> bool {
    claims.get("role").and_then(Value::as_str) == Some("service_role")
}

/// All who listen to changes. Cheap to clone.
#[derive(Clone)]
pub struct Changes {
    inner: Arc<Inner>,
}

struct Inner {
    pool: PgPool,
    state: Mutex<State>,
    /// One at a time makes and removes groups in the database, so that two who ask for the same at once become one group.
    making: tokio::sync::Mutex<()>,
    queue: mpsc::Sender<Changed>,
    /// Groups that nobody is in any more.
    unused: mpsc::UnboundedSender<Uuid>,
}

/// Why nobody listens, in words for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unheard {
    /// What was asked for can not be had.
    Refused(String),
    /// The database does not answer.
    Away(&'static str),
}

impl Unheard {
    /// The words.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Refused(why) => why,
            Self::Away(why) => why,
        }
    }
}

/// Listens until dropped.
pub struct Subscription {
    changes: Changes,
    member: MemberId,
    groups: Vec<Uuid>,
}

impl Changes {
    /// Starts; forgets what an earlier run left in the database.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn start(pool: PgPool, stop: CancellationToken) -> sqlx::Result<Self> {
        sqlx::query("delete from realtime.subscription").execute(&pool).await?;
        let (queue, waiting) = mpsc::channel(WAITING);
        let (unused, gone) = mpsc::unbounded_channel();
        let inner = Inner { pool, state: Mutex::default(), making: tokio::sync::Mutex::default(), queue, unused };
        let changes = Self { inner: Arc::new(inner) };
        tokio::spawn(changes.clone().hand_out(waiting, stop.clone()));
        tokio::spawn(changes.clone().forget(gone, stop));
        Ok(changes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody asked for this table.
    #[must_use]
    pub fn wants(&self, table: u32) -> bool {
        self.state().tables.contains_key(&table)
    }

    /// Queues a change. Never waits: the stream of broadcasts is behind it.
    pub fn offer(&self, changed: Changed) {
        if self.inner.queue.try_send(changed).is_err() {
            self.state().lost = true;
        }
    }

    /// Listens to all of `wanted`, or to nothing. Once this returns, what is committed is heard.
    ///
    /// # Errors
    /// [`Unheard`].
    pub async fn subscribe(
        &self,
        listener: &Listener,
        wanted: &[(i64, Wanted)],
        claims: &Claims,
    ) -> Result<Subscription, Unheard> {
        let text: Arc<str> = Value::Object(claims.clone()).to_string().into();
        let mut subscription = Subscription { changes: self.clone(), member: listener.member, groups: Vec::new() };
        let _one = self.inner.making.lock().await;
        for (id, wanted) in wanted {
            let key = GroupKey { wanted: wanted.clone(), claims: Arc::clone(&text) };
            let known = self.state().keys.get(&key).copied();
            let group = match known {
                Some(group) => group,
                None if !may_ask_for_more(claims) && self.state().of_person(claims) >= OF_A_PERSON => {
                    return Err(Unheard::Refused(format!(
                        "Too many different subscriptions to changes: one person has at most {OF_A_PERSON}"
                    )));
                }
                None => {
                    let group = self.make(&key.wanted, claims).await?;
                    let id = group.id;
                    let mut state = self.state();
                    for table in &group.tables {
                        *state.tables.entry(*table).or_default() += 1;
                    }
                    *state.people.entry(person(claims)).or_default() += 1;
                    state.keys.insert(key.clone(), id);
                    state.groups.insert(id, (key, group));
                    id
                }
            };
            subscription.groups.push(group);
            if let Some((_, group)) = self.state().groups.get_mut(&group) {
                let (_, ids) = group.listeners.entry(listener.member).or_insert_with(|| (listener.clone(), Vec::new()));
                ids.push(*id);
            }
        }
        Ok(subscription)
    }

    async fn make(&self, wanted: &Wanted, claims: &Claims) -> Result<Group, Unheard> {
        let id = Uuid::new_v4();
        let columns: Vec<&str> = wanted.filters.iter().map(|filter| filter.column.as_str()).collect();
        let operators: Vec<&str> = wanted.filters.iter().map(|filter| filter.operator).collect();
        let values: Vec<&str> = wanted.filters.iter().map(|filter| filter.value.as_str()).collect();
        let negates: Vec<bool> = wanted.filters.iter().map(|filter| filter.negate).collect();
        let tables = sqlx::query_scalar::<_, i64>(
            "insert into realtime.subscription (subscription_id, entity, filters, claims, action_filter, selected_columns)
             select $1, c.oid,
                    (select coalesce(array_agg((f.c, f.o::realtime.equality_op, f.v, f.n)::realtime.user_defined_filter), '{}')
                       from unnest($2::text[], $3::text[], $4::text[], $5::boolean[]) as f (c, o, v, n)),
                    $6, $7, $8
               from pg_publication_tables p
               join pg_namespace s on s.nspname = p.schemaname
               join pg_class c on c.relnamespace = s.oid and c.relname = p.tablename
              where p.pubname = $9 and $10 in ('*', p.schemaname) and $11 in ('*', p.tablename)
             returning entity::oid::bigint",
        )
        .bind(id)
        .bind(columns)
        .bind(operators)
        .bind(values)
        .bind(negates)
        .bind(Json(claims))
        .bind(wanted.event)
        .bind(&wanted.select)
        .bind(PUBLICATION)
        .bind(&wanted.schema)
        .bind(&wanted.table)
        .fetch_all(&self.inner.pool)
        .await
        .map_err(|error| match error.as_database_error() {
            Some(error) => Unheard::Refused(format!(
                "Unable to subscribe to changes with given parameters. An exception happened so please check your connect parameters: {}. \
                 Exception: {}",
                wanted.shown(),
                exception(error)
            )),
            None => Unheard::Away("Realtime was unable to connect to the project database"),
        })?;
        if tables.is_empty() {
            return Err(Unheard::Refused(format!(
                "Unable to subscribe to changes with given parameters. Please check Realtime is enabled for the given connect parameters: {}",
                wanted.shown()
            )));
        }
        let tables = tables.into_iter().filter_map(|oid| u32::try_from(oid).ok()).collect();
        Ok(Group { id, person: person(claims), tables, listeners: HashMap::new() })
    }

    /// Tells all who listen that changes may be missing.
    pub fn tell_interrupted(&self) {
        let mut told = HashSet::new();
        for (_, group) in self.state().groups.values() {
            for (listener, _) in group.listeners.values() {
                if told.insert(listener.member) {
                    listener.system(
                        "error",
                        "The stream of changes was interrupted: changes may be missing. Fetch what you show again",
                    );
                }
            }
        }
    }

    async fn forget(self, mut gone: mpsc::UnboundedReceiver<Uuid>, stop: CancellationToken) {
        let mut ids = Vec::new();
        while tokio::select! {
            count = gone.recv_many(&mut ids, 1000) => count > 0,
            () = stop.cancelled() => false,
        } {
            let sql = sqlx::query("delete from realtime.subscription where subscription_id = any ($1)").bind(&ids);
            if let Err(error) = sql.execute(&self.inner.pool).await {
                // They cost a look at each change until the next start; nobody hears them.
                tracing::warn!(%error, "subscriptions that ended are still in realtime.subscription");
            }
            ids.clear();
        }
    }

    async fn hand_out(self, mut waiting: mpsc::Receiver<Changed>, stop: CancellationToken) {
        let mut batch = Vec::new();
        while tokio::select! {
            count = waiting.recv_many(&mut batch, BATCH) => count > 0,
            () = stop.cancelled() => false,
        } {
            self.decide(&batch).await;
            batch.clear();
            if std::mem::take(&mut self.state().lost) {
                self.tell_interrupted();
            }
        }
    }

    /// Asks who may see these, all in one exchange; one by one if that fails, so that a change that can not be decided hides no other.
    async fn decide(&self, batch: &[Changed]) {
        if self.ask(batch).await.is_ok() {
            return;
        }
        for changed in batch {
            let mut outcome = self.ask(std::slice::from_ref(changed)).await;
            if outcome.as_ref().is_err_and(|error| error.as_database_error().is_none()) {
                tokio::time::sleep(RETRY).await;
                outcome = self.ask(std::slice::from_ref(changed)).await;
            }
            if let Err(error) = outcome {
                let Relation { schema, table, .. } = &*changed.relation;
                tracing::warn!(%error, table = %format!("{schema}.{table}"), "nobody was told of a change: who may see it can not be decided");
                self.state().lost = true;
            }
        }
    }

    async fn ask(&self, batch: &[Changed]) -> sqlx::Result<()> {
        let changes: Vec<Json<Value>> = batch.iter().map(|changed| Json(wal(changed))).collect();
        let answers: Vec<(String, Vec<Uuid>, Option<Vec<String>>)> =
            sqlx::query_as("select d.wal, d.subscription_ids, d.errors from realtime.hub_decide($1, $2) d")
                .bind(changes)
                .bind(MAX_RECORD)
                .fetch_all(&self.inner.pool)
                .await?;
        for (wal, groups, errors) in answers {
            self.send(&wal, &groups, errors.as_deref().unwrap_or_default());
        }
        Ok(())
    }

    fn send(&self, wal: &str, groups: &[Uuid], errors: &[String]) {
        let errors = if errors.is_empty() { Value::Null } else { json!(errors) };
        let data = format!(r#"{},"errors":{errors}}}"#, wal.trim_end().strip_suffix('}').unwrap_or(wal));
        let mut to: HashMap<MemberId, (Listener, Vec<i64>)> = HashMap::new();
        {
            let state = self.state();
            for (_, group) in groups.iter().filter_map(|group| state.groups.get(group)) {
                for (member, (listener, ids)) in &group.listeners {
                    to.entry(*member).or_insert_with(|| (listener.clone(), Vec::new())).1.extend(ids);
                }
            }
        }
        let mut written: HashMap<(Version, Arc<str>, Vec<i64>), Packet> = HashMap::new();
        for (listener, mut ids) in to.into_values() {
            ids.sort_unstable();
            ids.dedup();
            let Listener { outbox, version, topic, .. } = listener;
            let packet = written.entry((version, topic, ids)).or_insert_with_key(|(version, topic, ids)| {
                let payload = format!(r#"{{"ids":{},"data":{data}}}"#, json!(ids));
                frame::text(*version, &Value::Null, &Value::Null, topic, "postgres_changes", &payload).into()
            });
            outbox.push(packet.clone());
        }
    }
}

/// As Realtime's driver writes what Postgres said: with the name of its code.
fn exception(error: &dyn sqlx::error::DatabaseError) -> String {
    let code = error.code().unwrap_or_default();
    let name = match &*code {
        "P0001" => "raise_exception",
        "22P02" => "invalid_text_representation",
        "22003" => "numeric_value_out_of_range",
        "22007" => "invalid_datetime_format",
        "22008" => "datetime_field_overflow",
        "2201B" => "invalid_regular_expression",
        "42501" => "insufficient_privilege",
        "42704" => "undefined_object",
        "42804" => "datatype_mismatch",
        "42883" => "undefined_function",
        _ => return format!("ERROR {code} {}", error.message()),
    };
    format!("ERROR {code} ({name}) {}", error.message())
}

impl Listener {
    /// Tells how its subscription does.
    pub fn system(&self, status: &str, message: &str) {
        let name = self.topic.strip_prefix("realtime:").unwrap_or(&self.topic);
        let payload = json!({"extension": "postgres_changes", "status": status, "message": message, "channel": name});
        let text = frame::text(self.version, &Value::Null, &Value::Null, &self.topic, "system", &payload.to_string());
        self.outbox.push(text.into());
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.changes.state();
        for id in &self.groups {
            let empty = state.groups.get_mut(id).is_some_and(|(_, group)| {
                group.listeners.remove(&self.member);
                group.listeners.is_empty()
            });
            if empty && let Some((key, group)) = state.groups.remove(id) {
                state.keys.remove(&key);
                if let Some(count) = state.people.get_mut(&group.person) {
                    *count -= 1;
                    if *count == 0 {
                        state.people.remove(&group.person);
                    }
                }
                for table in group.tables {
                    if let Some(count) = state.tables.get_mut(&table) {
                        *count -= 1;
                        if *count == 0 {
                            state.tables.remove(&table);
                        }
                    }
                }
                // Without the task that removes them the process ends.
                self.changes.inner.unused.send(*id).ok();
            }
        }
    }
}

/// A change in the shape of wal2json's second version.
fn wal(changed: &Changed) -> Value {
    let Changed { relation, change, committed } = changed;
    let (action, new, old) = match change {
        Change::Insert(new) => ("I", Some(new), None),
        Change::Update(old, new) => ("U", Some(new), old.as_ref().or(Some(new))),
        Change::Delete(old) => ("D", None, Some(old)),
    };
    json!({
        "action": action,
        "oid": relation.oid,
        "schema": relation.schema,
        "table": relation.table,
        "timestamp": timestamp(*committed),
        "columns": new.map(|row| values(relation, row, |_| true)),
        "identity": old.map(|row| values(relation, row, |key| key)),
    })
}

fn values(relation: &Relation, row: &Row, which: impl Fn(bool) -> bool) -> Vec<Value> {
    relation
        .columns
        .iter()
        .zip(row)
        .filter(|(column, cell)| which(column.key) && **cell != Cell::Unchanged)
        .map(|(column, cell)| {
            let value = match cell {
                Cell::Text(text) => Value::from(String::from_utf8_lossy(text)),
                Cell::Null | Cell::Unchanged => Value::Null,
            };
            json!({"name": column.name, "typeoid": column.type_oid, "value": value})
        })
        .collect()
}

/// Microseconds since 2000, as Postgres reads a time.
fn timestamp(micros: i64) -> String {
    const EPOCH_2000: i64 = 946_684_800_000_000;
    chrono::DateTime::from_timestamp_micros(micros + EPOCH_2000).unwrap_or_default().to_rfc3339()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::realtime::pgoutput::Column;
    use bytes::Bytes;

    #[test]
    fn a_change_is_written_in_the_shape_that_apply_rls_reads() {
        let column = |name: &str, type_oid, key| Column { name: name.into(), type_oid, key };
        let relation = Relation {
            oid: 7,
            schema: "public".into(),
            table: "note".into(),
            columns: vec![column("id", 23, true), column("text", 25, false), column("long", 25, false)],
            full: false,
        };
        let text = |text: &'static str| Cell::Text(Bytes::from_static(text.as_bytes()));
        let change = Change::Update(None, vec![text("1"), Cell::Null, Cell::Unchanged]);
        assert_eq!(
            wal(&Changed { relation: Arc::new(relation), change, committed: 1_500_000 }),
            json!({
                "action": "U", "oid": 7, "schema": "public", "table": "note", "timestamp": "2000-01-01T00:00:01.500+00:00",
                "columns": [{"name": "id", "typeoid": 23, "value": "1"}, {"name": "text", "typeoid": 25, "value": null}],
                "identity": [{"name": "id", "typeoid": 23, "value": "1"}],
            })
        );
    }
}
