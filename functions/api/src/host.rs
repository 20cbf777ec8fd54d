//! What every request needs of its host: the database, the keys that tokens are verified by, the providers' secrets, the limits.

use std::{fmt, sync::Arc, time::Duration};

use hub::db::Db;
use hub_edge::Secrets;
use tokio::sync::Semaphore;

use crate::{limit::Limit, token::Verifier};

/// All bodies that are being read or stored, in KB: ten of the largest at once, and memory stays flat.
const ROOM: usize = 256 * 1024;
/// A body arrives within this, or it is given up: slow ones hold memory.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Where a request comes from, as its host knows it: an extension of the request.
#[derive(Clone, Debug)]
pub struct Address(pub Arc<str>);

/// The functions, over a database as the role that may speak for others (`postgres`). Cheap to clone.
#[derive(Clone)]
pub struct Api {
    pub(crate) db: Db,
    pub(crate) verifier: Verifier,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) limit: Option<Limit>,
    pub(crate) room: Arc<Semaphore>,
    pub(crate) body_within: Duration,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Api")
    }
}

impl Api {
    /// The functions over this database, for bearers of tokens that `verifier` knows, and for providers whose `secrets` are set.
    #[must_use]
    pub fn new(db: Db, verifier: Verifier, secrets: Secrets) -> Self {
        Self {
            db,
            verifier,
            secrets: Arc::new(secrets),
            limit: None,
            room: Arc::new(Semaphore::new(ROOM)),
            body_within: BODY_WITHIN,
        }
    }

    /// The same, for bodies that arrive within this; ten seconds unless said.
    #[must_use]
    pub fn body_within(mut self, most: Duration) -> Self {
        self.body_within = most;
        self
    }

    /// The same, for callers that may not ask more often than this.
    #[must_use]
    pub fn limited(mut self, limit: Option<Limit>) -> Self {
        self.limit = limit;
        self
    }
}
