//! One channel of one socket: how it was joined, what its bearer may do, until when its token counts.

use super::{authorise::Rights, changes::Subscription, filter::Wanted, rooms::Membership};
use crate::keys::Claims;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use uuid::Uuid;

/// The token is looked at again at least this often.
const CONFIRM: Duration = Duration::from_secs(5 * 60);

/// Events in a window of time.
pub struct Rate {
    most: u32,
    window: Duration,
    began: Instant,
    count: u32,
}

impl Rate {
    /// At most `most` in a window.
    #[must_use]
    pub fn new(most: u32, window: Duration) -> Self {
        Self { most, window, began: Instant::now(), count: 0 }
    }

    /// Of calls that change presence.
    #[must_use]
    pub fn of_presence() -> Self {
        Self::new(5, Duration::from_secs(30))
    }

    /// Counts one; tells whether it is still within the limit.
    pub fn allows(&mut self) -> bool {
        self.allows_at(Instant::now())
    }

    fn allows_at(&mut self, now: Instant) -> bool {
        if now.duration_since(self.began) >= self.window {
            (self.began, self.count) = (now, 0);
        }
        self.count += 1;
        self.count <= self.most
    }
}

/// The payload of `phx_join`. What is not understood counts as not said, as on Supabase.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Join {
    /// How the channel is to be.
    #[serde(deserialize_with = "lenient")]
    pub config: Config,
    /// Whose it is.
    #[serde(deserialize_with = "lenient")]
    access_token: Option<String>,
    #[serde(deserialize_with = "lenient")]
    user_token: Option<String>,
}

/// `config`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Whether policies decide.
    #[serde(deserialize_with = "flag")]
    pub private: bool,
    /// Of broadcasts.
    #[serde(deserialize_with = "lenient")]
    pub broadcast: Broadcasts,
    /// Of presence.
    #[serde(deserialize_with = "lenient")]
    pub presence: Presences,
    /// Rows to listen to.
    #[serde(deserialize_with = "lenient")]
    pub postgres_changes: Vec<Value>,
    /// How to begin with them.
    #[serde(deserialize_with = "lenient")]
    pub postgres_changes_options: ChangesOptions,
}

/// `config.postgres_changes_options`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ChangesOptions {
    #[serde(deserialize_with = "flag")]
    wait: bool,
    #[serde(deserialize_with = "lenient")]
    timeout: Option<i64>,
}

impl ChangesOptions {
    /// How long the answer to the join waits until changes flow, if it does.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        const USUAL: u64 = 15_000;
        const MOST: u64 = 20_000;
        let asked = self.timeout.and_then(|timeout| u64::try_from(timeout).ok()).filter(|timeout| *timeout > 0);
        self.wait.then(|| Duration::from_millis(asked.unwrap_or(USUAL).min(MOST)))
    }
}

/// `config.broadcast`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Broadcasts {
    /// Own broadcasts are answered.
    #[serde(deserialize_with = "flag")]
    pub ack: bool,
    /// Own broadcasts are heard.
    #[serde(rename = "self", deserialize_with = "flag")]
    pub to_self: bool,
    /// To be told when broadcasts of the database flow.
    #[serde(deserialize_with = "flag")]
    pub replication_ready: bool,
    /// What was said before.
    pub replay: Option<Value>,
}

/// `config.presence`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Presences {
    /// Wants to know who is there.
    #[serde(deserialize_with = "flag")]
    pub enabled: bool,
    key: Option<Value>,
}

fn lenient<'de, D: Deserializer<'de>, T: Default + for<'a> Deserialize<'a>>(deserializer: D) -> Result<T, D::Error> {
    Ok(T::deserialize(Value::deserialize(deserializer)?).unwrap_or_default())
}

/// A boolean, also as text.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Bool(flag) => flag,
        Value::String(text) => text.eq_ignore_ascii_case("true"),
        _ => false,
    })
}

impl Join {
    /// Its token. A publishable key is none: the socket's own key counts then.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        let token = self.user_token.as_deref().or(self.access_token.as_deref());
        token.filter(|token| !token.is_empty() && !token.starts_with("sb_"))
    }
}

impl Presences {
    /// Whether the key says that somebody else is here: on the hub's own topics a uuid is a person's, and only their own token says so. Any other key is
    /// a name of the client's.
    #[must_use]
    pub fn poses(&self, topic: &str, subject: Option<&str>) -> bool {
        let ours = ["channel:", "thread:", "task:", "device:"].iter().any(|kind| topic.starts_with(kind));
        ours && Uuid::parse_str(&self.key()).is_ok()
            && self.key.as_ref().and_then(Value::as_str).is_some_and(|key| !key.is_empty())
            && subject.is_none_or(|subject| !subject.eq_ignore_ascii_case(&self.key()))
    }

    /// Under which key it shows itself.
    #[must_use]
    pub fn key(&self) -> String {
        match &self.key {
            Some(Value::String(key)) if !key.is_empty() => key.clone(),
            Some(key @ Value::Number(_)) => key.to_string(),
            _ => Uuid::new_v4().to_string(),
        }
    }
}

