//! The keeper: what the hub needs somebody to do who is no device of it. It keeps time (threads decay, leases run out, feeds are
//! posted) and does the errands that the database tells of. Any number of keepers may run.
//!
//! Nothing is decided here: what is due, whose it is, and what becomes of it, is the database's to say.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails"))]

mod deliver;
mod errand;
mod intake;
mod sweep;
mod time;

use std::time::Duration;

use hub::{Hub, wake::Wake};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::errand::{Ends, Errand};
pub use crate::{deliver::Delivery, sweep::SweepSource};

/// What makes an errand for a keeper, where the keeper is set up to do it.
type Maker = fn(&Keeper) -> Option<Box<dyn Errand>>;

/// Every errand: what a NOTIFY on `hub_errands` calls it, and who does it.
const ERRANDS: &[(&str, Maker)] = &[
    ("outbox", deliver::errand),  // rows of hub_outbox go out
    ("sweep", sweep::errand),     // Koji's market sweeps
    ("webhooks", intake::errand), // stored deliveries become tasks
];

/// One process's keeper. Make it with [`Keeper::new`], change what is to differ, then [`Keeper::start`].
#[derive(Debug, Clone)]
pub struct Keeper {
    /// The hub it keeps.
    pub hub: Hub,
    /// Where Koji's market sweeps look.
    pub sweeps: SweepSource,
    /// Where and as whom it delivers what goes out; none: not at all.
    pub delivery: Option<Delivery>,
    /// How long deliveries that are under way at the end have to get through.
    pub drain: Duration,
}

impl Keeper {
    /// A keeper that looks nowhere and delivers nothing.
    #[must_use]
    pub fn new(hub: Hub) -> Self {
        Self { hub, sweeps: SweepSource::None, delivery: None, drain: Duration::from_secs(30) }
    }

    /// Begins, if this caller may: over Postgres or with the service key. It is told by `wake`. Once `shutdown` is cancelled nothing
    /// more is delivered; the rest goes on until [`Keeping::end`]. Must be called inside a runtime.
    #[must_use]
    pub fn start(self, wake: &Wake, shutdown: &CancellationToken) -> Keeping {
        let ends = Ends { begin: shutdown.child_token(), now: CancellationToken::new() };
        let mut tasks = JoinSet::new();
        if self.hub.keeps_time() {
            for (name, errand) in ERRANDS {
                if let Some(errand) = errand(&self) {
                    tasks.spawn(errand.run(wake.errands(&[name]), ends.clone()));
                }
            }
            tasks.spawn(time::keep(self.hub, wake.errands(time::TOLD), ends.now.clone()));
        }
        Keeping { tasks, ends }
    }
}

/// A keeper at work. Dropped, it stops where it stands.
#[derive(Debug)]
pub struct Keeping {
    tasks: JoinSet<()>,
    ends: Ends,
}

impl Keeping {
    /// Ends it; what is being delivered has [`Keeper::drain`].
    pub async fn end(mut self) {
        self.ends.begin.cancel();
        self.ends.now.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}
