//! What the database said, as `realtime.messages` keeps it for three days: replayed to those who come late, and to everybody after
//! the stream was interrupted.

use super::{
    pgoutput::{Cell, Relation, Row},
    rooms::{RoomKey, Said},
};
use bytes::Bytes;
use chrono::NaiveDateTime;
use hub::realtime::frame::{Body, Broadcast};
use sqlx::PgPool;
use uuid::Uuid;

/// A row of `realtime.messages`.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its key.
    pub id: Uuid,
    /// The room it is for.
    pub room: RoomKey,
    /// When it was inserted, which is before it was committed. UTC.
    pub inserted_at: NaiveDateTime,
    event: String,
    body: Body,
}

type Fields = (Uuid, String, String, bool, NaiveDateTime, Option<String>, Option<Vec<u8>>);

const COLUMNS: &str = "m.id, m.topic, m.event, m.private, m.inserted_at, m.payload::text, m.binary_payload";

impl Stored {
    /// What the stream says of an inserted row. `None`: it is no broadcast.
    #[must_use]
    pub fn read(relation: &Relation, row: &Row) -> Option<Self> {
        let cell = |name: &str| {
            let at = relation.columns.iter().position(|column| column.name == name)?;
            match row.get(at)? {
                Cell::Text(text) => std::str::from_utf8(text).ok().map(|_| text.clone()),
                Cell::Null | Cell::Unchanged => None,
            }
        };
        let text = |name: &str| cell(name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        // What was heard when it was said is only kept.
        if text("extension")? != "broadcast" || text("skip_broadcast").as_deref() == Some("t") {
            return None;
        }
        let inserted_at = NaiveDateTime::parse_from_str(&text("inserted_at")?, "%Y-%m-%d %H:%M:%S%.f").ok()?;
        let private = text("private").as_deref() == Some("t");
        Self::new(
            text("id")?.parse().ok()?,
            (text("topic")?, private),
            text("event")?,
            inserted_at,
            cell("payload"),
            text("binary_payload").and_then(|hex| unhex(&hex)),
        )
    }

    fn new(
        id: Uuid,
        (topic, private): (String, bool),
        event: String,
        inserted_at: NaiveDateTime,
        json: Option<Bytes>,
        binary: Option<Bytes>,
    ) -> Option<Self> {
        let body = match binary {
            Some(binary) => Body::Binary(binary),
            None => Body::Json(json?),
        };
        Some(Self { id, room: RoomKey { private, topic: topic.into() }, inserted_at, event, body })
    }

    fn from_fields((id, topic, event, private, inserted_at, json, binary): Fields) -> Option<Self> {
        Self::new(id, (topic, private), event, inserted_at, json.map(Bytes::from), binary.map(Bytes::from))
    }

    /// As it is broadcast.
    #[must_use]
    pub fn said(&self) -> Said {
        Said::Broadcast(self.broadcast(format!(r#"{{"id":"{}"}}"#, self.id)), Some(self.id))
    }

    /// As it is replayed.
    #[must_use]
    pub fn replayed(&self) -> Broadcast {
        self.broadcast(format!(r#"{{"replayed":true,"id":"{}"}}"#, self.id))
    }

    fn broadcast(&self, meta: String) -> Broadcast {
        Broadcast { event: self.event.clone(), body: self.body.clone(), meta: Some(meta) }
    }
}

/// What a topic was told since a time in milliseconds: at most the newest `limit`, oldest first, and the ids of those before them, which
/// who joins now did not ask for and may still be on their way by the stream.
///
/// # Errors
/// When the database does not answer.
pub async fn replay(pool: &PgPool, topic: &str, since: i64, limit: i64) -> sqlx::Result<(Vec<Stored>, Vec<Uuid>)> {
    const BEFORE: i64 = 1000;
    let mut rows: Vec<Fields> = sqlx::query_as(
        "select m.id, m.topic, m.event, m.private, m.inserted_at, case when m.n <= $3 then m.payload::text end,
                case when m.n <= $3 then m.binary_payload end
           from (select m.*, row_number() over (order by m.inserted_at desc, m.tableoid desc, m.ctid desc) as n
                   from realtime.messages m
                  where m.topic = $1 and m.private and m.extension = 'broadcast' and m.event is not null
                    and m.inserted_at >= to_timestamp($2::double precision / 1000) at time zone 'utc'
                    and m.inserted_at < (now() at time zone 'utc') + interval '1 minute'
                    and (m.expires_at is null or m.expires_at > now() at time zone 'utc')
                  order by m.inserted_at desc, m.tableoid desc, m.ctid desc
                  limit $3 + $4) m
          order by m.n",
    )
    .bind(topic)
    .bind(since)
    .bind(limit)
    .bind(BEFORE)
    .fetch_all(pool)
    .await?;
    let before = rows.split_off(rows.len().min(usize::try_from(limit).unwrap_or(0)));
    Ok((
        rows.into_iter().rev().filter_map(Stored::from_fields).collect(),
        before.into_iter().map(|row| row.0).collect(),
    ))
}

/// What these topics were told since a time, oldest first, at most `limit`.
///
/// # Errors
/// When the database does not answer.
pub async fn since(pool: &PgPool, topics: &[String], since: NaiveDateTime, limit: i64) -> sqlx::Result<Vec<Stored>> {
    let rows: Vec<Fields> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {COLUMNS}
           from realtime.messages m
          where m.topic = any ($1) and m.extension = 'broadcast' and m.inserted_at >= $2 and m.event is not null
            and not m.skip_broadcast
          order by m.inserted_at, m.tableoid, m.ctid
          limit $3"
    )))
    .bind(topics)
    .bind(since)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().filter_map(Stored::from_fields).collect())
}

/// Bytes as Postgres writes them: `\x` and two digits each.
fn unhex(text: &str) -> Option<Bytes> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect::<Option<Vec<u8>>>()
        .map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytea_is_read_from_hex_digits() {
        assert_eq!(unhex("\\x00ffA1"), Some(Bytes::from_static(&[0, 255, 0xa1])));
        assert_eq!(unhex("\\x"), Some(Bytes::new()));
        for bad in ["", "00", "\\x0", "\\xzz"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
