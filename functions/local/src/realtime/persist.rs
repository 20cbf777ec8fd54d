//! Broadcasts that who sends them wants kept: on private channels, for those who come later and ask for what was said. Whether they are is
//! the policies' to say, on `realtime.messages`, for rows with the extension `persistence`.

use hub::realtime::frame::{Body, Broadcast};
use serde_json::{Map, Value};
use sqlx::PgPool;
use std::collections::HashMap;
use uuid::Uuid;

/// Partitions are dropped after this.
const MOST_SECONDS: u32 = 72 * 3600;

/// How long a broadcast is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Persist {
    seconds: u32,
}

/// A time that is none, or longer than anything is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ttl must be a positive integer of seconds from 1 to {MOST_SECONDS}")]
pub struct InvalidTtl;

impl Persist {
    /// What stands beside a broadcast: `{"persist": true}` or `{"persist": {"ttl": seconds}}`. `None`: it is not to be kept.
    ///
    /// # Errors
    /// [`InvalidTtl`].
    pub fn beside(meta: Option<&str>) -> Result<Option<Self>, InvalidTtl> {
        let meta: Option<Map<String, Value>> = meta.and_then(|meta| serde_json::from_str(meta).ok());
        meta.as_ref().and_then(|meta| meta.get("persist")).map_or(Ok(None), Self::read)
    }

    /// What a query asks for: `persist=true` or `persist[ttl]=seconds`.
    ///
    /// # Errors
    /// [`InvalidTtl`].
    pub fn in_query(query: &HashMap<String, String>) -> Result<Option<Self>, InvalidTtl> {
        match (query.get("persist[ttl]"), query.get("persist")) {
            (Some(ttl), _) => Self::lasting(&Value::from(ttl.as_str())).map(Some),
            (None, Some(asked)) => Self::read(&Value::from(asked.as_str())),
            (None, None) => Ok(None),
        }
    }

    fn read(asked: &Value) -> Result<Option<Self>, InvalidTtl> {
        let most = Some(Self { seconds: MOST_SECONDS });
        match asked {
            Value::Null | Value::Bool(false) => Ok(None),
            Value::Bool(true) => Ok(most),
            Value::String(text) if text == "true" => Ok(most),
            Value::String(text) if text == "false" => Ok(None),
            Value::Object(options) => match options.get("ttl") {
                None | Some(Value::Null) => Ok(most),
                Some(ttl) => Self::lasting(ttl).map(Some),
            },
            Value::String(_) | Value::Number(_) | Value::Array(_) => Err(InvalidTtl),
        }
    }

    fn lasting(ttl: &Value) -> Result<Self, InvalidTtl> {
        let seconds =
            ttl.as_i64().or_else(|| ttl.as_str()?.parse().ok()).and_then(|seconds| u32::try_from(seconds).ok());
        seconds.filter(|seconds| (1..=MOST_SECONDS).contains(seconds)).map(|seconds| Self { seconds }).ok_or(InvalidTtl)
    }

    /// Keeps it, and gives its id. It was heard by then: the stream does not tell of it again, and what can not be kept was heard all the same.
    pub async fn keep(self, pool: &PgPool, topic: &str, broadcast: &Broadcast) -> Option<Uuid> {
        let kept = self.store(pool, topic, broadcast).await;
        kept.inspect_err(|error| tracing::warn!(%error, "a broadcast was heard and could not be kept")).ok()
    }

    async fn store(self, pool: &PgPool, topic: &str, broadcast: &Broadcast) -> sqlx::Result<Uuid> {
        let (json, binary) = match &broadcast.body {
            Body::Json(json) => (Some(String::from_utf8_lossy(json)), None),
            Body::Binary(bytes) => (None, Some(&bytes[..])),
        };
        sqlx::query_scalar(
            "insert into realtime.messages (topic, extension, event, payload, binary_payload, private, skip_broadcast, expires_at)
             values ($1, 'broadcast', $2, $3::jsonb, $4, true, true, (now() at time zone 'utc') + make_interval(secs => $5))
             returning id",
        )
        .bind(topic)
        .bind(&broadcast.event)
        .bind(json)
        .bind(binary)
        .bind(f64::from(self.seconds))
        .fetch_one(pool)
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_beside_a_broadcast_or_in_a_query() {
        let kept = |seconds| Ok(Some(Persist { seconds }));
        for (meta, asked) in [
            (r#"{"persist":true}"#, kept(259_200)),
            (r#"{"persist":{}}"#, kept(259_200)),
            (r#"{"persist":{"ttl":null}}"#, kept(259_200)),
            (r#"{"persist":{"ttl":60}}"#, kept(60)),
            (r#"{"persist":{"ttl":"60"}}"#, kept(60)),
            (r#"{"persist":false}"#, Ok(None)),
            (r#"{"id":"x"}"#, Ok(None)),
            ("[]", Ok(None)),
            (r#"{"persist":{"ttl":0}}"#, Err(InvalidTtl)),
            (r#"{"persist":{"ttl":259201}}"#, Err(InvalidTtl)),
            (r#"{"persist":{"ttl":1.5}}"#, Err(InvalidTtl)),
            (r#"{"persist":{"ttl":"soon"}}"#, Err(InvalidTtl)),
            (r#"{"persist":7}"#, Err(InvalidTtl)),
        ] {
            assert_eq!(Persist::beside(Some(meta)), asked, "{meta}");
        }
        assert_eq!(Persist::beside(None), Ok(None));
        let query = |pairs: &[(&str, &str)]| {
            Persist::in_query(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        assert_eq!(query(&[]), Ok(None));
        assert_eq!(query(&[("persist", "true")]), kept(259_200));
        assert_eq!(query(&[("persist", "false")]), Ok(None));
        assert_eq!(query(&[("persist[ttl]", "5")]), kept(5));
        assert_eq!(query(&[("persist[ttl]", "-5")]), Err(InvalidTtl));
    }
}
