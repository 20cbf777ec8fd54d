//! Deliveries that were stored (a push, a comment) become tasks: as soon as one is told of, and once a while in any case. What they
//! become is decided by rules, in SQL; here is only when.

use futures_util::future::BoxFuture;
use hub::{Error, Hub, Result, wake::Errands};

use crate::{
    Keeper,
    errand::{Ends, Errand, MENDED, whenever_told},
};

/// As many as one transaction should hold: each message takes the channel's row.
const BATCH: i32 = 100;

pub(crate) fn errand(keeper: &Keeper) -> Option<Box<dyn Errand>> {
    Some(Box::new(Intake { hub: keeper.hub.clone() }))
}

struct Intake {
    hub: Hub,
}

impl Errand for Intake {
    fn run(self: Box<Self>, told: Errands, ends: Ends) -> BoxFuture<'static, ()> {
        Box::pin(whenever_told(
            told,
            ends,
            async move || self.process_all().await,
            |error| match error {
                Error::Forbidden(_) => {
                    tracing::error!(error = %error, "this worker may not turn deliveries into tasks");
                    None
                }
                // Whatever it is, it may be mended while we run.
                error => {
                    tracing::error!(error = %error, "deliveries can not be turned into tasks now");
                    Some(MENDED)
                }
            },
        ))
    }
}

impl Intake {
    async fn process_all(&self) -> Result<()> {
        loop {
            let looked_at = self.hub.process_webhooks(BATCH).await?;
            if looked_at > 0 {
                tracing::info!(deliveries.count = looked_at, "looked at deliveries");
            }
            if looked_at < BATCH {
                return Ok(());
            }
        }
    }
}
