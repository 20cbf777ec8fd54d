//! Who may hear and say what on a private topic: asked of the policies on `realtime.messages`, as the caller.

use super::rooms::Hears;
use crate::keys::Claims;
use sqlx::{PgPool, types::Json};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Asks policies.
#[derive(Clone, Debug)]
pub struct Authoriser {
    pool: PgPool,
    /// Thousands join at once, or are asked about when the stream is mended: they queue here, without the pool's time limit, and
    /// leave connections to others.
    turns: Arc<Semaphore>,
}

/// How many are asked about at once.
const TURNS: usize = 3;

/// What the policies answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rights {
    /// What it may hear.
    pub hears: Hears,
    /// What it may say.
    pub says: Hears,
}

impl Rights {
    /// Of a public channel, where policies are not asked.
    pub const PUBLIC: Self =
        Self { hears: Hears { broadcast: true, presence: true }, says: Hears { broadcast: true, presence: true } };

    /// Whether it may be in the room at all.
    #[must_use]
    pub fn hears_anything(self) -> bool {
        self.hears.broadcast || self.hears.presence
    }
}

impl Authoriser {
    /// Over connections of the Realtime server's own role.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool, turns: Arc::new(Semaphore::new(TURNS)) }
    }

    /// The rights of the bearer of verified claims. A policy that fails grants nothing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn ask(&self, topic: &str, claims: &Claims) -> sqlx::Result<Rights> {
        // Never closed.
        let _turn = self.turns.acquire().await.ok();
        let (hears_broadcast, hears_presence, says_broadcast, says_presence, fault): (
            bool,
            bool,
            bool,
            bool,
            Option<String>,
        ) = sqlx::query_as("select a.* from realtime.hub_authorise($1, $2) a")
            .bind(topic)
            .bind(Json(claims))
            .fetch_one(&self.pool)
            .await?;
        tell(topic, fault.as_deref());
        Ok(Rights {
            hears: Hears { broadcast: hears_broadcast, presence: hears_presence },
            says: Hears { broadcast: says_broadcast, presence: says_presence },
        })
    }

    /// Whether what the bearer says is kept, if they ask for that.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn may_persist(&self, topic: &str, claims: &Claims) -> sqlx::Result<bool> {
        // Never closed.
        let _turn = self.turns.acquire().await.ok();
        let (allowed, fault): (bool, Option<String>) =
            sqlx::query_as("select m.* from realtime.hub_may_persist($1, $2) m")
                .bind(topic)
                .bind(Json(claims))
                .fetch_one(&self.pool)
                .await?;
        tell(topic, fault.as_deref());
        Ok(allowed)
    }
}

fn tell(topic: &str, fault: Option<&str>) {
    if let Some(fault) = fault {
        tracing::warn!(
            realtime.topic = topic,
            policy.fault = %fault,
            "a policy on realtime.messages failed; it grants nothing"
        );
    }
}