/// `{since, limit}` of a replay.
#[must_use]
pub fn replay_of(replay: &Value) -> Option<(i64, i64)> {
    const MOST: i64 = 25;
    // A time that Postgres and JavaScript both know.
    const LATEST: i64 = 8_640_000_000_000_000;
    let since = replay.get("since")?.as_i64().filter(|since| (0..=LATEST).contains(since))?;
    let limit = match replay.get("limit") {
        None | Some(Value::Null) => MOST,
        Some(limit) => limit.as_i64()?.clamp(1, MOST),
    };
    Some((since, limit))
}

/// Verified claims and the token they are of.
#[derive(Clone)]
pub struct Bearer {
    /// The token; compared, never shown.
    pub token: SecretString,
    /// What it says.
    pub claims: Claims,
    /// When it ends, in seconds since 1970.
    pub expires: i64,
}

impl Bearer {
    /// Whose it is.
    #[must_use]
    pub fn subject(&self) -> Option<Arc<str>> {
        self.claims.get("sub").and_then(Value::as_str).map(Arc::from)
    }

    /// When to look at it again.
    #[must_use]
    pub fn confirm_at(&self) -> Instant {
        let left = self.expires.saturating_sub(chrono::Utc::now().timestamp());
        Instant::now() + CONFIRM.min(Duration::from_secs(u64::try_from(left).unwrap_or(0)))
    }
}

/// A channel that was joined.
pub struct Channel {
    /// In which room.
    pub membership: Membership,
    /// The join that frames of the server name.
    pub join_ref: Value,
    /// By whom.
    pub bearer: Bearer,
    /// When the token is looked at again.
    pub confirm_at: Instant,
    /// What it may do.
    pub rights: Rights,
    /// Whether what it says may be kept; asked when it first wants that.
    pub may_persist: Option<bool>,
    /// Answer own broadcasts.
    pub ack: bool,
    /// Hear own broadcasts.
    pub to_self: bool,
    /// Shows itself under this key.
    pub presence_key: String,
    /// How often it changed what it shows.
    pub presence_calls: Rate,
    /// How much it shows by presence, in bytes of JSON.
    pub shown: usize,
    /// To be told once that broadcasts of the database flow.
    pub tell_ready: bool,
    /// What it asked to hear of rows.
    pub wanted: Vec<(i64, Wanted)>,
    /// That it hears them.
    pub subscription: Option<Subscription>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_odd_join_is_read_as_far_as_possible() {
        let join: Join = serde_json::from_value(json!({
            "config": {"private": "true", "broadcast": {"self": true, "ack": "no"}, "presence": {"key": "", "enabled": true},
                       "postgres_changes": [{"event": "*"}], "later": 1},
            "access_token": "t", "version": "x",
        }))
        .unwrap();
        assert!(
            join.config.private
                && join.config.broadcast.to_self
                && !join.config.broadcast.ack
                && join.config.presence.enabled
        );
        assert_eq!(join.config.postgres_changes.len(), 1);
        assert_eq!(join.token(), Some("t"));
        for odd in [
            json!({}),
            json!({"config": 5, "access_token": 7}),
            json!({"config": {"broadcast": [], "postgres_changes": null}}),
        ] {
            let join: Join = serde_json::from_value(odd).unwrap();
            assert!(!join.config.private && join.token().is_none() && join.config.postgres_changes.is_empty());
        }
        let waits = |options: Value| {
            let join: Join = serde_json::from_value(json!({"config": {"postgres_changes_options": options}})).unwrap();
            join.config.postgres_changes_options.patience().map(|patience| patience.as_millis())
        };
        assert_eq!(waits(json!({"wait": true})), Some(15_000));
        assert_eq!(waits(json!({"wait": "true", "timeout": 100})), Some(100));
        assert_eq!(waits(json!({"wait": true, "timeout": 60_000})), Some(20_000), "no longer than the server wants to");
        assert_eq!(waits(json!({"wait": true, "timeout": -1})), Some(15_000));
        for not in [json!(null), json!({}), json!({"wait": false, "timeout": 5}), json!("wait")] {
            assert_eq!(waits(not), None);
        }
        let key: Join = serde_json::from_value(json!({"access_token": "sb_publishable_x"})).unwrap();
        assert_eq!(key.token(), None);
    }

    #[test]
    fn a_replay_needs_a_time_and_has_at_most_25_messages() {
        assert_eq!(replay_of(&json!({"since": 5})), Some((5, 25)));
        assert_eq!(replay_of(&json!({"since": 5, "limit": 100})), Some((5, 25)));
        assert_eq!(replay_of(&json!({"since": 5, "limit": 0})), Some((5, 1)));
        for bad in [json!({}), json!({"since": "x"}), json!({"since": -1}), json!({"since": 5, "limit": "x"}), json!(7)]
        {
            assert_eq!(replay_of(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_rate_limit_starts_again_after_its_window() {
        let mut rate = Rate::new(2, Duration::from_secs(1));
        let now = rate.began;
        assert!(rate.allows_at(now) && rate.allows_at(now) && !rate.allows_at(now));
        assert!(rate.allows_at(now + Duration::from_secs(1)));
    }
}
